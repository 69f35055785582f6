"""pdframe: Pipedrive in pandas."""
