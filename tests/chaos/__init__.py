"""Real crashes under load, judged by the gateway's own ledger: `make chaos`, or `python -m chaos` inside `tests/`."""
