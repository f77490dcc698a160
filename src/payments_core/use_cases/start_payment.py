"""A click on "Pay": one page, the same URL for all, whatever fails on the way.

Transaction 1 stores the intent with the exact request; the gateway is called with no connection and no lock held;
transaction 2 stores the answer. A caller whose call ended gives its lease up in the same step, so only a crash waits
for the lease to end; then the next click, or the sweep, sends the same request under the same id.
"""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from functools import partial

import attrs

from payments_core.consequences import lost_its_stock
from payments_core.errors import (
    Busy,
    Conflict,
    GatewayError,
    GatewayRefused,
    InvalidInput,
    NotFound,
    StaleWrite,
)
from payments_core.facts import Fact, stock_fact
from payments_core.limits import OPENING_GRACE, PAGE_LEFT_MIN
from payments_core.orders import Order, OrderStatus, StockMove
from payments_core.pages import (
    Await,
    NewPage,
    PageWish,
    PayPlan,
    ReplacePage,
    SamePage,
    SendAgain,
    is_overtaken,
    new_payment,
    page_opened,
    page_opened_late,
    page_refused,
    page_taken,
    page_unanswered,
    plan_pay,
    take_lease,
)
from payments_core.payment import Attempt, AttemptState, Payment
from payments_core.policy import Policy
from payments_core.ports import Gateway, Ids, PageOpened, PageRefused, PageReply, PageTaken, UnitOfWork
from payments_core.use_cases.close import ClosePages
from payments_core.use_cases.saving import Decided, Desk

__all__ = ["Paying", "StartPayment"]

_WAIT_FIRST_S, _WAIT_MAX_S = 0.01, 0.1
"""How often a waiting click looks whether the page another process opens is there."""
_RACES_MAX = 5
"""How often a plan is made anew because another click was first; each race has a winner, so a few are enough."""


@attrs.frozen
class Paying:
    """The page to send the customer to; `created` for the one call that brought its first URL."""

    payment: Payment
    attempt: Attempt
    created: bool


