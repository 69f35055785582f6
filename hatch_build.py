"""The project's addresses in its metadata, as a release says them: a repository can move, and what
is built without saying so names none.
"""

from __future__ import annotations

import os
import re
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

VARIABLE = "PDFRAME_REPOSITORY"
# No user, password or query: they would be in every copy of the package.
_ADDRESS = re.compile(r"https://[a-z0-9.-]+(/[A-Za-z0-9._-]+)+")


class Addresses(MetadataHookInterface):
    """Adds the addresses of the repository and of its issues."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add them where the environment names the repository."""
        address = os.environ.get(VARIABLE, "").rstrip("/")
        if not address:
            return
        if not _ADDRESS.fullmatch(address):
            raise ValueError(f"{VARIABLE} must be an address such as https://HOST/OWNER/pdframe.")
        metadata["urls"] = {"Repository": address, "Issues": f"{address}/issues"}
