"""Pages of any JSON over real HTTP: no crash, no hang, no row with an id lost; what is no page is a
typed error.
"""

from __future__ import annotations

import json
import warnings
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdframe.api.client import Client
from pdframe.errors import DataWarning, PdframeError
from pdframe.frames import storage_schema, to_frame, unify
from pdframe.schema import TABLES
from pdframe.sync.fetch import Fetcher
from pdframe.sync.full import FullScan
from tests.helpers.any_json import ALL_FIELDS, JSON_VALUES, rows_of
from tests.helpers.scale import examples
from tests.helpers.scripted_server import Reply, Scripted, Seen

pytestmark = pytest.mark.slow

EXAMPLES = examples(60)
HEADERS = {"content-type": "application/json", "date": "Tue, 30 Jun 2026 12:00:00 GMT"}
EMPTY = Reply(
    200, b'{"success": true, "data": [], "additional_data": {"next_cursor": null}}', HEADERS
)


def encoded(content: Any, *, raw: bool) -> bytes:
    """JSON as Python writes it, or with its characters as they are, halves of a surrogate pair and
    all.
    """
    return json.dumps(content, ensure_ascii=not raw).encode("utf-8", "surrogatepass")


@EXAMPLES
@given(
    st.data(),
    st.sampled_from(["deals", "activities", "persons", "stages", "deal_fields"]),
    st.booleans(),
)
def test_no_page_of_any_json_loses_a_row(
    scripted: Scripted, client: Client, data: st.DataObject, name: str, raw: bool
) -> None:
    table = TABLES[name]
    key, path = table.key[0], f"/api/{table.sources[0].api}{table.sources[0].path}"
    rows = data.draw(rows_of(table))
    keyed = [
        row | {key: f"k{number}" if key == "field_code" else number}
        for number, row in enumerate(rows, 1)
        if isinstance(row, dict)
    ]
    # Of what is no object only the client's own rule may be seen: such a page is no list of rows.
    half = len(keyed) // 2
    pages = {None: (keyed[:half], "second"), "second": (keyed[half:], None)}
    more = data.draw(
        st.dictionaries(
            st.sampled_from(["related_objects", "extra", "meta"]), JSON_VALUES, max_size=2
        )
    )

    def answer(seen: Seen) -> Reply:
        cursor = seen.params.get("cursor")
        if seen.path != path or "ids" in seen.params or cursor not in pages:
            return EMPTY
        kept, after = pages[cursor]
        return Reply(
            200,
            encoded(
                {"success": True, "data": kept, "additional_data": {"next_cursor": after}} | more,
                raw=raw,
            ),
            HEADERS,
        )

    scripted.last = answer
    scripted.seen.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        fetched = FullScan(Fetcher(client, table, ALL_FIELDS, lambda rows: None), None).fetch(
            datetime(2026, 7, 1, tzinfo=UTC)
        )
        nothing = storage_schema(table, ALL_FIELDS).empty_table()
        full, _ = unify([nothing, *fetched.pages], table, ALL_FIELDS)
        assert sorted(set(full[key].to_pylist())) == sorted(row[key] for row in keyed)
        assert len(to_frame(full, table, ALL_FIELDS)) == full.num_rows
    assert len(scripted.seen) < 10


@EXAMPLES
@given(
    st.sampled_from(["stages", "activities", "users"]),
    JSON_VALUES
    | st.fixed_dictionaries(
        {},
        optional={
            "success": JSON_VALUES,
            "data": JSON_VALUES,
            "additional_data": JSON_VALUES,
            "error": JSON_VALUES,
        },
    ),
    st.booleans(),
    st.integers(0, 40),
)
def test_what_is_no_page_is_a_typed_error(
    scripted: Scripted, client: Client, name: str, content: Any, raw: bool, cut: int
) -> None:
    table = TABLES[name]
    body = encoded(content, raw=raw)
    scripted.last = Reply(200, body[: len(body) - cut], HEADERS)
    scripted.seen.clear()
    try:
        fetched = FullScan(Fetcher(client, table, (), lambda rows: None), None).fetch(
            datetime(2026, 7, 1, tzinfo=UTC)
        )
    except PdframeError as error:
        assert str(error).isprintable()  # noqa: PT017
    else:
        # Then it was a page: all of its objects are rows, or said not to be.
        assert isinstance(content, dict)
        kept = content["data"]
        kept = kept["items"] if isinstance(kept, dict) else kept
        assert sum(rows.num_rows for rows in fetched.pages) + fetched.problems.rows == len(
            kept or ()
        )
    assert len(scripted.seen) <= 12
