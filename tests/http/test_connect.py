"""Connecting: missing or malformed arguments raise before the first request."""

from datetime import timedelta
from pathlib import Path

import pytest

import pdframe
from pdframe import sandbox
from pdframe.errors import AccessError, ArgumentError, CacheError, CredentialsError, TransportError
from tests.helpers.scripted_server import Reply, Scripted, Seen, data

TOKEN = "0123456789abcdef0123456789abcdef01234567"


def connect(tmp_path: Path, **options: object) -> pdframe.Account:
    return pdframe.connect(
        **{
            "company": "acme",
            "api_token": TOKEN,
            "cache_dir": tmp_path,
            "progress": False,
            **options,
        }
    )  # type: ignore[arg-type]


def test_no_credentials_names_the_variables_and_the_sandbox() -> None:
    with pytest.raises(
        CredentialsError,
        match=r"PIPEDRIVE_COMPANY and PIPEDRIVE_API_TOKEN.*pdframe\.sandbox\.connect\(\)",
    ):
        pdframe.connect("acme")


def test_credentials_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPEDRIVE_COMPANY", "acme")
    monkeypatch.setenv("PIPEDRIVE_API_TOKEN", TOKEN)
    monkeypatch.setenv("PDFRAME_CACHE_DIR", str(tmp_path / "elsewhere"))
    with pdframe.connect() as account:
        assert "acme.pipedrive.com" in repr(account)
        assert TOKEN not in repr(account)
    assert not (tmp_path / "elsewhere").exists()


def test_a_company_given_wins_over_a_base_url_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPEDRIVE_BASE_URL", "http://127.0.0.1:9")
    with connect(tmp_path) as account:
        assert "acme.pipedrive.com" in repr(account)


def test_the_first_repr_of_a_sandbox_names_its_company() -> None:
    with sandbox.connect(seed=3, deals=20, progress=False) as account:
        for shown in (repr(account), account._repr_html_()):
            assert "Kaskaad Software OÜ" in shown
            assert "127.0.0.1" not in shown
        assert account.server.stats.requests == 0
        account.stages()
        assert repr(account).startswith("<pdframe account Kaskaad Software OÜ, ")


def test_a_first_repr_says_what_to_do_next(tmp_path: Path) -> None:
    with connect(tmp_path) as account:
        for shown in (repr(account), account._repr_html_()):
            assert "acme.pipedrive.com" in shown
            for call in ("account.deals()", "account.estimate()", "account.sync()"):
                assert call in shown
        assert "<code>account.deals()</code> loads" in account._repr_html_()
    with sandbox.connect(
        seed=3, deals=20, cache_dir=tmp_path, company="hostile", progress=False
    ) as account:
        assert account.company  # known by now, and still nothing is cached
        assert "account.deals() loads" in repr(account)
        account.stages()
        assert "stages: 12 rows" in repr(account)
        assert "Next" not in repr(account)


def test_a_closed_account_says_so(tmp_path: Path) -> None:
    with connect(tmp_path) as account:
        pass
    with pytest.raises(ArgumentError, match="closed"):
        account.deals()


def test_tokens_of_an_earlier_session_are_reported_before_the_first_load(tmp_path: Path) -> None:
    with pdframe.sandbox.connect(
        seed=3, deals=0, cache_dir=tmp_path, company="hostile", progress=False
    ) as first:
        first.pipelines()
        url, token = first.server.url, first.server.token
        with pdframe.connect(
            base_url=url, api_token=token, cache_dir=tmp_path, progress=False
        ) as second:
            assert second.tokens_today == first.tokens_today == 7
            assert "7 API tokens" in repr(second)


def test_a_token_and_a_grant_are_one_too_many(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="not both"):
        connect(tmp_path, oauth=pdframe.OAuth("id", "secret", "refresh"))


@pytest.mark.parametrize(
    "base_url",
    [
        "https://acme.pipedrive.com/api/v2",
        "http://acme.pipedrive.com",
        "acme",
        "ftp://x",
        "https://u:p@x.example",
    ],
)
def test_a_base_url_is_an_origin(tmp_path: Path, base_url: str) -> None:
    with pytest.raises(ArgumentError, match=r"(?i)base url|http would show"):
        connect(tmp_path, company=None, base_url=base_url)


def test_a_company_is_a_name(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="acme"):
        connect(tmp_path, company="Acme Ltd.")


