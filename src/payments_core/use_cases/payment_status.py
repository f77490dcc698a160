"""What a shop or a buyer sees of a payment, at once or as soon as something happens."""

from datetime import datetime

import attrs

from payments_core.errors import NotFound
from payments_core.limits import REFRESH_EVERY
from payments_core.money import Money
from payments_core.payment import Attempt, AttemptState, Decline, Payment
from payments_core.ports import Clock, Store
from payments_core.status import PaymentStatus, status
from payments_core.use_cases.refresh import Refresh, is_unsettled, may_be_paid

__all__ = ["PaymentView", "ReadStatus", "view"]

_LOOK_EVERY_S = 0.25
"""How often a waiting reader looks. A person does not notice it, and a thousand of them cost a few thousand reads."""

_ASK_AFTER_S = 2.0
"""A reader who waits so long without news is a buyer who came back before the notification did."""

_UNDECIDED = frozenset({PaymentStatus.PENDING, PaymentStatus.PROCESSING})


@attrs.frozen(kw_only=True)
class PaymentView:
    """One payment as its status answer tells it.

    Shape: `payment_url` is None unless a click on "Pay" would answer with it now; `needs_review` lists the kinds of
    open cases.
    """

    payment_id: str
    order_id: str
    status: PaymentStatus
    provider: str
    method: str | None
    amount: Money
    refunded: Money
    paid_at: datetime | None
    expires_at: datetime | None
    payment_url: str | None
    needs_review: tuple[str, ...]
    last_decline: Decline | None
    version: int


def view(payment: Payment, now: datetime) -> PaymentView:
    """The payment as a shop sees it."""
    kept, page = payment.keeping_charge, payment.payable_attempt or payment.last_attempt
    method = kept.method if kept else next((c.method for c in reversed(payment.charges) if c.method), None)
    return PaymentView(
        payment_id=payment.payment_id,
        order_id=payment.order_id,
        status=status(payment),
        provider=page.provider if page else "",
        method=method,
        amount=payment.amount,
        refunded=Money(kept.refunded_minor if kept else 0, payment.amount.currency),
        paid_at=payment.paid_at,
        expires_at=page.ends_at if page else None,
        payment_url=_payable_url(payment, page, now),
        needs_review=tuple(dict.fromkeys(case.kind.value for case in payment.open_cases)),
        last_decline=payment.last_decline,
        version=payment.version,
    )


def _payable_url(payment: Payment, page: Attempt | None, now: datetime) -> str | None:
    """None also while the newest URL is still being asked for: what we hold may be replaced."""
    if page is None or page.state is not AttemptState.OPEN or page.resend or payment.is_blocked_by_reversal:
        return None
    in_flight = page.lease_until is not None and page.lease_until > now
    return None if in_flight or status(payment) not in _UNDECIDED else page.url


@attrs.frozen
class ReadStatus:
    """Reads a payment by its order, and waits for it to change when asked to.

    What is unknown, and a page somebody waits on, is asked about on the way (`Refresh.for_reader`); a payment at rest,
    and a plain look at an open page, cost the read and nothing else.
    """

    store: Store
    clock: Clock
    refresh: Refresh | None = None

    async def __call__(
        self, order_id: str, *, customer_id: str | None, wait_s: float = 0, seen: int | None = None
    ) -> PaymentView:
        """The payment of this order; after at most `wait_s` seconds.

        With `seen` it waits until the version differs from it; without, until the payment is decided one way or the
        other (no longer pending or processing).
        Errors: NotFound `order_not_found` (also another customer's), `no_payment` before the first click.
        """
        began, ask_after_s = self.clock.now(), 0.0
        while True:
            payment = await self._found(order_id, customer_id)
            waited_s = (self.clock.now() - began).total_seconds()
            if self.refresh is not None and waited_s >= ask_after_s:
                waits_long = waited_s >= _ASK_AFTER_S and may_be_paid(payment)
                asks = waits_long or is_unsettled(payment, self.clock.now())
                ask_after_s = waited_s + REFRESH_EVERY.total_seconds() if asks else _ASK_AFTER_S
                if asks and await self.refresh.for_reader(payment.payment_id):
                    payment = await self._found(order_id, customer_id)
            seen_enough = status(payment) not in _UNDECIDED if seen is None else payment.version != seen
            left_s = wait_s - (self.clock.now() - began).total_seconds()
            if seen_enough or left_s <= 0:
                return view(payment, self.clock.now())
            await self.clock.sleep(min(_LOOK_EVERY_S, left_s))

    async def _found(self, order_id: str, customer_id: str | None) -> Payment:
        found = await self.store.find(order_id)
        if found is None or customer_id not in (None, found.customer_id):
            raise NotFound(f"no order {order_id}", code="order_not_found")
        if found.payment is None:
            raise NotFound(f"order {order_id} has no payment yet", code="no_payment")
        return found.payment
