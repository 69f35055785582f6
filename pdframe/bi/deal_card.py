"""One deal as a card: what it is, where it was, what it sells, what was done, what changed.

The card is the last step of a drill-down. It is made of what the cache has; each part is a frame.
"""

from __future__ import annotations

import html
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdframe._terminal import printable, table_text
from pdframe._warnings import collect_warnings
from pdframe.cache.server_clock import server_now
from pdframe.errors import ArgumentError, NotCachedError
from pdframe.fields import name_columns
from pdframe.frames.frame import empty_frame
from pdframe.history.replay import has_changelog, history_of_deal
from pdframe.loaders.base import Connected
from pdframe.loaders.single import cached_deal, cached_rows_of, fetch_deal
from pdframe.loaders.urls import id_of_page, record_of_page, without_credentials
from pdframe.metrics._columns import days_between
from pdframe.metrics.changes import known_changes
from pdframe.schema import TABLES
from pdframe.schema.snapshots import STAGE_VISITS

__all__ = ["DealCard", "Part", "deal"]

_Refresh: TypeAlias = Literal["full"] | bool | None
_MOST_ROWS = 12
"""Rows of a part that the card shows; `.frame` has all."""
_LEFT = ' style="text-align: left; padding-right: 1em"'
_CHANGELOG_COST = TABLES["deal_changes"].sources[0].cost
_WIDEST = 60
"""Characters of a value that the card shows."""
_EVER = pd.Timestamp("1900-01-01", tz="UTC"), pd.Timestamp("9999-12-01", tz="UTC")
_OF_EVENTS = ("id", "title", "status", "add_time", "archive_time", "deleted_time")
_SHOWN: Mapping[str, tuple[str, ...]] = {
    "visits": ("stage_name", "entered_at", "left_at", "days", "end"),
    "line_items": ("name", "quantity", "item_price", "currency", "sum", "billing_frequency"),
    "activities": ("due_date", "type", "subject", "done"),
    "changes": ("time", "event", "before", "after"),
}
_BOUNDS: Mapping[str, tuple[str, ...]] = {
    "entered_at": ("entered_after",),
    "left_at": ("left_after",),
    "days": ("entered_after", "left_after"),
    "time": ("time_after",),
}
"""Columns of a part whose values are not exact where one of these has a lower bound."""
_EMPTY: Mapping[str, Callable[[], pd.DataFrame]] = {
    "visits": lambda: empty_frame(STAGE_VISITS).assign(stage_name=None, days=None),
    "line_items": lambda: empty_frame(TABLES["deal_products"]),
    "activities": lambda: empty_frame(TABLES["activities"]),
}
_TITLES = {
    "visits": "Stage visits",
    "line_items": "Line items",
    "activities": "Activities",
    "changes": "Changes",
}


class _Connected(Connected, Protocol):
    """What a card needs of an account."""

    @property
    def _me(self) -> Mapping[str, Any]: ...

    def stages(self, *, refresh: _Refresh = ..., names: bool | None = ...) -> pd.DataFrame: ...

    def pipelines(self, *, refresh: _Refresh = ..., names: bool | None = ...) -> pd.DataFrame: ...

    def users(self, *, refresh: _Refresh = ..., names: bool | None = ...) -> pd.DataFrame: ...

    def stage_visits(self, *, refresh: _Refresh = ...) -> pd.DataFrame: ...