@pytest.mark.parametrize(
    "max_age",
    ["garbage", "²", "+5", "1e3", "٥", "", "15", -1, 5, True, "-1min", [], "NaT", float("nan")],
)
def test_a_max_age_is_a_length_of_time(tmp_path: Path, max_age: object) -> None:
    with pytest.raises(ArgumentError, match=r"max_age.*'15min'"):
        connect(tmp_path, max_age=max_age)


@pytest.mark.parametrize("max_age", ["15min", "1D", "00:15:00", "0", 0, None, timedelta(hours=1)])
def test_lengths_of_time_are_taken(tmp_path: Path, max_age: object) -> None:
    connect(tmp_path, max_age=max_age).close()


def test_options_are_sync_options(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"pdframe\.sync\.SyncOptions, or None, not dict"):
        connect(tmp_path, options={"page_size": 500})


def test_a_ceiling_is_an_integer(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="max_tokens"):
        connect(tmp_path, max_tokens="many")


def test_a_cache_that_cannot_be_written_is_an_error_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CacheError, match="PDFRAME_CACHE_DIR"):
        connect(tmp_path, cache_dir=tmp_path / "file" / "cache")


def test_a_wrong_host_is_an_error_with_the_remedy(tmp_path: Path) -> None:
    with (
        connect(tmp_path, company=None, base_url="http://127.0.0.1:9") as account,
        pytest.raises(TransportError, match=r"could not be reached.*company's name or base_url"),
    ):
        account.deals()


def test_a_wrong_token_is_an_error_with_the_remedy(
    account: pdframe.sandbox.SandboxAccount, tmp_path: Path
) -> None:
    with (
        connect(tmp_path, company=None, base_url=account.server.url) as stranger,
        pytest.raises(AccessError, match="PIPEDRIVE_API_TOKEN") as caught,
    ):
        stranger.deals()
    assert caught.value.status == 401
    assert TOKEN not in str(caught.value)


def test_the_account_says_who_it_is(account: pdframe.sandbox.SandboxAccount) -> None:
    assert (account.company, account.currency, account.tz) == (
        account.company_model.info["company_name"],
        "EUR",
        "Europe/Tallinn",
    )
    assert account.cache_path.name.startswith("sandbox-seed3-60-user")
    requested = account.server.stats.requests
    assert account.user
    assert account.server.stats.requests == requested == 1


def test_the_user_is_fetched_once_for_all_sessions(
    account: pdframe.sandbox.SandboxAccount, tmp_path: Path
) -> None:
    for _ in range(2):
        with connect(
            tmp_path, company=None, base_url=account.server.url, api_token=account.server.token
        ) as session:
            assert session.currency == "EUR"
    assert account.server.stats.requests == 1


@pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")
def test_twenty_accounts_in_one_cache_are_kept_apart_under_readable_names(tmp_path: Path) -> None:
    ids: dict[str, list[int]] = {}
    for seed in range(1, 21):
        with sandbox.connect(
            seed=seed,
            deals=10,
            cache_dir=tmp_path,
            company="hostile",
            burst=100_000,
            progress=False,
        ) as account:
            ids[account.cache_path.name] = account.deals()["id"].tolist()
            assert account.status().set_index("table")["rows"]["deals"] == len(
                ids[account.cache_path.name]
            )
    assert list(ids) == [f"sandbox-seed{seed}-10-user1003" for seed in range(1, 21)]
    for seed in (1, 20):
        with sandbox.connect(
            seed=seed,
            deals=10,
            cache_dir=tmp_path,
            company="hostile",
            burst=100_000,
            progress=False,
        ) as account:
            requested = account.server.stats.requests
            assert account.deals()["id"].tolist() == ids[f"sandbox-seed{seed}-10-user1003"]
            assert [entry.path for entry in account.server.requests][requested:] == [
                "/api/v1/users/me"
            ]


def test_two_users_of_one_company_see_what_is_theirs(tmp_path: Path) -> None:
    names = {"a" * 40: (7, "Mari's"), "b" * 40: (8, "Jaan's")}

    def answer(request: Seen) -> Reply:
        user, pipeline = names[request.headers["x-api-token"]]
        if request.path.endswith("/users/me"):
            return data({"id": user, "name": "Somebody", "company_domain": "acme"})
        return data([{"id": 1, "name": pipeline}])

    with Scripted.running() as server:
        server.last = answer
        for _ in range(2):
            for token, (user, pipeline) in names.items():
                with connect(
                    tmp_path, company=None, base_url=server.url, api_token=token
                ) as account:
                    assert account.cache_path.name == f"acme-user{user}"
                    assert account.pipelines()["name"].tolist() == [pipeline]
    assert len(server.seen) == 4
