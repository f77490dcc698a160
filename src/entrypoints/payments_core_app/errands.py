"""Errands done in the background: bounded, coalesced, and safe to lose.

One question about a transaction is on its way at a time; a hint that arrives meanwhile leaves a newer question behind,
which is asked when the first has been answered: never joined to one that had left before.

Taking notifications in goes before asking about them, for a second: whoever sends them waits for an answer, and the
questions of a burst are asked together afterwards.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from functools import partial

import attrs
import structlog

from payments_core.commands import AskCharge, Command
from payments_core.errors import GatewayError, NotFound, StorageError
from payments_core_app.metrics import ERRANDS

__all__ = ["BackgroundErrands"]

log = structlog.get_logger(__name__)

_WAITING_MAX = 10_000
"""Errands held in memory; beyond it they are dropped, and the sweep finds their rows."""
_GIVE_WAY_S, _LOOK_AGAIN_S = 1.0, 0.01
"""How long an errand gives way at most, and how often it is asked whether it has to."""
_STARTED_MAX = 16
"""Errands begun before the loop looks at what else has arrived."""
_DRAIN_S = 5.0


def _nobody() -> bool:
    return False


@attrs.frozen
class _Waiting:
    """A command, and since when it waits, in the loop's seconds."""

    command: Command
    since: float


class BackgroundErrands:
    """The `Errands` port over the event loop; give it somebody to `perform` before the first errand."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._is_busy: Callable[[], bool] = _nobody
        self._later: asyncio.TimerHandle | None = None
        self._waiting: dict[Hashable, _Waiting] = {}
        self._running: dict[Hashable, asyncio.Task[None]] = {}
        self._perform: Callable[[Command], Awaitable[None]] | None = None

    def begin(self, perform: Callable[[Command], Awaitable[None]]) -> None:
        """Errands are done from now on."""
        self._perform = perform
        self._start_more()

    def give_way(self, is_busy: Callable[[], bool]) -> None:
        """No errand is begun while this is so, until it has waited for a second."""
        self._is_busy = is_busy

    def __call__(self, commands: Sequence[Command]) -> None:
        """Take these commands; a newer question about the same thing replaces one that still waits."""
        now = asyncio.get_running_loop().time() if commands else 0.0
        for command in commands:
            about = _about(command)
            if len(self._waiting) < _WAITING_MAX:
                known = self._waiting.get(about)
                self._waiting[about] = _Waiting(command, known.since if known else now)
            else:
                ERRANDS.labels(result="dropped").inc()
        self._start_more()

    def _start_more(self, at_once: int = _STARTED_MAX) -> None:
        if self._perform is None or not self._waiting:
            return
        loop = asyncio.get_running_loop()
        gives_way = self._is_busy()
        due = self._due(loop.time() - (_GIVE_WAY_S if gives_way else 0.0), at_once)
        for about in due:
            task = loop.create_task(self._do(self._waiting.pop(about).command))
            self._running[about] = task
            task.add_done_callback(partial(self._done, about))
        if len(due) == at_once:
            loop.call_soon(self._start_more)
        elif gives_way and self._waiting and self._later is None:
            self._later = loop.call_later(_LOOK_AGAIN_S, self._look_again)

    def _due(self, since: float, at_once: int) -> list[Hashable]:
        """What has waited since then and may begin, longest waiting first; they stand in that order."""
        room = min(self._at_once - len(self._running), at_once)
        due: list[Hashable] = []
        for about, waiting in self._waiting.items():
            if len(due) >= room or waiting.since > since:
                break
            if about not in self._running:
                due.append(about)
        return due

    def _look_again(self) -> None:
        self._later = None
        self._start_more()

    def _done(self, about: Hashable, _task: "asyncio.Task[None]") -> None:
        self._running.pop(about, None)
        self._start_more()

    async def _do(self, command: Command) -> None:
        assert self._perform is not None
        try:
            await self._perform(command)
        except (GatewayError, StorageError, NotFound) as error:
            ERRANDS.labels(result="postponed").inc()
            log.info("errand.postponed", why=error.code, **_told(command))
        except Exception:
            # A bug of ours in one errand must not stop the others; its row is due again.
            ERRANDS.labels(result="failed").inc()
            log.exception("errand.failed", **_told(command))
        else:
            ERRANDS.labels(result="done").inc()

    async def finish(self) -> None:
        """Everything taken so far was tried, and what that led to as well."""
        while self._running:
            await asyncio.wait([*self._running.values()])

    async def drain(self) -> None:
        """What has room has begun; what runs has ended, or its time is over; what still waits is left to the sweep."""
        self.give_way(_nobody)
        self._start_more(self._at_once)
        self._waiting.clear()
        if self._later is not None:
            self._later.cancel()
        if self._running:
            await asyncio.wait([*self._running.values()], timeout=_DRAIN_S)
        for task in self._running.values():
            task.cancel()


def _about(command: Command) -> Hashable:
    return ("charge", command.payment_id, command.transaction_id) if isinstance(command, AskCharge) else command


def _told(command: Command) -> dict[str, str | int]:
    """What a log line is found by: the payment, and the gateway's name of what it is about."""
    return {"command": type(command).__name__, **attrs.asdict(command)}
