"""A server that was asked to stop answers those who only wait for news, instead of making the restart wait for them.

A long poll may take a minute, and a server that is asked to stop is killed after twenty seconds: whoever still waited
then would get an error for a question that has an answer.

It may go on serving for a while, not ready any more, so that a balancer sends no new requests to it: a connection that
the kernel has taken when the port is closed, and nobody has accepted, is reset with the request in it.
"""

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import TypeVar

from payments_core.errors import Busy

__all__ = ["Closing"]

Answer = TypeVar("Answer")


class Closing:
    """Whether this process was asked to stop, and who waits meanwhile.

    `drain_s` is how long it serves on, not ready, before the server is told to stop; asked again, it stops at once.
    """

    def __init__(self, drain_s: float = 0.0) -> None:
        self._asked, self._drain_s = False, drain_s
        self._going: asyncio.TimerHandle | None = None
        self._waiting: set[asyncio.Timeout] = set()

    @contextmanager
    def told_by_signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT are heard, and then handled as they were before."""
        if threading.current_thread() is not threading.main_thread():
            yield  # a server inside another program: signals are not its own
            return
        loop = asyncio.get_running_loop()
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

        def heard(number: int, frame: FrameType | None) -> None:
            handler = before[signal.Signals(number)]
            stop = partial(handler, number, frame) if callable(handler) else None
            loop.call_soon_threadsafe(self._hear, stop)

        for number in before:
            signal.signal(number, heard)
        try:
            yield
        finally:
            for number, handler in before.items():
                # None: it was not set from Python, and cannot be set again from here.
                signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _hear(self, stop: Callable[[], object] | None) -> None:
        pause_s = 0.0 if self._asked else self._drain_s
        self.ask()
        if self._going is not None:
            self._going.cancel()
        if stop is not None:
            self._going = asyncio.get_running_loop().call_later(pause_s, stop)

    def refuse_new(self) -> None:
        """Nothing, while new requests are welcome.

        Errors: Busy `stopping` once the process was asked to stop.
        """
        if self._asked:
            raise Busy("this process was asked to stop; send it nothing new", code="stopping")

    def ask(self) -> None:
        """Everybody who waits is answered now, and nobody waits any more."""
        self._asked = True
        for waiting in self._waiting:
            waiting.reschedule(asyncio.get_running_loop().time())

    async def wait(self, news: Callable[[], Awaitable[Answer]], at_once: Callable[[], Awaitable[Answer]]) -> Answer:
        """What `news` waits for, or, when the process is asked to stop, what there is `at_once`."""
        if self._asked:
            return await at_once()
        patience = asyncio.timeout(None)
        try:
            async with patience:
                self._waiting.add(patience)
                return await news()
        except TimeoutError:
            if not patience.expired():
                raise
            return await at_once()
        finally:
            self._waiting.discard(patience)
