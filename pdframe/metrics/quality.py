"""Checks of the data that an analyst must see before trusting a number."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from pdframe._warnings import warn
from pdframe.metrics._arguments import (
    in_zone,
    local_days,
    moment,
    require_columns,
    span,
    to_micros,
    zone_of,
)
from pdframe.metrics._columns import Ints, one_row_each, plain_ids, warn_of_uncountable
from pdframe.metrics._notes import noted
from pdframe.metrics._quality_checks import CHECKS
from pdframe.metrics._quality_facts import Facts, known_visits
from pdframe.metrics._states import (
    DELETED,
    UNKNOWN,
    Deleted,
    changed_after,
    check_deleted,
    states,
)

_DEALS = (
    "id",
    "status",
    "pipeline_id",
    "value",
    "currency",
    "add_time",
    "update_time",
    "expected_close_date",
)
_VISITS = ("deal_id", "entered_at", "entered_after", "source", "seen_at")
_STAGES = ("id", "deal_probability", "add_time", "update_time")
_PIPELINES = ("id", "is_deal_probability_enabled", "add_time", "update_time")
_LINES = (
    "deal_id",
    "sum",
    "currency",
    "is_enabled",
    "quantity",
    "item_price",
    "discount",
    "discount_type",
    "tax",
    "tax_method",
    "billing_frequency",
    "billing_frequency_cycles",
    "add_time",
    "update_time",
)


@noted
def data_quality(
    deals: pd.DataFrame,
    visits: pd.DataFrame,
    stages: pd.DataFrame,
    deal_products: pd.DataFrame,
    *,
    as_of: str | date | pd.Timestamp | pd.Period,
    discounts: pd.DataFrame | None = None,
    pipelines: pd.DataFrame | None = None,
    untouched: str | pd.Timedelta = "90D",
    deleted: Deleted = "drop",
    tz: str | None = None,
) -> pd.DataFrame:
    """Check the data for defects that distort metrics: one row per check, with or without a
    finding.

    Parameters
    ----------
    deals, visits, stages, deal_products
        The frames of `account.deals()`, `stage_visits()`, `stages()` and `deal_products()` with all
        their columns.
    as_of
        What happened after it is unknown; a bare date is the end of that day. Deals, stages and
        pipelines that changed after it are not judged by their present values, and a warning counts
        the deals.
    discounts
        `account.discounts()`: with it, values are also checked against discounts on whole deals;
        without it, a value that is below the lines by no more than their one-time part counts as
        discounted.
    pipelines
        `account.pipelines()`: with it, stages of pipelines whose probabilities are switched off are
        not checked, since 100 % is intended there. None: they cannot be distinguished from stages
        that were never configured, and are reported too.
    untouched
        An open deal with neither an update nor a move for longer than this counts as untouched.
    deleted
        "drop" (default): deals that were deleted by `as_of` are not checked. "keep": those that
        were deleted after they were won or lost are checked, where `deals` has them
        (`account.deals(deleted=True)`; else a warning says so).
    tz
        Timezone of naive times and of the compared days; None: the frames' `attrs["tz"]`, which the
        loaders set, else UTC.

    Returns
    -------
    DataFrame
        One row per check, with or without a finding:

        - check: its name
        - severity: "error" (the row contradicts itself), "warning" (plausible, but it distorts a
          number), "info" (good to know)
        - count: number of findings; share: of the checked rows, null where there are none
        - ids: ids of the findings, ascending: of deals, but of stages for `stages_at_100_percent`
        - distorts: the numbers that it makes unreliable

        The checks: stages_at_100_percent, open_past_close_date, open_untouched, open_without_value,
        won_without_value, closed_without_date, closed_before_created, close_date_before_created,
        value_differs_from_lines, currency_differs_from_lines, mixed_currencies,
        stage_history_inexact, stage_history_disagrees, close_time_disagrees, created_in_bulk.
        Checks that need a missing column find nothing, among none: those of visits that disagree
        need `left_at` and `end` of visits, and use left_after, stage_id and pipeline_id where
        present.

    Raises
    ------
    ArgumentError
        A column is missing or holds something else, an id occurs twice, or `as_of` is not a time.

    Examples
    --------
    >>> deals, items = account.deals(), account.deal_products()
    >>> visits, stages = account.stage_visits(), account.stages()
    >>> checks = metrics.data_quality(deals, visits, stages, items, as_of="2026-07-07")
    >>> checks.loc[checks["count"] > 0, ["check", "severity", "count"]].head(3)
                       check severity  count
    0  stages_at_100_percent  warning      4
    1   open_past_close_date  warning     24
    2         open_untouched  warning     27
    """
    tz = zone_of(tz, deals, visits, stages, deal_products)
    deals = require_columns(deals, "deals", _DEALS)
    visits = require_columns(visits, "visits", _VISITS)
    stages = require_columns(stages, "stages", _STAGES)
    deal_products = require_columns(deal_products, "deal_products", _LINES)
    warn_of_uncountable(deals, "deals", moments=["expected_close_date"], numbers=["value"])
    if discounts is not None:
        discounts = require_columns(
            discounts, "discounts", ("deal_id", "type", "amount", "created_at", "updated_at")
        ).reset_index(drop=True)
    if pipelines is not None:
        pipelines = require_columns(pipelines, "pipelines", _PIPELINES).reset_index(drop=True)
        one_row_each(pipelines, "pipelines")
        require_columns(stages, "stages", ("pipeline_id",))
    one_row_each(stages, "stages")
    deals, visits, stages, deal_products = (
        f.reset_index(drop=True) for f in (deals, visits, stages, deal_products)
    )
    now = moment(as_of, tz, "as_of", end_of_day=True)
    check_deleted(deleted, deals)
    known = states(deals, tz, now, deleted=deleted)
    alive = (known.state != DELETED) & (known.state != UNKNOWN)
    changed = changed_after(deals, tz, now)
    late = int((alive & changed).sum())
    if late:
        warn(
            f"{late} deals changed after {now:%Y-%m-%d %H:%M} UTC: their values at that time are"
            " not in this frame, so they are not checked. Pass the deals of that time, from"
            " account.as_of(...), if history was kept."
        )
    deal = plain_ids(one_row_each(deals, "deals"))
    facts = Facts(
        deals=deals,
        stages=stages,
        pipelines=pipelines,
        lines=deal_products,
        discounts=discounts,
        now=to_micros(now),
        today=int(local_days(np.array([to_micros(now)]), tz)[0]),
        tz=tz,
        untouched=span(untouched, "untouched"),
        deal=deal,
        known=known,
        alive=alive,
        judged=alive & ~changed,
        visits=known_visits(visits, deal, now, tz),
    )
    findings = [check.run(facts) for check in CHECKS]
    count = np.array([len(finding.ids) for finding in findings], dtype=np.int64)
    among = np.array([finding.among for finding in findings], dtype=np.float64)
    result = pd.DataFrame(
        {
            "check": pd.Series([check.name for check in CHECKS], dtype="str"),
            "severity": pd.Categorical(
                [check.severity for check in CHECKS], categories=["error", "warning", "info"]
            ),
            "count": pd.array(count, dtype="Int64"),
            "share": np.divide(count, among, out=np.full(len(count), np.nan), where=among > 0),
            "ids": _lists([np.sort(finding.ids) for finding in findings]),
            "distorts": pd.Series([check.distorts for check in CHECKS], dtype="str"),
        }
    )
    return in_zone(result, tz)


def _lists(rows: list[Ints]) -> pd.Series[Any]:
    """Return a column with a list of integers per row."""
    offsets = np.cumsum([0, *(len(row) for row in rows)])
    lists = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(np.concatenate(rows)))
    return pd.Series(pd.arrays.ArrowExtensionArray(lists))


__all__ = ["data_quality"]
