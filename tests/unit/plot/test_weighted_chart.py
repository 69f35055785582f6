"""The chart of the weighted pipeline: its bars, what stands beside them, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from pdframe import plot
from pdframe.errors import ArgumentError
from tests.helpers.charts import draw, texts


def pipeline(*rows: tuple[Any, ...], by: bool = False) -> pd.DataFrame:
    """Owner (with `by`), period or None, when, deals, value, weighted; in EUR."""
    names = ["owner_name", "period", "when", "deals", "value", "weighted"]
    made = pd.DataFrame([list(row) for row in rows], columns=names).assign(currency="EUR")
    made["period"] = pd.to_datetime(made["period"]).astype("datetime64[us]")
    columns = ["period", "currency", "deals", "value", "weighted", "when"]
    return made[[*(["owner_name"] if by else []), *columns]]


PLAIN = pipeline(
    (None, None, "past", 2, 100.0, 40.0),
    (None, "2026-07-01", "dated", 3, 400.0, 100.0),
    (None, "2026-09-01", "dated", 1, 50.0, 50.0),
    (None, None, "none", 4, 250.0, 60.0),
)


def bars(ax: Any, label: str) -> list[tuple[float, float]]:
    """Middle and height of the bars of an entry of the legend."""
    container = next(each for each in ax.containers if each.get_label() == label)
    return [
        (round(float(bar.get_x() + bar.get_width() / 2), 6), round(float(bar.get_height()), 6))
        for bar in container
    ]


def ticks(ax: Any) -> dict[str, float]:
    labels = (label.get_text() for label in ax.get_xticklabels())
    return dict(zip(labels, map(float, ax.get_xticks()), strict=True))


def test_bars_of_value_are_filled_to_the_weighted_value() -> None:
    ax = draw(plot.weighted_pipeline(PLAIN))
    places = ticks(ax)
    assert list(places) == ["overdue", "no date", "2026-07", "2026-08", "2026-09"]
    assert places["overdue"] < places["2026-07"] < places["2026-09"] < places["no date"]
    at = [places[name] for name in ("overdue", "2026-07", "2026-08", "2026-09", "no date")]
    total, weighted = [100.0, 400.0, 0.0, 50.0, 250.0], [40.0, 100.0, 0.0, 50.0, 60.0]
    assert bars(ax, "value of the deals") == list(zip(at, total, strict=True))
    assert bars(ax, "value x probability") == list(zip(at, weighted, strict=True))
    said = texts(ax)
    assert "€250 weighted, of €800 in 10 open deals" in said
    assert [text for text in said if text in ("40.00", "100.00", "50.00", "60.00")] == [
        "40.00",
        "100.00",
        "50.00",
        "60.00",
    ]
    assert ax.get_title(loc="left") == "Weighted pipeline by month of expected close"


def test_groups_are_stacked_the_largest_first_and_the_rest_is_one_part() -> None:
    table = pipeline(
        ("Ann", "2026-07-01", "dated", 1, 100.0, 50.0),
        ("Bo", "2026-07-01", "dated", 1, 200.0, 150.0),
        ("Bo", None, "none", 1, 20.0, 5.0),
        (None, "2026-07-01", "dated", 2, 40.0, 20.0),
        by=True,
    )
    ax = draw(plot.weighted_pipeline(table, top=1))
    assert [height for _, height in bars(ax, "Bo")] == [150.0, 5.0]
    assert [height for _, height in bars(ax, "and 2 more")] == [70.0, 0.0]
    assert [height for _, height in bars(ax, "value of the deals")] == [340.0, 20.0]
    assert ax.get_title(loc="left").endswith("by owner")
    alone = draw(plot.weighted_pipeline(table.iloc[:1]))
    assert alone.get_title(loc="left") == "Weighted pipeline by month of expected close: Ann"


def test_what_is_unknown_is_counted_and_not_drawn() -> None:
    table = pd.concat(
        [
            PLAIN,
            pipeline((None, None, "unknown", 7, np.nan, np.nan)),
            pipeline((None, "2026-10-01", "dated", 2, 10.0, np.nan)),
        ]
    )
    ax = draw(plot.weighted_pipeline(table))
    assert "2026-10" not in ticks(ax)
    alone = draw(plot.weighted_pipeline(pipeline((None, None, "unknown", 7, np.nan, np.nan))))
    assert "7 open deals, of unknown value or probability: pass history= to the metric." in texts(
        alone
    )
    assert any("not drawn: 9 with an unknown value or probability" in text for text in texts(ax))


@pytest.mark.parametrize(
    ("freq", "period", "label"),
    [
        ("Q", "2026-07-01", "2026-Q3"),
        ("Y", "2026-01-01", "2026"),
        ("W", "2026-06-29", "2026-06-29"),
    ],
)
def test_a_single_period_has_the_name_of_its_length(freq: str, period: str, label: str) -> None:
    table = pipeline((None, period, "dated", 1, 10.0, 5.0))
    table.attrs["freq"] = freq
    assert list(ticks(draw(plot.weighted_pipeline(table)))) == [label]


def test_deals_without_any_date_are_drawn() -> None:
    assert list(ticks(draw(plot.weighted_pipeline(PLAIN[PLAIN["when"] != "dated"])))) == [
        "overdue",
        "no date",
    ]
    assert "There are no open deals." in texts(draw(plot.weighted_pipeline(PLAIN.head(0))))


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"several currencies.*metrics\.weighted_pipeline"):
        plot.weighted_pipeline(pd.concat([PLAIN, PLAIN.assign(currency="USD")]))
    with pytest.raises(ArgumentError, match="A period occurs twice"):
        plot.weighted_pipeline(pd.concat([PLAIN, PLAIN]))
    far = pipeline(
        (None, "2026-07-01", "dated", 1, 1.0, 1.0), (None, "2056-08-01", "dated", 1, 1.0, 1.0)
    )
    with pytest.raises(ArgumentError, match="longer freq"):
        plot.weighted_pipeline(far)
