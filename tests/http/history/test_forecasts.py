"""Forecasts of an account: issued now, kept as issued, and compared with what was won."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pdframe import metrics, sandbox
from pdframe._progress import Bars
from pdframe.errors import (
    ArgumentError,
    DataWarning,
    InsufficientDataError,
    MixedCurrencyError,
)
from pdframe.metrics.forecasting.learned import Learned
from tests.helpers.internals import show_progress_on

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")

RATES = {"EUR": 1, "USD": 0.9, "GBP": 1.15}
START = pd.Timestamp("2026-06-30 12:00", tz="UTC")
AMOUNTS = ["won_already", "from_open", "from_new", "mean", "p10", "p50", "p90"]


def connected(cache: Path, deals: int = 200) -> sandbox.SandboxAccount:
    return sandbox.connect(
        seed=7,
        deals=deals,
        cache_dir=cache,
        company="hostile",
        burst=100_000,
        max_age=None,
        progress=False,
    )


@pytest.fixture(scope="module")
def forecast_twice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sandbox.SandboxAccount]:
    """An account that forecast on 30 June and, grouped by owner, on 14 August."""
    with connected(tmp_path_factory.mktemp("cache")) as account:
        account.sync()
        account.forecast("2026-08", rates=RATES, draws=500)
        account.advance(days=45)
        account.sync()
        account.forecast("2026-08", rates=RATES, draws=500, by="owner", seed=3)
        account.advance(days=30)
        account.sync()
        # Between two snapshots, it is unknown whether a value changed before the deal was won.
        account.deal_changes()
        yield account


def test_a_forecast_shows_how_far_it_is_unless_bars_are_off(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with connected(tmp_path) as account:
        account.sync()
        quiet = account.forecast("2026-08", rates=RATES, draws=500, as_of="2026-06-30")
        assert capsys.readouterr().err == ""
        account.forecast("2026-08", rates=RATES, draws=50, method="constant")  # learns again
        capsys.readouterr()
        show_progress_on(account, Bars(True, delay=0, interval=0))
        shown = account.forecast("2026-08", rates=RATES, draws=500, as_of="2026-06-30")
        lines = [line for line in capsys.readouterr().err.split("\r") if "forecast" in line]
        assert any("forecast: 24 of 24 earlier months |" in line for line in lines)
        assert not any("resumes" in line for line in lines)
        pd.testing.assert_frame_equal(quiet, shown)
        assert shown.attrs["today"] == "2026-06-30"


def won_in(account: sandbox.SandboxAccount, month: str, owner: str | None = None) -> float:
    """What was won in a local month, in euros, from the rows of the company."""
    deals = account.deals(refresh=False, names=True)
    deals = deals[
        (deals["status"] == "won") & (deals["local_won_date"].dt.strftime("%Y-%m") == month)
    ]
    if owner is not None:
        deals = deals[deals["owner_name"] == owner]
    return float((deals["value"].fillna(0) * deals["currency"].map(RATES)).sum())


def test_a_forecast_is_the_metric_of_the_loaded_frames_as_of_the_server(tmp_path: Path) -> None:
    begun = pd.Timestamp.now("UTC")
    with connected(tmp_path) as account:
        account.sync()
        account.deal_changes()
        spent = account.tokens_today
        result = account.forecast("2026-Q3", rates=RATES, draws=500)
        assert account.tokens_today - spent <= 60  # deals and stages are cached: the deletions
        as_of = pd.Timestamp(result.attrs["as_of"])
        # The server's clock was START, and goes on with this machine's.
        assert START <= as_of <= START + (pd.Timestamp.now("UTC") - begun)
        expected = metrics.forecast(
            account.deals(deleted=True),
            account.stage_visits(),
            account.stages(),
            as_of=as_of,
            until="2026-Q3",
            rates=RATES,
            draws=500,
            history=account.deal_history(),
            tz="Europe/Tallinn",
        )
        pd.testing.assert_frame_equal(result, expected)
        kept = account.track_record()
        pd.testing.assert_frame_equal(
            kept[AMOUNTS[:1] + AMOUNTS[3:]], result[AMOUNTS[:1] + AMOUNTS[3:]]
        )
        assert kept["as_of"].tolist() == [as_of] * 4
        assert kept["period"].tolist() == result["period"].tolist()


def test_the_record_has_every_forecast_and_what_was_won(
    forecast_twice: sandbox.SandboxAccount,
) -> None:
    record = forecast_twice.track_record()
    first = record[record["as_of"].dt.floor("D") == START.floor("D")]
    assert first["period"].dt.strftime("%Y-%m").tolist() == ["2026-06", "2026-07", "2026-08"]
    assert first["actual"].tolist() == pytest.approx(
        [won_in(forecast_twice, month) for month in ("2026-06", "2026-07", "2026-08")]
    )
    assert first["group"].isna().all()
    inside = (first["p10"] <= first["actual"]) & (first["actual"] <= first["p90"])
    assert first["covered"].tolist() == inside.tolist()
    second = record[record["as_of"] > first["as_of"].max()]
    assert second["as_of"].dt.strftime("%Y-%m-%d").unique() == ["2026-08-14"]
    assert second["by"].unique() == ["owner_name"]
    assert second["actual"].sum() == pytest.approx(won_in(forecast_twice, "2026-08"))
    one = second.iloc[second["actual"].argmax()]
    assert one["actual"] == pytest.approx(won_in(forecast_twice, "2026-08", one["group"]))
    assert one["actual"] > 0


def test_the_log_outlives_the_account_object_and_reloads(
    forecast_twice: sandbox.SandboxAccount,
) -> None:
    before = forecast_twice.track_record()
    folder = forecast_twice.cache_path / "forecasts"
    files = {path.name: path.read_bytes() for path in folder.glob("part-*")}
    forecast_twice.sync("deals", full=True)
    assert {path.name: path.read_bytes() for path in folder.glob("part-*")} == files
    again = forecast_twice.track_record(refresh=False)
    pd.testing.assert_frame_equal(again, before)


def test_a_forecast_of_the_past_is_not_kept(forecast_twice: sandbox.SandboxAccount) -> None:
    before = len(forecast_twice.track_record())
    table = forecast_twice.forecast("2026-Q2", as_of="2026-03-31", rates=RATES, draws=200)
    assert table["period"].dt.month.tolist() == [4, 5, 6]
    assert table["won_already"].tolist() == [0.0, 0.0, 0.0]
    assert len(forecast_twice.track_record()) == before


def test_a_refused_forecast_is_not_kept(tmp_path: Path) -> None:
    with connected(tmp_path, deals=10) as account:
        with pytest.raises(InsufficientDataError, match="needs 30 closed deals"):
            account.forecast("2026-Q3", rates=RATES)
        assert account.track_record().empty
        assert not (account.cache_path / "forecasts").exists()


def test_several_currencies_need_rates(forecast_twice: sandbox.SandboxAccount) -> None:
    with pytest.raises(MixedCurrencyError):
        forecast_twice.forecast("2026-Q4")


@pytest.mark.filterwarnings("default::pdframe.errors.DataWarning")
def test_what_is_lost_without_changelogs_is_said_once(tmp_path: Path) -> None:
    with connected(tmp_path) as account:
        account.deals(columns=["id"], deleted=True)
        closed = account.deals(refresh=False, deleted=True, columns=["id", "status"])
        closed = closed[closed["status"].isin(["won", "lost"])]
        with pytest.warns(DataWarning) as caught:
            table = account.forecast("2026-08", rates=RATES, draws=200)
        ours = [str(each.message) for each in caught if "changelog" in str(each.message)]
        count = len(closed)
        assert ours[0].startswith(f"forecast: {count} of {count} closed deals have no changelog")
        assert f"({20 * count:,} tokens)" in ours[0]
        assert len(ours) == 1
        assert ours[0].count("\n") == 1
        account.deal_changes(closed["id"])
        table = account.forecast("2026-08", rates=RATES, draws=200)
        assert not any("changelog" in note for note in table.attrs["notes"])


def test_a_cache_that_cannot_be_written_gives_a_forecast_that_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connected(tmp_path) as account:
        account.sync()
        account.forecast("2026-08", rates=RATES, draws=200)
        monkeypatch.setattr("os.access", lambda *_: False)
        table = account.forecast("2026-08", rates=RATES, draws=200, refresh=False)
        assert any("so this forecast is not kept" in note for note in table.attrs["notes"])
        assert len(account.track_record(refresh=False)) == 3


def test_the_first_call_by_owner_loads_their_names(tmp_path: Path) -> None:
    with connected(tmp_path) as account:
        table = account.forecast("2026-Q3", rates=RATES, draws=50, method="constant", by="owner")
        assert table["owner_name"].notna().all()
        assert len(set(table["owner_name"])) > 1
        assert "(none)" not in set(account.track_record()["group"])


def test_a_seed_that_cannot_be_kept_is_refused_first(tmp_path: Path) -> None:
    with connected(tmp_path) as account:
        for by in (pd.Series(["x"], name="status"), 5):
            with pytest.raises(ArgumentError, match=r"by.* must be the name of a column"):
                account.forecast("2026-Q3", rates=RATES, by=by)  # type: ignore[arg-type]
        with pytest.raises(ArgumentError, match=r"seed=.* 64 bits"):
            account.forecast("2026-Q3", rates=RATES, seed=10**30)
        assert account.tokens_today == 0


class _InTwoDays(datetime):
    """A clock that is two days fast."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return datetime.now(tz) + timedelta(days=2)


