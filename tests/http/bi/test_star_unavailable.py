"""A star of an account that may not read a list, or has not cached it: nothing empty passes for
whole.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

import pdframe
from pdframe.cli import main
from pdframe.errors import DataWarning, NotCachedError
from tests.helpers.scripted_server import Reply, Scripted, Seen, data, fail
from tests.helpers.served_lists import ME, connected, deal

TIME = "2026-01-01T00:00:00Z"
LISTS: dict[str, list[Any]] = {
    "/api/v2/deals": [deal(1, currency="EUR", value=7.0, add_time=TIME)],
    "/api/v2/activities": [
        {"id": number, "subject": "s", "deal_id": 1, "done": True, "update_time": TIME}
        for number in (1, 2, 3)
    ],
}
OF_ACTIVITIES = {"fact_activities"}


class Company:
    """A company that may refuse some lists."""

    def __init__(self, server: Scripted) -> None:
        self.refused: dict[str, Callable[[], Reply]] = {}
        self.url = server.url
        server.last = self._answer

    def _answer(self, seen: Seen) -> Reply:
        if seen.path.endswith("/users/me"):
            return data(ME)
        for part, reply in self.refused.items():
            if part in seen.path:
                return reply()
        return data([] if seen.params.get("status") == "deleted" else LISTS.get(seen.path, []))

    def connect(self, cache: Path, max_age: Any = 0) -> pdframe.Account:
        return pdframe.connect(
            base_url=self.url, api_token="k" * 40, cache_dir=cache, progress=False, max_age=max_age
        )


@pytest.fixture
def company() -> Iterator[Company]:
    with Scripted.running() as server:
        yield Company(server)


def no_scope() -> Reply:
    return fail(403, "Scope and URL mismatch")


@pytest.mark.parametrize("format", ["parquet", "duckdb"])
@pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")
def test_a_refused_list_is_noted_at_each_table_that_is_made_of_it(
    company: Company, tmp_path: Path, format: Any
) -> None:
    with company.connect(tmp_path / "c") as account:
        first = account.export(tmp_path / "star", layout="star", format=format)
        assert set(first["note"]) == {""}
        company.refused["/activities"] = no_scope
        with pytest.warns(DataWarning, match="activities is unavailable"):
            done = account.export(tmp_path / "star", layout="star", format=format)
    noted = done[done["note"] != ""]
    assert set(noted["table"]) == {
        name for name in done["table"] if name in OF_ACTIVITIES or "_activities_" in name
    }
    assert noted["note"].str.startswith("activities is unavailable").all()
    assert set(noted["missing"]) == {"scope"}
    assert noted["rows"].eq(0).all()
    assert any("activities is unavailable" in note for note in done.attrs["notes"])
    # The set says so of itself, until the list can be read again.
    check = pdframe.export_check(tmp_path / "star")
    assert check
    assert "activities is unavailable" in check.note
    known = check.files.set_index("file")["note"]
    assert set(known[known != ""].index) == (
        {"star.duckdb"} if format == "duckdb" else {f"{name}.parquet" for name in noted["table"]}
    )
    assert known[known != ""].str.contains("activities is unavailable").all()
    lacking = files_of(tmp_path / "star", format)
    assert {key.removesuffix(".parquet") for key in lacking} == set(noted["table"])
    assert all("activities is unavailable" in note for note in lacking.values())
    company.refused.clear()
    with company.connect(tmp_path / "c") as account:
        account.export(tmp_path / "star", layout="star", format=format)
    assert pdframe.export_check(tmp_path / "star").note == ""
    assert files_of(tmp_path / "star", format) == {}


def files_of(folder: Path, format: str) -> dict[str, str]:
    """What `meta_files` says that files lack."""
    if format == "parquet":
        rows = pq.read_table(folder / "meta_files.parquet").to_pylist()
    else:
        with duckdb.connect(str(folder / "star.duckdb"), read_only=True) as database:
            rows = database.table("meta_files").to_arrow_table().to_pylist()
    return {row["file"]: row["note"] for row in rows if row["note"] is not None}


@pytest.mark.parametrize("max_rows", [10**6, 2])
@pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")
def test_the_file_of_a_table_that_is_refused_now_says_that_it_is_of_before(
    company: Company, tmp_path: Path, max_rows: int
) -> None:
    folder = tmp_path / "tables"
    with company.connect(tmp_path / "c") as account:
        first = account.export(folder, max_rows=max_rows).set_index("table")
        when = pdframe.export_check(folder).files.set_index("file")["exported_at"]
        company.refused["/activities"] = no_scope
        for _ in range(2):
            done = account.export(folder, max_rows=max_rows).set_index("table")
            row, check = done.loc["activities"], pdframe.export_check(folder)
            assert check
            old = check.files[check.files["file"].str.startswith("activities.parquet")]
            assert set(old["exported_at"]) == {when[old["file"].iloc[0]]}
            assert row["note"].endswith(
                f"activities.parquet is of the export of {old['exported_at'].iloc[0].isoformat()}."
            )
            assert row[["rows", "path"]].isna().all()
            assert old["note"].str.match("Of an earlier export: .*scope").all()
            assert not check.files.drop(old.index)["note"].any()
            assert "activities.parquet" in check.note
        assert len(pq.read_table(folder / "activities.parquet")) == first.loc["activities", "rows"]
    company.refused.clear()
    with company.connect(tmp_path / "c") as account:
        again = account.export(folder, max_rows=max_rows).set_index("table")
    assert again.loc["activities", "rows"] == first.loc["activities", "rows"]
    assert pdframe.export_check(folder).note == ""


@pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")
def test_a_list_that_is_available_again_is_in_the_star_again(
    company: Company, tmp_path: Path
) -> None:
    """Its cached rows are the same as before: nothing else tells it."""
    rows = []
    for refused, age in ((False, 0), (True, 0), (False, "1h")):
        company.refused = {"/activities": no_scope} if refused else {}
        with company.connect(tmp_path / "c", max_age=age) as account:
            done = account.export(tmp_path / "star", layout="star").set_index("table")
        rows.append(int(done.loc["fact_activities", "rows"]))
    assert rows == [3, 0, 3]


@pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")
def test_a_duckdb_file_says_which_table_it_has_no_longer(company: Company, tmp_path: Path) -> None:
    company.refused["/activities"] = no_scope
    with company.connect(tmp_path / "c") as account:
        account.export(tmp_path / "tables", format="duckdb")
    check = pdframe.export_check(tmp_path / "tables")
    assert check
    assert check.note.startswith("tables.duckdb: activities is not in it: ")


def test_the_command_says_partly_done(
    company: Company,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PIPEDRIVE_BASE_URL", company.url)
    monkeypatch.setenv("PIPEDRIVE_API_TOKEN", "k" * 40)
    command = ["export", str(tmp_path / "star"), "--layout", "star", "--json", "--quiet"]
    assert main([*command, "--cache-dir", str(tmp_path / "earlier")]) == 0
    capsys.readouterr()
    command += ["--cache-dir", str(tmp_path / "c")]
    company.refused["/activities"] = no_scope
    for _ in range(2):  # the second one finds nothing new
        assert main(command) == 3
        shown = json.loads(capsys.readouterr().out)
        assert "fact_activities: activities is unavailable" in shown["error"]["message"]
        assert any("activities is unavailable" in note for note in shown["notes"])
    # What is said once in the set, its JSON and standard error say too.
    (row,) = pq.read_table(tmp_path / "star" / "meta_export.parquet").to_pylist()
    assert set(row["note"].split("\n")) <= set("\n".join(shown["notes"]).split("\n"))
    assert any(note.startswith("fact_forecast has no rows") for note in shown["notes"])


@pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")
def test_a_star_of_the_cache_needs_every_list(tmp_path: Path) -> None:
    lists = {path.removeprefix("/api/v2/"): rows for path, rows in LISTS.items()}
    with connected(tmp_path / "c", lists) as account:
        account.sync("deals", "stages", "pipelines")
        with pytest.raises(NotCachedError):
            account.export(tmp_path / "star", layout="star", refresh=False)
    assert not (tmp_path / "star" / "fact_deals.parquet").exists()


@pytest.mark.parametrize(
    "option", [["--rates", "ecb"], ["--cancellations", "Cancellation date"]], ids=lambda one: one[0]
)
def test_what_is_of_a_star_is_refused_without_one(
    option: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(tmp_path / "bi"), *option]) == 2
    assert "--layout star" in capsys.readouterr().err


def test_the_command_takes_cancellations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pdframe.sandbox.connect(seed=7, deals=60, burst=100_000, progress=False) as account:
        monkeypatch.setenv("PIPEDRIVE_BASE_URL", account.server.url)
        monkeypatch.setenv("PIPEDRIVE_API_TOKEN", account.server.token)
        command = ["export", str(tmp_path / "bi"), "--layout", "star", "--quiet", "--json"]
        command += ["--cache-dir", str(tmp_path / "c")]
        assert main(command) == 0
        without = json.loads(capsys.readouterr().out)["notes"]
        assert main([*command, "--cancellations", "Cancellation date"]) == 0
    ended = json.loads(capsys.readouterr().out)["notes"]
    never = [note for note in without if note.startswith("fact_mrr_by_month: ")]
    assert never
    assert never != [note for note in ended if note.startswith("fact_mrr_by_month: ")]


def test_a_star_that_lacks_nothing_warns_of_nothing(tmp_path: Path) -> None:
    """The account of notebooks/06_bi.ipynb: some deals have discounts, which cut no MRR; the
    forecast is unsure, which its note says.
    """
    with pdframe.sandbox.connect(seed=7, deals=2_000, burst=100_000, progress=False) as account:
        with warnings.catch_warnings():
            warnings.simplefilter("error", DataWarning)
            done = account.export(
                tmp_path, layout="star", cancellations="Cancellation date", fiscal_start=4
            )
        notes = done.attrs["notes"]
        assert notes
        assert all(note.startswith("fact_forecast: ") for note in notes)
        with pytest.warns(DataWarning, match="fact_mrr_by_month: No cancellations"):
            account.export(tmp_path, layout="star")
