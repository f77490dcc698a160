"""Guarantee B1, first version: whatever is delivered how often in which order, the end is the gateway's end.

Every legal history of a gateway, every interleaving of its steps with the deliveries of its messages (late, repeated,
missing) and with the questions we ask. A question leaves at one moment and its answer arrives at a later one; the
answer shows the gateway as it stood when it was asked, or one step older where it lags. When the gateway is quiet, one
poll reaches us. The real use cases are driven over the memory store; equal situations are explored once and counted as
often as they are reached.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import cache

import attrs
import pytest

import payments_core.use_cases.receive_notification as receive_module
from payments_core import AskCharge, ChargeState, Confirm, GatewayTraits, Policy, Reading, Signal, status
from payments_core.decide import Verdict
from payments_core.states import ENDED
from payments_core_memory import MemoryStore
from payments_core_memory.orders import MemoryOrders
from unit.world import World, drive, rupiah

START, COPIES, IN_FLIGHT, STEPS = "start", 2, 2, 2
LEGAL: dict[str | Signal, tuple[Signal, ...]] = {
    START: (Signal.PENDING, Signal.CHALLENGED, Signal.AUTHORIZED, Signal.CAPTURED, Signal.SETTLED, Signal.DENIED),
    Signal.PENDING: (
        Signal.AUTHORIZED,
        Signal.CAPTURED,
        Signal.SETTLED,
        Signal.DENIED,
        Signal.EXPIRED,
        Signal.CANCELLED,
    ),
    Signal.CHALLENGED: (Signal.CAPTURED, Signal.DENIED, Signal.CANCELLED),
    Signal.AUTHORIZED: (Signal.CAPTURED, Signal.CANCELLED, Signal.EXPIRED),
    Signal.CAPTURED: (Signal.SETTLED, Signal.CANCELLED),
    Signal.SETTLED: (Signal.DENIED,),
    Signal.EXPIRED: (Signal.SETTLED,),
    Signal.DENIED: (),
    Signal.CANCELLED: (),
}
"""The legal moves of one transaction (Midtrans facts, section 4), a settlement after an expiry included."""


def histories(steps_max: int) -> Iterator[tuple[Signal, ...]]:
    """Every legal history of at most so many steps."""

    def grow(history: tuple[Signal, ...]) -> Iterator[tuple[Signal, ...]]:
        yield history
        if len(history) < steps_max:
            for following in LEGAL[history[-1]]:
                yield from grow((*history, following))

    for first in LEGAL[START]:
        yield from grow((first,))


@attrs.frozen
class Situation:
    """Where everything stands: the store, the gateway's step, what can still be delivered, questions on their way."""

    store: MemoryStore
    step: int
    copies: tuple[int, ...]
    waiting: tuple[AskCharge, ...]
    in_flight: tuple[Reading, ...]

    @property
    def key(self) -> object:
        """Equal for situations that differ in nothing but how often something was counted."""
        kept = tuple(
            (k.notification.key.digest, k.verdict, k.asked, k.tries, k.check_at) for k in self.store.inbox.rows.values()
        )
        payments = tuple(attrs.evolve(p, version=0, events=0) for p in self.store.payments.rows.values())
        orders = tuple((*self.store.orders.orders.items(), *self.store.orders.held.items()))
        return (payments, kept, orders, self.step, self.copies, self.waiting, self.in_flight)


