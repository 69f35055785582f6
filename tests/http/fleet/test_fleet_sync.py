"""Many accounts are synced at once; the failure of one is a row, and the next sync resumes."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pytest

import pdframe
from pdframe import fleet
from pdframe.cli import main
from pdframe.errors import ArgumentError, DataWarning
from tests.helpers.faults_by_path import ctrl_c_interrupts
from tests.http.fleet.conftest import Companies

COLUMNS = ["account", "table", "mode", "rows", "tokens", "seconds", "error", "resume_at"]
TWENTY = [f"client{number:02}" for number in range(20)]
NO_TOKEN, NO_BUDGET = TWENTY[7], TWENTY[12]


def test_rows_are_those_of_each_account(companies: Companies) -> None:
    accounts = {name: companies.open(name, seed) for name, seed in (("b", 1), ("a", 2))}
    estimated = fleet.estimate(accounts, "stages", "deals")
    done = fleet.sync(accounts, "stages", "deals")
    assert list(done) == COLUMNS
    assert list(dict.fromkeys(done["account"])) == ["b", "a"]
    assert done["error"].isna().all()
    assert done["resume_at"].isna().all()
    for name, opened in companies.opened.items():
        own = opened.sync("stages", "deals")[["table", "mode", "rows", "tokens"]]
        rows = done[done["account"] == name].reset_index(drop=True)
        shown = rows[list(own)].astype({"mode": "str"})
        pd.testing.assert_frame_equal(shown, own.astype({"mode": "str"}))
    assert list(estimated) == ["account", "table", "requests", "tokens", "basis", "error"]
    assert set(estimated["table"]) == {"stages", "deals", "deal_fields"}


def test_two_names_of_one_account_are_an_error(companies: Companies) -> None:
    given = companies.open("north", 1)
    accounts = {"north": given, "south": given}
    done = fleet.sync(accounts, "stages").set_index("account")
    assert done["error"].isna().tolist() == [True, False]
    assert done.loc["south", ["mode", "tokens"]].tolist() == ["failed", 0]
    assert "'south' and 'north' open the same account" in done.loc["south", "error"]
    assert fleet.load(companies.cache, "stages")["account"].unique().tolist() == ["north"]


@pytest.mark.slow
def test_twenty_accounts_one_without_token_and_one_out_of_budget(
    companies: Companies,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = ['cache_dir = "cache"']
    for number, name in enumerate(TWENTY):
        given = companies.open(name, seed=number + 1, deals=8)
        lines += [f"[accounts.{name}]", f'base_url = "{given["base_url"]}"']
        lines += [f'api_token_variable = "{name.upper()}_TOKEN"']
        monkeypatch.setenv(f"{name.upper()}_TOKEN", str(given["api_token"]))
    monkeypatch.setenv(f"{NO_TOKEN.upper()}_TOKEN", "0" * 40)
    companies.opened[NO_BUDGET].server.settings.daily_tokens = 200
    file = tmp_path / "fleet.toml"
    file.write_text("\n".join(lines))

    assert main(["fleet", "sync", str(file), "--json"]) == 3
    shown, err = capsys.readouterr()
    done = json.loads(shown)
    wrong = [row for row in done["rows"] if row["error"]]
    assert [row["account"] for row in wrong] == [NO_TOKEN, NO_BUDGET]
    assert [row["table"] for row in wrong] == [None, None]
    assert wrong[0]["error"].startswith("AccessError: ")
    assert wrong[1]["error"].startswith("BudgetError: ")
    assert wrong[1]["resume_at"] == done["error"]["resume_at"] is not None
    assert "Kept: " in wrong[1]["error"]
    assert (done["totals"]["accounts"], done["totals"]["done"]) == (20, 18)
    assert done["totals"]["failed"] == [NO_TOKEN, NO_BUDGET]
    every = {row["table"] for row in done["rows"] if row["account"] == TWENTY[0]}
    for name in set(TWENTY) - {NO_TOKEN, NO_BUDGET}:
        rows = [row for row in done["rows"] if row["account"] == name]
        assert {row["table"] for row in rows} == every
        spent = companies.opened[name].server.stats.tokens
        assert sum(row["tokens"] for row in rows) == spent - 2
    tokens = [companies.opened[name].server.token for name in TWENTY]
    assert not any(token in shown + err for token in [*tokens, "0" * 40])

    # The next day, with a new token.
    for opened in companies.opened.values():
        opened.server.new_day()
    resumed = companies.opened[NO_BUDGET].server.stats.tokens
    monkeypatch.setenv(f"{NO_TOKEN.upper()}_TOKEN", companies.opened[NO_TOKEN].server.token)
    assert main(["fleet", "sync", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "20 of 20 accounts" in shown
    assert companies.opened[NO_BUDGET].server.stats.tokens - resumed < 200
    deals = fleet.load(companies.cache, "deals", labels=False, columns=["id"])
    counted = {name: len(opened.deals(labels=False)) for name, opened in companies.opened.items()}
    assert deals.groupby("account").size().to_dict() == counted


def test_all_out_of_budget_is_exit_code_4_and_all_failed_1(
    companies: Companies,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = companies.open("north", 1)
    file = tmp_path / "fleet.toml"
    file.write_text(
        f'tables = ["stages", "pipelines"]\ncache_dir = "cache"\n[accounts.north]\n'
        f'base_url = "{given["base_url"]}"\napi_token_variable = "NORTH_TOKEN"\n'
    )
    assert main(["fleet", "sync", str(file)]) == 1
    assert "NORTH_TOKEN, which" in capsys.readouterr().out
    monkeypatch.setenv("NORTH_TOKEN", str(given["api_token"]))
    assert main(["fleet", "sync", str(file), "--workers", "0"]) == 2
    assert "workers must be a number from 1" in capsys.readouterr().err
    assert main(["fleet", "estimate", str(file), "--json"]) == 0
    totals = json.loads(capsys.readouterr().out)["totals"]
    assert (totals["tokens"], totals["unknown"]) == (10, 0)
    assert main(["fleet", "estimate", str(file)]) == 0
    assert "10 API tokens\n" in capsys.readouterr().out
    # How many rows lists have that were never loaded is unknown: their cost is not in the sum.
    every = tmp_path / "every.toml"
    every.write_text(file.read_text().partition("\n")[2])
    assert main(["fleet", "estimate", str(every), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    unknown = [row["table"] for row in shown["rows"] if row["tokens"] is None]
    assert shown["totals"]["unknown"] == len(unknown) > 0
    assert main(["fleet", "estimate", str(every)]) == 0
    assert capsys.readouterr().out.endswith("API tokens, and what is still unknown\n")
    companies.opened["north"].server.settings.daily_tokens = 8
    assert main(["fleet", "sync", str(file), "--json"]) == 4
    shown = json.loads(capsys.readouterr().out)
    assert shown["error"]["type"] == "BudgetError"
    assert shown["error"]["resume_at"]
    companies.opened["north"].server.settings.daily_tokens = 8_000
    assert main(["fleet", "sync", str(file), "--cache-dir", str(tmp_path / "other")]) == 0
    assert (tmp_path / "other" / "fleet.json").is_file()


def test_accounts_of_one_company_run_one_after_the_other(
    companies: Companies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = companies.open("north", 1)
    running, most = [0], [0]
    real = pdframe.Account.sync

    def watched(self: pdframe.Account, *tables: str, full: bool = False) -> pd.DataFrame:
        running[0] += 1
        most[0] = max(most[0], running[0])
        time.sleep(0.05)
        try:
            return real(self, *tables, full=full)
        finally:
            running[0] -= 1

    def connected(number: int) -> pdframe.Account:
        return pdframe.connect(**{**given, "cache_dir": tmp_path / f"function{number}"})

    monkeypatch.setattr(pdframe.Account, "sync", watched)
    accounts = {
        **{f"user{n}": {**given, "cache_dir": tmp_path / str(n)} for n in range(3)},
        "one": lambda: connected(1),
        "two": lambda: connected(2),
    }
    done = fleet.sync(accounts, "stages", workers=5)
    assert done["error"].isna().all()
    # The functions' accounts show their company only once they are open: they wait for the others.
    assert most == [1]


def test_accounts_of_different_companies_run_at_once(
    companies: Companies, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = {name: companies.open(name, seed) for name, seed in (("a", 1), ("b", 2))}
    both = threading.Barrier(2, timeout=60)
    real = pdframe.Account.sync

    def meeting(self: pdframe.Account, *tables: str, full: bool = False) -> pd.DataFrame:
        both.wait()
        return real(self, *tables, full=full)

    monkeypatch.setattr(pdframe.Account, "sync", meeting)
    assert fleet.sync(accounts, "stages", workers=2)["error"].isna().all()


def test_a_function_that_fails_or_returns_something_else_is_a_row(companies: Companies) -> None:
    def fail() -> pdframe.Account:
        raise KeyError("SECRET")

    done = fleet.sync(
        {"a": companies.open("a", 1), "b": fail, "c": lambda: 1, "d": lambda: sys.exit("SECRET")},
        "stages",
    )
    assert done["account"].tolist() == ["a", "b", "c", "d"]
    assert done["mode"].tolist() == ["full", "failed", "failed", "failed"]
    assert "SECRET" not in done["error"].str.cat()
    assert done["error"].iloc[1] == "KeyError: the function that connects the account raised it."
    assert "must return an account" in done["error"].iloc[2]


def test_an_error_after_connecting_does_not_blame_the_connection(
    companies: Companies, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: pdframe.Account, *tables: str, full: bool = False) -> pd.DataFrame:
        raise ZeroDivisionError("SECRET")

    monkeypatch.setattr(pdframe.Account, "sync", fail)
    (error,) = fleet.sync({"a": companies.open("a", 1)}, "stages")["error"]
    assert error.startswith("ZeroDivisionError: pdframe does not expect it.")


def test_names_that_cannot_be_kept_are_a_warning(companies: Companies) -> None:
    given = {"a": companies.open("a", 1)}
    companies.cache.mkdir(mode=0o700)
    (companies.cache / "fleet.json").mkdir()
    with pytest.warns(DataWarning, match=r"fleet\.json could not be written: "):
        done = fleet.sync(given, "stages")
    assert done["mode"].tolist() == ["full"]


def test_a_table_without_permission_is_an_error_of_its_account(
    companies: Companies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = companies.open("lite", 1, plan="Lite")
    every = fleet.sync({"lite": given})
    assert (every["mode"] == "unavailable").any()
    assert every["error"].isna().all()
    named = fleet.sync({"lite": given}, "installments")
    assert named.loc[named["table"] == "installments", "error"].notna().all()
    file = tmp_path / "fleet.toml"
    file.write_text(
        f'\ufefftables = ["installments"]\ncache_dir = "cache"\n[accounts.lite]\n'
        f'base_url = "{given["base_url"]}"\napi_token_variable = "LITE_TOKEN"\n',
        encoding="utf-8",
    )
    monkeypatch.setenv("LITE_TOKEN", str(given["api_token"]))
    # As `pdframe sync installments`: nothing that was asked for is done.
    assert main(["fleet", "sync", str(file), "--quiet"]) == 1


def test_what_accounts_notice_is_one_warning(companies: Companies) -> None:
    accounts = {name: companies.open(name, seed) for name, seed in (("a", 1), ("b", 2))}

    def noticing(name: str) -> pdframe.Account:
        pdframe._warnings.warn(f"noticed in {name}")
        return pdframe.connect(**accounts[name])

    with pytest.warns(DataWarning) as caught:
        fleet.sync({"a": lambda: noticing("a"), "b": lambda: noticing("b")}, "stages")
    (warning,) = caught
    assert warning.message.notes == ("a: noticed in a", "b: noticed in b")


def test_an_interruption_ends_all_accounts_and_keeps_what_they_finished(
    companies: Companies,
) -> None:
    accounts = {name: companies.open(name, seed) for name, seed in (("a", 1), ("b", 2))}

    def interrupt(path: str, params: Mapping[str, str]) -> None:
        if path.endswith("/deals"):
            companies.opened["a"].server.before_request = None
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            time.sleep(0.2)

    companies.opened["a"].server.before_request = interrupt
    with ctrl_c_interrupts(), pytest.raises(KeyboardInterrupt):
        fleet.sync(accounts)
    for thread in threading.enumerate():
        if thread.name.startswith("pdframe_") and thread is not threading.current_thread():
            thread.join(60)
    assert fleet.sync(accounts)["error"].isna().all()
    fleet.load(companies.cache, "deals", labels=False)


@pytest.mark.parametrize(
    ("accounts", "said"),
    [
        (["north"], "must be a dict of names"),
        ({"2024": {}}, "must not look like numbers"),
        ({"nan": {}}, "must not look like numbers"),
        ({"epoch": {}}, "must not look like numbers"),
        ({"a/b": {}}, "must not look like numbers"),
        ({"north": "0123456789abcdef"}, "not str"),
    ],
)
def test_wrong_accounts_are_refused_before_any_request(accounts: object, said: str) -> None:
    with pytest.raises(ArgumentError, match=said) as refused:
        fleet.sync(accounts)
    assert "0123456789abcdef" not in str(refused.value)


def test_wrong_tables_and_workers_are_refused_before_any_request() -> None:
    with pytest.raises(ArgumentError, match="Did you mean 'deals'"):
        fleet.sync({}, "dealz")
    with pytest.raises(ArgumentError, match="workers must be a number from 1"):
        fleet.sync({}, workers=0)
    with pytest.raises(ArgumentError, match="full must be True or False"):
        fleet.sync({}, full="no")
    assert len(fleet.sync({})) == 0
