"""A view as HTML for a notebook: live under the controls, and static where no kernel answers.

All text of the account is escaped: neither widgets nor exported notebooks sanitise HTML.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace

import pandas as pd

from pdframe._warnings import collect_warnings
from pdframe.dashboard._chosen import like
from pdframe.dashboard._data import Data
from pdframe.dashboard._parts import (
    Figure,
    Table,
    View,
    amount,
    escaped,
    table,
    trend_line,
    unbroken,
)
from pdframe.errors import PdframeError

__all__ = ["STYLE", "Drawn", "deals_of", "drawn", "failure", "static", "status"]

_ALONE, _BESIDE = 7.2, 5.6
"""Width of a chart, in inches."""
MOST_DEALS = 100
"""Rows of a list of deals."""
_LIGHT = """--pd-paper: #ffffff; --pd-ink: #1d2125; --pd-faint: #566069; --pd-line: #d5d9de;
  --pd-link: #0b57a4; --pd-soft: #f4f6f8; --pd-accent: #0b57a4; --pd-on-accent: #ffffff;
  --pd-alarm: #a3231b; color-scheme: light;"""
_DARK = """--pd-paper: #16191d; --pd-ink: #e8e8e8; --pd-faint: #a5adb8; --pd-line: #3b424b;
  --pd-link: #7db8f5; --pd-soft: #20252b; --pd-accent: #7db8f5; --pd-on-accent: #10151a;
  --pd-alarm: #ff9d94; color-scheme: dark;"""
