"""Keep going with a table that costs a request a record: after each sync of all tables, fetch the
records that are due, as many as the day's tokens allow.

`account.deal_changes(since=..., keep_going=True)` records, before its first request, that later
syncs go on; "stop" takes it back. Every one fetches the newest records first, and leaves tokens
for other calls: a quarter of `max_tokens`, and half of the account's own daily budget, which the
company's other programs share. Where neither is known, it counts on the smallest budget that an
account can have.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from pdframe._files import seal, unseal, write_atomic
from pdframe.api.limits import TokenBudget
from pdframe.cache.store import KEPT, Store, reported_write_errors
from pdframe.errors import AccessError, BudgetError
from pdframe.schema import Table
from pdframe.sync.children import KEEP_GOING, ChildrenSync
from pdframe.sync.fetch_state import Want
from pdframe.sync.options import UNAVAILABLE
from pdframe.sync.plan_costs import Estimate

__all__ = [
    "KEPT_UP_TO_DATE",
    "affordable",
    "estimated",
    "go_on",
    "is_kept_up_to_date",
    "keep_up_to_date",
    "sync_note",
]

KEPT_UP_TO_DATE = ("deal_changes",)
"""The tables that syncs can keep up to date this way."""

WISHES = "keep_going.json"

# Parts of the ceiling, and of the account's own budget, that are left to other calls.
_OF_CEILING, _OF_DAILY_LIMIT = 4, 2


def is_kept_up_to_date(store: Store, name: str) -> bool:
    """Whether later syncs of all tables go on with this one."""
    wish = _wishes(store).get(name)
    if wish is None:
        # Earlier versions recorded it in the manifest.
        manifest = store.usable_manifest(name)
        return manifest is not None and KEEP_GOING in manifest.state
    return wish is True


def keep_up_to_date(store: Store, name: str, wanted: bool) -> None:
    """Record whether later syncs go on with a table: in a file of its own, which stays where the
    table is damaged. The caller holds the lock.
    """
    if is_kept_up_to_date(store, name) == wanted:
        return
    with reported_write_errors(repr(name), store.root, KEPT):
        write_atomic(store.root / WISHES, seal(_wishes(store) | {name: wanted}))


def _wishes(store: Store) -> dict[str, Any]:
    """Return whether later syncs go on with a table, for each table of which a call said it."""
    with suppress(OSError, ValueError):
        return unseal((store.root / WISHES).read_bytes())
    return {}


def affordable(budget: TokenBudget, cost: int, smallest: int, planned: int = 0) -> int:
    """Return how many requests of `cost` tokens a sync may spend on such tables, after others for
    `planned` tokens; `smallest` is the daily budget where neither a ceiling nor the account's own
    is known.
    """
    known = [
        (limit, left, part)
        for limit, left, part in (
            (budget.max_tokens, budget.left_of_ceiling, _OF_CEILING),
            (budget.daily_limit, budget.daily_remaining, _OF_DAILY_LIMIT),
        )
        if limit is not None and left is not None
    ] or [(smallest, smallest - budget.tokens_today, _OF_DAILY_LIMIT)]
    return max(0, min(left - planned - limit // part for limit, left, part in known) // cost)


def go_on(children: ChildrenSync, budget: TokenBudget, cost: int) -> AccessError | None:
    """Fetch the records that are due, as many as today's tokens allow. What this user or plan
    cannot see ends no sync, as of any other table: return that refusal.
    """
    most = affordable(budget, cost, children.options.keep_going_tokens)
    want = Want(None, now=True, listed=True, most=most)
    try:
        with suppress(BudgetError):
            children.run(want)
    except AccessError as error:
        if error.status not in UNAVAILABLE:
            raise
        return error
    return None


def sync_note(
    table: Table, fetched: int, tokens: int, due: int, budget: TokenBudget, smallest: int
) -> str:
    """Say what a sync spent on a table, what is left for later ones, and what limits them."""
    records, left = table.required_parent.table, due - fetched
    spent = f"keep_going: {fetched:,} of {due:,} {records}, {tokens:,} tokens"
    if not left:
        return spent
    if budget.max_tokens is not None:
        limit = "as far as max_tokens allows"
    elif budget.daily_limit is not None:
        limit = "as far as half of the account's daily budget allows"
    else:
        limit = (
            f"{smallest // _OF_DAILY_LIMIT:,} tokens per day, because the API does not say the"
            " account's budget; connect(max_tokens=) sets another limit"
        )
    return (
        f"{spent}; {left:,} ({left * table.sources[0].cost:,} tokens) are left for later syncs,"
        f" {limit}; account.{table.name}(keep_going='stop') ends it"
    )


def estimated(
    table: Table, due: int, budget: TokenBudget, smallest: int, planned: Sequence[Estimate]
) -> Estimate:
    """Price how a sync that costs what is `planned` goes on with a table, of which `due` records
    are due.
    """
    cost = table.sources[0].cost
    most = affordable(budget, cost, smallest, sum(row.tokens or 0 for row in planned))
    now, records = min(due, most), table.required_parent.table
    basis = f"keep_going: {now:,} of {due:,} {records}, as many as today's tokens allow"
    return Estimate(table.name, now, now * cost, basis)
