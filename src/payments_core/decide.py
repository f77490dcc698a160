"""`decide_hint` and `decide_reading`: a payment and one message in, a decision out.

This is the only place that applies the transition table.
Both are plain functions on values. They read no clock, touch no store and talk to no gateway; whoever calls them locks
the payment first and saves what comes back. A Django view can call them inside its own transaction.

One message walks one way: find the attempt it names, find its charge, look the pair up in the table, compare what must
agree, then let `consequences.follow` bring the payment to rest.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from enum import Enum

import attrs

from payments_core.charges import after_message, attempt_of, compare, dispute_news, is_accepted, money_news
from payments_core.consequences import NOT_NAMED, NOT_SAID, begin_closing, close_cases, follow, open_case
from payments_core.evolving import evolve
from payments_core.limits import CHARGES_MAX, LEASE, RETRY_SCHEDULE
from payments_core.observations import DisputeNews, Nothing, Observation, Unknown
from payments_core.operations import wish_done
from payments_core.payment import Attempt, Charge, ChargeDue, CloseReason, Payment
from payments_core.returns import hear_refunds, refund_news, told_minor, without_what_came_back
from payments_core.states import (
    ENDED,
    MONEY,
    Ask,
    CaseKind,
    ChargeState,
    Confirm,
    Contradict,
    HintRule,
    Keep,
    Move,
    ReadingRule,
    Signal,
    hint_rule,
    reading_rule,
)

__all__ = [
    "HintDecision",
    "Reading",
    "ReadingDecision",
    "Verdict",
    "decide_hint",
    "decide_reading",
    "recheck_again",
    "still_wants",
]


class Verdict(Enum):
    """What became of one notification."""

    APPLIED = "applied"
    """It was right, and the payment shows it."""
    DUPLICATE = "duplicate"
    """The very same bytes, or the money they speak of, had come before."""
    STALE = "stale"
    """True once, or saying nothing new; what we know goes beyond it."""
    WAITING = "waiting"
    """The gateway is being asked."""
    REFUTED = "refuted"
    """The gateway was asked, again and again, and does not bear it out."""
    UNMATCHED = "unmatched"
    """Genuine, and about no payment we know."""
    QUARANTINED = "quarantined"
    """True, but a case: an amount, a currency or a merchant differs."""


@attrs.frozen
class HintDecision:
    """The payment after one hint, and what became of the hint.

    `ask` is the number of the question to put to the gateway when the verdict is WAITING.
    """

    payment: Payment
    verdict: Verdict
    reason: str
    ask: int | None = None


@attrs.frozen(kw_only=True)
class Reading:
    """What the gateway answered: about one transaction, or about a whole attempt by its order id.

    `number` was taken from the payment's row before the question left, at `asked_at`. `answer` is None when the
    gateway knows no such thing, which is never a proof of anything.
    """

    number: int
    asked_at: datetime
    attempt: int
    transaction_id: str | None
    answer: Observation | None


@attrs.frozen
class ReadingDecision:
    """The payment after one reading; `used` is False when the answer named something else and was not applied."""

    payment: Payment
    used: bool = True


@attrs.frozen
class _Heard:
    """One message beside what we know of its charge."""

    attempt: Attempt
    charge: Charge | None
    says: Observation
    now: datetime

    @property
    def state(self) -> ChargeState:
        return self.charge.state if self.charge else ChargeState.UNSEEN

    def as_hint(self, to: ChargeState) -> Charge:
        return after_message(self.charge, self.attempt, self.says, to, self.now, by_reading=False)

    def as_reading(self, to: ChargeState) -> Charge:
        return after_message(self.charge, self.attempt, self.says, to, self.now, by_reading=True)


# ── hints ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
def decide_hint(
    payment: Payment,
    hint: Observation,
    *,
    confirm: Confirm,
    signed: Collection[CaseKind] = (CaseKind.AMOUNT_MISMATCH,),
    now: datetime,
) -> HintDecision:
    """What a genuine notification does to the payment: the table's word, or a question to the gateway.

    `signed` is what a hint alone may call a person for: where a stranger could rewrite a currency or a merchant under a
    true signature, a case opened for it would keep a buyer from paying, so the gateway's answer says if it differs.
    """
    attempt = attempt_of(payment, hint)
    if attempt is None:
        return HintDecision(payment, Verdict.UNMATCHED, "no such attempt")
    if isinstance(hint.meaning, Unknown):
        return HintDecision(payment, Verdict.STALE, "unknown status word")
    if not hint.transaction_id:
        return _about_the_page(payment, attempt, hint, now)
    hint = without_what_came_back(payment, hint)
    heard = _Heard(attempt, payment.charge(hint.transaction_id), hint, now)
    if faults := compare(attempt, heard.charge, hint):
        # An old hint may differ from what a person accepted since: whether the charge does, the gateway says.
        was_accepted = heard.charge is not None and heard.charge.accepted
        told = frozenset() if was_accepted else faults.intersection(signed)
        return _ask(follow(_open_mismatches(payment, heard, told), now))
    match _rule(heard, confirm):
        case Ask():
            return _ask(payment)
        case Move(to) if _is_one_too_many(payment, heard.charge, to):
            return HintDecision(payment, Verdict.STALE, "too many tries on one payment")
        case Move(to):
            moved = _heard_of(payment, heard.as_hint(to), hint, now)
            return HintDecision(moved, Verdict.APPLIED, f"{heard.state.value} -> {to.value}")
        case Keep():
            return _by_its_money(payment, heard, confirm)


def _rule(heard: _Heard, confirm: Confirm) -> HintRule:
    """The table's word; what says nothing of a charge keeps it.

    The end of a page is believed on a reading only, and so is a total of refunds of which some may still fail: counted
    with the money it came with, it would not be un-counted when they do.
    """
    hint = heard.says
    if not isinstance(hint.meaning, Signal):
        return Keep()
    rule = hint_rule(heard.state, hint.meaning, confirm)
    unsure = hint.ends_page or hint.uses_up_page or hint.refunded_unknown
    return Ask() if isinstance(rule, Move) and unsure else rule


def _about_the_page(payment: Payment, attempt: Attempt, hint: Observation, now: datetime) -> HintDecision:
    """A page that is said to have ended is asked about; nobody has tried to pay on it, so no charge changes."""
    if not hint.ends_page or not attempt.is_payable or attempt.closing is not None:
        return HintDecision(payment, Verdict.STALE, "nothing new")
    doubted = attrs.evolve(attempt, doubt=CloseReason.EXPIRED, check_at=now + LEASE, checks=0)
    return HintDecision(payment.with_attempt(doubted), Verdict.APPLIED, "the page is asked about")


def _by_its_money(payment: Payment, heard: _Heard, confirm: Confirm) -> HintDecision:
    """The state stays; the hint may still bring a refund, a charge-back, a dispute, or why the buyer was declined.

    What moves money of a charge that we do not know to have any is asked about, and so is every dispute: what it took
    or gave back is told by several messages in any order.
    """
    hint, charge = heard.says, heard.charge
    about_money = bool(hint.refunds) or hint.dispute is not None
    if hint.dispute is not None or (about_money and (charge is None or not charge.has_money)):
        return _ask(payment)
    if charge is None:
        return HintDecision(payment, Verdict.STALE, "nothing new")
    changed = heard.as_hint(heard.state)
    if not (money_news(charge, hint) or refund_news(payment, hint)):
        if changed.decline == charge.decline:
            return HintDecision(payment, Verdict.STALE, "nothing new")
        return HintDecision(follow(payment.with_charge(changed), heard.now), Verdict.APPLIED, "a try was declined")
    if confirm is Confirm.ALWAYS or hint.refunded_unknown or hint.charged_back_unknown:
        return _ask(payment)
    return HintDecision(_heard_of(payment, changed, hint, heard.now), Verdict.APPLIED, "money given back")


def _heard_of(payment: Payment, charge: Charge, hint: Observation, now: datetime) -> Payment:
    return follow(hear_refunds(payment.with_charge(charge), charge, hint, now), now)


def _ask(payment: Payment) -> HintDecision:
    """The question gets its number now, so that only an answer to a question asked later can answer this hint."""
    number = payment.reading_number + 1
    asked = evolve(payment, reading_number=number)
    return HintDecision(asked, Verdict.WAITING, "the gateway is asked", ask=number)


def still_wants(payment: Payment, hint: Observation) -> bool:
    """Whether, with all we know now, the table (or an amount) would still let this hint move or ask.

    Then the reading was behind the hint, and the gateway is asked again.
    """
    charge, hint = payment.charge(hint.transaction_id), without_what_came_back(payment, hint)
    if charge is None:
        return True
    if not isinstance(hint.meaning, Signal):
        return refund_news(payment, hint) or (hint.dispute is not None and dispute_news(payment, charge, hint.dispute))
    is_back = charge.has_money and charge.left_minor <= 0
    if charge.cancel_asked and hint.meaning is Signal.CANCELLED and is_back:
        return False  # the void we asked for: a refund of the whole, the charge stays captured
    rule = hint_rule(charge.state, hint.meaning, Confirm.SIGNATURE)
    if hint.refunded_unknown and _is_a_case(payment, CaseKind.REFUND_UNKNOWN, charge):
        hint = evolve(hint, refunded_unknown=False)
    if (
        hint.refunded_unknown
        and hint.refunded
        and told_minor(payment, charge.transaction_id) >= hint.refunded.amount_minor
    ):
        hint = evolve(hint, refunded_unknown=False, refunded=None, refunded_all=False)
    return not isinstance(rule, Keep) or money_news(charge, hint) or refund_news(payment, hint)


def _is_a_case(payment: Payment, kind: CaseKind, charge: Charge) -> bool:
    return any(case.kind is kind and case.transaction_id == charge.transaction_id for case in payment.cases)


# ── readings ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def decide_reading(payment: Payment, reading: Reading, *, lag: timedelta, now: datetime) -> ReadingDecision:
    """What an answer of the gateway does to the payment: the table's word, and the comparison of every amount.

    `lag` bounds how old an answer may be.
    """
    answer, attempt = reading.answer, payment.attempt(reading.attempt)
    if answer is not None and not _is_about(answer, attempt, reading):
        return ReadingDecision(payment, used=False)
    if answer is not None and not isinstance(answer.meaning, Unknown):
        answer = without_what_came_back(payment, answer)
        heard = _Heard(attempt, payment.charge(answer.transaction_id), answer, now)
        payment = _hear(payment, heard, reading, lag)
    return ReadingDecision(follow(_settle_doubt(payment, reading, now), now))


def _is_about(answer: Observation, attempt: Attempt, reading: Reading) -> bool:
    """Some channels answer to their transaction id only, and put it where the order id belongs."""
    if reading.transaction_id is not None and answer.transaction_id != reading.transaction_id:
        return False
    if answer.provider_order_id == attempt.provider_order_id:
        return True
    return reading.transaction_id is not None and answer.provider_order_id == reading.transaction_id


def _hear(payment: Payment, heard: _Heard, reading: Reading, lag: timedelta) -> Payment:
    charge, answer = heard.charge, heard.says
    rule = reading_rule(heard.state, answer.meaning) if isinstance(answer.meaning, Signal) else Keep()
    if charge is not None and charge.reading_number >= reading.number:
        return _ask_again_if_it_differs(payment, charge, heard, rule)
    match rule:
        case Move(to) if not _is_one_too_many(payment, charge, to):
            return _accept(payment, heard, to, reading, lag)
        case Keep() if charge is not None:
            return _accept(payment, heard, charge.state, reading, lag)
        case Contradict(kind) if charge is not None:
            return _contradicted(payment, heard, charge, kind, reading, lag)
        case _:
            return payment


def _accept(payment: Payment, heard: _Heard, to: ChargeState, reading: Reading, lag: timedelta) -> Payment:
    accepted = is_accepted(payment, heard.charge, heard.attempt, heard.says)
    charge = evolve(heard.as_reading(to), reading_number=reading.number, contradicted=False, accepted=accepted)
    payment = payment.with_charge(_when_to_ask_again(charge, heard, reading, lag))
    if not charge.is_good:
        payment = _open_mismatches(payment, heard, charge.faults)
    payment = hear_refunds(payment, charge, heard.says, heard.now)
    if heard.says.refunded_unknown and charge.has_money and charge.refunded_minor == 0:
        evidence = {"status": _word(heard.says), "why": "some of it was given back, and nobody says how much"}
        payment = open_case(payment, CaseKind.REFUND_UNKNOWN, charge.transaction_id, heard.now, evidence)
    payment = _hear_a_dispute(payment, heard, charge)
    return _doubt_the_page(payment, heard, charge)


def _hear_a_dispute(payment: Payment, heard: _Heard, charge: Charge) -> Payment:
    """An open one is a person's case; its gateway closes the case when it is decided, or was only a question."""
    dispute = heard.says.dispute
    if dispute is None:
        return payment
    if dispute.news in (DisputeNews.OPENED, DisputeNews.WITHDRAWN):
        evidence = {"disputed": str(dispute.amount) if dispute.amount else "nobody says how much"}
        if dispute.dispute_id is not None:
            evidence["dispute"] = dispute.dispute_id
        return open_case(payment, CaseKind.DISPUTE_OPEN, charge.transaction_id, heard.now, evidence)
    over = {CaseKind.DISPUTE_OPEN}
    if charge.charged_back_minor == 0:
        over.add(CaseKind.CHARGED_BACK)
    return close_cases(payment, over, charge.transaction_id, f"the dispute is over: {dispute.news.value}", heard.now)


