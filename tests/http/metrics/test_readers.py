"""The frames of one account through the readers that people use: every metric gives the same, or
says what is lost and what to do.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pdframe import metrics, sandbox
from pdframe.errors import ArgumentError, DataWarning
from pdframe.metrics._arguments import TEXT
from pdframe.schema import TABLES
from tests.helpers import every_metric

EXPORTED = {
    "deals": "deals",
    "visits": "stage_visits",
    "stages": "stages",
    "pipelines": "pipelines",
    "deal_products": "deal_products",
    "installments": "installments",
    "discounts": "discounts",
}
"""Frames that the export writes; the others are written with pandas."""


def _polars(path: Path, **how: Any) -> pd.DataFrame:
    return polars.read_parquet(path).to_pandas(**how)


def _json(path: Path, **how: Any) -> pd.DataFrame:
    text = pd.read_parquet(path).to_json(orient="records", double_precision=15, **how)
    return pd.read_json(io.StringIO(text), orient="records")


def _pickle(path: Path) -> pd.DataFrame:
    kept = io.BytesIO()
    pd.read_parquet(path).to_pickle(kept)
    kept.seek(0)
    return pd.read_pickle(kept)  # noqa: S301 - written here


READERS: dict[str, tuple[str, Callable[[Path], pd.DataFrame]]] = {
    "parquet": ("parquet", pd.read_parquet),
    "parquet, nullable": (
        "parquet",
        lambda path: pd.read_parquet(path, dtype_backend="numpy_nullable"),
    ),
    "parquet, Arrow": ("parquet", lambda path: pd.read_parquet(path, dtype_backend="pyarrow")),
    "types_mapper": (
        "parquet",
        lambda path: pq.read_table(path).to_pandas(types_mapper=pd.ArrowDtype),
    ),
    "Polars": ("parquet", _polars),
    "Polars, Arrow": ("parquet", lambda path: _polars(path, use_pyarrow_extension_array=True)),
    "DuckDB": ("parquet", lambda path: duckdb.sql(f"select * from '{path}'").df()),
    "DuckDB through Arrow": (
        "parquet",
        lambda path: _table(duckdb.sql(f"select * from '{path}'").arrow()).to_pandas(),
    ),
    "CSV": ("csv", pd.read_csv),
    "CSV, nullable": ("csv", lambda path: pd.read_csv(path, dtype_backend="numpy_nullable")),
    "CSV, Arrow": ("csv", lambda path: pd.read_csv(path, dtype_backend="pyarrow")),
    "JSON": ("parquet", lambda path: _json(path, date_format="iso")),
    "pickle": ("parquet", _pickle),
}


def _table(matches: Any) -> pa.Table:
    return matches.read_all() if isinstance(matches, pa.RecordBatchReader) else matches


@pytest.fixture(scope="module")
def material(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Path, dict[str, pd.DataFrame], dict[str, Any]]]:
    """Files of every frame in both formats, the loaders' frames, and what each metric makes of
    these.
    """
    folder = tmp_path_factory.mktemp("files")
    with (
        warnings.catch_warnings(),
        sandbox.connect(
            seed=3, deals=60, company="hostile", burst=100_000, progress=False
        ) as account,
    ):
        warnings.simplefilter("ignore", DataWarning)
        account.deal_changes(account.deals()["id"].head(20).tolist())
        lines = account.deal_products()["id"].tolist()
        account.advance(3)
        for number, line in enumerate(lines):
            if number % 3 == 0:
                account.company_model.edit_line(line, quantity=number + 0.5)
            elif number % 3 == 1:
                account.company_model.remove_line(line)
        account.sync("deals", "deal_products")
        frames = every_metric.frames_of(account, "2026-07-03")
        for format in ("parquet", "csv"):
            account.export(
                folder / format, *EXPORTED.values(), format=format, refresh=False, labels=False
            )
            for name, file in EXPORTED.items():
                (folder / format / f"{file}.{format}").rename(
                    folder / format / f"frame-{name}.{format}"
                )
        for name in frames.keys() - EXPORTED.keys():
            lists = [
                column
                for column in frames[name]
                if str(frames[name][column].dtype).startswith("list")
            ]
            kept = frames[name].drop(columns=lists)
            kept.to_parquet(folder / "parquet" / f"frame-{name}.parquet")
            kept.to_csv(folder / "csv" / f"frame-{name}.csv", index=False)
        # The times of an exported CSV file are UTC without saying so.
        expected = {name: call(frames, "UTC") for name, call in every_metric.CALLS.items()}
    assert {"changed", "removed"} <= {*expected["mrr_lines history"]["end_reason"]}
    yield folder, frames, expected
    plt.close("all")


def test_no_metric_and_no_chart_is_left_out() -> None:
    assert every_metric.names_missing() == set()
    assert len(READERS) == 13


@pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")
# DuckDB's own call of pandas.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning")
@pytest.mark.parametrize("reader", READERS)
def test_every_metric_reads_every_reader(reader: str, material: Any) -> None:
    folder, frames, expected = material
    format, read = READERS[reader]
    back = {name: read(folder / format / f"frame-{name}.{format}") for name in frames}
    for name, call in every_metric.CALLS.items():
        assert every_metric.difference(expected[name], call(back, "UTC")) == "", (reader, name)


def as_text(column: pd.Series[Any]) -> pd.Series[Any]:
    return column.astype("str").astype(object).where(column.notna(), None)


def other_dtypes(frame: pd.DataFrame) -> pd.DataFrame:
    """Text as categories, times in nanoseconds."""
    text = {
        name: frame[name].astype("category")
        for name in frame
        if isinstance(frame[name].dtype, pd.StringDtype)
    }
    times = {
        name: frame[name].dt.as_unit("ns")
        for name in frame
        if frame[name].dtype.kind == "M" and frame[name].max().year < 2200
    }
    return frame.assign(**text, **times)


def shuffled(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows in another order, vocabularies as text."""
    words = {
        name: as_text(frame[name])
        for name in frame
        if isinstance(frame[name].dtype, pd.CategoricalDtype)
    }
    return frame.assign(**words).sample(frac=1, random_state=5)


