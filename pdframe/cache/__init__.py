"""What is kept on disk: Parquet parts, manifests, checkpoints, snapshot logs."""