def _when_to_ask_again(charge: Charge, heard: _Heard, reading: Reading, lag: timedelta) -> Charge:
    """Money found where there was none, or gone where there was some, is asked for once more after the lag.

    So is what is charged back, which alone goes up and down: an answer that lags may tell of an earlier dispute.
    """
    was_over = heard.state in ENDED or heard.state is ChargeState.REVERSED
    turned = charge.state is not heard.state and (was_over or charge.state is ChargeState.REVERSED)
    if turned or charge.charged_back_minor != (heard.charge.charged_back_minor if heard.charge else 0):
        return _recheck(charge, heard.now + lag)
    done = wish_done(charge) or _is_the_recheck(charge, reading)
    return _not_due(charge) if done else charge


def _recheck(charge: Charge, at: datetime) -> Charge:
    return evolve(charge, due=ChargeDue.RECHECK, check_at=at, recheck_after=at, checks=0)


def recheck_again(payment: Payment, transaction_id: str, now: datetime) -> Payment:
    """The payment with a recheck that brought no answer due once more, later each time; the schedule ends."""
    charge = payment.charge(transaction_id)
    if charge is None or charge.due is not ChargeDue.RECHECK or (charge.recheck_after or now) > now:
        return payment
    if charge.checks >= len(RETRY_SCHEDULE):
        return payment.with_charge(_not_due(charge))
    again = evolve(charge, check_at=now + RETRY_SCHEDULE[charge.checks], checks=charge.checks + 1)
    return payment.with_charge(again)


