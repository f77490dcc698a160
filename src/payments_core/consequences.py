"""What follows for a payment when one of its charges has changed.

`follow` is applied after every change and brings the payment to rest: which charge is kept, which page is spent,
which other page must be closed, which case opens, whether the payment is given up.
It is pure, and idempotent: what has followed already does not follow again.
"""

from collections.abc import Collection, Mapping
from datetime import datetime

from payments_core.evolving import evolve
from payments_core.limits import CASES_MAX, LEASE
from payments_core.money import Money
from payments_core.payment import (
    MISMATCHES,
    UNDER_WAY,
    Attempt,
    AttemptState,
    Case,
    CaseDecision,
    Charge,
    ChargeDue,
    Closed,
    ClosedAs,
    CloseReason,
    Payment,
)
from payments_core.states import CaseKind, ChargeState

__all__ = [
    "NOT_NAMED",
    "NOT_SAID",
    "STOCK_RELEASED",
    "begin_closing",
    "close_cases",
    "follow",
    "is_sent_by_hand",
    "late_charge",
    "lost_its_stock",
    "open_case",
    "reopen",
    "reserved_anew",
    "review_late",
    "under_way_minor",
]

STOCK_RELEASED = {"stock": "released"}
"""Stands in the evidence of a reversal whose dismissal gave the stock back."""
NOT_SAID, NOT_NAMED = "nothing", "not named"
"""Stand in the evidence of a mismatch where the message names no amount, or no merchant."""
_GIVES_UP = {CloseReason.EXPIRED: ClosedAs.EXPIRED, CloseReason.CANCELLED: ClosedAs.CANCELLED}


def follow(payment: Payment, now: datetime) -> Payment:
    """The payment at rest after a change: every consequence of design 2a drawn."""
    payment = _close_what_is_known_now(payment, now)
    payment = _let_go_of_reversed(payment, now)
    payment = _keep_a_charge(payment, now)
    payment = _spend_pages(payment, now)
    payment = _note_what_needs_a_person(payment, now)
    payment = _stop_the_others(payment, now)
    return _close_when_proved(payment, now)


def begin_closing(attempt: Attempt, reason: CloseReason, by: str, now: datetime) -> Attempt:
    """The page with its closing begun: its URL is no longer handed out, the gateway is asked to end it.

    A page that is closing already takes the new reason; a dead one keeps it too, as the reason it is given up for.
    """
    if not attempt.is_payable:
        return evolve(attempt, closing=reason, closing_by=by)
    return evolve(
        attempt,
        state=AttemptState.CLOSING,
        closing=reason,
        closing_by=by,
        doubt=None,
        check_at=now + LEASE,
        checks=0,
    )


def open_case(
    payment: Payment, kind: CaseKind, transaction_id: str | None, now: datetime, evidence: Mapping[str, str]
) -> Payment:
    """The payment with this case open; the same case is not opened twice, and a decided one not again.

    What is another loss of money opens anew once the last was decided: a reversal, a dispute by another name, and what
    is charged back after the gateway had said that everything was back. So does another refund that was refused, came
    back or is unknown, and another difference than the decided one. What was accepted is a case again when its charge
    counts no more: a difference when it is another, late money when it was reversed and comes late once more.
    """
    same = [case for case in payment.cases if (case.kind, case.transaction_id) == (kind, transaction_id)]
    covers = kind is not CaseKind.DISPUTE_OPEN  # each dispute by a name is fought by itself, also beside another
    told = any((covers and case.is_open) or not _is_another(case, evidence) for case in same)
    if told or len(payment.cases) >= CASES_MAX:
        return payment
    case = Case(
        number=len(payment.cases) + 1,
        kind=kind,
        transaction_id=transaction_id,
        opened_at=now,
        evidence=dict(evidence),
    )
    return evolve(payment, cases=(*payment.cases, case))


def _is_another(decided: Case, evidence: Mapping[str, str]) -> bool:
    match decided.kind:
        case CaseKind.REVERSED:
            return True
        case CaseKind.DISPUTE_OPEN:
            return evidence.get("dispute") not in (None, decided.evidence.get("dispute"))
        case CaseKind.CHARGED_BACK:
            return decided.decided_by == "gateway"
        case CaseKind.LATE_PAYMENT:
            return decided.decision is CaseDecision.ACCEPT
        case CaseKind.RETURN_BY_HAND | CaseKind.REFUND_RETURNED | CaseKind.OUTCOME_UNKNOWN:
            return evidence.get("refund") not in (None, decided.evidence.get("refund"))
        case kind if kind in MISMATCHES:
            about = "merchant" if kind is CaseKind.MERCHANT_MISMATCH else "said"
            is_the_same = evidence.get(about) in (None, NOT_SAID, NOT_NAMED, decided.evidence.get(about))
            return decided.decision is CaseDecision.ACCEPT or not is_the_same
        case _:
            return False


