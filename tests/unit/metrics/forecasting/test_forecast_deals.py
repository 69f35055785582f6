"""Probabilities of open deals: the columns, what is refused, cases by hand, and that nothing later
than `as_of` changes a cell.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdframe import metrics
from pdframe.errors import ArgumentError, DataWarning, InsufficientDataError
from pdframe.metrics._arguments import NULL
from pdframe.metrics._columns import NO_ID
from pdframe.metrics.forecasting._interface import DAY, Activity, LineItems, OpenDeals
from pdframe.metrics.forecasting.blend import Blend
from pdframe.metrics.forecasting.deals import _circumstances
from pdframe.metrics.forecasting.design import Design
from pdframe.metrics.forecasting.known import Known
from pdframe.metrics.forecasting.likeness import Likeness
from pdframe.metrics.forecasting.methods import METHODS
from pdframe.metrics.forecasting.why import Circumstances, Why
from tests.helpers.forecast_frames import END, FIRST_ID, STAGE_IDS, past
from tests.helpers.small_frames import DEALS, VISITS, frame

AS_OF = "2026-06-30"
COLUMNS = [
    "deal_id", "title", "owner_name", "stage", "currency", "value", "days_in_stage", "deal_age",
    "expected_close", "horizon", "p_won", "p_lost", "p_open", "expected_value", "band", "category",
    "basis", "n_like", "why", "reason",
]  # fmt: skip
pytestmark = pytest.mark.filterwarnings("ignore::pdframe.DataWarning")
Frames = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]


def forecast(frames: Frames, as_of: Any = AS_OF, horizons: Any = ("30D", "90D"), **how: Any) -> Any:
    return metrics.forecast_deals(*frames, as_of=as_of, horizons=horizons, **how)


def digest(result: pd.DataFrame) -> str:
    """A digest of every bit of the numbers, and of the texts."""
    parts = [
        result[name].to_numpy(np.float64, na_value=np.nan).tobytes()
        if result[name].dtype.kind in "fi"
        else repr(result[name].tolist()).encode()
        for name in result
    ]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def with_deal(frames: Frames, left: str | None = None, **cells: Any) -> Frames:
    """The frames with one more deal, open in the second stage since 20 June."""
    deals, visits, stages = frames
    number = int(cells.pop("id", 1))
    stage = cells.pop("stage_id", STAGE_IDS[1])
    entered = pd.Timestamp(cells.pop("entered", "2026-06-20"), tz="UTC")
    deal = {
        "id": number,
        "title": "One more",
        "owner_id": 7,
        "value": 500.0,
        "currency": "EUR",
        "status": "open",
        "is_deleted": False,
        "add_time": entered,
        "update_time": entered,
        "expected_close_date": pd.Timestamp("2026-08-01"),
        **cells,
    }
    seen = {"deal_id": number, "pipeline_id": 900, "stage_id": stage, "visit": 1}
    times = {"entered_at": entered, "seen_at": entered, "end": "open", "source": "changelog"}
    return (
        pd.concat([frame(DEALS, [deal]), deals], ignore_index=True),
        pd.concat([visits, frame(VISITS, [seen | times])], ignore_index=True),
        stages,
    )


def row_of(result: pd.DataFrame, deal: int = 1) -> pd.DataFrame:
    return result[result["deal_id"] == deal].reset_index(drop=True)


@pytest.fixture(scope="module")
def frames() -> Frames:
    return past()


def test_one_row_a_deal_and_horizon_with_probabilities_that_add_up(frames: Frames):
    result = forecast(frames, horizons=["90D", "30D", "2026-Q3", "2026-12-31"])
    deals = frames[0]
    assert list(result.columns) == COLUMNS
    open_deals = deals.loc[deals["status"] == "open", "id"].tolist()
    assert result["deal_id"].drop_duplicates().tolist() == sorted(open_deals)
    days = result["horizon"].drop_duplicates() / pd.Timedelta(days=1)
    assert days.tolist() == pytest.approx([30, 90, 92, 184])
    total = result["p_won"] + result["p_lost"] + result["p_open"]
    np.testing.assert_allclose(total, 1, atol=1e-12)
    for name in ("p_won", "p_lost"):
        steps = result[name].to_numpy().reshape(-1, 4)
        assert (np.diff(steps, axis=1) >= 0).all()
        assert ((steps >= 0) & (steps <= 1)).all()
    np.testing.assert_allclose(result["expected_value"], result["p_won"] * result["value"])
    bands = np.where(
        result["p_won"] > 0.7, "commit", np.where(result["p_won"] < 0.3, "pipeline", "best case")
    )
    assert result["band"].tolist() == bands.tolist()
    assert result.attrs["keys"] == ["deal_id", "horizon"]
    assert result["why"].str.contains("(blend) (x", regex=False).all()
    assert result["why"].str.contains("(calibration) (x", regex=False).all()


def test_a_horizon_alone_is_what_it_is_among_others(frames: Frames):
    among = forecast(frames, horizons=["10D", "45D", "200D"])
    alone = forecast(frames, horizons="45D")
    own = among[among["horizon"] == pd.Timedelta(days=45)]
    assert own["p_won"].tolist() == alone["p_won"].tolist()
    assert own["p_lost"].tolist() == alone["p_lost"].tolist()


def test_why_is_the_odds_of_the_next_interval_as_a_product(frames: Frames):
    known = Known.at(*frames, AS_OF)
    fitted = METHODS["hazard"].fit(known, 0)
    assert isinstance(fitted, Blend)
    there = known.open_at([known.as_of])
    why = fitted.explain(there)
    first = fitted.hazard.design.ends[:1]
    p = fitted.predict(there, first).won[:, 0]
    np.testing.assert_allclose(why.base * why.factors.prod(axis=1), p / (1 - p), rtol=1e-9)
    model = fitted.hazard.predict(there, first).won[:, 0]
    np.testing.assert_allclose(
        why.base * why.factors[:, :-2].prod(axis=1), model / (1 - model), rtol=1e-9
    )


def test_why_says_in_words_what_its_factors_are_of(frames: Frames):
    deals, visits, stages = with_deal(frames)
    deals["owner_name"] = deals["owner_id"].map({7: "Ann", 8: "Bo"}).astype("str")
    result = forecast((deals, visits, stages), horizons="30D")
    said = " ".join(result["why"])
    for words in (
        r"stage (Talk|Offer) \(x",
        r"\d+ days? in (Talk|Offer) \(x",
        r"all else \(x",
    ):
        assert re.search(words, said), words
    known = Known.at(deals, visits, stages, AS_OF)
    fitted = METHODS["hazard"].fit(known, 0)
    assert isinstance(fitted, Blend)
    why = fitted.explain(known.open_at([known.as_of]))
    for row, text in enumerate(result["why"]):
        percent, days, average = re.match(
            r"(\S+) % within (\S+) days \(an average deal: (\S+) %\), odds times: ", text
        ).groups()  # type: ignore[union-attr]
        factors = [float(number) for number in re.findall(r"\(x([\d.]+)\)", text)]
        odds = why.base * why.factors[row].prod()
        assert float(percent) == pytest.approx(100 * odds / (1 + odds), rel=0.06)
        assert float(average) == pytest.approx(100 * why.base / (1 + why.base), rel=0.06)
        assert float(days) == pytest.approx(why.days, abs=0.06)
        # What the text says multiplies to the odds that it says, up to its digits.
        assert np.prod(factors) == pytest.approx(why.factors[row].prod(), rel=0.06)
        named = [abs(np.log(number)) for number in factors[:-3]]
        assert named == sorted(named, reverse=True)


def test_why_counts_the_days_of_the_company(frames: Frames):
    # At 22:00 in UTC it is July in Tallinn; the deal is expected to close on 1 August.
    known = Known.at(*with_deal(frames), pd.Timestamp("2026-06-30 22:00", tz="UTC"), tz="UTC")
    fitted = METHODS["hazard"].fit(known, 0)
    assert isinstance(fitted, Blend)
    there = known.open_at([known.as_of])
    for tz, texts in (
        ("UTC", ["expected close in 32 days", "season (June)"]),
        ("Europe/Tallinn", ["expected close in 31 days", "season (July)"]),
    ):
        own = Known.at(*with_deal(frames), pd.Timestamp("2026-06-30 22:00", tz="UTC"), tz=tz)
        words = _circumstances(own, there, fitted.hazard.design)
        assert [words.text(term, 0) for term in ("expected close", "season")] == texts


def test_why_has_words_for_every_term():
    day_of = pd.Timestamp("2026-06-30").value // 1_000
    nothing, one = np.array([NO_ID, 5]), np.array([NULL, 4 * DAY])
    there = OpenDeals(
        np.array([1, 2]), np.full(2, day_of), np.ones(2, np.int64), nothing,
        np.full(2, day_of - 6 * DAY), np.full(2, day_of - DAY), np.array([np.nan, 1234.5]),
        np.array([None, "EUR"], object), nothing, np.array([NULL, day_of // DAY + 12]),
        np.array([0, 2]), Activity(one, np.zeros(2, np.int64), one),
        LineItems(np.array([0, 3]), nothing),
    )  # fmt: skip
    words = Circumstances(there, ["", "Offer"], [None, "Ann"], np.array([0, 3]), np.full(2, 20634))
    expected = {
        "stage": ["unknown stage", "stage Offer"],
        "time in stage": ["time in an unknown stage", "6 days in Offer"],
        "age of the deal": ["created 1 day ago"] * 2,
        "value": ["unknown value", "value 1,234 EUR, of a usual size"],
        "owner": ["unknown owner", "owner Ann"],
        "moves back": ["never moved back", "moved back twice"],
        "expected close": ["no expected close", "expected close in 12 days"],
        "season": ["season (June)"] * 2,
        "activity": ["no activity done", "last activity 4 days ago"],
        "line items": ["0 line items", "3 line items"],
        "product": ["no product", "product 5"],
    }
    for term, texts in expected.items():
        assert [words.text(term, row) for row in (0, 1)] == texts
    design = Design.of(there, 28 * DAY, np.array([14 * DAY]), "UTC")
    assert {feature.term for feature in design.features} - {""} <= set(expected)


def test_an_account_of_another_zone_with_the_same_clock_has_the_same_forecast():
    frames = past(150)
    ago = pd.Timedelta(hours=11)
    moved = tuple(
        table.assign(**{name: table[name] - ago for name in table.select_dtypes("datetimetz")})
        for table in frames
    )
    at = pd.Timestamp("2026-06-30 15:00", tz="UTC")
    own = forecast(frames, at, tz="UTC")
    other = forecast(moved, at - ago, tz="Etc/GMT-11")  # type: ignore[arg-type]
    names = ["deal_id", "p_won", "p_lost", "why", "reason"]
    assert digest(own[names]) == digest(other[names])
    # The season of an instant is that of the company.
    assert digest(own[names]) != digest(forecast(frames, at, tz="Etc/GMT-11")[names])


def test_intervals_lie_in_the_months_and_against_the_days_of_the_company():
    # In 7 days, the middle of the first interval, it is 22:00 of 30 June in UTC: July in Tallinn.
    at = pd.Timestamp("2026-06-23 22:00").value // 1_000
    none = np.full(2, NO_ID)
    last, first = (pd.Timestamp(day).value // 1_000 // DAY for day in ("2026-06-30", "2026-07-01"))
    there = OpenDeals(
        np.array([1, 2]), np.full(2, at), none, none, np.full(2, at), np.full(2, at),
        np.full(2, np.nan), np.full(2, None, object), none, np.array([last, first]),
        np.zeros(2, np.int64),
    )  # fmt: skip
    row, interval = np.array([0, 1]), np.zeros(2, np.int64)
    levels = {}
    for tz in ("UTC", "Europe/Tallinn", "America/New_York"):
        design = Design.of(there, 28 * DAY, np.array([14 * DAY]), tz)
        varying = design.varying(design.observed(there), row, interval)
        names = [feature.name for feature in design.features][-len(varying) :]
        levels[tz] = dict(zip(names, varying, strict=True))
    # Two hours before the end of the expected close, or one after it: before or after is a bound.
    for tz, closes, month in (
        ("UTC", [5, 5], 3), ("Europe/Tallinn", [4, 5], 1), ("America/New_York", [5, 5], 3)
    ):  # fmt: skip
        assert levels[tz]["expected close"].tolist() == closes
        assert levels[tz]["month of the quarter"].tolist() == [month] * 2


def test_a_reason_is_the_strongest_terms_of_why_in_few_plain_words(frames: Frames):
    deals, visits, stages = with_deal(frames)
    deals["owner_name"] = deals["owner_id"].map({7: f"Ann {'A' * 80}", 8: "Bo"}).astype("str")
    stages = stages.assign(name=stages["name"].replace("Offer", "Offer of a stage " + "x" * 60))
    result = forecast((deals, visits, stages), horizons="30D")
    sides = set()
    for why, reason in zip(result["why"], result["reason"], strict=True):
        assert 0 < len(reason) <= 80
        assert not re.search(r"\(x|odds|blend|calibration|%|season", reason)
        terms = re.findall(r"([^:;]+?) \(x([\d.]+)\)", why.partition("odds times:")[2])
        terms = [(name.strip(), float(factor)) for name, factor in terms]
        # "stage Offer" says no more than "6 days in Offer", where both speak for the same.
        of_stage = {name: factor > 1 for name, factor in terms if name.startswith("stage ")}
        in_stage = [factor > 1 for name, factor in terms if re.match(r"\d+ days? in ", name)]
        if list(of_stage.values()) == in_stage:
            terms = [(name, factor) for name, factor in terms if name not in of_stage]
        first = terms[0]
        if first[0] == "all else":
            assert reason == "like an average deal"
            continue
        side = "for" if first[1] > 1 else "against"
        sides.add(side)
        assert reason.startswith(f"{side}: ")
        # The strongest term of all comes first; a long name is cut, a month has other words.
        start = first[0][:10]
        assert reason.removeprefix(f"{side}: ").startswith(start) or "season" in start
    assert sides == {"for", "against"}


def test_a_reason_names_each_side_once_and_no_id():
    there = OpenDeals(
        np.array([1]), np.full(1, 20634 * DAY), np.ones(1, np.int64), np.array([5]),
        np.full(1, 20600 * DAY), np.full(1, 20600 * DAY), np.array([1234.5]),
        np.array(["EUR"], object), np.array([5]), np.array([20646]), np.array([2]), None,
        LineItems(np.array([3]), np.array([5])),
    )  # fmt: skip
    words = Circumstances(there, ["Offer"], ["Ann"], np.array([3]), np.full(1, 20634))
    both = Why(14.0, 0.01, ("stage", "time in stage", "b", "c"), np.array([[3, 1.1, 5, 0.1]]))
    assert both.reasons(words).tolist() == ["for: 34 days in Offer"]
    terms = ("time in stage", "owner", "product", "season", "blend", "calibration")
    for factors, text in (
        ([2, 0.25, 1.5, 1.01], "against: owner Ann; for: 34 days in Offer, its product"),
        ([0.5, 1.01, 1.02, 3], "for: closing in June; against: 34 days in Offer"),
        ([1.01, 1.0, 0.99, 1.0], "like an average deal"),
    ):
        why = Why(14.0, 0.01, terms, np.array([[*factors, 5.0, 0.1]]))
        assert why.reasons(words).tolist() == [text]


def test_a_deal_of_unknown_stage_does_not_rest_on_its_own_stage(frames: Frames):
    known = Known.at(*with_deal(frames), AS_OF)
    there = known.open_at([known.as_of])
    here = there.take(there.deal == 1)
    many = np.full((2, 4), 30)
    like = Likeness(28 * DAY, np.array([NO_ID, STAGE_IDS[1]]), many, np.full(4, 60))
    unknown = replace(here, stage=np.array([NO_ID]))
    for deals, own, number in ((here, True, 30), (unknown, False, 60)):
        rests, count = like.counts(deals)
        assert (rests.tolist(), count.tolist()) == ([own], [number])


@pytest.mark.parametrize("method", ["aalen-johansen", "constant", "stage climatology", "weighted"])
def test_every_method_gives_the_same_columns(frames: Frames, method: str):
    result = forecast(frames, method=method)
    assert list(result.columns) == COLUMNS
    assert result["p_won"].between(0, 1).all()
    assert result[["why", "reason"]].isna().all(axis=None)


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    cut=st.sampled_from(["2025-12-31", "2026-02-15 12:00", "2026-05-31"]),
)
def test_nothing_later_changes_a_cell(seed: int, cut: str):
    """Change every closing, move, value, owner and expected close after the cutoff, add deals,
    permute rows.
    """
    deals, visits, stages = past()
    history = _values(deals)
    expected = forecast((deals, visits, stages), cut, history=history)
    rng = np.random.default_rng(seed)
    limit = pd.Timestamp(cut, tz="UTC") + pd.Timedelta(days=0 if ":" in cut else 1)
    later = (visits["left_at"] >= limit).to_numpy()
    changed = rng.random(len(visits)) < 0.5
    mine = later & changed
    moved = visits["left_at"] + pd.to_timedelta(rng.integers(1, 90, len(visits)), "D")
    visits = visits.assign(
        left_at=visits["left_at"].mask(mine, moved).astype(visits["left_at"].dtype),
        end=visits["end"].mask(mine, rng.choice(["won", "lost", "deleted"])),
    )
    visits = visits[~((visits["entered_at"] >= limit) & (rng.random(len(visits)) < 0.7))]
    hit = deals["update_time"] >= limit
    wins = {"status": "won", "won_time": limit + pd.Timedelta(days=int(rng.integers(0, 99)))}
    for name, value in wins.items():
        deals = deals.assign(**{name: deals[name].mask(hit, value).astype(deals[name].dtype)})
    deals = deals.assign(
        lost_time=deals["lost_time"].mask(hit),
        value=deals["value"].mask(hit, float(rng.integers(1, 10**6))),
        # What a deal is edited to later is in the frame of every deal, closed or not.
        expected_close_date=_shifted(deals["expected_close_date"], rng),
        owner_id=deals["owner_id"].mask(rng.random(len(deals)) < 0.5, 4711),
    )
    new = with_deal((deals, visits, stages), entered="2026-06-29", id=77)
    # A time is known up to itself, included.
    soon = limit + pd.Timedelta(microseconds=1)
    edited = {"value": "2", "owner_id": "4711", "expected_close_date": "2031-01-01"}
    rows = pd.DataFrame(
        [
            {"deal_id": deal, "column": name, "before": None, "after": after}
            for deal in deals["id"]
            for name, after in edited.items()
        ]
    ).assign(time=soon, seen_at=soon)
    history = pd.concat([history, rows.astype(history.dtypes)], ignore_index=True)
    first, second, third = (one.sample(frac=1, random_state=seed % 2**31) for one in new)
    mixed = history.sample(frac=1, random_state=1)
    result = forecast((first, second, third), cut, history=mixed)
    pd.testing.assert_frame_equal(result, expected, check_exact=True)


def _shifted(days: pd.Series, rng: np.random.Generator) -> pd.Series:
    moved = days + pd.to_timedelta(rng.integers(-400, 400, len(days)), "D")
    return moved.astype(days.dtype)


def _values(deals: pd.DataFrame) -> pd.DataFrame:
    """Return a history in which each deal has had the values of the frame from its beginning."""
    parts = []
    for name in ("value", "currency", "owner_id", "expected_close_date"):
        text = [None if pd.isna(value) else _text(value) for value in deals[name]]
        parts.append(
            pd.DataFrame(
                {"deal_id": deals["id"], "column": name, "before": None, "after": text}
            ).assign(time=deals["add_time"], seen_at=deals["add_time"])
        )
    return pd.concat(parts, ignore_index=True).astype(
        {"column": "str", "before": "str", "after": "str"}
    )


def _text(value: Any) -> str:
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d}"
    return f"{value:g}" if isinstance(value, float) else str(value)


_SCRIPT = """
import warnings
warnings.simplefilter("ignore")
from tests.unit.metrics.forecasting.test_forecast_deals import digest, forecast
from tests.helpers.forecast_frames import past
print(digest(forecast(past(400))))
"""


def test_the_bytes_are_the_same_on_1_and_8_threads():
    results = set()
    for threads in ("1", "8"):
        names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
        run = subprocess.run(
            [sys.executable, "-c", _SCRIPT],
            env=os.environ | dict.fromkeys(names, threads),
            capture_output=True,
            text=True,
            check=True,
        )
        results.add(run.stdout.strip())
    assert len(results) == 1


def test_the_seed_decides_and_rows_and_other_readers_do_not(frames: Frames):
    first = forecast(frames, seed=3)
    deals, visits, stages = (one.sample(frac=1, random_state=2) for one in frames)
    second = forecast((deals, visits.convert_dtypes(), stages), seed=3)
    assert digest(first) == digest(second)


def test_no_open_deals_are_no_rows(frames: Frames):
    deals, visits, stages = frames
    closed = deals[deals["status"] != "open"]
    rest = visits[visits["deal_id"].isin(closed["id"])]
    result = forecast((closed, rest, stages))
    assert len(result) == 0
    assert result.dtypes.equals(forecast(frames).dtypes)


def test_one_open_deal(frames: Frames):
    deals, visits, stages = frames
    closed = deals[deals["status"] != "open"]
    one = with_deal((closed, visits[visits["deal_id"].isin(closed["id"])], stages))
    result = forecast(one)
    assert result["deal_id"].tolist() == [1, 1]
    assert result["days_in_stage"].round(6).tolist() == [11.0, 11.0]
    assert result["expected_close"].tolist() == [pd.Timestamp("2026-08-01")] * 2
    assert result["stage"].tolist() == ["Offer", "Offer"]


def test_a_young_account_is_refused_with_its_counts():
    # By the end of 30 June where the company is, which in UTC is the morning of 1 July.
    for tz in ("UTC", "America/Los_Angeles"):
        with pytest.raises(
            InsufficientDataError,
            match=r"30 closed deals, 10 of them won; 11 were closed and 3 won by 2026-06-30\.",
        ):
            forecast(past(12), tz=tz)


def test_an_account_without_wins_is_refused(frames: Frames):
    deals, visits, stages = frames
    lost = deals["status"] == "won"
    deals = deals.assign(
        status=deals["status"].mask(lost, "lost"),
        lost_time=deals["lost_time"].fillna(deals["won_time"]),
        won_time=pd.Series(pd.NaT, deals.index, dtype=deals["won_time"].dtype),
    )
    visits = visits.assign(end=visits["end"].mask(visits["end"] == "won", "lost"))
    with pytest.raises(InsufficientDataError, match="0 won"):
        forecast((deals, visits, stages))


def test_a_horizon_past_the_follow_up_names_the_longest(frames: Frames):
    # The 30th deal was added 29 / 120 of 729 days after the first: 553.8 days before the end.
    with pytest.raises(InsufficientDataError, match=r"A horizon of 2,000 days .* for 553 days"):
        forecast(frames, horizons="2000D")


def telling(column: str) -> Frames:
    """A past in which a column tells how a deal ends: of values from 600, of owner 8, and of
    expected closes more than a year after the creation, no deal was won.
    """
    deals, visits, stages = past(300)
    if column == "value":
        never = deals["value"] >= 600
    elif column == "owner_id":
        never = deals["owner_id"] == 8
    else:
        never = deals["id"] % 2 == 0
        late = deals["expected_close_date"] + pd.Timedelta(days=400)
        late = late.astype(deals["expected_close_date"].dtype)
        deals["expected_close_date"] = deals["expected_close_date"].mask(never, late)
    lost = (never & (deals["status"] == "won")).to_numpy()
    deals.loc[lost, "lost_time"] = deals.loc[lost, "won_time"]
    deals.loc[lost, "won_time"], deals.loc[lost, "status"] = pd.NaT, "lost"
    visits.loc[visits["deal_id"].isin(deals.loc[lost, "id"]) & (visits["end"] == "won"), "end"] = (
        "lost"
    )
    return deals, visits, stages


def chances(column: str, *cells: Any) -> list[pd.DataFrame]:
    """The rows of deals that differ in a column alone, beside a past in which it tells."""
    frames = telling(column)
    for number, value in enumerate(cells, 1):
        frames = with_deal(frames, id=number, **{column: value})
    result = forecast(frames, history=_values(frames[0]))
    return [row_of(result, number) for number in range(1, len(cells) + 1)]


def test_a_value_that_is_null_zero_or_a_credit():
    small, large, null, zero, credit = chances("value", 100.0, 900.0, None, 0.0, -300.0)
    assert (large["p_won"] < small["p_won"] / 2).all()
    # Of these nothing was learned: they are between.
    for unknown in (null, zero, credit):
        assert (unknown["p_won"] > large["p_won"]).all()
        assert (unknown["p_won"] < small["p_won"]).all()
    assert credit["p_won"].tolist() == zero["p_won"].tolist()
    assert null["expected_value"].isna().all()
    assert zero["expected_value"].tolist() == [0.0, 0.0]
    np.testing.assert_array_equal(credit["expected_value"], -300 * credit["p_won"])


def test_all_values_null_or_zero(frames: Frames):
    deals, visits, stages = frames
    null, zero = (
        forecast((own, visits, stages), history=_values(own))
        for own in (deals.assign(value=np.nan), deals.assign(value=0.0))
    )
    assert null["expected_value"].isna().all()
    assert zero["expected_value"].eq(0).all()
    # What is the same of all deals says nothing of one.
    np.testing.assert_allclose(null["p_won"], zero["p_won"], rtol=0.02)
    assert null["p_won"].nunique() > len(null) / 2


def test_an_expected_close_long_past_or_far_ahead_or_none():
    soon, past_one, far, edge, none = (
        rows
        for rows in chances(
            "expected_close_date",
            *map(pd.Timestamp, ("2026-07-20", "2020-01-01", "2099-12-31", "9999-12-31")),
            None,
        )
    )
    # Deals that were to close in more than a year were not won; nothing is known of 2020.
    assert (far["p_won"] < soon["p_won"] / 2).all()
    assert (past_one["p_won"] > far["p_won"]).all()
    assert far["expected_close"].eq(pd.Timestamp("2099-12-31")).all()
    assert past_one["expected_close"].eq(pd.Timestamp("2020-01-01")).all()
    # The edge of time is no date.
    assert edge["expected_close"].isna().all()
    assert edge["p_won"].tolist() == none["p_won"].tolist()
    assert none["p_won"].tolist() != far["p_won"].tolist()


def test_a_deal_older_than_any_history(frames: Frames):
    old = with_deal(frames, entered="1999-01-01")
    result = row_of(forecast(old))
    assert result["deal_age"].round().tolist() == [10043.0, 10043.0]
    # No deal of the past was open for so long and won.
    young = row_of(forecast(with_deal(frames)))
    assert (result["p_won"] < young["p_won"] / 2).all()


def test_a_stage_that_no_deal_visited_before_rests_on_all(frames: Frames):
    # The first stage of another pipeline, which no deal was in, and one that is in no list.
    extra = frames[2].head(1).assign(id=903, name="Pilot", order_nr=3)
    both = frames[0], frames[1], pd.concat([frames[2], extra], ignore_index=True)
    for number, stage in enumerate((*STAGE_IDS, 903, 12345), 1):
        both = with_deal(both, id=number, stage_id=stage)
    result = forecast(both)
    first, second, empty, unlisted = (row_of(result, number) for number in (1, 2, 3, 4))
    assert [rows["stage"].tolist() for rows in (first, second, empty)] == [
        ["Talk"] * 2, ["Offer"] * 2, ["Pilot"] * 2,
    ]  # fmt: skip
    assert unlisted["stage"].isna().all()
    for rows in (empty, unlisted):
        assert rows["basis"].eq("pooled").all()
        assert (first["p_won"] < rows["p_won"]).all()
        assert (rows["p_won"] < second["p_won"]).all()


def test_a_deal_in_a_stage_that_was_deleted_is_judged_by_it(frames: Frames):
    """Deals of the past were in it; its row is marked deleted, or no longer in the list."""
    deals, visits, stages = with_deal(frames)
    here = forecast((deals, visits, stages))
    marked = stages.assign(is_deleted=stages["id"] == STAGE_IDS[1])
    pd.testing.assert_frame_equal(forecast((deals, visits, marked)), here)
    without = forecast((deals, visits, stages.head(1)))
    numbers = ["deal_id", "p_won", "p_lost", "days_in_stage", "n_like", "basis"]
    pd.testing.assert_frame_equal(without[numbers], here[numbers])
    assert row_of(without)["stage"].isna().all()


def test_a_deal_that_moved_to_another_pipeline_is_one_deal_in_its_new_stage(frames: Frames):
    deals, visits, stages = with_deal(frames, entered="2026-05-01")
    moved = pd.Timestamp("2026-06-25", tz="UTC")
    own = (visits["deal_id"] == 1).to_numpy()
    visits.loc[own, "left_at"], visits.loc[own, "end"] = moved, "changed pipeline"
    there = {"deal_id": 1, "pipeline_id": 950, "stage_id": 951, "visit": 1, "source": "changelog"}
    there |= {"entered_at": moved, "seen_at": moved, "end": "open"}
    visits = pd.concat([visits, frame(VISITS, [there])], ignore_index=True)
    deals.loc[deals["id"] == 1, ["pipeline_id", "stage_id"]] = [950, 951]
    pilot = stages.head(1).assign(id=951, name="Pilot", pipeline_id=950)
    stages = pd.concat([stages, pilot], ignore_index=True)
    result = row_of(forecast((deals, visits, stages)))
    assert result["stage"].tolist() == ["Pilot", "Pilot"]
    # To the end of 30 June: 6 days since it moved, 61 since it was created.
    assert result["days_in_stage"].round(6).tolist() == [6.0, 6.0]
    assert result["deal_age"].round(6).tolist() == [61.0, 61.0]
    assert result["basis"].tolist() == ["pooled", "pooled"]
    # On the day before it was in the second stage of the first pipeline.
    before = row_of(forecast((deals, visits, stages), "2026-06-24"))
    assert before["stage"].tolist() == ["Offer", "Offer"]


def test_an_archived_open_deal_is_open_and_one_deleted_later_was(frames: Frames):
    archived = with_deal(frames)
    archived = (archived[0].assign(is_archived=True), *archived[1:])
    assert len(row_of(forecast(archived))) == 2
    deleted = with_deal(
        frames, status="deleted", is_deleted=True, deleted_time=END + pd.Timedelta(days=5)
    )
    assert len(row_of(forecast(deleted))) == 2
    over = with_deal(
        frames, status="deleted", is_deleted=True, deleted_time=END - pd.Timedelta(days=5)
    )
    assert len(row_of(forecast(over))) == 0


def test_an_owner_who_is_new_unknown_or_left():
    good, bad, new, unknown = chances("owner_id", 7, 8, 4711, None)
    assert (bad["p_won"] < good["p_won"] / 2).all()
    for rows in (new, unknown):
        assert (bad["p_won"] < rows["p_won"]).all()
        assert (rows["p_won"] < good["p_won"]).all()
    assert new["p_won"].tolist() == unknown["p_won"].tolist()


def test_the_deals_of_an_owner_who_left_are_judged_by_the_new_one_from_then_on():
    frames = telling("owner_id")
    deals, visits, stages = with_deal(with_deal(frames, owner_id=7), id=2, owner_id=7)
    history = _values(deals)
    # Owner 8 left, and the first deal went to owner 7 on 25 June.
    handed = history["deal_id"].eq(1) & history["column"].eq("owner_id")
    taken_over = pd.Timestamp("2026-06-25", tz="UTC")
    change = {"before": "8", "after": "7", "time": taken_over, "seen_at": taken_over}
    history.loc[handed, "after"] = "8"
    later = history[handed].assign(**change).astype(history.dtypes)
    history = pd.concat([history, later], ignore_index=True)
    deals["owner_name"] = deals["owner_id"].map({7: "Ann", 8: "Bo"}).astype("str")
    then, now = (
        forecast((deals, visits, stages), when, history=history) for when in ("2026-06-24", AS_OF)
    )
    assert row_of(then, 1)["owner_name"].tolist() == ["Bo", "Bo"]
    assert (row_of(then, 1)["p_won"] < row_of(then, 2)["p_won"] / 2).all()
    assert row_of(now, 1)["owner_name"].tolist() == ["Ann", "Ann"]
    assert row_of(now, 1)["p_won"].tolist() == row_of(now, 2)["p_won"].tolist()


def test_before_the_kept_history_deals_are_known_and_their_stages_are_not():
    deals, visits, stages = past(300)
    # The first sync was on 15 January: what was open or closed before was seen then.
    first = pd.Timestamp("2026-01-15", tz="UTC")
    visits = visits.assign(source="snapshots", seen_at=visits["entered_at"].clip(lower=first))
    result = forecast((deals, visits, stages), "2025-12-31", horizons="90D")
    # Of 226 deals created by then, 209 had been closed.
    assert (deals["add_time"] < pd.Timestamp("2026-01-01", tz="UTC")).sum() == 226
    assert len(result) == 17
    assert result["stage"].isna().all()
    assert result["value"].isna().all()
    assert any("the stage is unknown in 100% of the past" in n for n in result.attrs["notes"])
    record = metrics.backtest(
        deals, visits, stages, cutoffs="2025-12-31", horizons="90D", until_months=0, as_of=END
    )
    of_method = record.set_index("method")
    assert (of_method["n"].unique().tolist(), of_method["wins"].unique().tolist()) == ([17], [9])
    assert of_method.loc["hazard", "expected"] == pytest.approx(result["p_won"].sum())


def test_columns_of_deals_come_first_and_a_category_beside_the_band(frames: Frames):
    deals = frames[0].assign(region=np.where(frames[0]["id"] % 2, "N", "S"), mine="commit")
    result = forecast((deals, *frames[1:]), by=["region", "owner_id"], category="mine")
    assert list(result.columns) == ["region", "owner_id", *COLUMNS]
    assert result["category"].eq("commit").all()
    assert result.attrs["keys"] == ["region", "owner_id", "deal_id", "horizon"]
    row = result.iloc[0]
    deal = metrics.drill_through(row[["deal_id"]], deals.rename(columns={"id": "deal_id"}))
    assert len(deal) == 1


def test_by_owner_is_its_name_of_today_once(frames: Frames):
    deals = frames[0].assign(owner_name=frames[0]["owner_id"].map({7: "Ana", 8: "Bo"}))
    for by in ("owner", "owner_name"):
        result = forecast((deals, *frames[1:]), by=by, method="constant")
        others = [name for name in COLUMNS if name != "owner_name"]
        assert list(result.columns) == ["owner_name", *others]
        assert set(result["owner_name"]) == {"Ana", "Bo"}
        assert result.attrs["keys"] == ["owner_name", "deal_id", "horizon"]


@pytest.mark.parametrize("as_of", ["2026-06", "2026-Q2", pd.Period("2026-06", "M")])
def test_as_of_a_month_or_quarter_is_its_end(frames: Frames, as_of: Any):
    assert digest(forecast(frames, as_of=as_of)) == digest(forecast(frames))


def test_visits_without_their_deals_are_enough(frames: Frames):
    deals, visits, stages = frames
    for method in METHODS:
        result = forecast((deals.iloc[:0], visits, stages), method=method)
        open_deals = visits.loc[visits["end"] == "open", "deal_id"]
        assert result["deal_id"].drop_duplicates().tolist() == sorted(open_deals)
        assert result[["title", "owner_name", "value"]].isna().all(axis=None)


def test_a_horizon_after_the_year_2262_is_past_the_follow_up(frames: Frames):
    with pytest.raises(InsufficientDataError, match="past the follow-up"):
        forecast(frames, horizons="9998")


def test_two_currencies_keep_their_own(frames: Frames):
    result = forecast(with_deal(frames, currency="JPY", value=9e5))
    assert set(result["currency"]) == {"EUR", "JPY"}


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"horizons": []}, "horizons must name"),
        ({"horizons": 30}, "horizons=30 is not a length"),
        ({"horizons": "2026-01-01"}, "does not lie after as_of"),
        ({"method": "magic"}, "method must be one of 'hazard'"),
        ({"by": "nothing"}, "no column 'nothing'"),
        ({"category": "nothing"}, "no column 'nothing'"),
        ({"by": "p_won"}, "column 'p_won' of its own"),
        ({"as_of": "soon"}, "as_of='soon' is not a time"),
        ({"seed": 1.5}, "seed=1.5 must be a whole number"),
    ],
)
def test_wrong_arguments_are_named(frames: Frames, how: dict[str, Any], message: str):
    with pytest.raises(ArgumentError, match=message):
        forecast(frames, **how)


@pytest.mark.filterwarnings("default::pdframe.DataWarning")
def test_one_warning_of_two_lines_and_all_of_it_in_the_notes(frames: Frames):
    deals, visits, stages = frames
    same = deals["id"] < FIRST_ID + 25
    deals = deals.assign(
        add_time=deals["add_time"].mask(same, pd.Timestamp("2024-06-30", tz="UTC"))
    )
    with pytest.warns(DataWarning) as caught:
        result = forecast((deals, visits, stages), "2026-03-31")
    assert len(caught) == 1
    assert len(str(caught[0].message).splitlines()) == 2
    notes = result.attrs["notes"]
    assert any("values, owners and expected closes of then are unknown" in note for note in notes)
    assert any("25 deals were created in bulk" in note for note in notes)
    assert result["value"].isna().all()