def test_now_goes_on_after_the_last_sync_and_the_record_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    how: dict[str, Any] = {"rates": RATES, "draws": 50, "method": "constant"}
    with connected(tmp_path) as account:
        account.sync()
        account.forecast("2026-07", **how)
        monkeypatch.setattr("pdframe.cache.server_clock.datetime", _InTwoDays)
        later = account.forecast("2026-07", **how)
        assert pd.Timestamp(later.attrs["as_of"]) >= START + pd.Timedelta(days=2)
        assert later["period"].dt.month.tolist() == [7]
        record = account.track_record()
        assert record["period"].dt.month.tolist() == [6, 7, 7]
        # June is over by now; its last half day has not been loaded.
        assert record["actual"].isna().all()


def test_as_of_may_be_said_relative_to_now(forecast_twice: sandbox.SandboxAccount) -> None:
    how: dict[str, Any] = {"rates": RATES, "draws": 50, "method": "constant"}
    # Now is Sunday 13 September 2026.
    table = forecast_twice.forecast("2026-Q4", as_of="last Friday", **how)
    assert table.attrs["as_of"] == "2026-09-11T20:59:59.999999+00:00"
    with pytest.raises(ArgumentError, match="as_of='2026-12-01' is in the future"):
        forecast_twice.forecast("2026-Q4", as_of="2026-12-01", **how)
    today = forecast_twice.forecast("2026-Q4", as_of="today", **how)
    assert len(today) == len(table)
    with pytest.raises(ArgumentError, match="as_of='last Fryday' is not a time"):
        forecast_twice.forecast("2026-Q4", as_of="last Fryday", **how)


