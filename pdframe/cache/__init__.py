"""Keep an account on disk: Parquet parts, manifests, checkpoints, snapshot logs, deleted deals."""

__all__ = [
    "checkpoint",
    "deleted_deals",
    "folder",
    "known_accounts",
    "messages",
    "options",
    "parts",
    "quarantine",
    "server_clock",
    "snapshots",
    "store",
]
