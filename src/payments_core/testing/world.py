"""One shop over one store and one gateway, with the use cases between them: what the machine drives.

It knows the ports only, so any store and any order book can stand in it. The gateway has to be one that keeps a ledger
of what really happened: the oracle everything is compared with. `payments_core_memory` has such a gateway, and a clock
that is moved by hand.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Protocol

import attrs

from payments_core.facts import Event, FactType
from payments_core.money import Money
from payments_core.orders import Order, OrderStatus, StockMove
from payments_core.pages import PageWish
from payments_core.payment import Payment
from payments_core.policy import Policy
from payments_core.ports import Clock, Gateway, Ids, ShopStore, Store
from payments_core.service import ErrandList, PaymentService
from payments_core.states import Signal
from payments_core.testing.order_books import StockKeeper
from payments_core.use_cases.receive_notification import Accepted
from payments_core.use_cases.start_payment import Paying

__all__ = ["HandClock", "LedgerGateway", "LedgerPage", "LedgerTransaction", "Seen", "World"]


class LedgerPage(Protocol):
    """A page as the gateway knows it; `token` is the one that works now, and `is_gone` says that none does."""

    @property
    def provider_order_id(self) -> str:
        """The attempt it belongs to."""

    @property
    def token(self) -> str:
        """The name of the page a buyer can open."""

    @property
    def is_gone(self) -> bool:
        """Nobody can choose a method on it any more."""


class LedgerTransaction(Protocol):
    """A buyer's try as the gateway knows it; `words` are the states it went through, newest last."""

    @property
    def transaction_id(self) -> str:
        """The gateway's id."""

    @property
    def provider_order_id(self) -> str:
        """The attempt it was made on."""

    @property
    def amount(self) -> Money:
        """What it is about."""

    @property
    def refunded(self) -> Money:
        """What was given back of it, in all."""

    @property
    def words(self) -> tuple[Signal, ...]:
        """What the gateway said of it, never empty."""


class LedgerGateway(Gateway, Protocol):
    """A gateway for tests: the port, its ledger, a buyer's side, and faults that are plain fields."""

    unreachable: bool
    """Every call fails."""
    lost_answers: int
    """So many of the next calls take effect and are not answered."""
    lag: int
    """A reading shows a transaction as it was so many states ago."""

    @property
    def pages(self) -> Mapping[str, LedgerPage]:
        """Every page; the newest of an attempt by its provider order id."""

    @property
    def transactions(self) -> Mapping[str, LedgerTransaction]:
        """Every transaction, by its id."""

    def buyer_tries(self, token: str, outcome: Signal, *, method: str = ...) -> str:
        """The transaction id of a buyer's try on the page of this token."""

    def becomes(self, transaction_id: str, word: Signal) -> None:
        """The transaction moved on."""

    def notification(self, transaction_id: str, **changes: object) -> tuple[bytes, dict[str, str]]:
        """Body and headers of what the gateway would send now; `changes` are fields put into the body."""


class HandClock(Clock, Protocol):
    """A clock that is moved by hand."""

    at: datetime
    """The time it shows, in UTC."""


@attrs.frozen(kw_only=True)
class Seen:
    """One order as it stands: with its payment (None before the first click), its history and its units of stock."""

    order: Order
    payment: Payment | None
    history: tuple[Event, ...]
    left: int

    def count(self, fact: FactType) -> int:
        """How often this happened."""
        return sum(event.type is fact for event in self.history)

    @property
    def held(self) -> StockMove:
        """What the history says became of the units reserved for the order."""
        moves = [event.type.value.removeprefix("stock.") for event in self.history if event.type in _STOCK]
        return StockMove(moves[-1]) if moves else StockMove.RESERVED


_STOCK = frozenset({FactType.STOCK_RESERVED, FactType.STOCK_CONSUMED, FactType.STOCK_RELEASED})
_HISTORY_MAX = 1_000
"""More events than any test of one order makes."""


