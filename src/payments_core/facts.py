"""Facts we publish, derived from the difference of two payments.

Deriving them from states, not from messages, makes their sum right whatever was delivered how often: a settlement that
is heard of twice differs once.
Each fact becomes one row of the payment's history, numbered without gaps, written in the transaction that makes it.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from enum import Enum

import attrs

from payments_core.evolving import evolve
from payments_core.money import Money
from payments_core.orders import StockMove
from payments_core.payment import AttemptState, Charge, CloseReason, Payment, RefundState
from payments_core.states import ChargeState
from payments_core.status import PaymentStatus, status

__all__ = ["Event", "Fact", "FactType", "facts_between", "numbered", "stock_fact"]


class FactType(Enum):
    """What can have happened; the words are stable and part of the HTTP contract."""

    PAYMENT_CREATED = "payment.created"
    PAYMENT_AUTHORIZED = "payment.authorized"
    PAYMENT_PAID = "payment.paid"
    PAYMENT_REVERSED = "payment.reversed"
    PAYMENT_REFUNDED = "payment.refunded"
    PAYMENT_REFUND_RETURNED = "payment.refund_returned"
    PAYMENT_CHARGED_BACK = "payment.charged_back"
    PAYMENT_CHARGE_BACK_RETURNED = "payment.charge_back_returned"
    """A dispute was won: the money is with us again."""
    PAYMENT_EXPIRED = "payment.expired"
    PAYMENT_CANCELLED = "payment.cancelled"
    PAYMENT_FAILED = "payment.failed"
    REFUND_REQUESTED = "refund.requested"
    REFUND_REFUSED = "refund.refused"
    CHARGE_ASKED = "charge.asked"
    """A capture, an approval or a denial was asked for."""
    ATTEMPT_OPENED = "attempt.opened"
    ATTEMPT_CLOSING = "attempt.closing"
    ATTEMPT_DEAD = "attempt.dead"
    CHARGE_DECLINED = "charge.declined"
    ORDER_PAID = "order.paid"
    ORDER_CANCELLED = "order.cancelled"
    ORDER_CANCEL_REFUSED = "order.cancel_refused"
    ORDER_REOPENED = "order.reopened"
    STOCK_RESERVED = "stock.reserved"
    STOCK_CONSUMED = "stock.consumed"
    STOCK_RELEASED = "stock.released"
    CASE_OPENED = "case.opened"
    CASE_CLOSED = "case.closed"


Data = Mapping[str, str | int | None]


@attrs.frozen
class Fact:
    """Something that is true from now on; `data` holds amounts as major-unit strings."""

    type: FactType
    data: Data


@attrs.frozen
class Event:
    """A fact in its place in the history of one payment; `sequence` begins at 1 and has no gaps."""

    payment_id: str
    sequence: int
    type: FactType
    at: datetime
    actor: str
    data: Data


def numbered(payment: Payment, facts: Iterable[Fact], now: datetime, actor: str) -> tuple[Payment, list[Event]]:
    """The payment with its count of events moved on, and the facts as its next events."""
    events = [
        Event(payment.payment_id, sequence, fact.type, now, actor, fact.data)
        for sequence, fact in enumerate(facts, start=payment.events + 1)
    ]
    return evolve(payment, events=payment.events + len(events)), events


def stock_fact(move: StockMove) -> Fact:
    """The fact that the stock reserved for the order moved."""
    return Fact(FactType(f"stock.{move.value}"), {})


def facts_between(before: Payment | None, after: Payment) -> list[Fact]:
    """What became true between two values of one payment, in the order in which it makes sense to a reader.

    Money comes as authorized, paid, reversed, refunded, charged back, so that every prefix adds up.
    """
    if before is None:
        created = Fact(FactType.PAYMENT_CREATED, {"order_id": after.order_id, **_amount(after.amount)})
        blank = evolve(after, attempts=(), charges=(), refunds=(), cases=(), closed=None, paid_by=None)
        return [created, *facts_between(blank, after)]
    return [
        *_of_attempts(before, after),
        *_of_money(before, after),
        *_of_the_end(before, after),
        *_of_the_order(before, after),
        *_of_cases(before, after),
    ]


def _of_attempts(before: Payment, after: Payment) -> Iterator[Fact]:
    known = {attempt.number: attempt for attempt in before.attempts}
    for attempt in after.attempts:
        was = known.get(attempt.number)
        data: Data = {
            "attempt": attempt.number,
            "provider": attempt.provider,
            "provider_order_id": attempt.provider_order_id,
        }
        if attempt.url is not None and (was is None or was.url is None):
            yield Fact(FactType.ATTEMPT_OPENED, data)
        state_was = was.state if was else None
        if attempt.state is AttemptState.CLOSING and state_was is not AttemptState.CLOSING and attempt.closing:
            yield Fact(FactType.ATTEMPT_CLOSING, {**data, "reason": attempt.closing.value})
        if attempt.state is AttemptState.DEAD and state_was is not AttemptState.DEAD:
            yield Fact(FactType.ATTEMPT_DEAD, {**data, "proof": attempt.proof})


def _of_money(before: Payment, after: Payment) -> Iterator[Fact]:
    known = {charge.transaction_id: charge for charge in before.charges}
    for charge in after.charges:
        was = known.get(charge.transaction_id)
        if charge.decline and (was is None or was.decline != charge.decline):
            data = {"code": charge.decline.code, "method": charge.method}
            yield Fact(FactType.CHARGE_DECLINED, _charge(charge, data))
    if status(after) is PaymentStatus.AUTHORIZED and status(before) is not PaymentStatus.AUTHORIZED:
        held = next(c for c in after.charges if c.is_good and c.state is ChargeState.AUTHORIZED)
        yield Fact(FactType.PAYMENT_AUTHORIZED, _charge(held, _amount(held.amount)))
    yield from _of_wishes(before, after)
    yield from _of_the_keeping_charge(before, after)
    for charge in after.charges:
        yield from _of_what_went_back(known.get(charge.transaction_id), charge)


def _of_wishes(before: Payment, after: Payment) -> Iterator[Fact]:
    """What somebody asked for, before anything came of it; and refunds that came to nothing."""
    for charge in after.charges:
        was = before.charge(charge.transaction_id)
        if charge.asked_by is not None and charge.due is not None and (was is None or was.due is not charge.due):
            yield Fact(FactType.CHARGE_ASKED, _charge(charge, {"what": charge.due.value, "by": charge.asked_by}))
    for refund in after.refunds:
        known = before.refund(refund.key)
        data = {"refund": refund.key, "transaction_id": refund.transaction_id, **_amount(refund.amount)}
        if known is None and refund.by != "gateway":
            yield Fact(FactType.REFUND_REQUESTED, {**data, "by": refund.by, "reason": refund.reason})
        if refund.state is RefundState.REFUSED and (known is None or known.state is not RefundState.REFUSED):
            yield Fact(FactType.REFUND_REFUSED, {**data, "why": refund.refused})


def _of_the_keeping_charge(before: Payment, after: Payment) -> Iterator[Fact]:
    lost, kept = before.keeping_charge, after.keeping_charge
    if lost is not None and before.paid_by != after.paid_by:
        yield Fact(FactType.PAYMENT_REVERSED, _charge(lost, _amount(_taken(lost))))
    if kept is not None and before.paid_by != after.paid_by:
        yield Fact(FactType.PAYMENT_PAID, _charge(kept, {**_amount(_taken(kept)), "method": kept.method}))


def _of_what_went_back(was: Charge | None, charge: Charge) -> Iterator[Fact]:
    refunded = charge.refunded_minor - (was.refunded_minor if was else 0)
    charged_back = charge.charged_back_minor - (was.charged_back_minor if was else 0)
    currency = charge.amount.currency
    if refunded:
        kind = FactType.PAYMENT_REFUNDED if refunded > 0 else FactType.PAYMENT_REFUND_RETURNED
        total = Money(charge.refunded_minor, currency).major()
        yield Fact(kind, _charge(charge, {**_amount(Money(abs(refunded), currency)), "total": total}))
    if charged_back:
        kind = FactType.PAYMENT_CHARGED_BACK if charged_back > 0 else FactType.PAYMENT_CHARGE_BACK_RETURNED
        total = Money(charge.charged_back_minor, currency).major()
        yield Fact(kind, _charge(charge, {**_amount(Money(abs(charged_back), currency)), "total": total}))


_ENDS = {
    PaymentStatus.EXPIRED: FactType.PAYMENT_EXPIRED,
    PaymentStatus.CANCELLED: FactType.PAYMENT_CANCELLED,
    PaymentStatus.FAILED: FactType.PAYMENT_FAILED,
}


def _of_the_end(before: Payment, after: Payment) -> Iterator[Fact]:
    """Given up once, whatever is tried on it afterwards; failed whenever its last page ended."""
    now_is = status(after)
    given_up = after.closed is not None and before.closed is None
    failed = now_is is PaymentStatus.FAILED and status(before) is not PaymentStatus.FAILED
    if now_is in _ENDS and (given_up or failed) and after.attempts:
        yield Fact(_ENDS[now_is], {})


def _of_the_order(before: Payment, after: Payment) -> Iterator[Fact]:
    data = {"order_id": after.order_id}
    if before.closed is not None and after.closed is None:
        yield Fact(FactType.ORDER_REOPENED, data)
    if after.paid_by is not None and before.paid_by != after.paid_by:
        yield Fact(FactType.ORDER_PAID, data)
        if any(attempt.closing is CloseReason.CANCELLED for attempt in before.attempts if attempt.is_payable):
            yield Fact(FactType.ORDER_CANCEL_REFUSED, data)
    if after.closed is not None and before.closed is None:
        yield Fact(FactType.ORDER_CANCELLED, {**data, "as": after.closed.kind.value, "by": after.closed.by})


def _of_cases(before: Payment, after: Payment) -> Iterator[Fact]:
    known = {case.number: case for case in before.cases}
    for case in after.cases:
        was = known.get(case.number)
        data = {"case": case.number, "kind": case.kind.value, "transaction_id": case.transaction_id}
        if was is None:
            yield Fact(FactType.CASE_OPENED, {**data, **case.evidence})
        if case.decision and (was is None or was.is_open):
            decided = {"decision": case.decision.value, "by": case.decided_by, "note": case.note}
            yield Fact(FactType.CASE_CLOSED, {**data, **decided})


def _amount(money: Money) -> dict[str, str]:
    return {"amount": money.major(), "currency": money.currency.code}


def _taken(charge: Charge) -> Money:
    return Money(charge.captured_minor, charge.amount.currency)


def _charge(charge: Charge, data: Mapping[str, str | None]) -> Data:
    return {"transaction_id": charge.transaction_id, **data}