def test_until_may_be_said_relative_to_now(tmp_path: Path) -> None:
    with connected(tmp_path) as account:
        account.sync()
        said = account.forecast("this month", rates=RATES, draws=500)
        assert said["period"].dt.strftime("%Y-%m").to_list() == ["2026-06"]
        with pytest.raises(ArgumentError, match="until='thsi month' is not a time"):
            account.forecast("thsi month", rates=RATES, draws=500)


def test_other_choices_of_a_day_find_what_was_learned_and_an_edit_is_learned_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = 0

    def learn(*frames: Any, **how: Any) -> Learned:
        nonlocal times
        times += 1
        return learn_again(*frames, **how)

    learn_again = Learned.at
    monkeypatch.setattr("pdframe.history.forecasts.Learned.at", learn)
    how: dict[str, Any] = {"rates": RATES, "draws": 50}
    choices: list[dict[str, Any]] = [
        {"until": "2026-07"},
        {"until": "this quarter", "by": "owner"},
        {"until": "2026-09", "freq": "W"},
    ]
    with connected(tmp_path) as account:
        account.sync()
        # A custom column, which is not kept with what was learned.
        choices[2]["by"] = next(name for name in account.deals() if name.startswith("Region"))
        first, *others = (account.forecast(**choice, **how) for choice in choices)
        assert times == 1
        assert {other.attrs["as_of"] for other in others} == {first.attrs["as_of"]}
        loaded = account.deals(deleted=True, names=True), account.stage_visits(), account.stages()
        for choice, shown in zip(choices[1:], others, strict=True):
            until = "2026-06" if choice["until"] == "this quarter" else choice["until"]
            alone = metrics.forecast(
                *loaded,
                as_of=first.attrs["as_of"],
                history=account.deal_history(),
                **{"freq": "Q"} | how | choice | {"until": until},
            )
            pd.testing.assert_frame_equal(shown, alone)
        times = 1  # without those of the metric itself
        account.forecast("2026-07", seed=1, **how)
        account.forecast("2026-07", as_of="2026-05-31", **how)
        account.forecast("2026-09", as_of="2026-05", **how)
        assert times == 3
        # A renamed label of a standard column shows at once.
        named = {"until": "2026-09", "by": "channel", "refresh": False} | how
        renamed = account.forecast(**named)["channel"].dropna().iloc[0]
        options = account.company_model.field("deal", "channel")["options"]
        next(one for one in options if one["label"] == renamed)["label"] = "By carrier pigeon"
        account.fields("deals", refresh=True)
        shown = set(account.forecast(**named)["channel"].dropna())
        assert "By carrier pigeon" in shown
        assert renamed not in shown
        times = 3
        deals = account.deals()
        dearest = deals[deals["status"] == "open"].nlargest(1, "value")["id"].iloc[0]
        account.company_model.lose_deal(int(dearest))
        account.sync("deals")
        again = account.forecast("2026-07", **how)
        assert times == 4
        assert again["deals_open"].iloc[0] == first["deals_open"].iloc[0] - 1


