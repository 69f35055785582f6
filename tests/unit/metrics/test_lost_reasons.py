"""Lost reasons: a table written out, plain Python, and the deals behind each row."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from pdframe.errors import ArgumentError, DataWarning
from pdframe.metrics import drill_through, lost_reason_deals, lost_reasons
from tests.helpers import small_frames

YEAR: dict[str, Any] = {"since": "2026-01-01", "until": "2027-01-01"}
RATES = {"EUR": 1.0, "USD": 0.5}


def lost(day: str = "2026-03-01", **more: Any) -> dict[str, Any]:
    return {"status": "lost", "lost_time": day, **more}


def written() -> pd.DataFrame:
    return small_frames.deals(
        [
            lost(lost_reason="Went silent", value=10.5, stage_name="Lead", owner_name="Ann"),
            lost(lost_reason=" went silent", value=1.0, stage_name="Lead", owner_name="Bo"),
            lost(lost_reason="Went silent  ", stage_id=2, stage_name="Offer", owner_name="Bo"),
            lost(lost_reason="Price", currency="USD", stage_name="Lead", owner_name="Ann"),
            lost(lost_reason=None, value=0.0, stage_name="Lead", owner_name="Ann"),
            lost(lost_reason="  ", value=2.0, stage_name="Lead", owner_name="Ann"),
            lost("2025-12-31", lost_reason="Price", stage_name="Lead", owner_name="Ann"),
            {"lost_reason": "Price", "stage_name": "Lead", "owner_name": "Ann"},
            {"status": "won", "won_time": "2026-02-01", "stage_name": "Lead", "owner_name": "Ann"},
        ]
    )


def test_reasons_written_out() -> None:
    result = lost_reasons(written(), **YEAR)
    expected = pd.DataFrame(
        {
            "reason": pd.Series(["Went silent", "Went silent", None, "Price"], dtype="str"),
            "stage_id": pd.array([1, 2, 1, 1], dtype="Int64"),
            "stage": pd.Series(["Lead", "Offer", "Lead", "Lead"], dtype="str"),
            "currency": pd.Series(["EUR", "EUR", "EUR", "USD"], dtype="str"),
            "deals": pd.array([2, 1, 2, 1], dtype="Int64"),
            "value": [11.5, 100.0, 2.0, 100.0],
            "share": np.array([2, 1, 2, 1]) / 6,
        }
    )
    assert_frame_equal(result, expected)
    assert result.attrs["tz"] == "UTC"
    sums = result.groupby("reason", dropna=False)["deals"].sum()
    assert sums.to_dict() == {"Price": 1, "Went silent": 3, np.nan: 2}


def test_shares_are_of_the_group() -> None:
    result = lost_reasons(written(), **YEAR, by="owner", rates=RATES)
    assert list(result.columns[:2]) == ["owner_name", "reason"]
    assert result["owner_name"].tolist() == ["Ann"] * 3 + ["Bo"] * 2
    # Spellings are joined over all groups: Bo's own are both less common.
    assert result["reason"].fillna("-").tolist() == [
        "-",
        "Price",
        "Went silent",
        "Went silent",
        "Went silent",
    ]
    assert result["share"].tolist() == [0.5, 0.25, 0.25, 0.5, 0.5]
    assert result["value"].tolist() == [2.0, 50.0, 10.5, 1.0, 100.0]
    assert result["currency"].tolist() == ["EUR"] * 5
    assert result.groupby("owner_name")["share"].sum().tolist() == [1.0, 1.0]


def random_deals(seed: int, size: int = 300) -> pd.DataFrame:
    draw = np.random.default_rng([9, seed])
    words = [
        "Price",
        "price",
        " PRICE ",
        "Ärger",
        "a\u0308rger",
        "Straße",
        "STRASSE",
        None,
        "",
        "No",
    ]
    return small_frames.deals(
        lost(
            f"2026-{int(draw.integers(1, 13)):02}-15",
            lost_reason=words[int(draw.integers(0, len(words)))],
            stage_id=int(draw.integers(1, 4)),
            currency=[None, "EUR", "USD"][int(draw.integers(0, 3))],
            value=[None, 0.1, 2.5][int(draw.integers(0, 3))],
            team=[None, "a", "b"][int(draw.integers(0, 3))],
        )
        for _ in range(size)
    )


@pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")
@pytest.mark.parametrize("seed", range(3))
def test_counts_and_values_are_those_of_plain_python(seed: int) -> None:
    deals = random_deals(seed)
    window: dict[str, Any] = {"since": "2026-03-01", "until": "2026-09-01"}
    result = lost_reasons(deals, **window, by="team")
    # Every form of a word, under its key.
    forms = {"price": "price", "ärger": "ärger", "a\u0308rger": "ärger", "straße": "strasse"}
    rows = [
        {name: None if pd.isna(value) else value for name, value in row.items()}
        for row in deals.to_dict("records")
        if 3 <= row["lost_time"].month < 9
    ]
    spelled: dict[str, Counter[str]] = {}
    for row in rows:
        text = (row["lost_reason"] or "").strip()
        row["key"] = forms.get(text.lower(), text.lower()) or None
        if text:
            spelled.setdefault(row["key"], Counter())[text] += 1
    best = {
        key: min(texts, key=lambda text: (-texts[text], text)) for key, texts in spelled.items()
    }
    expected = Counter[Any]()
    values = Counter[Any]()
    for row in rows:
        cell = (row["team"], best.get(row["key"]), row["stage_id"], row["currency"])
        expected[cell] += 1
        values[cell] += row["value"] or 0
    ours = {
        tuple(None if pd.isna(row[name]) else row[name] for name in keys): row
        for keys in [["team", "reason", "stage_id", "currency"]]
        for row in result.to_dict("records")
    }
    assert {cell: row["deals"] for cell, row in ours.items()} == expected
    for cell, row in ours.items():
        assert row["value"] == pytest.approx(values[cell], abs=1e-9)
    assert len(best) == 4
    # The reasons with the most deals first, in each team.
    sums = result.groupby(["team", "reason"], dropna=False, sort=False)["deals"].sum()
    for _, part in sums.groupby("team", dropna=False):
        assert part.tolist() == sorted(part, reverse=True)


@pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")
@pytest.mark.parametrize("rates", [None, RATES])
@pytest.mark.parametrize("by", [None, "team", ["stage_id", "team"]])
def test_each_row_leads_to_its_deals(by: Any, rates: Any) -> None:
    deals = random_deals(7)
    result = lost_reasons(deals, **YEAR, by=by, rates=rates)
    rows = lost_reason_deals(deals, **YEAR, by=by, rates=rates)
    for place in range(len(result)):
        row = result.iloc[place]
        match = drill_through(row, rows)
        assert len(match) == row["deals"]
        assert match["value"].sum() == pytest.approx(row["value"], abs=1e-6)
        # Without the record of the keys the same rows match.
        row.attrs.clear()
        if rates is None and by == "team":
            assert drill_through(row, rows)["deal_id"].equals(match["deal_id"])
    assert result["deals"].sum() == len(rows) == 300
    assert rows["deal_id"].is_monotonic_increasing


def test_when_deals_were_lost() -> None:
    deals = small_frames.deals(
        [
            lost("2026-03-31 23:30", lost_reason="A"),
            lost("2026-04-02", lost_reason="B", local_lost_date="2026-03-31"),
            lost("2026-03-05", lost_reason="C", is_deleted=True),
            {"status": "lost", "lost_reason": "D"},
        ]
    ).assign(deleted_time=pd.Timestamp("2026-06-01", tz="UTC"))
    march: dict[str, Any] = {"since": "2026-03-01", "until": "2026-04-01"}
    with pytest.warns(DataWarning, match="^lost_reasons: 1 deals are lost without a date"):
        result = lost_reasons(deals, **march)
    assert result["reason"].tolist() == ["A", "B"]
    deals = deals.iloc[:3]
    assert lost_reasons(deals, **march, tz="Europe/Berlin")["reason"].tolist() == ["B"]
    assert lost_reasons(deals, **march, as_of="2026-03-10")["reason"].tolist() == ["C"]
    assert lost_reasons(deals, **march, deleted="keep")["deals"].tolist() == [1, 1, 1]
    days = lost_reason_deals(deals, **march)["lost_date"]
    assert days.dt.strftime("%m-%d").tolist() == ["03-31", "03-31"]


def test_nothing_lost_and_wrong_arguments() -> None:
    deals = written()
    none = lost_reasons(deals, since="2020-01-01", until="2021-01-01", by="owner")
    assert (len(none), none["stage_id"].dtype, none["deals"].dtype) == (0, "Int64", "Int64")
    assert len(lost_reason_deals(deals.iloc[:0], since=None, until=None)) == 0
    with pytest.raises(ArgumentError, match="deals has no column 'lost_reason'"):
        lost_reasons(deals.drop(columns="lost_reason"), **YEAR)
    with pytest.raises(ArgumentError, match="the result has a column 'reason' of its own"):
        lost_reasons(deals.assign(reason="x"), **YEAR, by="reason")
    with pytest.raises(ArgumentError, match="give one of the two"):
        lost_reasons(deals, **YEAR, by="currency", rates=RATES)
    # Without names of stages there are their ids.
    assert lost_reasons(deals.drop(columns="stage_name"), **YEAR)["stage"].isna().all()
