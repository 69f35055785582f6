"""`fleet.apply` calls a function with each account in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import types
from functools import partial
from operator import methodcaller
from pathlib import Path

import pandas as pd
import pytest

from pdframe import fleet, sandbox
from pdframe.errors import ArgumentError, DataWarning, PdframeError
from tests.helpers import fleet_work
from tests.helpers.scripted_server import Reply, Scripted, Seen, data
from tests.helpers.served_lists import ME
from tests.http.fleet.conftest import Companies


def test_results_are_those_of_this_process(companies: Companies) -> None:
    accounts = {name: companies.open(name, seed, 40) for name, seed in (("b", 1), ("a", 2))}
    results = fleet.apply(fleet_work.deals_and_process, accounts, workers=2)
    assert list(results) == ["b", "a"]
    assert results.errors == {}
    for name, opened in companies.opened.items():
        assert results[name][0] == len(opened.deals(labels=False))
        assert results[name][1] != os.getpid()
    together = fleet.apply(fleet_work.deals, accounts, workers=2).frame()
    loaded = fleet.load(companies.cache, "deals", labels=False, accounts=["b", "a"])
    pd.testing.assert_frame_equal(together, loaded[list(together)])
    with pytest.warns(DataWarning) as caught:
        velocity = fleet.apply(fleet_work.velocity, accounts, workers=2)
    (warning,) = caught
    assert warning.message.notes[0].startswith("b: Of ")
    for name, opened in companies.opened.items():
        with pytest.warns(DataWarning):
            own = fleet_work.velocity(opened)
        pd.testing.assert_frame_equal(velocity[name], own)


def test_a_failure_stops_no_other_and_no_frame_hides_it(companies: Companies) -> None:
    accounts = {
        "north": companies.open("north", 1),
        "south": {**companies.open("south", 2), "api_token": "0" * 40},
    }
    with pytest.warns(DataWarning, match="south failed: AccessError"):
        results = fleet.apply(fleet_work.deals, accounts, workers=2)
    assert list(results) == ["north"]
    assert type(results.errors["south"]).__name__ == "AccessError"
    assert results.errors["south"].status == 401
    with pytest.raises(PdframeError, match="1 of 2 accounts failed: south"):
        results.frame()
    del results.errors["south"]
    assert set(results.frame()["account"]) == {"north"}


def test_two_names_of_one_account_are_an_error(companies: Companies) -> None:
    given = companies.open("north", 1)
    with pytest.warns(DataWarning, match="'south' and 'north' open the same account"):
        results = fleet.apply(fleet_work.deals, {"north": given, "south": given}, workers=1)
    assert list(results) == ["north"]
    assert isinstance(results.errors["south"], ArgumentError)


def test_errors_and_results_that_do_not_pickle_are_errors_of_their_account(
    companies: Companies,
) -> None:
    accounts = {"north": companies.open("north", 1)}
    with pytest.warns(DataWarning) as caught:
        results = fleet.apply(fleet_work.fail_in_the_middle, accounts, workers=1)
    assert str(results.errors["north"]) == "StubbornError: one"
    (warning,) = caught
    assert warning.message.notes[1] == "north: noticed"
    with pytest.warns(DataWarning, match="north failed"):
        assert list(fleet.apply(fleet_work.unpicklable, accounts, workers=1).errors) == ["north"]


def test_a_result_that_is_not_read_again_and_an_exit_are_errors_of_their_account(
    companies: Companies,
) -> None:
    accounts = {name: companies.open(name, seed) for name, seed in (("a", 1), ("b", 2))}
    with pytest.warns(DataWarning, match="failed: ValueError: made in a worker alone"):
        results = fleet.apply(fleet_work.pickles_only, accounts, workers=1)
    assert list(results.errors) == ["a", "b"]
    with pytest.warns(DataWarning, match="SystemExit: has no data"):
        results = fleet.apply(fleet_work.leave, accounts, workers=1)
    assert list(results.errors) == ["a", "b"]


def test_a_process_that_is_killed_leaves_the_results_of_the_others(companies: Companies) -> None:
    accounts = {"few": companies.open("few", 1, 8), "many": companies.open("many", 2, 60)}
    companies.opened["many"].deals()
    one = {"few": accounts["few"]}
    with pytest.raises(PdframeError, match="A process of the pool ended before it answered"):
        fleet.apply(fleet_work.die_in_the_company_of_few, one)
    # One worker: the account that ends it comes last.
    in_turn = {"many": accounts["many"], "few": accounts["few"]}
    with pytest.warns(DataWarning, match="few failed: PdframeError: A process of the pool ended"):
        results = fleet.apply(fleet_work.die_in_the_company_of_few, in_turn, workers=1)
    assert list(results) == ["many"]
    assert list(results.errors) == ["few"]


def test_a_killed_process_loses_no_account_of_its_lane_that_was_finished(tmp_path: Path) -> None:
    """Accounts of one company run one after the other, in one process."""

    def answer(seen: Seen) -> Reply:
        user = {**ME, "id": int(seen.headers["x-api-token"][0])}
        if seen.path.endswith("/users/me"):
            return data(user)
        return data([user] if seen.path.endswith("/users") else [])

    with Scripted.running() as server:
        server.last = answer
        accounts = {
            f"user{user}": {
                "base_url": server.url, "api_token": str(user) * 40, "cache_dir": tmp_path,
            }
            for user in (1, 2, 3, 4)
        }  # fmt: skip
        with pytest.warns(DataWarning, match="user3 failed: PdframeError: A process of the pool"):
            results = fleet.apply(fleet_work.die_for_the_third, accounts, workers=2)
    assert dict(results) == {"user1": 1, "user2": 2}
    assert list(results.errors) == ["user3", "user4"]


def test_the_longest_lane_is_not_left_for_the_end(tmp_path: Path) -> None:
    """Its accounts run one after the other: behind all others, they would take the longest."""
    first = {"base_url": "http://127.0.0.1:1", "cache_dir": tmp_path}
    lane = {f"long{n}": {**first, "api_token": str(n) * 40} for n in (1, 2, 3)}
    others = {
        f"single{n}": {**first, "base_url": f"http://127.0.0.1:{n}", "api_token": "k" * 40}
        for n in (2, 3)
    }
    at = dict(fleet.apply(fleet_work.moment, others | lane, workers=1))
    # A lane with one account left is as long as any other.
    assert sorted(at, key=at.__getitem__)[:2] == ["long1", "long2"]


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["SIGKILL", "SIGINT"])
def test_workers_end_with_the_process_that_started_them(number: signal.Signals) -> None:
    script = (
        # A job in the background ignores interruptions, and so do its children.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
        " from pdframe import fleet; from tests.helpers import fleet_work;"
        " fleet.apply(fleet_work.wait_for_ever,"
        " {'north': {'company': 'north', 'api_token': '0' * 40}})"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "waiting\n"
    parent.send_signal(number)
    # The end of its output is that of every process that holds it.
    parent.communicate(timeout=120)
    assert parent.returncode != 0


def test_what_cannot_be_sent_is_refused_before_any_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = {"north": {"company": "north", "api_token": "0" * 40}}
    with pytest.raises(ArgumentError, match="The function cannot be sent to another process"):
        fleet.apply(lambda account: None, given)
    with pytest.raises(ArgumentError, match="The account 'north' cannot be sent") as refused:
        fleet.apply(fleet_work.deals, {"north": {"company": "north", "progress": lambda: 1}})
    assert "0" * 40 not in str(refused.value)
    notebook = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", notebook)
    of_notebook = types.FunctionType(fleet_work.deals.__code__, {"__name__": "__main__"})
    assert of_notebook.__module__ == "__main__"
    with pytest.raises(ArgumentError, match="is defined in a notebook or at a prompt"):
        fleet.apply(of_notebook, given)
    with pytest.raises(ArgumentError, match="must be a function of one account"):
        fleet.apply("deals", given)
    assert fleet.apply(fleet_work.deals, {}) == {}


def test_frames_of_results_need_frames() -> None:
    with pytest.raises(ArgumentError, match="is no DataFrame but int"):
        fleet.Results({"north": 1}, {}).frame()
    with pytest.raises(ArgumentError, match="has a column 'account' already"):
        fleet.Results({"north": pd.DataFrame({"account": [1]})}, {}).frame()
    twice = pd.DataFrame([[1, 2]], columns=[2026, "2026"])
    with pytest.raises(ArgumentError, match="has several columns '2026'"):
        fleet.Results({"north": twice}, {}).frame()


def test_columns_that_are_numbers_and_options_of_other_types_are_combined() -> None:
    north = pd.DataFrame({2026: [1], "grade": pd.Categorical([1])})
    south = pd.DataFrame({2026: [2], 2027: [3], "grade": pd.Categorical(["high"])})
    frame = fleet.Results({"north": north, "south": south}, {}).frame()
    assert list(frame) == ["account", "2026", "grade (north)", "grade (south)", "2027"]
    assert frame["2026"].tolist() == [1, 2]
    assert frame["2027"].isna().tolist() == [True, False]


def test_a_function_that_connects_is_called_in_the_worker() -> None:
    clients = {
        name: partial(sandbox.connect, seed=seed, deals=8, progress=False)
        for name, seed in (("north", 1), ("south", 2))
    }
    results = fleet.apply(methodcaller("pipelines"), clients, workers=2)
    assert [len(frame) for frame in results.values()] == [3, 3]
