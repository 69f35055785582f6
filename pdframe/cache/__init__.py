"""Keep an account on disk: Parquet parts, manifests, checkpoints, snapshot logs, deleted deals."""

__all__ = [
    "checkpoint",
    "data_warnings",
    "deleted_deals",
    "folder",
    "known_accounts",
    "options",
    "parts",
    "quarantine",
    "server_clock",
    "snapshots",
    "store",
]
