"""A shop in this process whose only gateway is Stripe: the real adapter over real HTTP, the stores in memory.

What a decision asks for is done at once, so an event has its whole effect when `hear` returns.
"""

import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import attrs

from harness.stripe_double import KEY, SECRET, StripeDouble, signed
from payments_core import Currency, Customer, ErrandList, Item, Money, Order, PageWish, Payment, PaymentService, Policy
from payments_core import status as status_of
from payments_core.orders import Shipping
from payments_core.ports import Foreign
from payments_core.system import SystemClock, SystemIds
from payments_core.use_cases.receive_notification import Accepted
from payments_core.use_cases.start_payment import Paying
from payments_core_memory import MemoryStore
from payments_core_stripe import StripeGateway, StripeSettings

__all__ = ["StripeShop", "new_order", "stripe_gateway", "stripe_shop"]

ORDER_ID = "o-1"


def new_order(
    price: int = 5_000_000,
    quantity: int = 2,
    *,
    currency: str = "IDR",
    discount: int = 0,
    shipping: int = 0,
    more: tuple[Item, ...] = (),
) -> Order:
    """An order of books; amounts in minor units of the currency."""
    coin, now = Currency.of(currency), SystemClock().now()
    address = Shipping(Money(shipping, coin), "Alice", "Jalan 1", "Jakarta", "10110") if shipping else None
    return Order(
        order_id=ORDER_ID,
        customer=Customer("alice", "Alice", "alice@example.com"),
        currency=coin,
        items=(Item("book", "A book", Money(price, coin), quantity), *more),
        discount=Money(discount, coin),
        shipping=address,
        reserved_at=now,
        expires_at=now + timedelta(hours=24),
    )


def stripe_gateway(double: StripeDouble, **changes: Any) -> StripeGateway:
    """The adapter, pointed at the double."""
    values = {"secret_key": KEY, "webhook_secrets": (SECRET,), "api_url": double.url, "timeout": timedelta(seconds=5)}
    return StripeGateway(StripeSettings(**{**values, **changes}))


@attrs.define
class StripeShop:
    """One order and its payment."""

    double: StripeDouble
    gateway: StripeGateway
    store: MemoryStore
    service: PaymentService
    errands: ErrandList

    async def place(self, order: Order | None = None) -> Order:
        """An order, its stock reserved."""
        async with self.store.transaction() as uow:
            uow.orders.available.setdefault("book", 100)
            placed, _ = await uow.orders.place(order or new_order())
            await uow.commit()
        return placed

    async def click(self, **wish: Any) -> Paying:
        """A click on "Pay"."""
        return await self.service.start(ORDER_ID, PageWish(provider="stripe", **wish), customer_id=None, actor="shop")

    async def opened(self, order: Order | None = None) -> str:
        """The session of a new order's page."""
        await self.place(order)
        return (await self.click()).attempt.token or ""

    async def hear(self, event: dict[str, Any]) -> Accepted | Foreign:
        """What became of this event, signed now; everything it led to is done."""
        heard = await self.service.receive("stripe", *signed(event))
        await self.errands.do(self.service.perform)
        return heard

    async def hear_all(self) -> None:
        """Every event the double has told so far was delivered, oldest first."""
        for event in list(self.double.events):
            await self.hear(event)

    @property
    def payment(self) -> Payment:
        """The one payment there is."""
        (payment,) = self.store.payments.rows.values()
        return payment

    @property
    def status(self) -> str:
        """Its status."""
        return status_of(self.payment).value

    @property
    def cases(self) -> list[str]:
        """Kinds of its open cases."""
        return [case.kind.value for case in self.payment.open_cases]

    @property
    def history(self) -> list[str]:
        """Types of its events, oldest first."""
        return [event.type.value for event in self.store.payments.events[self.payment.payment_id]]


@contextlib.asynccontextmanager
async def stripe_shop(double: StripeDouble, policy: Policy | None = None) -> AsyncIterator[StripeShop]:
    """A shop with nothing in it."""
    gateway, store, errands = stripe_gateway(double), MemoryStore(), ErrandList()
    service = PaymentService.over(
        store, {"stripe": gateway}, clock=SystemClock(), ids=SystemIds(), errands=errands, policy=policy, shop=store
    )
    try:
        yield StripeShop(double, gateway, store, service, errands)
    finally:
        await gateway.close()
