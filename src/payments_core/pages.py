"""The life of one payable page: opening it, finding it again, closing it, proving it dead.

Plain functions on values; the use cases do the waiting and the talking between them.
A new page is opened only when no other can be paid: that is the whole of "one payable page".
"""

from datetime import datetime, timedelta

import attrs

from payments_core.consequences import begin_closing, follow, open_case
from payments_core.errors import Conflict
from payments_core.evolving import evolve
from payments_core.identity import provider_order_id
from payments_core.limits import (
    ATTEMPTS_MAX,
    OPENING_GRACE,
    OVER_AFTER,
    PAGE_LEFT_MIN,
    PAGE_UNKNOWN_AFTER,
    POLL_MAX,
    RETRY_SCHEDULE,
)
from payments_core.orders import Order, OrderStatus
from payments_core.payment import Attempt, AttemptState, CloseReason, Payment
from payments_core.policy import GatewayTraits, Policy
from payments_core.states import CaseKind, ChargeState
from payments_core.status import PaymentStatus, status

__all__ = [
    "Await",
    "NewPage",
    "PageWish",
    "PayPlan",
    "ReplacePage",
    "SamePage",
    "SendAgain",
    "cannot_be_proved",
    "closing_unanswered",
    "is_overtaken",
    "may_outlast_lease",
    "new_payment",
    "page_dead",
    "page_end",
    "page_opened",
    "page_opened_late",
    "page_refused",
    "page_taken",
    "page_unanswered",
    "plan_cancel",
    "plan_deadline",
    "plan_pay",
    "poll_again",
    "proof_of_death",
    "take_lease",
    "try_closing_again",
]


@attrs.frozen(kw_only=True)
class PageWish:
    """What a customer asks for; `any_provider` takes whatever page is open, `provider` is where a new one opens."""

    provider: str
    any_provider: bool = True
    methods: tuple[str, ...] = ()
    return_url: str | None = None

    def fits(self, attempt: Attempt) -> bool:
        """Whether this page serves the wish."""
        same_provider = self.any_provider or self.provider == attempt.provider
        return same_provider and (not self.methods or set(self.methods) == set(attempt.methods))


@attrs.frozen
class SamePage:
    """The page that is open already."""

    payment: Payment
    attempt: Attempt


@attrs.frozen
class Await:
    """Somebody is opening it right now; its lease says until when at most."""

    attempt: Attempt


@attrs.frozen
class SendAgain:
    """The stored request is to be sent (again); the lease is taken."""

    payment: Payment
    attempt: Attempt


@attrs.frozen
class ReplacePage:
    """Another page is wanted: the closing of this one has begun."""

    payment: Payment
    attempt: Attempt


@attrs.frozen
class NewPage:
    """A new attempt; the caller stores the request its gateway makes of it before anything is sent."""

    payment: Payment
    attempt: Attempt


PayPlan = SamePage | Await | SendAgain | ReplacePage | NewPage

_NOT_PAYABLE = {
    PaymentStatus.CHARGED_BACK: ("charged_back", "the payment was charged back"),
    PaymentStatus.REFUNDED: ("refunded", "the payment was refunded"),
    PaymentStatus.PARTIALLY_REFUNDED: ("already_paid", "the order is paid"),
    PaymentStatus.SUCCESS: ("already_paid", "the order is paid"),
    PaymentStatus.AUTHORIZED: ("authorized", "the money for this order is held already"),
    PaymentStatus.CANCELLED: ("order_cancelled", "the order was cancelled"),
    PaymentStatus.EXPIRED: ("order_expired", "the order was not paid in time"),
}


def new_payment(order: Order, payment_id: str, now: datetime) -> Payment:
    """What this order owes, with no page yet.

    Errors: Conflict `order_cancelled` or `order_expired` when the order is no longer for sale.
    """
    if order.status is not OrderStatus.PENDING:
        raise _conflict(PaymentStatus.EXPIRED if order.expired else PaymentStatus.CANCELLED)
    return Payment(
        payment_id=payment_id,
        order_id=order.order_id,
        amount=order.total,
        owed=order.total,
        created_at=now,
        reserved_at=order.reserved_at,
    )


