"""A damaged list of fields that was deleted and not loaded, after a kill or an error: the next
loader of its table requests it, and nothing else.
"""

from __future__ import annotations

import itertools
import shutil
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

import pdframe
from pdframe import sandbox
from pdframe.errors import AccessError, PdframeError
from pdframe.sandbox.server import ALL_SCOPES, OAuthClient, Server
from tests.helpers import crash

pytestmark = pytest.mark.filterwarnings("ignore:.*not defined:pdframe.errors.DataWarning")


class World:
    """A company whose deals are cached under labels, and a cache in which their list of fields is
    damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.server = crash.server_of(sandbox.Company(seed=3, deals=60)).start()
        self.cache = folder / "damaged"
        with self.connect(self.cache) as account:
            self.deals = account.deals()
            self.key = account.cache_path.name
        self.label = next(name for name in self.deals if " " in name)
        (self.fields,) = (self.cache / self.key / "deal_fields").glob("part-*.parquet")
        self.fields.write_bytes(self.fields.read_bytes()[:-20])

    def connect(self, cache_dir: Path) -> pdframe.Account:
        return crash.connect(self.server.url, self.server.token, cache_dir, max_age="1h")

    def requested(self) -> list[str]:
        paths = [entry.path for entry in self.server.requests]
        self.server.reset_stats()
        return paths


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("lost"))
    yield world
    world.server.stop()


@pytest.fixture
def lost(world: World, tmp_path: Path) -> Iterator[pdframe.Account]:
    """An account whose list of fields was deleted, and not loaded: the API did not answer."""
    shutil.copytree(world.cache, tmp_path / "cache")
    with world.connect(tmp_path / "cache") as account:
        world.server.faults = sandbox.Faults(rate=1.0, kinds=("success_false_200",))
        with pytest.raises(PdframeError), pytest.warns(pdframe.DataWarning, match="are deleted"):
            account.deals()
        world.server.faults = None
        world.requested()
        yield account


@pytest.mark.slow
def test_whatever_step_a_process_is_killed_at_the_next_snapshot_has_the_labels(
    world: World, tmp_path: Path
) -> None:
    left = set()
    for step in itertools.count():
        cache = tmp_path / str(step)
        shutil.copytree(world.cache, cache)
        process = crash.processes().Process(
            target=crash.load_and_die,
            args=(world.server.url, world.server.token, cache, "deals", step),
        )
        process.start()
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL)
        world.requested()
        with warnings.catch_warnings():
            # The damage is met now, where the process did not come to it.
            warnings.simplefilter("ignore", pdframe.DataWarning)
            with world.connect(cache) as account:
                manifest = account.cache_path / "deal_fields" / "manifest.json"
                left.add((manifest.exists(), any(manifest.parent.glob("part-*.parquet"))))
                pd.testing.assert_frame_equal(account.deals(), world.deals)
                assert world.requested() in ([], ["/api/v2/dealFields"])
                account.deals()
                assert world.requested() == []
        shutil.rmtree(cache)
        if process.exitcode == 0:
            break
    # The moments between the deletion of the manifest, that of the parts, and the load were among
    # them.
    assert left == {(True, True), (False, True), (False, False)}
    assert step > 5


def test_an_error_after_the_deletion_costs_the_list_alone(
    world: World, lost: pdframe.Account
) -> None:
    with pytest.warns(pdframe.DataWarning, match=r"have no labels\. Call account\.deals\(\)"):
        assert world.label not in lost.deals(refresh=False)
    pd.testing.assert_frame_equal(lost.deals(), world.deals)
    assert world.requested() == ["/api/v2/dealFields"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pd.testing.assert_frame_equal(
            lost.deals(refresh=False, columns=list(world.deals)[:3]), world.deals.iloc[:, :3]
        )


def test_a_list_without_its_manifest_is_requested_again(world: World, tmp_path: Path) -> None:
    shutil.copytree(world.cache, tmp_path / "cache")
    (tmp_path / "cache" / world.key / "deal_fields" / "manifest.json").unlink()
    with world.connect(tmp_path / "cache") as account:
        world.requested()
        pd.testing.assert_frame_equal(account.deals(), world.deals)
        assert world.requested() == ["/api/v2/dealFields"]


@pytest.mark.parametrize("lose", ["damaged", "no manifest"])
def test_a_list_that_was_lost_and_is_withheld_now_is_requested_once(
    lose: str, tmp_path: Path
) -> None:
    company = sandbox.Company(seed=3, deals=60)
    with (
        crash.server_of(company) as server,
        crash.connect(server.url, server.token, tmp_path) as account,
    ):
        account.activities()
        root = account.cache_path
        part = next((root / "activity_fields").glob("part-*"))
        if lose == "damaged":
            part.write_bytes(b"torn")
            server.faults = sandbox.Faults(rate=1.0, kinds=("success_false_200",))
            with (
                pytest.raises(PdframeError),
                pytest.warns(pdframe.DataWarning, match="are deleted"),
            ):
                account.activities()
        else:
            (root / "activity_fields" / "manifest.json").unlink()
    app = OAuthClient("app", "app-secret", "grant-1", scopes=ALL_SCOPES - {"admin"})
    with Server(company, oauth_clients=[app], burst=100_000) as server:
        grant = pdframe.OAuth("app", "app-secret", "grant-1", token_url=f"{server.url}/oauth/token")
        with pdframe.connect(
            oauth=grant, base_url=server.url, cache_dir=tmp_path, max_age="1h", progress=False
        ) as account:
            assert account.cache_path.name == root.name
            for number in range(3):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", pdframe.DataWarning)
                    assert len(account.activities()) > 0
                assert [entry.path for entry in server.requests].count(
                    "/api/v2/activityFields"
                ) == 1, number
            with pytest.raises(AccessError, match="scope"):
                account.fields("activities")
        # Nobody says that it is lost, for it is not to be had.
        with (
            crash.connect(server.url, server.token, tmp_path) as account,
            warnings.catch_warnings(record=True) as said,
        ):
            warnings.simplefilter("always")
            account.activities(refresh=False)
        assert not [
            str(warning.message)
            for warning in said
            if "list of fields was damaged" in str(warning.message)
        ]


def test_a_list_that_was_never_available_is_not_taken_for_lost(tmp_path: Path) -> None:
    app = OAuthClient("app", "app-secret", "grant-1", scopes=ALL_SCOPES - {"admin"})
    with Server(sandbox.Company(seed=3, deals=60), oauth_clients=[app], burst=100_000) as server:
        grant = pdframe.OAuth("app", "app-secret", "grant-1", token_url=f"{server.url}/oauth/token")
        with pdframe.connect(
            oauth=grant, base_url=server.url, cache_dir=tmp_path, max_age="1h", progress=False
        ) as account:
            with pytest.warns(pdframe.DataWarning, match="priority"):
                account.activities()
            for _ in range(2):
                account.activities()
            assert [entry.path for entry in server.requests].count("/api/v2/activityFields") == 1
