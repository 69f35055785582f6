"""One warning for all that a metric has to say, and the complete text with its result."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from pdframe._warnings import warn

LONGEST = 300
"""Characters of the first note that the warning shows."""


def with_notes(frame: pd.DataFrame, notes: Sequence[str]) -> pd.DataFrame:
    """Record notes in `attrs["notes"]` of a result, one a line, and issue one `DataWarning` of two
    lines; without notes, do neither.

    `collect_warnings` collects them where the metric calls others.
    """
    notes = list(dict.fromkeys(notes))
    if not notes:
        return frame
    frame.attrs["notes"] = "\n".join(notes)
    first = notes[0] if len(notes[0]) <= LONGEST else f"{notes[0][:LONGEST].rstrip()} ..."
    others = len(notes) - 1
    more = f"{others} more note{'' if others == 1 else 's'}: " if others else "The complete text: "
    warn(f"{first}\n{more}frame.attrs['notes'].")
    return frame


__all__ = ["with_notes"]
