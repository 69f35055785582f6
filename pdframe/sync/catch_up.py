"""The end of a walk by windows: the rows that moved to the newest end of the list meanwhile, which
are in none of its pages.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pdframe.schema import Source
from pdframe.sync.fetch import OVERLAP, Fetcher
from pdframe.sync.fetch_result import FetchResult, earlier, format_time, mark, parse_time
from pdframe.sync.range_scan import SECOND, RangeScan

LATEST = datetime(9999, 12, 31, tzinfo=UTC)
# When the rows of a list were updated, by their keys, as they were met.
Met = Mapping[Any, datetime]


def close(puller: Fetcher, pull: FetchResult, source: Source, windows: RangeScan) -> None:
    """Add the rows of a list that moved to its newest end while it was walked by windows.

    All that was updated from a while before the walk on is asked for, so that a row is found too
    whose clock lagged behind, and the mark of the list moves. Where so many rows were updated
    lately that this would cost more than a walk by windows may, the list is read from its newest
    end down to where that end was when the walk looked at it first. A row whose clock lagged can
    hide behind these, so the mark stays where it is, and the next pull of changes asks for all of
    them.
    """
    since = earlier(parse_time(pull.state[source.path]), OVERLAP)
    top = None if windows.top is None else datetime.fromtimestamp(windows.top // SECOND, UTC)
    met = _met(pull, puller.table.key[0], min(since, top or since))
    crowded = _crowded(met, puller.options.page_size)
    late = sum(time >= since and _second(time) not in crowded for time in met.values())
    if (
        top is None
        or not windows.sorted
        or late // puller.options.page_size + 1 + len(crowded) <= max(windows.spare, 1)
    ):
        _upwards(puller, pull, source, since, met, crowded)
    else:
        _downwards(puller, pull, source, top, met)


def _upwards(
    puller: Fetcher,
    pull: FetchResult,
    source: Source,
    since: datetime,
    met: Met,
    crowded: set[datetime],
) -> None:
    """Add what was updated `since`, and move the mark; of a `crowded` second, no more from the
    first page on that is as it was met.
    """
    more: datetime | None = since
    while more is not None:
        params = {
            **dict(source.params),
            "updated_since": format_time(more),
            "sort_by": "update_time",
            "sort_direction": "asc",
        }
        begin, more = more, None
        for rows, cursor in puller.walk(pull, source, params):
            newest = pc.max(rows["update_time"]).as_py()
            if newest is None:
                continue
            pull.state[source.path] = max(pull.state[source.path], mark(newest, pull.server_time))
            # A server that gives what is older than it was asked for would be asked the same again
            # for ever.
            if (
                cursor
                and begin <= newest < LATEST
                and _second(newest) in crowded
                and _as_met(puller, rows, met)
            ):
                more = _second(newest) + timedelta(seconds=1)
                break


def _downwards(puller: Fetcher, pull: FetchResult, source: Source, top: datetime, met: Met) -> None:
    """Add what was updated behind `top`, the newest row when the walk began at that end."""
    params = {**dict(source.params), "sort_by": "update_time", "sort_direction": "desc"}
    for rows, _ in puller.walk(pull, source, params):
        times = pc.min_max(rows["update_time"]).as_py()
        if times["min"] is not None and (
            times["min"] < top or (times["max"] <= top and _as_met(puller, rows, met))
        ):
            return


def _met(pull: FetchResult, key: str, since: datetime) -> Met:
    late = [
        rows.filter(pc.greater_equal(rows["update_time"], since))
        for rows in pull.columns([key, "update_time"])
    ]
    return {
        one: time
        for rows in late
        for one, time in zip(rows[key].to_pylist(), rows["update_time"].to_pylist(), strict=True)
    }


def _as_met(puller: Fetcher, rows: pa.Table, met: Met) -> bool:
    return all(
        map(
            operator.eq,
            map(met.get, rows[puller.table.key[0]].to_pylist()),
            rows["update_time"].to_pylist(),
        )
    )


def _crowded(met: Met, page: int) -> set[datetime]:
    """The seconds in which more than a page of rows was updated."""
    return {second for second, rows in Counter(map(_second, met.values())).items() if rows > page}


def _second(time: datetime) -> datetime:
    return time.replace(microsecond=0)
