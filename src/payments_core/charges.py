"""One charge and one message: what the charge becomes, and what the two disagree about.

Amounts here only ever grow towards what the gateway reports as a total, so a repeated or late message changes nothing;
the one exception is a refund that a gateway takes back.
"""

from datetime import datetime
from typing import Any

from payments_core.evolving import evolve
from payments_core.money import Money
from payments_core.observations import Dispute, DisputeNews, Observation, RefundNews
from payments_core.payment import Attempt, Case, CaseDecision, Charge, Decline, Payment
from payments_core.states import LIVE, MONEY, CaseKind, ChargeState, Signal

__all__ = ["after_message", "attempt_of", "compare", "dispute_news", "is_accepted", "money_news"]

_DECLINED = frozenset({ChargeState.DENIED, ChargeState.FAILED})
_MAY_SAY_LESS = frozenset({*Signal} - {Signal.PENDING, Signal.CHALLENGED, Signal.AUTHORIZED})
"""Words that follow a capture, which may have taken less than was held."""
_SPEAKS_OF_MONEY = frozenset({Signal.AUTHORIZED, Signal.CAPTURED, Signal.SETTLED})


def attempt_of(payment: Payment, message: Observation) -> Attempt | None:
    """The attempt this message is about: the one it names, or that of the transaction it names without any order."""
    if message.provider_order_id is None:
        charge = payment.charge(message.transaction_id)
        attempt = payment.attempt(charge.attempt) if charge else None
    else:
        attempt = payment.attempt_named(message.provider_order_id)
    return attempt if attempt is not None and attempt.provider == message.provider else None


def compare(attempt: Attempt, charge: Charge | None, message: Observation) -> frozenset[CaseKind]:
    """What of amount, currency, merchant and mode differs; what a message leaves out is not compared.

    A smaller amount agrees when it is what we asked to capture, or did capture, or when a reading of this transaction
    showed a hold first: a partial capture, whatever became of it since.
    """
    faults = set()
    if message.amount is not None and message.amount.currency != attempt.amount.currency:
        faults.add(CaseKind.CURRENCY_MISMATCH)
    elif not _amount_agrees(attempt, charge, message):
        faults.add(CaseKind.AMOUNT_MISMATCH)
    if _differs(attempt.merchant_id, message.merchant_id) or _differs(attempt.live, message.live):
        faults.add(CaseKind.MERCHANT_MISMATCH)
    return frozenset(faults)


def _amount_agrees(attempt: Attempt, charge: Charge | None, message: Observation) -> bool:
    if message.amount is None:  # money that does not say how much cannot be the first thing we hear
        return charge is not None or message.meaning not in _SPEAKS_OF_MONEY
    if message.amount == attempt.amount:
        return True
    if charge is None or message.meaning not in _MAY_SAY_LESS or not message.amount < attempt.amount:
        return False
    was_taken = charge.is_good and charge.captured_minor == message.amount.amount_minor
    return charge.authorized_by_reading or charge.capture_minor == message.amount.amount_minor or was_taken


def _differs(ours: object, theirs: object) -> bool:
    return ours is not None and theirs is not None and ours != theirs


def is_accepted(payment: Payment, charge: Charge | None, attempt: Attempt, message: Observation) -> bool:
    """Whether a person accepted what this message says of the charge: this amount, this merchant, no other fault.

    An acceptance holds for what was seen, for what of it we asked to capture, and for what agrees anyway.
    """
    if charge is None or not charge.accepted:
        return False
    faults = compare(attempt, charge, message)
    mine = [case for case in payment.cases if case.transaction_id == charge.transaction_id]
    accepted = [case for case in mine if case.decision is CaseDecision.ACCEPT]
    merchants = {case.evidence.get("merchant") for case in accepted if case.kind is CaseKind.MERCHANT_MISMATCH}
    if CaseKind.MERCHANT_MISMATCH in faults and merchants and message.merchant_id not in (None, *merchants):
        return False
    asked = None if charge.capture_minor is None else Money(charge.capture_minor, charge.amount.currency)
    known = charge.faults.union(case.kind for case in accepted)
    return not faults or (message.amount in (None, charge.amount, asked) and faults <= known)


def after_message(
    charge: Charge | None, attempt: Attempt, message: Observation, to: ChargeState, now: datetime, *, by_reading: bool
) -> Charge:
    """The charge in state `to`, with the amounts and the faults this message gives it.

    A void that we asked for is a refund of the whole: the charge stays captured, and all of it is refunded.
    """
    was = charge or _blank(attempt, message)
    if to is ChargeState.REVERSED and was.cancel_asked and message.meaning is Signal.CANCELLED:
        return evolve(was, refunded_minor=was.captured_minor)
    disputed = by_reading and message.dispute is not None
    amount = message.amount or was.amount
    return evolve(
        was,
        state=to,
        amount=amount,
        method=message.method or was.method,
        faults=_faults(was, attempt, charge, message),
        authorized_by_reading=was.authorized_by_reading or (by_reading and message.meaning is Signal.AUTHORIZED),
        had_money=was.had_money or to in MONEY or to is ChargeState.AUTHORIZED,
        # It took money before our wish came true: whoever voids it from now on does it by himself.
        cancel_asked=was.cancel_asked and not (to in MONEY and was.state not in MONEY),
        occurred_at=_first_dated(was, to, message),
        decline=_decline(was, to, message, now),
        authorized_minor=amount.amount_minor if to is ChargeState.AUTHORIZED else was.authorized_minor,
        **_amounts(was, message, to, disputed=disputed),
    )


