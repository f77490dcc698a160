"""Blocking code on the event loop, without a thread: what it waits for is waited for by the loop.

`midtransclient` is written for a blocking HTTP client. It runs in a greenlet here; where its client would block, the
greenlet is left, the coroutine is awaited, and the greenlet goes on with the result. A call in flight costs a
connection instead of a thread, and no thread fights for the interpreter (measured: ADR 0026).
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import greenlet

__all__ = ["run_bridged", "wait_for"]

Result = TypeVar("Result")


async def run_bridged(call: Callable[[], Result]) -> Result:
    """What `call` gives; it may `wait_for` coroutines while it runs."""
    runner = greenlet.greenlet(call)
    given: Any = runner.switch()
    while not runner.dead:
        try:
            awaited = await given
        except BaseException as error:  # noqa: BLE001 - whatever it is, a cancellation too, it is raised inside the call
            given = runner.throw(error)
        else:
            given = runner.switch(awaited)
    result: Result = given
    return result


def wait_for(awaitable: Awaitable[Result]) -> Result:
    """The result of a coroutine, waited for by the loop; only inside `run_bridged`."""
    outside = greenlet.getcurrent().parent
    assert outside is not None
    result: Result = outside.switch(awaitable)
    return result
