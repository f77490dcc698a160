"""The use cases over one SQL store and a gateway in memory, as a test in this process drives them."""

from datetime import UTC, datetime, timedelta

import attrs

from payments_core import ErrandList, PageWish, Payment, PaymentService, Signal
from payments_core.ports import Gateway, Notification, Subscriber
from payments_core.system import SystemIds
from payments_core.testing.samples import order
from payments_core.use_cases.start_payment import Paying
from payments_core_memory import ManualClock, MemoryGateway
from payments_core_sqlalchemy import SqlStore
from payments_core_sqlalchemy.outbox import SqlOutbox
from payments_core_sqlalchemy.survey import SqlSurvey
from payments_core_sqlalchemy.turns import SqlTurns

ANYTHING = PageWish(provider="memory")


@attrs.define
class SqlShop:
    """One shop; its clock is moved by hand and begins now."""

    store: SqlStore
    gateway: MemoryGateway = attrs.field(factory=MemoryGateway)
    clock: ManualClock = attrs.field(factory=lambda: ManualClock(datetime.now(UTC)))
    errands: ErrandList = attrs.field(factory=ErrandList)
    subscribers: dict[str, Subscriber] = attrs.field(factory=dict)
    others: dict[str, Gateway] = attrs.field(factory=dict)
    service: PaymentService = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.service = PaymentService.over(
            self.store,
            {"memory": self.gateway, **self.others},
            clock=self.clock,
            ids=SystemIds(),
            errands=self.errands,
            shop=self.store,
            turns=SqlTurns(self.store),
            survey=SqlSurvey(self.store),
            outbox=SqlOutbox(self.store),
            subscribers=self.subscribers,
        )

    async def opened(self, order_id: str = "o-1", *, units: int = 1) -> tuple[str, str]:
        """The payment id and the token of the page of a new order."""
        await self.place(order_id, units=units)
        paying = await self.click(order_id)
        return paying.payment.payment_id, str(paying.attempt.token)

    async def place(self, order_id: str, *, units: int = 1) -> None:
        """A new order, and books enough for many."""
        now = self.clock.now()
        async with self.store.transaction() as uow:
            await uow.orders.put_stock("book", 1_000)
            await uow.orders.place(order(order_id, units=units, reserved_at=now, expires_at=now + timedelta(hours=24)))
            await uow.commit()

    async def click(self, order_id: str) -> Paying:
        """What its customer's click on "Pay" comes to."""
        return await self.service.start(order_id, ANYTHING, customer_id="alice", actor="customer:alice")

    async def paid(self, order_id: str = "o-1", *, units: int = 1) -> str:
        """The payment id of a new order that is paid and settled."""
        payment_id, token = await self.opened(order_id, units=units)
        self.gateway.buyer_tries(token, Signal.SETTLED, method="card")
        await self.service.refresh(payment_id)
        await self.errands.do(self.service.perform)
        return payment_id

    def understood(self, transaction_id: str, **changes: object) -> Notification:
        """The notification the gateway would send now, its sender proved."""
        notification = self.service.receive.understand("memory", *self.gateway.notification(transaction_id, **changes))
        assert isinstance(notification, Notification)
        return notification

    async def payment(self, payment_id: str) -> Payment:
        """The payment as it is stored."""
        found = await self.service.sweep.desk.look(payment_id)
        assert found is not None
        return found

    async def events(self, payment_id: str) -> list[str]:
        """Types of its events, oldest first."""
        async with self.store.reading() as uow:
            return [event.type.value for event in await uow.payments.history(payment_id, after=0, limit=1_000)]
