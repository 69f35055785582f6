"""The HTTP client: requests, retries, limits and credentials."""

__all__: list[str] = []
