"""The dashboard: ipywidgets over the views. It shows one view at a time, for what is chosen."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from typing import Any

import ipywidgets
import pandas as pd
from IPython.display import display

from pdframe._terminal import printable
from pdframe._warnings import collect_warnings
from pdframe.dashboard._content import (
    STYLE,
    Drawn,
    deals_of,
    drawn,
    failure,
    header,
    static,
    status,
)
from pdframe.dashboard._data import Data
from pdframe.dashboard._forecast import learn
from pdframe.dashboard.state import EMPTY, USUAL_DAYS, State, period_of
from pdframe.dashboard.views import VIEWS, main_currency, view

__all__ = ["Dashboard"]

KEPT_VIEWS = 40
"""Drawn views that are kept, each with its state; one has a few hundred kilobytes."""
MOST_VALUES = 300
"""Values of a field that can be chosen: the commonest."""
_ALL: tuple[str, Hashable] = ("all", "")
"""Not None: a control whose value is None shows nothing."""
_NO_NUMBER = -1
_USUAL_PERIOD = f"last {USUAL_DAYS} days"
_PERIODS = (
    "last 30 days",
    _USUAL_PERIOD,
    "this month",
    "last month",
    "this quarter",
    "last quarter",
    "this year",
    "last year",
)
_TIMES = {
    "funnel": "12 months to {last}",
    "velocity": "now",
    "revenue": "12 months to {last}",
    "forecast": "the coming months",
    "data": "now",
}
"""Which days a view shows, where they are not those of the period."""
_IN_CURRENCY = ("overview", "revenue", "forecast")
_HINT = (
    "Click into the code, press Ctrl+A and Ctrl+C, and paste it into a cell: <code>account</code>"
    " is this account."
)
# A textarea needs no script: JupyterLab and Voilà run none of HTML, and select all of it by
# keyboard. It is editable since JupyterLab takes Ctrl+A of what cannot be edited for its own.


class Dashboard(ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """The controls, a status line, the chosen view, the deals behind its numbers, and its code.

    Parameters
    ----------
    load
        Loads the frames: with None from the cache where it is fresh, with True what changed.
    period
        The period that is chosen first, as in `period_of`.

    Attributes
    ----------
    state
        What the reader chose.
    code
        A script that reproduces the view that is shown, on `account`.
    error
        Why the view could not be computed; None: it could.
    """

    def __init__(self, load: Callable[[Any], Data], *, period: Any = None) -> None:
        self._load = load
        self._data = load(None)
        self._drawn: dict[tuple[str, State], Drawn] = {}
        self._is_choosing = False
        self._display: Any = None
        self.error: Exception | None = None
        # Before any control is made: a period that is none is refused at once.
        self._periods = self._named_periods(period)
        self._make_controls()
        super().__init__(self._parts())
        self.add_class("pdframe-dashboard")
        self._style.value = f"<style>{STYLE}.{self._static_name} {{ display: none; }}</style>"
        self._offer_choices()
        self._show()
        self._observe()

    @property
    def state(self) -> State:
        """What the reader chose."""
        # 0 is a value, as any that is not of "all".
        value = None if self._value.value == _ALL[1] else self._value.value
        return State(
            period_of(self._periods[self._period.value], self._data.now, self._data.tz),
            pipeline_id=self._pipeline.value or None,
            owner_id=self._owner.value or None,
            field=self._field.value if value is not None else None,
            value=value,
            currency=self._currency.value,
            quota=self._quota.value or None if self._view.value == "forecast" else None,
        )

    @property
    def code(self) -> str:
        """A script that reproduces the view that is shown, on `account`."""
        return str(self._code.value)

    def _ipython_display_(self, **_: object) -> None:
        """Show the static view, which the live one hides: a page without a kernel shows it."""
        publish: Any = display
        self._display = publish(self._static(), raw=True, display_id=True)
        publish({**self._repr_mimebundle_(), "text/html": ""}, raw=True)
        self.prepare()

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        bundle: dict[str, Any] = super()._repr_mimebundle_(**kwargs) or {}
        return {**bundle, **self._static()}

    def __repr__(self) -> str:
        return f"<dashboard of {printable(self._data.company)}: {self._said()}>"

    def prepare(self) -> threading.Thread:
        """Compute in the background what all choices of the forecast share, so that this view shows
        sooner; a dashboard that is shown does so by itself.

        Returns
        -------
        threading.Thread
            It asks Pipedrive nothing, raises nothing, and stops when the dashboard is closed, or
            its data is replaced, or Python ends.
        """
        worker = threading.Thread(
            target=_prepare, args=(weakref.ref(self), self._data), name="pdframe-dashboard"
        )
        worker.start()
        return worker

    def _make_controls(self) -> None:
        self._style = _part("pd-style")
        self._header, self._status, self._content = _part(), _part(), _part()
        self._view = ipywidgets.ToggleButtons(
            options=[(title, key) for key, (title, _) in VIEWS.items()]
        )
        self._view.layout.width = "auto"
        self._period = _dropdown("Period")
        self._pipeline, self._owner = _dropdown("Pipeline"), _dropdown("Owner")
        self._field, self._value = _dropdown("Field"), _dropdown("Value")
        self._currency = _dropdown("Currency")
        self._quota = ipywidgets.FloatText(description="Quota a month", value=0)
        self._refresh = ipywidgets.Button(
            description="Refresh", tooltip="Fetch what changed in Pipedrive since the last refresh"
        )
        self._counted = _dropdown("Deals of")
        self._deals = _part()
        self._show_code = ipywidgets.ToggleButton(description="Copy as code")
        self._code = ipywidgets.Textarea(description="Code of this view")
        self._hint = _part()
        self._hint.value = f'<p class="pd-note">{_HINT}</p>'

    def _parts(self) -> list[Any]:
        controls = ipywidgets.Box(
            [
                self._period,
                self._pipeline,
                self._owner,
                self._field,
                self._value,
                self._currency,
                self._quota,
            ]
        )
        top = ipywidgets.Box([self._header, self._refresh])
        self._list = ipywidgets.Box([self._counted, self._deals])
        self._script = ipywidgets.Box([self._show_code, self._hint, self._code])
        for box, name in (
            (top, "pd-top"),
            (controls, "pd-controls"),
            (self._list, "pd-list"),
            (self._script, "pd-code"),
        ):
            box.add_class(name)
        return [
            self._style,
            top,
            controls,
            self._view,
            self._status,
            self._content,
            self._list,
            self._script,
        ]

    def _observe(self) -> None:
        for control in (
            self._view,
            self._period,
            self._pipeline,
            self._owner,
            self._value,
            self._currency,
            self._quota,
        ):
            control.observe(self._changed, "value")
        self._field.observe(self._offer_values, "value")
        self._counted.observe(self._list_deals, "value")
        self._show_code.observe(self._reveal_code, "value")
        self._refresh.on_click(self._fetch)

    def _named_periods(self, period: Any) -> dict[str, Any]:
        data = self._data
        periods: dict[str, Any] = {name: name for name in _PERIODS}
        first = _USUAL_PERIOD
        if period is not None:
            first = period if isinstance(period, str) else period_of(period, data.now, data.tz).text
            period_of(period, data.now, data.tz)
            periods[first] = period
        return {first: periods.pop(first), **periods}

    def _offer_choices(self) -> None:
        """Fill the controls with what the account has, and keep what was chosen."""
        data, value = self._data, self._value.value
        _offer(self._period, [(name, name) for name in self._periods])
        _offer(self._pipeline, _named(data.pipelines, "id", "name"))
        _offer(self._owner, _named(data.deals, "owner_id", "owner_name"))
        _offer(self._field, [_ALL, *((_shown(name), name) for name in data.custom)])
        main = main_currency(data)
        of_deals = data.deals["currency"].dropna().value_counts().index
        currencies = [main] if data.rates is not None else list(dict.fromkeys([main, *of_deals]))
        _offer(self._currency, [(_shown(one), one) for one in currencies if one is not None])
        self._offer_values()
        if any(value == one for _, one in self._value.options):
            self._value.value = value

    def _offer_values(self, *_: object) -> None:
        """Fill the control of values with those of the chosen field."""
        name, was_choosing = self._field.value, self._is_choosing
        self._is_choosing = True
        changed = self._value.value not in (None, _ALL[1])
        values = _values(self._data.deals[name]) if name else []
        _offer(self._value, [_ALL, *values], keep=False)
        self._value.disabled = not name
        self._is_choosing = was_choosing
        if changed:
            self._changed()

    def _changed(self, *_: object) -> None:
        if self._is_choosing:
            return
        try:
            self._show()
        except KeyboardInterrupt:
            self._interrupted()

    def _interrupted(self) -> None:
        """Say that the kernel was interrupted while a control was answered."""
        self._content.remove_class("pd-busy")
        self._status.value = status("Interrupted: what is shown is what was shown before.")

    def _show(self) -> None:
        """Show the chosen view: from those that were drawn, else compute it."""
        self._quota.layout.display = None if self._view.value == "forecast" else "none"
        title = VIEWS[self._view.value][0]
        chosen, content = None, ""
        try:
            key = self._view.value, self.state
            chosen = self._drawn.pop(key, None)
            if chosen is None:
                self._status.value = status(f"Computing: {title} …", is_busy=True)
                self._content.add_class("pd-busy")
                chosen = drawn(view(key[0], self._data, key[1]))
            self._drawn[key] = chosen
            while len(self._drawn) > KEPT_VIEWS:
                self._drawn.pop(next(iter(self._drawn)))
            self.error, content = None, chosen.live
        except Exception as error:  # a panel says it; a traceback in a callback is seen by no one
            self.error = error
            content = failure(f"{title} could not be computed. Other views still can.", error)
        said = self._said()
        self._content.remove_class("pd-busy")
        self._header.value = header(self._data.company, self._as_of(), self._data.stale)
        self._content.value = content
        self._code.value = chosen.view.code if chosen is not None else ""
        self._code.rows = self._code.value.count("\n") + 1
        self._reveal_code()
        self._offer_counted(chosen)
        self._status.value = status(said if self.error is None else f"{title}: an error.")
        if self._display is not None:
            self._display.update(self._static(), raw=True)

    def _offer_counted(self, chosen: Drawn | None) -> None:
        counted = chosen.view.counted if chosen is not None else ()
        self._is_choosing = True
        options = [("choose a number", _NO_NUMBER)]
        options += [(_shown(one.label), place) for place, one in enumerate(counted)]
        _offer(self._counted, options, keep=False)
        self._is_choosing = False
        self._deals.value = ""
        self._list.layout.display = None if counted else "none"

    def _list_deals(self, *_: object) -> None:
        """List the deals that the chosen number counts, and add the line that does it."""
        chosen, place = self._drawn.get((self._view.value, self.state)), self._counted.value
        if self._is_choosing or chosen is None:
            return
        if place == _NO_NUMBER:
            self._deals.value, self._code.value = "", chosen.view.code
            return
        counted = chosen.view.counted[place]
        try:
            self._deals.value = deals_of(self._data, counted.label, counted.rows())
        except Exception as error:  # as in _show
            self._deals.value = failure("These deals cannot be listed.", error)
        self._code.value = f"{chosen.view.code}{counted.code}\n"
        self._code.rows = self._code.value.count("\n") + 1

    def _reveal_code(self, *_: object) -> None:
        shown = None if self._show_code.value and self._code.value else "none"
        self._code.layout.display = self._hint.layout.display = shown
        self._show_code.disabled = not self._code.value

    def _fetch(self, *_: object) -> None:
        """Load what changed in Pipedrive, and show it."""
        self._status.value = status("Fetching what changed …", is_busy=True)
        self._refresh.disabled = True
        try:
            self._data = self._load(True)
        except Exception as error:  # as in _show
            self.error = error
            self._status.value = status(
                f"The refresh failed; the figures are as before. {type(error).__name__}: {error}"
            )
            return
        except KeyboardInterrupt:
            self._interrupted()
            return
        finally:
            self._refresh.disabled = False
        self._drawn.clear()
        self._is_choosing = True
        self._offer_choices()
        self._is_choosing = False
        self._show()
        if self._display is not None:
            self.prepare()

    def _as_of(self) -> str:
        now = self._data.now.tz_convert(self._data.tz)
        return f"As of {now:%Y-%m-%d %H:%M} ({self._data.tz})"

    def _said(self) -> str:
        """What is shown, in words."""
        period = self.state.period
        chosen = [str(control.label) for control in (self._pipeline, self._owner) if control.value]
        if self.state.field is not None:
            chosen.append(f"{self._field.label}: {self._value.label}")
        key = self._view.value
        times = _TIMES.get(key, "{days}").format(days=period.text, last=period.text[-10:])
        parts = [f"{VIEWS[key][0]}: {times}", *chosen]
        parts += [f"in {self._currency.value}"] if key in _IN_CURRENCY else []
        compared = f"; compared with {period.before_text}" if key == "overview" else ""
        return ", ".join(parts) + f"{compared}."

    @property
    def _static_name(self) -> str:
        return f"pdframe-static-{self.model_id}"

    def _static(self) -> dict[str, str]:
        """Return what shows the view where no widget lives."""
        chosen = self._drawn.get((self._view.value, self.state)) if self.error is None else None
        content = chosen.static if chosen is not None else str(self._content.value)
        said = f"{self._said()} {self._as_of()}. {self._data.stale}".rstrip()
        return {
            "text/plain": repr(self),
            "text/html": static(self._data.company, said, content, self._static_name),
        }


class _NotWantedError(Exception):
    """What is computed in the background is not wanted any more."""


def _prepare(board: weakref.ref[Dashboard], data: Data) -> None:
    def go_on() -> None:
        its = board()
        is_shown = its is not None and its.comm is not None and its._data is data
        if not (is_shown and threading.main_thread().is_alive()):
            raise _NotWantedError

    # The view says what is refused or doubtful, when it is chosen.
    with contextlib.suppress(Exception), collect_warnings():
        learn(data, go_on)


def _part(name: str | None = None) -> Any:
    part = ipywidgets.HTML()
    if name is not None:
        part.add_class(name)
    return part


def _dropdown(label: str) -> Any:
    return ipywidgets.Dropdown(description=label, style={"description_width": "auto"})


def _offer(control: Any, options: Iterable[tuple[str, Any]], *, keep: bool = True) -> None:
    """Set the options of a control; the chosen one stays chosen where it is still there."""
    options = list(options)
    before = control.value if keep else None
    values = [value for _, value in options]
    control.options = options
    control.value = before if before in values else values[0] if values else None


def _named(frame: pd.DataFrame, number: str, name: str) -> list[tuple[str, Hashable]]:
    """Return all ids of a frame by their names; a name that several have, with its id."""
    rows = frame[[number, name]].dropna(subset=[number]).drop_duplicates(number)
    rows = rows.sort_values(name, kind="stable", na_position="last")
    texts = [
        _shown(text) if isinstance(text, str) else f"{one}"
        for one, text in zip(rows[number], rows[name], strict=True)
    ]
    often = Counter(texts)
    return [
        _ALL,
        *(
            (f"{text} ({one})" if often[text] > 1 else text, int(one))
            for text, one in zip(texts, rows[number], strict=True)
        ),
    ]


def _values(cells: pd.Series[Any]) -> list[tuple[str, Hashable]]:
    """Return the values of a field, each with the number of its deals."""
    items = cells.explode() if cells.map(pd.api.types.is_list_like).any() else cells
    counts = items.value_counts()
    counts = counts[counts > 0]
    common = counts.head(MOST_VALUES)
    in_order = common.sort_index() if len(common) < MOST_VALUES else common
    options: list[tuple[str, Hashable]] = [
        (f"{_shown(value)} ({number:,})", value) for value, number in in_order.items()
    ]
    empty = int(items.isna().groupby(level=0).all().sum())
    return [*options, (f"{EMPTY.value} ({empty:,})", EMPTY)] if empty else options


def _shown(value: object) -> str:
    if isinstance(value, pd.Timestamp) and value == value.normalize():
        return f"{value:%Y-%m-%d}"
    text = printable(str(value))
    return text if len(text) <= 60 else f"{text[:59]}…"
