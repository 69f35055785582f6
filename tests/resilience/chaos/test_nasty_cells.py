"""Nasty cells put straight into the frames that metrics and charts take: a result or an error of
ours.
"""

from __future__ import annotations

import contextlib
import random
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from pdframe import metrics
from pdframe.errors import PdframeError
from tests.helpers import every_metric, hostile_checks

DAYS = [
    "0001-01-01",
    "1677-01-01",
    "1970-01-01",
    "2024-02-29",
    "2025-03-30T01:30",
    "2300-01-01",
    "9999-12-31",
]
NUMBERS = [
    np.inf,
    -np.inf,
    np.nan,
    1e308,
    -1e308,
    5e-324,
    -1.0,
    0.0,
    0.5,
    -100.0,
    -250.0,
    400.0,
    1e13,
]
INTEGERS = [pd.NA, -1, 0, 1, 2, 10**6, 2**53 + 1, 2**63 - 1, -(2**63) + 1]
TEXTS = [
    None,
    "",
    "\x00",
    "XXX",
    "1e400",
    "$\\frac{$",
    "<b>",
    "nan",
    " EUR",
    "M" * 10_000,
    "9999-12-31",
    "\u202eתירבע",
]
ZONES = ["UTC", "Pacific/Kiritimati", "America/Los_Angeles", "Europe/Berlin"]

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")


def nasty(dtype: Any, draw: random.Random) -> Any:
    """Return a value that a column of this dtype may hold."""
    if isinstance(dtype, pd.CategoricalDtype):
        return draw.choice([None, *dtype.categories])
    if dtype.kind == "M":
        moment = draw.choice([pd.NaT, *map(pd.Timestamp, DAYS)])
        return (
            moment.tz_localize("UTC")
            if isinstance(dtype, pd.DatetimeTZDtype) and moment is not pd.NaT
            else moment
        )
    kinds: dict[str, list[Any]] = {
        "f": NUMBERS,
        "i": INTEGERS,
        "u": INTEGERS,
        "b": [pd.NA, True, False],
    }
    return draw.choice(kinds.get(dtype.kind, TEXTS))


def with_nasty_cells(frame: pd.DataFrame, draw: random.Random, cells: int) -> pd.DataFrame:
    """Return the frame with some cells replaced, and now and then a column in another dtype."""
    frame = frame.copy()
    columns = [
        name
        for name in frame
        if len(name) < 30
        and frame[name].notna().any()
        and not str(frame[name].dtype).startswith("list")
    ]
    for name in draw.choices(columns, k=cells):
        if draw.random() < 0.05:
            # A copy, since pandas may leave the codes of a new categorical read-only.
            frame[name] = frame[name].astype(draw.choice(["object", "str", "category"])).copy()
        elif frame[name].dtype != object:
            frame.loc[frame.index[draw.randrange(len(frame))], name] = nasty(
                frame[name].dtype, draw
            )
    return frame


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pd.DataFrame]:
    with hostile_checks.loaded(tmp_path_factory.mktemp("clean"), nasty=False) as clean:
        return clean.frames


@pytest.mark.parametrize("seed", range(100))
def test_nasty_cells_give_a_result_or_an_error_of_ours(
    frames: dict[str, pd.DataFrame], seed: int
) -> None:
    draw = random.Random(seed)
    kept = {
        name: with_nasty_cells(frame, draw, draw.choice([1, 3, 10, 25]))
        for name, frame in frames.items()
    }
    tz = draw.choice(ZONES)
    with contextlib.suppress(PdframeError):
        kept["lines"] = metrics.mrr_lines(kept["deal_products"], kept["deals"], tz=tz)
    results: dict[str, Any] = {}
    for name, call in every_metric.CALLS.items():
        with contextlib.suppress(PdframeError):
            results[name] = call(kept, tz)
    assert "ecb_rates" in results
    for chart in every_metric.CHARTS.values():
        # A result that was refused has no chart.
        with contextlib.suppress(PdframeError, KeyError):
            chart(results).figure.canvas.draw()
        plt.close("all")