@attrs.frozen
class StartPayment:
    """Opens, or finds, the one payable page of an order."""

    desk: Desk
    gateways: Mapping[str, Gateway]
    ids: Ids
    policy: Policy
    closing: ClosePages
    _running: dict[tuple[str, str | None, PageWish], "asyncio.Task[Paying]"] = attrs.field(factory=dict, init=False)

    async def __call__(self, order_id: str, wish: PageWish, *, customer_id: str | None, actor: str) -> Paying:
        """The page of this order; `customer_id` is None when the shop itself asks.

        Equal clicks in one process share one run, and a caller that goes away cancels nothing.
        Errors: NotFound (also for another customer's order), Conflict by the row of the status table, InvalidInput
        `gateway_not_configured`, AmountNotRepresentable, GatewayRefused, GatewayUnavailable, GatewayTimeout,
        Busy `opening`.
        """
        key = (order_id, customer_id, wish)
        running = self._running.get(key)
        if running is not None:
            return attrs.evolve(await asyncio.shield(running), created=False)
        task = asyncio.create_task(self._pay(order_id, wish, customer_id, actor))
        self._running[key] = task
        task.add_done_callback(lambda done: self._forget(key, done))
        return await asyncio.shield(task)

    def _forget(self, key: tuple[str, str | None, PageWish], done: "asyncio.Task[Paying]") -> None:
        self._running.pop(key, None)
        if not done.cancelled():
            done.exception()  # every caller may be gone; then nobody else looks at it

    async def _pay(self, order_id: str, wish: PageWish, customer_id: str | None, actor: str) -> Paying:
        patience = self._gateway(wish.provider).traits.timeout + OPENING_GRACE
        give_up_at, pause, races = self.desk.clock.now() + patience, _WAIT_FIRST_S, 0
        while True:
            try:
                plan = await self._plan(order_id, wish, customer_id, actor)
            except StaleWrite:
                races += 1
                if races > _RACES_MAX:
                    raise
                continue
            match plan:
                case SamePage(payment, attempt):
                    return Paying(payment, attempt, created=False)
                case Await():
                    if self.desk.clock.now() >= give_up_at:
                        raise Busy("the page is being opened; try again shortly", code="opening")
                    await self.desk.clock.sleep(pause)
                    pause = min(pause * 1.5, _WAIT_MAX_S)
                case ReplacePage(payment, attempt):
                    await self._close_first(payment, attempt)
                case NewPage(payment, attempt) | SendAgain(payment, attempt):
                    paying = await self._send(payment, attempt)
                    if paying.attempt.state is AttemptState.OPEN and wish.fits(paying.attempt):
                        return paying

    async def finish(self, payment_id: str, number: int) -> Payment | None:
        """The payment after the stored request of an abandoned opening was sent again; the sweep's way in.

        Errors: GatewayUnavailable, GatewayTimeout, after which it is due again.
        """
        now = self.desk.clock.now()
        async with self.desk.store.transaction() as uow:
            before = (await uow.payments.lock([payment_id])).get(payment_id)
            page = before.attempt(number) if before else None
            if before is None or page is None or not self._is_abandoned(page):
                return None
            leased = take_lease(before, page, self._gateway(page.provider).traits, now)
            payment = await self.desk.put_back(uow, Decided(before, leased.payment), actor="sweep")
        return (await self._send(payment, leased.attempt)).payment

    def _is_abandoned(self, page: Attempt) -> bool:
        now = self.desk.clock.now()
        in_flight = page.lease_until is not None and page.lease_until > now
        return page.state is AttemptState.OPENING and not in_flight and page.ends_at - now >= PAGE_LEFT_MIN

    # ── transaction 1: the intent ─────────────────────────────────────────────────────────────────────────────────
    async def _plan(self, order_id: str, wish: PageWish, customer_id: str | None, actor: str) -> PayPlan:
        found = await self.desk.store.find(order_id)
        if found is None or customer_id not in (None, found.customer_id):
            raise NotFound(f"no order {order_id}", code="order_not_found")
        if found.payment is not None:
            plan = self._planned(found.payment, wish, self.desk.clock.now())
            if isinstance(plan, SamePage | Await):
                return plan
        async with self.desk.store.transaction() as uow:
            is_ours = found.payment is None and await uow.orders.claim(order_id, self.ids.payment_id())
            order = await self._order(uow, order_id, customer_id)
            before = None if is_ours else await self._locked(uow, order)
            plan = self._planned_first(order, before, wish)
            if isinstance(plan, SamePage | Await):
                return plan
            return await self._store_intent(uow, order, before, plan, actor)

    async def _order(self, uow: UnitOfWork, order_id: str, customer_id: str | None) -> Order:
        """The order, read after the claim has locked it: the shop may be changing it."""
        order = await uow.orders.get(order_id)
        if order is None or customer_id not in (None, order.customer.id):
            raise NotFound(f"no order {order_id}", code="order_not_found")
        return order

    async def _locked(self, uow: UnitOfWork, order: Order) -> Payment | None:
        if order.payment_id is None:
            if order.status is OrderStatus.PENDING:
                raise StaleWrite(f"order {order.order_id} could not be claimed, and is free again")
            return None
        return (await uow.payments.lock([order.payment_id])).get(order.payment_id)

    def _planned_first(self, order: Order, before: Payment | None, wish: PageWish) -> PayPlan:
        now = self.desk.clock.now()
        return self._planned(before or new_payment(order, order.payment_id or "", now), wish, now)

    def _planned(self, payment: Payment, wish: PageWish, now: datetime) -> PayPlan:
        if lost_its_stock(payment):
            payment = attrs.evolve(payment, reserved_at=now)
        page = payment.payable_attempt
        gateway = self._gateway(page.provider if page else wish.provider)
        return plan_pay(payment, wish, gateway.traits, self.policy, now)

    async def _store_intent(
        self, uow: UnitOfWork, order: Order, before: Payment | None, plan: SendAgain | ReplacePage | NewPage, actor: str
    ) -> PayPlan:
        also: tuple[Fact, ...] = ()
        payment, attempt = plan.payment, plan.attempt
        if isinstance(plan, NewPage):
            attempt = attrs.evolve(attempt, request=self._gateway(attempt.provider).page_request(order, attempt))
            payment = payment.with_attempt(attempt)
            if before is not None and lost_its_stock(before):
                if not await uow.orders.reserve_again(order.order_id, payment.reserved_at):
                    raise Conflict("its stock was released and cannot be had any more", code="out_of_stock")
                also = (stock_fact(StockMove.RESERVED),)
        if before is None:
            also = (stock_fact(StockMove.RESERVED),) if order.tracked_units() else ()
        stored = await self.desk.put_back(uow, Decided(before, payment, also), actor=actor)
        return attrs.evolve(plan, payment=stored, attempt=attempt)

    # ── the call, and transaction 2: the answer ───────────────────────────────────────────────────────────────────
    async def _send(self, payment: Payment, attempt: Attempt) -> Paying:
        number, payment_id, actor = attempt.number, payment.payment_id, f"gateway:{attempt.provider}"
        try:
            reply = await self._gateway(attempt.provider).open_page(attempt)
        except GatewayError:
            unanswered = partial(page_unanswered, sent=attempt, now=self.desk.clock.now())
            await self.desk.change(payment_id, unanswered, actor=actor)
            raise
        payment = await self.desk.change(payment_id, partial(self._after_reply, attempt, reply), actor=actor) or payment
        page = payment.attempt(number)
        if isinstance(reply, PageRefused) and page.state is AttemptState.DEAD:
            raise GatewayRefused("; ".join(reply.reasons) or "the gateway refused the page")
        return Paying(payment, page, created=attempt.url is None)

    def _after_reply(self, sent: Attempt, reply: PageReply, payment: Payment) -> Payment:
        number, now = sent.number, self.desk.clock.now()
        traits = self._gateway(sent.provider).traits
        match reply:
            case PageOpened(token, url) if is_overtaken(payment, sent) and traits.replaces_pages:
                return page_opened_late(payment, number, token, url, self.policy, now)
            case PageOpened(token, url):
                return page_opened(payment, number, token, url, traits, self.policy, now)
            case PageRefused() if is_overtaken(payment, sent):
                return payment  # whoever sent it after us will be told the same
            case PageRefused():
                return page_refused(payment, number, now)
            case PageTaken():
                return page_taken(payment, number, now)

    async def _close_first(self, payment: Payment, attempt: Attempt) -> None:
        closed = await self.closing.page(payment.payment_id, attempt.number)
        page = closed.attempt(attempt.number) if closed else attempt
        if page.is_payable:
            raise Conflict(
                "the page that is open may still be paid, so no other is opened; try again shortly",
                code="page_still_payable",
                retryable=True,
                extra={"payment_url": attempt.url or ""},
            )

    def _gateway(self, provider: str) -> Gateway:
        gateway = self.gateways.get(provider)
        if gateway is None:
            raise InvalidInput(f"no gateway {provider!r} is set up", code="gateway_not_configured")
        return gateway
