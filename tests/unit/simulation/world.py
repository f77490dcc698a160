"""One made-up world: processes over one store, a network, a gateway behind it, and a trace of what happened."""

import asyncio
import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import Context
from datetime import datetime, timedelta
from random import Random
from typing import Any

import attrs
import structlog

from payments_core.money import Currency, Money
from payments_core.orders import Customer, Item, Order
from payments_core.payment import Attempt, Payment
from payments_core.policy import GatewayTraits, Policy
from payments_core.ports import Gateway
from payments_core.service import PaymentService
from payments_core.status import status
from payments_core_memory import SequentialIds
from unit.simulation.bank import MANUAL, Bank, SimulatedManual
from unit.simulation.far_side import FarSide, Page, Transaction
from unit.simulation.ledger import Ledger
from unit.simulation.loop import SimulatedLoop
from unit.simulation.network import BEGAN, PROVIDER, Openings, SimulatedGateway, Wire
from unit.simulation.outbox import SUBSCRIBER, Hearer, SimulatedOutbox
from unit.simulation.process import Process
from unit.simulation.store import SimulatedStore
from unit.simulation.stripe_gateway import SETTINGS, SimulatedStripe, StripeWire
from unit.simulation.stripe_ledger import StripeLedger

__all__ = ["Parts", "World", "quiet_logs"]

IDR = Currency.of("IDR")
STEPS_MAX = 400_000


@attrs.frozen
class Parts:
    """What a world is built of; a planted bug puts something else here."""

    store: type[SimulatedStore] = SimulatedStore
    wire: Callable[..., PaymentService] = PaymentService.over
    process: type[Process] = Process


