"""How much of a gateway this process may use now: calls in flight, and calls begun in any one second.

Who has to wait stands in line, is bounded in time, and is told `busy` when it takes too long: no call has been made.
"""

import asyncio
from collections import deque
from time import monotonic

from payments_core.errors import GatewayUnavailable

__all__ = ["CallBudget"]

_SECOND = 1.0
_LINE_MAX = 10_000
"""More than this can never be served within a time-out."""


class CallBudget:
    """Lets calls begin while both bounds allow it, first come, first served."""

    def __init__(self, in_flight: int = 0, per_second: int = 0) -> None:
        self._in_flight_max, self._per_second_max = in_flight, per_second
        self._until: float | None = None
        self._in_flight = 0
        self._begun: deque[float] = deque()
        self._line: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def in_flight(self) -> int:
        """Calls that have not ended."""
        return self._in_flight

    @property
    def begun_lately(self) -> int:
        """Calls begun within the last second."""
        self._forget()
        return len(self._begun)

    @property
    def waiting(self) -> int:
        """Calls that stand in line."""
        return len(self._line)

    def resize(self, in_flight: int, per_second: int, *, until: float | None = None) -> None:
        """The bounds from now on, and until when they hold (monotonic seconds); calls in flight go on."""
        self._in_flight_max, self._per_second_max, self._until = in_flight, per_second, until
        self._let_in()

    async def enter(self, wait_s: float) -> None:
        """A call may begin; `leave` has to follow when it has ended.

        Errors: GatewayUnavailable `gateway_busy` when that takes longer than `wait_s`: nothing was sent.
        """
        if not self._line and self._is_free():
            self._begin()
            return
        if len(self._line) >= _LINE_MAX:
            raise _busy()
        turn = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        self._let_in()
        try:
            async with asyncio.timeout(wait_s):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self.leave()  # its turn came at the very moment it went away
            elif turn in self._line:
                self._line.remove(turn)
            if isinstance(error, TimeoutError):
                raise _busy() from None
            raise

    def leave(self) -> None:
        """The call has ended."""
        self._in_flight -= 1
        self._let_in()

    def _begin(self) -> None:
        self._in_flight += 1
        self._begun.append(monotonic())

    def _is_free(self) -> bool:
        if self._until is not None and monotonic() >= self._until:
            return False  # the share ran out: somebody else may have it by now
        self._forget()
        return self._in_flight < self._in_flight_max and len(self._begun) < self._per_second_max

    def _forget(self) -> None:
        before = monotonic() - _SECOND
        while self._begun and self._begun[0] <= before:
            self._begun.popleft()

    def _let_in(self) -> None:
        while self._line and self._is_free():
            turn = self._line.popleft()
            if not turn.done():
                self._begin()
                turn.set_result(None)
        if self._line and self._begun and self._timer is None and self._in_flight < self._in_flight_max:
            free_in = max(0.0, self._begun[0] + _SECOND - monotonic())
            self._timer = asyncio.get_running_loop().call_later(free_in, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._let_in()


def _busy() -> GatewayUnavailable:
    return GatewayUnavailable("too many calls are on their way to the gateway; try again shortly", code="gateway_busy")