@attrs.define(kw_only=True)
class World:
    """A store, a shopkeeper, a gateway, a clock, and the use cases over them.

    `shop` is the store again when it keeps the shop's orders; without it nobody can cancel an order here, and orders
    nobody clicked are the shop's own affair.
    **Units**: `pause` is the least time between two sweeps while time passes. A gateway that is out of reach is asked
    every half minute, for a day; a store on disk wants a pause of some minutes then, and late is always allowed.
    """

    store: Store
    keeper: StockKeeper
    gateway: LedgerGateway
    clock: HandClock
    ids: Ids
    policy: Policy = attrs.field(factory=Policy)
    shop: ShopStore | None = None
    pause: timedelta = timedelta(0)
    errands: ErrandList = attrs.field(factory=ErrandList)
    placed: list[str] = attrs.field(factory=list)
    service: PaymentService = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.use(self.gateway)

    def use(self, gateway: LedgerGateway) -> None:
        """Everything talks to this gateway from now on."""
        self.gateway = gateway
        self.service = PaymentService.over(
            self.store,
            {self.gateway.name: self.gateway},
            clock=self.clock,
            ids=self.ids,
            errands=self.errands,
            policy=self.policy,
            shop=self.shop,
        )

    # ── the shop and its customer ─────────────────────────────────────────────────────────────────────────────────
    async def place(self, *, units: int, left: int) -> str:
        """The id of a new order; `left` more units of its product can still be reserved."""
        order_id = await self.keeper.place(units=units, left=left, at=self.clock.now())
        self.placed.append(order_id)
        return order_id

    async def click(self, order_id: str) -> Paying:
        """A click on "Pay"."""
        return await self.service.start(order_id, PageWish(provider=self.gateway.name), customer_id=None, actor="shop")

    async def look(self, order_id: str) -> Seen:
        """The order as it stands now."""
        async with self.store.reading() as uow:
            order = await uow.orders.get(order_id)
            assert order is not None, f"order {order_id} was placed and cannot be found"
            key = order.payment_id or ""
            payment = (await uow.payments.load([key])).get(key)
            history = await uow.payments.history(key, after=0, limit=_HISTORY_MAX)
        return Seen(order=order, payment=payment, history=tuple(history), left=await self.keeper.left(order_id))

    # ── messages, errands, time ───────────────────────────────────────────────────────────────────────────────────
    async def deliver_bytes(self, body: bytes, headers: Mapping[str, str]) -> Accepted:
        """What became of these bytes of the gateway; its questions are not asked yet."""
        accepted = await self.service.receive(self.gateway.name, body, headers)
        assert isinstance(accepted, Accepted)
        return accepted

    async def do_errands(self) -> None:
        """What decisions asked for was tried once."""
        await self.errands.do(self.service.perform)

    async def sweep(self) -> int:
        """Rows the sweep attended to, their errands done."""
        report = await self.service.sweep.once()
        await self.do_errands()
        return report.total

    async def pass_time(self, by: timedelta) -> None:
        """The clock moved on, and the sweep attended to all that came due on the way."""
        until, soonest = self.clock.at + by, self.clock.at
        while (due := await self.next_due()) is not None and max(due, soonest) <= until:
            self.clock.at = max(due, soonest)
            await self.sweep()
            soonest = self.clock.at + self.pause
        self.clock.at = max(until, self.clock.at)

    async def next_due(self) -> datetime | None:
        """When the next row of an order placed here is due, as far as the ports show it."""
        times: list[datetime | None] = []
        async with self.store.transaction() as uow:  # hints that wait are locked when they are read
            for order_id in self.placed:
                order = await uow.orders.get(order_id)
                if order is None:
                    continue
                for payment in (await uow.payments.load([order.payment_id or ""])).values():
                    times += _due_times(payment)
                    times += [kept.check_at for kept in await uow.inbox.waiting([payment.payment_id], ())]
                if self.shop is not None and order.payment_id is None and order.status is OrderStatus.PENDING:
                    times.append(order.expires_at)
        return min((at for at in times if at is not None), default=None)


def _due_times(payment: Payment) -> Iterator[datetime | None]:
    yield payment.deadline_at
    yield from (attempt.check_at for attempt in payment.attempts)
    yield from (charge.check_at for charge in payment.charges)
    yield from (refund.check_at for refund in payment.refunds)
