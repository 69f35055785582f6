"""Numbers as text, and text of a CRM made safe to draw."""

from __future__ import annotations

import math
import subprocess
import sys

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
import pytest

from pdframe.errors import ArgumentError
from pdframe.plot import _style as style
from tests.helpers.charts import WILD


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (0.0, "0 %"),
        (0.0001, "<0.1 %"),
        (0.004, "0.4 %"),
        (0.01, "1 %"),
        (0.634, "63 %"),
        (0.994, "99 %"),
        (0.9961, "99.6 %"),
        (0.99999, ">99.9 %"),
        (1.0, "100 %"),
        (1.2, "120 %"),
        (math.nan, "–"),
    ],
)
def test_percent_is_never_0_or_100_for_what_is_not(share: float, said: str) -> None:
    assert style.percent(share) == said


def test_numbers_days_and_intervals() -> None:
    assert [style.number(value) for value in (0, 1234567.4, math.nan)] == ["0", "1,234,567", "–"]
    assert [style.days(value) for value in (0.04, 9.94, 9.96, 1234.5, math.nan)] == [
        "0.0 d",
        "9.9 d",
        "10 d",
        "1,234 d",
        "–",
    ]
    assert style.interval(0.123, 0.456) == "(12–46 %)"
    assert style.interval(math.nan, 0.4) == ""


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("$x$", "$x$"),
        ("two\nlines\tand tab", "two lines and tab"),
        ("\u202eevil\u202c", "evil"),
        ("\x00\x07", "(no name)"),
        ("   ", "(no name)"),
        (None, "(none)"),
        (pd.NA, "(none)"),
        (pd.NaT, "(none)"),
        (pd.Timestamp("2026-06-01"), "2026-06-01"),
        (7, "7"),
        ("\ud83d half", "? half"),
        ("地域", "□□"),
        ("🚀 Launch", "□ Launch"),
        ("Причина", "Причина"),
        ("a" * 40 + "1", "aaaaaaaaaaaaaaaaaaaaa…aaaaaaaaa1"),
    ],
)
def test_names_as_they_are_shown(name: object, said: str) -> None:
    assert style.shown(name) == said


@pytest.mark.parametrize("name", WILD)
def test_every_name_can_be_drawn_as_it_is(name: str) -> None:
    figure, ax = plt.subplots()
    text = ax.text(0.5, 0.5, style.shown(name), **style.PLAIN)
    figure.canvas.draw()
    assert 0 < len(text.get_text()) <= 32
    # Two dollars would be mathtext, and what lies between them slanted or an error.
    assert not text.get_parse_math()


def test_a_character_is_shown_where_one_of_the_fonts_has_it() -> None:
    with matplotlib.rc_context({"font.family": ["cmr10"]}):
        assert style.shown("a Причина") == "a ???????"
    with matplotlib.rc_context({"font.family": ["cmr10", "DejaVu Sans"]}):
        assert style.shown("a Причина") == "a Причина"
    with matplotlib.rc_context({"font.family": ["no such font"]}):
        assert style.shown("a Причина") == "a Причина"


def test_long_names_remain_different() -> None:
    assert style.shown("a" * 40 + "1") != style.shown("a" * 40 + "2")
    assert style.shown("x" * 32) == "x" * 32
    assert len(style.shown("x" * 180, 20)) == 20


def test_the_first_twelve_marks_differ_without_colour() -> None:
    marks = [style.mark(number) for number in range(style.MOST_CURVES)]
    assert (
        len({mark.marker for mark in marks})
        == len({(mark.color, mark.dashes) for mark in marks})
        == 12
    )
    assert len({(mark.marker, mark.dashes) for mark in marks}) == 12


def test_wrong_frames_and_axes_are_reported() -> None:
    with pytest.raises(
        ArgumentError, match=r"frame must be the DataFrame that metrics\.funnel returns, not list"
    ):
        style.require_columns([], ("a",), "funnel")
    with pytest.raises(ArgumentError, match="The column 'a' is str; it must hold numbers"):
        style.numbers(pd.DataFrame({"a": ["x"]}), "a")
    with pytest.raises(ArgumentError, match="The column 'a' holds nulls or negative numbers"):
        style.counts(pd.DataFrame({"a": [1.0, None]}), "a")
    with pytest.raises(ArgumentError, match="ax must be an Axes of matplotlib, not Figure"):
        style.axes(plt.figure())  # type: ignore[arg-type]


def test_pdframe_alone_does_not_import_matplotlib() -> None:
    code = (
        "import sys, pdframe; import pdframe.metrics, pdframe.cli; assert 'plot' in dir(pdframe); "
        "assert not any(name.partition('.')[0] == 'matplotlib' for name in sys.modules); "
        "pdframe.plot.funnel; assert 'matplotlib' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_matplotlib_the_error_says_what_to_install() -> None:
    code = "import sys; sys.modules['matplotlib'] = None; import pdframe; pdframe.plot"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert (
        'ImportError: Charts need matplotlib, which is not installed: pip install "pdframe[plot]".'
        in run.stderr
    )
