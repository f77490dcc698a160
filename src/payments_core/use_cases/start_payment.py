"""A click on "Pay": one page, the same URL for all, whatever fails on the way.

Transaction 1 stores the intent with the exact request; the gateway is called with no connection and no lock held;
transaction 2 stores the answer. A caller whose call ended gives its lease up in the same step, so only a crash
(or a database so slow that too little of the lease was left for the call) waits for it to end; then the next click, or
the sweep, sends the same request under the same id.
"""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from functools import partial

import attrs

from payments_core.consequences import lost_its_stock, reserved_anew
from payments_core.errors import (
    Busy,
    Conflict,
    GatewayError,
    GatewayRefused,
    NotFound,
    StaleWrite,
)
from payments_core.evolving import evolve
from payments_core.facts import Fact, stock_fact
from payments_core.limits import OPENING_GRACE, PAGE_LEFT_MIN
from payments_core.orders import Order, StockMove
from payments_core.pages import (
    Await,
    NewPage,
    PageWish,
    PayPlan,
    ReplacePage,
    SamePage,
    SendAgain,
    is_overtaken,
    may_outlast_lease,
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
from payments_core.ports import Gateway, Ids, PageOpened, PageRefused, PageReply, PageTaken
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
class _Click:
    """One wish to pay an order; `customer_id` is None when the shop itself asks."""

    order_id: str
    wish: PageWish
    customer_id: str | None
    actor: str

    def reaches(self, customer_id: str) -> bool:
        """Whether an order of this customer is the caller's to pay."""
        return self.customer_id in (None, customer_id)


def _no_order(click: _Click) -> NotFound:
    """Also for another customer's: nobody learns that it exists."""
    return NotFound(f"no order {click.order_id}", code="order_not_found")


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
        Errors: NotFound (also for another customer's order), Conflict by the row of the status table,
        AmountNotRepresentable, GatewayNotConfigured, GatewayRefused, GatewayUnavailable, GatewayTimeout,
        Busy `opening`.
        """
        key = (order_id, customer_id, wish)
        running = self._running.get(key)
        if running is not None:
            return evolve(await asyncio.shield(running), created=False)
        task = asyncio.create_task(self._pay(_Click(order_id, wish, customer_id, actor)))
        self._running[key] = task
        task.add_done_callback(lambda done: self._forget(key, done))
        return await asyncio.shield(task)

    def _forget(self, key: tuple[str, str | None, PageWish], done: "asyncio.Task[Paying]") -> None:
        self._running.pop(key, None)
        if not done.cancelled():
            done.exception()  # every caller may be gone; then nobody else looks at it

    async def _pay(self, click: _Click) -> Paying:
        patience = self.gateways[click.wish.provider].traits.timeout + OPENING_GRACE
        give_up_at, pause, races = self.desk.clock.now() + patience, _WAIT_FIRST_S, 0
        while True:
            try:
                plan = await self._plan(click)
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
                    if paying.attempt.state is AttemptState.OPEN and click.wish.fits(paying.attempt):
                        return paying

    async def finish(self, payment_id: str, number: int) -> Payment | None:
        """The payment after the stored request of an abandoned opening was sent again; the sweep's way in.

        Errors: GatewayUnavailable, GatewayTimeout, after which it is due again.
        """
        async with self.desk.store.transaction() as uow:
            before = (await uow.payments.lock([payment_id])).get(payment_id)
            now = self.desk.clock.now()  # a lease begins when the row is had, however long that was waited for
            page = before.attempt(number) if before else None
            if before is None or page is None or not self._is_abandoned(page):
                return None
            leased = take_lease(before, page, self.gateways[page.provider].traits, now)
            payment = await self.desk.put_back(uow, Decided(before, leased.payment), actor="sweep")
        if self._is_too_late(leased.attempt):
            return payment
        return (await self._send(payment, leased.attempt)).payment

    def _is_abandoned(self, page: Attempt) -> bool:
        now = self.desk.clock.now()
        in_flight = page.lease_until is not None and page.lease_until > now
        return page.state is AttemptState.OPENING and not in_flight and page.ends_at - now >= PAGE_LEFT_MIN

    # ── transaction 1: the intent ─────────────────────────────────────────────────────────────────────────────────
    async def _plan(self, click: _Click) -> PayPlan:
        found = await self.desk.store.find(click.order_id)
        if found is None or not click.reaches(found.customer_id):
            raise _no_order(click)
        if found.payment is None:
            plan = await self._plan_first(click)
        else:
            plan = self._planned(found.payment, click.wish, self.desk.clock.now())
            if not isinstance(plan, SamePage | Await):
                plan = await self._plan_again(click, found.payment.payment_id)
        is_late = isinstance(plan, NewPage | SendAgain) and self._is_too_late(plan.attempt)
        return Await(plan.attempt) if is_late else plan

    def _is_too_late(self, leased: Attempt) -> bool:
        """Storing the lease took most of it: the end of it is waited for, like that of anybody else's."""
        return may_outlast_lease(leased, self.gateways[leased.provider].traits, self.desk.clock.now())

    async def _plan_first(self, click: _Click) -> PayPlan:
        """The first page of an order; clicks that come together are saved together."""
        made = await self.desk.first(click.order_id, partial(self._new_payment, click), actor=click.actor)
        return NewPage(made, made.attempt(1))

    def _new_payment(self, click: _Click, order: Order | None) -> Payment:
        """What the order owes, with its first page.

        Errors: NotFound; StaleWrite when it has a payment by now; Conflict when it is over.
        """
        if order is None or not click.reaches(order.customer.id):
            raise _no_order(click)
        if order.payment_id is not None:
            raise StaleWrite(f"order {click.order_id} was claimed by another click")
        now = self.desk.clock.now()
        plan = self._planned(new_payment(order, self.ids.payment_id(), now), click.wish, now)
        assert isinstance(plan, NewPage)
        return self._with_request(plan, order).payment

    async def _plan_again(self, click: _Click, payment_id: str) -> PayPlan:
        async with self.desk.store.transaction() as uow:
            order = await uow.orders.get(click.order_id)
            before = (await uow.payments.lock([payment_id])).get(payment_id)
            if order is None or before is None:
                raise _no_order(click)
            plan = self._planned(before, click.wish, self.desk.clock.now())
            if isinstance(plan, SamePage | Await):
                return plan
            also: tuple[Fact, ...] = ()
            if isinstance(plan, NewPage):
                plan = self._with_request(plan, order)
                if lost_its_stock(before):
                    if not await uow.orders.reserve_again(order.order_id, plan.payment.reserved_at):
                        raise Conflict("its stock was released and cannot be had any more", code="out_of_stock")
                    also = (stock_fact(StockMove.RESERVED),)
            stored = await self.desk.put_back(uow, Decided(before, plan.payment, also), actor=click.actor)
        return evolve(plan, payment=stored)

    def _planned(self, payment: Payment, wish: PageWish, now: datetime) -> PayPlan:
        if lost_its_stock(payment):
            payment = reserved_anew(payment, now)
        page = payment.payable_attempt
        gateway = self.gateways[page.provider if page else wish.provider]
        return plan_pay(payment, wish, gateway.traits, self.policy, now)

    def _with_request(self, plan: NewPage, order: Order) -> NewPage:
        """The plan with the exact request in its attempt: whoever sends it again sends the same."""
        attempt = plan.attempt
        attempt = evolve(attempt, request=self.gateways[attempt.provider].page_request(order, attempt))
        return evolve(plan, payment=plan.payment.with_attempt(attempt), attempt=attempt)

    # ── the call, and transaction 2: the answer ───────────────────────────────────────────────────────────────────
    async def _send(self, payment: Payment, attempt: Attempt) -> Paying:
        number, payment_id, actor = attempt.number, payment.payment_id, f"gateway:{attempt.provider}"
        try:
            reply = await self.gateways[attempt.provider].open_page(attempt)
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
        traits = self.gateways[sent.provider].traits
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
