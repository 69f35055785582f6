"""From line items of won deals to recurring revenue per month: the amount of each line, and from
when until when.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from pdframe.errors import ArgumentError
from pdframe.metrics._arguments import in_zone, local_date, require_columns, zone_of
from pdframe.metrics._columns import (
    Flags,
    Floats,
    Ints,
    amounts,
    as_times,
    at_the_edge,
    equals,
    ids,
    times,
    warn_of_uncountable,
)
from pdframe.metrics._notes import noted
from pdframe.metrics._states import (
    Deleted,
    DeletedRows,
    check_deleted,
    counted_status,
)
from pdframe.metrics.revenue._line_warnings import (
    warn_of_differing_values,
    warn_of_missing_deals,
    warn_of_problems,
    warn_of_uncounted,
)
from pdframe.metrics.revenue.customers import (
    NO_CONTACTS,
    Contacts,
    customer_names,
    customers,
    insert_names,
)
from pdframe.metrics.revenue.endings import (
    Cancellations,
    bridged,
    cancelled_on,
    known_cancellations,
    warn_of_open_lines,
)
from pdframe.metrics.revenue.periods import (
    MONTHS,
    NULL,
    ONE_TIME,
    WEEKLY,
    add_periods,
    as_dates,
    as_months,
    days_of,
    frequencies,
    sampled,
)
from pdframe.metrics.revenue.policy import RevenuePolicy, chosen
from pdframe.metrics.revenue.prices import LARGEST, PRICED, period_amounts, rounded, shares_kept
from pdframe.metrics.revenue.running_month import LAST_CHANGE, last_change
from pdframe.metrics.revenue.versions import Known, versions

LINES = (
    "id",
    "deal_id",
    "customer",
    "product_id",
    "currency",
    "mrr",
    "start",
    "end",
    "end_reason",
    "billing_frequency",
    "billing_frequency_cycles",
    "one_time",
    "tcv",
    "problem",
    "amount",
    "won_date",
    "month_from",
    "month_until",
)
"""Columns of the result, in this order, before those that are carried along."""

BILLED = (
    "id",
    "deal_id",
    "currency",
    "is_enabled",
    "billing_frequency",
    "billing_frequency_cycles",
    "billing_start_date",
    *PRICED,
)
"""Columns that line items need."""

REASONS = pd.CategoricalDtype(["term", "cancelled", "open"])
OF_VERSIONS = pd.CategoricalDtype([*REASONS.categories, "changed", "removed"])
"""Why a version of a line ends: another one followed, or the line was removed."""

CARRIED = (
    "owner_id",
    "pipeline_id",
    "org_id",
    "person_id",
    "owner_name",
    "pipeline_name",
)
"""Columns of deals that are carried along by default."""

_LAST_DAY = 2_932_896  # 31 December 9999
_MOST_CYCLES = 100_000


@noted
def mrr_lines(
    deal_products: pd.DataFrame,
    deals: pd.DataFrame,
    *,
    policy: RevenuePolicy | None = None,
    discounts: pd.DataFrame | None = None,
    cancellations: Cancellations = None,
    organizations: pd.DataFrame | None = None,
    persons: pd.DataFrame | None = None,
    history: pd.DataFrame | None = None,
    carry: str | Sequence[str] | None = None,
    deleted: Deleted = "drop",
    tz: str | None = None,
) -> pd.DataFrame:
    """Return the line items of won deals as recurring revenue: one row per line, from which every
    other figure of revenue follows.

    The API gives the line items of today alone: editing or deleting a line item restates past
    months. With `history` each month is as it was at the time, back to the first snapshot; then
    there is one row per version of a line.

    Parameters
    ----------
    deal_products
        Line items as loaded. Disabled ones are left out.
    deals
        Deals as loaded, archived ones among them; deleted ones and those that are not won are left
        out. Needs id, status, won_time and the columns of `policy.customer`; local_won_date,
        is_deleted, currency and value are used where present.
    policy
        Choices that change the figures; None: `RevenuePolicy()`.
    discounts
        Discounts on whole deals (`account.discounts(ids)`), which cut one-time parts alone, pro
        rata. None: unknown; then a warning names the deals whose value is not what their lines add
        up to.
    cancellations
        The name of a column of `deals` ("Cancellation date") that holds the first day on which
        nothing is owed any more; or a frame with such a column `date` and exactly one of line_id,
        deal_id, customer. By line or deal the earliest date counts; by customer each line takes the
        first date after its start. Rows without a date are none. None: not known; then lines
        without an end count forever, and a warning names the columns of `deals` that may hold
        cancellations. An empty frame: there are none.
    organizations, persons
        `account.organizations()`, `account.persons()`: with these, `customer_name` is beside
        `customer` in this frame and in every one that is made of it. None: the names that `deals`
        has (`account.deals(names=True)`: org_name, person_name); where it has none either, there is
        no `customer_name`.
    history
        `account.line_history()`: the values of each line item from when until when. None: all
        months by the line items of today. Lines count from the day on which their deal was won
        (where the policy counts won deals alone), also with an earlier billing start; those of
        deals that were deleted after they were won count until then where `deals` holds them
        (`account.deals(deleted=True)`). Apart from that deals and `cancellations` count as they are
        today: a deal that was reopened since is in no month, and a cancellation ends a line on its
        date, whenever it became known.
    carry
        Columns of `deals` to carry along, for `by`; None: owner_id, pipeline_id, org_id, person_id,
        owner_name, pipeline_name where present. All columns of `deal_products` are carried along
        too, except those that are named like one of the result.
    deleted
        "drop" (default): the lines of deleted deals count nowhere. "keep": those of deals that were
        deleted after they were won or lost still count, where both frames have them (deals from
        `account.deals(deleted=True)`; else a warning says so).
    tz
        Timezone in which `won_time` falls on a day, where `local_won_date` is null; None: the
        frames' `attrs["tz"]`, which the loaders set, else UTC.

    Returns
    -------
    DataFrame
        In the order of `deal_products`. id, deal_id, customer ("organization 5", "person 7", "deal
        12"), customer_name (where names are known; two customers may have one name, and one that is
        a deal has its title; null: unknown), product_id, currency (the line's, else the deal's),
        mrr (per month, 0 for one-time lines), start, end (the first day after; null: open, or
        one-time), end_reason (term, cancelled, open; null: one-time), billing_frequency,
        billing_frequency_cycles, one_time (amount billed once, after `discounts`; 0 for lines that
        recur), tcv (over the whole term; null where cycles are open), problem (why a line does not
        count; null: it counts), amount (one billing period), won_date, month_from and month_until
        (the first month in which it counts, and the first in which it does no longer, as first
        days; null: never ends), then what is carried along. Amounts are in the line's currency;
        those of a line with a problem are null.

        With `history` one row per version, those of a line in the order of time, deleted lines at
        the end: start and end are those days of the version on which its deal was won and it was
        the one known (none where end = start), end_reason also changed (another version followed)
        or removed (the line was). After month_until stand known_from and known_until (days on which
        the version was the one known; known_from null: and before, known_until null: it still is),
        agreed_start, agreed_end, agreed_end_reason (the version's own, whenever it was known). The
        first version of a line that the first snapshot shows counts for all the time before it; a
        line that was added later counts from its `add_time`, else from the snapshot that shows it.
        One-time lines have their current version alone.

    Raises
    ------
    ArgumentError
        A column is missing or holds something else, `deals` has a deal twice, or `cancellations`
        has another form or names no column.

    Warns
    -----
    DataWarning
        Lines that do not count, with their reasons, counts and ids; lines begin and end between two
        sampling days and so count in no month, with their count, MRR and ids; no cancellations are
        given and lines have no end; deals differ from their lines; `history` holds values that
        cannot be read, or line items of deals that `deals` does not hold.

    Notes
    -----
    One period: max(0, quantity x item_price - discount), divided by 1 + tax where the tax is
    inside; a negative price remains negative. Per month: weekly 52/12 of it, monthly 1, quarterly
    1/3, semi-annually 1/6, annually 1/12. ARR = 12 x MRR. TCV = one-time + all cycles, as agreed,
    cancelled or not. Each amount is rounded once, half to even, to a millionth.

    A line is active on [start, end): from `billing_start_date`, else the won date, for its cycles,
    each counted from the start (31 January + 1 month = 28 February, + 2 = 31 March), or to the
    cancellation where that is earlier. Rules of billing: Pipedrive's API reference (weekly billing
    needs cycles; null cycles recur without end; one-time has none).

    With `history` a version counts from the day (in `tz`) of the snapshot that shows it, or of its
    exact time where the history has that: an edit between two snapshots appears in the month of the
    second. The grace of the policy also bridges the gap of a removed line.

    Examples
    --------
    >>> items, deals = account.deal_products(), account.deals()
    >>> lines = metrics.mrr_lines(items, deals, cancellations="Cancellation date")
    >>> lines.loc[lines["mrr"] > 0, ["deal_id", "currency", "mrr", "start", "end"]].head(3)
       deal_id currency           mrr      start        end
    0        2      USD    514.800000 2023-11-06 2026-11-06
    1        4      EUR  35186.666667 2024-06-17 2025-06-16
    2        8      EUR   1817.000000 2024-04-17 2025-07-07
    """
    policy = chosen(policy)
    tz = zone_of(tz, deal_products, deals)
    deal_products = require_columns(deal_products, "deal_products", [*BILLED, "product_id"])
    rows, known = (deal_products, None) if history is None else versions(deal_products, history, tz)
    contacts = Contacts(organizations, persons)
    won = won_lines(rows, deals, policy, carry, tz, deleted, known, contacts)
    check_deleted(deleted, deals)
    now = _current(won)
    ends = known_cancellations(cancellations, deals)
    priced, problems = ledger_columns(won, policy, discounts, ends)
    today = priced if won.known is None else current_as_agreed(priced, policy)
    # A call shows its first warning: lines that count forever change MRR most.
    if cancellations is None:
        warn_of_open_lines(today, deals)
    if discounts is None:
        warn_of_differing_values(now.deals, now.lines)
    if known is not None:
        warn_of_missing_deals(rows, known, deals)
    warn_of_problems(problems, priced["id"])
    warn_of_uncounted(today, policy)
    if won.name is not None:
        insert_names(priced, won.name)
    own = (*priced.columns,)
    carried = won.deals[_carried(deals, carry)]
    taken = [name for name in carried.columns if name in own or name in deal_products.columns]
    if carry is None:
        # The lines' own column is meant then.
        carried = carried.drop(columns=taken)
    elif taken:
        raise ArgumentError(
            f"carry: {', '.join(map(repr, taken))} is a column of the lines already. Rename it in"
            " `deals` first."
        )
    rest = [name for name in won.lines.columns if name not in own]
    result = in_zone(pd.concat([priced, carried, won.lines[rest]], axis=1), tz)
    result.attrs[LAST_CHANGE] = last_change(deals, tz)
    return result


class WonLines(NamedTuple):
    """Line items of the deals that count; row by row their deals, their customers, and when the
    deal was won (days).

    Where the rows are versions of lines, `known` says when each was the one known. `name` is that
    of the customer, None where no names are known.
    """

    lines: pd.DataFrame
    deals: pd.DataFrame
    customer: pd.Series[Any]
    won: Ints
    known: Known | None = None
    name: pd.Series[Any] | None = None


def won_lines(
    deal_products: pd.DataFrame,
    deals: pd.DataFrame,
    policy: RevenuePolicy,
    carry: str | Sequence[str] | None,
    tz: str,
    deleted: Deleted = "drop",
    known: Known | None = None,
    contacts: Contacts = NO_CONTACTS,
) -> WonLines:
    """Return the enabled lines of the deals that count under `policy`.

    With `known` the rows are versions of lines, and those of a deal that was deleted after it was
    won count until then.

    Raises
    ------
    ArgumentError
        A column of deals is missing, or a deal is there twice.
    """
    deals = require_columns(deals, "deals", ())
    deals = require_columns(
        deals, "deals", ["id", "status", "won_time", *policy.customer], _carried(deals, carry)
    )
    warn_of_uncountable(deals, "deals", moments=["won_time", "local_won_date"])
    deal_ids = ids(deals, "id")
    status = counted_status(deals, tz, deleted=deleted if known is None else "keep")
    counts = status.isin(policy.statuses).to_numpy(bool) & deal_ids.notna().to_numpy()
    kept = deals[counts].reset_index(drop=True)
    covered = pd.Index(deal_ids[counts])
    if not covered.is_unique:
        raise ArgumentError(
            f"deals holds deal {covered[covered.duplicated()][0]} more than once. Pass each deal"
            " once."
        )
    won = (
        local_date(times(kept, "won_time", tz), tz)
        .to_numpy()
        .astype("datetime64[D]")
        .astype(np.int64)
    )
    if "local_won_date" in kept.columns:
        local = days_of(kept, "local_won_date")
        won = np.where(local == NULL, won, local)
    place = np.asarray(covered.get_indexer(pd.Index(ids(deal_products, "deal_id"))), dtype=np.int64)
    rows = (place >= 0) & ~equals(deal_products, "is_enabled", False)
    if known is not None:
        rows, known = _until_deletion(kept, place, rows, known, deleted, tz)
    place, lines = place[rows], deal_products if rows.all() else deal_products[rows]
    customer = customers(kept, policy).take(place).reset_index(drop=True)
    name = customer_names(kept, policy, contacts)
    return WonLines(
        lines.reset_index(drop=True),
        kept.take(place).reset_index(drop=True),
        customer,
        won[place],
        known,
        None if name is None else name.take(place).reset_index(drop=True),
    )


def _until_deletion(
    deals: pd.DataFrame, place: Ints, rows: Flags, known: Known, deleted: Deleted, tz: str
) -> tuple[Flags, Known]:
    """Return which versions of lines count, and until when those of deleted deals are known: until
    the deletion, with "keep" forever.

    `place` is that of the deal of each version, -1 where it has none that counts.
    """
    deletions = DeletedRows.of(deals, tz)
    removed = deletions.rows
    if not removed.any():
        return rows, known.take(np.flatnonzero(rows))
    since = as_times(deletions.since, deals.index)
    day = local_date(since, tz).to_numpy().astype("datetime64[D]").astype(np.int64)
    of_deleted, end = np.append(removed, False)[place], np.append(day, NULL)[place]
    with_deal = of_deleted & (known.until != NULL) & known.removed & (known.until >= end)
    if deleted == "keep":
        known = known._replace(
            until=np.where(with_deal, NULL, known.until), removed=known.removed & ~with_deal
        )
    else:
        # A deletion with an unknown time counts for all time.
        rows = rows & ~(of_deleted & ((end == NULL) | (known.since >= end)))
        cut = of_deleted & ((known.until == NULL) | (known.until >= end))
        known = known._replace(until=np.where(cut, end, known.until), removed=known.removed | cut)
    return rows, known.take(np.flatnonzero(rows))


def _current(won: WonLines) -> WonLines:
    """The lines as they are now."""
    if won.known is None:
        return won
    rows = np.flatnonzero((won.known.until == NULL) & (won.known.source >= 0))

    def taken(frame: Any) -> Any:
        return frame.take(rows).reset_index(drop=True)

    return WonLines(taken(won.lines), taken(won.deals), taken(won.customer), won.won[rows])


def current_as_agreed(priced: pd.DataFrame, policy: RevenuePolicy) -> pd.DataFrame:
    """Return the versions that are known now, with the months that they agreed on, whenever that
    was known.
    """
    now = priced[priced["known_until"].isna()].reset_index(drop=True)
    start, end = days_of(now, "agreed_start"), days_of(now, "agreed_end")
    recurs = now["agreed_end_reason"].notna().to_numpy()
    first, last = sampled(start, np.where(recurs, end, NULL), policy.at, recurs)
    return now.assign(
        start=now["agreed_start"],
        end=now["agreed_end"],
        end_reason=now["agreed_end_reason"],
        month_from=as_months(first),
        month_until=as_months(last),
    )


def ledger_columns(
    covered: WonLines,
    policy: RevenuePolicy,
    discounts: pd.DataFrame | None,
    cancellations: pd.DataFrame | None,
) -> tuple[pd.DataFrame, pd.Series[Any]]:
    """Return the columns of LINES, and the problem of each line."""
    lines, won = covered.lines, covered.won
    frequency, cycles = (
        frequencies(lines["billing_frequency"]),
        amounts(lines, "billing_frequency_cycles"),
    )
    start = days_of(lines, "billing_start_date")
    edge = at_the_edge(lines, "billing_start_date")
    start = np.where((start == NULL) & ~edge, won, start)
    currency = lines["currency"].astype("str")
    if "currency" in covered.deals.columns:
        currency = currency.fillna(covered.deals["currency"].astype("str"))
    amount = period_amounts(lines, policy)
    result = pd.DataFrame(
        {"id": ids(lines, "id"), "deal_id": ids(lines, "deal_id"), "customer": covered.customer}
    )
    end, problem = _terms(start, frequency, cycles)
    problem[edge] = "starts on 31 December 9999 or in year 1"
    problem = _problems(lines, _twice(result["id"], covered.known), currency, amount, problem)
    fine = problem == ""
    amount = np.where(fine, amount, np.nan)
    once, recurs = fine & (frequency == ONE_TIME), fine & (frequency != ONE_TIME)
    one_time = np.where(once, amount, 0.0)
    if discounts is not None:
        one_time = one_time * shares_kept(
            one_time, lines.assign(currency=currency), covered.deals, discounts
        )
    per_month = np.array([0.0, policy.weekly, *(1 / MONTHS[2:])])[np.maximum(frequency, 0)]
    mrr = np.where(recurs, amount * per_month, 0.0)
    tcv = np.where(recurs, amount * cycles, one_time)

    reason = np.where(~recurs, -1, np.where(end == NULL, 2, 0))
    if cancellations is not None:
        cancelled = cancelled_on(result, start, cancellations)
        early = recurs & (cancelled != NULL) & ((end == NULL) | (cancelled < end))
        end, reason = np.where(early, np.maximum(start, cancelled), end), np.where(early, 1, reason)
    agreed = (start, end, reason)
    if covered.known is not None:
        # Lines of a deal that was not won yet were no revenue, whatever their billing start.
        since = (
            np.maximum(covered.known.since, won)
            if policy.statuses == ("won",)
            else covered.known.since
        )
        start, end, reason = _while_known(*agreed, covered.known._replace(since=since), recurs)
    counted = end
    if policy.grace_days > 0:
        counted = bridged(
            pd.factorize(result["customer"])[0].astype(np.int64),
            start,
            end,
            recurs & (mrr > 0),
            policy.grace_days,
        )
    month_from, month_until = sampled(start, np.where(recurs, counted, NULL), policy.at, recurs)

    def money(values: Floats) -> Floats:
        return np.where(fine, rounded(values), np.nan)

    result["product_id"], result["currency"] = lines["product_id"], currency
    result["mrr"] = money(mrr)
    result["start"], result["end"] = as_dates(start), as_dates(end)
    result["end_reason"] = pd.Categorical.from_codes(
        reason, dtype=REASONS if covered.known is None else OF_VERSIONS
    )
    result["billing_frequency"], result["billing_frequency_cycles"] = (
        lines["billing_frequency"],
        lines["billing_frequency_cycles"],
    )
    result["one_time"], result["tcv"] = money(one_time), money(tcv)
    reported = pd.Series(problem, dtype="str").mask(fine)
    result["problem"] = reported
    result["amount"], result["won_date"] = money(amount), as_dates(won)
    result["month_from"], result["month_until"] = as_months(month_from), as_months(month_until)
    if covered.known is not None:
        result["known_from"], result["known_until"] = (
            as_dates(covered.known.since),
            as_dates(covered.known.until),
        )
        result["agreed_start"], result["agreed_end"] = as_dates(agreed[0]), as_dates(agreed[1])
        result["agreed_end_reason"] = pd.Categorical.from_codes(agreed[2], dtype=REASONS)
    return result, reported


def _while_known(
    start: Ints, end: Ints, reason: Ints, known: Known, recurs: Flags
) -> tuple[Ints, Ints, Ints]:
    """Return start, end and reason of each version on the days on which it was the one known; of
    none, end = start.
    """
    begins = np.where(recurs & (start != NULL), np.maximum(start, known.since), start)
    cut = recurs & (known.until != NULL) & ((end == NULL) | (known.until < end))
    stops = np.where(cut, known.until, end)
    stops = np.where(recurs & (stops != NULL), np.maximum(stops, begins), stops)
    return begins, stops, np.where(cut, np.where(known.removed, 4, 3), reason)


def _twice(line: pd.Series[Any], known: Known | None) -> Flags:
    """Return where an id occurs in a second row; versions of one line count as one row."""
    if known is None:
        return np.asarray(line.duplicated() & line.notna(), np.bool_)
    source = pd.Series(known.source)
    return np.asarray((source != source.groupby(line).transform("min")) & line.notna(), np.bool_)


def _terms(start: Ints, frequency: Ints, cycles: Floats) -> tuple[Ints, Any]:
    """Return the day after each term, `NULL` where it is open, and its problem."""
    problem = np.full(len(start), "", dtype=object)
    recurs = frequency > ONE_TIME
    finite = recurs & ~np.isnan(cycles)
    problem[recurs & (frequency == WEEKLY) & ~finite] = "weekly without cycles"
    odd = finite & (cycles != np.floor(cycles))
    problem[odd] = "cycles are not a whole number"
    problem[finite & (cycles <= 0)] = "cycles below 1"
    far = finite & (cycles > _MOST_CYCLES)
    problem[far | (start > _LAST_DAY)] = "ends after the year 9999"
    problem[frequency < ONE_TIME] = "unknown billing frequency"
    problem[start == NULL] = "no start date"
    known = (problem == "") & finite
    end = np.full(len(start), NULL)
    end[known] = add_periods(start[known], frequency[known], cycles[known].astype(np.int64))
    problem[end > _LAST_DAY] = "ends after the year 9999"
    end[end > _LAST_DAY] = NULL
    return end, problem


def _problems(
    lines: pd.DataFrame, twice: Flags, currency: pd.Series[Any], amount: Floats, problem: Any
) -> Any:
    """Return the worst problem of each line, empty where it counts."""
    problem[
        currency.isna().to_numpy() | (currency.str.strip() == "").to_numpy(bool, na_value=True)
    ] = "no currency"
    problem[~(np.abs(amount) < LARGEST)] = "amount out of range"
    taxed = (
        np.isnan(amount)
        & equals(lines, "tax_method", "inclusive")
        & (amounts(lines, "tax") <= -100)
    )
    problem[taxed] = "tax of -100 % or less"
    problem[lines[["quantity", "item_price"]].isna().any(axis=1).to_numpy(bool)] = (
        "no quantity or price"
    )
    problem[twice] = "id occurs twice"
    return problem


def _carried(deals: pd.DataFrame, carry: str | Sequence[str] | None) -> list[str]:
    if carry is None:
        return [name for name in CARRIED if name in deals.columns]
    return [carry] if isinstance(carry, str) else list(dict.fromkeys(carry))


__all__ = ["BILLED", "LINES", "REASONS", "WonLines", "mrr_lines", "won_lines"]