_COMMON = """
.pdframe-dashboard { background: var(--pd-paper); color: var(--pd-ink); padding: 16px 18px;
  border: 1px solid var(--pd-line); border-radius: 8px; max-width: 1280px; box-sizing: border-box;
  font: 14px/1.45 var(--jp-ui-font-family, system-ui, sans-serif); overflow-wrap: break-word; }
.pdframe-dashboard * { box-sizing: border-box; }
.pdframe-dashboard a { color: var(--pd-link); }
.pdframe-dashboard h2.pd-title { font-size: 20px; line-height: 1.25; margin: 0; padding: 0;
  color: var(--pd-ink); font-weight: 650; border: 0; }
.pdframe-dashboard .pd-faint { color: var(--pd-faint); }
.pdframe-dashboard .pd-stale { margin: 2px 0 0; font-weight: 600; }
.pdframe-dashboard .pd-title + .pd-faint { margin: 2px 0 0; }
.pdframe-dashboard .pd-view { container-type: inline-size; }
.pdframe-dashboard .pd-figures { display: flex; flex-flow: row wrap; gap: 10px;
  margin: 4px 0 14px; padding: 0; }
.pdframe-dashboard .pd-figures > div { border: 1px solid var(--pd-line); border-radius: 8px;
  padding: 8px 11px; background: var(--pd-soft); margin: 0; flex: 1 1 118px; max-width: 460px; }
.pdframe-dashboard .pd-figures dt { color: var(--pd-faint); font-size: 12.5px; font-weight: 400;
  margin: 0; padding: 0; float: none; width: auto; display: flex; gap: 6px;
  justify-content: space-between; }
.pdframe-dashboard .pd-figures svg { width: 44px; height: 16px; flex: none; margin-top: 1px;
  color: var(--pd-accent); }
.pdframe-dashboard .pd-figures dd { margin: 0; padding: 0; width: auto; float: none; }
.pdframe-dashboard .pd-value { font-size: 21px; font-weight: 650; line-height: 1.35;
  letter-spacing: -.01em; }
@container (max-width: 1100px) { .pdframe-dashboard .pd-figures > div { flex-basis: 21%; } }
@container (max-width: 560px) { .pdframe-dashboard .pd-figures > div { flex-basis: 40%; } }
.pdframe-dashboard .pd-before { font-size: 12.5px; color: var(--pd-faint); }
.pdframe-dashboard .date { white-space: nowrap; }
.pdframe-dashboard .pd-before b { color: var(--pd-ink); font-weight: 600; }
.pdframe-dashboard .pd-charts { display: grid; gap: 14px; margin: 0 0 6px;
  grid-template-columns: repeat(auto-fit, minmax(min(430px, 100%), 1fr)); }
.pdframe-dashboard .pd-chart { border: 1px solid var(--pd-line); border-radius: 8px;
  padding: 10px 12px; min-width: 0; max-width: 760px; }
.pdframe-dashboard .pd-chart img { width: 100%; height: auto; max-width: 720px; margin: 0;
  background: none; padding: 0; }
.pdframe-dashboard .pd-chart figure, .pdframe-dashboard figure.pd-picture { margin: 0; }
.pdframe-dashboard .pd-on-light { display: block; }
.pdframe-dashboard .pd-on-dark { display: none; }
.pdframe-dashboard details { margin: 6px 0; }
.pdframe-dashboard summary { cursor: pointer; color: var(--pd-link); padding: 2px 0; }
.pdframe-dashboard .pd-table { overflow-x: auto; margin: 8px 0 12px; }
.pdframe-dashboard table { border-collapse: collapse; width: 100%; font-size: 13px; margin: 0;
  color: var(--pd-ink); border: 0; table-layout: auto; }
.pdframe-dashboard caption { text-align: left; padding: 4px 0; color: var(--pd-faint);
  caption-side: top; }
.pdframe-dashboard .pd-table th, .pdframe-dashboard .pd-table td { text-align: left;
  vertical-align: top;
  padding: 4px 12px 4px 0; border: 0; border-bottom: 1px solid var(--pd-line); max-width: 26rem;
  white-space: normal; background: none; line-height: 1.4; }
.pdframe-dashboard .pd-table th { font-weight: 600; }
.pdframe-dashboard tbody tr, .pdframe-dashboard thead, .pdframe-dashboard tbody tr:hover {
  background: none; border: 0; }
.pdframe-dashboard .pd-table .number { text-align: right; font-variant-numeric: tabular-nums;
  white-space: nowrap; }
.pdframe-dashboard .pd-note { color: var(--pd-faint); margin: 4px 0; }
.pdframe-dashboard .pd-error { border: 1px solid var(--pd-alarm); border-radius: 8px;
  padding: 10px 14px; margin: 6px 0; }
.pdframe-dashboard .pd-error b { color: var(--pd-alarm); }
.pdframe-dashboard .pd-error p { margin: 4px 0 0; }
"""
_LIVE = """
.pdframe-dashboard, .pdframe-dashboard .widget-box { overflow: visible; }
.pdframe-dashboard .widget-html, .pdframe-dashboard .widget-html-content { margin: 0; width: auto;
  height: auto; max-width: 100%; color: var(--pd-ink); font-size: 14px; line-height: 1.45;
  overflow: visible; }
.pdframe-dashboard .widget-html-content { flex: 1 1 100%; min-width: 0; padding: 0; }
.pdframe-dashboard .pd-style { display: none; }
.pdframe-dashboard .pd-top { display: flex; flex-flow: row; align-items: flex-start; gap: 12px; }
.pdframe-dashboard .pd-top > .widget-html { flex: 1 1 auto; min-width: 0; }
.pdframe-dashboard .pd-busy { opacity: .45; }
.pdframe-dashboard .pd-controls { display: flex; flex-flow: row wrap; gap: 10px 12px;
  margin: 12px 0 10px; align-items: flex-end; }
.pdframe-dashboard .pd-controls > *, .pdframe-dashboard .pd-list > .widget-dropdown {
  flex-direction: column; align-items: stretch; height: auto; width: auto; margin: 0;
  flex: 1 1 130px; min-width: 120px; max-width: 240px; }
.pdframe-dashboard .widget-label { color: var(--pd-faint); font-size: 12.5px; text-align: left;
  width: auto; height: auto; line-height: 1.5; margin: 0; padding: 0; max-width: none; }
.pdframe-dashboard select, .pdframe-dashboard input, .pdframe-dashboard textarea {
  background: var(--pd-soft); color: var(--pd-ink); border: 1px solid var(--pd-line);
  border-radius: 6px; height: 32px; padding: 0 8px; font-size: 14px; width: 100%; flex: none;
  background-image: none; appearance: auto; box-shadow: none; }
.pdframe-dashboard .widget-text input[type="number"] { height: 32px; background: var(--pd-soft);
  color: var(--pd-ink); border: 1px solid var(--pd-line); border-radius: 6px; font-size: 14px; }
.pdframe-dashboard option { background: var(--pd-paper); color: var(--pd-ink); }
.pdframe-dashboard select:disabled { opacity: 1; color: var(--pd-faint); }
.pdframe-dashboard textarea { height: auto; padding: 8px 10px; white-space: pre; resize: vertical;
  font: 12.5px/1.5 var(--jp-code-font-family, ui-monospace, monospace); overflow: auto; }
.pdframe-dashboard .jupyter-button { background: var(--pd-soft); color: var(--pd-ink);
  border: 1px solid var(--pd-line); border-radius: 6px; height: 32px; line-height: 30px;
  font-family: inherit;
  padding: 0 12px; font-size: 14px; width: auto; min-width: 0; margin: 0; box-shadow: none;
  flex: none; overflow: visible; }
.pdframe-dashboard .jupyter-button:hover { border-color: var(--pd-accent); box-shadow: none; }
.pdframe-dashboard .jupyter-button.mod-active { background: var(--pd-accent);
  color: var(--pd-on-accent); border-color: var(--pd-accent); box-shadow: none; }
.pdframe-dashboard :is(select, input, textarea, button, summary, a, .pd-table):focus-visible {
  outline: 2px solid var(--pd-accent); outline-offset: 2px; }
.pdframe-dashboard .widget-toggle-buttons { width: auto; height: auto; margin: 0; }
.pdframe-dashboard .widget-toggle-buttons > div { display: flex; flex-flow: row wrap; gap: 6px;
  margin: 0; }
.pdframe-dashboard .pd-status { color: var(--pd-faint); font-size: 13px; min-height: 26px;
  padding: 6px 0 0; }
.pdframe-dashboard .pd-spinner { display: inline-block; width: 12px; height: 12px;
  margin-right: 7px; vertical-align: -1px; border-radius: 50%; border: 2px solid var(--pd-line);
  border-top-color: var(--pd-accent); animation: pd-turn .8s linear infinite; }
@keyframes pd-turn { to { transform: rotate(360deg); } }
@media (prefers-reduced-motion: reduce) { .pdframe-dashboard .pd-spinner { animation: none; } }
.pdframe-dashboard .pd-list, .pdframe-dashboard .pd-code { display: flex; flex-flow: column;
  gap: 6px; border-top: 1px solid var(--pd-line); padding-top: 10px; margin: 6px 0 0;
  align-items: stretch; }
.pdframe-dashboard .pd-list .pd-table { max-height: 420px; overflow-y: auto; }
.pdframe-dashboard .pd-list > .widget-dropdown { max-width: 420px; flex: none; }
.pdframe-dashboard .pd-code > .jupyter-button { align-self: flex-start; }
.pdframe-dashboard .pd-code .widget-textarea { flex-direction: column; width: 100%; height: auto;
  margin: 0; align-items: stretch; }
@media (max-width: 600px) {
  .pdframe-dashboard { padding: 12px 10px; }
  .pdframe-dashboard .pd-controls > * { flex: 1 1 45%; max-width: none; }
}
"""
_ON_DARK = "{at} .pd-on-dark {{ display: block; }} {at} .pd-on-light {{ display: none; }}"
_DARK_LAB = 'body[data-jp-theme-light="false"] .pdframe-dashboard'
# Pages without a theme of JupyterLab follow the reader's setting; so does Voilà, whose theme is
# light where the reader of the page cannot choose it.
_FREE = "body:is([data-voila], :not([data-jp-theme-light])) .pdframe-dashboard"
_VOILA_DARK = """body[data-voila] { --jp-layout-color0: #16191d; --jp-layout-color1: #101317;
  --jp-content-font-color1: #e8e8e8; --jp-ui-font-color1: #e8e8e8; background: #101317; }"""

