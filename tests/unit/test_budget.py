"""What a process may ask of a gateway at once and in a second, and what happens to whoever has to wait."""

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

import pytest

from harness.turns import reached
from payments_core import GatewayTraits
from payments_core.errors import GatewayTimeout, GatewayUnavailable
from payments_core_app.budget import CallBudget
from payments_core_app.limited import LimitedGateway
from payments_core_memory import MemoryGateway


class Slow(MemoryGateway):
    """Answers a reading when it is let go, and counts how many are on their way."""

    def __init__(self, traits: GatewayTraits) -> None:
        super().__init__(traits=traits)
        self.gate = asyncio.Event()
        self.now = self.most = 0

    async def read(self, reference: str) -> None:  # noqa: ARG002 - the port's
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await self.gate.wait()
            self._call("read", lambda: None)
        finally:
            self.now -= 1


def limited(in_flight: int, per_second: int = 1000, *, timeout_s: float = 10) -> tuple[Slow, LimitedGateway]:
    inner = Slow(GatewayTraits(timeout=timedelta(seconds=timeout_s)))
    return inner, LimitedGateway(inner, CallBudget(in_flight, per_second))


async def several(calls: list[Coroutine[Any, Any, Any]]) -> list[Any]:
    return await asyncio.gather(*calls, return_exceptions=True)


async def test_no_more_calls_are_on_their_way_than_may_be() -> None:
    inner, gateway = limited(3)
    running = asyncio.gather(*(gateway.read("x") for _ in range(20)))
    await reached(lambda: inner.now == 3)
    assert gateway.budget.waiting == 17
    inner.gate.set()
    assert await running == [None] * 20
    assert inner.most == 3
    assert gateway.budget.in_flight == 0


async def test_no_more_calls_begin_in_a_second_than_may() -> None:
    inner, gateway = limited(1000, per_second=5, timeout_s=0.5)
    inner.gate.set()
    answers = await several([gateway.read("x") for _ in range(30)])
    begun = sum(answer is None for answer in answers)
    assert begun == inner.calls.count("read") == 5, "half of the time-out is less than the second the others wait for"
    assert {answer.code for answer in answers if answer is not None} == {"gateway_busy"}


async def test_whoever_waits_too_long_is_told_that_nothing_was_sent() -> None:
    inner, gateway = limited(1, timeout_s=0.1)
    first = asyncio.create_task(gateway.read("x"))
    await asyncio.sleep(0)
    with pytest.raises(GatewayUnavailable) as busy:
        await gateway.read("y")
    assert busy.value.code == "gateway_busy"
    assert busy.value.retryable
    with pytest.raises(GatewayTimeout):
        await first
    assert gateway.budget.in_flight == 1, "the call has not ended, whatever its caller was told"
    inner.gate.set()
    await reached(lambda: gateway.budget.in_flight == 0)


async def test_whoever_goes_away_gives_his_place_to_the_next() -> None:
    inner, gateway = limited(1)
    first, gone, last = (asyncio.create_task(gateway.read("x")) for _ in range(3))
    await reached(lambda: gateway.budget.waiting == 2)
    gone.cancel()
    inner.gate.set()
    await asyncio.gather(first, last)
    assert (gateway.budget.waiting, gateway.budget.in_flight) == (0, 0)


async def test_a_share_that_ran_out_is_not_used() -> None:
    """Another process may have it by now."""
    _, gateway = limited(5, timeout_s=0.1)
    gateway.budget.resize(5, 5, until=0.0)
    with pytest.raises(GatewayUnavailable):
        await gateway.read("x")


async def test_a_gateway_that_is_back_is_told_once() -> None:
    """A1: then everything unknown comes due at once."""
    inner, gateway = limited(5)
    inner.gate.set()
    told: list[str] = []
    gateway.recovered = told.append
    await gateway.read("x")
    assert told == []
    inner.refused_calls = 2
    assert [type(answer) for answer in await several([gateway.read("x"), gateway.read("x")])] == [
        GatewayUnavailable
    ] * 2
    await several([gateway.read("x"), gateway.read("x")])
    assert told == ["memory"]