def close_cases(payment: Payment, kinds: Collection[CaseKind], transaction_id: str, why: str, now: datetime) -> Payment:
    """The payment with these cases of a charge closed by its gateway: what a person should have decided is over."""
    for case in payment.open_cases:
        if case.kind in kinds and case.transaction_id == transaction_id:
            over = evolve(case, decision=CaseDecision.DISMISS, decided_by="gateway", decided_at=now, note=why)
            payment = payment.with_case(over)
    return payment


def late_charge(payment: Payment) -> Charge | None:
    """Good money that came after the payment had expired, and no one has looked at yet; it wants its stock back."""
    if payment.closed is None or payment.closed.kind is not ClosedAs.EXPIRED or payment.paid_by is not None:
        return None
    late = (case for case in payment.cases if case.kind is CaseKind.LATE_PAYMENT)
    reviewed = {case.transaction_id for case in late if case.decision is not CaseDecision.ACCEPT}
    staying = (c for c in _paying(payment) if c.left_minor > 0 and not _is_leaving(payment, c))
    return next((charge for charge in staying if charge.transaction_id not in reviewed), None)


def lost_its_stock(payment: Payment) -> bool:
    """Whether stock was released because a reversal was dismissed, and has not been reserved anew since."""
    return any(
        case.evidence.items() >= STOCK_RELEASED.items()
        and case.decided_at is not None
        and case.decided_at > payment.reserved_at
        for case in payment.cases
    )


def reserved_anew(payment: Payment, now: datetime) -> Payment:
    """The payment whose stock was reserved anew: after whatever released it, also where clocks disagree."""
    decided = [case.decided_at for case in payment.cases if case.decided_at is not None]
    return evolve(payment, reserved_at=max([now, *decided]))


def reopen(payment: Payment, charge: Charge, now: datetime) -> Payment:
    """The payment paid by late money, its stock reserved anew."""
    reopened = reserved_anew(evolve(payment, closed=None), now)
    return follow(_kept_by(reopened, charge, now), now)


def review_late(payment: Payment, charge: Charge, now: datetime) -> Payment:
    """The payment still closed, and its late money a case for a person."""
    return open_case(payment, CaseKind.LATE_PAYMENT, charge.transaction_id, now, _money_of(charge))


def _close_what_is_known_now(payment: Payment, now: datetime) -> Payment:
    """An unknown outcome that the gateway has told after all waits for nobody any more, and blocks nothing."""
    for case in payment.open_cases:
        if case.kind is CaseKind.OUTCOME_UNKNOWN and _is_known_now(payment, case):
            told = evolve(
                case, decision=CaseDecision.DISMISS, decided_by="gateway", decided_at=now, note="it has told since"
            )
            payment = payment.with_case(told)
    return payment


def _is_known_now(payment: Payment, case: Case) -> bool:
    page = payment.attempt_named(case.evidence.get("page"))
    if page is not None:
        return not page.is_payable
    charge = payment.charge(case.transaction_id or "")
    waits = any(r.state in UNDER_WAY and r.transaction_id == case.transaction_id for r in payment.refunds)
    if charge is None or waits:
        return False
    return not charge.is_live or (charge.asked_by is None and charge.due is not ChargeDue.CANCEL)


def _let_go_of_reversed(payment: Payment, now: datetime) -> Payment:
    kept = payment.keeping_charge
    if kept is None or kept.state is not ChargeState.REVERSED:
        return payment
    evidence = {"amount": str(Money(kept.reversed_minor, kept.amount.currency))}
    freed = evolve(payment, paid_by=None, paid_at=None, owed=payment.amount)
    return open_case(freed, CaseKind.REVERSED, kept.transaction_id, now, evidence)


def _keep_a_charge(payment: Payment, now: datetime) -> Payment:
    if payment.paid_by is not None or payment.closed is not None:
        return payment
    paying = [charge for charge in _paying(payment) if not _is_leaving(payment, charge)]
    with_money = [charge for charge in paying if charge.left_minor > 0]
    # A refund may be the first thing we hear: then it paid, and was refunded. After a reversal, money that is back
    # already pays nothing.
    if not with_money and any(charge.state is ChargeState.REVERSED for charge in payment.charges):
        return payment
    chosen = next(iter(with_money or paying), None)
    return payment if chosen is None else _kept_by(payment, chosen, now)


def under_way_minor(payment: Payment, transaction_id: str) -> int:
    """How much of this charge is on its way back, and may still be refused."""
    rows = (refund for refund in payment.refunds if refund.transaction_id == transaction_id)
    return sum(refund.amount.amount_minor for refund in rows if refund.state in UNDER_WAY)


def is_sent_by_hand(payment: Payment, transaction_id: str) -> bool:
    """Whether somebody may be sending this charge's money back by other means, and has not said so yet."""
    return _is_open(payment, CaseKind.RETURN_BY_HAND, transaction_id)


def _is_open(payment: Payment, kind: CaseKind, transaction_id: str) -> bool:
    return any(case.kind is kind and case.transaction_id == transaction_id for case in payment.open_cases)


