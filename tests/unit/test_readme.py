"""README.md: its code runs as it stands, and its outputs and pictures are what the code gives."""

from __future__ import annotations

import re
from textwrap import dedent

import pytest

import pdframe
from pdframe import Account, errors, fleet, metrics, plot, sandbox
from pdframe.cli import main
from tests.helpers import llms
from tests.helpers.readme import ROOT, Readme, texts_in

FUNNEL, MRR, SALES = "docs/funnel.png", "docs/mrr.png", "docs/quickstart.png"
FUNNEL_PAGE = ROOT / "docs" / "how-to" / "funnel.md"


@pytest.mark.slow
def test_the_code_of_the_readme_gives_its_outputs_and_pictures() -> None:
    """Where an output or a picture differs and the new one is right: make pictures."""
    page = Readme().run()
    assert page.blocks == len(re.findall(r"^\s*```\s*py", page.text, re.MULTILINE)) > 4
    assert len(page.outputs) == page.text.count("```text") > 0
    for output in page.outputs:
        assert output.shown == output.printed
    assert sorted(page.pictures) == sorted(
        f"docs/{path.name}" for path in (ROOT / "docs").glob("*.png")
    )
    # What is no figure of a block is a picture of the screen.
    others = set(re.findall(r"^!\[.*\]\((.*)\)$", page.text, re.MULTILINE)) - {*page.pictures}
    assert others == {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.webp")}
    for path, drawn in page.pictures.items():
        assert texts_in(ROOT / path) == drawn.texts, path
    lines = page.namespace["lines"].attrs["notes"]
    assert len(lines) == 1
    assert lines[0].startswith("The value of 20 deals is not the total of their lines")
    assert [text.partition(":")[0] for text in page.warnings].count("mrr_lines") == 1
    check_against_the_company(page)
    check_the_sums(page)


def check_against_the_company(page: Readme) -> None:
    """The sandbox's own rows and truth give the figures of two pictures."""
    company = page.namespace["account"].company_model
    deals = {key: row for key, row in company.tables["deals"].items() if not row["is_deleted"]}
    reached = {
        visit.deal_id for visit in company.truth.stage_visits() if visit.pipeline_id == 2
    } & deals.keys()
    assert f"Funnel: {len(reached):,} deals" in page.pictures[FUNNEL].texts
    by_month: dict[str, float] = {}
    for row in deals.values():
        if row["status"] == "won" and row["currency"] == "EUR":
            month = row["won_time"][:7]
            by_month[month] = by_month.get(month, 0.0) + row["value"]
    for month in [*(f"2025-{number:02}" for number in range(7, 13)), "2026-01", "2026-05"]:
        assert f"{by_month[month]:,.0f}" in page.pictures[SALES].texts


@pytest.mark.slow
def test_the_page_of_the_funnel_counts_on_day_one_and_buys_changelogs_bit_by_bit() -> None:
    """Where an output differs and the new one is right: python -m tests.helpers.readme PAGE."""
    page = Readme(FUNNEL_PAGE).run()
    for output in page.outputs:
        assert output.shown == output.printed
    assert len(page.outputs) == page.text.count("```text") == 2
    ((path, drawn),) = page.pictures.items()
    assert texts_in(FUNNEL_PAGE.parent / path) == drawn.texts
    # A metric warns once; the whole text is in the notes of its result.
    notes = page.namespace["funnel"].attrs["notes"]
    assert [text.startswith("7 of 1,606 deals ") for text in notes] == [True, True]
    assert all("all of these deals are deleted" in text for text in notes)
    assert page.warnings[0].startswith("funnel: Exact rates need changelogs of this cohort: ")
    assert [text.partition("\n")[0][:40] for text in page.warnings[1:]] == [
        f"funnel: {notes[0]}"[:40]
    ]
    company = page.namespace["account"].company_model
    rows = company.tables["deals"]
    # The API lists what was deleted in the last 30 days. Deals that were open then left the
    # pipeline; nothing tells of others before.
    left = {
        key
        for (table, key), time in company.deleted_at.items()
        if table == "deals"
        and time > company.now - 30 * 86_400
        and rows[key]["status"] == "open"
        and rows[key]["pipeline_id"] == 2
    }
    reached = {visit.deal_id for visit in company.truth.stage_visits() if visit.pipeline_id == 2}
    reached = {key for key in reached if not rows[key]["is_deleted"]} | left
    assert f"Funnel: {len(reached):,} deals" in drawn.texts
    check_day_one(page)


def check_day_one(page: Readme) -> None:
    """Without a changelog, the funnel counts the deals that the pipeline has; what changelogs
    cost is 20 tokens each.
    """
    company, first = page.namespace["account"].company_model, page.namespace["first"]
    deals = [row for row in company.tables["deals"].values() if not row["is_deleted"]]
    there = [row for row in deals if row["pipeline_id"] == 2]
    won = sum(row["status"] == "won" for row in there)
    assert first["reached"].iloc[-1] == won
    assert 0 <= first["reached"].iloc[0] - len(there) <= 10  # and some that were deleted lately
    (printed,) = (text for text in page.outputs if "Exact rates" in text.printed)
    count, tokens = re.findall(r"([\d,]+) deals, ([\d,]+) tokens", printed.printed)[0]
    assert int(tokens.replace(",", "")) == 20 * int(count.replace(",", ""))
    now, later = re.findall(
        r"now: ([\d,]+) tokens\nkeep_going: [\d,]+ of [\d,]+ deals, ([\d,]+) tokens",
        "".join(text.printed for text in page.outputs),
    )[0]
    changelogs = page.namespace["account"].server.stats.by_path["/api/v1/deals/{id}/changelog"]
    assert int(now.replace(",", "")) + int(later.replace(",", "")) == changelogs[1]
    # The deal that changed last may have changed again in that second.
    assert changelogs[0] - len(deals) in (0, 1)


def check_the_sums(page: Readme) -> None:
    """What moved MRR adds up to what the picture shows."""
    moves = page.namespace["moves"]
    start, end = moves["start"].iloc[0], moves["end"].iloc[-1]
    steps = ["new", "reactivation", "expansion", "contraction", "churn", "fx"]
    assert start + moves[steps].to_numpy().sum() == pytest.approx(end, abs=1e-4)
    assert {f"{start:,.0f}", f"{end:,.0f}"} <= set(page.pictures[MRR].texts)


def test_the_table_that_contributing_shows_is_the_one_of_the_schema() -> None:
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)
    assert any(
        dedent(block).strip() in path.read_text()
        for path in (ROOT / "pdframe" / "schema").glob("*.py")
    )


