"""The HTTP API over Litestar."""
