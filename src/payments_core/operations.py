"""What a person may ask of a payment: capture, approve, deny, and the decision of a case.

Plans only: each stores the wish on the charge it concerns, due, before anything is sent. What became of it is read from
the gateway, so a wish whose answer got lost is asked about and not assumed.
"""

from datetime import datetime

import attrs

from payments_core.consequences import (
    STOCK_RELEASED,
    follow,
    is_sent_by_hand,
    lost_its_stock,
    open_case,
    reopen,
    reserved_anew,
    under_way_minor,
)
from payments_core.errors import Conflict, InvalidInput
from payments_core.identity import refund_key
from payments_core.limits import LEASE
from payments_core.money import Money
from payments_core.payment import (
    MISMATCHES,
    RETURNABLE,
    UNDER_WAY,
    Case,
    CaseDecision,
    Charge,
    ChargeDue,
    Payment,
    Refund,
    RefundState,
)
from payments_core.returns import begin_return, close_returned_cases
from payments_core.states import CaseKind, ChargeState
from payments_core.unknown import is_overdue, next_look

__all__ = [
    "WISHES",
    "accept_late_money",
    "needs_its_stock",
    "plan_capture",
    "plan_decision",
    "plan_review",
    "wants_late_money",
    "wish_done",
    "wish_refused",
    "wish_unanswered",
]

WISHES = {
    ChargeDue.CAPTURE: ChargeState.AUTHORIZED,
    ChargeDue.APPROVE: ChargeState.CHALLENGED,
    ChargeDue.DENY: ChargeState.CHALLENGED,
}
"""The state a charge has until the wish has come true."""


# ── held and reviewed money ───────────────────────────────────────────────────────────────────────────────────────────
def plan_capture(payment: Payment, amount: Money | None, by: str, now: datetime) -> tuple[Payment, Charge]:
    """The payment with a capture wished for, of all that is held unless less is named; and its charge.

    The same wish again changes nothing.
    Errors: Conflict `already_paid`, `not_authorized`, `exceeds_authorized`, `under_way`; InvalidInput.
    """
    charge = _only(payment, ChargeState.AUTHORIZED, "not_authorized", "no money is held for this order")
    held = Money(charge.authorized_minor, charge.amount.currency)
    if amount is not None and (amount.currency != held.currency or amount.amount_minor <= 0):
        raise InvalidInput(f"a capture is an amount above zero in {held.currency.code}", code="invalid_request")
    asked = amount or held
    if asked.amount_minor > held.amount_minor:
        raise Conflict(f"{held} is held", code="exceeds_authorized")
    return _wish(payment, charge, ChargeDue.CAPTURE, by, now, asked.amount_minor)


def plan_review(payment: Payment, due: ChargeDue, by: str, now: datetime) -> tuple[Payment, Charge]:
    """The payment with the approval or the denial of its reviewed charge wished for; and that charge.

    Errors: Conflict `already_paid`, `not_challenged`, `under_way`.
    """
    charge = _only(payment, ChargeState.CHALLENGED, "not_challenged", "no charge of this payment is under review")
    return _wish(payment, charge, due, by, now, None)


def _only(payment: Payment, state: ChargeState, code: str, detail: str) -> Charge:
    charge = next((c for c in payment.charges if c.state is state and c.is_good), None)
    if charge is not None and not (charge.due is ChargeDue.CANCEL and payment.paid_by is not None):
        return charge
    if payment.paid_by is not None:
        raise Conflict("the order is paid", code="already_paid")
    raise Conflict(detail, code=code)


def _wish(
    payment: Payment, charge: Charge, due: ChargeDue, by: str, now: datetime, capture_minor: int | None
) -> tuple[Payment, Charge]:
    if charge.due is due and charge.capture_minor == capture_minor:
        return payment, charge
    if charge.cancel_asked or charge.due in WISHES:
        raise Conflict("something else was asked of this charge already", code="under_way", retryable=True)
    wished = attrs.evolve(
        charge,
        due=due,
        capture_minor=capture_minor,
        asked_by=by,
        asked_at=now,
        check_at=now + LEASE,
        recheck_after=None,
        checks=0,
    )
    return payment.with_charge(wished), wished


def wish_done(charge: Charge) -> bool:
    """Whether nothing is left to do for the wish: the charge has left the state it was made in."""
    return charge.due in WISHES and charge.state is not WISHES[charge.due]