@dataclass(frozen=True, repr=False)
class Part:
    """A part of a card.

    Parameters
    ----------
    title
        What it is.
    frame
        All its rows.
    shown
        The columns that text and HTML show.
    note
        What is missing; empty: nothing.
    tz
        The timezone of the times in text and HTML; those of the frame are UTC.
    """

    title: str
    frame: pd.DataFrame
    shown: Sequence[str]
    note: str
    tz: str

    def __len__(self) -> int:
        return len(self.frame)

    def __repr__(self) -> str:
        return "\n".join([self._head(), *self._text_lines()])

    def _repr_html_(self) -> str:
        rows = self._rows()
        body = "".join(
            f"<tr>{''.join(f'<td{_LEFT}>{_escaped(cell)}</td>' for cell in row)}</tr>"
            for row in rows.itertuples(index=False, name=None)
        )
        head = "".join(f"<th{_LEFT}>{_escaped(name)}</th>" for name in rows.columns)
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        tail = "".join(f"<p>{_escaped(line)}</p>" for line in self._tail())
        return f"<h4>{_escaped(self._head())}</h4>{table if len(rows) else ''}{tail}"

    def _head(self) -> str:
        is_known = len(self.frame) or not self.note
        return f"{self.title} ({f'{len(self.frame):,}' if is_known else 'unknown'})"

    def _text_lines(self) -> list[str]:
        rows = self._rows()
        lines = table_text(rows, widest=_WIDEST).splitlines() if len(rows) else []
        return [f"  {line}" for line in [*lines, *self._tail()]]

    def _tail(self) -> list[str]:
        more = len(self.frame) - _MOST_ROWS
        left_out = f"... the newest {_MOST_ROWS}; .frame has all" if more > 0 else ""
        has_bounds = any(self._is_bounded(name).any() for name in self.shown)
        by = "by: the time of the sync that saw it first" if has_bounds else ""
        return [line for line in (left_out, by, self.note) if line]

    def _rows(self) -> pd.DataFrame:
        """Return the rows as they are shown: the newest ones, with texts in their cells."""
        columns = [name for name in self.shown if name in self.frame.columns]
        rows = self.frame[columns].tail(_MOST_ROWS)
        cells = {
            name: [
                _bounded(_text(value, self.tz), name) if bounded else _text(value, self.tz)
                for value, bounded in zip(rows[name], self._is_bounded(name), strict=True)
            ]
            for name in columns
        }
        return pd.DataFrame(cells, dtype=object)

    def _is_bounded(self, name: str) -> NDArray[np.bool_]:
        """Whether the value of a column is a bound, in each row that is shown."""
        lower = [column for column in _BOUNDS.get(name, ()) if column in self.frame.columns]
        shown: NDArray[np.bool_] = self.frame[lower].tail(_MOST_ROWS).notna().any(axis=1).to_numpy()
        return shown


@dataclass(frozen=True, repr=False)
class DealCard:
    """One deal. `account.deal(id)` makes it; a notebook shows it as HTML, `print` as text.

    Parameters
    ----------
    id
        The deal's id.
    url
        Its page in Pipedrive.
    frame
        What it is: one row, as `account.deals(deleted=True, names=True)` has it.
    visits, line_items, activities, changes
        The parts; `.frame` of each has all rows: its stage visits with `stage_name` and `days`, its
        line items and activities as the loaders give them, and its events as `account.changes`
        does, with the wins and losses that were undone.
    note
        How old it is.
    facts
        What the card shows of `frame`: pairs of a label and a text.
    """

    id: int
    url: str
    frame: pd.DataFrame
    visits: Part
    line_items: Part
    activities: Part
    changes: Part
    note: str
    facts: Sequence[tuple[str, str]]

    def __repr__(self) -> str:
        width = max(len(label) for label, _ in self.facts)
        lines = [self._head(), self.url]
        lines += [f"  {label:<{width}}  {text}" for label, text in self.facts]
        for part in self._parts():
            lines += ["", repr(part)]
        return "\n".join([*lines, "", self.note])

    def _repr_html_(self) -> str:
        facts = "".join(
            f"<tr><th{_LEFT}>{_escaped(label)}</th><td{_LEFT}>{_escaped(text)}</td></tr>"
            for label, text in self.facts
        )
        head = f'<h3><a href="{_escaped(self.url)}">{_escaped(self._head())}</a></h3>'
        parts = "".join(part._repr_html_() for part in self._parts())
        return f"<div>{head}<table>{facts}</table>{parts}<p>{_escaped(self.note)}</p></div>"

    def _head(self) -> str:
        title = self.frame["title"].iloc[0]
        return printable(f"Deal {self.id}: {'(no title)' if pd.isna(title) else title}")

    def _parts(self) -> tuple[Part, ...]:
        return self.visits, self.line_items, self.activities, self.changes


