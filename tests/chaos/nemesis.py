"""Kills processes with `kill -9` while orders are paid, and starts them again as a supervisor would."""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Callable

import attrs

from chaos.system import Process, System

_RESTART_MAX_S = 0.5
"""A supervisor needs a moment; sometimes none."""
_GONE_S = 10.0


@attrs.define
class Progress:
    """How far load and kills are; each waits for the other, so that the kills are spread over the whole run."""

    orders: int
    kills: int
    until: float
    """On the monotonic clock: what has not begun by then never does."""
    ended: int = 0
    killed: int = 0
    moved: asyncio.Condition = attrs.field(factory=asyncio.Condition)

    async def an_order_ended(self) -> None:
        """One more story is over."""
        async with self.moved:
            self.ended += 1
            self.moved.notify_all()

    async def a_kill_was_made(self) -> None:
        """One more process died."""
        async with self.moved:
            self.killed += 1
            self.moved.notify_all()

    async def load_is_due(self, number: int, ahead: int) -> bool:
        """Order `number` may begin: the kills before it were made, but for as many orders as run at once."""
        return await self._is_due(lambda: self.killed >= int((number - ahead) / self.orders * self.kills))

    async def kill_is_due(self, number: int) -> bool:
        """Kill `number` may be made: the orders before it have ended."""
        return await self._is_due(lambda: self.ended >= int(number / self.kills * self.orders))

    async def _is_due(self, condition: Callable[[], bool]) -> bool:
        """False when time is up."""
        try:
            async with asyncio.timeout(self.until - time.monotonic()), self.moved:
                await self.moved.wait_for(condition)
        except TimeoutError:
            return False
        return time.monotonic() < self.until


def _is_there(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@attrs.define
class Nemesis:
    """Makes the plan's kills, one after the other, at moments drawn from the seed."""

    system: System
    progress: Progress
    kills: Counter[str] = attrs.field(factory=Counter)
    _restarts: set["asyncio.Task[None]"] = attrs.field(factory=set)

    async def rage(self) -> None:
        """Every kill of the plan was made, and everything runs again."""
        plan = self.system.plan
        chance = random.Random(f"moments:{plan.seed}")  # noqa: S311 - a replayable chance, not a secret
        for number, kind in enumerate(plan.kill_kinds()):
            if not await self.progress.kill_is_due(number):
                break
            await asyncio.sleep(chance.expovariate(1 / 0.3))
            if kind == "database":
                await self._database(chance.uniform(0, _RESTART_MAX_S))
            else:
                self._process(chance.choice(await self._running(kind)), chance.uniform(0, _RESTART_MAX_S))
            self.kills[kind] += 1
            await self.progress.a_kill_was_made()
        await asyncio.gather(*self._restarts)

    async def _running(self, kind: str) -> list[Process]:
        """Processes of this kind that were started again; whether they are ready does not matter."""
        of_kind = [process for process in self.system.processes if process.kind == kind]
        if not any(process.pid for process in of_kind):
            await asyncio.wait(self._restarts, return_when=asyncio.FIRST_COMPLETED)
        return [process for process in of_kind if process.pid] or await self._running(kind)

    def _process(self, process: Process, pause_s: float) -> None:
        killed = process.pid
        self.system.kill(process)
        process.pid = 0
        task = asyncio.create_task(self._again(process, killed, pause_s))
        self._restarts.add(task)
        task.add_done_callback(self._restarts.discard)

    async def _again(self, process: Process, killed: int, pause_s: float) -> None:
        """It begins when the killed one is gone, as under any supervisor: a dying server still holds its port."""
        await asyncio.sleep(pause_s)
        async with asyncio.timeout(_GONE_S):
            while _is_there(killed):  # noqa: ASYNC110 - it is another process that ends
                await asyncio.sleep(0.01)
        self.system.start(process)

    async def _database(self, pause_s: float) -> None:
        await asyncio.to_thread(self.system.database.kill)
        await asyncio.sleep(pause_s)
        await asyncio.to_thread(self.system.database.start)
