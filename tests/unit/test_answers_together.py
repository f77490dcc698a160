"""Answers that come while one is being applied are applied together; each keeps its own outcome."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest

from payments_core import Payment, Reading, Signal
from payments_core.errors import StaleWrite, StorageError
from payments_core.ports import Change
from payments_core.use_cases.apply_reading import AskGateway
from payments_core_memory import MemoryStore
from unit.values import says
from unit.world import World

ORDERS = ("o-1", "o-2", "o-3")


@attrs.define
class Unhurried(MemoryStore):
    """Others have their turn while a transaction is under way."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        async with MemoryStore.transaction(self) as uow:
            await asyncio.sleep(0)
            self.begun += 1
            yield uow

    begun: int = 0


@pytest.fixture
def world() -> World:
    """The first answer is applied alone, those that come meanwhile together."""
    return World(store=Unhurried())


async def three_paid_at_the_gateway(world: World) -> dict[str, Reading]:
    """What the gateway says of three payments, by their ids."""
    for order_id in ORDERS:
        world.order(order_id)
        await world.click(order_id)
    return {
        payment_id: Reading(
            number=1, asked_at=world.clock.now(), attempt=1, transaction_id=f"tx-{number}", answer=answer
        )
        for number, payment_id in enumerate(world.store.payments.rows)
        if (
            answer := says(
                Signal.SETTLED,
                f"tx-{number}",
                provider="memory",
                provider_order_id=world.store.payments.rows[payment_id].attempt(1).provider_order_id,
            )
        )
    }


async def applied(world: World, readings: dict[str, Reading]) -> list[object]:
    """What became of each, when all of them come at once."""
    ask = world.service.perform.ask
    doing = (ask.apply(payment_id, reading) for payment_id, reading in readings.items())
    return await asyncio.gather(*doing, return_exceptions=True)


def paid(world: World) -> list[bool]:
    return [payment.paid_by is not None for payment in world.store.payments.rows.values()]


async def test_each_caller_gets_the_payment_he_asked_about(world: World) -> None:
    readings = await three_paid_at_the_gateway(world)
    assert isinstance(world.store, Unhurried)
    before = world.store.begun
    ended = await applied(world, readings)
    assert [payment.payment_id for payment in ended if isinstance(payment, Payment)] == [*readings]
    assert paid(world) == [True] * 3
    assert world.store.begun - before == 2, "one transaction for the first, one for the others"


async def test_answers_about_one_payment_are_applied_one_on_the_other(world: World) -> None:
    """The second is decided on what the first made of the payment, in one save."""
    await three_paid_at_the_gateway(world)
    first, other, _ = world.store.payments.rows.values()
    page = first.attempt(1).provider_order_id
    both = [
        Reading(
            number=number,
            asked_at=world.clock.now(),
            attempt=1,
            transaction_id=name,
            answer=says(word, name, provider="memory", provider_order_id=page),
        )
        for number, name, word in ((1, "a", Signal.DENIED), (2, "b", Signal.SETTLED))
    ]
    ask = world.service.perform.ask
    nothing = Reading(number=1, asked_at=world.clock.now(), attempt=1, transaction_id=None, answer=None)
    await asyncio.gather(
        ask.apply(other.payment_id, nothing), *(ask.apply(first.payment_id, reading) for reading in both)
    )
    after = world.store.payments.rows[first.payment_id]
    assert [(charge.transaction_id, charge.state.value) for charge in after.charges] == [
        ("a", "denied"),
        ("b", "settled"),
    ]
    assert after.version == first.version + 1


async def test_what_an_asker_wants_changed_is_his_payment_only(world: World) -> None:
    readings = await three_paid_at_the_gateway(world)
    ask, moved = world.service.perform.ask, list[str]()

    def then(payment: Payment) -> Payment:
        moved.append(payment.payment_id)
        return payment

    await asyncio.gather(*(ask.apply(payment_id, reading, then) for payment_id, reading in readings.items()))
    assert moved == [*readings]


async def test_an_answer_about_a_payment_that_is_not_there_keeps_no_other_from_being_applied(world: World) -> None:
    readings = await three_paid_at_the_gateway(world)
    first, second, third = readings
    ended = await applied(world, {first: readings[first], "nobody": readings[second], third: readings[third]})
    assert [type(end) for end in ended] == [Payment, type(None), Payment]
    assert paid(world) == [True, False, True]


async def test_a_bug_about_one_answer_is_told_its_asker_and_not_his_neighbours(world: World) -> None:
    readings = await three_paid_at_the_gateway(world)
    first, second, third = readings
    ask = world.service.perform.ask

    def breaks(payment: Payment) -> Payment:
        raise ValueError(f"a bug about {payment.order_id}")

    ended = await asyncio.gather(
        ask.apply(first, readings[first]),
        ask.apply(second, readings[second], breaks),
        ask.apply(third, readings[third]),
        return_exceptions=True,
    )
    assert [type(end) for end in ended] == [Payment, ValueError, Payment]
    assert paid(world) == [True, False, True]


async def test_when_the_store_refuses_them_together_each_is_tried_by_itself(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One payment that cannot be saved does not keep the others from being."""
    readings = await three_paid_at_the_gateway(world)
    poison = [*readings][1]
    save = type(world.store.payments).save

    async def failing(self: object, changes: Sequence[Change]) -> dict[str, Payment]:
        if any(change.after.payment_id == poison for change in changes):
            raise StorageError("this one breaks")
        return await save(self, changes)  # type: ignore[arg-type]

    monkeypatch.setattr(type(world.store.payments), "save", failing)
    ended = await applied(world, readings)
    assert [type(end) for end in ended] == [Payment, StorageError, Payment]
    assert paid(world) == [True, False, True]


async def test_a_race_that_was_lost_is_run_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    readings = await three_paid_at_the_gateway(world)
    save, lost = type(world.store.payments).save, iter([False, True])

    async def stale_the_second_time(self: object, changes: Sequence[Change]) -> dict[str, Payment]:
        if next(lost, False):
            raise StaleWrite("somebody else was first")
        return await save(self, changes)  # type: ignore[arg-type]

    monkeypatch.setattr(type(world.store.payments), "save", stale_the_second_time)
    assert [type(end) for end in await applied(world, readings)] == [Payment] * 3
    assert paid(world) == [True] * 3


def test_two_askers_are_told_apart_by_what_they_ask_over(world: World) -> None:
    """Not by what is on its way."""
    ask = world.service.perform.ask
    assert ask == AskGateway(ask.desk, ask.gateways)