def _is_the_recheck(charge: Charge, reading: Reading) -> bool:
    """A lease moves `check_at`, so the time that was meant is kept beside it."""
    return charge.recheck_after is not None and reading.asked_at >= charge.recheck_after


def _not_due(charge: Charge) -> Charge:
    # What we asked to capture stays: the amount of later messages is compared with it.
    return evolve(charge, due=None, asked_by=None, asked_at=None, check_at=None, recheck_after=None, checks=0)


def _ask_again_if_it_differs(payment: Payment, charge: Charge, heard: _Heard, rule: ReadingRule) -> Payment:
    """A newer reading has spoken already, yet this answer may be the fresher one: two questions can overtake."""
    same = isinstance(rule, Keep) and heard.as_reading(charge.state) == charge
    if same or charge.due is not None:
        return payment
    return payment.with_charge(_recheck(charge, heard.now))


def _contradicted(
    payment: Payment, heard: _Heard, charge: Charge, kind: CaseKind, reading: Reading, lag: timedelta
) -> Payment:
    """A lag explains one contradiction, so it is asked again after the lag; insisting on it opens a case."""
    spoken = evolve(charge, reading_number=reading.number, contradicted=True)
    if not charge.contradicted:
        return payment.with_charge(_recheck(spoken, heard.now + lag))
    if not _is_the_recheck(charge, reading):
        return payment.with_charge(spoken)
    evidence = {"known": charge.state.value, "reading": _word(heard.says), "number": str(reading.number)}
    return open_case(payment.with_charge(_not_due(spoken)), kind, charge.transaction_id, heard.now, evidence)