def wish_refused(payment: Payment, transaction_id: str) -> Payment:
    """The payment after a definitive no: the wish is dropped, the charge stays as it is."""
    charge = payment.charge(transaction_id)
    if charge is None or charge.due not in WISHES:
        return payment
    return payment.with_charge(
        attrs.evolve(charge, due=None, capture_minor=None, asked_by=None, asked_at=None, check_at=None, checks=0)
    )


def wish_unanswered(payment: Payment, transaction_id: str, now: datetime) -> Payment:
    """The payment with the outcome unknown: asked about later each time, and a case when the schedule is over."""
    charge = payment.charge(transaction_id)
    if charge is None or charge.due not in WISHES or wish_done(charge):
        return payment
    asked_at = charge.asked_at or now
    check_at = next_look(asked_at, charge.checks, now)
    payment = payment.with_charge(attrs.evolve(charge, check_at=check_at, checks=charge.checks + 1))
    if not is_overdue(asked_at, now):
        return payment
    evidence = {"asked": charge.due.value, "by": charge.asked_by or ""}
    return open_case(payment, CaseKind.OUTCOME_UNKNOWN, transaction_id, now, evidence)


# ── cases ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
def plan_decision(
    payment: Payment, number: int, decision: CaseDecision, note: str, *, by: str, now: datetime, deadline: datetime
) -> Payment:
    """The payment after a person decided this case; the same decision again changes nothing.

    *accept* makes a mismatched charge count, and what is owed its amount (late money is settled by the caller, who can
    reserve stock); *return* begins the return, and all cases about the money close when it is back; *dismiss* moves
    nothing, but a dismissed reversal lets the order be paid again, until `deadline`.
    Errors: Conflict `case_closed`, `decision_not_possible`, `nothing_left`, `under_way` (what was decided before is
    still being done); InvalidInput without a case or a note.
    """
    if not 1 <= number <= len(payment.cases):
        raise InvalidInput(f"this payment has no case {number}", code="no_case")
    if not note.strip():
        raise InvalidInput("a decision says why: `note` is empty", code="invalid_request")
    case = payment.cases[number - 1]
    if not case.is_open:
        if case.decision is decision:
            return payment
        raise Conflict(f"this case was closed by {case.decided_by}", code="case_closed")
    match decision:
        case CaseDecision.ACCEPT if case.kind in MISMATCHES:
            return _accept(payment, case, note, by, now)
        case CaseDecision.RETURN if case.kind in RETURNABLE or _came_back_unwanted(payment, case):
            return _return(payment, case, note, by, now)
        case CaseDecision.DISMISS:
            return _dismiss(payment, case, note, by, now, deadline)
        case _:
            raise Conflict(f"{case.kind.value} cannot be decided so", code="decision_not_possible")


def _decided(payment: Payment, case: Case, decision: CaseDecision, note: str, by: str, now: datetime) -> Payment:
    closed = attrs.evolve(case, decision=decision, decided_by=by, decided_at=now, note=note)
    return payment.with_case(closed)


def _refuse_while_under_way(payment: Payment, transaction_id: str) -> None:
    """Money counts or goes back, not both: what was sent may arrive, and what goes by hand is known to its sender only.

    Errors: Conflict `under_way`.
    """
    if under_way_minor(payment, transaction_id) or is_sent_by_hand(payment, transaction_id):
        raise Conflict("this money is on its way back", code="under_way", retryable=True)


def _dismiss(payment: Payment, case: Case, note: str, by: str, now: datetime, deadline: datetime) -> Payment:
    if any(refund.case == case.number and refund.state in UNDER_WAY for refund in payment.refunds):
        raise Conflict("the return of this money is under way", code="under_way", retryable=True)
    if case.kind is CaseKind.REVERSED and payment.paid_by is None and payment.closed is None:
        # Not when another charge has paid since: then the stock is that one's. It is released after it was reserved,
        # also where clocks disagree: whether it was is read from the two moments.
        now = max(now, payment.reserved_at + datetime.resolution)
        case = attrs.evolve(case, evidence={**case.evidence, **STOCK_RELEASED})
        payment = attrs.evolve(payment, deadline_at=deadline)
    return follow(_decided(payment, case, CaseDecision.DISMISS, note, by, now), now)