def plan_pay(payment: Payment, wish: PageWish, traits: GatewayTraits, policy: Policy, now: datetime) -> PayPlan:
    """What a click on "Pay" leads to.

    Errors: Conflict when the order cannot be paid now; `code` names the row of the status table that says so.
    """
    stands = status(payment)
    if stands in _NOT_PAYABLE:
        raise _conflict(stands)
    if payment.is_blocked_by_reversal or (stands is PaymentStatus.FAILED and payment.is_blocked):
        kinds = ", ".join(sorted({case.kind.value for case in payment.open_cases}))
        raise Conflict(f"a person has to look at this payment first: {kinds}", code="needs_review")
    page = payment.payable_attempt
    if page is None and stands is PaymentStatus.FAILED:
        return _new_page(payment, wish, traits, policy, now)
    if page is None or page.state is AttemptState.CLOSING:
        raise Conflict("the page is being closed; try again shortly", code="page_closing", retryable=True)
    return _plan_on_page(payment, page, wish, traits, now)


def _conflict(stands: PaymentStatus) -> Conflict:
    code, detail = _NOT_PAYABLE[stands]
    return Conflict(detail, code=code)


def _plan_on_page(payment: Payment, page: Attempt, wish: PageWish, traits: GatewayTraits, now: datetime) -> PayPlan:
    if page.lease_until is not None and page.lease_until > now:
        return Await(page)
    opening = page.state is AttemptState.OPENING and page.ends_at - now >= PAGE_LEFT_MIN
    if not wish.fits(page) and not opening:  # an opening is finished first: only a page with a token can be closed
        replaced = begin_closing(page, CloseReason.REPLACED, "customer", now)
        return ReplacePage(payment.with_attempt(replaced), replaced)
    if page.state is AttemptState.OPEN and not page.resend:
        return SamePage(payment, page)
    if page.ends_at - now < PAGE_LEFT_MIN:
        if page.url is None:
            raise Conflict("too little time is left to pay this order", code="order_expired")
        return SamePage(payment, page)
    return take_lease(payment, page, traits, now)


def take_lease(payment: Payment, page: Attempt, traits: GatewayTraits, now: datetime) -> SendAgain:
    """The page leased to the caller, who sends its stored request; only a crash waits for the lease to end."""
    until = now + traits.timeout + OPENING_GRACE
    leased = evolve(page, lease_until=until, check_at=until, sends=page.sends + 1)
    return SendAgain(payment.with_attempt(leased), leased)


def may_outlast_lease(leased: Attempt, traits: GatewayTraits, now: datetime) -> bool:
    """Whether a call begun now may go on after the lease, when somebody else may send the same.

    A commit that was answered late leaves too little of it.
    """
    return leased.lease_until is None or now + traits.timeout > leased.lease_until


