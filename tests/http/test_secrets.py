"""The token is nowhere: not in files, logs, reprs, errors or the notebook."""

from __future__ import annotations

import json
import logging
import pickle
from pathlib import Path

import pytest

import pdframe
from pdframe import sandbox
from pdframe.errors import PdframeError
from tests.helpers.internals import client_of

TOKEN = "feedfacefeedfacefeedfacefeedfacefeedface"
ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")


def test_no_file_log_repr_or_error_holds_the_token(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with sandbox.connect(
        seed=3,
        deals=60,
        cache_dir=tmp_path,
        company="hostile",
        burst=100_000,
        progress=False,
        token=TOKEN,
    ) as account:
        account.sync()
        account.export(tmp_path / "bi", format="csv")
        shown = [
            repr(account.export(tmp_path / "bi")),
            repr(account),
            account._repr_html_(),
            repr(client_of(account)),
            repr(vars(account)),
            repr(vars(client_of(account))),
            str(account),
        ]
        account.server.faults = sandbox.Faults(rate=1.0, kinds=("success_false_200",))
        with pytest.raises(PdframeError) as caught:
            account.deals(refresh=True)
        shown += [repr(caught.value), str(caught.value), repr(vars(caught.value))]
        with pytest.raises((TypeError, AttributeError)) as refused:
            pickle.dumps(account)
        shown.append(str(refused.value))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 30
    assert not [path for path in files if TOKEN.encode() in path.read_bytes()]
    assert not [path for path in files if TOKEN in str(path)]
    assert caplog.records
    assert not [
        record for record in caplog.records if TOKEN in f"{record.getMessage()} {record.args!r}"
    ]
    assert not [text for text in shown if TOKEN in text]


def test_no_token_resembles_one_in_a_notebook() -> None:
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        outputs = [cell.get("outputs", []) for cell in json.loads(path.read_text())["cells"]]
        assert "api_token" not in json.dumps(outputs)
        assert str(ROOT) not in path.read_text()


def test_what_arrived_from_a_web_form_is_escaped(tmp_path: Path) -> None:
    with sandbox.connect(
        seed=3, deals=60, cache_dir=tmp_path, company="hostile", burst=100_000, progress=False
    ) as account:
        account.company_model.info["company_name"] = "<script>alert(1)</script>"
        account.pipelines()
        assert "<script>" not in account._repr_html_()
        assert "&lt;script&gt;" in account._repr_html_()


def test_a_repr_holds_nothing_that_a_terminal_would_obey(tmp_path: Path) -> None:
    with sandbox.connect(
        seed=3, deals=0, cache_dir=tmp_path, company="hostile", burst=100_000, progress=False
    ) as account:
        account.company_model.info["company_name"] = "\x1b[2J Evil\nCo. \u202e"
        account.pipelines()
        assert all(line.isprintable() for line in repr(account).split("\n"))
        assert repr(account).startswith("<pdframe account  [2J Evil Co.")


def test_the_token_is_not_among_the_arguments_that_a_traceback_shows(tmp_path: Path) -> None:
    with pytest.raises(pdframe.errors.ArgumentError) as caught:
        pdframe.connect(TOKEN, api_token=TOKEN, cache_dir=tmp_path)
    assert TOKEN not in str(caught.value)
