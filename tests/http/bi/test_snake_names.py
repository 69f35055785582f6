"""Snake names of columns: whatever labels a company has, every SQL engine takes the names, and
they do not depend on the order of fields.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter

import duckdb
import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from pdframe.bi._names import RESERVED, snake
from tests.helpers import tiers

FORM = re.compile(r"[a-z][a-z0-9_]{0,59}")


def code(number: int) -> str:
    return hashlib.sha1(str(number).encode()).hexdigest()


TWINS = ("Region", "region", "REGION", "Re-gion", "region_", "Région", "Õhk", "õHK", "Ohk")
HARD = (
    *("", " ", "_", "Бюджет", "Бюджет 2", "日本", "🚀", "🚀 Launch", "x" * 180, "é" * 90),
    *("2024 budget", "1", "select", "Order", "GROUP", "user", "Straße", "İstanbul", "ﬁeld"),
    *("a\x00b", "a b", "a  b", "Currency of Budget", "field", "n_1", "\ud800"),
)
LABELS = st.one_of(
    st.sampled_from((*TWINS, *HARD, *sorted(RESERVED))),
    st.text(max_size=80),
    st.text("Aaé_ 1", max_size=4),
    # A label that is the name of another one with its hash.
    st.builds(
        lambda label, of: f"{label}_{code(of)[:6]}", st.sampled_from(TWINS), st.integers(0, 9)
    ),
)
# A field of several parts has several columns with the digits of one hash.
CODES = st.builds(
    lambda of, part: code(of) + part,
    st.integers(0, 9),
    st.sampled_from(("", "_until", "_currency")),
)
PAIRS = st.lists(st.tuples(LABELS, CODES), max_size=30, unique_by=lambda pair: pair[1])


@settings(max_examples=tiers.examples(800), deadline=None)
@given(PAIRS, st.sets(st.sampled_from(("region", "ohk", "id", "a_b", "title"))), st.randoms())
def test_names_fit_every_engine_whatever_the_labels_and_their_order(
    pairs: list[tuple[str, str]], reserved: set[str], draw: object
) -> None:
    names = snake(pairs, reserved=reserved)
    assert list(names) == [hash_ for _, hash_ in pairs]
    assert all(FORM.fullmatch(name) for name in names.values())
    assert len(set(names.values())) == len(names)
    assert not set(names.values()) & (RESERVED | reserved)
    shuffled = list(pairs)
    draw.shuffle(shuffled)  # type: ignore[attr-defined]
    assert snake(shuffled, reserved=reserved) == names


@settings(max_examples=tiers.examples(200), deadline=None)
@given(PAIRS)
def test_plain_labels_that_nothing_else_has_keep_their_words(pairs: list[tuple[str, str]]) -> None:
    names = snake(pairs)
    words = Counter(label.lower() for label, _ in pairs)
    for label, hash_ in pairs:
        if re.fullmatch(r"[a-z]{1,59}", label) and words[label] == 1 and label not in RESERVED:
            others = [other for other, _ in pairs if other != label]
            if not any(name_of(other) == label for other in others):
                assert names[hash_] == label


def name_of(label: str) -> str:
    return next(iter(snake([(label, code(99))]).values()))


@pytest.mark.every_case
@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("Deal size", "deal_size"),
        ("  Net (EUR) ", "net_eur"),
        ("Région", "region"),
        ("Straße 5", "strasse_5"),
        ("Łódź", "lodz"),
        ("2024 budget", "n_2024_budget"),
        ("🚀 Launch", "launch"),
        ("", "field_da4b92"),
        ("🚀", "field_da4b92"),
        ("Бюджет", "field_da4b92"),
        ("Бюджет 2", "n_2_da4b92"),
        ("Order", "order_da4b92"),
        ("x" * 60, "x" * 60),
        ("x" * 61, "x" * 53 + "_da4b92"),
        ("x" * 52 + "-yy-yyyyyyyyyy", "x" * 52 + "_da4b92"),
    ],
)
def test_what_a_label_becomes(label: str, name: str) -> None:
    assert code(2).startswith("da4b92")
    assert snake([(label, code(2))]) == {code(2): name}


def test_shared_names_all_take_digits_and_more_until_they_differ() -> None:
    assert snake([("Region", "abcdef12"), ("REGION", "abcdef99"), ("Size", "1")]) == {
        "abcdef12": "region_abcdef12",
        "abcdef99": "region_abcdef99",
        "1": "size",
    }
    # The name of one column with its digits is the label of another one.
    names = snake([("a", "aaaaaa11"), ("A", "bbbbbb11"), ("a_aaaaaa", "cccccc11")])
    assert names == {
        "aaaaaa11": "a_aaaaaa11", "bbbbbb11": "a_bbbbbb", "cccccc11": "a_aaaaaa_cccccc"
    }  # fmt: skip


def test_two_columns_of_one_hash_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="unique"):
        snake([("a", "1"), ("b", "1")])


def test_duckdb_takes_names_of_reserved_words_without_quotes() -> None:
    """Its own list of reserved words is the oracle."""
    words = [
        row[0]
        for row in duckdb.sql(
            "select keyword_name from duckdb_keywords() where keyword_category = 'reserved'"
        ).fetchall()
    ]
    assert len(words) > 50
    names = snake([(word, code(number)) for number, word in enumerate(words)])
    with duckdb.connect() as connection:
        columns = ", ".join(f"{name} integer" for name in names.values())
        connection.execute(f"create table t ({columns})")
        connection.execute(f"select {', '.join(names.values())} from t")
