"""Load a hostile account and a clean one, and compare what everything public says of both."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import pdframe
from pdframe.errors import DataWarning
from pdframe.schema import TABLES
from tests.helpers import every_metric, hostile

LOADERS = [name for name in TABLES if not name.endswith("_fields")]
SHOWN_BESIDE = {"stage_visits", "deal_history", "line_history"}
"""Methods without a table of their own that give frames and need no argument."""
MAY_BE_EMPTY = {"changes", "changes_summary"}
"""Metrics with a row a change: a deal whose snapshot is the only one has none after it."""
ADDED_UP = {
    "attainment",
    "backtest",
    "calibration",
    "forecast",
    "forecast_change_deals",
    "forecast_changes",
    "forecast_deals",
    "forecast_draws",
    "activity_summary kept",
    "activity_summary_activities kept",
    "lost_reasons kept",
    "mrr_movements",
    "sales_by_period rates",
    "sales_velocity",
    "weighted_pipeline",
    "what_if",
    "win_rate created",
}
"""Calls that add clean and nasty rows up in one figure; each has another with `by=`. A forecast
learns from all rows.
"""
ZONES = ["UTC", "Pacific/Kiritimati", "America/Los_Angeles"]
"""The second is 14 hours ahead of UTC."""


@dataclass
class Loaded:
    account: pdframe.Account
    tables: dict[tuple[str, bool], pd.DataFrame]
    frames: dict[str, pd.DataFrame]


def _load(account: pdframe.Account, *, nasty: bool) -> Loaded:
    """Load everything; warnings about the data are expected, any other is an error."""
    ids = [*hostile.PARENTS[False], *(hostile.PARENTS[True] if nasty else ())]
    tables = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DataWarning)
        for name in LOADERS:
            for labels in (True, False):
                requested = () if TABLES[name].parent is None else (ids,)
                tables[name, labels] = getattr(account, name)(*requested, labels=labels)
        for name in SHOWN_BESIDE:
            tables[name, True] = getattr(account, name)()
        return Loaded(account, tables, every_metric.frames_of(account, "2026-06-30", ids))


@contextlib.contextmanager
def loaded(folder: Path, *, nasty: bool, **how: Any) -> Iterator[Loaded]:
    """Run a server of the account and load everything into a cache in `folder`."""
    with (
        hostile.running(nasty=nasty, **how) as server,
        pdframe.connect(
            base_url=server.url, api_token="k" * 40, cache_dir=folder, max_age=None, progress=False
        ) as account,
    ):
        yield _load(account, nasty=nasty)


def compare_tables(clean: Loaded, hurt: Loaded) -> None:
    """Demand that clean rows load as they do alone."""
    for (name, labels), frame in clean.tables.items():
        other = hurt.tables[name, labels]
        assert len(other) > len(frame) or name == "phases", name
        assert frame.attrs.get("tz", "UTC") == "UTC"
        if name in TABLES:
            other = hostile.clean_rows_of(TABLES[name], other)
        else:
            frame, other = hostile.clean_rows(frame), hostile.clean_rows(other)
        # What the nasty rows bring along that nothing declares is a column of its own.
        assert every_metric.difference(frame, other[frame.columns]) == "", (name, labels)


def compare_metrics(clean: Loaded, hurt: Loaded, tz: str) -> dict[str, Any]:
    """Compute every metric, compare what it says of clean rows, and return the results."""
    results: dict[str, Any] = {}
    for name, call in every_metric.CALLS.items():
        result, expected = call(hurt.frames, tz), call(clean.frames, tz)
        results[name] = result
        pairs = (
            zip(result, expected, strict=True)
            if isinstance(result, tuple)
            else [(result, expected)]
        )
        for one, other in pairs:
            assert len(one) > 0 or name.split()[0] in MAY_BE_EMPTY, name
            if not name.startswith(("convert", "as_of", "drill")):
                for column in one.select_dtypes("float64").drop(
                    columns="entry_days", errors="ignore"
                ):
                    assert not np.isinf(one[column]).any(), (name, column)
            if name.startswith("data_quality"):
                ids = [
                    [[i for i in some if i in hostile.CLEAN] for some in frame["ids"]]
                    for frame in (one, other)
                ]
                assert ids[0] == ids[1], name
            elif name not in ADDED_UP:
                left, right = (hostile.clean_rows(frame) for frame in (other, one))
                # The nasty lines may end later than all others: further months are made then.
                kept = right.head(len(left)) if name == "committed_mrr" else right
                assert every_metric.difference(left, kept[left.columns]) == "", (name, tz)
    return results


def draw_charts(results: dict[str, Any]) -> None:
    for name, chart in every_metric.CHARTS.items():
        ax = chart(results)
        ax.figure.canvas.draw()
        assert ax.has_data() or ax.texts, name
        plt.close("all")
