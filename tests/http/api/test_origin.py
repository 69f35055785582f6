"""Which server is asked: company names and base URLs, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdframe.api.client import Client, origin_of
from pdframe.api.credentials import ApiToken
from pdframe.errors import ArgumentError


@pytest.mark.parametrize(
    "company",
    [
        "acme",
        "ACME",
        "acme.pipedrive.com",
        "https://acme.pipedrive.com",
        "https://acme.pipedrive.com/",
    ],
)
def test_a_company_is_its_origin(company):
    assert origin_of(company) == "https://acme.pipedrive.com"


@pytest.mark.parametrize("company", ["a", "7", "my-company-2"])
def test_short_and_dashed_names_are_companies(company):
    assert origin_of(company=company) == f"https://{company}.pipedrive.com"


@pytest.mark.parametrize(
    "company",
    [
        "",
        " acme",
        "acme\n",
        "acme.com",
        "acme.evil.com",
        "acme.pipedrive.com.evil.com",
        "http://acme.pipedrive.com",
        "https://acme",
        "https://acme.pipedrive.com/pipeline",
        "https://acme.pipedrive.com?api_token=hunter2",
        "user@acme",
        "acme:443",
        "-acme",
        "äcme",
        "ac me",
        "a" * 64,
        17,
        b"acme",
    ],
)
def test_anything_else_is_no_company_and_is_not_shown(company):
    with pytest.raises(ArgumentError, match='"acme"') as caught:
        origin_of(company)
    assert "hunter2" not in str(caught.value)


def test_a_token_in_the_company_s_place_is_not_shown():
    with pytest.raises(ArgumentError, match="looks like an API token") as caught:
        origin_of("0123456789abcdef0123456789abcdef01234567")
    assert "0123" not in str(caught.value)


@pytest.mark.parametrize(
    ("base_url", "origin"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("http://localhost", "http://localhost"),
        ("http://[::1]:9/", "http://[::1]:9"),
        ("HTTPS://Acme.Pipedrive.com:443", "https://acme.pipedrive.com"),
        ("https://proxy.example:8443", "https://proxy.example:8443"),
    ],
)
def test_a_base_url_is_an_origin(base_url, origin):
    assert origin_of(base_url=base_url) == origin


@pytest.mark.parametrize(
    ("base_url", "shows"),
    [
        ("https://acme.pipedrive.com/api/v2", '"https://acme.pipedrive.com"'),
        ("https://acme.pipedrive.com?api_token=hunter2", '"https://acme.pipedrive.com"'),
        ("https://acme.pipedrive.com/?", '"https://acme.pipedrive.com"'),
        ("https://acme.pipedrive.com/#x", '"https://acme.pipedrive.com"'),
        ("http://127.0.0.1:8080/api", '"http://127.0.0.1:8080"'),
        ("https://me:hunter2@acme.pipedrive.com", '"https://acme.pipedrive.com"'),
        ("https://me@acme.pipedrive.com", '"https://acme.pipedrive.com"'),
        ("http://acme.pipedrive.com", '"https://acme.pipedrive.com"'),
        ("http://127.0.0.1.evil.com", "https://127.0.0.1.evil.com"),
        ("http://localhost.evil.com", "https://localhost.evil.com"),
        ("http://127.0.0.1@evil.com", "user"),
        ("acme.pipedrive.com", '"https://acme.pipedrive.com"'),
        ("ftp://acme.pipedrive.com", "https://"),
        ("https://", "https://"),
        ("https://acme.pipedrive.com:port", "https://"),
        ("https://acme.pipedrive.com:99999", "https://"),
        ("https://[::1", "https://"),
        ("https://ac me.com", "https://"),
        ("https://acme.com\\@evil.com", "https://"),
        ("", "https://"),
        (7, "https://"),
    ],
)
def test_a_base_url_that_is_more_or_less_shows_the_right_form(base_url, shows):
    with pytest.raises(ArgumentError) as caught:
        origin_of(base_url=base_url)
    assert shows in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_one_of_company_and_base_url_is_needed():
    with pytest.raises(ArgumentError, match="Which company"):
        origin_of()
    with pytest.raises(ArgumentError, match="not both"):
        origin_of("acme", "https://acme.pipedrive.com")


def test_a_client_checks_its_origin_too():
    with pytest.raises(ArgumentError, match="https"):
        Client("http://acme.pipedrive.com", ApiToken("t"))


@given(st.text(max_size=40))
def test_wild_text_is_an_origin_of_pipedrive_or_an_argument_error(text):
    try:
        origin = origin_of(text)
    except ArgumentError:
        return
    assert origin.endswith(".pipedrive.com")
    assert origin.isascii()


@given(
    st.sampled_from(["http://", "https://", "HTTP://", ""]),
    st.text(alphabet="a1.:/@?#[]\\% 7", max_size=20),
)
def test_wild_base_urls_are_https_or_this_machine(scheme, rest):
    try:
        origin = origin_of(base_url=scheme + rest)
    except ArgumentError:
        return
    assert origin.startswith("https://")
    assert "@" not in origin
