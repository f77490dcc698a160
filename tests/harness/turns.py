"""Waiting inside one event loop, without time: others run until something is so."""

import asyncio
from collections.abc import Callable

__all__ = ["reached"]

_TURNS_MAX = 1000


async def reached(condition: Callable[[], bool], what: str = "it") -> None:
    """The others ran until `condition()` was true, a thousand turns of the loop at most."""
    for _ in range(_TURNS_MAX):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError(f"{what} never came")
