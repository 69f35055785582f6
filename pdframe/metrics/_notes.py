"""What a metric noticed in the data: one warning of two lines a call, and all of it in
`frame.attrs["notes"]`.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from pdframe._warnings import warn

_LONGEST = 150
"""Characters of a line of the warning."""


def note(frame: pd.DataFrame, notes: Sequence[str], name: str) -> pd.DataFrame:
    """Put the notes of the metric `name` into the attributes of its result, and warn of them."""
    notes = list(dict.fromkeys(notes))
    frame.attrs["notes"] = notes
    if notes:
        text = f"{name}: {notes[0]}"
        first = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1].rstrip()}…"
        more = f"{len(notes) - 1} more: " if len(notes) > 1 else ""
        warn(f'{first}\n{more}the full text is in .attrs["notes"] of the result.')
    return frame


__all__ = ["note"]