STYLE = (
    f".pdframe-dashboard {{ {_LIGHT} }}{_COMMON}{_LIVE}"
    f"{_DARK_LAB} {{ {_DARK} }}{_ON_DARK.format(at=_DARK_LAB)}"
    f"@media (prefers-color-scheme: dark) {{ {_FREE} {{ {_DARK} }}{_ON_DARK.format(at=_FREE)}"
    f" {_VOILA_DARK} }}"
)
"""Of the live dashboard, in both themes."""
_STATIC_STYLE = f".pdframe-dashboard.pdframe-static {{ {_LIGHT} }}{_COMMON}"


@dataclass(frozen=True, slots=True)
class Drawn:
    """A view that is drawn.

    Attributes
    ----------
    view
        The view, without what draws its charts.
    live
        Its HTML, with charts for light and for dark themes.
    static
        Its HTML with light charts, and every table open.
    """

    view: View
    live: str
    static: str


def drawn(one: View) -> Drawn:
    """Draw the charts of a view, for both themes."""
    notes = list(one.notes)
    pictures: dict[str, tuple[str, str]] = {}
    # Two stand side by side: drawn narrower, their text is as large as that of one.
    width = _ALONE if len(one.charts) == 1 else _BESIDE
    for chart in one.charts:
        from pdframe.dashboard.pictures import pngs

        try:
            with collect_warnings():
                light, dark = map(_address, pngs(chart, width))
        except PdframeError as error:
            notes.append(f"{chart.title}: {error}")
        else:
            pictures[chart.title] = light, dark
    live, still = (_html(one, pictures, notes, is_static=each) for each in (False, True))
    return Drawn(replace(one, charts=()), live, still)


def static(company: str, said: str, content: str, name: str) -> str:
    """Return a dashboard that needs no kernel, no script and no network.

    Parameters
    ----------
    company
        Its title.
    said
        What is shown, and as of when.
    content
        `Drawn.static`.
    name
        A class of its own, by which the live dashboard hides it.
    """
    return (
        f'<div class="pdframe-dashboard pdframe-static {escaped(name)}">'
        f"<style>{_STATIC_STYLE}</style>{header(company, said)}{content}</div>"
    )


