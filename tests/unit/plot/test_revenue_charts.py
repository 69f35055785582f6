"""What holds for every chart of revenue: it returns its Axes, names what is missing, leaves nothing
behind, and takes what metrics give.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from pdframe import metrics, plot
from pdframe.errors import ArgumentError
from tests.helpers.charts import draw, texts
from tests.helpers.revenue_charts import (
    BILLS,
    COHORTS,
    MOVEMENTS,
    SCHEDULE,
    bills,
    cohorts,
    movements,
    schedule,
)
from tests.helpers.revenue_frames import NO_CANCELLATIONS

Chart = Callable[..., Any]
CHARTS: list[tuple[Chart, pd.DataFrame, list[str], set[str]]] = [
    (plot.mrr, schedule((None, [1.0, 2.0])), SCHEDULE, {"arr"}),
    (plot.mrr_movements, movements(5.0, [1.0, 0.0, 0.0, 0.0, -2.0, 0.0]), MOVEMENTS, set()),
    (plot.retention_cohorts, cohorts([1.0, 0.5], [1.0, None]), COHORTS, {"mrr", "month"}),
    (plot.billing, bills(("2026-01-01", "recurring", 1.0)), BILLS, {"deal_id", "customer", "id"}),
]
every_chart = pytest.mark.parametrize(
    ("chart", "made", "columns", "spare"), CHARTS, ids=["mrr", "movements", "cohorts", "billing"]
)


@every_chart
def test_it_draws_on_the_axes_given_and_opens_no_figure(
    chart: Chart, made: pd.DataFrame, columns: list[str], spare: set[str]
) -> None:
    figure, (left, right) = plt.subplots(1, 2)
    assert chart(made, right) is right
    assert chart(made, ax=left, title="Ours: $5 to $6") is left
    assert plt.get_fignums() == [figure.number]
    assert left.get_title(loc="left") == "Ours: $5 to $6"
    draw(left)
    ax = draw(chart(made))
    assert len(plt.get_fignums()) == 2
    assert 8 <= ax.figure.get_figwidth() <= 10


@every_chart
def test_a_missing_column_is_named(
    chart: Chart, made: pd.DataFrame, columns: list[str], spare: set[str]
) -> None:
    for name in {*columns} - spare:
        with pytest.raises(
            ArgumentError, match=rf"frame has no column '{name}'. Pass the result of metrics\."
        ):
            chart(made.drop(columns=name))
    draw(chart(made.drop(columns=[*spare])))
    plt.close("all")
    with pytest.raises(ArgumentError, match="frame must be the DataFrame"):
        chart(None)
    assert plt.get_fignums() == []


@every_chart
def test_the_frame_is_left_as_it_was(
    chart: Chart, made: pd.DataFrame, columns: list[str], spare: set[str]
) -> None:
    before = made.copy(deep=True)
    chart(made)
    pd.testing.assert_frame_equal(made, before)


@every_chart
@pytest.mark.parametrize("currency", ["$x$ \\frac", "\u202eEUR", "W" * 180, "🚀"])
def test_a_currency_is_drawn_as_text(
    chart: Chart, made: pd.DataFrame, columns: list[str], spare: set[str], currency: str
) -> None:
    ax = draw(chart(made.assign(currency=currency)))
    risky = [
        text for text in ax.findobj(plt.Text) if "$" in text.get_text() or "\\" in text.get_text()
    ]
    assert not any(text.get_parse_math() or text.get_usetex() for text in risky)
    assert all(len(text) < 80 for text in texts(ax))


def deals_and_lines() -> tuple[pd.DataFrame, pd.DataFrame]:
    deals = pd.DataFrame(
        {
            "id": [1, 2, 3],
            "org_id": [1, 2, 3],
            "person_id": None,
            "status": "won",
            "Region": ["$North$", None, "South"],
        }
    )
    deals["won_time"] = pd.to_datetime(["2026-01-05", "2026-02-05", "2026-02-10"], utc=True)
    made = {
        "id": [1, 2, 3],
        "deal_id": [1, 2, 3],
        "product_id": 1,
        "currency": ["EUR", "EUR", "USD"],
        "is_enabled": True,
        "billing_frequency": "monthly",
        "billing_frequency_cycles": [12, 2, None],
        "billing_start_date": pd.NaT,
        "quantity": 1.0,
        "item_price": [100.0, 50.0, 10.0],
        "discount": 0.0,
        "discount_type": "percentage",
        "tax": 0.0,
        "tax_method": "exclusive",
    }
    return deals, pd.DataFrame(made)


def test_metrics_go_right_into_charts() -> None:
    deals, items = deals_and_lines()
    lines = metrics.mrr_lines(items, deals, carry="Region", cancellations=NO_CANCELLATIONS)
    window: dict[str, Any] = {"since": "2026-01-01", "until": "2026-06-01"}
    euro = lines[lines["currency"] == "EUR"]
    rates = {"EUR": 1.0, "USD": 0.5}
    for by in (None, "Region"):
        ax = draw(plot.mrr(metrics.mrr_schedule(lines, rates=rates, by=by, **window)))
        assert any(text.startswith("105.00 EUR") for text in texts(ax))
        draw(plot.mrr(metrics.mrr_schedule(euro, by=by, **window), stacked=False))
    moves = metrics.mrr_movements(lines, rates=rates, **window)
    ax = draw(plot.mrr_movements(moves))
    assert {"+155.00", "-50.00", "105.00", "(50.00 expired)"} <= {*texts(ax)}
    draw(plot.mrr_movements(moves, by_month=True))
    ax = draw(plot.retention_cohorts(metrics.revenue_cohorts(lines, rates=rates, **window)))
    # 50 and 10 USD in February; the 50 are over in April.
    assert [text.get_text() for text in ax.texts if text.get_position()[1] == 1] == [
        "100",
        "100",
        "9",
        "9",
    ]
    bills_ = metrics.billing_schedule(items, None, deals, **window, cancellations=NO_CANCELLATIONS)
    assert {"100.00", "150.00"} <= {*texts(draw(plot.billing(bills_[bills_["currency"] == "EUR"])))}
    for frame in (metrics.mrr_schedule(lines, **window), bills_):
        with pytest.raises(ArgumentError, match=r"several currencies \(EUR, USD\)"):
            (plot.billing if frame is bills_ else plot.mrr)(frame)
    nothing = metrics.mrr_lines(items.iloc[:0], deals, cancellations=NO_CANCELLATIONS)
    draw(plot.mrr(metrics.mrr_schedule(nothing, **window)))
    draw(plot.mrr_movements(metrics.mrr_movements(nothing, **window)))
    draw(plot.retention_cohorts(metrics.revenue_cohorts(nothing, **window)))
    draw(
        plot.billing(
            metrics.billing_schedule(
                items.iloc[:0], None, deals, **window, cancellations=NO_CANCELLATIONS
            )
        )
    )
