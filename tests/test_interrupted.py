"""A sync that is interrupted anywhere is completed by the next one, at the price of what was in flight and of closing the gap."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import truth

import pdframe
from pdframe import sandbox
from pdframe.errors import BudgetError, CacheError, ResponseError
from pdframe.sandbox.server import Faults, Server

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")

TABLES = ["deals", "deal_products", "installments", "activities", "persons", "products", "stages"]
# What a pull of changes costs at least: each list once, and the lists of deletions.
CLOSING = {"deals": 10 + 20 + 10 + 20, "activities": 10, "persons": 10}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(sandbox.Company(seed=4, deals=1_100), burst=100_000) as server:
        yield server


def connect(server: Server, cache_dir: Path, **options: object) -> pdframe.Account:
    return pdframe.connect(base_url=server.url, api_token=server.token, cache_dir=cache_dir, progress=False, **options)  # type: ignore[arg-type]


def frames(account: pdframe.Account) -> dict[str, pd.DataFrame]:
    return {name: getattr(account, name)(refresh=False) for name in TABLES}


@pytest.fixture(scope="module")
def undisturbed(server: Server, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, pd.DataFrame], int, int]:
    with connect(server, tmp_path_factory.mktemp("undisturbed")) as account:
        server.reset_stats()
        account.sync(*TABLES)
        return frames(account), server.stats.tokens, server.stats.requests


def test_a_fault_at_any_request_costs_no_page_twice(
    server: Server, undisturbed: tuple[dict[str, pd.DataFrame], int, int], tmp_path: Path
) -> None:
    whole, tokens, requests = undisturbed
    for k in range(1, requests + 1):
        with connect(server, tmp_path / str(k)) as account:
            server.reset_stats()
            server.faults = Faults(at={k: "success_false_200"})
            with pytest.raises(ResponseError) as caught:
                account.sync(*TABLES)
            assert k == 1 or "ept" in caught.value.kept
            in_flight = server.requests[-1]
            server.faults = None
            done = account.sync(*TABLES).set_index("table")
            for name, frame in frames(account).items():
                pd.testing.assert_frame_equal(frame, whole[name])
            went_on = done.index[done["note"].str.startswith("went on")]
            # The request that failed, and the closing pulls.
            extra = {"/api/v1/users/me": 2}.get(in_flight.path, 20) + sum(CLOSING.get(name, 0) for name in went_on)
            assert server.stats.tokens - tokens <= extra, (k, in_flight, done[["mode", "tokens", "note"]])


def test_rows_that_changed_while_the_walk_stood_still_are_closed_in(tmp_path: Path) -> None:
    with sandbox.connect(seed=4, deals=1_300, cache_dir=tmp_path, burst=100_000, progress=False) as account:
        company = account.company_model
        account.server.faults = Faults(at={5: "success_false_200"})
        with pytest.raises(ResponseError):
            account.sync("deals")
        account.server.faults = None
        live = [row for row in company.tables["deals"].values() if not row["is_deleted"] and not row["is_archived"]]
        edited, deleted, archived = (row["id"] for row in live[:3])
        company.edit_deal(edited, title="edited in between")
        company.delete_deal(deleted)
        company.archive_deal(archived)
        row = account.sync("deals").set_index("table").loc["deals"]
        assert (row["mode"], row["note"].startswith("went on from")) == ("full", True)
        deals = account.deals(refresh=False).set_index("id")
        assert deals.index.tolist() == [row["id"] for row in truth.visible(truth.fold(company.events), "deals")]
        assert deals["title"][edited] == "edited in between"
        assert deals["is_archived"][archived]


def test_401_deals_of_one_second_survive_an_interruption_among_them(tmp_path: Path) -> None:
    with sandbox.connect(seed=4, deals=1_300, cache_dir=tmp_path, burst=100_000, progress=False) as account:
        account.sync("deals")
        company = account.company_model
        alive = [row["id"] for row in company.tables["deals"].values() if not row["is_deleted"]]
        company.bulk_edit(alive[:200], title="before")
        company.bulk_edit(alive[200:1_001], title="bulk")  # two pages that share one second
        account.server.faults = Faults(at={3: "success_false_200"})
        with pytest.raises(ResponseError):
            account.sync("deals")
        account.server.faults = None
        account.sync("deals")
        titles = account.deals(refresh=False).set_index("id")["title"]
        assert set(titles[alive[200:1_001]]) == {"bulk"}
        assert set(titles[alive[:200]]) == {"before"}


def test_a_budget_that_runs_out_is_gone_on_with(
    server: Server, undisturbed: tuple[dict[str, pd.DataFrame], int, int], tmp_path: Path
) -> None:
    whole, tokens, _ = undisturbed
    spent = 0
    for _ in range(40):
        with connect(server, tmp_path, max_tokens=spent + 120) as account:
            try:
                account.sync(*TABLES)
            except BudgetError:
                spent = account.tokens_today
                continue
            for name, frame in frames(account).items():
                pd.testing.assert_frame_equal(frame, whole[name])
            break
    else:
        pytest.fail("the sync never came to its end")
    assert spent > tokens / 2


def test_a_budget_error_says_what_is_saved_and_when_to_go_on(server: Server, tmp_path: Path) -> None:
    with connect(server, tmp_path, max_tokens=2 + 10 + 10 + 10 + 10) as account:
        with pytest.raises(
            BudgetError, match=r"Kept: deal_fields as of now.* Pages of deals are saved: the next sync goes on from them"
        ) as caught:
            account.sync("deals")
        assert caught.value.resume_at is not None


def test_saved_pages_of_another_schema_are_not_used(tmp_path: Path) -> None:
    with sandbox.connect(seed=4, deals=1_300, cache_dir=tmp_path, burst=100_000, progress=False, max_age=0) as account:
        account.server.faults = Faults(at={5: "success_false_200"})
        with pytest.raises(ResponseError):
            account.sync("deals")
        account.server.faults = None
        account.company_model.add_field("deal", "New", "double")
        row = account.sync("deals", full=True).set_index("table").loc["deals"]
        assert (row["mode"], row["note"]) == ("full", "")


def test_pages_of_an_interrupted_reload_do_not_outlive_a_refresh() -> None:
    with sandbox.connect(seed=4, deals=700, burst=100_000, progress=False) as account:
        account.activities()
        account.server.faults = Faults(at={3: "success_false_200"})
        with pytest.raises(ResponseError):
            account.activities(refresh="full")
        account.server.faults = None
        activity = int(account.activities(refresh=True)["id"].iloc[0])
        account.company_model.delete_activity(activity)
        assert activity not in account.activities(refresh="full")["id"].tolist()


def test_a_full_disk_under_the_saved_pages_is_an_error_of_the_cache(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*args: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    with connect(server, tmp_path) as account:
        account.fields("deals")
        monkeypatch.setattr("pdframe.pending.write_part", full_disk)
        with pytest.raises(CacheError, match="No space left"):
            account.deals()


def test_two_accounts_on_one_cache_wait_for_each_other(server: Server, tmp_path: Path) -> None:
    failures: list[BaseException] = []
    done: list[pd.DataFrame] = []

    def work() -> None:
        try:
            with connect(server, tmp_path) as account:
                for _ in range(3):
                    done.append(account.sync("deals", "stages", full=True))
                    assert len(account.deals(refresh=False)) > 1_000
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    assert len(done) == 9
    with connect(server, tmp_path) as account:
        parts = list((account.cache_path / "deals").glob("part-*.parquet"))
        assert len(parts) == 1


def test_what_did_not_fit_in_saved_pages_is_said_by_the_load_that_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with sandbox.connect(seed=4, deals=1_300, cache_dir=tmp_path, burst=100_000, progress=False) as account:
        ask = account._client.get

        def odd(path: str, params: dict[str, object] | None = None, **options: object) -> object:
            answer = ask(path, params, **options | {"decode": None})  # type: ignore[arg-type]
            if path == "/deals" and not (params or {}).get("cursor") and "updated_since" not in (params or {}):
                answer.payload["data"][0]["value"] = "a lot"
            return answer

        monkeypatch.setattr(account._client, "get", odd)
        account.server.faults = Faults(at={4: "success_false_200"})
        with pytest.raises(ResponseError):
            account.sync("deals")
        account.server.faults = None
        with pytest.warns(pdframe.DataWarning, match="deals, column 'value': 1 value does not fit"):
            assert account.sync("deals").set_index("table")["note"]["deals"].startswith("went on")
