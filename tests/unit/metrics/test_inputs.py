"""Arguments that every metric takes."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pdframe.errors import ArgumentError, DataWarning
from pdframe.metrics._arguments import (
    NULL,
    grouped,
    keyed,
    keys,
    local_date,
    micros,
    moment,
    month_of,
    require_columns,
    span,
    to_micros,
    warn,
    window,
    zone,
)

BERLIN = "Europe/Berlin"


@pytest.mark.parametrize(
    ("value", "first", "last"),
    [
        ("2026-06-30", "2026-06-29T22:00:00", "2026-06-30T21:59:59.999999"),
        (date(2026, 6, 30), "2026-06-29T22:00:00", "2026-06-30T21:59:59.999999"),
        (np.datetime64("2026-06-30"), "2026-06-29T22:00:00", "2026-06-30T21:59:59.999999"),
        # Days of 25 and of 23 hours.
        ("2026-10-25", "2026-10-24T22:00:00", "2026-10-25T22:59:59.999999"),
        ("2026-03-29", "2026-03-28T23:00:00", "2026-03-29T21:59:59.999999"),
        ("2026-06-30 14:00", "2026-06-30T12:00:00", "2026-06-30T12:00:00"),
        ("2026-06-30T14:00:00.5Z", "2026-06-30T14:00:00.500000", "2026-06-30T14:00:00.500000"),
        # Periods.
        ("2026", "2025-12-31T23:00:00", "2026-12-31T22:59:59.999999"),
        ("2026-Q2", "2026-03-31T22:00:00", "2026-06-30T21:59:59.999999"),
        ("2026-06", "2026-05-31T22:00:00", "2026-06-30T21:59:59.999999"),
        (pd.Period("2026Q2"), "2026-03-31T22:00:00", "2026-06-30T21:59:59.999999"),
        (pd.Period("2026-06-30", "D"), "2026-06-29T22:00:00", "2026-06-30T21:59:59.999999"),
        (datetime(2026, 6, 30), "2026-06-29T22:00:00", "2026-06-29T22:00:00"),
        (datetime(2026, 6, 30, tzinfo=UTC), "2026-06-30T00:00:00", "2026-06-30T00:00:00"),
        (
            pd.Timestamp("2026-06-30", tz="America/New_York"),
            "2026-06-30T04:00:00",
            "2026-06-30T04:00:00",
        ),
        # A time that the clock shows twice is the first; one that it leaves out, the next that
        # there is.
        ("2026-10-25 02:30", "2026-10-25T00:30:00", "2026-10-25T00:30:00"),
        ("2026-03-29 02:30", "2026-03-29T01:00:00", "2026-03-29T01:00:00"),
    ],
)
def test_moments(value: Any, first: str, last: str) -> None:
    assert moment(value, BERLIN, "since").isoformat() == f"{first}+00:00"
    assert moment(value, BERLIN, "as_of", end_of_day=True).isoformat() == f"{last}+00:00"
    assert to_micros(moment(value, BERLIN, "since")) == np.datetime64(first, "us").view(np.int64)


@pytest.mark.parametrize(
    "value",
    [
        None,
        pd.NaT,
        "now",
        "today",
        "soon",
        "last Monday",
        "2026-W23",
        "Q2",
        "2026-13-01",
        "2026-06-30x",
        "99999-01-01",
        5,
        1.5,
        True,
        [],
    ],
)
def test_what_is_no_time(value: Any) -> None:
    with pytest.raises(ArgumentError, match=r"^as_of=.* is not a time\. Write '2026-06-30'"):
        moment(value, "UTC", "as_of")


@pytest.mark.parametrize("tz", ["Mars", "", "America", "../UTC", None, 5])
def test_what_is_no_timezone(tz: Any) -> None:
    for call in (lambda: zone(tz), lambda: moment("2026-06-30", tz, "as_of")):
        with pytest.raises(ArgumentError, match="is not a timezone"):
            call()


def test_a_metric_reads_no_clock_and_says_so() -> None:
    for value in ("now", "last Monday", "7 days ago"):
        with pytest.raises(ArgumentError, match=r"does not read the clock: pd\.Timestamp\.now\(\)"):
            moment(value, "UTC", "as_of")


def test_windows() -> None:
    assert window(None, None, "UTC") == (None, None)
    since, until = window("2026-01-01", "2026-02-01", BERLIN)
    assert (str(since), str(until)) == ("2025-12-31 23:00:00+00:00", "2026-01-31 23:00:00+00:00")
    quarter = window("2026-Q2", "2026-Q2", BERLIN)
    assert quarter == window("2026-04-01", "2026-07-01", BERLIN)
    assert window(pd.Period("2026-04"), pd.Period("2026-06"), BERLIN) == quarter
    # A day is its first instant, as ever.
    assert window(None, "2026-07-01", "UTC")[1] == pd.Timestamp("2026-07-01", tz="UTC")
    for pair in (
        ("2026-01-01", "2026-01-01"),
        ("2026-01-02", "2026-01-01"),
        ("2026-Q2", "2026-Q1"),
    ):
        with pytest.raises(ArgumentError, match="is not before until="):
            window(*pair, "UTC")


def test_lengths_of_time() -> None:
    assert [
        span(value, "horizon")
        for value in ("90D", "36h", pd.Timedelta(days=2), np.timedelta64(3, "D"))
    ] == [90.0, 1.5, 2.0, 3.0]
    for value in (90, 1.5, "90", "x", None, "-1D", pd.NaT, float("nan")):
        with pytest.raises(ArgumentError, match="is not a length of time"):
            span(value, "horizon")


def test_need_names_what_is_missing() -> None:
    frame = pd.DataFrame({"a": [1]})
    assert require_columns(frame, "visits", ["a"]) is frame
    with pytest.raises(ArgumentError, match=re.escape("visits has no column 'b', 'c'.")):
        require_columns(frame, "visits", ["a", "b", "c"])
    for name, column, remedy in [
        ("visits", "b", "Pass the frame of account.stage_visits() with all its columns."),
        ("history", "b", "Pass the frame of account.deal_history() with all its columns."),
        ("rates", "b", "Pass the frame of the loader with all its columns."),
        ("deals", "owner_name", "account.deals() adds the names of ids, unless names=False."),
        (
            "deals",
            "org_name",
            "account.deals(names=True) adds the names of persons and organizations.",
        ),
        ("lines", "Deal type", "The argument carry= of mrr_lines adds columns of deals."),
    ]:
        with pytest.raises(ArgumentError, match=f"{re.escape(remedy)}$"):
            require_columns(frame, name, ["a"], by=[column])
    named = pd.DataFrame({"Deal type": ["New"], 5: [1]})
    with pytest.raises(ArgumentError, match=r"no column 'Deal typ'\. Did you mean 'Deal type'\?$"):
        require_columns(named, "lines", [], by=["Deal typ"])
    with pytest.raises(
        ArgumentError, match=r"deals must be a DataFrame from account\.deals\(\), not None\."
    ):
        require_columns(None, "deals", [])


def test_columns_with_names_of_several_parts_are_refused_with_the_line_that_names_them() -> None:
    deals = pd.DataFrame({("id", ""): [1], ("value", "EUR"): [5.0]})
    with pytest.raises(ArgumentError, match=r"deals have names of 2 parts.*text: ") as refused:
        require_columns(deals, "deals", ["id"])
    line = str(refused.value).partition("text: ")[2].removesuffix(".")
    exec(line, {"frame": deals})
    assert require_columns(deals, "deals", ["id", "value EUR"]) is deals


def test_keys() -> None:
    assert [keys(by) for by in (None, "a", ["a", "b"], ("a",))] == [[], ["a"], ["a", "b"], ["a"]]
    wrong: list[tuple[Callable[[], object], str]] = [
        (lambda: keys(["a", "a"]), "names a column twice"),
        (lambda: keys(["a", 5]), "must be the name of a column"),  # type: ignore[list-item]
        (lambda: keys("won", ["won"]), "the result has a column 'won' of its own"),
    ]
    for call, message in wrong:
        with pytest.raises(ArgumentError, match=message):
            call()


def test_groups_are_sorted_with_nulls_last_and_keep_their_types() -> None:
    frame = pd.DataFrame(
        {
            "text": ["x", None, "a", "x", "x"],
            "size": pd.Categorical(["lo", "hi", "lo", None, "lo"], ["lo", "mid", "hi"]),
            "id": pd.array([1, None, 3, 1, 1], "Int64"),
            "time": pd.to_datetime(
                ["2026-01-02", "2026-01-01", None, "2026-01-02", "2026-01-02"], utc=True
            ),
        }
    )
    for by, codes, expected in [
        (["text"], [1, 2, 0, 1, 1], [["a"], ["x"], [None]]),
        (["size"], [0, 1, 0, 2, 0], [["lo"], ["hi"], [None]]),
        (["id", "size"], [0, 3, 2, 1, 0], [[1, "lo"], [1, None], [3, "lo"], [None, "hi"]]),
        (
            ["time"],
            [1, 0, 2, 1, 1],
            [
                [pd.Timestamp("2026-01-01", tz="UTC")],
                [pd.Timestamp("2026-01-02", tz="UTC")],
                [None],
            ],
        ),
    ]:
        result, names = grouped(frame, by)
        assert result.tolist() == codes
        assert [
            [None if pd.isna(value) else value for value in row]
            for row in names.to_numpy().tolist()
        ] == expected
        assert names.dtypes.tolist() == frame[by].dtypes.tolist()


def test_no_keys_are_one_group_and_no_rows_none() -> None:
    frame = pd.DataFrame({"a": ["x", "y"]})
    for rows in (frame, frame.head(0)):
        codes, names = grouped(rows, [])
        assert (codes.tolist(), names.shape) == ([0] * len(rows), (1, 0))
    codes, names = grouped(frame.head(0), ["a"])
    assert (len(codes), names.dtypes["a"], len(names)) == (0, frame["a"].dtype, 0)


def test_many_columns_of_many_values_do_not_overflow() -> None:
    random = np.random.default_rng(1)
    frame = pd.DataFrame({name: random.permutation(5_000) for name in "abcdef"})
    frame = pd.concat([frame, frame], ignore_index=True)
    codes, names = grouped(frame, list("abcdef"))
    assert codes[:5_000].tolist() == codes[5_000:].tolist()
    assert names["a"].tolist() == list(range(5_000))
    pd.testing.assert_frame_equal(names.iloc[codes].reset_index(drop=True), frame)


@pytest.mark.parametrize(
    "values", [[[1], [2]], pd.Series([[1], [2]], dtype=pd.ArrowDtype(pa.list_(pa.int64())))]
)
def test_lists_cannot_be_grouped_by(values: Any) -> None:
    frame = pd.DataFrame({"labels": values})
    with pytest.raises(
        ArgumentError, match=r"by='labels': its values \(.*\) cannot be grouped by"
    ) as refused:
        grouped(frame, ["labels"])
    # The line of code that it names makes them such.
    line = str(refused.value).partition("to text: ")[2].removesuffix(".")
    exec(line, {"frame": frame})
    assert grouped(frame, ["labels"])[0].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("by", "meant"),
    [
        ("ownr_id", "Did you mean 'owner_id'?"),
        (["ownr_id", "statu"], "Did you mean by=['owner_id', 'status']?"),
        (["status", "Owner ID"], "Did you mean by=['status', 'owner_id']?"),
        ("status, owner_id", "Did you mean by=['status', 'owner_id']?"),
        (["status,ownr_id"], "Did you mean by=['status', 'owner_id']?"),
        (["status", "qqq"], "Pass the frame of account.deals()"),
    ],
)
def test_columns_to_group_by_that_are_not_there_are_answered(by: Any, meant: str) -> None:
    frame = pd.DataFrame({"owner_id": [1], "status": ["won"], "value": [1.0]})
    with pytest.raises(ArgumentError, match=r"deals has no column ") as refused:
        require_columns(frame, "deals", [], keys(by))
    assert meant in str(refused.value)
    if "by=" in meant:
        line = str(refused.value).partition("Did you mean by=")[2].removesuffix("?")
        assert len(require_columns(frame, "deals", [], keys(eval(line)))) == 1  # noqa: S307


def test_micros() -> None:
    aware = pd.Series(pd.to_datetime(["2026-06-30 23:30", None], utc=True))
    at = np.datetime64("2026-06-30T23:30", "us").view(np.int64)
    naive = aware.dt.tz_localize(None)
    for column, expected in [
        (aware, at),
        (aware.dt.tz_convert("Asia/Tokyo").dt.as_unit("ns"), at),
        (naive, at - 2 * 3_600_000_000),
        (aware.astype(object), at),
    ]:
        assert micros(column, BERLIN, "won_time").tolist() == [expected, NULL]
    for column in (pd.Series([None, None]), pd.Series([np.nan, np.nan])):
        assert micros(column, BERLIN, "won_time").tolist() == [NULL, NULL]
    assert len(micros(aware.head(0), BERLIN, "won_time")) == 0
    mixed = [datetime(2026, 6, 30), datetime(2026, 6, 30, tzinfo=UTC)]
    for column in (
        pd.Series([1.0, 2.0]),
        pd.Series(["x", "y"]),
        pd.Series(["x", 3], dtype=object),
        pd.Series(mixed, dtype=object),
    ):
        with pytest.raises(ArgumentError, match="The column 'won_time'"):
            micros(column, BERLIN, "won_time")


def test_days_and_months_are_those_of_the_timezone() -> None:
    times = pd.Series(
        pd.to_datetime(["2026-06-30 23:30", "2026-06-30 21:59", None], utc=True), name="won_time"
    )
    assert [str(value) for value in local_date(times, BERLIN)] == [
        "2026-07-01 00:00:00",
        "2026-06-30 00:00:00",
        "NaT",
    ]
    months = month_of(times, BERLIN)
    assert [str(value) for value in months] == ["2026-07-01 00:00:00", "2026-06-01 00:00:00", "NaT"]
    assert (str(months.dtype), months.name) == ("datetime64[us]", "won_time")
    assert month_of(times.dt.tz_localize(None), BERLIN).dt.month.tolist()[:2] == [6, 6]


def test_warnings_point_at_the_line_that_requested() -> None:
    with pytest.warns(DataWarning, match="two rows") as said:
        warn("two rows")
    assert said[0].filename == __file__


def test_keys_are_noted_on_the_result() -> None:
    result = keyed(pd.DataFrame({"a": [1, 2], "n": [3, 4]}), ["a"])
    assert result.iloc[0].attrs == result[result["n"] > 3].iloc[0].attrs == {"keys": ["a"]}