def page_end(
    reserved_at: datetime, policy: Policy, now: datetime, page_max: timedelta | None = None
) -> tuple[datetime, datetime]:
    """When a page opened now begins and ends, in whole seconds and whole minutes apart: wires say no finer.

    `page_max` is the longest its gateway lets it live.

    Errors: Conflict `order_expired` when less than five minutes are left of the time stock is held.
    """
    opened_at = now.replace(microsecond=0)
    until = min(opened_at + policy.expiry, reserved_at + policy.hold_max)
    if page_max is not None:
        until = min(until, opened_at + page_max)
    left = until - opened_at
    if left < PAGE_LEFT_MIN:
        raise Conflict("too little time is left to pay this order", code="order_expired")
    return opened_at, opened_at + timedelta(minutes=left // timedelta(minutes=1))


def _new_page(payment: Payment, wish: PageWish, traits: GatewayTraits, policy: Policy, now: datetime) -> NewPage:
    if len(payment.attempts) >= ATTEMPTS_MAX:
        raise Conflict(f"{ATTEMPTS_MAX} pages were opened for this order already", code="too_many_attempts")
    number = len(payment.attempts) + 1
    opened_at, ends_at = page_end(payment.reserved_at, policy, now, traits.page_max)
    attempt = Attempt(
        number=number,
        provider=wish.provider,
        account=payment.account,
        provider_order_id=provider_order_id(payment.payment_id, number),
        state=AttemptState.OPENING,
        amount=payment.owed,
        merchant_id=traits.merchant_id,
        live=traits.live,
        methods=wish.methods,
        return_url=wish.return_url,
        opened_at=opened_at,
        ends_at=ends_at,
    )
    leased = take_lease(payment.with_attempt(attempt), attempt, traits, now)
    return NewPage(evolve(leased.payment, deadline_at=ends_at), leased.attempt)


def page_opened(
    payment: Payment, number: int, token: str, url: str, traits: GatewayTraits, policy: Policy, now: datetime
) -> Payment:
    """The payment with this page's newest URL stored, and its lease given up.

    Where a repeated create replaces the page, one that was sent more than once marks it: a late first one may still
    replace what we hand out.
    """
    page = payment.attempt(number)
    first = page.url is None
    known = evolve(page, token=token, url=url, lease_until=None)
    if page.state in (AttemptState.OPENING, AttemptState.OPEN):
        resend = page.sends > 1 and traits.replaces_pages
        known = evolve(
            known,
            state=AttemptState.OPEN,
            resend=resend,
            sends=0,
            request=page.request if resend else None,
            check_at=now + policy.poll,
            checks=0 if first else page.checks,
        )
    return follow(payment.with_attempt(known), now)


def is_overtaken(payment: Payment, sent: Attempt) -> bool:
    """Whether whoever sent this create took so long that the lease ended, and the page is somebody else's by now."""
    return payment.attempt(sent.number).lease_until != sent.lease_until


def page_opened_late(payment: Payment, number: int, token: str, url: str, policy: Policy, now: datetime) -> Payment:
    """The payment after an answer that was overtaken by another create: which token is the newest nobody knows.

    The first URL is stored all the same; the mark sees to it that the request is sent once more before it is handed
    out. A page that is open for good had its newest token from a create that left later.
    """
    page = payment.attempt(number)
    if page.request is None:
        return payment
    if page.url is not None:
        return payment.with_attempt(evolve(page, resend=True))
    known = evolve(page, token=token, url=url)
    if page.state is AttemptState.OPENING:
        known = evolve(known, state=AttemptState.OPEN, resend=True, check_at=now + policy.poll, checks=0)
    return follow(payment.with_attempt(known), now)


def page_unanswered(payment: Payment, sent: Attempt, now: datetime) -> Payment:
    """The payment with the lease given up and the outcome unknown: the next click or the sweep sends again.

    A page that came to its end meanwhile, or was leased to somebody else, is left in peace.
    """
    page = payment.attempt(sent.number)
    if is_overtaken(payment, sent):
        return payment
    if not page.is_payable:
        return payment.with_attempt(evolve(page, lease_until=None))
    pause = RETRY_SCHEDULE[min(page.checks, len(RETRY_SCHEDULE) - 1)]
    tried = evolve(page, lease_until=None, check_at=now + pause, checks=page.checks + 1)
    return _nobody_can_tell(payment.with_attempt(tried), tried, now)


def closing_unanswered(payment: Payment, number: int, sent: Attempt | None, now: datetime) -> Payment:
    """The payment with this page still closing, because the gateway could not be asked; in the end somebody looks.

    `sent` is the page as it was leased for a create; whoever asked has given up, so his lease is given up with it.
    Another's is not.
    """
    payment = try_closing_again(payment, number, now)
    page = payment.attempt(number)
    if page.state is AttemptState.CLOSING and sent is not None and not is_overtaken(payment, sent):
        payment = payment.with_attempt(evolve(page, lease_until=None))
    return _nobody_can_tell(payment, page, now)


def _nobody_can_tell(payment: Payment, page: Attempt, now: datetime) -> Payment:
    """Never dead by time alone: after so many tries it is a case, and is tried on."""
    if not page.is_payable or page.checks < PAGE_UNKNOWN_AFTER:
        return payment
    evidence = {"page": page.provider_order_id, "why": "the gateway does not answer"}
    return open_case(payment, CaseKind.OUTCOME_UNKNOWN, None, now, evidence)


def page_refused(payment: Payment, number: int, now: datetime) -> Payment:
    """The payment after a definitive no: the page is dead, unless a token was ever received for it."""
    page = evolve(payment.attempt(number), lease_until=None)
    if page.url is not None:
        return follow(payment.with_attempt(evolve(page, resend=False, request=None)), now)
    return page_dead(payment.with_attempt(page), number, "refused", now)


def page_taken(payment: Payment, number: int, now: datetime) -> Payment:
    """The payment after "already taken": a transaction exists, so no other page is opened until it is proved dead."""
    page = evolve(payment.attempt(number), lease_until=None, resend=False, request=None)
    if page.url is not None:
        return follow(payment.with_attempt(page), now)
    if page.state is AttemptState.OPENING:
        page = begin_closing(page, CloseReason.LOST, "gateway", now)
    return follow(payment.with_attempt(page), now)


def page_dead(payment: Payment, number: int, proof: str, now: datetime) -> Payment:
    """The payment with this page proved dead, and what follows from that."""
    page = payment.attempt(number)
    if not page.is_payable:
        return payment
    dead = evolve(
        page,
        state=AttemptState.DEAD,
        proof=proof,
        request=None,
        lease_until=None,
        doubt=None,
        resend=False,
        check_at=None,
    )
    return follow(payment.with_attempt(dead), now)


def try_closing_again(payment: Payment, number: int, now: datetime) -> Payment:
    """The payment with this page's closing due again, later each time."""
    page = payment.attempt(number)
    if page.state is not AttemptState.CLOSING:
        return payment
    pause = RETRY_SCHEDULE[min(page.checks, len(RETRY_SCHEDULE) - 1)]
    return payment.with_attempt(evolve(page, check_at=now + pause, checks=page.checks + 1))


def poll_again(payment: Payment, number: int, policy: Policy, now: datetime) -> Payment:
    """The payment with this open page due to be asked about again, the pause doubled up to an hour."""
    page = payment.attempt(number)
    if page.state is not AttemptState.OPEN:
        return payment
    pause = min(policy.poll * 2 ** min(page.checks + 1, 16), POLL_MAX)
    return payment.with_attempt(evolve(page, check_at=now + pause, checks=page.checks + 1))


def proof_of_death(payment: Payment, page: Attempt, *, token_gone: bool, asked_at: datetime) -> str | None:
    """Why nobody can pay on this page any more, or None while that is not proved.

    `token_gone`: the gateway said the token is cancelled, already cancelled or unknown, before the status was asked.
    `asked_at` is when the questions began. All of them were answered, and understood: an unreachable gateway, or a
    transaction it shows and we cannot place, never gets here. A 404 alone, our clock alone, a time-out or the end of
    one charge is never a proof (design 2b).
    """
    charges = payment.charges_of(page)
    if any(charge.is_live or charge.has_money for charge in charges):
        return None
    if token_gone and page.token is not None:
        return "closed"
    if page.token is None and charges:
        return "closed"
    return "over" if asked_at >= page.ends_at + OVER_AFTER else None


def cannot_be_proved(payment: Payment, number: int, transaction_id: str, now: datetime) -> Payment:
    """The payment with its page still closing: the gateway shows a transaction that we cannot place.

    Asked again; after the last step of the schedule somebody has to look.
    """
    page = payment.attempt(number)
    payment = try_closing_again(payment, number, now)
    if page.state is not AttemptState.CLOSING or page.checks < len(RETRY_SCHEDULE):
        return payment
    evidence = {"page": page.provider_order_id, "why": "the gateway shows a transaction whose state is not known"}
    return open_case(payment, CaseKind.OUTCOME_UNKNOWN, transaction_id, now, evidence)


def plan_deadline(payment: Payment, policy: Policy, now: datetime) -> Payment:
    """The payment at its deadline: its page begins to close, unless money is held or under review."""
    if payment.paid_by is not None or payment.closed is not None:
        return evolve(payment, deadline_at=None)
    waits = any(charge.state in (ChargeState.CHALLENGED, ChargeState.AUTHORIZED) for charge in payment.charges)
    if waits:
        return evolve(payment, deadline_at=now + policy.poll)
    return _give_up(payment, CloseReason.EXPIRED, "deadline", now)


def plan_cancel(payment: Payment, by: str, now: datetime) -> Payment:
    """The payment with its cancellation begun.

    Errors: Conflict `already_paid` when there is a keeping charge; a payment closed already stays as it is.
    """
    if payment.paid_by is not None:
        raise Conflict("the order is paid", code="already_paid")
    if payment.closed is not None:
        return payment
    return _give_up(payment, CloseReason.CANCELLED, by, now)


def _give_up(payment: Payment, reason: CloseReason, by: str, now: datetime) -> Payment:
    """The last attempt carries the reason the payment is given up for, dead or not.

    The page that closes may be an earlier one: one whose money was reversed.
    """
    payment = evolve(payment, deadline_at=None)
    for page in (payment.payable_attempt, payment.last_attempt):
        if page is not None:
            payment = payment.with_attempt(begin_closing(page, reason, by, now))
    return follow(payment, now)
