"""Tables as files for BI tools."""
