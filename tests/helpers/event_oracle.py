"""What happened to the deals of a synthetic company, by its own list of writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

CLOSED = ("won", "lost")


class Happened(NamedTuple):
    """One event of a deal; `time` in seconds since 1970 UTC."""

    time: int
    deal_id: int
    event: str
    before: str | None
    after: str | None


def text(value: Any) -> str | None:
    """A value of a row as `changes` shows it."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if value == int(value) else repr(float(value))


def status_of(row: dict[str, Any]) -> str:
    return "deleted" if row["deleted"] else str(row["status"])


def differences(
    company: Any, time: int, before: dict[str, Any] | None, after: dict[str, Any]
) -> Iterator[Happened]:
    """The events that lead from one state of a deal to another; None: it did not exist."""
    deal = after["id"]
    stages, pipelines, users = (company.tables[name] for name in ("stages", "pipelines", "users"))
    old, new = None if before is None else status_of(before), status_of(after)
    if before is None:
        yield Happened(time, deal, "created", None, new)
        if new in CLOSED:
            yield Happened(time, deal, new, None, new)
        return
    if old != new:
        event = "reopened" if new == "open" else new
        if old == "deleted" and new in CLOSED:
            event = "restored"
        yield Happened(time, deal, event, old, new)
    if before["pipeline_id"] != after["pipeline_id"]:
        names = [pipelines[row["pipeline_id"]]["name"] for row in (before, after)]
        yield Happened(time, deal, "changed pipeline", *names)
    elif before["stage_id"] != after["stage_id"]:
        was, now = stages[before["stage_id"]], stages[after["stage_id"]]
        event = "advanced" if now["order_nr"] > was["order_nr"] else "moved back"
        yield Happened(time, deal, event, was["name"], now["name"])
    if before["currency"] != after["currency"]:
        yield Happened(time, deal, "currency changed", before["currency"], after["currency"])
    elif (before["value"] or 0) != (after["value"] or 0):
        event = "value up" if (after["value"] or 0) > (before["value"] or 0) else "value down"
        yield Happened(time, deal, event, text(before["value"]), text(after["value"]))
    days = [row["expected_close_date"] for row in (before, after)]
    if None not in days and days[0] != days[1]:
        yield Happened(time, deal, "slipped" if days[1] > days[0] else "pulled in", *days)
    if before["owner_id"] != after["owner_id"]:
        names = [users[row["owner_id"]]["name"] for row in (before, after)]
        yield Happened(time, deal, "owner changed", *names)
    if before["is_archived"] != after["is_archived"]:
        event = "archived" if after["is_archived"] else "unarchived"
        yield Happened(time, deal, event, text(before["is_archived"]), text(after["is_archived"]))


def states(company: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    """Every deal after every second in which it was written, by deal and time."""
    writes: dict[int, list[Any]] = {}
    for event in company.events:
        if event.table == "deals":
            writes.setdefault(event.id, []).append(event)
    for deal in sorted(writes):
        row: dict[str, Any] = {}
        for place, event in enumerate(writes[deal]):
            row = {**row, **event.changes}
            row["deleted"] = event.action == "delete" or (
                row.get("deleted", False) and event.action != "restore"
            )
            following = writes[deal][place + 1] if place + 1 < len(writes[deal]) else None
            if following is None or following.time != event.time:
                yield event.time, row


def events(company: Any, since: int, until: int) -> list[Happened]:
    """Every event in [since, until), seconds since 1970 UTC, wins and losses that were undone by
    then left out.
    """
    result: list[Happened] = []
    before: dict[int, dict[str, Any]] = {}
    for time, row in states(company):
        if time < until:
            result += differences(company, time, before.get(row["id"]), row)
            before[row["id"]] = row
    return standing([one for one in result if one.time >= since], before)


def standing(happened: Sequence[Happened], now: dict[int, dict[str, Any]]) -> list[Happened]:
    """Leave out the wins and losses that are not the last closing of their deal, or whose deal is
    not closed now.
    """
    last: dict[int, Happened] = {}
    for one in happened:
        if one.event in (*CLOSED, "reopened"):
            last[one.deal_id] = one
    return [
        one
        for one in happened
        if one.event not in CLOSED
        or (last[one.deal_id] is one and status_of(now[one.deal_id]) == one.event)
    ]
