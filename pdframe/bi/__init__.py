"""Tables as files for BI tools."""

from pdframe.bi import export

__all__ = ["export"]
