"""Catch up after a range scan: fetch the rows that moved to the newest end of the list meanwhile,
which are in none of its pages.
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
from pdframe.sync.fetch import (
    OVERLAP,
    Fetcher,
    FetchResult,
    earlier,
    format_time,
    parse_time,
    watermark,
)
from pdframe.sync.range_scan import SECOND, RangeScan

LATEST = datetime(9999, 12, 31, tzinfo=UTC)
# The `update_time` of rows as the scan saw them, by key.
SeenTimes = Mapping[Any, datetime]


def catch_up(fetcher: Fetcher, fetched: FetchResult, source: Source, scan: RangeScan) -> None:
    """Add the rows of a list that moved to its newest end during a range scan.

    What was updated since a while before the scan is fetched, so that a row is found whose clock
    lagged, and the watermark moves. Where this would cost more than a range scan may, the list is
    read from its newest end down to where that end was when the scan first read it. A row whose
    clock lagged can be hidden there, so the watermark stays, and the next incremental fetch
    requests all of these rows again.
    """
    since = earlier(parse_time(fetched.watermarks[source.path]), OVERLAP)
    newest_at_start = (
        None
        if scan.newest_at_start is None
        else datetime.fromtimestamp(scan.newest_at_start // SECOND, UTC)
    )
    seen = _seen_since(fetched, fetcher.table.key[0], min(since, newest_at_start or since))
    crowded = _crowded_seconds(seen, fetcher.options.page_size)
    recent = sum(time >= since and _second(time) not in crowded for time in seen.values())
    requests = recent // fetcher.options.page_size + 1 + len(crowded)
    is_cheap = requests <= max(scan.spare_requests, 1)
    if newest_at_start is None or not scan.is_sorted or is_cheap:
        _read_upwards(fetcher, fetched, source, since, seen, crowded)
    else:
        _read_downwards(fetcher, fetched, source, newest_at_start, seen)


def _read_upwards(
    fetcher: Fetcher,
    fetched: FetchResult,
    source: Source,
    since: datetime,
    seen: SeenTimes,
    crowded: set[datetime],
) -> None:
    """Add what was updated `since`, and move the watermark; leave a `crowded` second at the first
    page whose rows are all as the scan saw them.
    """
    next_since: datetime | None = since
    while next_since is not None:
        params = {
            **dict(source.params),
            "updated_since": format_time(next_since),
            "sort_by": "update_time",
            "sort_direction": "asc",
        }
        begin, next_since = next_since, None
        for rows, cursor in fetcher.paginate(fetched, source, params):
            newest = pc.max(rows["update_time"]).as_py()
            if newest is None:
                continue
            fetched.watermarks[source.path] = max(
                fetched.watermarks[source.path], watermark(newest, fetched.server_time)
            )
            # A server that returns rows older than `updated_since` would repeat them for ever.
            if (
                cursor
                and begin <= newest < LATEST
                and _second(newest) in crowded
                and _are_as_seen(fetcher, rows, seen)
            ):
                next_since = _second(newest) + timedelta(seconds=1)
                break


def _read_downwards(
    fetcher: Fetcher,
    fetched: FetchResult,
    source: Source,
    newest_at_start: datetime,
    seen: SeenTimes,
) -> None:
    """Add what was updated after `newest_at_start`."""
    params = {**dict(source.params), "sort_by": "update_time", "sort_direction": "desc"}
    for rows, _ in fetcher.paginate(fetched, source, params):
        times = pc.min_max(rows["update_time"]).as_py()
        if times["min"] is not None and (
            times["min"] < newest_at_start
            or (times["max"] <= newest_at_start and _are_as_seen(fetcher, rows, seen))
        ):
            return


def _seen_since(fetched: FetchResult, key: str, since: datetime) -> SeenTimes:
    recent = [
        rows.filter(pc.greater_equal(rows["update_time"], since))
        for rows in fetched.columns([key, "update_time"])
    ]
    return {
        row_key: time
        for rows in recent
        for row_key, time in zip(
            rows[key].to_pylist(), rows["update_time"].to_pylist(), strict=True
        )
    }


def _are_as_seen(fetcher: Fetcher, rows: pa.Table, seen: SeenTimes) -> bool:
    keys, times = rows[fetcher.table.key[0]].to_pylist(), rows["update_time"].to_pylist()
    return all(map(operator.eq, map(seen.get, keys), times))


def _crowded_seconds(seen: SeenTimes, page_size: int) -> set[datetime]:
    """Return the seconds in which more than a page of rows was updated."""
    counts = Counter(map(_second, seen.values()))
    return {second for second, rows in counts.items() if rows > page_size}


def _second(time: datetime) -> datetime:
    return time.replace(microsecond=0)
