"""Loaders warn once an account object and fact; `account.warnings()` lists what was noticed."""

from __future__ import annotations

import gc
import re
import warnings
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pandas as pd
import pytest

import pdframe
from pdframe import DataWarning, sandbox
from pdframe._warnings import collect_warnings
from pdframe.errors import AccessError, ResponseError
from tests.helpers.scripted_server import Reply, Scripted, Seen, data, fail

COLUMNS = ["table", "column", "kind", "count", "example", "first_seen"]


@pytest.fixture
def server() -> Iterator[Scripted]:
    with Scripted.running() as server:
        server.replies = [data(ME)]
        yield server


def connect(server: Scripted, folder: Path) -> pdframe.Account:
    return pdframe.connect(
        base_url=server.url, api_token="x" * 40, cache_dir=folder, progress=False
    )


def said(call: Callable[[], object]) -> list[str]:
    """The warnings of a call."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    assert all(warning.category is DataWarning for warning in caught)
    assert all(warning.filename == __file__ for warning in caught)
    return [str(warning.message) for warning in caught]


ME = {"id": 1, "name": "Ann", "company_id": 7, "company_name": "Acme", "timezone_name": "UTC"}
BAD = [
    {"id": 1, "name": "One", "deal_probability": "high", "order_nr": "first", "add_time": "x"},
    {"id": 2, "name": "Two", "deal_probability": 50, "order_nr": "second", "add_time": "y"},
]


def test_one_warning_a_call_and_each_fact_once(server: Scripted, tmp_path: Path) -> None:
    server.replies += [data(BAD), data(BAD)]
    with connect(server, tmp_path) as account:
        (text,) = said(lambda: account.stages(columns=["id", "order_nr"]))
        assert "'order_nr': 2 values do not fit" in text
        assert "deal_probability" not in text
        # It is noticed all the same, and said when the column is asked for.
        rows = account.warnings()
        assert list(rows.columns) == COLUMNS
        assert rows[["table", "column", "kind", "count", "example"]].to_dict("records") == [
            {
                "table": "stages",
                "column": column,
                "kind": "does not fit its type",
                "count": count,
                "example": example,
            }
            for column, count, example in sorted(
                [
                    ("deal_probability", 1, "'high'"),
                    ("order_nr", 2, "'first'"),
                    ("add_time", 2, "'x'"),
                ],
                key=lambda row: [*rows["column"]].index(row[0]),
            )
        ]
        assert (pd.Timestamp.now("UTC") - rows["first_seen"]).max() < pd.Timedelta("1min")
        assert said(lambda: account.stages(columns=["id", "order_nr"])) == []
        (text,) = said(lambda: account.stages())
        assert "'deal_probability': 1 value does not fit" in text
        assert "order_nr" not in text
        assert said(lambda: account.stages()) == []
        assert said(lambda: account.stages(refresh="full")) == []
    with connect(server, tmp_path) as other:
        # What the cache has is no news for another session; what a load notices is said again.
        assert other.warnings().equals(rows)
        server.replies += [data(BAD)]
        (text,) = said(lambda: other.stages(refresh="full"))
        assert text.count("\n") == 2
        assert other.warnings().equals(rows)


def test_an_account_without_facts_has_an_empty_frame(server: Scripted, tmp_path: Path) -> None:
    server.replies += [data([{"id": 1, "name": "One"}])]
    with connect(server, tmp_path) as account:
        assert said(lambda: account.stages()) == []
        rows = account.warnings()
    assert list(rows.columns) == COLUMNS
    assert len(rows) == 0
    assert str(rows["first_seen"].dtype) == "datetime64[us, UTC]"


def test_a_new_account_has_an_empty_frame_without_a_request(
    server: Scripted, tmp_path: Path
) -> None:
    with connect(server, tmp_path) as account:
        rows = account.warnings()
        assert (list(rows.columns), len(rows)) == (COLUMNS, 0)
        assert account.tokens_today == 0
    assert server.seen == []
    assert not list(tmp_path.iterdir())


def test_a_damaged_file_is_begun_again(server: Scripted, tmp_path: Path) -> None:
    server.replies += [data(BAD), data(BAD)]
    with connect(server, tmp_path) as account:
        said(lambda: account.stages())
        (account.cache_path / "warnings.json").write_text("{")
        assert len(account.warnings()) == 0
    with connect(server, tmp_path) as other:
        said(lambda: other.stages(refresh="full"))
        assert len(other.warnings()) == 3


def test_an_account_without_users_is_collected_at_once(server: Scripted, tmp_path: Path) -> None:
    """Without a collection of cycles: its connections are closed with it."""
    server.replies += [data(BAD)]
    account = connect(server, tmp_path)
    said(account.stages)
    reference = weakref.ref(account)
    gc.disable()
    try:
        del account
        assert reference() is None
    finally:
        gc.enable()


def test_a_call_that_drops_its_warnings_leaves_them_to_the_next(
    server: Scripted, tmp_path: Path
) -> None:
    server.replies += [data(BAD)]
    with connect(server, tmp_path) as account:
        account.stages(columns=["id"])

        def silently() -> None:
            with collect_warnings():
                account.stages(columns=["id", "order_nr"])

        assert said(silently) == []
        (text,) = said(lambda: account.stages(columns=["order_nr"]))
        assert "'order_nr': 2 values do not fit" in text
        assert said(lambda: account.stages(columns=["order_nr"])) == []


@pytest.mark.parametrize("action", ["error", "always"])
def test_a_warning_never_replaces_the_error_of_its_call(
    server: Scripted, tmp_path: Path, action: Literal["error", "always"]
) -> None:
    """The stages are loaded, with values that do not fit; the pipelines fail."""
    server.replies += [data(BAD), fail(400, "Not today.")]
    text = "'order_nr': 2 values do not fit"
    with connect(server, tmp_path) as account:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter(action)
            with pytest.raises(ResponseError, match="Not today") as refused:
                account.sync("stages", "pipelines")
        notes = [str(warning.message) for warning in caught]
        if action == "error":
            assert notes == []
            notes = refused.value.__notes__
            assert notes == refused.value._render_traceback_()[-1:]
        assert sum(text in note for note in notes) == 1
        # What was loaded is complete, and was said.
        assert len(account.warnings()) == 3
        assert said(lambda: account.stages(refresh=False)) == []
        assert account.stages(refresh=False)["id"].tolist() == [1, 2]


def test_where_warnings_are_errors_a_call_does_its_work_and_the_next_returns_it(
    server: Scripted, tmp_path: Path
) -> None:
    server.replies += [data(BAD)]
    with connect(server, tmp_path) as account, warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DataWarning, match="do not fit"):
            account.stages()
        assert account.stages()["id"].tolist() == [1, 2]
        assert len(server.seen) == 2


@pytest.mark.parametrize("action", ["error", "always"])
def test_a_repair_that_fails_says_what_failed(
    account: sandbox.SandboxAccount, action: Literal["error", "always"]
) -> None:
    account.stages()
    next((account.cache_path / "stages").glob("*.parquet")).write_bytes(b"no parquet")
    account.server.faults = sandbox.Faults(rate=1.0, kinds=("success_false_200",))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter(action)
        with pytest.raises(ResponseError) as refused:
            account.fields("deals")
        with pytest.raises(ResponseError) as refused:
            account.stages()
    notes = [str(warning.message) for warning in caught] or refused.value.__notes__
    assert [note for note in notes if "cached files of 'stages' are deleted" in note] == notes
    assert "its next load requests what the API has" in notes[0]
    account.server.faults = None
    assert len(account.stages()) > 0


def test_an_unknown_timezone_is_an_error_once(server: Scripted, tmp_path: Path) -> None:
    server.replies = [data({**ME, "timezone_name": "Mars/Olympus"})]
    with connect(server, tmp_path) as account, warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DataWarning, match="does not know the timezone"):
            account.tz  # noqa: B018
        assert account.tz == "UTC"


def test_lists_of_fields_that_the_api_withholds_are_said_in_one_warning_and_once(
    server: Scripted, tmp_path: Path
) -> None:
    known = {"field_code": "title", "field_name": "Title", "field_type": "varchar"}
    server.replies += [data([known])]
    server.last = fail(403, "Not yours.")
    with connect(server, tmp_path) as account:
        (text,) = said(lambda: account.fields())
        assert re.findall(r"The fields of (\w+) are left out: .*Not yours", text) == [
            "persons", "organizations", "products", "activities", "projects"
        ]  # fmt: skip
        assert said(lambda: account.fields()) == []
        assert set(account.fields()["table"]) == {"deals"}


def test_a_load_of_records_that_an_error_ends_says_what_its_kept_rows_lack(
    server: Scripted, tmp_path: Path
) -> None:
    row = {"field_key": "title", "new_value": "b", "actor_user_id": "nobody"}
    refused = {"/api/v1/deals/3/changelog"}

    def answer(seen: Seen) -> Reply:
        if seen.path in refused:
            return fail(400, "Not today.")
        return data([row | {"time": "2026-01-01 00:00:00"}])

    server.last = answer
    with connect(server, tmp_path) as account:

        def load() -> object:
            return account.deal_changes([1, 2, 3], names=False)

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with pytest.raises(ResponseError, match="Not today") as error:
                load()
        assert "deal_changes of the 2 deals that were finished" in error.value.kept
        (text,) = [str(warning.message) for warning in caught]
        assert "'actor_user_id': 2 values do not fit" in text
        refused.clear()
        (text,) = said(load)
        assert "'actor_user_id': 1 value does not fit" in text
        assert len(server.seen) == 1 + 3 + 1


def person(number: int, marketing: object = "no", owner: object = 1) -> dict[str, object]:
    return {"id": number, "name": "Ann", "owner_id": owner, "add_time": marketing}


def test_a_row_that_is_read_twice_counts_once(server: Scripted, tmp_path: Path) -> None:
    """A list that grows while it is read repeats rows on its next page."""
    first, second = (
        [person(1, "x"), person(2, "y")],
        [person(2, "y"), person(3, "z"), {"name": "no id"}, person(1, "x", owner="who")],
    )
    server.replies += [data([]), data(first, "more"), data(second)]
    with connect(server, tmp_path) as account:
        said(account.persons)
        rows = account.warnings().set_index(["table", "kind", "column"])["count"]
        misfit, left_out = "does not fit its type", "row left out"
        assert rows["persons", misfit, "add_time"] == 3
        # A row that was edited meanwhile has a problem that it had not.
        assert rows["persons", misfit, "owner_id"] == 1
        assert rows["persons", left_out].tolist() == [1]
        assert account.persons(refresh=False)["id"].tolist() == [1, 2, 3]


@pytest.mark.every_case
@pytest.mark.parametrize("is_interrupted", [False, True], ids=["at once", "interrupted"])
def test_a_row_without_an_id_that_is_read_twice_counts_once(
    server: Scripted, tmp_path: Path, is_interrupted: bool
) -> None:
    """A page that repeats it, decoded in another way, is no second row; another one is. So it is
    where the load stopped between the two pages and was resumed.
    """
    nobody = {"name": "no id", "label_ids": None}
    first = [data([]), data([person(1), nobody, {"id": "who", "name": "Bob"}], "more")]
    rest = [
        data([person(2), person(1), {"name": "no id"}], "and more"),
        data([{"id": "who", "name": "Bob"}, person(3), {"name": "another"}]),
    ]
    if is_interrupted:
        server.replies += [*first, fail(403, "Not today")]
        with connect(server, tmp_path) as account, pytest.raises(AccessError):
            said(account.persons)
        server.replies[:] = rest
    else:
        server.replies += [*first, *rest]
    with connect(server, tmp_path) as account:
        said(account.persons)
        rows = account.warnings().set_index("kind")["count"]
        assert rows["row left out"] == 3
        assert account.persons(refresh=False)["id"].tolist() == [1, 2, 3]


def test_a_fact_with_another_count_is_said_once(server: Scripted, tmp_path: Path) -> None:
    server.replies += [data(BAD), data([*BAD, {**BAD[1], "id": 3}])]
    with connect(server, tmp_path) as account:
        columns = ["id", "order_nr"]
        (text,) = said(lambda: account.stages(columns=columns))
        assert "2 values do not fit" in text
        assert said(lambda: account.stages(columns=columns, refresh="full")) == []
        counts = account.warnings().set_index("column")["count"]
        assert counts["order_nr"] == 3


def test_a_row_that_an_interrupted_load_had_read_counts_once(
    server: Scripted, tmp_path: Path
) -> None:
    one, two = (person(number, "x") | {"update_time": "2026-06-30T10:00:00Z"} for number in (1, 2))
    server.replies += [data([]), data([one], "more"), fail(403, "Not today.")]
    with connect(server, tmp_path) as account:
        with pytest.raises(AccessError):
            account.persons()
        # The rest of the list; then what changed since it began.
        server.replies += [data([two]), data([one, two])]
        (text,) = said(account.persons)
        assert "'add_time': 2 values do not fit" in text
        assert account.warnings()["count"].tolist() == [2]
        assert server.replies == []
