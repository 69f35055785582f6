"""The probabilities of each open deal: `forecast_deals`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdframe._warnings import collect_warnings
from pdframe.metrics._arguments import NULL, keyed, local_days, require_columns
from pdframe.metrics._columns import NO_ID, one_row_each, places, plain_ids
from pdframe.metrics._grouping import taken
from pdframe.metrics._notes import note
from pdframe.metrics._survival import Floats, Ints
from pdframe.metrics.forecasting._checks import (
    notes_of,
    refuse_long,
    refuse_young,
)
from pdframe.metrics.forecasting._horizons import read_horizons
from pdframe.metrics.forecasting._interface import DAY, OpenDeals
from pdframe.metrics.forecasting._labels import group_names
from pdframe.metrics.forecasting.blend import Blend
from pdframe.metrics.forecasting.design import Design
from pdframe.metrics.forecasting.known import Known
from pdframe.metrics.forecasting.landmarks import landmarks
from pdframe.metrics.forecasting.learned import Learned
from pdframe.metrics.forecasting.likeness import Likeness
from pdframe.metrics.forecasting.why import Circumstances

Time: TypeAlias = str | date | pd.Timestamp | pd.Period

BANDS = ("commit", "best case", "pipeline")
"""Bands by the probability of winning: above `COMMIT`, between, under `PIPELINE`."""
COMMIT, PIPELINE = 0.7, 0.3
BASES = ("own stage", "pooled")
_CARRIED = ("title", "owner_name", "currency")
"""Columns of the result that are also columns of `deals`, to group by; the first two as these have
them.
"""
_COLUMNS = (
    "deal_id",
    "title",
    "owner_name",
    "stage",
    "currency",
    "value",
    "days_in_stage",
    "deal_age",
    "expected_close",
    "horizon",
    "p_won",
    "p_lost",
    "p_open",
    "expected_value",
    "band",
    "category",
    "basis",
    "n_like",
    "why",
    "reason",
)


def forecast_deals(
    deals: pd.DataFrame,
    visits: pd.DataFrame,
    stages: pd.DataFrame,
    *,
    as_of: Time,
    horizons: Any,
    by: str | Sequence[str] | None = None,
    history: pd.DataFrame | None = None,
    activities: pd.DataFrame | None = None,
    deal_products: pd.DataFrame | None = None,
    method: str = "hazard",
    category: str | None = None,
    seed: int = 0,
    tz: str | None = None,
) -> pd.DataFrame:
    """Give each open deal its probabilities of being won and lost within horizons, and why.

    Parameters
    ----------
    deals
        One row per deal, from `account.deals(deleted=True)`: id, add_time, status, won_time,
        lost_time; title, owner_name, owner_id, value, currency, expected_close_date where present.
    visits
        One row per visit of a deal to a stage, from `account.stage_visits()`.
    stages
        One row per stage, with id, pipeline_id, order_nr, name.
    as_of
        What happened after it is unknown; a bare date is the end of that day, a month, quarter or
        year its end.
    horizons
        One or more lengths of time ("90D", a Timedelta), or days, months, quarters or years
        ("2026-09-30", "2026-Q3") by whose end a deal is won.
    by
        Columns of `deals` that the result has first, as they are given; so owner_name is then
        today's, as in `forecast`. "currency" is that of `as_of`.
    history
        From `account.deal_history()`: values, owners and expected closes as they were. None: those
        of `deals` hold at `as_of` if the frames show nothing later, and those of the past are
        unknown.
    activities, deal_products
        From `account.activities()` (id, deal_id, add_time, marked_as_done_time) and
        `account.deal_products()` (id, deal_id, product_id, add_time). None: not used. Read by
        "hazard" alone.
    method
        "hazard", "aalen-johansen", or a baseline: "constant", "stage climatology", "weighted".
    category
        Name of a column of `deals` with the rep's own category.
    seed
        Draws the training sample. Same seed, same result.
    tz
        Timezone of naive times and of days; None: the frames' `attrs["tz"]`, which the loaders set,
        else UTC.

    Returns
    -------
    DataFrame
        One row per deal open at `as_of` and horizon, by deal_id and horizon:

        - the columns of `by`; deal_id, title, owner_name, stage (name; null: unknown)
        - currency, value: as known at `as_of`; null: none, or unknown then
        - days_in_stage, deal_age: days; expected_close: day; null: none, or unknown
        - horizon: length of time from `as_of`
        - p_won, p_lost, p_open: the probabilities that its first closing within the horizon is a
          win, or a loss or a deletion, and that it has none; their sum is 1
        - expected_value: p_won x value; null where value is
        - band: commit (p_won above .7), best case, pipeline (under .3); category: the rep's own,
          null without `category=`
        - basis: own stage, or pooled where its stage is unknown or fewer than 20 past deals were in
          it for a similar time; n_like: number of past deals that were like it
        - why: the probability of winning in the next interval of the model, half of the time
          between landmarks, and what moves it most, the strongest first. The odds, p / (1 - p), are
          those of an average deal times all factors: x2.00 doubles them, x1.00 changes nothing. The
          last two correct the regression: the blend with how past deals in this stage ended, and
          the calibration by how earlier forecasts turned out, how wins changed lately, and the
          month of the quarter and of the year. Null with another method than "hazard"
        - reason: the same in at most 80 characters, for people: what speaks for a win and against
          it, compared with an average deal of the same day (without the last two of `why`, which
          all deals share more or less), the strongest first. Null as `why`

    Raises
    ------
    ArgumentError
        A column is missing or holds something else, or an argument is none of its values.
    InsufficientDataError
        Fewer than 30 deals were closed or 10 won by `as_of`, or a horizon is longer than deals
        could be followed.

    Warns
    -----
    DataWarning
        Once, of what the data lacks or what distorts it; `attrs["notes"]` has the whole text. Also
        where the win rate changed: of the deals that were open one horizon ago, far more or fewer
        were won since than "hazard" or "aalen-johansen" expected. Each horizon is judged, and the
        shortest one that shows a change is named; baselines are not, which miss much by design.

    Notes
    -----
    The default method is a ridge logistic regression of winning and of losing in intervals after
    landmarks every 28 days of the past, on stage, time in stage, age, value, owner, expected close,
    moves back and season, blended 2 to 1 with Aalen-Johansen's competing risks by stage and age in
    stage. Then wins of past months are compared with what was expected of them: where those of the
    latest months, or of a month of the quarter or of the year, depart by more than chance, the
    hazards of winning do. Only what was known at `as_of` counts, and of the past only what was
    known then.

    The API gives no changelog of a deleted deal. Where those of most deals are loaded, a deleted
    deal without one counts with the first value, owner, expected close and stage that are known of
    it at all times before too, and is left out of the times before it entered that stage: what is
    unknown of a deal must not reveal that it will be deleted.

    With `activities`, the regression learns from the time since the last done one, how many were
    done in the last 28 days, and for how long the oldest one that is not done has been planned.
    With `deal_products`, it learns from the number of line items and the product of the first. An
    activity counts from its `add_time` and is done from `marked_as_done_time`; a line item counts
    from its `add_time`. Rows without `add_time` or deal do not count. Due dates, `done`, quantities
    and prices are not read: a row that was edited since does not show what they were then, so that
    "overdue" is unknown for the past. Deleted activities and line items are in no frame: the past
    looks as if they had never been there. If your team deletes them when a deal is closed, leave
    these frames out.

    Examples
    --------
    >>> deals, visits = account.deals(deleted=True), account.stage_visits()
    >>> stages, history = account.stages(), account.deal_history()
    >>> forecast = metrics.forecast_deals(
    ...     deals, visits, stages, as_of="2026-06-30", horizons=["30D", "90D"], history=history
    ... )
    >>> bool((forecast["p_won"] + forecast["p_lost"] + forecast["p_open"]).round(12).eq(1).all())
    True
    """
    return deals_from(
        Learned.at(
            deals,
            visits,
            stages,
            as_of=as_of,
            history=history,
            activities=activities,
            deal_products=deal_products,
            method=method,
            seed=seed,
            tz=tz,
        ),
        deals,
        horizons=horizons,
        by=by,
        category=category,
    )


def deals_from(
    learned: Learned,
    deals: pd.DataFrame,
    *,
    horizons: Any,
    by: str | Sequence[str] | None = None,
    category: str | None = None,
) -> pd.DataFrame:
    """Return the frame of `forecast_deals`, from what was learned."""
    known, seed = learned.known, learned.seed
    names = group_names(by, deals, [name for name in _COLUMNS if name not in _CARRIED])
    with collect_warnings() as collected:
        collected += learned.notes
        deals = require_columns(deals, "deals", (), names)
        lengths = read_horizons(horizons, known.as_of, known.tz)
        own = None if category is None else require_columns(deals, "deals", (category,))[category]
        refuse_young(known)
        refuse_long(known, lengths)
        notes = list(notes_of(known))
        fitted = learned.fitted
        there = known.open_at([known.as_of])
        chances = fitted.predict(there, lengths)
        likeness = Likeness.of(landmarks(known, seed))
        why = reason = np.full(len(there), None, object)
        if isinstance(fitted, Blend):
            words = _circumstances(known, there, fitted.hazard.design)
            explained = fitted.explain(there)
            why, reason = explained.texts(words), explained.reasons(words)
        notes += learned.drift_notes(lengths)
    frame = _frame(known, there, lengths, names, own)
    columns = _measures(frame, there, lengths, chances.won, chances.lost)
    is_own, like = likeness.counts(there)
    each = np.repeat(np.arange(len(there)), len(lengths))
    columns["basis"] = _category(np.where(is_own, 0, 1)[each], BASES)
    columns["n_like"] = pd.array(like[each], "Int64")
    columns["why"] = pd.Series(why[each], dtype="str")
    columns["reason"] = pd.Series(reason[each], dtype="str")
    result = frame.assign(**columns)
    result = result[list(dict.fromkeys([*names, *_COLUMNS]))]
    result = keyed(result, [*names, "deal_id", "horizon"], known.tz)
    result.attrs["as_of"] = pd.Timestamp(known.as_of, unit="us", tz="UTC").isoformat()
    return note(result, [*collected, *notes], "forecast_deals")


def _frame(
    known: Known,
    there: OpenDeals,
    horizons: Ints,
    by: Sequence[str],
    category: pd.Series[Any] | None,
) -> pd.DataFrame:
    """Return what is known of each deal, one row per deal and horizon."""
    deals = known.frames.deals
    row = places(plain_ids(one_row_each(deals, "deals")), there.deal)
    each = np.repeat(np.arange(len(there)), len(horizons))
    columns: dict[str, Any] = {name: taken(deals[name], row)[each] for name in by}
    columns["deal_id"] = pd.array(there.deal[each], "Int64")
    columns.setdefault("title", _text_of(deals, "title", row)[each])
    columns.setdefault("owner_name", _owner_names(deals, there, row)[each])
    columns["stage"] = _stage_names(known.frames.stages, there)[each]
    columns["currency"] = pd.array(there.currency[each], dtype=pd.StringDtype(na_value=np.nan))
    columns["value"] = there.value[each]
    in_stage = np.where(there.stage == NO_ID, np.nan, (there.at - there.entered) / DAY)
    columns["days_in_stage"] = in_stage[each]
    columns["deal_age"] = ((there.at - there.added) / DAY)[each]
    days = np.where(there.expected_close == NULL, NULL, there.expected_close * DAY)
    columns["expected_close"] = pd.Series(days.view("datetime64[us]"))[each].array
    lengths = np.tile(horizons, len(there)).view("timedelta64[us]")
    columns["horizon"] = pd.Series(lengths, dtype="timedelta64[us]").array
    if category is None:
        columns["category"] = pd.Series([None] * len(each), dtype="str").array
    else:
        columns["category"] = taken(category, row)[each]
    return pd.DataFrame(columns, index=pd.RangeIndex(len(each)))


def _measures(
    frame: pd.DataFrame, there: OpenDeals, horizons: Ints, won: Floats, lost: Floats
) -> dict[str, Any]:
    """Return the probabilities and what follows from them."""
    p_won, p_lost = won.ravel(), lost.ravel()
    value = frame["value"].to_numpy(np.float64)
    band = np.where(p_won > COMMIT, 0, np.where(p_won < PIPELINE, 2, 1))
    return {
        "p_won": p_won,
        "p_lost": p_lost,
        "p_open": np.maximum(1 - p_won - p_lost, 0.0),
        "expected_value": p_won * value,
        "band": _category(band, BANDS),
    }


def _category(codes: Ints, words: Sequence[str]) -> Any:
    return pd.Categorical.from_codes(codes.astype(np.int8), dtype=pd.CategoricalDtype([*words]))


def _owner_names(deals: pd.DataFrame, there: OpenDeals, row: Ints) -> Any:
    """Return the name of each deal's owner at that time, or its label of today where the owner of
    then is unknown.
    """
    today = _text_of(deals, "owner_name", row)
    own = _names_of_owners(deals, there)
    result: NDArray[np.object_] = np.where(pd.isna(own), np.asarray(today), own)
    return pd.array(result, dtype=today.dtype)


def _names_of_owners(deals: pd.DataFrame, there: OpenDeals) -> NDArray[np.object_]:
    """Return the name of each deal's owner at that time, None where unknown."""
    if "owner_name" not in deals.columns or "owner_id" not in deals.columns:
        return np.full(len(there), None, object)
    ids, first = np.unique(plain_ids(deals["owner_id"]), return_index=True)
    named = places(ids, there.owner)
    known = (there.owner != NO_ID) & (named >= 0)
    own = _text_of(deals, "owner_name", np.where(known, np.append(first, -1)[named], -1))
    result = np.full(len(there), None, object)
    named_too = known & ~pd.isna(own)
    result[named_too] = np.asarray(own, object)[named_too]
    return result


def _circumstances(known: Known, there: OpenDeals, design: Design) -> Circumstances:
    """Return what the explanation of each deal calls its stage and owner, and its size."""
    owner = _names_of_owners(known.frames.deals, there)
    bare = pd.isna(owner) & (there.owner != NO_ID)
    owner[bare] = there.owner[bare]
    stage = np.asarray(_stage_names(known.frames.stages, there), object)
    observed = there.at
    day = local_days(observed, known.tz) // DAY
    return Circumstances(there, stage, owner, design.value_size(there), day)


def _stage_names(stages: pd.DataFrame, there: OpenDeals) -> Any:
    place = places(plain_ids(stages["id"]), there.stage)
    return _text_of(stages, "name", place)


def _text_of(frame: pd.DataFrame, name: str, row: Ints) -> Any:
    """Return a column of text at these rows, null at -1 or where the frame lacks it."""
    text = pd.StringDtype(na_value=np.nan)
    if name not in frame.columns:
        return pd.array([None] * len(row), dtype=text)
    return frame[name].astype("str").array.take(row, allow_fill=True)


__all__ = ["BANDS", "BASES", "deals_from", "forecast_deals"]