def _doubt_the_page(payment: Payment, heard: _Heard, charge: Charge) -> Payment:
    """An unpaid charge ended in a way that may be the end of its page: the order id is asked before the page is closed.

    Not when we asked for the ending ourselves, when money was ever seen on it, or when the order is paid.
    """
    ended_now = charge.state in ENDED and charge.state is not heard.state
    if heard.says.uses_up_page and (charge.had_money or not heard.says.ends_page):
        return _used_up(payment, heard, charge)  # a hold that ended gives no order up: it may be paid anew
    if not (ended_now and heard.says.ends_page) or charge.cancel_asked or charge.had_money or payment.paid_by:
        return payment
    page = payment.attempt(heard.attempt.number)
    if not page.is_payable or page.closing is not None:
        return payment
    reason = CloseReason.EXPIRED if charge.state is ChargeState.EXPIRED else CloseReason.CANCELLED
    return payment.with_attempt(evolve(page, doubt=reason, check_at=heard.now + LEASE, checks=0))


def _used_up(payment: Payment, heard: _Heard, charge: Charge) -> Payment:
    """The page took its one try, which came to nothing: it is closed, and the order may be paid on another."""
    page = payment.attempt(heard.attempt.number)
    if not page.is_payable or page.closing is not None or payment.paid_by is not None or charge.state not in ENDED:
        return payment
    return payment.with_attempt(begin_closing(page, CloseReason.USED_UP, "gateway", heard.now))