def _faults(was: Charge, attempt: Attempt, charge: Charge | None, message: Observation) -> frozenset[CaseKind]:
    """What differs now, and what differed before and this message does not speak of."""
    unsaid = was.faults
    if message.amount is not None:
        unsaid -= {CaseKind.AMOUNT_MISMATCH, CaseKind.CURRENCY_MISMATCH}
    says_merchant = attempt.merchant_id is None or message.merchant_id is not None
    if says_merchant and (attempt.live is None or message.live is not None):
        unsaid -= {CaseKind.MERCHANT_MISMATCH}
    return compare(attempt, charge, message) | unsaid if message.amount is not None else unsaid


def _blank(attempt: Attempt, message: Observation) -> Charge:
    return Charge(
        transaction_id=message.transaction_id,
        attempt=attempt.number,
        state=ChargeState.UNSEEN,
        amount=message.amount or Money(0, attempt.amount.currency),
    )


def _amounts(was: Charge, message: Observation, to: ChargeState, *, disputed: bool) -> dict[str, Any]:
    """The amounts that change, by field.

    `disputed`: the gateway was asked and says what is charged back now, which may be less than before.
    """
    if to in MONEY:
        says_more = was.state not in MONEY or message.amount is not None
        taken = (message.amount or was.amount).amount_minor if says_more else was.captured_minor
        return {
            "captured_minor": taken,
            "refunded_minor": _refunded(was, message, taken),
            "charged_back_minor": _now_charged_back(message) if disputed else _charged_back(was, message, taken),
            "charged_back_unknown": was.charged_back_unknown or message.charged_back_unknown,
            "reversed_minor": 0,
        }
    if to is ChargeState.REVERSED:
        # What was given back before is not taken back a second time.
        refunded = _refunded(was, message, was.captured_minor)
        left = was.captured_minor - refunded - was.charged_back_minor
        return {"refunded_minor": refunded, "reversed_minor": max(0, left)}
    return {}


def _refunded(charge: Charge, message: Observation, captured_minor: int) -> int:
    if message.refunded_all:
        return max(charge.refunded_minor, captured_minor)
    confirmed = sum(r.amount.amount_minor for r in message.refunds if r.amount and r.news is RefundNews.CONFIRMED)
    total = message.refunded.amount_minor if message.refunded else 0
    return max(charge.refunded_minor, confirmed, total)


def _charged_back(charge: Charge, message: Observation, captured_minor: int) -> int:
    if message.charged_back_all and message.charged_back is None:
        return max(charge.charged_back_minor, captured_minor)
    return max(charge.charged_back_minor, message.charged_back.amount_minor if message.charged_back else 0)


def _now_charged_back(message: Observation) -> int:
    return message.charged_back.amount_minor if message.charged_back else 0


def _first_dated(was: Charge, to: ChargeState, message: Observation) -> datetime | None:
    """When the gateway dates the money; the first date stays."""
    if to not in MONEY or (was.state in MONEY and was.occurred_at is not None):
        return was.occurred_at
    return message.occurred_at or was.occurred_at


def _decline(was: Charge, to: ChargeState, message: Observation, now: datetime) -> Decline | None:
    """The refusal seen last. A charge that ends has one; on one that lives, a buyer may be refused again and again."""
    if to in _DECLINED and was.decline is None:
        return Decline(message.decline_code or to.value, message.method or was.method, now)
    code, known = message.decline_code, was.decline
    at = message.occurred_at or now
    if code is None or to not in LIVE or (known is not None and (code == known.code or at <= known.at)):
        return known
    return Decline(code, message.method or was.method, at)


def money_news(charge: Charge, message: Observation) -> bool:
    """Whether the message says more was given back than we know."""
    if not charge.has_money:
        return False
    unknown_refund = message.refunded_unknown and charge.refunded_minor == 0
    unknown_charge_back = message.charged_back_unknown and not charge.charged_back_unknown
    return (
        unknown_refund
        or unknown_charge_back
        or _refunded(charge, message, charge.captured_minor) > charge.refunded_minor
        or _charged_back(charge, message, charge.captured_minor) > charge.charged_back_minor
    )


def dispute_news(payment: Payment, charge: Charge, dispute: Dispute) -> bool:
    """Whether the dispute has come further than we know; an old message about one that is over is refuted in time."""
    of_charge = (CaseKind.DISPUTE_OPEN, charge.transaction_id)
    mine = [c for c in payment.cases if (c.kind, c.transaction_id) == of_charge and _names(c, dispute)]
    match dispute.news:
        case DisputeNews.WITHDRAWN | DisputeNews.LOST:
            return charge.charged_back_minor < (dispute.amount.amount_minor if dispute.amount else 1)
        case DisputeNews.OPENED:
            return not mine and (dispute.dispute_id is not None or charge.charged_back_minor == 0)
        case DisputeNews.WON | DisputeNews.REINSTATED:
            return charge.charged_back_minor > 0 or any(case.is_open for case in mine)
        case DisputeNews.INQUIRY:
            return False


def _names(case: Case, dispute: Dispute) -> bool:
    """Any case is about any dispute where a gateway gives disputes no names."""
    return dispute.dispute_id is None or case.evidence.get("dispute") in (None, dispute.dispute_id)