class Explorer:
    """Walks every interleaving of one history and checks every end."""

    def __init__(self, history: tuple[Signal, ...], confirm: Confirm, *, lag: bool, copies: int = COPIES) -> None:
        traits = GatewayTraits(confirm=confirm, status_lag=timedelta(seconds=60))
        self.world = World(traits=traits, policy=Policy(expiry=timedelta(hours=72)))
        self.history, self.lag, self.copies = history, lag, copies
        self.world.order()
        drive(self.world.service.start._pay("o-1", receive_wish(), "alice", "alice"))
        token = self.world.payment.attempt(1).token or ""
        self.transaction_id = self.world.gateway.buyer_tries(token, history[0])
        self.transaction = self.world.gateway.transactions[self.transaction_id]
        self.began_at = self.world.clock.at
        self.ends: set[str] = set()

    def explore(self) -> int:
        """The number of interleavings; each ended right."""
        first = Situation(self.world.store, 0, (self.copies,) + (0,) * (len(self.history) - 1), (), ())
        counts: dict[object, int] = {}

        def walk(situation: Situation) -> int:
            key = situation.key
            if key not in counts:
                following = [*self.following(situation)]
                if self.is_quiet(situation):
                    self.check_the_end(situation)
                counts[key] = sum(walk(after) for after in following) + (1 if self.is_quiet(situation) else 0)
            return counts[key]

        total = walk(first)
        self.situations = len(counts)
        return total

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
        for index, command in enumerate(situation.waiting if len(situation.in_flight) < IN_FLIGHT else ()):
            rest = situation.waiting[:index] + situation.waiting[index + 1 :]
            for seen in {situation.step, max(0, situation.step - 1)} if self.lag else {situation.step}:
                asked = attrs.evolve(situation, waiting=rest)
                yield attrs.evolve(asked, in_flight=(*asked.in_flight, self.reading(command, seen)))
        for index, reading in enumerate(situation.in_flight):
            rest_in_flight = situation.in_flight[:index] + situation.in_flight[index + 1 :]
            yield self.arrive(attrs.evolve(situation, in_flight=rest_in_flight), reading)

    def deliver(self, situation: Situation, message: int) -> Situation:
        self.stand(situation, message)
        drive(self.world.deliver(self.transaction_id))
        copies = list(situation.copies)
        copies[message] -= 1
        return self.after(situation, copies=tuple(copies))

    def reading(self, command: AskCharge, step: int) -> Reading:
        self.set_gateway(step)
        answer = drive(self.world.gateway.read(command.transaction_id))
        return Reading(
            number=command.number,
            asked_at=self.world.clock.now(),
            attempt=command.attempt,
            transaction_id=command.transaction_id,
            answer=answer,
        )

    def arrive(self, situation: Situation, reading: Reading) -> Situation:
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
        self.world.gateway.transactions[self.transaction_id] = attrs.evolve(
            self.transaction, words=self.history[: step + 1]
        )

    def after(self, situation: Situation, **changes: object) -> Situation:
        """The situation the world is in now; other errands than questions run when the gateway is quiet."""
        store = self.world.store
        frozen = MemoryStore(store.payments.copy(), store.inbox.copy(), store.orders.copy())
        asked = [c for c in (*situation.waiting, *self.world.errands.waiting) if isinstance(c, AskCharge)]
        newest = max(asked, key=lambda c: c.number, default=None)  # one answer serves every earlier question
        return attrs.evolve(situation, store=frozen, waiting=(newest,) if newest else (), **changes)

    def check_the_end(self, situation: Situation) -> None:
        """One poll, then everything that is due, with no lag any more: the end is the gateway's end."""
        self.stand(situation, len(self.history) - 1)
        world = self.world
        drive(world.service.perform.ask.page(world.payment.payment_id, world.payment.attempt(1)))
        drive(world.do_errands())
        drive(world.pass_time(timedelta(minutes=20)))
        charge = world.payment.charge(self.transaction_id)
        end = f"{charge.state if charge else None} {world.status} {world.shop_order().status} {world.store.orders.held}"
        self.ends.add(end)
        assert charge is not None, f"{self.history}: the gateway's transaction is unknown"
        check_end(self.history, charge.state, world)


def receive_wish() -> object:
    from unit.world import ANYTHING

    return ANYTHING


def check_end(history: tuple[Signal, ...], state: ChargeState, world: World) -> None:
    """The allowed ends of a history; more than one only where design 3 allows it."""
    last, held = history[-1], world.store.orders.held["o-1"].value
    paid = {Signal.CAPTURED, Signal.SETTLED}
    reached = (state, status(world.payment).value, world.shop_order().status.value, held)
    if last in paid:
        assert reached == (ChargeState(last.value), "success", "paid", "consumed"), (history, reached)
    elif last is Signal.PENDING:
        assert reached == (ChargeState.PENDING, "processing", "pending", "reserved"), (history, reached)
    elif last is Signal.CHALLENGED:
        assert reached == (ChargeState.CHALLENGED, "processing", "pending", "reserved"), (history, reached)
    elif last is Signal.AUTHORIZED:
        assert reached == (ChargeState.AUTHORIZED, "authorized", "pending", "reserved"), (history, reached)
    elif paid & set(history):
        # Money was there and is gone. Whoever saw it knows a reversal and asks a person; whoever did not sees an ending.
        assert state in ENDED or (state is ChargeState.REVERSED and "reversed" in world.cases), (history, reached)
        assert world.payment.paid_by is None
        assert world.shop_order().status.value in ("pending", "cancelled"), (history, reached)
    else:
        assert state in ENDED, (history, reached)
        gave_up = world.payment.closed is not None
        assert held == ("released" if gave_up else "reserved"), (history, reached)
        assert world.shop_order().status.value == ("cancelled" if gave_up else "pending")
        if last is Signal.DENIED:
            assert not gave_up, "a decline never gives an order up"
        elif Signal.AUTHORIZED not in history:
            assert gave_up, "an unpaid page that ended is given up"


@pytest.mark.parametrize("lag", [False, True], ids=["no lag", "lag"])
@pytest.mark.parametrize("confirm", [*Confirm], ids=lambda c: c.value)
def test_every_interleaving_of_every_history_ends_as_the_gateway_ended(confirm: Confirm, lag: bool) -> None:
    """Late, repeated, missing, out of order: the money we believe in is the money that is there."""
    total = count = 0
    for history in histories(STEPS):
        total += Explorer(history, confirm, lag=lag).explore()
        count += 1
    print(f"{count} histories, {total:,} interleavings ({confirm.value}, lag {'on' if lag else 'off'})")
    assert total > 1_000
