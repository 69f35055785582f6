"""The dashboard: ipywidgets over the views. It shows one view at a time, for what is chosen."""

from __future__ import annotations

import base64
from typing import Any

import pandas as pd

from pdframe._warnings import collect_warnings
from pdframe.dashboard._data import Data
from pdframe.dashboard._parts import View, escaped, lines
from pdframe.dashboard.pictures import Theme, png
from pdframe.dashboard.state import State, period_of
from pdframe.dashboard.views import VIEWS, main_currency, view
from pdframe.errors import PdframeError

__all__ = ["dashboard"]

_ALL = "all"
_PERIODS = {
    "last 90 days": None,
    "this month": "this month",
    "last month": "last month",
    "this quarter": "this quarter",
    "last quarter": "last quarter",
    "this year": "this year",
}


def dashboard(data: Data, *, theme: Theme = "light") -> Any:
    """Make the widget of some frames: controls, a status line, and the chosen view.

    Parameters
    ----------
    data
        What `collect` returns.
    theme
        Colours of the charts.
    """
    import ipywidgets

    shown: dict[tuple[str, State], str] = {}
    deals = data.deals
    key = ipywidgets.ToggleButtons(options=[(title, key) for key, (title, _) in VIEWS.items()])
    period = ipywidgets.Dropdown(options=list(_PERIODS), description="Period")
    pipeline = _choice("Pipeline", data.pipelines, "id", "name")
    owner = _choice("Owner", deals, "owner_id", "owner_name")
    currencies = sorted(map(str, deals["currency"].dropna().unique()))
    main = main_currency(data)
    currency = ipywidgets.Dropdown(
        options=currencies, value=main if main in currencies else None, description="In"
    )
    status = ipywidgets.HTML()
    content = ipywidgets.HTML()

    def show(*_: object) -> None:
        state = State(
            period_of(_PERIODS[period.value], data.now, data.tz),
            pipeline_id=pipeline.value,
            owner_id=owner.value,
            currency=currency.value,
        )
        chosen = key.value, state
        if chosen not in shown:
            status.value = _status(f"Computing {VIEWS[key.value][0]} ...")
            shown[chosen] = _html(view(key.value, data, state), theme)
        content.value = shown[chosen]
        status.value = _status(f"{VIEWS[key.value][0]}, {state.period.text}")

    for control in (key, period, pipeline, owner, currency):
        control.observe(show, "value")
    show()
    controls = ipywidgets.HBox([period, pipeline, owner, currency])
    box = ipywidgets.VBox([controls, key, status, content])
    box.add_class("pdframe-dashboard")
    return box


def _choice(label: str, frame: pd.DataFrame, number: str, name: str) -> Any:
    """Make a control of the ids that a frame holds, by their names."""
    import ipywidgets

    rows = frame[[number, name]].dropna(subset=[number]).drop_duplicates(number)
    options = [
        (f"{row[number]}" if pd.isna(row[name]) else f"{row[name]} ({row[number]})", row[number])
        for _, row in rows.sort_values(name, kind="stable").iterrows()
    ]
    numbers: list[tuple[str, int | None]] = [(text, int(one)) for text, one in options]
    return ipywidgets.Dropdown(options=[(_ALL, None), *numbers], value=None, description=label)


def _status(text: str) -> str:
    return f'<div role="status">{escaped(text)}</div>'


def _html(one: View, theme: Theme) -> str:
    """Return a view as HTML: figures, charts as PNG, tables, notes, code."""
    figures = "".join(
        f"<li>{escaped(figure.label)}: <b>{escaped(figure.value)}</b>"
        f" {escaped(figure.change)} {escaped(figure.note)}</li>"
        for figure in one.figures
    )
    parts = [f"<ul>{figures}</ul>" if figures else ""]
    notes = list(one.notes)
    for chart in one.charts:
        try:
            with collect_warnings():
                picture = base64.b64encode(png(chart, theme)).decode("ascii")
        except PdframeError as error:
            notes.append(f"{chart.title}: {error}")
        else:
            alt = escaped(chart.title)
            parts.append(f'<img alt="{alt}" width="690" src="data:image/png;base64,{picture}">')
    parts += [table.html() for table in one.tables if len(table.rows)]
    parts += [f"<p>{escaped(note)}</p>" for note in notes]
    if one.code:
        parts.append(f"<pre>{lines(one.code)}</pre>")
    return "".join(parts)
