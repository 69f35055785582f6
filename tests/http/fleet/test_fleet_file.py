"""A fleet's file names variables; a file that holds a token is refused, and no message shows it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pdframe.cli import main

TOKEN = "0123456789abcdef0123456789abcdef01234567"
OAUTH = "v1u:AQIBAHj-LzTNK2yuuuaLqifzhWb9crUNKTpk4FlQ9rjnXqp_6AGF"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f'[accounts.north]\napi_token_variable = "{TOKEN}"', "looks like a token"),
        (f'[accounts.north]\ncompany = "{TOKEN}"', "looks like a token"),
        (f'[accounts."{TOKEN}"]\ncompany = "a"', "looks like a token"),
        (f'[accounts.north]\napi_token_variable = "{OAUTH}"', "looks like a token"),
        (f'tables = ["{TOKEN}"]\n[accounts.north]\n', "looks like a token"),
        ('[accounts.north]\napi_token = "NORTH"', "secrets do not belong into a file"),
        ('[accounts.north]\ncompany = "a"', "has no api_token_variable"),
        ('[accounts.north]\napi_token_variable = "a b"', "the name of an environment variable"),
        ('[accounts.north]\napi_token_variabl = "A"', "Did you mean 'api_token_variable'"),
        ("[account.north]", "Did you mean 'accounts'"),
        ("", "has no accounts"),
        ("accounts = 1", "has no accounts"),
        ("[accounts]\nnorth = 1", "must be a section"),
        ('[accounts.2024]\napi_token_variable = "A"', "must not look like numbers"),
        ('tables = ["dealz"]\n[accounts.a]\napi_token_variable = "A"', "Did you mean 'deals'"),
        ('tables = "deals"\n[accounts.a]\napi_token_variable = "A"', "must be a list of names"),
        (f"api_token = {TOKEN}", "is no TOML file: at line 1, column"),
        *(
            (text.format("[accounts.a]\napi_token_variable = 'A'"), f"{name} of ")
            for name, value in (
                ("max_tokens", "'lots'"),
                ("max_age", "'soon'"),
                ("full_every", "true"),
                ("names", "3"),
                ("cache_dir", "3"),
            )
            for text in (f"{name} = {value}\n{{}}", f"{{}}\n{name} = {value}")
        ),
        ("[accounts.a]\napi_token_variable = 'A'\ncompany = 3", "company of [accounts.a] in "),
        ("[accounts.a]\napi_token_variable = 'A'\nbase_url = 3", "base_url of [accounts.a] in "),
        ("workers = 'x'\n[accounts.a]\napi_token_variable = 'A'", "workers must be a number"),
    ],
)
def test_a_wrong_file_is_refused_without_showing_what_it_holds(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "fleet.toml"
    file.write_text(text)
    assert main(["fleet", "sync", str(file), "--json"]) == 2
    shown, err = capsys.readouterr()
    error = json.loads(shown)["error"]
    assert error["type"] == "ArgumentError"
    assert said in error["message"]
    assert TOKEN not in shown + err
    assert OAUTH not in shown + err


def test_a_file_that_does_not_exist_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fleet", "sync", str(tmp_path / "none.toml")]) == 2
    assert "cannot be read: No such file" in capsys.readouterr().err
