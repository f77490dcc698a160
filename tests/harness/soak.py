"""How much of a long test to run: a part in every run, all of it with `make soak`."""

import os


def size(everything: int, usually: int) -> int:
    """So many tries."""
    return everything if os.environ.get("SOAK") else usually