_DEALS_OF = {
    table: f"Its deals: deals = account.deals(), then deals[deals['{column}'] == {{id}}]. account"
    f".{table}() has the {table.removesuffix('s')}."
    for table, column in (("persons", "person_id"), ("organizations", "org_id"))
} | {
    "products": "Its deals: lines = account.deal_products(), then lines[lines['product_id'] =="
    " {id}]['deal_id']. account.products() has the product.",
    "projects": "Its deals are in the column deal_ids: projects = account.projects(), then"
    " projects[projects['id'] == {id}].",
}


def deal(self: _Connected, id: int | str, refresh: bool | None = None) -> DealCard:
    """Show one deal as a card: what it is, its stage visits, line items, activities and changes.

    Parameters
    ----------
    id
        The deal: its id, or the address of its page, such as "https://acme.pipedrive.com/deal/12".
    refresh
        None: from the cache, of any age; where it lacks the deal, as True. True: request this deal
        alone as it is now, 1 token; the other parts are from the cache, and the answer is not kept.
        False: only from the cache.

    Returns
    -------
    DealCard
        Text and HTML, where "by" stands before a time that only has bounds, and "about" before a
        length between such times. `.frame` is the deal's row; `.visits.frame`, `.line_items.frame`,
        `.activities.frame` and `.changes.frame` are the parts; `.url` is its page in Pipedrive.

    Raises
    ------
    ArgumentError
        `id` is no id and no page of a deal of this company, or the API has no such deal.
        `account.search(title, "deal")` finds deals by their title.
    NotCachedError
        `refresh=False`, and the cache lacks the deal.
    CacheError
        A cached file cannot be read.
    PdframeError
        The API did not answer.

    Examples
    --------
    >>> card = account.deal(185)
    >>> card.visits.frame[["stage_name", "days", "end"]].round(1)
      stage_name  days       end
    0  Discovery  44.0  advanced
    1       Demo   3.9      open
    >>> card.changes
    Changes (6)
      time              event       before     after
      2026-05-20 16:33  created                open
      2026-07-03 16:37  advanced    Discovery  Demo
      2026-07-03 16:37  value down  900        618.12
      2026-07-03 16:37  value up    618.12     1505.23
      2026-07-03 16:37  value up    1505.23    4317.91
      2026-07-03 16:37  value up    4317.91    4963.57
    """
    number = _checked(self, id, refresh)
    tz = self.tz
    # The loaders warn of what the cache has: of options that are no longer defined, and the like.
    with collect_warnings():
        cached = None if refresh is True else cached_deal(self, number)
    if cached is None and refresh is False:
        raise NotCachedError(
            f"Deal {number} is not cached, and refresh=False sends no request."
            f" account.deal({number}, refresh=True) asks for it: 1 token."
        )
    fresh = cached is None
    row = _fetched(self, number) if cached is None else cached
    with collect_warnings():
        was_deleted = "deleted_time" in row.columns
        items, done = (
            cached_rows_of(self, name, number, deleted=was_deleted)
            for name in ("deal_products", "activities")
        )
        stages, pipelines, users = map(_cached, (self.stages, self.pipelines, self.users))
        visits = None if stages is None else _visits(self, number, stages)
        events = _events(self, number, row, stages, pipelines, users)
        note = _note(self, row, fresh, number, tz)
    load = "not cached: account.sync() loads them."
    parts = {
        "visits": (visits, "" if visits is not None else f"deals and stages are {load}"),
        "line_items": (items, "" if items is not None else f"line items are {load}"),
        "activities": (
            done if done is None else _by_due_date(done),
            "" if done is not None else f"activities are {load}",
        ),
        "changes": (events, _changelog_note(self, number, was_deleted)),
    }
    made = {
        name: Part(
            _TITLES[name],
            _EMPTY[name]() if frame is None else frame.reset_index(drop=True),
            _SHOWN[name],
            missing,
            tz,
        )
        for name, (frame, missing) in parts.items()
    }
    return DealCard(
        number,
        self.url("deals", [number]).iloc[0],
        row,
        **made,
        note=note,
        facts=_facts(self, row, tz),
    )


