"""Errands as tasks of an event loop: at once, so many at a time, lost without harm."""

import asyncio
import logging

import pytest

from payments_core import errands
from payments_core.commands import ClosePage, Command
from payments_core.errands import ErrandTasks
from payments_core.errors import GatewayTimeout


class Doing:
    """Does errands when it is let, and remembers them; a page 0 is a gateway that does not answer, below it a bug."""

    def __init__(self) -> None:
        self.done: list[int] = []
        self.under_way, self.most = 0, 0
        self.gate = asyncio.Event()
        self.tasks = ErrandTasks()
        self.tasks.begin(self)

    async def __call__(self, command: Command) -> None:
        assert isinstance(command, ClosePage)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await self.gate.wait()
        finally:
            self.under_way -= 1
        if command.attempt == 0:
            raise GatewayTimeout("no answer")
        if command.attempt < 0:
            raise ZeroDivisionError
        self.done.append(command.attempt)


def pages(*numbers: int) -> list[Command]:
    return [ClosePage("p-1", number) for number in numbers]


async def test_errands_are_done_in_the_order_they_came_and_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errands, "_AT_ONCE_MAX", 2)
    doing = Doing()
    doing.tasks(pages(1, 2, 3))
    doing.tasks(pages(4, 5))
    await asyncio.sleep(0)
    assert (doing.done, doing.under_way) == ([], 2)
    doing.gate.set()
    await doing.tasks.drain(5)
    assert (doing.done, doing.most) == ([1, 2, 3, 4, 5], 2)


async def test_an_errand_that_fails_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """A gateway out of reach is usual, a bug is told with its traceback; both are left to the sweep."""
    caplog.set_level(logging.INFO)
    doing = Doing()
    doing.gate.set()
    doing.tasks(pages(0, -1, 7))
    await doing.tasks.drain(5)
    assert doing.done == [7]
    ours = [record for record in caplog.records if record.name == errands.__name__]
    assert [(record.levelname, record.exc_info is not None) for record in ours] == [("INFO", False), ("ERROR", True)]


async def test_what_is_too_much_is_left_to_the_sweep_and_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(errands, "_AT_ONCE_MAX", 1)
    monkeypatch.setattr(errands, "_WAITING_MAX", 2)
    doing = Doing()
    doing.tasks(pages(1))  # under way, and waits no more
    doing.tasks(pages(2, 3, 4))
    doing.tasks(pages(5))
    doing.gate.set()
    await doing.tasks.drain(5)
    assert doing.done == [1, 2, 3]
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "1 errands are left to the sweep: 2 wait",
        "1 errands are left to the sweep: 2 wait",
    ]


async def test_an_end_gives_up_what_takes_too_long_and_what_waits_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errands, "_AT_ONCE_MAX", 1)
    doing = Doing()
    doing.tasks(pages(1, 2))
    await doing.tasks.drain(0.01)
    assert (doing.under_way, doing.done) == (0, [])
    doing.gate.set()
    await asyncio.sleep(0)
    assert (doing.done, asyncio.all_tasks()) == ([], {asyncio.current_task()})


async def test_errands_before_anybody_does_them_wait() -> None:
    tasks, doing = ErrandTasks(), Doing()
    tasks(pages(1))
    doing.gate.set()
    tasks.begin(doing)
    tasks(pages(2))
    await tasks.drain(5)
    assert doing.done == [1, 2]
