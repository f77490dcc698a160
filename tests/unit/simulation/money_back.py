"""What must hold of money that goes back, and of money that people say has come. Each answers with its complaints.

The gateway's ledger is the oracle here too, and beside it what people sent by hand.
"""

from collections import Counter
from collections.abc import Iterator

from payments_core.payment import RETURNABLE, UNDER_WAY, Case, CaseDecision, Charge, Payment, Refund, RefundState
from payments_core.states import CaseKind
from unit.simulation.bank import MANUAL
from unit.simulation.far_side import Transaction, is_strangers
from unit.simulation.world import World

__all__ = [
    "amounts",
    "bookings",
    "by_hand_minor",
    "called_for_nothing",
    "forgotten",
    "goods_for_nothing",
    "is_kept_by_a_person",
    "never_left",
    "sent_twice",
    "wrongly_done",
]

_DONE_OR_NEARLY = ("pending", "confirmed")


# ── at every commit, and every change of a gateway ────────────────────────────────────────────────────────────────────
def sent_twice(payment: Payment, transaction: Transaction, by_hand: int) -> Iterator[str]:
    """Each refund of ours is made once, none that we call refused, and all of them are no more than came."""
    ours = [refund for refund in transaction.now.refunds if not is_strangers(refund[0])]
    for key, times in Counter(key for key, _, _ in ours).items():
        if times > 1:
            yield f"{key} was given back twice"
    sent = max(by_hand, by_hand_minor(payment, transaction))
    for key, minor, news in ours:
        refund = payment.refund(key)
        if refund is None:
            yield f"money went back under a key not stored: {key}"
        elif refund.state is RefundState.REFUSED and news in _DONE_OR_NEARLY:
            yield f"{key} is called refused, and is {news} at the gateway"  # and is sent by other means, perhaps
        sent += minor if news in _DONE_OR_NEARLY else 0
    if sent > transaction.now.minor:
        yield f"{sent} of {transaction.now.minor} was sent back by us"


def never_left(before: Payment | None, after: Payment) -> Iterator[str]:
    """What we have not sent is not done, whatever total is told: it is stored as sent before it leaves."""
    for refund in after.refunds if before is not None else ():
        was = before.refund(refund.key) if before is not None else None
        if was is not None and was.state is RefundState.REQUESTED and refund.state is RefundState.CONFIRMED:
            yield f"{refund.key} is confirmed, and never left"


def goods_for_nothing(before: Payment | None, after: Payment) -> Iterator[str]:
    """No goods go out for money that we are giving back."""
    kept = after.keeping_charge
    if kept is None or (before is not None and before.paid_by == after.paid_by):
        return
    cases = [case for case in after.cases if case.transaction_id == kept.transaction_id]
    if any(case.kind is CaseKind.REVERSED for case in cases):
        return  # it had paid before, and goods have left for it; an answer that lags shows it once more
    ours = [r for r in after.refunds if r.transaction_id == kept.transaction_id and r.by != "gateway"]
    leaving = _minor(refund for refund in ours if refund.state in UNDER_WAY)
    gone = _minor(refund for refund in ours if refund.state is RefundState.CONFIRMED)
    if leaving + gone > 0 and kept.left_minor <= leaving:
        yield "goods go out for money that goes back"
    if any(case.kind is CaseKind.RETURN_BY_HAND and case.is_open for case in cases):
        yield "goods go out for money that somebody may be sending back by hand"


def bookings(world: World, payment: Payment) -> Iterator[str]:
    """A line of the bank statement counts once, over all orders and pages, and as somebody said."""
    bank = world.bank
    if bank is None:
        return
    for charge in payment.charges:
        of_bank = payment.attempt(charge.attempt).provider == MANUAL
        if of_bank and charge.transaction_id not in bank.transactions and (wrong := bank.counted(charge)):
            yield wrong


# ── at the end ────────────────────────────────────────────────────────────────────────────────────────────────────────
def amounts(payment: Payment, charge: Charge, transaction: Transaction) -> Iterator[str]:
    """What is back is what its gateway gave back, and what people sent.

    A refund that is called done because of a stranger's may count beside it, once the stranger's is told by name.
    """
    truth, done = transaction.now, _done(transaction)
    beside = _minor(r for r in _confirmed(payment, transaction) if r.by != "gateway" and r.key not in done)
    back = (charge.refunded_minor, charge.charged_back_minor)
    if not 0 <= back[0] - truth.refunded() <= beside or back[1] != truth.charged_back:
        really = (truth.refunded(), truth.charged_back)
        yield f"{transaction.transaction_id}: back {back} here, {really} at the gateway"


def wrongly_done(payment: Payment, transaction: Transaction, *, named: bool) -> Iterator[str]:
    """What we call done was done.

    Unless a stranger has given as much back since it was asked for, and his was not `named`: then nobody can say whose
    it was that a total tells of.
    """
    done = _done(transaction)
    strangers = 0 if named else transaction.now.strangers_minor
    for refund in _confirmed(payment, transaction):
        by_a_stranger = strangers - refund.elsewhere_minor >= refund.amount.amount_minor
        if not (refund.key in done or _is_by_hand(refund) or by_a_stranger):
            yield f"{refund.key} is confirmed, and was not given back"


def called_for_nothing(payment: Payment) -> Iterator[str]:
    """Nobody is called for what is over: money that is all back, and an outcome that is known."""
    under_way = {refund.transaction_id for refund in payment.refunds if refund.state in UNDER_WAY}
    for case in payment.open_cases:
        charge = payment.charge(case.transaction_id or "")
        if charge is None or charge.transaction_id in under_way:
            continue
        is_back = charge.has_money and charge.left_minor <= 0 and charge.refunded_minor > 0
        if is_back and case.kind in RETURNABLE:
            yield f"{case.kind.value} is open, and all is back"
        if case.kind is CaseKind.OUTCOME_UNKNOWN and not charge.is_live:
            yield f"an outcome that is told is called unknown: {charge.transaction_id}"


def forgotten(world: World, payment: Payment) -> Iterator[str]:
    """Every booking that was said of a page there is counts, for that page or for another."""
    bank = world.bank
    for word in bank.words if bank is not None else ():
        said_of_us = payment.attempt_named(word.provider_order_id) is not None
        if bank is not None and said_of_us and not bank.names(word.bank_reference) & {*bank.transactions}:
            yield f"{word.bank_reference} was said of {payment.order_id}, and counts nowhere"


def is_kept_by_a_person(case: Case) -> bool:
    """Whether somebody decided that nothing is done about this money."""
    return case.decision is CaseDecision.DISMISS and case.decided_by != "gateway"


def by_hand_minor(payment: Payment, transaction: Transaction) -> int:
    """What people have sent back of it without its gateway."""
    return _minor(refund for refund in _confirmed(payment, transaction) if _is_by_hand(refund))


def _is_by_hand(refund: Refund) -> bool:
    return refund.by != "gateway" and refund.case is None and refund.asked_as is None


def _confirmed(payment: Payment, transaction: Transaction) -> list[Refund]:
    of_it = [refund for refund in payment.refunds if refund.transaction_id == transaction.transaction_id]
    return [refund for refund in of_it if refund.state is RefundState.CONFIRMED]


def _done(transaction: Transaction) -> set[str]:
    return {key for key, _, news in transaction.now.refunds if news == "confirmed"}


def _minor(refunds: Iterator[Refund]) -> int:
    return sum(refund.amount.amount_minor for refund in refunds)
