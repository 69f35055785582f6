"""Terms that end soon, and the deals that follow them."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd

from pdframe._moments import named_period
from pdframe._relative_times import absolute
from pdframe.metrics._arguments import keyed, moment, require_columns, span, zone_of
from pdframe.metrics._columns import Flags, Ints, amounts, equals, ids, times, warn_of_uncountable
from pdframe.metrics._notes import noted
from pdframe.metrics._states import counted_status
from pdframe.metrics.revenue.customers import customers, with_names
from pdframe.metrics.revenue.ledger import NEEDED
from pdframe.metrics.revenue.lines import REASONS
from pdframe.metrics.revenue.months import Moment
from pdframe.metrics.revenue.periods import NULL, as_dates, day_of, days_of
from pdframe.metrics.revenue.policy import RevenuePolicy, chosen
from pdframe.metrics.revenue.prices import LARGEST
from pdframe.metrics.revenue.versions import known_on

_PERIOD = re.compile(r"^\s*(the )?(this|next|last|end)\b", re.IGNORECASE)
NEAR = 31
"""Days before or after the end of a term within which the next one is taken for its renewal."""

_STATUS = pd.CategoricalDtype(["won", "open"])


@noted
def renewals(
    lines: pd.DataFrame,
    deals: pd.DataFrame,
    *,
    as_of: Moment,
    within: str | pd.Timedelta | pd.Period,
    policy: RevenuePolicy | None = None,
    tz: str | None = None,
) -> pd.DataFrame:
    """Terms that end soon, and the deal that takes over where there is one: one row a line that
    ends.

    Parameters
    ----------
    lines
        As `mrr_lines` gives them, of all won deals: successors are among them. Of versions
        (`history=`) those known at `as_of` count, with what they agreed on.
    deals
        Deals as loaded: id, status, add_time and the columns of `policy.customer`; is_deleted,
        deleted_time and update_time where present. Those open at `as_of` and not deleted by then
        may be successors.
    as_of
        The day, inclusive; what was won or created after it is unknown. A time is taken for its day
        in `tz`.
    within
        How far ahead, such as "90D": terms whose `end` is after `as_of` and no later than this. Or
        a period, to its end: "2026-Q3", a `pd.Period`, "next quarter" or "end of year" from
        `as_of`.
    policy
        The one that `lines` were made with: it says who the customer is.
    tz
        Timezone of naive times; None: the frames' `attrs["tz"]`, which the loaders set, else UTC.

    Returns
    -------
    DataFrame
        By end, customer and id. id, deal_id, customer, customer_name (where `lines` has it),
        product_id, currency, mrr, end (the first
        day without), end_reason (term or cancelled), days (from `as_of` to the end), successor (id
        of a deal, null: none), successor_status (won, open), successor_start (first day of its
        line; null while it is open).

    Raises
    ------
    ArgumentError
        A column is missing, or an argument is no time.

    Warns
    -----
    DataWarning
        `lines` has no `customer_name`.

    Notes
    -----
    Pipedrive does not link a renewal to the renewed deal. The successor is the customer's deal, won
    by `as_of`, with a line that starts within 31 days of the end and continues after it, the same
    product first, then the nearest start; where there is none, the open deal of the customer that
    was added last, after the ending line had started. A cancelled line has none.

    Examples
    --------
    >>> items, deals = account.deal_products(), account.deals()
    >>> lines = metrics.mrr_lines(items, deals, cancellations="Cancellation date")
    >>> terms = metrics.renewals(lines, deals, as_of="2026-06-30", within="90D")
    >>> terms[["deal_id", "currency", "mrr", "end", "days", "successor"]].head(3)
       deal_id currency          mrr        end  days  successor
    0       67      EUR  6627.833333 2026-08-19    50       <NA>
    1       64      EUR   262.340000 2026-08-20    51       <NA>
    2       74      EUR   516.408333 2026-09-08    70       <NA>
    """
    policy = chosen(policy)
    tz = zone_of(tz, lines, deals)
    lines = require_columns(lines, "lines", [*NEEDED, "id", "deal_id", "product_id"])
    deals = require_columns(deals, "deals", ["id", "status", "add_time", *policy.customer])
    warn_of_uncountable(lines, "lines", moments=["start"], numbers=["mrr"])
    warn_of_uncountable(deals, "deals", moments=["add_time"])
    today = day_of(as_of, tz)
    limit = _limit(within, today)
    lines = known_on(lines, today)
    mrr = amounts(lines, "mrr")
    counts = lines["problem"].isna().to_numpy() & (np.abs(mrr) < LARGEST) & (mrr != 0)
    if "won_date" in lines.columns:
        counts &= days_of(lines, "won_date") <= today
    covered = lines[counts].reset_index(drop=True)
    start, end = days_of(covered, "start"), days_of(covered, "end")
    ending = (end != NULL) & (end > today) & (end <= limit) & (end > start)
    result = covered.loc[
        ending, ["id", "deal_id", "customer", "product_id", "currency", "mrr", "end", "end_reason"]
    ].reset_index(drop=True)
    result["end_reason"] = result["end_reason"].astype(REASONS)
    result["days"] = pd.array(end[ending] - today, dtype="Int64")
    renewable = ~equals(result, "end_reason", "cancelled")
    won = _won(result, renewable, end[ending], covered, start, end)
    opened = _open(
        result,
        renewable & won["successor"].isna().to_numpy(),
        start[ending],
        deals,
        policy,
        today,
        tz,
    )
    result["successor"] = won["successor"].fillna(opened)
    status = np.where(won["successor"].notna(), 0, np.where(opened.notna(), 1, -1))
    result["successor_status"] = pd.Categorical.from_codes(status, dtype=_STATUS)
    result["successor_start"] = won["start"]
    result = result.sort_values(["end", "customer", "id"], ignore_index=True)
    return keyed(with_names(lines, result), ["id"], tz)


def _won(
    result: pd.DataFrame,
    renewable: Flags,
    ends: Ints,
    covered: pd.DataFrame,
    start: Ints,
    end: Ints,
) -> pd.DataFrame:
    """Return the successor of each row and its start: another deal whose line starts near the end
    and continues after it.
    """
    left = pd.DataFrame(
        {
            "row": np.arange(len(result)),
            "customer": result["customer"],
            "deal": ids(result, "deal_id"),
            "product": result["product_id"],
            "ends": ends,
        }
    )[renewable]
    right = pd.DataFrame(
        {
            "customer": covered["customer"],
            "successor": ids(covered, "deal_id"),
            "own": covered["product_id"],
            "starts": start,
            "until": end,
        }
    )
    pairs = left.merge(right[start != NULL], on="customer")
    runs_on = (pairs["until"] == NULL) | (pairs["until"] > pairs["ends"])
    apart = (pairs["starts"] - pairs["ends"]).abs()
    pairs = pairs.assign(other=(pairs["product"] != pairs["own"]).fillna(True), apart=apart)
    pairs = pairs[(pairs["successor"] != pairs["deal"]) & runs_on & (apart <= NEAR)]
    best = (
        pairs.sort_values(["row", "other", "apart", "successor"])
        .drop_duplicates("row")
        .set_index("row")
    )
    match = best["starts"].reindex(range(len(result)))
    return pd.DataFrame(
        {
            "successor": best["successor"].reindex(range(len(result))).astype("Int64"),
            "start": as_dates(match.fillna(0).to_numpy(np.int64)).where(match.notna().to_numpy()),
        }
    )


def _open(
    result: pd.DataFrame,
    wanted: Flags,
    starts: Ints,
    deals: pd.DataFrame,
    policy: RevenuePolicy,
    today: int,
    tz: str,
) -> pd.Series[Any]:
    """Return the customer's newest open deal that was added after the line had started."""
    added = (
        times(deals, "add_time", tz)
        .dt.tz_convert(tz)
        .dt.tz_localize(None)
        .to_numpy()
        .astype("datetime64[D]")
        .astype(np.int64)
    )
    # `as_of` is a day: a deal that was deleted on it is deleted at its end.
    end = moment(np.datetime64(today, "D"), tz, "as_of", end_of_day=True)
    status = counted_status(deals, tz, as_of=end)
    open_ = (status == "open").to_numpy(np.bool_) & (added != NULL) & (added <= today)
    right = pd.DataFrame(
        {"customer": customers(deals, policy), "successor": ids(deals, "id"), "added": added}
    )[open_]
    left = pd.DataFrame(
        {"row": np.arange(len(result)), "customer": result["customer"], "starts": starts}
    )[wanted]
    pairs = left.merge(right, on="customer")
    best = (
        pairs[pairs["added"] > pairs["starts"]]
        .sort_values(["row", "added", "successor"])
        .drop_duplicates("row", keep="last")
    )
    return best.set_index("row")["successor"].reindex(range(len(result))).astype("Int64")


def _limit(within: Any, today: int) -> float:
    """Return the last day of the terms that are shown, as days since 1970."""
    if isinstance(within, str) and _PERIOD.search(within):
        within = absolute(within, pd.Timestamp(today, unit="D", tz="UTC"), "UTC", "within")
    period = named_period(within, "within")
    if period is None:
        return today + span(within, "within")
    return int(np.datetime64(period[1], "D").astype(np.int64)) - 1


__all__ = ["renewals"]