class World:
    """Everything there is; actors of the outside are tasks in it that belong to no process."""

    def __init__(
        self,
        random: Random | None,
        policy: Policy,
        traits: GatewayTraits,
        parts: Parts | None = None,
        gateways: Collection[str] = (PROVIDER,),
    ) -> None:
        self.parts = parts or Parts()
        self.random = random or Random(0)
        self.policy = policy
        self.loop = SimulatedLoop(random and Random(random.random()))
        self.store = self.parts.store(Random(self.random.random()))
        self.ledgers: dict[str, FarSide] = {}
        self.bank: Bank | None = None
        self.by_hand = Counter[str]()
        """What people sent back by other means, by transaction; they have said so, or will."""
        self.wires: dict[str, Wire] = {}
        self.openings: list[Openings] = []
        self.gateways = {name: self._gateway(name, traits) for name in gateways}
        self.ids = SequentialIds()
        self.processes: list[Process] = []
        self.incarnations = 0
        self.trace: list[str] = []
        self.complaints: list[str] = []
        self.actors: list[asyncio.Task[None]] = []
        self.on_transaction: list[Callable[[Transaction], None]] = []
        self.on_death: Callable[[Process], None] = lambda _process: None
        self.hearer: Hearer | None = None
        self.due: datetime | None = None
        """When something is due, as all that sleep believe."""
        self.store.watchers.append(self._committed)

    def subscribe(self) -> Hearer:
        """Somebody who wants to know the facts, from now on; processes that run already do not know of it."""
        self.hearer = Hearer.behind(Random(self.random.random()))
        self.store.subscribers = (SUBSCRIBER,)
        return self.hearer

    def _gateway(self, name: str, traits: GatewayTraits) -> Gateway:
        timeout = traits.timeout if name == PROVIDER else SETTINGS.timeout
        wire = self.wires[name] = Wire(Random(self.random.random()), timeout)
        if name == PROVIDER:
            midtrans = Ledger(self.loop.time, self._transaction_changed)
            self.ledgers[name] = midtrans
            self.openings.append(Openings(midtrans))
            return SimulatedGateway(midtrans, wire, self.openings[-1], traits)
        if name == MANUAL:
            bank = self.ledgers[name] = self.bank = Bank(self.loop.time, self._transaction_changed)
            self.openings.append(Openings(bank))
            return SimulatedManual(bank, self.store, self.openings[-1])
        stripe = StripeLedger(self.loop.time, self._transaction_changed, began=BEGAN.timestamp())
        self.ledgers[name] = stripe
        self.openings.append(Openings(stripe))
        return SimulatedStripe(StripeWire(stripe, wire), self.openings[-1])

    # ── the gateways, all of them ─────────────────────────────────────────────────────────────────────────────────
    @property
    def transactions(self) -> dict[str, Transaction]:
        """Every transaction at every gateway."""
        return {name: t for ledger in self.ledgers.values() for name, t in ledger.transactions.items()}

    def ledger_of(self, transaction: Transaction) -> FarSide:
        """The gateway that has this transaction."""
        return next(far for far in self.ledgers.values() if transaction.transaction_id in far.transactions)

    def page(self, attempt: Attempt) -> Page | None:
        """The page of this attempt at its gateway."""
        return self.ledgers[attempt.provider].pages.get(attempt.provider_order_id)

    def is_payable(self, attempt: Attempt) -> bool:
        """Somebody can choose a method on its page."""
        page = self.page(attempt)
        return page is not None and self.ledgers[attempt.provider].is_payable(page)

    # ── processes ─────────────────────────────────────────────────────────────────────────────────────────────────
    def start_process(self, *, skew: timedelta = timedelta(0), sweeping: bool = True) -> Process:
        """A new copy of the service, running."""
        self.incarnations += 1
        process = self.parts.process(
            f"p{self.incarnations}",
            self.loop,
            self.store,
            self.gateways,
            ids=self.ids,
            policy=self.policy,
            skew=skew,
            wire=self.parts.wire,
            outbox=SimulatedOutbox(self.store) if self.hearer else None,
            subscribers={SUBSCRIBER: self.hearer} if self.hearer else None,
        )
        process.died, process.broken = self._process_died, self._broken
        self.processes.append(process)
        self.say(f"{process.name} starts, {skew.total_seconds():+.0f} s")
        process.start(sweeping=sweeping)
        return process

    def _process_died(self, process: Process) -> None:
        self.processes.remove(process)
        self.say(f"{process.name} dies")
        self.on_death(process)

    def _broken(self, error: Exception) -> None:
        self.complain(f"an unexpected error: {error!r}")

    # ── actors of the outside ─────────────────────────────────────────────────────────────────────────────────────
    def actor(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Somebody who belongs to no process."""
        task = self.loop.create_task(work, context=Context())
        self.actors.append(task)
        return task

    def check_the_actors(self) -> None:
        """An actor who stumbled is a fault of these tests."""
        for task in self.actors:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                self.complain(f"an actor failed: {error!r}")

    def run_until(self, done: Callable[[], bool]) -> None:
        """The world turns until then."""
        self.loop.run_until(done, steps_max=STEPS_MAX)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """The result of this work, done from the outside."""
        task = self.loop.create_task(work, context=Context())
        self.run_until(task.done)
        return task.result()

    # ── the shop ──────────────────────────────────────────────────────────────────────────────────────────────────
    def put_order(self, order_id: str, *, units: int, price: int, stock: int) -> Order:
        """An order is there, its stock reserved; `stock` units of its book can still be had by it and others."""
        sku = f"book-{order_id}"
        now = BEGAN + timedelta(seconds=self.loop.time())
        order = Order(
            order_id=order_id,
            customer=Customer("alice", "Alice", "alice@example.com"),
            currency=IDR,
            items=(Item(sku, "A book", Money(price, IDR), units),),
            discount=Money(0, IDR),
            reserved_at=now,
            expires_at=now + self.policy.expiry,
        )

        async def place() -> None:
            async with self.store.transaction() as uow:
                await uow.orders.put_stock(sku, stock)
                await uow.orders.place(order)
                await uow.commit()

        self.run(place())
        return order

    def payment_of(self, order_id: str) -> Payment | None:
        """The payment of this order as it is stored."""
        order = self.store.committed.orders[order_id]
        return self.store.committed.payments.get(order.payment_id or "")

    # ── the trace ─────────────────────────────────────────────────────────────────────────────────────────────────
    def say(self, what: str) -> None:
        """One line of the trace."""
        self.trace.append(f"{self.loop.time():12.3f} {what}")

    def complain(self, what: str) -> None:
        """Something is wrong."""
        self.say(f"WRONG: {what}")
        self.complaints.append(what)

    def digest(self) -> str:
        """What the whole trace is, in a few characters."""
        return hashlib.sha256("\n".join([*self.trace, str(self.loop.steps)]).encode()).hexdigest()[:16]

    def _transaction_changed(self, transaction: Transaction) -> None:
        now = transaction.now
        back = f", back {now.refunds} {now.charged_back}" if now.refunds or now.charged_back else ""
        word = f"{now.word.value} {now.status}".rstrip()
        self.say(f"gateway: {transaction.transaction_id} on {transaction.order_id} is {word} {now.minor}{back}")
        for hear in self.on_transaction:
            hear(transaction)

    def _committed(self, changed: dict[str, tuple[Payment | None, Payment]]) -> None:
        for before, after in changed.values():
            if before is None or before.version != after.version:
                pages = ",".join(f"{a.number}{a.state.value}" for a in after.attempts)
                charges = ",".join(f"{c.transaction_id}={c.state.value}" for c in after.charges)
                refunds = ",".join(f"{r.key[-2:]}={r.state.value}" for r in after.refunds)
                cases = ",".join(f"{c.kind.value}{'' if c.is_open else '/closed'}" for c in after.cases)
                said = f"{after.order_id} v{after.version} {status(after).value} {pages} {charges} {refunds} {cases}"
                self.say(f"commit {said}")
        due = self.store.next_due()
        if due is not None and (self.due is None or due < self.due):  # else whoever sleeps wakes early enough
            for process in self.processes:
                process.poke()
        self.due = due


@contextmanager
def quiet_logs(complain: Callable[[str], None]) -> Iterator[None]:
    """Nothing is printed; what is logged as an error is a complaint."""

    def hear(_logger: object, _method: str, event: Any) -> Any:
        complain(f"logged as an error: {event.get('event')} {event.get('exc_info')}")
        raise structlog.DropEvent

    handler = _Complaints(complain)
    root = logging.getLogger("payments_core")
    was, propagate = structlog.get_config(), root.propagate
    structlog.configure(
        processors=[hear],
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        cache_logger_on_first_use=False,
    )
    root.addHandler(handler)
    root.propagate = False
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.propagate = propagate
        structlog.configure(**was)


class _Complaints(logging.Handler):
    """Errors in the log are bugs of ours."""

    def __init__(self, complain: Callable[[str], None]) -> None:
        super().__init__(logging.ERROR)
        self._complain = complain

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self._complain(f"logged as an error: {record.getMessage()} {error!r}")
