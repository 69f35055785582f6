"""Progress bars: what they say of what is done and left, and when they show."""

from __future__ import annotations

import pytest

from pdframe._progress import Bars


def shown(text: str) -> list[str]:
    """The lines that a bar drew over one another."""
    return [line.strip() for line in text.split("\r") if line.strip()]


def test_a_bar_of_records_says_done_total_tokens_and_that_it_resumes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    bars = Bars(True, delay=0, interval=0)
    with bars(
        "deal_changes", place="table 2 of 5", unit="deals", cost=20, tokens_left=lambda: 1_900
    ) as tick:
        tick.expect(1_000)
        for _ in range(3):
            tick(1)
    last = shown(capsys.readouterr().err)[-1]
    assert last.startswith("table 2 of 5: deal_changes: 3 of 1,000 deals |")
    assert " left, " in last
    assert last.endswith("19,940 tokens to go, 1,900 tokens left today, stop any time: it resumes")


def test_a_bar_of_a_computation_says_what_is_left_and_no_word_of_resuming(
    capsys: pytest.CaptureFixture[str],
) -> None:
    bars = Bars(True, delay=0, interval=0)
    with bars("forecast", unit="earlier months", resumes=False, computes=True) as tick:
        assert shown(capsys.readouterr().err)[-1] == "forecast: computing"
        tick.expect(24)
        tick(1)
    last = shown(capsys.readouterr().err)[-1]
    assert last.startswith("forecast: 1 of 24 earlier months |")
    assert last.endswith(" left")


def test_a_bar_of_a_list_counts_rows(capsys: pytest.CaptureFixture[str]) -> None:
    with Bars(True, delay=0, interval=0)("deals") as tick:
        tick(500)
        tick(1_000)
    last = shown(capsys.readouterr().err)[-1]
    assert last.startswith("deals: 1,500 rows, 00:0")
    assert last.endswith("stop any time: it resumes")
    assert "tokens" not in last


def test_a_bar_of_a_list_that_begins_again_says_no_word_of_resuming(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Bars(True, delay=0, interval=0)("tasks", resumes=False) as tick:
        assert shown(capsys.readouterr().err)[-1] == "tasks: waiting for the first rows"
        tick(500)
    assert "resume" not in capsys.readouterr().err


def test_a_short_load_shows_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with Bars(True, delay=3_600, interval=0)("deals") as tick:
        tick.expect(2)
        tick(1)
        tick(1)
    assert shown(capsys.readouterr().err) == []


def test_without_a_viewer_nothing_shows(capsys: pytest.CaptureFixture[str]) -> None:
    for wanted in (None, False):
        with Bars(wanted, delay=0, interval=0)("deals") as tick:
            tick.expect(2)
            tick(2)
    assert capsys.readouterr().err == ""


def test_bars_that_follow_one_another_are_one_load(capsys: pytest.CaptureFixture[str]) -> None:
    """Ten quick tables take long: the second bar shows at once, before its first rows."""
    times = iter([0.0, 1_000.0, 3_600.0, 3_601.0, 20_000.0, 20_000.0])
    bars = Bars(True, delay=3_600, interval=0, clock=lambda: next(times))
    with bars("pipelines", place="table 1 of 2") as tick:
        tick(3)
    assert shown(capsys.readouterr().err) == []
    with bars("stages", place="table 2 of 2", tokens_left=lambda: 1_900):
        waiting = "table 2 of 2: stages: waiting for the first rows, 1,900 tokens left today"
        assert shown(capsys.readouterr().err)[-1] == f"{waiting}, stop any time: it resumes"
    # A load of its own, hours later.
    with bars("users") as tick:
        tick(3)
    assert "users" not in capsys.readouterr().err


def test_a_bar_that_waits_for_its_rows_takes_their_total(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Bars(True, delay=0, interval=0)("deal_changes", unit="deals", cost=20) as tick:
        assert shown(capsys.readouterr().err)[-1].startswith("deal_changes: waiting for the first")
        tick.expect(10)
        tick(4)
        last = shown(capsys.readouterr().err)[-1]
        assert last.startswith("deal_changes: 4 of 10 deals |")
        assert ", 120 tokens to go, " in last


def test_of_bars_at_once_one_shows_and_the_others_only_if_they_are_slow(
    capsys: pytest.CaptureFixture[str],
) -> None:
    times = iter([0.0, 1_000.0, 3_600.0, 3_600.0, 3_601.0, 3_601.0])
    bars = Bars(True, delay=3_600, interval=3_600, clock=lambda: next(times))
    with bars("pipelines") as tick:
        tick(3)
    with bars("deals") as deals, bars("stages") as stages:
        deals(500)
        stages(12)
        # The first rows are drawn, though the last drawing is younger than `interval`.
        assert shown(capsys.readouterr().err)[-1].startswith("deals: 500 rows, ")
    assert "stages" not in capsys.readouterr().err
