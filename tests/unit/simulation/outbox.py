"""Facts on their way to a subscriber: the made-up store's outbox, and a subscriber behind a network of its own."""

from collections.abc import Callable
from datetime import datetime
from random import Random

import attrs

from payments_core.facts import Event
from payments_core.limits import DELIVERY_TIMEOUT
from payments_core.ports import Delivery
from unit.simulation.network import Wire
from unit.simulation.store import Fact, FactKey, SimulatedStore

__all__ = ["SUBSCRIBER", "Hearer", "SimulatedOutbox"]

SUBSCRIBER = "crm"


@attrs.frozen
class SimulatedOutbox:
    """The `Outbox` port over the made-up store: each method one transaction, as `SqlOutbox` has them."""

    store: SimulatedStore

    async def claim(self, *, now: datetime, until: datetime, limit: int) -> list[Delivery]:
        """Facts that are due and free, leased; rows that another claim holds are skipped."""
        async with self.store.transaction() as unit:
            await unit.statement("outbox.claim")
            due = sorted((at, key) for key, at in self.store.free_facts() if at <= now)
            claimed = [key for _, key in due if self.store.locks.try_take(unit, ("outbox", key))][:limit]
            for key in claimed:
                unit.facts[key] = Fact(until, self.store.committed.outbox[key].tries)
            told = [self._delivery(key) for key in sorted(claimed)]
            await unit.commit()
        return told

    def _delivery(self, key: FactKey) -> Delivery:
        payment_id, sequence, subscriber = key
        (event,) = (e for e in self.store.committed.events[payment_id] if e.sequence == sequence)
        return Delivery(subscriber=subscriber, event=event, tries=self.store.committed.outbox[key].tries)

    async def delivered(self, delivery: Delivery) -> None:
        """Its row is gone, so the next fact of its payment is free."""
        await self._write(delivery, lambda _fact: None)

    async def failed(self, delivery: Delivery, *, try_at: datetime | None) -> None:
        """It is due again at `try_at`, or a dead letter when that is None."""
        await self._write(delivery, lambda fact: Fact(try_at, fact.tries + 1))

    async def _write(self, delivery: Delivery, change: Callable[[Fact], Fact | None]) -> None:
        key = (delivery.event.payment_id, delivery.event.sequence, delivery.subscriber)
        async with self.store.transaction() as unit:
            await unit.statement("outbox.write")
            await unit.lock(("outbox", key))
            if (fact := self.store.committed.outbox.get(key)) is not None:
                unit.facts[key] = change(fact)
            await unit.commit()

    async def revive(self, subscriber: str, *, now: datetime) -> int:
        """Nobody here says so."""
        raise NotImplementedError


@attrs.define
class Hearer:
    """A subscriber: what it took, in the order it was told; its answers get lost like anybody's."""

    wire: Wire
    heard: list[tuple[str, int]] = attrs.field(factory=list)

    @classmethod
    def behind(cls, random: Random) -> "Hearer":
        """One with a network before it."""
        return cls(Wire(random, DELIVERY_TIMEOUT))

    async def __call__(self, event: Event, delivery_id: str) -> None:
        """It has the fact, unless it says something else."""
        assert delivery_id == f"{event.payment_id}-{event.sequence}"
        await self.wire.call("subscriber", lambda: self.heard.append((event.payment_id, event.sequence)))

    def complaint(self, payment_id: str, events: int) -> str | None:
        """What is wrong with what it heard of a payment that has so many events; None when it heard each in turn."""
        first = list(dict.fromkeys(sequence for told, sequence in self.heard if told == payment_id))
        wanted = [*range(1, events + 1)]
        return None if first == wanted else f"the subscriber heard {first} of {events} facts of {payment_id}"
