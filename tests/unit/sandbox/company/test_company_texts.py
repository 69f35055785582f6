"""A showcase is the same company as the hostile one, in words that can be shown to a customer."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest

from pdframe.sandbox.company import Company, Market

# What may differ in a row of the showcase: its words.
WORDS = {
    "deals": {"title", "lost_reason", "channel_id", "custom_fields"},
    "deal_products": {"name"},
    "activities": {"subject", "note", "duration", "attendees"},
    "projects": {"title", "custom_fields"},
    "installments": set(),
    "discounts": set(),
    "tasks": set(),
}
MARKET = Market(
    shock_sd=0.6,
    poisson_arrivals=True,
    slipping_close_dates=True,
    capacity=8,
    rep_leaves=((date(2026, 6, 1), 1014),),
    bulk_import=(date(2026, 7, 6), 20),
)


@pytest.fixture(scope="module")
def showcase() -> Company:
    company = Company(seed=7, deals=2_000, texts="showcase")
    company.advance(60)
    return company


def texts_of(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from texts_of(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts_of(each)


@pytest.mark.parametrize(
    ("seed", "deals", "market"),
    [(7, 2_000, None), (1, 0, None), (3, 60, None), (11, 400, None), (5, 200, MARKET)],
)
def test_deals_times_and_amounts_are_those_of_the_hostile_company(
    seed: int, deals: int, market: Market | None
) -> None:
    hostile = Company(seed=seed, deals=deals, market=market)
    showcase = Company(seed=seed, deals=deals, market=market, texts="showcase")
    for days in (0, 30):
        hostile.advance(days)
        showcase.advance(days)
        assert showcase.now == hostile.now
        for table, words in WORDS.items():
            ours, theirs = showcase.tables[table], hostile.tables[table]
            assert list(ours) == list(theirs)
            for key, row in ours.items():
                assert {c for c in row if row[c] != theirs[key][c]} <= words
        for key, row in showcase.tables["deals"].items():
            others = hostile.tables["deals"][key]["custom_fields"]
            assert list(row["custom_fields"]) == list(others)
        assert showcase.truth.stage_visits() == hostile.truth.stage_visits()
        assert showcase.truth.subscriptions() == hostile.truth.subscriptions()


def test_the_hostile_company_of_a_seed_is_unchanged() -> None:
    """Cached worlds and figures of tests rest on it."""
    company = Company(seed=3, deals=60)
    company.advance(40)
    text = json.dumps([company.events, company.info], default=list, ensure_ascii=False)
    assert hashlib.sha256(text.encode()).hexdigest().startswith("fa581f4bddc1cd35")


def test_labels_are_unique_and_unlike_standard_fields(showcase: Company) -> None:
    for entity, rows in showcase.fields.items():
        labels = Counter(row["field_name"].strip().casefold() for row in rows)
        labels.update(row["field_code"] for row in rows if not row["is_custom_field"])
        custom = [row["field_name"] for row in rows if row["is_custom_field"]]
        assert [name for name in custom if labels[name.casefold()] > 1] == [], entity
        for name in custom:
            assert name == name.strip()
            assert 0 < len(name) < 30
        for row in rows:
            options = [option["label"] for option in row["options"] or ()]
            assert len(set(options)) == len(options)
    deal = [row["field_name"] for row in showcase.fields["deal"]]
    assert deal.count("Region") == deal.count("Cancellation date") == 1


def test_rows_hold_only_defined_options(showcase: Company) -> None:
    for field in showcase.fields["deal"]:
        if field["is_custom_field"] and field["field_type"] == "enum":
            options = {option["id"] for option in field["options"]}
            values = {
                value
                for row in showcase.tables["deals"].values()
                if (value := row["custom_fields"].get(field["field_code"])) is not None
            }
            assert values <= options


def test_no_text_has_markup_control_characters_or_a_script_other_than_latin(
    showcase: Company,
) -> None:
    seen = 0
    for text in texts_of([list(showcase.tables.values()), showcase.fields]):
        seen += 1
        assert not re.search(r"[<>\x00-\x1f]|^[=+@-](?!\d)|^\s|\s$", text), text
        for character in set(text):
            if ord(character) > 127 and character not in "–…":
                assert unicodedata.name(character).startswith("LATIN "), text
    assert seen > 100_000


def test_organizations_have_names_of_their_own(showcase: Company) -> None:
    rows = showcase.tables["organizations"].values()
    names = {row["name"] for row in rows}
    assert len(names) == len(rows) > 1_000


def test_three_lost_reasons_have_two_spellings_each(showcase: Company) -> None:
    reasons = {row["lost_reason"] for row in showcase.tables["deals"].values()} - {None}
    spellings = Counter(reason.casefold() for reason in reasons)
    assert sorted(spellings.values(), reverse=True)[:4] == [2, 2, 2, 1]


def test_no_cache_mixes_the_two() -> None:
    domains = {
        Company(seed=2, deals=0, texts=texts).info["company_domain"]
        for texts in ("hostile", "showcase")
    }
    assert len(domains) == 2


def test_other_texts_do_not_exist() -> None:
    with pytest.raises(ValueError, match="hostile or showcase, not 'nice'"):
        Company(seed=2, deals=0, texts="nice")  # type: ignore[arg-type]