def test_the_methods_and_commands_that_pages_name_exist() -> None:
    costs = (ROOT / "docs" / "how-to" / "tables.md").read_text()
    table = re.findall(r"^\|(.*?)\|.*tokens.*\|$", costs, re.MULTILINE)
    methods = {
        name for cell in table for name in re.findall(r"`(\w+)[(`]", cell) if not name.endswith("_")
    }
    assert len(methods) > 20
    assert [name for name in methods if not callable(getattr(Account, name, None))] == []
    text = (ROOT / "README.md").read_text()
    named = set(re.findall(r"`(account|metrics|plot)\.(\w+)", text))
    assert len(named) > 5
    for owner, name in named:
        assert hasattr({"account": Account, "metrics": metrics, "plot": plot}[owner], name), name
    (paragraph,) = re.findall(r"^On the command line: (.*?)\n\n", text, re.MULTILINE | re.DOTALL)
    commands = re.findall(r"`pdframe (\w+)", paragraph)
    assert len(commands) == 9
    for command in commands:
        with pytest.raises(SystemExit) as done:
            main([command, "--help"])
        assert done.value.code == 0


def test_the_links_of_the_readme_lead_somewhere() -> None:
    text = (ROOT / "README.md").read_text()
    for target in re.findall(r"\]\(([^)]+)\)", text):
        path, _, anchor = target.partition("#")
        page = (ROOT / path if path else ROOT / "README.md").read_bytes().decode(errors="replace")
        if anchor:
            headings = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
            assert anchor in [
                re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings
            ], target


def test_llms_txt_shows_the_public_interface_of_today() -> None:
    """Where it differs: python -m tests.helpers.llms."""
    assert llms.FILE.read_text(encoding="utf-8") == llms.text()


def test_llms_txt_is_small_and_leads_to_files_that_exist() -> None:
    text = llms.text()
    assert len(text.encode()) < 10_000
    assert max(map(len, text.splitlines())) <= 100
    for path in re.findall(r"\]\((.+?)\)", text):
        assert (ROOT / path).is_file(), path


def test_llms_txt_has_every_public_name() -> None:
    text = llms.text()
    text = re.sub(
        r"([\w|]+)\|(\w+?)(_follower\w*)",
        lambda group: " ".join(f"{name}{group[3]}" for name in f"{group[1]}|{group[2]}".split("|")),
        text,
    )
    names = {name for name in dir(Account) if not name.startswith("_")}
    for module in (pdframe, metrics, plot, fleet, sandbox):
        names |= {*module.__all__}
    names |= {name.removesuffix("Error") for name in errors.__all__}
    assert sorted(name for name in names if not re.search(rf"\b{name}\b", text)) == []
