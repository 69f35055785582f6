"""Bars are the bills of a month and kind; nothing is added across currencies."""

from __future__ import annotations

import pandas as pd
import pytest
from matplotlib.colors import to_hex

from pdframe import plot
from pdframe.errors import ArgumentError
from pdframe.plot import _style as style
from tests.helpers.charts import WILD, draw, texts
from tests.helpers.revenue_charts import BILLS, bills, revenue_frame

TABLE = bills(
    ("2026-07-31", "recurring", 100.0),
    ("2026-07-01", "recurring", 20.5),
    ("2026-07-15", "installment", 1000.0),
    ("2026-09-30", "one-time", -50.0),
    ("2026-09-01", "recurring", 70.0),
)


def test_bars_are_the_sums_of_a_month_and_kind() -> None:
    ax = draw(plot.billing(TABLE))
    kept = {bars.get_label(): [bar.get_height() for bar in bars] for bars in ax.containers}
    # August has no bills, and its place is empty.
    assert kept == {
        "recurring": [120.5, 0, 70.0],
        "one-time": [0, 0, -50.0],
        "installment": [1000.0, 0, 0],
    }
    assert ax.containers[2][0].get_y() == 120.5
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["2026-09", "2026-08", "2026-07"]
    assert {"1,120", "0", "20", "€1k", "Billed by month"} <= {*texts(ax)}
    assert len({to_hex(bars[0].get_facecolor()) for bars in ax.containers}) == 3
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "recurring",
        "one-time",
        "installment",
    ]


def test_currencies_and_nulls_are_refused() -> None:
    with pytest.raises(
        ArgumentError,
        match=r"several currencies \(EUR, GBP\).*or convert the amounts first \(metrics\.convert\)",
    ):
        plot.billing(pd.concat([TABLE, TABLE.assign(currency="GBP")]))
    with pytest.raises(ArgumentError, match="The column 'amount' holds nulls"):
        plot.billing(TABLE.assign(amount=None))
    with pytest.raises(ArgumentError, match=r"The column 'date' .* without nulls"):
        plot.billing(TABLE.assign(date=pd.NaT))


def test_sixty_months_one_bill_and_none() -> None:
    long = bills(
        *[(f"{2026 + at // 12}-{at % 12 + 1:02d}-05", "recurring", 1.0) for at in range(60)]
    )
    assert len(draw(plot.billing(long)).containers[0]) == 60
    assert "7.00" in texts(draw(plot.billing(bills(("2026-01-31", None, 7.0)))))
    ax = draw(plot.billing(revenue_frame(BILLS)))
    assert "Nothing is billed in these months." in texts(ax)
    assert not ax.patches


def test_kinds_of_another_frame_are_drawn_as_text() -> None:
    for at in range(0, len(WILD), 6):
        names = WILD[at : at + 6]
        ax = draw(plot.billing(bills(*[("2026-01-01", name, 1.0) for name in names])))
        legend = {text.get_text().strip() for text in ax.get_legend().get_texts()}
        assert legend == {style.shown(name, 24) for name in names}
    with pytest.raises(ArgumentError, match="The frame holds 13 kinds"):
        plot.billing(bills(*[("2026-01-01", str(at), 1.0) for at in range(13)]))
