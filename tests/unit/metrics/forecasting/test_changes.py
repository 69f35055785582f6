"""What changed a forecast: each deal's steps by hand, and the sums of two forecasts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from pdframe import metrics
from pdframe.errors import ArgumentError, DataWarning, InsufficientDataError
from pdframe.metrics.forecasting._interface import Probabilities
from tests.helpers import forecast_frames, small_frames
from tests.helpers.forecast_frames import PIPELINE, STAGE_IDS

TALK, OFFER = STAGE_IDS
FRIDAYS: dict[str, Any] = {"before": "2026-06-19", "after": "2026-06-26", "until": "2026-Q3"}
STEPS = ["new", "won", "lost", "moved", "aged", "repriced", "model"]
AMOUNTS = ["expected_before", *STEPS, "expected_after"]
EARLY = "2026-06-01"
Frames = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame]

quiet = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")


class Pipeline:
    """Deals written by hand beside the past that a forecast needs; only theirs have values. A stage
    counts 40 % and 70 % by the method "weighted".
    """

    def __init__(self) -> None:
        self.deals: list[dict[str, Any]] = []
        self.visits: list[dict[str, Any]] = []
        self.changes: list[dict[str, Any]] = []

    def add(
        self,
        *stages: tuple[int, str, str | None, str],
        value: str = "100",
        close: str = "2026-07-15",
        currency: str = "EUR",
        changes: tuple[tuple[str, str, str, str], ...] = (),
        **more: Any,
    ) -> int:
        """Add a deal: stage, entry, exit and end of each visit; column, before, after and time of
        each change of a value.
        """
        number = len(self.deals) + 1
        added, (last, _, left, end) = stages[0][1], stages[-1]
        status = end if end in ("won", "lost", "deleted") else "open"
        self.deals.append(
            {
                "id": number,
                "pipeline_id": PIPELINE,
                "stage_id": last,
                "add_time": added,
                "status": status,
                f"{status}_time": left,
                "is_deleted": status == "deleted",
                "update_time": "2026-06-29",
                "title": f"Deal {number}",
                **more,
            }
        )
        for stage, entered, out, how in stages:
            row = {"deal_id": number, "stage_id": stage, "pipeline_id": PIPELINE, "end": how}
            self.visits.append({**row, "entered_at": entered, "left_at": out})
        first = {"value": value, "currency": currency, "expected_close_date": close}
        for name, after in first.items():
            self.changes.append({"column": name, "after": after, "time": added, "deal_id": number})
        for name, old, new, time in changes:
            self.changes.append(
                {"column": name, "before": old, "after": new, "time": time, "deal_id": number}
            )
        return number

    def frames(self) -> Frames:
        """Deals, visits, stages, history."""
        deals, visits, stages = forecast_frames.past()
        own = small_frames.deals(self.deals)[[name for name in deals.columns]]
        deals = pd.concat([deals, own], ignore_index=True)
        visits = pd.concat([visits, small_frames.visits(self.visits)], ignore_index=True)
        stages = stages.assign(deal_probability=[40.0, 70.0])
        return deals, visits, stages, small_frames.history(self.changes)


def rows_of(frames: Frames, **how: Any) -> pd.DataFrame:
    """The rows of the deals written by hand."""
    deals, visits, stages, history = frames
    rows = metrics.forecast_change_deals(
        deals, visits, stages, history=history, **{**FRIDAYS, "method": "weighted", **how}
    )
    closes_exactly(rows)
    return rows[rows["deal_id"] < 1_000].reset_index(drop=True)


def steps(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """What is not 0 of each row, and what became of the deal."""
    return [
        {"became": row["became"], **{name: row[name] for name in AMOUNTS if row[name] != 0}}
        for _, row in rows.iterrows()
    ]


def closes_exactly(frame: pd.DataFrame) -> None:
    parts = np.rint(frame[AMOUNTS].to_numpy(np.float64) * 1e6).astype(np.int64)
    np.testing.assert_array_equal(parts[:, :-1].sum(axis=1), parts[:, -1])


@quiet
@pytest.mark.parametrize(
    ("visits", "more", "expected"),
    [
        (
            [(TALK, EARLY, None, "open")],
            {},
            {"became": "open", "expected_before": 40, "expected_after": 40},
        ),
        (
            [(TALK, EARLY, "2026-06-22", "advanced"), (OFFER, "2026-06-22", None, "open")],
            {},
            {"became": "open", "expected_before": 40, "moved": 30, "expected_after": 70},
        ),
        (
            [(OFFER, EARLY, "2026-06-22", "moved back"), (TALK, "2026-06-22", None, "open")],
            {},
            {"became": "open", "expected_before": 70, "moved": -30, "expected_after": 40},
        ),
        (
            [(TALK, EARLY, None, "open")],
            {"changes": (("expected_close_date", "2026-07-15", "2026-11-01", "2026-06-22"),)},
            {"became": "open", "expected_before": 40, "moved": -40},
        ),
        (
            [(TALK, EARLY, None, "open")],
            {"close": "2026-06-23"},
            {"became": "open", "expected_before": 40, "aged": -40},
        ),
        (
            [(TALK, EARLY, None, "open")],
            {"changes": (("value", "100", "150", "2026-06-22"),)},
            {"became": "open", "expected_before": 40, "repriced": 20, "expected_after": 60},
        ),
        (
            [(TALK, EARLY, "2026-06-22", "advanced"), (OFFER, "2026-06-22", None, "open")],
            {"changes": (("value", "100", "150", "2026-06-22"),)},
            {
                "became": "open", "expected_before": 40, "moved": 30, "repriced": 35,
                "expected_after": 105,
            },
        ),
        (
            [(TALK, EARLY, "2026-06-24", "won")],
            {},
            {"became": "won", "expected_before": 40, "won": 60, "expected_after": 100},
        ),
        (
            [(TALK, EARLY, "2026-06-24", "won")],
            {"changes": (("value", "100", "120", "2026-06-23"),)},
            {
                "became": "won", "expected_before": 40, "won": 60, "repriced": 20,
                "expected_after": 120,
            },
        ),
        (
            [(TALK, EARLY, "2026-06-24", "lost")],
            {},
            {"became": "lost", "expected_before": 40, "lost": -40},
        ),
        (
            [(TALK, EARLY, "2026-06-24", "deleted")],
            {},
            {"became": "lost", "expected_before": 40, "lost": -40},
        ),
        (
            [(TALK, "2026-06-21", None, "open")],
            {},
            {"became": "new", "new": 40, "expected_after": 40},
        ),
        (
            [(TALK, EARLY, "2026-06-10", "lost"), (TALK, "2026-06-22", None, "open")],
            {},
            {"became": "new", "new": 40, "expected_after": 40},
        ),
        (
            [(TALK, "2026-06-21", "2026-06-24", "won")],
            {},
            {"became": "new and won", "won": 100, "expected_after": 100},
        ),
        (
            [(TALK, EARLY, None, "open")],
            {"value": "-50"},
            {"became": "open", "expected_before": -20, "expected_after": -20},
        ),
    ],
)  # fmt: skip
def test_each_deal_takes_its_steps_in_order(
    visits: list[Any], more: dict[str, Any], expected: dict[str, Any]
) -> None:
    pipeline = Pipeline()
    pipeline.add(*visits, **more)
    assert steps(rows_of(pipeline.frames())) == [expected]


@quiet
@pytest.mark.parametrize(
    "visits",
    [
        [(TALK, EARLY, "2026-06-10", "won")],
        [(TALK, "2026-06-21", "2026-06-24", "lost")],
        [(TALK, "2026-06-27", None, "open")],
    ],
)
def test_what_is_in_neither_forecast_has_no_row(visits: list[Any]) -> None:
    pipeline = Pipeline()
    pipeline.add(*visits)
    assert rows_of(pipeline.frames()).empty


@quiet
def test_a_change_of_currency_has_a_row_in_each() -> None:
    pipeline = Pipeline()
    changes = (
        ("currency", "EUR", "USD", "2026-06-22"),
        ("value", "100", "110", "2026-06-22"),
    )
    pipeline.add((TALK, EARLY, None, "open"), changes=changes)
    pipeline.add((TALK, EARLY, "2026-06-24", "won"), changes=changes)
    rows = rows_of(pipeline.frames())
    assert rows["currency"].tolist() == ["EUR", "USD"] * 2
    assert steps(rows) == [
        {"became": "open", "expected_before": 40, "repriced": -40},
        {"became": "open", "repriced": 44, "expected_after": 44},
        {"became": "won", "expected_before": 40, "won": 60, "repriced": -100},
        {"became": "won", "repriced": 110, "expected_after": 110},
    ]
    rates = {"EUR": 1.0, "USD": 0.5}
    assert steps(rows_of(pipeline.frames(), rates=rates)) == [
        {"became": "open", "expected_before": 40, "repriced": -18, "expected_after": 22},
        {"became": "won", "expected_before": 40, "won": 60, "repriced": -45, "expected_after": 55},
    ]


@quiet
def test_with_rates_all_rows_are_in_the_common_currency() -> None:
    pipeline = Pipeline()
    pipeline.add((TALK, EARLY, "2026-06-24", "lost"), currency="USD")
    deals, visits, stages, history = pipeline.frames()
    history["after"] = history["after"].mask(history["column"] == "value")
    rows = rows_of((deals, visits, stages, history), rates={"EUR": 1.0, "USD": 0.5})
    assert rows["currency"].tolist() == ["EUR"]
    assert rows["value_before"].isna().all()


@quiet
def test_groups_add_up_and_lead_to_their_deals() -> None:
    pipeline = Pipeline()
    for owner in (1, 2, None):
        pipeline.add((TALK, EARLY, None, "open"), owner_id=owner)
        pipeline.add((TALK, EARLY, "2026-06-24", "won"), owner_id=owner, value="33.333333")
    deals, visits, stages, history = pipeline.frames()
    how: dict[str, Any] = {**FRIDAYS, "history": history, "method": "weighted"}
    table = metrics.forecast_changes(deals, visits, stages, **how, by="owner_id")
    rows = metrics.forecast_change_deals(deals, visits, stages, **how, by="owner_id")
    total = metrics.forecast_changes(deals, visits, stages, **how)
    assert list(total.columns) == ["currency", *AMOUNTS]
    closes_exactly(table)
    valued = table[table["currency"].notna()]
    np.testing.assert_array_equal(
        np.rint(valued[AMOUNTS].to_numpy() * 1e6).sum(axis=0),
        np.rint(total.loc[total["currency"] == "EUR", AMOUNTS].to_numpy()[0] * 1e6),
    )
    for place in range(len(table)):
        cell = metrics.drill_through(table.iloc[place], rows)
        assert cell[AMOUNTS].sum().tolist() == pytest.approx(table.iloc[place][AMOUNTS].tolist())
    assert rows["title"].notna().all()


@quiet
def test_both_sums_are_those_of_two_forecasts() -> None:
    """With the default method, and everything that the past of the test does in a week."""
    deals, visits, stages = forecast_frames.past()
    changes = [
        {"deal_id": deal, "column": name, "after": after, "time": added}
        for deal, added, value in zip(deals["id"], deals["add_time"], deals["value"], strict=True)
        for name, after in (("value", f"{value:g}"), ("currency", "EUR"))
    ]
    history = small_frames.history(changes)
    rows = metrics.forecast_change_deals(deals, visits, stages, history=history, **FRIDAYS)
    closes_exactly(rows)
    assert {"open", "won", "lost", "new"} & {*rows["became"]} >= {"open", "new"}
    for when, column in (("before", "expected_before"), ("after", "expected_after")):
        issued = metrics.forecast_deals(
            deals, visits, stages, as_of=FRIDAYS[when], horizons="2026-Q3", history=history
        )
        open_then = rows[rows[f"p_{when}"].notna()].set_index("deal_id")
        expected = issued.set_index("deal_id")
        assert open_then.index.tolist() == expected.index.tolist()
        assert open_then[f"p_{when}"].tolist() == expected["p_won"].tolist()
        np.testing.assert_allclose(
            open_then[column], expected["expected_value"], rtol=0, atol=5.1e-7
        )
    moved = rows[rows["became"] == "open"]
    assert (moved["aged"] != 0).any()
    assert (moved["model"] != 0).any()
    assert (moved["repriced"] == 0).all()


@quiet
@pytest.mark.parametrize("method", ["hazard", "aalen-johansen"])
def test_a_move_counts_as_if_the_deal_had_entered_the_stage_when_it_was_forecast(
    method: str,
) -> None:
    """The first deal moves during the week, the second one at the end of the day of `before`."""
    pipeline = Pipeline()
    for moved in ("2026-06-22", "2026-06-19 23:59:59.999999"):
        visits = ((TALK, EARLY, moved, "advanced"), (OFFER, moved, None, "open"))
        pipeline.add(*visits, owner_id=7)
    rows = rows_of(pipeline.frames(), method=method)
    assert rows["expected_before"].iloc[0] != rows["expected_before"].iloc[1]
    assert rows["moved"].iloc[1] == 0
    both = rows["expected_before"] + rows["moved"]
    assert both.iloc[0] == pytest.approx(both.iloc[1], abs=1e-6)


class ByValue:
    """A method that gives deals above 1,000 twice the probability of others."""

    def fit(self, known: Any, seed: int) -> ByValue:
        return self

    def predict(self, deals: Any, horizons: Any) -> Probabilities:
        won = np.where(deals.value > 1_000, 0.8, 0.4)[:, None]
        return Probabilities(won, np.zeros_like(won))


@quiet
def test_a_new_value_changes_the_probability_in_its_own_step_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pdframe.metrics.forecasting.changes.method_named", lambda name: ByValue())
    pipeline = Pipeline()
    pipeline.add(
        (TALK, EARLY, "2026-06-22", "advanced"),
        (OFFER, "2026-06-22", None, "open"),
        changes=(("value", "100", "2000", "2026-06-22"),),
    )
    assert steps(rows_of(pipeline.frames())) == [
        {"became": "open", "expected_before": 40, "repriced": 1_560, "expected_after": 1_600}
    ]


class ByCurrency(ByValue):
    """A method that gives deals in USD twice the probability of others."""

    def predict(self, deals: Any, horizons: Any) -> Probabilities:
        won = np.where(deals.currency == "USD", 0.8, 0.4)[:, None]
        return Probabilities(won, np.zeros_like(won))


@quiet
def test_a_new_currency_changes_the_probability_in_its_own_step_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "pdframe.metrics.forecasting.changes.method_named", lambda name: ByCurrency()
    )
    pipeline = Pipeline()
    changes = (("currency", "EUR", "USD", "2026-06-22"),)
    pipeline.add((TALK, EARLY, None, "open"), changes=changes)
    assert steps(rows_of(pipeline.frames(), rates={"EUR": 1.0, "USD": 1.0})) == [
        {"became": "open", "expected_before": 40, "repriced": 40, "expected_after": 80}
    ]


@quiet
def test_nothing_later_than_after_changes_a_cell() -> None:
    pipeline = Pipeline()
    pipeline.add((TALK, EARLY, None, "open"))
    pipeline.add((TALK, EARLY, "2026-06-24", "won"))
    deals, visits, stages, history = pipeline.frames()
    expected = rows_of((deals, visits, stages, history))
    later = pd.DataFrame(
        [
            {
                "deal_id": 1,
                "column": "value",
                "before": "100",
                "after": "999",
                "time": "2026-06-27",
            },
            {
                "deal_id": 2,
                "column": "value",
                "before": "100",
                "after": "999",
                "time": "2026-06-28",
            },
        ]
    )
    more = pd.concat([history, small_frames.history(later.to_dict("records"))], ignore_index=True)
    changed = deals.assign(
        value=7.0,
        expected_close_date=pd.NaT,
        update_time=pd.Timestamp("2026-06-30", tz="UTC"),
    )
    result = rows_of(
        (
            changed.sample(frac=1, random_state=1),
            visits.sample(frac=1, random_state=2),
            stages,
            more,
        )
    )
    pd.testing.assert_frame_equal(result, expected)


@quiet
def test_without_history_nothing_is_repriced() -> None:
    deals, visits, stages = forecast_frames.past()
    now = {**FRIDAYS, "after": "2026-06-30"}
    with pytest.warns(DataWarning, match="Values at `before` are unknown"):
        result = metrics.forecast_changes(deals, visits, stages, **now)
    closes_exactly(result)
    assert result["repriced"].tolist() == [0.0]
    assert result["expected_before"].item() > 0
    earlier = {**FRIDAYS, "before": "2026-05-22", "after": "2026-05-29"}
    with pytest.warns(DataWarning, match="Values at `before` are unknown"):
        nothing = metrics.forecast_changes(deals, visits, stages, **earlier)
    assert "all count 0" in nothing.attrs["notes"][0]


@quiet
def test_values_from_before_the_kept_history_count_nothing_and_are_counted() -> None:
    pipeline = Pipeline()
    pipeline.add((TALK, EARLY, None, "open"))
    deals, visits, stages, history = pipeline.frames()
    first = pd.Timestamp("2026-06-22", tz="UTC")
    history = history.assign(time=first, seen_at=first, source="first look")
    rows = rows_of((deals, visits, stages, history))
    assert steps(rows) == [{"became": "open", "repriced": 40, "expected_after": 40}]
    assert rows["currency"].tolist() == ["EUR"]
    with pytest.warns(DataWarning, match="values at the two times are null or unknown"):
        metrics.forecast_changes(deals, visits, stages, history=history, **FRIDAYS)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"before": "2026-06-26"}, "must follow each other"),
        ({"until": "2026-06-20"}, "must follow each other"),
        ({"before": "last week"}, "before="),
        ({"method": "oracle"}, "method must be one of"),
        ({"by": "nothing"}, "no column 'nothing'"),
        ({"by": "aged"}, "column 'aged' of its own"),
        ({"by": "currency", "rates": {"EUR": 1}}, "keeps currencies apart"),
        ({"rates": 1}, "rates"),
    ],
)
@quiet
def test_wrong_arguments_are_named(how: dict[str, Any], message: str) -> None:
    deals, visits, stages = forecast_frames.past()
    with pytest.raises(ArgumentError, match=message):
        metrics.forecast_changes(deals, visits, stages, **{**FRIDAYS, **how})


@quiet
def test_a_young_account_and_a_far_end_are_refused() -> None:
    deals, visits, stages = forecast_frames.past(40)
    with pytest.raises(InsufficientDataError, match="closed"):
        metrics.forecast_changes(
            deals.head(12), visits[visits["deal_id"].isin(deals["id"].head(12))], stages, **FRIDAYS
        )
    deals, visits, stages = forecast_frames.past()
    with pytest.raises(InsufficientDataError, match="past the follow-up"):
        metrics.forecast_changes(deals, visits, stages, **{**FRIDAYS, "until": "2040"})
