"""What a shop or a buyer sees of a payment, at once or as soon as something happens."""

from datetime import datetime

import attrs

from payments_core.errors import NotFound
from payments_core.money import Money
from payments_core.payment import Attempt, AttemptState, Decline, Payment
from payments_core.ports import Clock, Store
from payments_core.status import PaymentStatus, status

__all__ = ["PaymentView", "ReadStatus", "view"]

_LOOK_EVERY_S = 0.25
"""How often a waiting reader looks. A person does not notice it, and a thousand of them cost a few thousand reads."""

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
    """Reads a payment by its order, and waits for it to change when asked to."""

    store: Store
    clock: Clock

    async def __call__(
        self, order_id: str, *, customer_id: str | None, wait_s: float = 0, seen: int | None = None
    ) -> PaymentView:
        """The payment of this order; after at most `wait_s` seconds.

        With `seen` it waits until the version differs from it; without, until the payment is decided one way or the
        other (no longer pending or processing).
        Errors: NotFound `order_not_found` (also another customer's), `no_payment` before the first click.
        """
        until = self.clock.now().timestamp() + wait_s
        while True:
            found = await self.store.find(order_id)
            if found is None or customer_id not in (None, found.customer_id):
                raise NotFound(f"no order {order_id}", code="order_not_found")
            payment = found.payment
            if payment is None:
                raise NotFound(f"order {order_id} has no payment yet", code="no_payment")
            seen_enough = status(payment) not in _UNDECIDED if seen is None else payment.version != seen
            left_s = until - self.clock.now().timestamp()
            if seen_enough or left_s <= 0:
                return view(payment, self.clock.now())
            await self.clock.sleep(min(_LOOK_EVERY_S, left_s))