OTHERWISE: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "one index for all rows": (
        lambda frame: other_dtypes(frame).set_axis(pd.Index([3] * len(frame)), axis=0)
    ),
    "another order": shuffled,
    "objects": lambda frame: frame.astype(object),
    "all as text": lambda frame: frame.assign(
        **{
            name: as_text(frame[name])
            for name in frame
            if not str(frame[name].dtype).startswith("list")
        }
    ),
}
W, AS_OF = every_metric.WINDOW, every_metric.AS_OF
BY_TEXT: dict[str, Callable[[every_metric.Frames], pd.DataFrame]] = {
    "changes_summary": lambda f: metrics.changes_summary(
        metrics.changes(f["changes"], f["deals"], **every_metric.LATELY, stages=f["stages"]),
        by="title",
    ),
    "funnel": lambda f: metrics.funnel(
        f["visits"], f["stages"], as_of=AS_OF, pipeline_id=1, by="currency", deals=f["deals"]
    ),
    "lost_reasons": lambda f: metrics.lost_reasons(f["deals"], **W, by="origin"),
    "sales_by_period": lambda f: metrics.sales_by_period(f["deals"], **W, by="origin"),
    "sales_velocity": lambda f: metrics.sales_velocity(f["deals"], **W, by=["currency", "origin"]),
    "slippage": lambda f: metrics.slippage(
        f["changes"], f["deals"], **every_metric.LATELY, by="title"
    ),
    "stage_moves": lambda f: metrics.stage_moves(
        f["visits"], f["stages"], as_of=AS_OF, pipeline_id=1, by="currency", deals=f["deals"]
    ),
    "stage_velocity": lambda f: metrics.stage_velocity(
        f["visits"], f["stages"], as_of=AS_OF, by="currency", deals=f["deals"]
    ),
    "weighted_pipeline": lambda f: metrics.weighted_pipeline(
        f["deals"], f["stages"], f["pipelines"], as_of=every_metric.LATER, by="currency"
    ),
    "win_rate": lambda f: metrics.win_rate(f["deals"], **W, by="currency", freq="Q"),
}
"""Metrics by columns that are text."""


def listed_backwards(frame: pd.DataFrame, *, in_arrow: bool) -> pd.DataFrame:
    """Text as categories, or as a dictionary of Arrow, that list it backwards."""
    columns: dict[str, Any] = {}
    for name in frame:
        if isinstance(frame[name].dtype, pd.StringDtype):
            words = sorted(frame[name].dropna().unique(), reverse=True)
            coded = pd.Categorical(frame[name], words)
            array = pa.DictionaryArray.from_arrays(
                pa.array(coded.codes, mask=coded.codes < 0), pa.array(words, pa.string())
            )
            columns[name] = (
                pd.arrays.ArrowExtensionArray(pa.chunked_array([array])) if in_arrow else coded
            )
    # All at once: pandas warns of frames to which many columns are added.
    result = pd.concat(
        [pd.Series(columns.get(name, frame[name]), frame.index, name=name) for name in frame],
        axis=1,
    )
    result.attrs = frame.attrs
    return result


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")
@pytest.mark.parametrize("in_arrow", [False, True], ids=["categories", "Arrow"])
def test_groups_of_text_are_in_its_order_however_a_reader_lists_it(
    in_arrow: bool, material: Any
) -> None:
    frames = material[1]
    other = {name: listed_backwards(frame, in_arrow=in_arrow) for name, frame in frames.items()}
    for name, call in BY_TEXT.items():
        expected = call(frames)
        assert len(expected) > 1, name
        pd.testing.assert_frame_equal(call(other), expected, obj=name)


