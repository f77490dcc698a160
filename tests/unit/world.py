"""One shop with one order, wired over the memory twins: what unit tests and laws drive."""

from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, TypeVar

import attrs
import pytest

from payments_core import (
    Currency,
    Customer,
    GatewayTraits,
    Item,
    Money,
    Order,
    PageWish,
    Payment,
    PaymentStatus,
    Signal,
    status,
)
from payments_core.payment import CaseDecision
from payments_core.ports import Notification
from payments_core.testing.order_registries import RegistryKeeper
from payments_core.testing.world import World as PortWorld
from payments_core.use_cases.receive_notification import Accepted
from payments_core.use_cases.start_payment import Paying
from payments_core_memory import ManualClock, MemoryGateway, MemoryStore, SequentialIds
from payments_core_memory.store import _Unit as Unit

IDR = Currency.of("IDR")
ANYTHING = PageWish(provider="memory")
Result = TypeVar("Result")


def rupiah(whole: int) -> Money:
    """So many whole rupiah."""
    return Money(whole * 100, IDR)


def drive(work: Coroutine[Any, Any, Result]) -> Result:
    """The result of a coroutine that never has to wait: the twins answer at once."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    work.close()
    raise AssertionError("the coroutine waits for something")


@contextmanager
def commits_are_answered_after(clock: ManualClock, late: timedelta) -> Iterator[None]:
    """Whatever is saved is there at once, and whoever saved it hears of it so much later."""
    commit = Unit.commit

    async def slowly(unit: Unit) -> None:
        await commit(unit)
        clock.move(late)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Unit, "commit", slowly)
        yield


@attrs.define(kw_only=True)
class World(PortWorld):
    """The world over the memory twins; what they store can be looked at without waiting."""

    traits: GatewayTraits = attrs.field(factory=GatewayTraits)
    clock: ManualClock = attrs.field(factory=ManualClock)
    ids: SequentialIds = attrs.field(factory=SequentialIds)
    store: MemoryStore = attrs.field(factory=MemoryStore)
    shop: MemoryStore = attrs.field(default=attrs.Factory(lambda self: self.store, takes_self=True))
    keeper: RegistryKeeper = attrs.field(
        default=attrs.Factory(lambda self: RegistryKeeper(self.store), takes_self=True)
    )
    gateway: MemoryGateway = attrs.field(
        default=attrs.Factory(lambda self: MemoryGateway(traits=self.traits), takes_self=True)
    )

    # ── the shop ──────────────────────────────────────────────────────────────────────────────────────────────────
    def order(self, order_id: str = "o-1", *, units: int = 2, price: int = 50_000, stock: int = 10) -> Order:
        """A new order of `units` books, its stock reserved."""
        now = self.clock.now()
        order = Order(
            order_id=order_id,
            customer=Customer("alice", "Alice", "alice@example.com"),
            currency=IDR,
            items=(Item("book", "A book", rupiah(price), units),),
            discount=rupiah(0),
            reserved_at=now,
            expires_at=now + self.policy.expiry,
        )
        self.store.orders.available.setdefault("book", stock)
        placed, _ = drive(self.store.orders.place(order))
        return placed

    def shop_order(self, order_id: str = "o-1") -> Order:
        """The order as it is now."""
        return self.store.orders.orders[order_id]

    @property
    def stock(self) -> int:
        """Books that can still be reserved."""
        return self.store.orders.available["book"]

    @property
    def payment(self) -> Payment:
        """The one payment there is."""
        (payment,) = self.store.payments.rows.values()
        return payment

    @property
    def status(self) -> PaymentStatus:
        """Its status."""
        return status(self.payment)

    @property
    def cases(self) -> list[str]:
        """Kinds of its open cases."""
        return [case.kind.value for case in self.payment.open_cases]

    @property
    def history(self) -> list[str]:
        """Types of its events, oldest first."""
        return [event.type.value for event in self.store.payments.events[self.payment.payment_id]]

    # ── the customer ──────────────────────────────────────────────────────────────────────────────────────────────
    async def click(self, order_id: str = "o-1", wish: PageWish = ANYTHING) -> Paying:
        """A click on "Pay"."""
        return await self.service.start(order_id, wish, customer_id="alice", actor="customer:alice")

    async def opened(self, order_id: str = "o-1") -> str:
        """The token of the page of a new order."""
        self.order(order_id)
        return (await self.click(order_id)).attempt.token or ""

    def tries(self, outcome: Signal, *, method: str = "bank_transfer") -> str:
        """The transaction id of a buyer's try on the payable page."""
        page = self.payment.payable_attempt
        assert page is not None
        assert page.token is not None
        return self.gateway.buyer_tries(page.token, outcome, method=method)

    # ── the gateway's messages ────────────────────────────────────────────────────────────────────────────────────
    async def deliver(self, transaction_id: str, **forged: object) -> Accepted:
        """What became of the notification the gateway would send now; its questions are not asked yet."""
        body, headers = self.gateway.notification(transaction_id, **forged)
        return await self.deliver_bytes(body, headers)

    def understood(self, transaction_id: str, **forged: object) -> Notification:
        """The notification the gateway would send now, its sender proved and not yet taken in."""
        body, headers = self.gateway.notification(transaction_id, **forged)
        notification = self.service.receive.understand("memory", body, headers)
        assert isinstance(notification, Notification)
        return notification

    def forget_the_gateway(self) -> None:
        """Its keys were taken out of the settings."""
        gateways = self.service.sweep.ask.gateways
        assert isinstance(gateways, dict)
        gateways.clear()

    async def hear(self, transaction_id: str, **forged: object) -> Accepted:
        """The same, with every question asked and every errand done."""
        accepted = await self.deliver(transaction_id, **forged)
        await self.do_errands()
        return accepted

    async def next_due(self) -> datetime | None:
        """When any row is due, also one that belongs to no payment."""
        unit = self.store
        times = [kept.check_at for kept in unit.inbox.rows.values()]
        for payment in unit.payments.rows.values():
            times += [payment.deadline_at, *(a.check_at for a in payment.attempts)]
            times += [c.check_at for c in payment.charges]
            times += [r.check_at for r in payment.refunds]
        times += [
            o.expires_at for o in unit.orders.orders.values() if o.payment_id is None and o.status.value == "pending"
        ]
        return min((at for at in times if at is not None), default=None)


async def decide(world: World, decision: CaseDecision, number: int = 1, note: str = "because") -> Payment:
    """What an operator decides of a case, and why."""
    operate, payment_id = world.service.operate, world.payment.payment_id
    return await operate.resolve(payment_id, number, decision, note, actor="operator:olivia")
