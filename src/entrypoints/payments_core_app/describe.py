"""A payment whole, in plain values: what an operator reads over HTTP and on the command line."""

from datetime import UTC, datetime

import msgspec

from payments_core.facts import Event
from payments_core.money import Money
from payments_core.payment import Attempt, Case, Charge, Payment, Refund
from payments_core.status import status

__all__ = [
    "CaseAnswer",
    "EventAnswer",
    "PaymentAnswer",
    "RefundAnswer",
    "event_answer",
    "payment_answer",
    "refund_answer",
    "rfc3339",
]


class AttemptAnswer(msgspec.Struct, kw_only=True):
    """One page."""

    number: int
    provider: str
    provider_order_id: str
    state: str
    amount: str
    opened_at: str
    ends_at: str
    closing: str | None
    proof: str | None


class ChargeAnswer(msgspec.Struct, kw_only=True):
    """One transaction at a gateway; `good` is False while it may not pay."""

    transaction_id: str
    attempt: int
    state: str
    method: str | None
    amount: str
    currency: str
    captured: str
    refunded: str
    charged_back: str
    good: bool
    occurred_at: str | None


class RefundAnswer(msgspec.Struct, kw_only=True):
    """One return of money; `state` is `unknown` while the gateway has not said what became of it."""

    refund_id: str
    transaction_id: str
    state: str
    amount: str
    currency: str
    reason: str | None
    by: str
    at: str
    refused: str | None
    payment_status: str


class CaseAnswer(msgspec.Struct, kw_only=True):
    """Something only a person can settle."""

    case_id: str
    kind: str
    open: bool
    transaction_id: str | None
    opened_at: str
    evidence: dict[str, str]
    decision: str | None
    decided_by: str | None
    note: str | None


class PaymentAnswer(msgspec.Struct, kw_only=True):
    """A payment with its pages, charges and cases."""

    payment_id: str
    order_id: str
    status: str
    amount: str
    owed: str
    currency: str
    paid_by: str | None
    paid_at: str | None
    closed: str | None
    created_at: str
    needs_review: list[str]
    attempts: list[AttemptAnswer]
    charges: list[ChargeAnswer]
    refunds: list[RefundAnswer]
    cases: list[CaseAnswer]
    version: int


class EventAnswer(msgspec.Struct, kw_only=True):
    """One entry of a payment's history."""

    sequence: int
    type: str
    at: str
    actor: str
    data: dict[str, str | int | None]


def payment_answer(payment: Payment) -> PaymentAnswer:
    """The payment in plain values."""
    return PaymentAnswer(
        payment_id=payment.payment_id,
        order_id=payment.order_id,
        status=status(payment).value,
        amount=payment.amount.major(),
        owed=payment.owed.major(),
        currency=payment.amount.currency.code,
        paid_by=payment.paid_by,
        paid_at=_moment(payment.paid_at),
        closed=payment.closed.kind.value if payment.closed else None,
        created_at=rfc3339(payment.created_at),
        needs_review=[*dict.fromkeys(case.kind.value for case in payment.open_cases)],
        attempts=[_attempt(attempt) for attempt in payment.attempts],
        charges=[_charge(charge) for charge in payment.charges],
        refunds=[refund_answer(payment, refund) for refund in payment.refunds],
        cases=[_case(case) for case in payment.cases],
        version=payment.version,
    )


def refund_answer(payment: Payment, refund: Refund) -> RefundAnswer:
    """A refund in plain values."""
    return RefundAnswer(
        refund_id=refund.key,
        transaction_id=refund.transaction_id,
        state=refund.state.value,
        amount=refund.amount.major(),
        currency=refund.amount.currency.code,
        reason=refund.reason,
        by=refund.by,
        at=rfc3339(refund.at),
        refused=refund.refused,
        payment_status=status(payment).value,
    )


def event_answer(event: Event) -> EventAnswer:
    """The event in plain values."""
    return EventAnswer(
        sequence=event.sequence,
        type=event.type.value,
        at=rfc3339(event.at),
        actor=event.actor,
        data=dict(event.data),
    )


def rfc3339(moment: datetime) -> str:
    """`2026-11-23T14:00:00Z`; fractions only when there are any."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _moment(moment: datetime | None) -> str | None:
    return rfc3339(moment) if moment is not None else None


def _attempt(attempt: Attempt) -> AttemptAnswer:
    return AttemptAnswer(
        number=attempt.number,
        provider=attempt.provider,
        provider_order_id=attempt.provider_order_id,
        state=attempt.state.value,
        amount=attempt.amount.major(),
        opened_at=rfc3339(attempt.opened_at),
        ends_at=rfc3339(attempt.ends_at),
        closing=attempt.closing.value if attempt.closing else None,
        proof=attempt.proof,
    )


def _charge(charge: Charge) -> ChargeAnswer:
    currency = charge.amount.currency
    return ChargeAnswer(
        transaction_id=charge.transaction_id,
        attempt=charge.attempt,
        state=charge.state.value,
        method=charge.method,
        amount=charge.amount.major(),
        currency=currency.code,
        captured=Money(charge.captured_minor, currency).major(),
        refunded=Money(charge.refunded_minor, currency).major(),
        charged_back=Money(charge.charged_back_minor, currency).major(),
        good=charge.is_good,
        occurred_at=_moment(charge.occurred_at),
    )


def _case(case: Case) -> CaseAnswer:
    return CaseAnswer(
        case_id=str(case.number),
        kind=case.kind.value,
        open=case.is_open,
        transaction_id=case.transaction_id,
        opened_at=rfc3339(case.opened_at),
        evidence=dict(case.evidence),
        decision=case.decision.value if case.decision else None,
        decided_by=case.decided_by,
        note=case.note,
    )
