"""The same walk without any shortcut, one history at a time: what `explorer.py` is compared with.

The whole store is driven, with real numbers, real copies that are used up, and nothing left out of a situation but
counters. It is slow, so it is for few steps and few copies.
"""

from collections.abc import Iterator

import attrs

from payments_core import AskCharge, Confirm, Reading
from payments_core_memory import MemoryStore
from unit.laws.explorer import IN_FLIGHT_MAX, QUIET_FOR, End, History, check_end, gateway_says, shop_with_a_try
from unit.world import drive

__all__ = ["OneByOne", "Situation"]


@attrs.frozen
class Situation:
    """Where everything stands: the store, the gateway's step, what can still be delivered, questions on their way."""

    store: MemoryStore
    step: int
    copies: tuple[int, ...]
    waiting: tuple[AskCharge, ...] = ()
    in_flight: tuple[Reading, ...] = ()

    @property
    def key(self) -> object:
        """Equal for situations that differ in nothing but how often something was counted."""
        kept = tuple(
            (k.notification.key.digest, k.verdict, k.asked, k.tries, k.check_at) for k in self.store.inbox.rows.values()
        )
        payments = tuple(attrs.evolve(p, version=0, events=0) for p in self.store.payments.rows.values())
        orders = (*self.store.orders.orders.items(), *self.store.orders.held.items())
        return (payments, kept, orders, self.step, self.copies, self.waiting, self.in_flight)


class OneByOne:
    """Walks every interleaving of one history and checks every end."""

    def __init__(self, history: History, confirm: Confirm, *, lag: bool, copies: int) -> None:
        self.world, self.transaction_id = shop_with_a_try(confirm)
        self.history, self.lag, self.copies = history, lag, copies
        self.transaction = self.world.gateway.transactions[self.transaction_id]
        self.began_at = self.world.clock.at
        self.situations = dict[object, Situation]()

    def explore(self) -> int:
        """The number of interleavings, questions and answers counted; each ended right."""
        counts: dict[object, int] = {}

        def walk(situation: Situation) -> int:
            key = situation.key
            if key not in counts:
                self.situations[key] = situation
                if is_quiet := self.is_quiet(situation):
                    self.check_the_end(situation)
                counts[key] = sum(walk(after) for after in self.following(situation)) + is_quiet
            return counts[key]

        return walk(Situation(self.frozen_store(), 0, (self.copies,) + (0,) * (len(self.history) - 1)))

    def is_quiet(self, situation: Situation) -> bool:
        """The gateway has come to its end; whatever was not delivered by now is lost."""
        return situation.step == len(self.history) - 1 and not situation.in_flight and not situation.waiting

    def following(self, situation: Situation) -> Iterator[Situation]:
        """Everything that can happen next, one thing at a time."""
        if situation.step + 1 < len(self.history):
            copies = list(situation.copies)
            copies[situation.step + 1] = self.copies
            yield attrs.evolve(situation, step=situation.step + 1, copies=tuple(copies))
        for message, left in enumerate(situation.copies):
            if left:
                yield self.deliver(situation, message)
        for index, command in enumerate(situation.waiting if len(situation.in_flight) < IN_FLIGHT_MAX else ()):
            rest = situation.waiting[:index] + situation.waiting[index + 1 :]
            for seen in {situation.step, max(0, situation.step - 1)} if self.lag else {situation.step}:
                asked = attrs.evolve(situation, waiting=rest)
                yield attrs.evolve(asked, in_flight=(*asked.in_flight, self.reading(command, seen)))
        for index, reading in enumerate(situation.in_flight):
            rest_in_flight = situation.in_flight[:index] + situation.in_flight[index + 1 :]
            yield self.arrive(attrs.evolve(situation, in_flight=rest_in_flight), reading)

    def deliver(self, situation: Situation, message: int) -> Situation:
        """After this message, as the gateway sent it at its step."""
        self.stand(situation, message)
        drive(self.world.deliver(self.transaction_id))
        copies = list(situation.copies)
        copies[message] -= 1
        return self.after(situation, copies=tuple(copies))

    def reading(self, command: AskCharge, step: int) -> Reading:
        """The answer to this question, showing the gateway at this step."""
        self.set_gateway(step)
        return Reading(
            number=command.number,
            asked_at=self.began_at,
            attempt=command.attempt,
            transaction_id=command.transaction_id,
            answer=drive(self.world.gateway.read(command.transaction_id)),
        )

    def arrive(self, situation: Situation, reading: Reading) -> Situation:
        """After this answer."""
        self.stand(situation, situation.step)
        drive(self.world.service.perform.ask.apply(self.world.payment.payment_id, reading))
        return self.after(situation)

    def stand(self, situation: Situation, step: int) -> None:
        """The world is put into this situation."""
        store, copy = self.world.store, situation.store
        store.payments, store.inbox, store.orders = copy.payments.copy(), copy.inbox.copy(), copy.orders.copy()
        self.world.errands.waiting.clear()
        self.world.clock.at = self.began_at
        self.set_gateway(step)

    def set_gateway(self, step: int) -> None:
        """The gateway has come as far as this step."""
        gateway_says(self.world, self.transaction, *self.history[: step + 1])

    def after(self, situation: Situation, **changes: object) -> Situation:
        """The situation the world is in now; other errands than questions run when the gateway is quiet."""
        asked = [c for c in (*situation.waiting, *self.world.errands.waiting) if isinstance(c, AskCharge)]
        newest = max(asked, key=lambda c: c.number, default=None)  # one answer serves every earlier question
        return attrs.evolve(situation, store=self.frozen_store(), waiting=(newest,) if newest else (), **changes)

    def frozen_store(self) -> MemoryStore:
        """What is stored now, for a situation to keep: the world goes on."""
        store = self.world.store
        return MemoryStore(store.payments.copy(), store.inbox.copy(), store.orders.copy())

    def check_the_end(self, situation: Situation) -> None:
        """What is due is done, with no lag any more: the end is the gateway's end.

        If the last change was notified, that must be enough; only if every copy of it was lost, one poll reaches us.
        """
        self.stand(situation, len(self.history) - 1)
        world = self.world
        if situation.copies[-1] == self.copies:
            drive(world.service.perform.ask.page(world.payment.payment_id, world.payment.attempt(1)))
        drive(world.do_errands())
        drive(world.pass_time(QUIET_FOR))
        check_end(self.history, End.of(world, self.transaction_id))
