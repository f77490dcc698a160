"""What a person may ask of a payment, on values: the wish stored, refused, repeated, and the decision of a case.

`test_operate_payment.py` has the same over a gateway.
"""

from datetime import timedelta

import attrs
import pytest

from payments_core.consequences import STOCK_RELEASED
from payments_core.errors import Conflict, InvalidInput
from payments_core.identity import refund_key
from payments_core.limits import LEASE, UNKNOWN_SCHEDULE
from payments_core.money import Money
from payments_core.operations import (
    accept_late_money,
    needs_its_stock,
    plan_capture,
    plan_decision,
    plan_review,
    wants_late_money,
    wish_done,
    wish_refused,
    wish_unanswered,
)
from payments_core.payment import (
    AttemptState,
    Case,
    CaseDecision,
    ChargeDue,
    Closed,
    ClosedAs,
    Payment,
    Refund,
    RefundState,
)
from payments_core.states import CaseKind, ChargeState
from payments_core.testing.samples import LATER, NOW
from unit.values import DEAD, HELD, PAGE, PAID, WHOLE, case, charge, kinds, refund, with_cases
from unit.world import rupiah

BOB = "operator:bob"
REVIEWED = PAGE.with_charge(charge(ChargeState.CHALLENGED))
DEADLINE = NOW + timedelta(hours=5)
ACCEPT, RETURN, DISMISS = CaseDecision.ACCEPT, CaseDecision.RETURN, CaseDecision.DISMISS
BAD = charge(faults=frozenset({CaseKind.AMOUNT_MISMATCH}))
GIVEN_UP = attrs.evolve(DEAD, closed=Closed(ClosedAs.EXPIRED, NOW, "deadline"))


def refused(call: object, *args: object) -> Conflict:
    with pytest.raises(Conflict) as caught:
        call(*args)  # type: ignore[operator]
    return caught.value


def decide(payment: Payment, decision: CaseDecision, number: int = 1, note: str = "seen") -> Payment:
    return plan_decision(payment, number, decision, note, by=BOB, now=LATER, deadline=DEADLINE)


def closed_as(one: Case, decision: CaseDecision, **more: object) -> Case:
    return attrs.evolve(one, decision=decision, decided_by=BOB, decided_at=LATER, note="seen", **more)


# ── wishes ────────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("amount", [None, rupiah(100_000), Money.of(1, "IDR")])
def test_a_capture_is_stored_before_it_is_sent(amount: Money | None) -> None:
    """Who asked for how much, due within a lease: a crash finds it."""
    stale = charge(ChargeState.AUTHORIZED, due=ChargeDue.RECHECK, recheck_after=LATER, checks=3)
    payment, wished = plan_capture(PAGE.with_charge(stale), amount, BOB, NOW)
    assert payment.charge("tx") == wished
    assert wished == attrs.evolve(
        stale,
        due=ChargeDue.CAPTURE,
        capture_minor=amount.amount_minor if amount else WHOLE,
        asked_by=BOB,
        asked_at=NOW,
        check_at=NOW + LEASE,
        recheck_after=None,
        checks=0,
    )


@pytest.mark.parametrize("amount", [rupiah(0), rupiah(-1), Money.of(100, "USD")])
def test_a_capture_of_nothing_or_in_another_currency_is_no_wish(amount: Money) -> None:
    with pytest.raises(InvalidInput) as caught:
        plan_capture(HELD, amount, BOB, NOW)
    assert caught.value.code == "invalid_request"


def test_no_more_is_taken_than_is_held() -> None:
    assert refused(plan_capture, HELD, Money.of(WHOLE + 1, "IDR"), BOB, NOW).code == "exceeds_authorized"


@pytest.mark.parametrize("due", [ChargeDue.APPROVE, ChargeDue.DENY])
def test_a_review_is_stored_before_it_is_sent(due: ChargeDue) -> None:
    _, wished = plan_review(REVIEWED, due, BOB, NOW)
    assert (wished.due, wished.capture_minor, wished.asked_by, wished.check_at) == (due, None, BOB, NOW + LEASE)