def _checked(account: _Connected, given: Any, refresh: object) -> int:
    """Return the id of the deal that is meant."""
    if refresh is not None and not isinstance(refresh, bool):
        raise ArgumentError(f"refresh must be None, True or False, not {refresh!r}.")
    title = given.strip()[:_WIDEST] if isinstance(given, str) else ""
    if re.fullmatch(r"[1-9][0-9]{0,17}", title):
        return int(title)
    if "/" in title and (number := id_of_page(account, "deals", given)) is not None:
        return number
    try:
        if isinstance(given, bool) or not 0 < (checked := operator.index(given)) < 2**63:
            raise TypeError
    except TypeError:
        title = without_credentials(given.strip())[:_WIDEST] if title else ""
        shown = repr(title) if title else repr(given)
        if (page := record_of_page(title)) is not None and page[0] in _DEALS_OF:
            table, number = page
            what = table.removesuffix("s")
            raise ArgumentError(
                f"{shown} is the page of a {what}, not of a deal."
                f" {_DEALS_OF[table].format(id=number)}"
            ) from None
        hint = f" Find it by its title: account.search({title!r}, 'deal')." if title[1:] else ""
        raise ArgumentError(
            f"id must be the id of a deal, such as 17, not {shown}.{hint}"
        ) from None
    return int(checked)


def _fetched(account: _Connected, number: int) -> pd.DataFrame:
    """Return a deal as it is now; warn once of what is wrong with it."""
    with account._data_warnings.one_a_call("deals"):
        return fetch_deal(account, number)


def _changelog_note(account: _Connected, number: int, was_deleted: bool) -> str:
    """Say what of a deal's changes is unknown; empty: nothing."""
    if has_changelog(account._store, number):
        return ""
    known = "its changelog is not cached: listed is what syncs saw"
    if was_deleted:
        return f"{known}."
    return f"{known}. account.deal_changes([{number}]) loads it: {_CHANGELOG_COST} tokens."


def _cached(load: Any) -> pd.DataFrame | None:
    """Return a cached list; None where it is not cached."""
    try:
        frame: pd.DataFrame = load(refresh=False, names=False)
    except NotCachedError:
        return None
    return frame


def _visits(account: _Connected, number: int, stages: pd.DataFrame) -> pd.DataFrame | None:
    """Return the visits of a deal to stages, with their names and lengths."""
    try:
        visits = account.stage_visits(refresh=False)
    except NotCachedError:
        return None
    own = visits[visits["deal_id"] == number].reset_index(drop=True)
    names = stages.set_index("id")["name"].reindex(own["stage_id"]).array
    own.insert(1, "stage_name", names)
    left = own["left_at"].fillna(pd.Timestamp(server_now(account._store)).as_unit("us"))
    own["days"] = days_between(own["entered_at"], left)
    return own


def _by_due_date(activities: pd.DataFrame) -> pd.DataFrame:
    """Sort activities by their day, those without one first: the card shows the newest ones."""
    return activities.sort_values("due_date", kind="stable", na_position="first")


def _events(
    account: _Connected,
    number: int,
    row: pd.DataFrame,
    stages: pd.DataFrame | None,
    pipelines: pd.DataFrame | None,
    users: pd.DataFrame | None,
) -> pd.DataFrame:
    """Return all that is known to have happened to a deal."""
    read = [name for name in _OF_EVENTS if name in row.columns]
    return known_changes(
        history_of_deal(account._store, number),
        row[read].assign(url=account.url("deals", [number])),
        since=_EVER[0],
        until=_EVER[1],
        stages=stages,
        pipelines=pipelines,
        users=users,
        tz=account.tz,
        every=True,
    )


