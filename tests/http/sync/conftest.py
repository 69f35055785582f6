"""What a table costs, and its rows alone: accounts add no names of ids."""

from __future__ import annotations

from tests.helpers.no_names import no_names_by_default as no_names_by_default