def test_columns_of_text_are_text_in_deals_and_no_custom_field_has_such_a_name(
    material: Any,
) -> None:
    deals = material[1]["deals"]
    assert TABLES["deals"].reserved >= TEXT
    shown = TEXT & {*deals.columns}
    assert shown >= {"currency", "title", "origin", "lost_reason", "owner_name", "stage_name"}
    for name in shown:
        assert isinstance(deals[name].dtype, pd.StringDtype), name


def test_options_and_an_order_that_was_set_keep_their_order(material: Any) -> None:
    deals = material[1]["deals"]
    sizes = pd.Categorical.from_codes(deals["id"] % 3, ["Small", "Medium", "Large"])
    stages = sorted(deals["stage_name"].dropna().unique(), reverse=True)
    own = deals.assign(
        type=sizes, stage_name=pd.Categorical(deals["stage_name"], stages, ordered=True)
    )
    by_size = metrics.sales_by_period(own, **W, freq="Y", by="type")
    assert by_size["type"].drop_duplicates().tolist() == ["Small", "Medium", "Large"]
    by_stage = metrics.sales_by_period(own, **W, freq="Y", by="stage_name")["stage_name"]
    in_order = [name for name in stages if name in {*by_stage.dropna()}]
    assert len(in_order) > 1
    assert by_stage.drop_duplicates().dropna().tolist() == in_order


IN_ORDER_OF_ROWS = {
    "as_of",
    "as_of by changes",
    "convert",
    "drill_through",
    "drill_through to lines",
    "mrr_lines",
    "mrr_lines history",
    "reconcile",
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")
@pytest.mark.parametrize("how", OTHERWISE)
def test_every_metric_minds_neither_order_nor_index_nor_dtype(how: str, material: Any) -> None:
    _, frames, expected = material
    other = {name: OTHERWISE[how](frame) for name, frame in frames.items()}
    for name, call in every_metric.CALLS.items():
        matches = call(other, "UTC")
        if how == "another order" and name.removesuffix(" kept") in IN_ORDER_OF_ROWS:
            continue
        assert every_metric.difference(expected[name], matches) == "", (how, name)


@pytest.mark.filterwarnings(
    "ignore::pdframe.errors.DataWarning", "ignore:'epoch' date format:DeprecationWarning"
)
def test_days_that_json_made_numbers_are_refused_with_what_to_do(material: Any) -> None:
    """Milliseconds since 1970 are no times to a reader: what was a day looks like a
    count.
    """
    folder, frames, expected = material
    back = {
        name: _json(folder / "parquet" / f"frame-{name}.parquet", date_format="epoch")
        for name in frames
    }
    refused = 0
    for name, call in every_metric.CALLS.items():
        matches = result_or_refusal(call, back)
        if isinstance(matches, str):
            assert "pandas.to_datetime" in matches, name
            refused += 1
        elif name not in (
            "as_of",
            "as_of by changes",
            "convert",
        ):  # these give the columns back as they were given
            assert every_metric.difference(expected[name], matches) == "", name
    assert refused


def result_or_refusal(call: Callable[..., Any], frames: dict[str, pd.DataFrame]) -> Any:
    try:
        return call(frames, "UTC")
    except ArgumentError as error:
        return str(error)


DRAWN = (
    "activity_summary",
    "backtest",
    "billing_schedule",
    "calibration",
    "changes_summary",
    "deal_aging",
    "forecast",
    "forecast_changes",
    "funnel",
    "lost_reasons",
    "mrr_movements",
    "mrr_schedule",
    "pipeline_movements",
    "revenue_cohorts",
    "sales_by_period",
    "stage_moves",
    "stage_survival",
    "stage_velocity",
    "top_customers",
    "weighted_pipeline",
)


@pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")
@pytest.mark.parametrize("backend", ["pyarrow", "numpy_nullable"])
def test_charts_draw_results_of_any_dtype(backend: Any, material: Any) -> None:
    results = {name: material[2][name] for name in DRAWN}
    others = {name: kept.convert_dtypes(dtype_backend=backend) for name, kept in results.items()}
    for name, chart in every_metric.CHARTS.items():
        plain, other = chart(results), chart(others)
        assert [text.get_text() for text in plain.texts] == [
            text.get_text() for text in other.texts
        ], name
        boxes = [
            np.array([patch.get_extents().bounds for patch in ax.patches]) for ax in (plain, other)
        ]
        assert boxes[0].shape == boxes[1].shape, name
        plt.close("all")


def test_an_exported_file_names_the_timezone_of_its_account(material: Any) -> None:
    folder = material[0]
    # What today is would be another content each day.
    assert pd.read_parquet(folder / "parquet" / "frame-deals.parquet").attrs == {
        "tz": "Europe/Tallinn"
    }
