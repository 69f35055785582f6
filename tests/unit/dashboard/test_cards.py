"""What stands on a card: the value, its note, the change, and dates that no line breaks."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from pdframe.dashboard import _content, page
from pdframe.dashboard._forecast import _missing
from pdframe.dashboard._parts import Figure, besides, unbroken
from pdframe.dashboard._record import outside_of_range, record_figure

CARD = Figure("Won, EUR", "90", "120", "-25%", "besides 7 GBP")


def texts(html: str) -> list[str]:
    return [text for text in re.split(r"<[^>]+>", html) if text.strip()]


def test_a_note_stands_under_the_value_and_minus_is_the_same_everywhere() -> None:
    minus = "\N{MINUS SIGN}25%"
    assert texts(page._figure(CARD)) == ["Won, EUR", "90", "besides 7 GBP", minus, " from 120"]
    assert texts(_content._figure(CARD)) == [
        "Won, EUR",
        "90",
        "besides 7 GBP",
        minus,
        "before: 120",
    ]


def test_a_range_stands_under_the_value() -> None:
    card = Figure("Expected, EUR", "90", note="besides 7 GBP", range="P10 50 to P90 130")
    said = ["Expected, EUR", "90", "P10 50 to P90 130", "besides 7 GBP"]
    assert texts(page._figure(card)) == said
    assert texts(_content._figure(card)) == said


def test_no_line_ends_within_a_date() -> None:
    assert unbroken("2026-11-30 02:32 UTC") == '<span class="date">2026-11-30</span> 02:32 UTC'
    assert unbroken("<b> in 2026-03") == '&lt;b&gt; in <span class="date">2026-03</span>'
    for html, style in (
        (page._figure(Figure("Oldest table", "2026-11-30")), page._STYLE),
        (_content._figure(Figure("Oldest table", "2026-11-30")), _content.STYLE),
    ):
        assert '<span class="date">2026-11-30</span>' in html
        assert ".date { white-space: nowrap; }" in style


def test_other_currencies_are_beside_an_amount() -> None:
    amounts = pd.Series({"EUR": 5.0, "GBP": 1234.4, "SEK": 0.2, "USD": float("nan")})
    assert besides(amounts, "EUR") == "besides 1,234 GBP"
    assert besides(amounts[["EUR"]], "EUR") == ""
    unknown = pd.Series([3.0, 4.0], index=pd.Index(["EUR", None], dtype="str"))
    assert besides(unknown, "EUR") == "besides 4 –"


@pytest.mark.parametrize(
    ("mean", "said"),
    [
        (250.0, "Expected is above P90 in 2026-11: it is a mean, which a large deal with a small"),
        (50.0, "Expected is below P10 in 2026-11: it is a mean, which a large deal with a small"),
        (200.4, None),
    ],
)
def test_a_mean_outside_of_its_range_is_explained(mean: float, said: str | None) -> None:
    rows = pd.DataFrame(
        {
            "period": pd.to_datetime(["2026-11-01", "2026-12-01"]),
            "p10": [100.0, 100.0],
            "p90": [200.0, 900.0],
            "mean": [mean, 300.0],
        }
    )
    notes = outside_of_range(rows, "Expected")
    assert [note.startswith(said or "") for note in notes] == ([True] if said else [])


def test_the_record_counts_months_that_were_forecast_before_they_began() -> None:
    # 30 June in UTC is 1 July in Tallinn; 2 July is in the month.
    issued = pd.to_datetime(["2026-06-30 22:00", "2026-07-02 22:00"], utc=True)
    rows = pd.DataFrame({"as_of": issued, "covered": [False, True]})
    rows = rows.assign(period=pd.Timestamp("2026-07-01"))
    rows.attrs["tz"] = "Europe/Tallinn"
    assert record_figure(rows, "EUR").value == "0 of 1"
    assert "none was forecast before it began" in record_figure(rows.tail(1), "EUR").note
    assert record_figure(None, "EUR").value == "none yet"
    assert record_figure(rows, "EUR").label == "Record of the forecast, EUR"


@pytest.mark.parametrize(
    ("sources", "rates", "said"),
    [
        (["changelog", "current"], None, ("besides 30 GBP", "")),
        (["snapshots", "current"], None, ("besides 30 GBP", "without changelogs")),
        ([], {"EUR": 1.0}, ("", "without changelogs")),
    ],
)
def test_expected_revenue_says_what_it_leaves_out(
    sources: list[str], rates: Any, said: tuple[str, str]
) -> None:
    visits = pd.DataFrame({"source": pd.Series(sources, dtype="str")})
    data: Any = SimpleNamespace(rates=rates, visits=visits)
    state: Any = SimpleNamespace(currency="EUR")
    months = [f"2026-{month}-01" for month in ("11", "12", "12", "11")]
    every = pd.DataFrame(
        {
            "period": pd.to_datetime(months),
            "currency": ["EUR", "EUR", "GBP", "GBP"],
            "mean": [1.0, 2.0, 30.0, 400.0],
        }
    )
    assert _missing(data, state, every, every.iloc[[1]]) == said
