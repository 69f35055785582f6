"""The weighted pipeline: open deals by expected close, each at its value times its probability."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from pdframe._warnings import collect_warnings, warn
from pdframe.metrics._arguments import (
    NULL,
    grouped,
    keyed,
    local_date,
    require_columns,
    to_micros,
    zone_of,
)
from pdframe.metrics._change_rows import states_at
from pdframe.metrics._columns import (
    Flags,
    Floats,
    Ints,
    dates,
    equals,
    finite,
    ids,
    instants,
    lookup,
    one_row_each,
    plain_ids,
    warn_of_uncountable,
)
from pdframe.metrics._notes import note
from pdframe.metrics._periods import days_since_1970, frequency, known_by
from pdframe.metrics._states import OPEN, states
from pdframe.metrics.currency import Rates, RateTable
from pdframe.metrics.forecasting._amounts import LARGEST, exact_units, in_units, sums
from pdframe.metrics.forecasting._labels import apart_by_currency, group_names, labels

Moment: TypeAlias = str | date | pd.Timestamp | pd.Period

COLUMNS = ("period", "currency", "deals", "value", "weighted", "when")
_TAKEN = (*COLUMNS, "deal_id", "stage", "probability", "probability_of", "expected_close")
WHEN = pd.CategoricalDtype(["past", "dated", "none", "unknown"])
PROBABILITY_OF = pd.CategoricalDtype(["deal", "stage", "pipeline"])
_PAST, _DATED, _NONE, _UNKNOWN = range(4)
_OF_DEAL, _OF_STAGE, _OF_PIPELINE = range(3)
_KNOWN = (
    "status",
    "pipeline_id",
    "stage_id",
    "value",
    "currency",
    "probability",
    "expected_close_date",
    "owner_id",
)
_NAMED = 20


def weighted_pipeline(
    deals: pd.DataFrame,
    stages: pd.DataFrame,
    pipelines: pd.DataFrame,
    *,
    as_of: Moment,
    freq: str = "M",
    by: str | Sequence[str] | None = None,
    rates: RateTable | None = None,
    history: pd.DataFrame | None = None,
    fiscal_start: int = 1,
    tz: str | None = None,
) -> pd.DataFrame:
    """Sum up open deals by the period of their expected close, at their values and at value x
    probability.

    This is the usual figure of sales tools. Its probabilities are set by hand, not estimated.
    `plot.weighted_pipeline` draws the result.

    Parameters
    ----------
    deals
        One row per deal, from `account.deals()`, with id, pipeline_id, stage_id, status, value,
        currency, probability, add_time, won_time, lost_time, expected_close_date.
    stages
        One row per stage, with id, name, deal_probability.
    pipelines
        One row per pipeline, with id, is_deal_probability_enabled.
    as_of
        Deals that were open then count; the end of it where it is a day, month, quarter or year.
    freq
        Length of the periods: "W" (from Monday), "M", "Q" or "Y".
    by
        Column or columns of `deals` to group by, unchanged; null is a group. With `history`,
        owner_id, pipeline_id and stage_id are those of that time.
    rates
        None: each currency has its rows. A mapping currency -> value of one unit in the common
        currency, or a frame (currency, date, rate), whose last rate on or before the day of `as_of`
        counts.
    history
        One row per deal and change, from `account.deal_history()`: the values known at `as_of`.
        None: those of `deals`, if `deals` shows nothing later than `as_of`.
    fiscal_start
        Month in which the fiscal year begins, for quarters and years.
    tz
        Timezone of naive times, and of the day of `as_of`; None: the frames' `attrs["tz"]`, which
        the loaders set, else UTC.

    Returns
    -------
    DataFrame
        The columns of `by`, then:

        - period: first day of the period; null: the deals have no expected close, one before the
          day of `as_of`, or an unknown one (see `when`)
        - currency: of the amounts; with `rates` the one whose rate is always 1, null where unknown
        - deals: number of open deals
        - value: sum of their values; null values count 0, and a warning counts the deals
        - weighted: sum of value x probability, each deal rounded to a millionth, half to even; null
          where the probability of a deal is unknown: `history` has no snapshot of it by `as_of`
        - when: past (the expected close is before the day of `as_of`), dated, none (there is no
          expected close), unknown (`deals` shows later changes and there is no `history`; value and
          weighted are null)

    Raises
    ------
    ArgumentError
        A column is missing or holds something else, an id occurs twice, an argument is not a time
        or a length, a currency has no rate, or amounts are too large to be added up exactly.

    Warns
    -----
    DataWarning
        Once, of all that follows, with the complete text in `attrs["notes"]`: stages that were left
        at the default of 100 % although their pipeline uses probabilities; deals without a value;
        deals whose stage is not in `stages`; later changes that hide what was known at `as_of`;
        deals that no snapshot showed by then.

    Notes
    -----
    The probability is 100 % for every deal of a pipeline that does not use probabilities; else that
    of the deal, else that of its stage; one that is not from 0 to 100 is none. Archived deals that
    are open count; deleted deals do not.

    Examples
    --------
    >>> deals, stages, pipelines = account.deals(), account.stages(), account.pipelines()
    >>> then = {"as_of": "2026-06-30", "history": account.deal_history()}
    >>> table = metrics.weighted_pipeline(deals, stages, pipelines, **then)
    >>> table[table["currency"] == "EUR"].head(3)
          period currency  deals      value    weighted   when
    0        NaT      EUR     15  207611.28  63128.2455   past
    3 2026-06-01      EUR      1    8208.90   6156.6750  dated
    4 2026-07-01      EUR      5   95344.31  32921.5660  dated
    """
    with collect_warnings() as notes:
        names = group_names(apart_by_currency(by, rates), deals, _TAKEN)
        rows = _deals(
            deals,
            stages,
            pipelines,
            as_of=as_of,
            freq=freq,
            names=names,
            rates=rates,
            history=history,
            fiscal_start=fiscal_start,
            tz=tz,
        )
        result = _summed(rows, names, rates is not None)
        result.attrs["freq"] = freq
    return note(result, notes, "weighted_pipeline")


def weighted_pipeline_deals(
    deals: pd.DataFrame,
    stages: pd.DataFrame,
    pipelines: pd.DataFrame,
    *,
    as_of: Moment,
    freq: str = "M",
    by: str | Sequence[str] | None = None,
    rates: RateTable | None = None,
    history: pd.DataFrame | None = None,
    fiscal_start: int = 1,
    tz: str | None = None,
) -> pd.DataFrame:
    """List the deals that `weighted_pipeline` sums up, one row per open deal, with the probability
    of each and where it is from.

    `drill_through` leads from a row of `weighted_pipeline` to its rows here.

    Parameters
    ----------
    deals, stages, pipelines, as_of, freq, by, rates, history, fiscal_start, tz
        As in `weighted_pipeline`.

    Returns
    -------
    DataFrame
        By deal_id: deal_id; title, owner_name where `deals` has them; the other columns of `by`;
        pipeline_id, stage_id; stage (name); currency, value (null: none, or unknown), probability
        (percent), probability_of (deal, stage, or pipeline: it does not use probabilities; null:
        unknown), weighted, expected_close, period, when. The last two as in `weighted_pipeline`.

    Raises
    ------
    ArgumentError
        As in `weighted_pipeline`.

    Examples
    --------
    >>> deals, stages, pipelines = account.deals(), account.stages(), account.pipelines()
    >>> then = {"as_of": "2026-06-30", "history": account.deal_history()}
    >>> rows = metrics.weighted_pipeline_deals(deals, stages, pipelines, **then)
    >>> rows[["deal_id", "stage", "value", "probability", "weighted"]].head(3)
       deal_id      stage    value  probability  weighted
    0        5  Discovery  13500.0         25.0    3375.0
    1        9       Demo   1212.0         40.0     484.8
    2       14  Qualified   1150.0         10.0     115.0
    """
    with collect_warnings() as notes:
        names = group_names(apart_by_currency(by, rates), deals, _TAKEN)
        rows = _deals(
            deals,
            stages,
            pipelines,
            as_of=as_of,
            freq=freq,
            names=names,
            rates=rates,
            history=history,
            fiscal_start=fiscal_start,
            tz=tz,
        )
    return note(rows, notes, "weighted_pipeline_deals")


def _deals(
    deals: pd.DataFrame,
    stages: pd.DataFrame,
    pipelines: pd.DataFrame,
    *,
    as_of: Any,
    freq: str,
    names: list[str],
    rates: RateTable | None,
    history: pd.DataFrame | None,
    fiscal_start: int,
    tz: str | None,
) -> pd.DataFrame:
    tz = zone_of(tz, deals, history)
    lengths = frequency(freq, fiscal_start)
    deals = require_columns(deals, "deals", ["id", "add_time", *_KNOWN[:-1]], names)
    stages = require_columns(stages, "stages", ["id", "name", "deal_probability"])
    pipelines = require_columns(pipelines, "pipelines", ["id", "is_deal_probability_enabled"])
    warn_of_uncountable(
        deals, "deals", moments=["expected_close_date"], numbers=["value"], below=LARGEST
    )
    now = known_by(as_of, tz, "as_of")
    rows, unknown, unseen = _open_deals(deals.reset_index(drop=True), history, now, tz)
    result = labels(deals, rows, names)
    for name in ("pipeline_id", "stage_id"):
        result[name] = rows[name]
    placed = stages.set_index(pd.Index(one_row_each(stages, "stages")))
    result["stage"] = lookup(rows["stage_id"], placed["name"]).astype("str")
    percent, source = _probabilities(rows, placed, pipelines)
    unseen &= source == _OF_STAGE
    percent, source = np.where(unseen, np.nan, percent), np.where(unseen, -1, source)
    value = rows["value"].to_numpy(np.float64)
    currency = rows["currency"].astype("str")
    if rates is not None:
        value, currency = _converted(value, currency, Rates(rates), local_day(now, tz))
    _warn_of_unseen(unseen, result, now)
    _warn_of_values(value, percent, unknown, unseen, result)
    _warn_of_defaults(source, percent, result, unknown)
    result["currency"], result["value"] = currency, value
    result["probability"] = percent
    result["probability_of"] = pd.Categorical.from_codes(source, dtype=PROBABILITY_OF)
    result["weighted"] = np.where(
        np.isnan(value) | np.isnan(percent), np.nan, in_units(exact_units(value * percent / 100))
    )
    expected = rows["expected_close_date"]
    result["expected_close"] = expected
    day = days_since_1970(expected.to_numpy("datetime64[us]").view(np.int64))
    today = local_day(now, tz).to_datetime64().astype("datetime64[D]").astype(np.int64)
    past = (day != NULL) & (day < today)
    when = np.select([unknown, day == NULL, past], [_UNKNOWN, _NONE, _PAST], _DATED)
    result["period"] = lengths.dates(lengths.numbers(np.where(when == _DATED, day, NULL))).array
    result["when"] = pd.Categorical.from_codes(when, dtype=WHEN)
    return keyed(result, ["deal_id"], tz)


def local_day(time: pd.Timestamp, tz: str) -> pd.Timestamp:
    """Return the day of a time in `tz`."""
    day: pd.Timestamp = local_date(pd.Series([time]), tz).iloc[0]
    return day


def _open_deals(
    deals: pd.DataFrame, history: pd.DataFrame | None, now: pd.Timestamp, tz: str
) -> tuple[pd.DataFrame, Flags, Flags]:
    """Return what was known of the deals open at `now`, by id, for which of them nothing but that
    was known, and which no snapshot showed yet.
    """
    own = one_row_each(deals, "deals")
    is_open = pd.Series(states(deals, tz, now).state == OPEN, pd.Index(own))
    frame = pd.DataFrame(
        {
            "pipeline_id": ids(deals, "pipeline_id").array,
            "stage_id": ids(deals, "stage_id").array,
            "value": finite(deals, "value", below=LARGEST),
            "currency": deals["currency"].astype("str").array,
            "probability": finite(deals, "probability"),
            "expected_close_date": dates(deals, "expected_close_date").array,
        },
        index=pd.Index(own),
    )
    if "owner_id" in deals.columns:
        frame["owner_id"] = ids(deals, "owner_id").array
    later = _shows_later(deals, now, tz)
    open_ids = is_open.index[is_open]
    if history is None:
        rows = frame.reindex(open_ids).sort_index()
        if later:
            warn(
                f"deals shows changes after {now:%Y-%m-%d %H:%M} UTC, so values and expected closes"
                f" of the {len(rows):,} deals open then are unknown and null. Pass"
                " history=account.deal_history(), or the deals of account.as_of(...)."
            )
            rows = rows.mask(pd.Series(True, rows.index))
        unknown = np.full(len(rows), later)
    else:
        then = states_at(history, "deal_id", _KNOWN, now, tz)
        there = equals(then, "status", "open") & ~then["gone"].to_numpy(np.bool_)
        missing = open_ids.difference(then.index)
        rows = then.loc[there, [*frame.columns]]
        rows["value"] = np.where(np.abs(rows["value"]) < LARGEST, rows["value"], np.nan)
        extra = frame.reindex(missing)
        if later and len(missing):
            warn(
                f"{len(missing):,} open deals are not in history by {now:%Y-%m-%d %H:%M} UTC: their"
                " values and expected closes then are unknown and null."
            )
            extra = extra.mask(pd.Series(True, extra.index))
        unknown = np.append(np.zeros(len(rows), np.bool_), np.full(len(extra), later))
        rows = pd.concat([rows, extra]) if len(extra) else rows
        order = np.argsort(rows.index.to_numpy(np.int64), kind="stable")
        rows, unknown = rows.iloc[order], unknown[order]
    unseen = np.zeros(len(rows), np.bool_)
    if history is not None and "source" in history.columns:
        unseen = ~rows.index.isin(_shown_by(history, now, tz)) & ~unknown
    rows.index.name = "deal_id"
    return rows.reset_index(), unknown, unseen


def _shown_by(history: pd.DataFrame, now: pd.Timestamp, tz: str) -> Ints:
    """Return the ids of the deals that a snapshot had shown at a time."""
    of_snapshots = ~equals(history, "source", "changelog")
    seen = instants(history, "seen_at", tz) <= to_micros(now)
    return np.unique(plain_ids(history["deal_id"])[of_snapshots & seen])


def _shows_later(deals: pd.DataFrame, now: pd.Timestamp, tz: str) -> bool:
    """Return whether a frame of deals shows anything later than `now`."""
    limit = to_micros(now)
    names = ("update_time",) if "update_time" in deals.columns else ("won_time", "lost_time")
    return any(bool((instants(deals, name, tz) > limit).any()) for name in ("add_time", *names))


def _probabilities(
    rows: pd.DataFrame, stages: pd.DataFrame, pipelines: pd.DataFrame
) -> tuple[Floats, Ints]:
    """Return the probability of each deal in percent, and where it is from."""
    all_pipelines = one_row_each(pipelines, "pipelines")
    off = all_pipelines[equals(pipelines, "is_deal_probability_enabled", False)]
    unused = rows["pipeline_id"].isin(off).to_numpy(np.bool_)
    own = _percent(rows["probability"].to_numpy(np.float64))
    of_stages = pd.Series(_percent(finite(stages, "deal_probability")), stages.index)
    of_stage = lookup(rows["stage_id"], of_stages).to_numpy(np.float64)
    source = np.select([unused, ~np.isnan(own)], [_OF_PIPELINE, _OF_DEAL], _OF_STAGE)
    return np.select([unused, ~np.isnan(own)], [100.0, own], of_stage), source


def _percent(values: Floats) -> Floats:
    """Return probabilities, NaN where they are none from 0 to 100."""
    return np.where((values >= 0) & (values <= 100), values, np.nan)


def _converted(
    value: Floats, currency: pd.Series[Any], rates: Rates, day: pd.Timestamp
) -> tuple[Floats, pd.Series[Any]]:
    """Return values in the common currency at the rates of a day, and that currency."""
    valued = ~np.isnan(value)
    bare = int((valued & currency.isna().to_numpy()).sum())
    if bare:
        warn(
            f"{bare:,} open deals have a value and no currency: they are left out of value and"
            " weighted. Fill in `currency`."
        )
    days = pd.Series(day, currency.index, dtype="datetime64[us]")
    with np.errstate(over="ignore"):
        value = value * rates.at(currency, days, valued)
    rates.warn_of_stale()
    return value, pd.Series([rates.target] * len(currency), currency.index, dtype="str")


def _warn_of_unseen(unseen: Flags, rows: pd.DataFrame, now: pd.Timestamp) -> None:
    if unseen.any():
        warn(
            f"{int(unseen.sum()):,} of {len(rows):,} open deals were in no snapshot by"
            f" {now:%Y-%m-%d %H:%M} UTC, so their own probabilities then are unknown, and weighted"
            " is null. A changelog has no probability that never changed."
        )


def _warn_of_values(
    value: Floats, percent: Floats, unknown: Flags, unseen: Flags, rows: pd.DataFrame
) -> None:
    bare = int((np.isnan(value) & ~unknown).sum())
    if bare:
        warn(f"{bare:,} of {len(rows):,} open deals have no value: they count 0.")
    lost = rows.loc[np.isnan(percent) & ~unknown & ~unseen, "stage_id"]
    if len(lost):
        named = ", ".join(map(str, sorted(lost.dropna().unique())[:_NAMED]))
        warn(
            f"{len(lost):,} open deals have no probability, nor has their stage"
            f"{f' ({named})' if named else ''} one in stages: weighted counts them 0."
        )


def _warn_of_defaults(source: Ints, percent: Floats, rows: pd.DataFrame, unknown: Flags) -> None:
    """Warn of stages that count deals at 100 % although their pipeline uses probabilities."""
    rows = rows[(source == _OF_STAGE) & (percent == 100) & ~unknown]
    if len(rows):
        stages = rows.drop_duplicates("stage_id").sort_values(["pipeline_id", "stage_id"])
        named = [
            f"{stage} ({number}, pipeline {pipeline})"
            for stage, number, pipeline in zip(
                stages["stage"], stages["stage_id"], stages["pipeline_id"], strict=True
            )
        ]
        more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
        warn(
            f"Stages left at the default probability of 100 %: {', '.join(named[:_NAMED])}{more}."
            f" {len(rows):,} open deals count there in full. Set the stages' probabilities."
        )


def _summed(rows: pd.DataFrame, names: list[str], converted: bool) -> pd.DataFrame:
    own = [*names, "when", "period", "currency"]
    codes, result = grouped(rows, own)
    count = len(result)
    unknown = (result["when"] == "unknown").to_numpy(np.bool_)
    result["deals"] = pd.array(np.bincount(codes, minlength=count), dtype="Int64")
    for name in ("value", "weighted"):
        parts = sums(exact_units(rows[name].to_numpy(np.float64)), codes, count)
        result[name] = np.where(unknown, np.nan, in_units(parts))
    unseen = np.bincount(codes[rows["probability_of"].isna().to_numpy()], minlength=count) > 0
    result["weighted"] = result["weighted"].mask(unseen)
    kept = ["period", "when", *([] if converted else ["currency"]), *names]
    return keyed(result[[*names, *COLUMNS]], kept, rows.attrs["tz"])


__all__ = ["weighted_pipeline", "weighted_pipeline_deals"]