def test_a_period_in_words_is_one_figure_with_what_was_won_in_it(tmp_path: Path) -> None:
    with connected(tmp_path) as account:
        how: dict[str, Any] = {"rates": RATES, "draws": 500}
        quarter = account.forecast("this quarter", **how)
        assert quarter["period"].tolist() == [pd.Timestamp("2026-04-01")]
        won = sum(won_in(account, month) for month in ("2026-04", "2026-05", "2026-06"))
        assert won > won_in(account, "2026-06") > 0
        assert quarter["won_already"].tolist() == pytest.approx([won])
        year = account.forecast("end of year", **how)
        assert year["period"].tolist() == [pd.Timestamp("2026-01-01")]
        assert account.forecast("next month", **how)["period"].dt.month.tolist() == [6, 7]
        # As written, periods are months; of those that are over a note says how to have them.
        months = account.forecast("2026-Q2", **how)
        assert months["period"].tolist() == [pd.Timestamp("2026-06-01")]
        assert months.attrs["notes"][0] == (
            "2026-04, 2026-05: over, so without a row. freq='Q' gives the whole, with what was won"
            " in them."
        )
        for until, length in (("this quarter", "M"), ("2026-Q2", "Q"), ("2026-07", None)):
            notes = account.forecast(until, freq=length, **how).attrs["notes"]
            assert any("without a row" in text for text in notes) == (until == "this quarter")
        ended = account.forecast("2026-Q2", as_of="2026-05-31", **how)
        assert ended["period"].tolist() == [pd.Timestamp("2026-06-01")]
        assert ended.attrs["notes"][0].startswith("2026-04, 2026-05: over")
        # Fiscal years from April, and quarters from February: June is in the first of the year,
        # and in May to July.
        for until, fiscal, begins, months in (
            ("this year", 4, "2026-04-01", ("2026-04", "2026-05", "2026-06")),
            ("end of year", 7, "2025-07-01", ("2026-06",)),
            ("this quarter", 2, "2026-05-01", ("2026-05", "2026-06")),
        ):
            one = account.forecast(until, fiscal_start=fiscal, **how)
            assert one["period"].tolist() == [pd.Timestamp(begins)]
            if until != "end of year":
                won = sum(won_in(account, month) for month in months)
                assert one["won_already"].tolist() == pytest.approx([won])
        coming = account.forecast("next quarter", fiscal_start=2, **how)
        assert coming["period"].dt.month.tolist() == [5, 8]
        record = account.track_record()
        assert set(record["freq"]) == {"M", "Q", "Y"}
