"""Keep an account on disk: Parquet parts, manifests, checkpoints, snapshot logs, deleted deals."""

__all__ = [
    "checkpoint",
    "compaction",
    "deleted_deals",
    "folder",
    "known_accounts",
    "manifest",
    "options",
    "parts",
    "quarantine",
    "snapshots",
    "sorted_runs",
    "store",
]