@pytest.mark.parametrize(
    ("payment", "code"),
    [(PAGE, "not_authorized"), (REVIEWED, "not_authorized"), (PAID, "already_paid")],
)
def test_without_a_hold_there_is_nothing_to_capture(payment: Payment, code: str) -> None:
    assert refused(plan_capture, payment, None, BOB, NOW).code == code


@pytest.mark.parametrize(("payment", "code"), [(HELD, "not_challenged"), (PAID, "already_paid")])
def test_without_a_review_there_is_nothing_to_decide(payment: Payment, code: str) -> None:
    assert refused(plan_review, payment, ChargeDue.DENY, BOB, NOW).code == code


def test_a_hold_that_is_not_good_cannot_be_captured() -> None:
    bad = PAGE.with_charge(charge(ChargeState.AUTHORIZED, faults=frozenset({CaseKind.AMOUNT_MISMATCH})))
    assert refused(plan_capture, bad, None, BOB, NOW).code == "not_authorized"


def test_a_hold_beside_a_paid_charge_is_being_given_up() -> None:
    """It would be money for an order that is paid."""
    beside = PAID.with_charge(charge(ChargeState.AUTHORIZED, "ty", due=ChargeDue.CANCEL, cancel_asked=True))
    assert refused(plan_capture, beside, None, BOB, NOW).code == "already_paid"


def test_the_same_wish_again_changes_nothing_and_another_has_to_wait() -> None:
    once, wished = plan_capture(HELD, None, BOB, NOW)
    assert plan_capture(once, rupiah(100_000), "operator:eve", LATER) == (once, wished)
    other = refused(plan_capture, once, rupiah(1), BOB, LATER)
    assert (other.code, other.retryable) == ("under_way", True)


def test_nothing_is_wished_of_a_charge_that_is_being_cancelled() -> None:
    for due in (None, ChargeDue.CANCEL):
        going = PAGE.with_charge(charge(ChargeState.AUTHORIZED, due=due, cancel_asked=True))
        assert refused(plan_capture, going, None, BOB, NOW).code == "under_way"


@pytest.mark.parametrize(
    ("due", "waits_in"),
    [
        (ChargeDue.CAPTURE, ChargeState.AUTHORIZED),
        (ChargeDue.APPROVE, ChargeState.CHALLENGED),
        (ChargeDue.DENY, ChargeState.CHALLENGED),
    ],
)
def test_a_wish_is_done_when_the_charge_has_left_its_state(due: ChargeDue, waits_in: ChargeState) -> None:
    for state in ChargeState:
        assert wish_done(charge(state, due=due)) is (state is not waits_in)
        assert not wish_done(charge(state, due=ChargeDue.CANCEL)), "not a wish"
        assert not wish_done(charge(state))


def test_a_refused_wish_is_dropped_and_the_charge_stays() -> None:
    once, _ = plan_capture(HELD, None, BOB, NOW)
    tried = once.with_charge(attrs.evolve(once.charges[0], checks=3))
    assert wish_refused(tried, "tx") == HELD
    assert wish_refused(HELD, "tx") == HELD
    assert wish_refused(HELD, "nobody") == HELD
    going = PAGE.with_charge(charge(ChargeState.AUTHORIZED, due=ChargeDue.CANCEL, check_at=NOW))
    assert wish_refused(going, "tx") == going, "our own cancel is not theirs to drop"


def test_an_unanswered_wish_is_asked_about_later_each_time_and_then_by_a_person() -> None:
    payment, wished = plan_capture(HELD, None, BOB, NOW)
    now = NOW
    for checks, pause in enumerate(UNKNOWN_SCHEDULE):
        payment = wish_unanswered(payment, "tx", now)
        assert payment.charge("tx") == attrs.evolve(wished, check_at=now + pause, checks=checks + 1)
        assert payment.cases == ()
        now += pause
    payment = wish_unanswered(payment, "tx", now)
    last = payment.charge("tx")
    assert last is not None
    assert last.check_at == now + UNKNOWN_SCHEDULE[-1], "still asked about, now and then"
    evidence = {"asked": "capture", "by": BOB}
    assert payment.cases == (case(CaseKind.OUTCOME_UNKNOWN, opened_at=now, evidence=evidence),)


