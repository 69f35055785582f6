"""Pages that were damaged on the way, or that no server should send, over real HTTP: taken whole or
refused with a typed error.
"""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdframe.api.client import Client
from tests.helpers import second_page
from tests.helpers.hostile_values import VALUES, corpus
from tests.helpers.scale import examples
from tests.helpers.scripted_server import Reply, Scripted, Seen

pytestmark = pytest.mark.slow

EXAMPLES = examples(60)
HEADERS = {"content-type": "application/json", "date": "Tue, 30 Jun 2026 12:00:00 GMT"}
# Six attempts at each of the two times that a walk may ask for the second page, and what closes it.
MOST_REQUESTS = 16


def serve(scripted: Scripted, name: str, body: bytes) -> None:
    bodies = second_page.answers(name, body)

    def answer(seen: Seen) -> Reply:
        quarantined = seen.params.keys() & {"ids", "status"}
        return Reply(
            200,
            second_page.EMPTY
            if quarantined
            else bodies.get(seen.params.get("cursor"), second_page.EMPTY),
            HEADERS,
        )

    scripted.last = answer
    scripted.seen.clear()


@st.composite
def edits(draw: st.DrawFn) -> list[tuple[str, float, float, bytes]]:
    """What is done to a page: how, where, how much of it, and with what."""
    how = st.sampled_from(["drop", "insert", "replace", "again", "swap", "flip"])
    marks = st.sampled_from([bytes([mark]) for mark in b'{}[],:"\\'])
    with_what = (
        st.sampled_from([value for value in VALUES if len(value) < 100])
        | st.binary(max_size=4)
        | marks
    )
    return draw(
        st.lists(
            st.tuples(how, st.floats(0, 1), st.floats(0, 0.1), with_what), min_size=1, max_size=4
        )
    )


def edited(body: bytes, todo: list[tuple[str, float, float, bytes]]) -> bytes:
    for how, where, much, what in todo:
        start = int(where * len(body))
        end = start + int(much * len(body))
        before, part, after = body[:start], body[start:end], body[end:]
        body = {
            "drop": before + after,
            "insert": before + what + part + after,
            "replace": before + what + after,
            "again": before + part + part + after,
            "swap": part + before + after,
            "flip": before + bytes(byte ^ 1 for byte in part[:1]) + part[1:] + after,
        }[how]
    return body


@EXAMPLES
@given(st.sampled_from(second_page.NAMES), edits())
def test_a_damaged_page_is_complete_or_refused(
    scripted: Scripted, client: Client, name: str, todo: list[tuple[str, float, float, bytes]]
) -> None:
    body = edited(second_page.second_page(name), todo)
    serve(scripted, name, body)
    second_page.check(client, name, body)
    assert len(scripted.seen) <= MOST_REQUESTS


@pytest.mark.parametrize("name", second_page.NAMES)
def test_bodies_that_readers_disagree_on_are_complete_pages_or_refused(
    scripted: Scripted, client: Client, name: str
) -> None:
    outcomes: Counter[str] = Counter()
    for body in corpus(second_page.code_of(name)):
        serve(scripted, name, body)
        outcomes[second_page.check(client, name, body)] += 1
        assert len(scripted.seen) <= MOST_REQUESTS, body[:200]
    assert min(outcomes.values()) > 30