def _settle_doubt(payment: Payment, reading: Reading, now: datetime) -> Payment:
    """The order id was asked after the doubt arose: another try lives, and the page with it, or the page is closed."""
    page, answer = payment.attempt(reading.attempt), reading.answer
    if reading.transaction_id is not None or not page.is_payable or page.closing is not None:
        return payment
    if answer is not None and answer.ends_page and not answer.transaction_id:
        return payment.with_attempt(begin_closing(page, CloseReason.EXPIRED, "gateway", now))
    if page.doubt is None:
        return payment
    if answer is None and not payment.charges_of(page):
        return payment.with_attempt(attrs.evolve(page, doubt=None))  # only a hint said so, and the gateway does not
    if answer is not None and isinstance(answer.meaning, Unknown):
        return payment  # whatever it is, it is not an end
    if reading.number < max((charge.reading_number for charge in payment.charges_of(page)), default=0):
        return payment
    if any(charge.is_live or charge.has_money for charge in payment.charges):
        return payment.with_attempt(evolve(page, doubt=None))
    return payment.with_attempt(begin_closing(page, page.doubt, "gateway", now))


# ── both ──────────────────────────────────────────────────────────────────────────────────────────────────────────────
def _is_one_too_many(payment: Payment, charge: Charge | None, to: ChargeState) -> bool:
    """A buyer who declines without end must not grow a row without end; money is always recorded."""
    moneyless = to not in MONEY and to is not ChargeState.AUTHORIZED
    return charge is None and moneyless and len(payment.charges) >= CHARGES_MAX


def _open_mismatches(payment: Payment, heard: _Heard, faults: frozenset[CaseKind]) -> Payment:
    says = heard.says
    evidence = {
        "owed": str(heard.attempt.amount),
        "said": str(says.amount) if says.amount else NOT_SAID,
        "merchant": says.merchant_id or NOT_NAMED,
        "status": _word(says),
    }
    for kind in sorted(faults, key=lambda fault: fault.value):
        payment = open_case(payment, kind, says.transaction_id, heard.now, evidence)
    return payment


def _word(message: Observation) -> str:
    match message.meaning:
        case Signal() as signal:
            return signal.value
        case Unknown(word):
            return word
        case Nothing(about):
            return about
