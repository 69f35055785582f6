"""The changelogs of deals (v1) and projects (v2), read off the events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from .clock import wire_millis, wire_v1
from .ledger import Event, Row, merge
from .switches import Switches

_APP = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko)"
    " Chrome/121.0.0.0 Safari/537.36"
)
# Columns that no source shows in a changelog: derived ones, and the flags of archiving. Deletion
# shows as the status "deleted".
_SILENT = frozenset(
    (
        "id",
        "add_time",
        "update_time",
        "stage_change_time",
        "local_won_date",
        "local_lost_date",
        "local_close_date",
        "acv",
        "arr",
        "mrr",
        "is_archived",
        "is_deleted",
        "archive_time",
        "custom_fields",
        "creator_user_id",
        "origin",
        "origin_id",
        "source_lead_id",
    )
)
_KEYS = {"owner_id": "user_id", "label_ids": "label"}
_TIMES = frozenset({"won_time", "lost_time", "close_time", "add_time"})
# Seconds by which the pipeline_id row of a move to another pipeline differs from its stage_id row.
_PIPELINE_SECONDS = {"pipeline later": 1, "pipeline earlier": -1}


def text(value: Any) -> str | None:
    """Return a value as the changelog writes it."""
    if value is None or value == []:
        return None
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, list):
        return ",".join(str(item) for item in value)
    if isinstance(value, float) and value == int(value):
        return str(int(value))
    return str(value)


def _parts(code: str, value: Any) -> dict[str, Any]:
    """Return a custom value as columns: the main part under the code, the others under
    code_part.
    """
    if isinstance(value, dict):
        return {code if part == "value" else f"{code}_{part}": item for part, item in value.items()}
    return {code: value}


def _pairs(before: Row, event: Event) -> Iterator[tuple[str, Any, Any]]:
    if event.action in ("delete", "restore"):
        yield (
            "status",
            *(
                (before["status"], "deleted")
                if event.action == "delete"
                else ("deleted", before["status"])
            ),
        )
        return
    for key, new in event.changes.items():
        if key in _TIMES and (key != "add_time" or event.action != "create"):
            old = before[key]
            yield key, old and old[:-1].replace("T", " "), new and new[:-1].replace("T", " ")
        elif key not in _SILENT:
            yield _KEYS.get(key, key), before[key], new
    for code, new in event.changes.get("custom_fields", {}).items():
        old_parts, new_parts = _parts(code, before["custom_fields"].get(code)), _parts(code, new)
        for key in dict.fromkeys([*old_parts, *new_parts]):
            yield key, old_parts.get(key), new_parts.get(key)


def _shown(key: str, event: Event, switches: Switches) -> bool:
    """Whether the changelog has a row for this column of the event."""
    moved = event.action == "update" and "pipeline_id" in event.changes
    if key == "pipeline_id" and moved:
        if "stage_id" not in event.changes:
            return switches.moved_stage_in_changelog
        return switches.pipeline_move_in_changelog != "stage only"
    return not (
        key == "stage_id" and moved and switches.pipeline_move_in_changelog == "pipeline only"
    )


def _time(key: str, event: Event, switches: Switches) -> int:
    """Return the second at which the changelog has the row."""
    crossed = event.action == "update" and key == "pipeline_id" and "stage_id" in event.changes
    return event.time + (
        _PIPELINE_SECONDS.get(switches.pipeline_move_in_changelog, 0) if crossed else 0
    )


def deal_changelog(log: Sequence[Event], switches: Switches) -> list[Row]:
    """Return the v1 changelog rows of one deal, oldest first.

    Rows of one write share its second and keep the order of its columns, unless a switch says
    otherwise.
    """
    rows: list[Row] = []
    state: Row = {}
    for event in log:
        if event.action == "create":
            state = dict(event.changes)
            if not switches.changelog_has_creation:
                continue
            before: Row = {**dict.fromkeys(state), "custom_fields": {}}
        else:
            before = state
        for key, old, new in _pairs(before, event):
            old_text, new_text = text(old), text(new)
            if old_text != new_text and _shown(key, event, switches):
                rows.append(
                    {
                        "field_key": key,
                        "old_value": old_text,
                        "new_value": new_text,
                        "actor_user_id": event.actor,
                        "time": wire_v1(_time(key, event, switches)),
                        "change_source": event.source,
                        "change_source_user_agent": _APP if event.source == "app" else None,
                        "is_bulk_update_flag": event.bulk,
                    }
                )
        if event.action != "create":
            merge(state, event.changes)
    rows.sort(key=lambda row: str(row["time"]))
    return rows


def project_changelog(log: Sequence[Event]) -> list[Row]:
    """Return the v2 changelog rows of one project, oldest first."""
    rows: list[Row] = []
    state: Row = {}
    for event in log:
        if event.action == "create":
            state = dict(event.changes)
            continue
        new = {
            key: value
            for key, value in event.changes.items()
            if key not in ("custom_fields", "status_change_time")
        }
        old = {key: state[key] for key in new}
        custom = event.changes.get("custom_fields", {})
        new |= custom
        old |= {code: state["custom_fields"].get(code) for code in custom}
        merge(state, event.changes)
        if new:
            rows.append(
                {
                    "change_source": event.source,
                    "change_source_user_agent": _APP if event.source == "app" else None,
                    "time": wire_millis(event.time),
                    "new_values": new,
                    "old_values": old,
                    "actor_user_id": event.actor,
                }
            )
    return rows