def _facts(account: _Connected, row: pd.DataFrame, tz: str) -> list[tuple[str, str]]:
    """Return what the card shows of a deal: labels and texts, without what is null."""
    cells: dict[str, Any] = {str(name): row[name].iloc[0] for name in row.columns}
    shown = {name: _text(value, tz) for name, value in cells.items()}

    def first(*names: str) -> str:
        """The name of a record, else its id."""
        return next((shown[name] for name in names if shown.get(name)), "")

    deleted = first("deleted_time")
    if deleted and cells["deleted_time"] != cells.get("update_time"):
        # The deletion did not move `update_time`: the sync that saw it tells the time.
        deleted = _bounded(deleted, "deleted_time")
    facts = {
        "status": " ".join(
            filter(
                None, [first("status"), "(archived)" if shown.get("is_archived") == "yes" else ""]
            )
        ),
        "value": " ".join(filter(None, [first("value"), first("currency")])),
        "pipeline": first("pipeline_name", "pipeline_id"),
        "stage": first("stage_name", "stage_id"),
        "owner": first("owner_name", "owner_id"),
        "organization": first("org_name", "org_id"),
        "person": first("person_name", "person_id"),
        "created": first("add_time"),
        "expected close": first("expected_close_date"),
        "won": first("won_time"),
        "lost": first("lost_time"),
        "lost reason": first("lost_reason"),
        "deleted": deleted,
        "labels": first("label_ids"),
    }
    table = TABLES["deals"]
    codes = name_columns(account._syncer.fields(table), table.reserved)
    custom = [name for name in dict.fromkeys(codes.values()) if name in shown]
    own = [(name, shown[name]) for name in custom if name not in table.reserved]
    pairs = [*facts.items(), *own]
    return [(printable(label), _cut(text)) for label, text in pairs if text]


def _note(account: _Connected, row: pd.DataFrame, fresh: bool, number: int, tz: str) -> str:
    """Say how old the card is."""
    manifest = account._store.manifest("deals")
    times = f"Times are {tz}."
    if manifest is None:
        return f"The deal is as it is now; nothing else is cached. {times}"
    at = _text(pd.Timestamp(manifest.server_time or manifest.synced_at), tz)
    if not fresh:
        return f"As of the last sync of deals, {at}. {times}"
    kept = cached_deal(account, number)
    newer = kept is None or not (kept["update_time"].iloc[0] >= row["update_time"].iloc[0])
    changed = " It has changed since: account.sync() brings all of it up to date." if newer else ""
    return f"The deal is as it is now, all else as of the last sync, {at}.{changed} {times}"


def _text(value: Any, tz: str) -> str:
    """Return a cell as one line of text, empty where it is null."""
    if isinstance(value, str):
        return printable(value)
    if hasattr(value, "__iter__"):
        return ", ".join(filter(None, (_text(one, tz) for one in value)))
    if pd.isna(value):
        return ""
    if isinstance(value, pd.Timestamp):
        if value.tzinfo is None:
            return f"{value:%Y-%m-%d}"
        try:
            return f"{value.tz_convert(tz):%Y-%m-%d %H:%M}"
        except (OverflowError, ValueError, NotImplementedError):
            return str(value)  # in `tz` it is outside the years 1 to 9999
    if pd.api.types.is_bool(value):
        return "yes" if value else "no"
    return f"{value:,.2f}" if isinstance(value, float) else printable(str(value))


def _bounded(text: str, column: str) -> str:
    """Return the text of a value that is not exact."""
    return f"{'about' if column == 'days' else 'by'} {text}" if text else ""


def _cut(text: str) -> str:
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1].rstrip()}…"


def _escaped(text: object) -> str:
    return html.escape(printable(str(text)), quote=True)
