"""Giving money back: what may be asked for, what was asked, and what the gateway says became of it.

A refund is a row of its own with a key of its own, stored before it is sent; the key is the same in every retry, so an
answer that got lost is asked for and not paid twice.
Captured money that has not settled is voided (a cancel of the whole); settled money is refunded; what a method cannot
give back is given back by hand, which is a case.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

import attrs

from payments_core.consequences import follow, is_sent_by_hand, open_case, under_way_minor
from payments_core.errors import Conflict, InvalidInput
from payments_core.evolving import evolve
from payments_core.identity import refund_key
from payments_core.limits import LEASE, REFUND_ASKED_FOR, REFUNDS_MAX
from payments_core.money import Money
from payments_core.observations import Observation, RefundNews, RefundReport
from payments_core.payment import RETURNABLE, UNDER_WAY, Case, CaseDecision, Charge, Payment, Refund, RefundState
from payments_core.policy import GatewayTraits
from payments_core.states import CaseKind, ChargeState
from payments_core.unknown import is_overdue, next_look

__all__ = [
    "begin_return",
    "close_returned_cases",
    "hear_refunds",
    "plan_refund",
    "refund_confirmed",
    "refund_news",
    "refund_pending",
    "refund_refused",
    "refund_sent",
    "refund_unanswered",
    "refundable",
    "return_late_money",
    "told_minor",
    "why_not_refund",
    "without_what_came_back",
]

_NEVER_WAS = frozenset({RefundState.REFUSED, RefundState.RETURNED})
_AFTER_ALL = frozenset({(RefundState.CONFIRMED, RefundState.RETURNED), (RefundState.REFUSED, RefundState.CONFIRMED)})
_STATE_OF = {
    RefundNews.PENDING: RefundState.SENT,
    RefundNews.CONFIRMED: RefundState.CONFIRMED,
    RefundNews.REFUSED: RefundState.REFUSED,
    RefundNews.RETURNED: RefundState.RETURNED,
}


def refundable(payment: Payment, charge: Charge) -> Money:
    """What may still be given back of a charge: captured, less what was charged back, reversed, given or asked for.

    The gateway's own total counts where it knows more than our rows do (a refund made in its dashboard).
    """
    asked = sum(refund.amount.amount_minor for refund in _rows(payment, charge.transaction_id))
    given = max(asked, charge.refunded_minor + under_way_minor(payment, charge.transaction_id))
    left = charge.captured_minor - charge.charged_back_minor - charge.reversed_minor - given
    return Money(max(0, left), charge.amount.currency)


def plan_refund(
    payment: Payment,
    *,
    transaction_id: str | None = None,
    amount: Money | None = None,
    reason: str | None = None,
    by: str,
    asked_as: str | None = None,
    traits: GatewayTraits,
    now: datetime,
) -> tuple[Payment, Refund]:
    """The payment with one more refund requested, and that refund; of the keeping charge unless another is named.

    `amount` None is all that is left. The same `asked_as` again finds the refund it made before, also a refused one.
    Errors: Conflict `not_paid`, `nothing_left`, `exceeds_refundable`, `not_settled_yet`, `return_by_hand`,
    `too_many_refunds`; InvalidInput when the amount is not above zero, or of another currency, and
    `idempotency_key_reused` when `asked_as` made a refund of another amount.
    """
    known = next((r for r in payment.refunds if asked_as is not None and r.asked_as == asked_as), None)
    if known is not None:
        if amount is not None and amount != known.amount:
            raise InvalidInput("this key was used for another request", code="idempotency_key_reused")
        return payment, known
    charge = payment.charge(transaction_id or payment.paid_by or "")
    if charge is None or not charge.has_money:
        raise Conflict("no money was taken that could be given back", code="not_paid")
    money = _asked_for(payment, charge, amount)
    _refuse_what_cannot_be(payment, charge, money, traits, now)
    refund = attrs.evolve(_requested(payment, charge, money, by, reason, now), asked_as=asked_as)
    return payment.with_refund(refund), refund


def _requested(payment: Payment, charge: Charge, money: Money, by: str, reason: str | None, now: datetime) -> Refund:
    """The next refund of the payment, stored before it is sent."""
    return Refund(
        key=refund_key(payment.payment_id, len(payment.refunds) + 1),
        transaction_id=charge.transaction_id,
        amount=money,
        state=RefundState.REQUESTED,
        by=by,
        reason=reason,
        elsewhere_minor=_unknown_of(payment, charge),
        at=now,
        check_at=now + LEASE,
    )


def _asked_for(payment: Payment, charge: Charge, amount: Money | None) -> Money:
    left = refundable(payment, charge)
    if amount is not None and (amount.currency != left.currency or amount.amount_minor <= 0):
        raise InvalidInput(f"a refund is an amount above zero in {left.currency.code}", code="invalid_request")
    if left.amount_minor == 0:
        raise Conflict("nothing is left to give back", code="nothing_left")
    if amount is not None and amount.amount_minor > left.amount_minor:
        raise Conflict(f"{left} is left to give back", code="exceeds_refundable")
    return amount or left


def _refuse_what_cannot_be(
    payment: Payment, charge: Charge, money: Money, traits: GatewayTraits, now: datetime
) -> None:
    if len(payment.refunds) >= REFUNDS_MAX:
        raise Conflict(f"{REFUNDS_MAX} refunds were made of this payment already", code="too_many_refunds")
    if charge.state is ChargeState.CAPTURED:
        if money.amount_minor != charge.captured_minor:
            raise Conflict("until it has settled, only the whole can be given back", code="not_settled_yet")
        return
    if reason := why_not_refund(charge, money, traits, now):
        raise Conflict(reason, code="return_by_hand")


def why_not_refund(charge: Charge, money: Money, traits: GatewayTraits, now: datetime) -> str | None:
    """Why the gateway cannot give settled money back; None when it can."""
    if traits.refunds is None:
        return None
    rule = traits.refunds.get(charge.method or "")
    if rule is None:
        return f"the gateway gives nothing back for {charge.method}; send it by hand"
    if not rule.partial and money.amount_minor != charge.captured_minor:
        return f"the gateway gives back only the whole for {charge.method}"
    if charge.occurred_at is not None and now > charge.occurred_at + rule.window:
        return f"the gateway gives nothing back after {rule.window.days} days for {charge.method}; send it by hand"
    return None


# ── what became of one ────────────────────────────────────────────────────────────────────────────────────────────────
def refund_sent(payment: Payment, key: str, now: datetime) -> Payment:
    """The payment with this refund on its way: stored before the call, so a crash finds it."""
    return _with_next_check(payment, key, RefundState.SENT, now)


def refund_pending(payment: Payment, key: str, now: datetime) -> Payment:
    """The payment with this refund on its way, because the gateway shows it: it is asked about, and not sent again.

    A bank may take days; after a week nobody asks any more, and it is a case.
    """
    refund = payment.refund(key)
    if refund is not None and now >= refund.at + REFUND_ASKED_FOR:
        return refund_unanswered(payment, key, now)
    return _with_next_check(payment, key, RefundState.SENT, now)


def refund_unanswered(payment: Payment, key: str, now: datetime) -> Payment:
    """The payment with the outcome of this refund unknown: it is asked about, and sent again under the same key.

    One that was never sent is known not to be done, and stays requested.

    When the schedule is over it is a case, still unknown, and looked at now and then, for a week.
    """
    refund = payment.refund(key)
    if refund is None or refund.state not in UNDER_WAY:
        return payment
    is_shown = refund.state is RefundState.SENT and refund.checks == 0  # the gateway told of it before we sent it
    state = refund.state if is_shown or not refund.was_sent else RefundState.UNKNOWN
    payment = _with_next_check(payment, key, state, now)
    if not is_overdue(refund.at, now):
        return payment
    if now >= refund.at + REFUND_ASKED_FOR:
        payment = _not_looked_at(payment, key)
    evidence = {"refund": key, "amount": str(refund.amount)}
    return open_case(payment, CaseKind.OUTCOME_UNKNOWN, refund.transaction_id, now, evidence)


def _with_next_check(payment: Payment, key: str, state: RefundState, now: datetime) -> Payment:
    refund = payment.refund(key)
    if refund is None or refund.state not in UNDER_WAY:
        return payment
    check_at = next_look(refund.at, refund.checks, now)
    return payment.with_refund(attrs.evolve(refund, state=state, check_at=check_at, checks=refund.checks + 1))


def _not_looked_at(payment: Payment, key: str) -> Payment:
    refund = payment.refund(key)
    return payment if refund is None else payment.with_refund(attrs.evolve(refund, check_at=None))


def refund_confirmed(payment: Payment, key: str, now: datetime) -> Payment:
    """The payment with this refund done: the gateway said so in its reply."""
    refund = payment.refund(key)
    if refund is None or refund.state not in UNDER_WAY:
        return payment
    payment = payment.with_refund(attrs.evolve(refund, state=RefundState.CONFIRMED, check_at=None))
    return follow(close_returned_cases(_count(payment, refund.transaction_id), now), now)


def refund_refused(payment: Payment, key: str, why: str, by_hand: bool, now: datetime) -> Payment:
    """The payment with this refund refused for good; what a case waits for goes on by hand."""
    refund = payment.refund(key)
    if refund is None or refund.state not in UNDER_WAY:
        return payment
    payment = payment.with_refund(attrs.evolve(refund, state=RefundState.REFUSED, check_at=None, refused=why))
    if by_hand:
        evidence = {"refund": key, "amount": str(refund.amount), "why": why}
        payment = open_case(payment, CaseKind.RETURN_BY_HAND, refund.transaction_id, now, evidence)
    return follow(close_returned_cases(payment, now), now)


def hear_refunds(payment: Payment, charge: Charge, message: Observation, now: datetime) -> Payment:
    """The payment with its refunds as a message about this charge tells them; unknown keys were made elsewhere.

    Each refund counts once, however often it is told of. The charge's total grows to what the rows add up to, and
    a case that waited for its money closes.
    """
    for report in message.refunds:
        payment = _hear_one(payment, charge.transaction_id, report, now)
    payment = _confirm_by_total(payment, charge.transaction_id)
    return close_returned_cases(_count(payment, charge.transaction_id), now)


def without_what_came_back(payment: Payment, message: Observation) -> Observation:
    """The message without refunds it calls done that have come back since: it is older than that, and stays so.

    A gateway that tells refunds one by one tells their totals by them too, so an old one must not be counted again.
    """
    back = {refund.key for refund in payment.refunds if refund.state is RefundState.RETURNED}
    told = tuple(r for r in message.refunds if r.news is not RefundNews.CONFIRMED or r.key not in back)
    return message if len(told) == len(message.refunds) else evolve(message, refunds=told)


def refund_news(payment: Payment, message: Observation) -> bool:
    """Whether the message tells of a refund we do not know, or of one that has come further than we know.

    One we do not know that does not say how much is told by its total alone, and is no news here.
    """
    for report in message.refunds:
        known, state = payment.refund(report.key), _STATE_OF[report.news]
        if known is None and report.amount is None:
            continue
        if known is None or _comes_further(known, state):
            return True
    return False


def _comes_further(known: Refund, state: RefundState) -> bool:
    """Whether this state follows on the one we know.

    What was done may come back, and what we took for refused may have been done all the same.
    """
    if known.state in UNDER_WAY:
        return known.state is not state
    return (known.state, state) in _AFTER_ALL


def told_minor(payment: Payment, transaction_id: str) -> int:
    """What was ever given back of a charge, or is being: also what came back since, but not what was refused."""
    rows = (refund for refund in payment.refunds if refund.transaction_id == transaction_id)
    return sum(refund.amount.amount_minor for refund in rows if refund.state is not RefundState.REFUSED)


def _hear_one(payment: Payment, transaction_id: str, report: RefundReport, now: datetime) -> Payment:
    known, state = payment.refund(report.key), _STATE_OF[report.news]
    if known is None:
        if report.amount is None or len(payment.refunds) >= REFUNDS_MAX:
            return payment
        made = Refund(
            key=report.key,
            transaction_id=transaction_id,
            amount=report.amount,
            state=state,
            by="gateway",
            at=now,
        )
        return _come_back(payment.with_refund(made), made, now)
    if known.transaction_id != transaction_id or not _comes_further(known, state):
        return payment
    due = known.check_at if state is RefundState.SENT else None
    heard = attrs.evolve(known, state=state, check_at=due)
    counted = known.state is RefundState.CONFIRMED
    return _come_back(payment.with_refund(heard), heard, now, counted=counted)


def _come_back(payment: Payment, refund: Refund, now: datetime, *, counted: bool = False) -> Payment:
    """Un-counted: the money is with us again, and somebody has to find another way to send it.

    Whether we ever heard that it had gone through makes no difference to the person it was meant for.
    """
    if refund.state is not RefundState.RETURNED:
        return payment
    charge = payment.charge(refund.transaction_id)
    if charge is not None and counted:
        less = max(0, charge.refunded_minor - refund.amount.amount_minor)
        payment = payment.with_charge(attrs.evolve(charge, refunded_minor=less))
    evidence = {"refund": refund.key, "amount": str(refund.amount)}
    return open_case(payment, CaseKind.REFUND_RETURNED, refund.transaction_id, now, evidence)


def _rows(payment: Payment, transaction_id: str) -> list[Refund]:
    return [r for r in payment.refunds if r.transaction_id == transaction_id and r.state not in _NEVER_WAS]


def _confirmed(rows: Iterable[Refund]) -> int:
    return sum(refund.amount.amount_minor for refund in rows if refund.state is RefundState.CONFIRMED)


def _unknown_of(payment: Payment, charge: Charge) -> int:
    """What the total of this charge tells beyond the rows that are done, or may be."""
    rows = _rows(payment, charge.transaction_id)
    return max(0, charge.refunded_minor - _confirmed(rows) - sum(refund.amount.amount_minor for refund in _sent(rows)))


def _sent(rows: Iterable[Refund]) -> list[Refund]:
    return [refund for refund in rows if refund.state in UNDER_WAY and refund.was_sent]


def _elsewhere(rows: Sequence[Refund], ours: Iterable[Refund]) -> int:
    """What was given back beside the rows when one of ours was asked for, less what has become a row since."""

    def beside(asked: Refund) -> int:
        since = (row for row in rows if row.by == "gateway" and row.at >= asked.at)
        return asked.elsewhere_minor - _confirmed(since)

    return max([0, *map(beside, ours)])


def _confirm_by_total(payment: Payment, transaction_id: str) -> Payment:
    """A total that covers every refund ever sent confirms all of them, also where no keys are listed.

    It does not where somebody else gave as much back: neither what was not sent yet, nor what was given before.
    """
    charge, rows = payment.charge(transaction_id), _rows(payment, transaction_id)
    sent = _sent(rows)
    asked = _confirmed(rows) + sum(refund.amount.amount_minor for refund in sent)
    if charge is None or asked + _elsewhere(rows, sent) > charge.refunded_minor:
        return payment
    for refund in sent:
        payment = payment.with_refund(attrs.evolve(refund, state=RefundState.CONFIRMED, check_at=None))
    return payment


def _count(payment: Payment, transaction_id: str) -> Payment:
    charge, rows = payment.charge(transaction_id), _rows(payment, transaction_id)
    done = [refund for refund in rows if refund.state is RefundState.CONFIRMED]
    given = _confirmed(done) + _elsewhere(rows, done)
    if charge is None or given <= charge.refunded_minor:
        return payment
    return payment.with_charge(attrs.evolve(charge, refunded_minor=given))


# ── cases that money closes ───────────────────────────────────────────────────────────────────────────────────────────
def return_late_money(payment: Payment, now: datetime) -> Payment:
    """The payment with a return begun for every late or surplus charge that has none, because the policy says so.

    Not for surplus money that pays the order since: goods go out for it, and what becomes of its case a person says.
    Not again for money that came back once, nor where the gateway refused it, whatever was decided about that since:
    why it did is for a person to find, and the next refund would be refused like the last.
    """
    in_vain = (CaseKind.REFUND_RETURNED, CaseKind.RETURN_BY_HAND)
    failed = {case.transaction_id for case in payment.cases if case.kind in in_vain}
    for case in payment.open_cases:
        surplus = case.kind is CaseKind.SURPLUS_PAYMENT and case.transaction_id != payment.paid_by
        late = surplus or case.kind is CaseKind.LATE_PAYMENT
        if late and case.transaction_id is not None and case.transaction_id not in failed:
            payment = begin_return(payment, case, by="policy", note=None, now=now)
    return payment


def begin_return(payment: Payment, case: Case, *, by: str, note: str | None, now: datetime) -> Payment:
    """The payment with all that is left of this case's charge on its way back; the case closes when it is back.

    Whether the method can give it back is found when it is sent: what cannot becomes the case `return_by_hand`.
    """
    charge = payment.charge(case.transaction_id or "")
    under_way = any(refund.case == case.number and refund.state in UNDER_WAY for refund in payment.refunds)
    if charge is None or under_way or len(payment.refunds) >= REFUNDS_MAX:
        return payment
    left = refundable(payment, charge)
    if left.amount_minor == 0 or is_sent_by_hand(payment, charge.transaction_id):
        return payment
    return payment.with_refund(attrs.evolve(_requested(payment, charge, left, by, note, now), case=case.number))


def close_returned_cases(payment: Payment, now: datetime) -> Payment:
    """The payment with every case closed that was about money which is all back, whoever sent it.

    All cases of one charge close together: what nothing is left of cannot be returned a second time.
    """
    for case in payment.open_cases:
        charge = payment.charge(case.transaction_id or "")
        sent = _sent_back(payment, case, charge) if charge is not None and charge.left_minor <= 0 else None
        if sent is not None:
            by, why = sent
            decided = attrs.evolve(case, decision=CaseDecision.RETURN, decided_by=by, decided_at=now, note=why)
            payment = payment.with_case(decided)
    return payment


def _sent_back(payment: Payment, case: Case, charge: Charge) -> tuple[str, str | None] | None:
    """Who sent this money back, of which nothing is left, and why; None when the case is not over with that."""
    rows = [refund for refund in payment.refunds if refund.transaction_id == charge.transaction_id]
    done = [refund for refund in rows if refund.state is RefundState.CONFIRMED]
    asked = next((refund for refund in done if refund.case == case.number), None)
    if asked is not None:
        return asked.by, asked.reason
    may_fail = any(refund.state in UNDER_WAY for refund in rows)
    if may_fail or not charge.has_money or charge.refunded_minor <= 0:
        return None  # money that was reversed may still come back, and is the case's again
    if case.kind is CaseKind.REFUND_RETURNED:
        done = [refund for refund in done if refund.at > case.opened_at]
    elif case.kind not in RETURNABLE:
        return None
    elif not done:
        return "gateway", "all of it was given back there"
    return (done[-1].by, done[-1].reason) if done else None