def _is_leaving(payment: Payment, charge: Charge) -> bool:
    """Whether its money was to go back, and nobody has decided otherwise since: goods for it would go for nothing.

    What was to go back and is back never pays; what is still with us does again once its return was refused, or came
    back, and a person dismissed that.
    """
    name = charge.transaction_id
    if is_sent_by_hand(payment, name) or 0 < charge.left_minor <= under_way_minor(payment, name):
        return True
    is_over = charge.left_minor <= 0 or _is_open(payment, CaseKind.REFUND_RETURNED, name)
    return is_over and _was_to_go_back(payment, name)


def _was_to_go_back(payment: Payment, transaction_id: str) -> bool:
    asked = any(r.case is not None and r.transaction_id == transaction_id for r in payment.refunds)
    decided = (case.transaction_id for case in payment.cases if case.decision is CaseDecision.RETURN)
    return asked or transaction_id in decided


def _kept_by(payment: Payment, charge: Charge, now: datetime) -> Payment:
    return evolve(
        payment,
        paid_by=charge.transaction_id,
        paid_at=charge.occurred_at or now,
        owed=Money(charge.captured_minor, charge.amount.currency),
        deadline_at=None,
    )


def _paying(payment: Payment) -> list[Charge]:
    return [charge for charge in payment.charges if charge.is_good and charge.has_money]


def _spend_pages(payment: Payment, now: datetime) -> Payment:
    for attempt in payment.attempts:
        has_money = any(charge.has_money for charge in payment.charges_of(attempt))
        is_only = payment.payable_attempt is None and payment.closed is None
        if has_money and attempt.is_payable:
            payment = payment.with_attempt(_spent(attempt))
        elif not has_money and attempt.state is AttemptState.SPENT and is_only:
            # Its money was reversed. While another page is payable this one stays spent: two payable pages are worse.
            # So it does on a payment that was given up, which is not pending again for it.
            payable = evolve(attempt, state=AttemptState.CLOSING)
            payment = payment.with_attempt(begin_closing(payable, CloseReason.REVERSED, "gateway", now))
    return payment


def _spent(attempt: Attempt) -> Attempt:
    return evolve(
        attempt, state=AttemptState.SPENT, request=None, lease_until=None, doubt=None, resend=False, check_at=None
    )


def _note_what_needs_a_person(payment: Payment, now: datetime) -> Payment:
    for charge in payment.charges:
        if charge.charged_back_minor > 0 or charge.charged_back_unknown:
            payment = open_case(payment, CaseKind.CHARGED_BACK, charge.transaction_id, now, _money_of(charge))
        if charge.captured_minor and charge.refunded_minor + charge.charged_back_minor > charge.captured_minor:
            payment = open_case(payment, CaseKind.OVERDRAWN, charge.transaction_id, now, _money_of(charge))
    for charge in _paying(payment):
        if charge.left_minor <= 0 or charge.transaction_id == payment.paid_by:
            continue
        if payment.paid_by is not None:
            payment = open_case(payment, CaseKind.SURPLUS_PAYMENT, charge.transaction_id, now, _money_of(charge))
        elif payment.closed is not None and payment.closed.kind is ClosedAs.CANCELLED:
            payment = review_late(payment, charge, now)
    return payment


def _stop_the_others(payment: Payment, now: datetime) -> Payment:
    """Beside a charge that has paid, and on a page that is over, nothing may become money any more."""
    for charge in payment.charges:
        over = not payment.attempt(charge.attempt).is_payable
        is_other = charge.transaction_id != payment.paid_by and (over or payment.paid_by is not None)
        if is_other and charge.is_live and charge.due is not ChargeDue.CANCEL:
            payment = payment.with_charge(_to_be_cancelled(charge, now))
        elif charge.due is ChargeDue.CANCEL and not charge.is_live:
            payment = payment.with_charge(evolve(charge, due=None, check_at=None, checks=0))
    page = payment.payable_attempt
    if payment.paid_by is None or page is None or page.closing is CloseReason.PAID:
        return payment
    return payment.with_attempt(begin_closing(page, CloseReason.PAID, "core", now))


def _to_be_cancelled(charge: Charge, now: datetime) -> Charge:
    return evolve(
        charge,
        due=ChargeDue.CANCEL,
        cancel_asked=True,
        asked_by=None,  # what a person had asked of it is not what is due any more
        asked_at=None,
        check_at=now + LEASE,
        recheck_after=None,
        checks=0,
    )


def _close_when_proved(payment: Payment, now: datetime) -> Payment:
    last = payment.last_attempt
    if last is None or last.closing not in _GIVES_UP or payment.closed is not None or payment.paid_by is not None:
        return payment
    alive = payment.payable_attempt is not None or any(charge.is_live for charge in payment.charges)
    if alive or payment.is_blocked:
        return payment
    closed = Closed(_GIVES_UP[last.closing], now, last.closing_by or "core")
    return evolve(payment, closed=closed, deadline_at=None)


def _money_of(charge: Charge) -> dict[str, str]:
    currency = charge.amount.currency
    named = {
        "captured": charge.captured_minor,
        "refunded": charge.refunded_minor,
        "charged_back": charge.charged_back_minor,
    }
    return {name: str(Money(minor, currency)) for name, minor in named.items() if minor}
