"""Tables as files for BI tools."""

from pdframe.bi import check, export

__all__ = ["check", "export"]