def test_looks_that_come_early_use_up_no_schedule_of_a_wish() -> None:
    """Found by a storm of ten thousand orders: a gateway that comes and goes makes everything due each time."""
    payment, _ = plan_capture(HELD, None, BOB, NOW)
    for _ in range(3 * len(UNKNOWN_SCHEDULE)):
        payment = wish_unanswered(payment, "tx", NOW + timedelta(minutes=3))
    waits = payment.charge("tx")
    assert waits is not None
    assert waits.check_at == NOW + timedelta(minutes=3) + UNKNOWN_SCHEDULE[3]
    assert payment.cases == ()


def test_what_is_no_open_wish_is_not_asked_about() -> None:
    settled = PAID.with_charge(charge(due=ChargeDue.CAPTURE, asked_by=BOB))
    for payment, named in ((HELD, "tx"), (HELD, "nobody"), (settled, "tx")):
        assert wish_unanswered(payment, named, LATER) == payment


# ── decisions ─────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("number", [0, 2, -1])
def test_a_case_that_is_not_there_cannot_be_decided(number: int) -> None:
    with pytest.raises(InvalidInput) as caught:
        decide(with_cases(PAID, case()), DISMISS, number)
    assert caught.value.code == "no_case"


@pytest.mark.parametrize("note", ["", "  \n"])
def test_a_decision_says_why(note: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        decide(with_cases(PAID, case()), DISMISS, note=note)
    assert caught.value.code == "invalid_request"


def test_a_decision_is_made_once() -> None:
    seen = decide(with_cases(PAID, case()), DISMISS)
    assert seen.cases == (closed_as(case(), DISMISS),)
    assert decide(seen, DISMISS, note="again") == seen
    assert refused(decide, seen, RETURN).code == "case_closed"


MISMATCH = {CaseKind.AMOUNT_MISMATCH, CaseKind.CURRENCY_MISMATCH, CaseKind.MERCHANT_MISMATCH}


@pytest.mark.parametrize("kind", CaseKind)
def test_only_a_mismatch_is_accepted(kind: CaseKind) -> None:
    """Late money is accepted by the caller, who can reserve stock."""
    payment = with_cases(DEAD.with_charge(BAD), case(kind))
    if kind in MISMATCH:
        assert decide(payment, ACCEPT).paid_by == "tx"
    else:
        assert refused(decide, payment, ACCEPT).code == "decision_not_possible"


@pytest.mark.parametrize("kind", CaseKind)
def test_only_money_that_is_not_wanted_is_returned(kind: CaseKind) -> None:
    payment = with_cases(GIVEN_UP.with_charge(charge()), case(kind))
    unwanted = {CaseKind.LATE_PAYMENT, CaseKind.SURPLUS_PAYMENT, CaseKind.RETURN_BY_HAND, CaseKind.REFUND_RETURNED}
    if kind in MISMATCH | unwanted:
        assert decide(payment, RETURN).refunds[0].amount == rupiah(100_000)
    else:
        assert refused(decide, payment, RETURN).code == "decision_not_possible"


def test_money_that_came_back_of_the_keeping_charge_is_refunded_and_not_returned() -> None:
    """It pays the order: what is given back of it, and how much, is said with a refund."""
    kept = with_cases(PAID, case(CaseKind.REFUND_RETURNED))
    assert refused(decide, kept, RETURN).code == "decision_not_possible"


def test_every_mismatch_of_a_charge_is_decided_with_it_and_no_other() -> None:
    """A charge counts or does not."""
    cases = (
        case(CaseKind.AMOUNT_MISMATCH),
        case(CaseKind.MERCHANT_MISMATCH, number=2),
        case(CaseKind.OVERDRAWN, number=3),
        case(CaseKind.AMOUNT_MISMATCH, number=4, transaction_id="ty"),
    )
    paid = decide(with_cases(PAGE.with_charge(BAD), *cases), ACCEPT)
    assert paid.cases == (closed_as(cases[0], ACCEPT), closed_as(cases[1], ACCEPT), *cases[2:])
    accepted = paid.charge("tx")
    assert accepted is not None
    assert (accepted.accepted, paid.paid_by) == (True, "tx")


def test_a_charge_only_a_hint_named_cannot_be_accepted_yet() -> None:
    for named in ("tx", None):
        unseen = with_cases(PAGE, case(CaseKind.AMOUNT_MISMATCH, transaction_id=named))
        assert refused(decide, unseen, ACCEPT).code == "decision_not_possible"


@pytest.mark.parametrize(
    "gone",
    [
        {"refunded_minor": WHOLE},
        {"refunded_minor": 1, "charged_back_minor": WHOLE - 1},
        {"state": ChargeState.REVERSED, "captured_minor": WHOLE, "reversed_minor": WHOLE},
    ],
    ids=["refunded", "charged back", "reversed"],
)
def test_money_that_is_gone_is_not_accepted(gone: dict[str, object]) -> None:
    """The order would be paid with nothing, and its goods consumed."""
    bad = attrs.evolve(BAD, **gone)
    empty = with_cases(DEAD.with_charge(bad), case(CaseKind.AMOUNT_MISMATCH))
    answer = refused(decide, empty, ACCEPT)
    assert (answer.code, answer.retryable) == ("decision_not_possible", False)
    assert "nothing of this money is left" in str(answer)


def test_the_last_minor_unit_is_accepted_and_so_is_money_that_was_not_taken_yet() -> None:
    nearly = DEAD.with_charge(attrs.evolve(BAD, refunded_minor=WHOLE - 1))
    assert decide(with_cases(nearly, case(CaseKind.AMOUNT_MISMATCH)), ACCEPT).paid_by == "tx"
    pending = PAGE.with_charge(charge(ChargeState.PENDING, faults=BAD.faults))
    counted = decide(with_cases(pending, case(CaseKind.AMOUNT_MISMATCH)), ACCEPT).charge("tx")
    assert counted is not None
    assert counted.accepted


@pytest.mark.parametrize("paid_by", ["tx", "ty"])
def test_an_amount_accepted_of_the_keeping_charge_is_what_is_owed(paid_by: str) -> None:
    """It was paid by another amount at first; of another charge nothing is owed."""
    less = attrs.evolve(BAD, amount=rupiah(90_000), captured_minor=9_000_000)
    both = PAID.with_charge(less).with_charge(charge(transaction_id="ty"))
    kept = with_cases(attrs.evolve(both, paid_by=paid_by), case(CaseKind.AMOUNT_MISMATCH))
    assert decide(kept, ACCEPT).owed == rupiah(90_000 if paid_by == "tx" else 100_000)


# ── one decision at a time ────────────────────────────────────────────────────────────────────────────────────────────
UNDER_WAY = [RefundState.REQUESTED, RefundState.SENT, RefundState.UNKNOWN]


def accept(payment: Payment) -> Payment:
    if wants_late_money(payment, 1, ACCEPT):
        return accept_late_money(payment, 1, "seen", BOB, LATER)
    return decide(payment, ACCEPT)


ACCEPTABLE = pytest.mark.parametrize(
    "payment",
    [
        with_cases(DEAD.with_charge(BAD), case(CaseKind.AMOUNT_MISMATCH)),
        with_cases(GIVEN_UP.with_charge(charge()), case(CaseKind.LATE_PAYMENT)),
    ],
    ids=["mismatch", "late"],
)


@ACCEPTABLE
@pytest.mark.parametrize("state", RefundState)
def test_money_is_not_accepted_while_it_is_on_its_way_back(payment: Payment, state: RefundState) -> None:
    """Whichever case, or whoever, sent it: the order would be paid by money that arrives elsewhere."""
    sent = payment.with_refund(refund(state))
    if state in UNDER_WAY:
        other = refused(accept, sent)
        assert (other.code, other.retryable) == ("under_way", True)
    else:
        assert accept(sent).paid_by == "tx"
    assert accept(payment.with_refund(refund(state, transaction_id="ty"))).paid_by == "tx", "that of another try"


@ACCEPTABLE
def test_money_is_not_accepted_while_somebody_may_be_sending_it_by_hand(payment: Payment) -> None:
    """Who has gone to the bank is not seen here."""
    by_hand = case(CaseKind.RETURN_BY_HAND, number=2)
    waiting = with_cases(payment, *payment.cases, by_hand)
    assert refused(accept, waiting).code == "under_way"
    assert accept(decide(waiting, DISMISS, number=2)).paid_by == "tx"
    others = with_cases(payment, *payment.cases, attrs.evolve(by_hand, transaction_id="ty"))
    assert accept(others).paid_by == "tx"


@pytest.mark.parametrize("state", RefundState)
def test_a_case_is_not_dismissed_while_its_money_is_on_its_way_back(state: RefundState) -> None:
    """Nothing moves, a dismissal says."""
    cases = case(CaseKind.LATE_PAYMENT), case(CaseKind.OVERDRAWN, number=2)
    sent = with_cases(GIVEN_UP.with_charge(charge()), *cases).with_refund(refund(state, case=1))
    if state in UNDER_WAY:
        other = refused(decide, sent, DISMISS)
        assert (other.code, other.retryable) == ("under_way", True)
    else:
        assert kinds(decide(sent, DISMISS)) == ["overdrawn"]
    assert kinds(decide(sent, DISMISS, 2)) == ["late_payment"], "the money is not that case's"


# ── a dismissed reversal ──────────────────────────────────────────────────────────────────────────────────────────────
REVERSAL = case(CaseKind.REVERSED, evidence={"amount": "100000 IDR"})


def test_a_dismissed_reversal_gives_stock_back_and_lets_the_order_be_paid_until_its_deadline() -> None:
    dismissed = decide(with_cases(DEAD, REVERSAL), DISMISS)
    evidence = {"amount": "100000 IDR", "stock": "released"}
    assert dismissed.cases == (closed_as(REVERSAL, DISMISS, evidence=evidence),)
    assert dismissed.deadline_at == DEADLINE


@pytest.mark.parametrize("payment", [PAID, GIVEN_UP], ids=["another has paid", "given up"])
def test_a_dismissed_reversal_moves_no_stock_that_is_not_this_payments(payment: Payment) -> None:
    dismissed = decide(with_cases(payment, REVERSAL), DISMISS)
    assert dismissed.cases == (closed_as(REVERSAL, DISMISS),)
    assert dismissed.deadline_at is None


def test_a_dismissal_of_anything_else_moves_nothing() -> None:
    dismissed = decide(with_cases(DEAD, case(CaseKind.OVERDRAWN)), DISMISS)
    assert dismissed == with_cases(DEAD, closed_as(case(CaseKind.OVERDRAWN), DISMISS))


# ── late money ────────────────────────────────────────────────────────────────────────────────────────────────────────
LATE = with_cases(GIVEN_UP.with_charge(charge()), case(CaseKind.LATE_PAYMENT))


def test_only_an_open_case_of_late_money_asks_for_stock() -> None:
    assert wants_late_money(LATE, 1, ACCEPT)
    assert not wants_late_money(LATE, 1, DISMISS)
    assert not wants_late_money(LATE, 0, ACCEPT)
    assert not wants_late_money(LATE, 2, ACCEPT)
    assert not wants_late_money(with_cases(LATE, closed_as(case(CaseKind.LATE_PAYMENT), DISMISS)), 1, ACCEPT)
    assert not wants_late_money(with_cases(LATE, case(CaseKind.SURPLUS_PAYMENT)), 1, ACCEPT)
    second = with_cases(LATE, case(CaseKind.OVERDRAWN), case(CaseKind.LATE_PAYMENT, number=2))
    assert [wants_late_money(second, number, ACCEPT) for number in (1, 2)] == [False, True]


def test_accepted_late_money_pays_and_closes_its_case() -> None:
    paid = accept_late_money(LATE, 1, "seen", BOB, LATER)
    assert (paid.paid_by, paid.closed, paid.reserved_at) == ("tx", None, LATER)
    assert paid.cases == (closed_as(case(CaseKind.LATE_PAYMENT), ACCEPT),)


@pytest.mark.parametrize(
    "payment",
    [
        with_cases(GIVEN_UP, case(CaseKind.LATE_PAYMENT)),
        with_cases(GIVEN_UP, case(CaseKind.LATE_PAYMENT, transaction_id=None)),
        LATE.with_charge(charge(refunded_minor=WHOLE)),
        attrs.evolve(LATE.with_charge(charge(transaction_id="ty")), paid_by="ty"),
        attrs.evolve(LATE.with_charge(charge(refunded_minor=WHOLE)), paid_by="tx"),
    ],
    ids=["no charge", "no name", "back already", "paid already", "kept and back"],
)
def test_late_money_that_is_gone_or_kept_cannot_pay(payment: Payment) -> None:
    assert refused(accept_late_money, payment, 1, "seen", BOB, LATER).code == "decision_not_possible"


RELEASED = case(
    CaseKind.REVERSED, number=2, decision=DISMISS, decided_at=NOW + timedelta(hours=1), evidence=STOCK_RELEASED
)
COME_BACK = with_cases(PAID, case(CaseKind.LATE_PAYMENT), RELEASED)


def test_money_that_came_back_and_pays_already_only_wants_its_stock() -> None:
    assert needs_its_stock(COME_BACK)
    at = NOW + timedelta(hours=2)
    found = accept_late_money(COME_BACK, 1, "seen", BOB, at)
    accepted = closed_as(case(CaseKind.LATE_PAYMENT), ACCEPT)
    again = with_cases(COME_BACK, attrs.evolve(accepted, decided_at=at), RELEASED)
    assert found == attrs.evolve(again, reserved_at=at)
    assert not needs_its_stock(found)


def test_money_that_is_kept_with_its_stock_takes_none_again() -> None:
    """It was late once, and another payment was reversed since."""
    kept = with_cases(PAID, case(CaseKind.LATE_PAYMENT))
    assert not needs_its_stock(kept)
    assert needs_its_stock(LATE)
    assert accept_late_money(kept, 1, "seen", BOB, LATER) == with_cases(
        PAID, closed_as(case(CaseKind.LATE_PAYMENT), ACCEPT)
    )


def test_the_last_minor_unit_of_late_money_still_pays() -> None:
    """What is owed falls to it: a person decided so."""
    nearly = LATE.with_charge(charge(refunded_minor=WHOLE - 1))
    assert accept_late_money(nearly, 1, "seen", BOB, LATER).paid_by == "tx"


# ── returns ───────────────────────────────────────────────────────────────────────────────────────────────────────────
SURPLUS = with_cases(PAID.with_charge(charge(transaction_id="ty")), case(CaseKind.SURPLUS_PAYMENT, transaction_id="ty"))


def test_a_return_begins_and_its_case_waits_for_the_money() -> None:
    begun = decide(SURPLUS, RETURN)
    assert begun.refunds == (
        Refund(
            key=refund_key(PAID.payment_id, 1),
            transaction_id="ty",
            amount=rupiah(100_000),
            state=RefundState.REQUESTED,
            by=BOB,
            reason="seen",
            case=1,
            at=LATER,
            check_at=LATER + LEASE,
        ),
    )
    assert begun.cases == SURPLUS.cases
    assert decide(begun, RETURN) == begun, "once"


def test_of_money_that_is_back_nothing_can_be_returned() -> None:
    back = SURPLUS.with_charge(charge(transaction_id="ty", refunded_minor=WHOLE))
    assert refused(decide, back, RETURN).code == "nothing_left"


def test_a_return_beside_another_of_the_same_money_waits_for_it() -> None:
    """Nothing is left to send, and that is not for ever."""
    both = with_cases(SURPLUS, *SURPLUS.cases, case(CaseKind.AMOUNT_MISMATCH, number=2, transaction_id="ty"))
    begun = decide(both, RETURN)
    assert refused(decide, begun, RETURN, 2).code == "under_way"
    assert refused(decide, with_cases(both, *both.cases, attrs.evolve(BY_HAND, number=3)), RETURN).code == "under_way"


BY_HAND = case(CaseKind.RETURN_BY_HAND, number=2, transaction_id="ty")


def test_money_sent_by_hand_is_a_refund_with_the_reference_of_the_transfer() -> None:
    """It closes every case that waited for this money, and none about other money."""
    cases = (
        case(CaseKind.SURPLUS_PAYMENT, transaction_id="ty"),
        BY_HAND,
        case(CaseKind.OVERDRAWN, number=3, transaction_id="ty"),
        case(CaseKind.SURPLUS_PAYMENT, number=4, transaction_id="tz"),
        case(CaseKind.REFUND_RETURNED, number=5, transaction_id="ty"),
    )
    partly = SURPLUS.with_charge(charge(transaction_id="ty", refunded_minor=4_000_000))
    sent = decide(with_cases(partly, *cases), RETURN, number=2)
    assert sent.refunds == (
        Refund(
            key=refund_key(PAID.payment_id, 1),
            transaction_id="ty",
            amount=rupiah(60_000),
            state=RefundState.CONFIRMED,
            by=BOB,
            reason="seen",
            at=LATER,
        ),
    )
    given = sent.charge("ty")
    assert given is not None
    assert (given.refunded_minor, given.left_minor) == (WHOLE, 0)
    closed = closed_as(cases[0], RETURN), closed_as(BY_HAND, RETURN)
    assert sent.cases == (*closed, *cases[2:4], closed_as(cases[4], RETURN))


def test_a_refund_by_hand_takes_the_next_key() -> None:
    sent = decide(with_cases(SURPLUS.with_refund(refund()), case(), BY_HAND), RETURN, number=2)
    assert [made.key for made in sent.refunds] == ["k-1", refund_key(PAID.payment_id, 2)]


@pytest.mark.parametrize("named", ["ty", "nobody", None])
def test_a_hand_that_comes_too_late_sends_nothing_and_closes_what_waited(named: str | None) -> None:
    back = SURPLUS.with_charge(charge(transaction_id="ty", refunded_minor=WHOLE))
    by_hand = attrs.evolve(BY_HAND, transaction_id=named)
    sent = decide(with_cases(back, case(CaseKind.SURPLUS_PAYMENT, transaction_id="ty"), by_hand), RETURN, number=2)
    assert sent.refunds == ()
    assert sent.cases[1] == closed_as(by_hand, RETURN)
    assert kinds(sent) == []


def test_the_last_minor_unit_is_sent_by_hand_too() -> None:
    nearly = SURPLUS.with_charge(charge(transaction_id="ty", refunded_minor=WHOLE - 1))
    assert decide(with_cases(nearly, case(), BY_HAND), RETURN, number=2).refunds[0].amount == Money.of(1, "IDR")


def test_money_that_was_returned_whole_refunds_the_payment() -> None:
    """What follows from it is drawn at once: here, that the page of the kept charge stays spent."""
    kept = with_cases(PAID, case(), attrs.evolve(BY_HAND, transaction_id="tx"))
    sent = decide(kept, RETURN, number=2)
    assert sent.attempt(1).state is AttemptState.SPENT
    assert sent.charges[0].refunded_minor == WHOLE


def test_the_late_money_of_a_second_case_is_the_one_that_pays() -> None:
    both = with_cases(LATE, case(CaseKind.OVERDRAWN, transaction_id="another"), case(CaseKind.LATE_PAYMENT, number=2))
    after = accept_late_money(both, 2, "because", "olga", LATER)
    assert (after.paid_by, [one.number for one in after.open_cases]) == ("tx", [1])