def header(company: str, said: str, stale: str = "") -> str:
    """Return the title, what is shown, and why it is old."""
    old = f'<p class="pd-stale" role="note">{escaped(stale)}</p>' if stale else ""
    return (
        f'<h2 class="pd-title" dir="auto">{escaped(company)}</h2>'
        f'<p class="pd-faint">{escaped(said)}</p>{old}'
    )


def status(text: str, *, is_busy: bool = False) -> str:
    """Return the line that says what the dashboard does."""
    spinner = '<span class="pd-spinner" aria-hidden="true"></span>' if is_busy else ""
    return f'<div class="pd-status" role="status">{spinner}{escaped(text)}</div>'


def failure(what: str, error: BaseException) -> str:
    """Return the panel that stands where a view cannot."""
    return (
        f'<div class="pd-error" role="alert"><b>{escaped(what)}</b>'
        f"<p>{escaped(type(error).__name__)}: {escaped(error)}</p></div>"
    )


def deals_of(data: Data, label: str, rows: pd.DataFrame) -> str:
    """Return the list of the deals of some rows, each with its page in Pipedrive."""
    ids = rows["deal_id"].drop_duplicates()
    deals = data.deals.set_index("id").reindex(ids)
    known = like(deals[deals["title"].notna() | deals["status"].notna()], data.deals)
    listed = table(
        f"{label}: {len(ids):,} {'deal' if len(ids) == 1 else 'deals'}",
        known.assign(title=known["title"].fillna("(no title)")),
        {
            "title": "Deal",
            "owner_name": "Owner",
            "pipeline_name": "Pipeline",
            "stage_name": "Stage",
            "status": "Status",
            "value": ("Value", amount),
            "currency": "Currency",
        },
        most=MOST_DEALS,
        links=known["url"],
    )
    return _table(listed)


def _html(
    one: View, pictures: dict[str, tuple[str, str]], notes: list[str], *, is_static: bool = False
) -> str:
    parts = []
    if one.figures:
        parts.append(f'<dl class="pd-figures">{"".join(map(_figure, one.figures))}</dl>')
    tables = {rows.caption: rows for rows in one.tables}
    charts = [
        _chart(title, light, "" if is_static else dark, tables.get(caption), is_open=is_static)
        for title, caption in ((chart.title, chart.table) for chart in one.charts)
        if title in pictures
        for light, dark in [pictures[title]]
    ]
    if charts:
        parts.append(f'<div class="pd-charts">{"".join(charts)}</div>')
    under_charts = {chart.table for chart in one.charts if chart.title in pictures}
    parts += [
        _table(rows)
        for caption, rows in tables.items()
        if len(rows.rows) and caption not in under_charts
    ]
    if notes and (one.figures or one.tables):
        items = "".join(f"<li>{escaped(note)}</li>" for note in notes)
        summary = f"<summary>Notes on these figures ({len(notes)})</summary>"
        parts.append(f'<details>{summary}<ul class="pd-note">{items}</ul></details>')
    else:
        parts += [f'<p class="pd-note">{escaped(note)}</p>' for note in notes]
    return f'<div class="pd-view">{"".join(parts)}</div>'


def _figure(figure: Figure) -> str:
    change = f"<b>{escaped(figure.signed_change)}</b>" if figure.change else ""
    before = f"before: {unbroken(figure.before)}" if figure.before else ""
    said = "".join(
        f'<dd class="pd-before">{line}</dd>'
        for line in (unbroken(figure.range), unbroken(figure.note), change, before)
        if line
    )
    return (
        f"<div><dt>{escaped(figure.label)}{trend_line(figure.trend)}</dt>"
        f'<dd class="pd-value">{unbroken(figure.value)}</dd>{said}</div>'
    )


def _chart(title: str, light: str, dark: str, rows: Table | None, *, is_open: bool) -> str:
    alt = escaped(title)
    images = f'<img class="pd-on-light" alt="{alt}" src="{light}">'
    if dark:
        images += f'<img class="pd-on-dark" alt="{alt}" src="{dark}">'
    numbers = ""
    if rows is not None and len(rows.rows):
        opened = " open" if is_open else ""
        numbers = f"<details{opened}><summary>Table: {alt}</summary>{_table(rows)}</details>"
    return f'<div class="pd-chart"><figure class="pd-picture">{images}</figure>{numbers}</div>'


def _table(rows: Table) -> str:
    label = escaped(rows.caption)
    return (
        f'<div class="pd-table" role="region" aria-label="{label}" tabindex="0">{rows.html()}</div>'
    )


def _address(picture: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(picture).decode('ascii')}"