def _accept(payment: Payment, case: Case, note: str, by: str, now: datetime) -> Payment:
    """Every mismatch of the charge is decided with it: a charge counts or does not.

    The order is paid by it already when its amount changed afterwards: then that is what is owed.
    """
    charge = payment.charge(case.transaction_id or "")
    if charge is None:
        raise Conflict("the gateway has not shown this charge yet; refresh first", code="decision_not_possible")
    if charge.captured_minor > 0 and charge.left_minor <= 0:
        raise Conflict("nothing of this money is left, it can pay no order", code="decision_not_possible")
    _refuse_while_under_way(payment, charge.transaction_id)
    for same in payment.open_cases:
        if same.transaction_id == case.transaction_id and same.kind in MISMATCHES:
            payment = _decided(payment, same, CaseDecision.ACCEPT, note, by, now)
    if payment.paid_by == charge.transaction_id:
        payment = attrs.evolve(payment, owed=Money(charge.captured_minor, charge.amount.currency))
    return follow(payment.with_charge(attrs.evolve(charge, accepted=True)), now)


def wants_late_money(payment: Payment, number: int, decision: CaseDecision) -> bool:
    """Whether this decision takes late money after all, so that stock has to be reserved first."""
    case = payment.cases[number - 1] if 1 <= number <= len(payment.cases) else None
    is_late = case is not None and case.is_open and case.kind is CaseKind.LATE_PAYMENT
    return is_late and decision is CaseDecision.ACCEPT


def needs_its_stock(payment: Payment) -> bool:
    """Whether late money that is accepted has to reserve stock: none is held for an order it does not pay yet, nor when
    it pays one whose stock a dismissed reversal released.
    """
    return payment.paid_by is None or lost_its_stock(payment)


def accept_late_money(payment: Payment, number: int, note: str, by: str, now: datetime) -> Payment:
    """The payment paid by its late money, its stock reserved anew by the caller where it `needs_its_stock`.

    Money that came back after a dismissed reversal pays already, and wants only that stock.
    Errors: Conflict `decision_not_possible`, `under_way`.
    """
    case = payment.cases[number - 1]
    charge = payment.charge(case.transaction_id or "")
    if charge is None or charge.left_minor <= 0 or payment.paid_by not in (None, charge.transaction_id):
        raise Conflict("this money cannot pay the order any more", code="decision_not_possible")
    _refuse_while_under_way(payment, charge.transaction_id)
    accepted = _decided(payment, case, CaseDecision.ACCEPT, note, by, now)
    if payment.paid_by is None:
        return reopen(accepted, charge, now)
    return reserved_anew(accepted, now) if lost_its_stock(payment) else accepted


def _came_back_unwanted(payment: Payment, case: Case) -> bool:
    """Whether a refund came back whose money pays no order, so that it is sent once more.

    What is given back of the keeping charge, and how much, is said with `plan_refund`.
    """
    return case.kind is CaseKind.REFUND_RETURNED and case.transaction_id != payment.paid_by


def _return(payment: Payment, case: Case, note: str, by: str, now: datetime) -> Payment:
    if case.kind is CaseKind.RETURN_BY_HAND:
        return _returned_by_hand(payment, case, note, by, now)
    begun = begin_return(payment, case, by=by, note=note, now=now)
    if begun is payment and not any(refund.case == case.number for refund in payment.refunds):
        _refuse_while_under_way(payment, case.transaction_id or "")
        raise Conflict("nothing of this charge can be given back this way", code="nothing_left")
    return begun


def _returned_by_hand(payment: Payment, case: Case, note: str, by: str, now: datetime) -> Payment:
    """Somebody sent the money by other means; the note is the reference of the transfer."""
    charge = payment.charge(case.transaction_id or "")
    payment = _decided(payment, case, CaseDecision.RETURN, note, by, now)
    if charge is None or charge.left_minor <= 0:
        return close_returned_cases(payment, now)
    sent = Refund(
        key=refund_key(payment.payment_id, len(payment.refunds) + 1),
        transaction_id=charge.transaction_id,
        amount=Money(charge.left_minor, charge.amount.currency),
        state=RefundState.CONFIRMED,
        by=by,
        reason=note,
        at=now,
    )
    given = attrs.evolve(charge, refunded_minor=charge.refunded_minor + charge.left_minor)
    payment = payment.with_refund(sent).with_charge(given)
    for same in payment.open_cases:
        if same.transaction_id == charge.transaction_id and same.kind in RETURNABLE | {CaseKind.REFUND_RETURNED}:
            payment = _decided(payment, same, CaseDecision.RETURN, note, by, now)
    return follow(payment, now)
