"""What follows for a payment from a change of one charge: every consequence of design 2a, on values."""

from datetime import datetime, timedelta

import attrs
import pytest

from payments_core.consequences import (
    STOCK_RELEASED,
    begin_closing,
    follow,
    late_charge,
    lost_its_stock,
    open_case,
    reopen,
    review_late,
)
from payments_core.limits import CASES_MAX, LEASE
from payments_core.money import Money
from payments_core.payment import (
    AttemptState,
    Case,
    CaseDecision,
    ChargeDue,
    Closed,
    ClosedAs,
    CloseReason,
    Payment,
    RefundState,
)
from payments_core.states import CaseKind, ChargeState
from payments_core.testing.samples import LATER, NOW
from unit.values import DEAD, HELD, PAGE, PAID, WHOLE, case, charge, kinds, refund, with_cases, with_page
from unit.world import rupiah

SETTLED = charge()
REVERSED = charge(ChargeState.REVERSED, captured_minor=WHOLE, reversed_minor=6_000_000, refunded_minor=4_000_000)
REFUNDED = charge(refunded_minor=WHOLE)


def given_up(payment: Payment, kind: ClosedAs = ClosedAs.EXPIRED) -> Payment:
    return attrs.evolve(payment, closed=Closed(kind, NOW, "deadline"), deadline_at=None)


def decided(kind: CaseKind, at: datetime = NOW, **more: object) -> object:
    return case(kind, decision=CaseDecision.DISMISS, decided_by="bob", decided_at=at, note="seen", **more)


# ── closing a page ────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_closing_that_begins_is_due_within_a_lease() -> None:
    """A process that dies now leaves a row that the sweep finds."""
    page = attrs.evolve(PAGE.attempt(1), doubt=CloseReason.EXPIRED, checks=7, url="https://pay.example/1")
    closing = begin_closing(page, CloseReason.CANCELLED, "operator:bob", NOW)
    assert closing == attrs.evolve(
        page,
        state=AttemptState.CLOSING,
        closing=CloseReason.CANCELLED,
        closing_by="operator:bob",
        doubt=None,
        check_at=NOW + LEASE,
        checks=0,
    )


def test_a_dead_page_only_takes_the_reason() -> None:
    dead = DEAD.attempt(1)
    assert begin_closing(dead, CloseReason.EXPIRED, "deadline", NOW) == attrs.evolve(
        dead, closing=CloseReason.EXPIRED, closing_by="deadline"
    )


# ── cases ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_case_keeps_what_it_is_about_and_its_evidence() -> None:
    first = open_case(PAID, CaseKind.OVERDRAWN, "tx", NOW, {"refunded": "1 IDR"})
    second = open_case(first, CaseKind.OVERDRAWN, None, LATER, {})
    assert second.cases == (
        case(CaseKind.OVERDRAWN, evidence={"refunded": "1 IDR"}),
        case(CaseKind.OVERDRAWN, number=2, transaction_id=None, opened_at=LATER),
    )


@pytest.mark.parametrize("kind", CaseKind)
def test_the_same_case_is_not_opened_twice(kind: CaseKind) -> None:
    opened = with_cases(PAID, case(kind))
    assert open_case(opened, kind, "tx", LATER, {}) == opened
    assert len(open_case(opened, kind, "ty", LATER, {}).cases) == 2


def test_a_decided_case_is_not_opened_again() -> None:
    seen = with_cases(PAID, decided(CaseKind.OVERDRAWN))  # type: ignore[arg-type]
    assert open_case(seen, CaseKind.OVERDRAWN, "tx", LATER, {}) == seen


def test_each_reversal_is_a_case_of_its_own() -> None:
    """Each is a new loss of money, so a decision about the last one does not cover it."""
    seen = with_cases(PAID, decided(CaseKind.REVERSED))  # type: ignore[arg-type]
    again = open_case(seen, CaseKind.REVERSED, "tx", LATER, {})
    assert kinds(again) == ["reversed"]
    assert open_case(again, CaseKind.REVERSED, "tx", LATER, {}) == again


@pytest.mark.parametrize("decision", CaseDecision)
def test_money_is_late_again_only_when_it_was_accepted_before(decision: CaseDecision) -> None:
    """It has paid since and was reversed: nobody has decided about it as it is now."""
    seen = attrs.evolve(decided(CaseKind.LATE_PAYMENT), decision=decision)  # type: ignore[type-var]
    cases = 2 if decision is CaseDecision.ACCEPT else 1
    cancelled = given_up(DEAD, ClosedAs.CANCELLED).with_charge(SETTLED)
    assert len(follow(with_cases(cancelled, seen), LATER).cases) == cases
    expired = with_cases(given_up(DEAD).with_charge(SETTLED), seen)
    assert late_charge(expired) == (SETTLED if cases == 2 else None)


@pytest.mark.parametrize("kind", [CaseKind.RETURN_BY_HAND, CaseKind.REFUND_RETURNED])
def test_each_refund_that_failed_is_a_case_of_its_own(kind: CaseKind) -> None:
    """A person who dismissed one may have had it sent again."""
    seen = with_cases(PAID, decided(kind, evidence={"refund": "k-1"}))  # type: ignore[arg-type]
    assert open_case(seen, kind, "tx", LATER, {"refund": "k-1"}) == seen
    assert open_case(seen, kind, "tx", LATER, {}) == seen
    again = open_case(seen, kind, "tx", LATER, {"refund": "k-2"})
    assert kinds(again) == [kind.value]
    assert open_case(again, kind, "tx", LATER, {"refund": "k-3"}) == again, "while it is open it is one"


def test_cases_have_an_end() -> None:
    payment = PAID
    for number in range(CASES_MAX + 3):
        payment = open_case(payment, CaseKind.OVERDRAWN, f"tx-{number}", NOW, {})
    assert len(payment.cases) == CASES_MAX


# ── the keeping charge ────────────────────────────────────────────────────────────────────────────────────────────────
def test_money_is_kept_as_the_gateway_dates_it_and_needs_no_deadline() -> None:
    dated = charge(occurred_at=NOW - timedelta(hours=1), captured_minor=6_000_000)
    paid = follow(attrs.evolve(PAGE, deadline_at=LATER).with_charge(dated), NOW)
    assert (paid.paid_by, paid.paid_at, paid.deadline_at) == ("tx", NOW - timedelta(hours=1), None)
    assert paid.owed == rupiah(60_000), "a partial capture lowers what is owed"


def test_of_two_the_first_with_one_minor_unit_left_is_kept() -> None:
    nearly = charge(refunded_minor=WHOLE - 1)
    both = PAGE.with_charge(nearly).with_charge(charge(transaction_id="ty"))
    assert follow(both, NOW).paid_by == "tx"


def test_money_without_a_date_is_dated_now() -> None:
    assert follow(PAGE.with_charge(SETTLED), LATER).paid_at == LATER


def test_of_two_the_first_with_money_left_is_kept() -> None:
    both = PAGE.with_charge(REFUNDED).with_charge(charge(transaction_id="ty")).with_charge(charge(transaction_id="tz"))
    assert follow(both, NOW).paid_by == "ty"
    assert follow(PAGE.with_charge(REFUNDED), NOW).paid_by == "tx", "paid, and refunded since"


def test_a_charge_that_is_not_good_never_pays() -> None:
    bad = charge(faults=frozenset({CaseKind.AMOUNT_MISMATCH}))
    assert follow(PAGE.with_charge(bad), NOW).paid_by is None
    assert follow(PAGE.with_charge(attrs.evolve(bad, accepted=True)), NOW).paid_by == "tx"


@pytest.mark.parametrize("kind", ClosedAs)
def test_a_payment_given_up_keeps_nothing_by_itself(kind: ClosedAs) -> None:
    """Its stock is gone: somebody has to reserve it first, or to decide."""
    assert follow(given_up(DEAD, kind).with_charge(SETTLED), NOW).paid_by is None


# ── money that is to go back ──────────────────────────────────────────────────────────────────────────────────────────
UNDER_WAY = [RefundState.REQUESTED, RefundState.SENT, RefundState.UNKNOWN]
TO_GO_BACK = refund(case=1, amount=rupiah(100_000))
RETURNED_CASE = case(CaseKind.SURPLUS_PAYMENT, decision=CaseDecision.RETURN)


@pytest.mark.parametrize("state", RefundState)
def test_money_that_is_all_on_its_way_back_pays_nothing(state: RefundState) -> None:
    """Neither by itself nor as late money; refused, it is a payment like any other."""
    leaving = PAGE.with_charge(SETTLED).with_refund(attrs.evolve(TO_GO_BACK, state=state))
    assert follow(leaving, NOW).paid_by == (None if state in UNDER_WAY else "tx")
    late = given_up(DEAD).with_charge(SETTLED).with_refund(attrs.evolve(TO_GO_BACK, state=state))
    assert (late_charge(late) is None) is (state in UNDER_WAY)


def test_money_of_which_something_stays_pays_and_so_does_another_charge() -> None:
    nearly = attrs.evolve(TO_GO_BACK, amount=Money(WHOLE - 1, SETTLED.amount.currency))
    assert follow(PAGE.with_charge(SETTLED).with_refund(nearly), NOW).paid_by == "tx"
    last = PAGE.with_charge(charge(refunded_minor=WHOLE - 1))
    assert follow(last.with_refund(attrs.evolve(nearly, amount=Money.of(1, "IDR"))), NOW).paid_by is None
    both = PAGE.with_charge(SETTLED).with_charge(charge(transaction_id="ty")).with_refund(TO_GO_BACK)
    assert follow(both, NOW).paid_by == "ty"


@pytest.mark.parametrize("kind", [CaseKind.RETURN_BY_HAND, CaseKind.REFUND_RETURNED])
def test_money_whose_return_failed_pays_once_a_person_has_dismissed_that(kind: CaseKind) -> None:
    failed = attrs.evolve(TO_GO_BACK, state=RefundState.RETURNED)
    waiting = with_cases(PAGE.with_charge(SETTLED).with_refund(failed), case(kind))
    assert follow(waiting, NOW).paid_by is None
    assert follow(with_cases(waiting, decided(kind)), NOW).paid_by == "tx"  # type: ignore[arg-type]


def test_a_refund_of_the_dashboard_that_failed_keeps_nothing_from_paying() -> None:
    """Nobody decided that this money is to go back: the first that is heard of it may be that it did not."""
    failed = attrs.evolve(TO_GO_BACK, state=RefundState.RETURNED, case=None)
    heard = with_cases(PAGE.with_charge(SETTLED).with_refund(failed), case(CaseKind.REFUND_RETURNED))
    assert follow(heard, NOW).paid_by == "tx"


@pytest.mark.parametrize(
    "payment",
    [
        PAGE.with_refund(attrs.evolve(TO_GO_BACK, state=RefundState.CONFIRMED)),
        with_cases(PAGE, RETURNED_CASE),
    ],
    ids=["asked for", "decided"],
)
def test_money_that_was_to_go_back_and_is_back_never_pays(payment: Payment) -> None:
    assert follow(payment.with_charge(REFUNDED), NOW).paid_by is None
    assert follow(payment.with_charge(attrs.evolve(REFUNDED, transaction_id="ty")), NOW).paid_by == "ty"


# ── money taken back ──────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_reversal_lets_go_of_the_charge_and_calls_a_person() -> None:
    lowered = attrs.evolve(PAID, owed=rupiah(60_000))
    freed = follow(lowered.with_charge(REVERSED), LATER)
    assert (freed.paid_by, freed.paid_at, freed.owed) == (None, None, rupiah(100_000))
    assert freed.cases == (case(CaseKind.REVERSED, opened_at=LATER, evidence={"amount": "60000 IDR"}),)
    assert follow(freed, LATER) == freed, "what has followed does not follow again"


def test_after_a_reversal_money_that_is_back_already_pays_nothing() -> None:
    freed = follow(PAID.with_charge(REVERSED), LATER)
    assert follow(freed.with_charge(charge(transaction_id="ty", refunded_minor=WHOLE)), LATER).paid_by is None
    assert follow(freed.with_charge(charge(transaction_id="ty")), LATER).paid_by == "ty"


def test_the_page_of_a_reversal_is_closed() -> None:
    page = follow(PAID.with_charge(REVERSED), LATER).attempt(1)
    assert (page.state, page.closing, page.closing_by) == (AttemptState.CLOSING, CloseReason.REVERSED, "gateway")
    assert page.check_at == LATER + LEASE


def test_while_another_page_can_be_paid_that_of_a_reversal_stays_spent() -> None:
    """Two payable pages are worse than one that is spent."""
    second = attrs.evolve(PAGE.attempt(1), number=2, provider_order_id="second")
    freed = follow(PAID.with_attempt(second).with_charge(REVERSED), LATER)
    assert [page.state for page in freed.attempts] == [AttemptState.SPENT, AttemptState.OPEN]


def test_the_page_of_a_reversal_after_the_end_leaves_the_payment_given_up() -> None:
    """A surplus that was given back is reversed after all: the payment is not pending again for it."""
    over = given_up(attrs.evolve(PAID, paid_by=None, paid_at=None).with_charge(REVERSED))
    assert follow(over, LATER).attempt(1).state is AttemptState.SPENT


# ── pages and tries beside it ─────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("state", [AttemptState.OPENING, AttemptState.OPEN, AttemptState.CLOSING])
def test_a_page_that_took_money_is_spent_and_wants_nothing_more(state: AttemptState) -> None:
    """Not payable, not closed, not polled for death."""
    busy = with_page(
        PAGE,
        state=state,
        request="{}",
        lease_until=LATER,
        doubt=CloseReason.EXPIRED,
        resend=True,
        check_at=LATER,
        url="https://pay.example/1",
    )
    assert follow(busy.with_charge(SETTLED), NOW).attempt(1) == attrs.evolve(
        busy.attempt(1),
        state=AttemptState.SPENT,
        request=None,
        lease_until=None,
        doubt=None,
        resend=False,
        check_at=None,
    )


def test_a_dead_page_stays_dead_when_money_comes() -> None:
    assert follow(DEAD.with_charge(SETTLED), NOW).attempt(1) == DEAD.attempt(1)


@pytest.mark.parametrize("state", [ChargeState.PENDING, ChargeState.CHALLENGED, ChargeState.AUTHORIZED])
def test_what_may_become_money_beside_a_paid_charge_is_cancelled(state: ChargeState) -> None:
    """The best surplus payment is the one that never happens."""
    other = charge(state, "ty", checks=4, recheck_after=LATER, due=ChargeDue.RECHECK)
    stopped = follow(PAID.with_charge(other), NOW).charge("ty")
    assert stopped == attrs.evolve(
        other, due=ChargeDue.CANCEL, cancel_asked=True, check_at=NOW + LEASE, recheck_after=None, checks=0
    )


def test_what_a_person_asked_of_a_charge_is_over_when_it_is_cancelled() -> None:
    """Else its outcome would stay unknown for ever: nobody asks for the wish any more."""
    wished = charge(ChargeState.AUTHORIZED, "ty", due=ChargeDue.CAPTURE, asked_by="olga", asked_at=NOW)
    going = follow(PAID.with_charge(wished), LATER).charge("ty")
    assert going is not None
    assert (going.due, going.asked_by, going.asked_at) == (ChargeDue.CANCEL, None, None)


def test_a_cancel_that_was_asked_for_is_not_asked_for_anew() -> None:
    asked = follow(PAID.with_charge(charge(ChargeState.PENDING, "ty")), NOW)
    assert follow(asked, LATER) == asked


def test_nothing_becomes_money_on_a_page_that_is_dead() -> None:
    """A virtual account that outlived its page would be paid late."""
    pending = follow(DEAD.with_charge(charge(ChargeState.PENDING)), NOW).charge("tx")
    assert pending is not None
    assert (pending.due, pending.cancel_asked) == (ChargeDue.CANCEL, True)


def test_a_try_on_an_open_page_is_left_alone() -> None:
    assert follow(HELD, NOW) == HELD


def test_a_cancel_has_come_true_when_the_charge_is_over() -> None:
    """Nothing is due any more; that we asked is remembered."""
    over = charge(ChargeState.CANCELLED, "ty", due=ChargeDue.CANCEL, cancel_asked=True, check_at=LATER, checks=3)
    done = follow(PAID.with_charge(over), NOW).charge("ty")
    assert done == attrs.evolve(over, due=None, check_at=None, checks=0)


def test_another_page_is_closed_when_the_order_is_paid() -> None:
    """A virtual account shown on it could still be paid."""
    second = attrs.evolve(PAGE.attempt(1), number=2, provider_order_id="second")
    page = follow(PAID.with_attempt(second), NOW).attempt(2)
    assert (page.state, page.closing, page.closing_by) == (AttemptState.CLOSING, CloseReason.PAID, "core")
    assert follow(PAID.with_attempt(page), LATER).attempt(2) == page, "begun once"


def test_a_page_that_was_closing_for_another_reason_closes_because_it_is_paid() -> None:
    second = attrs.evolve(
        PAGE.attempt(1), number=2, provider_order_id="b", state=AttemptState.CLOSING, closing=CloseReason.EXPIRED
    )
    assert follow(PAID.with_attempt(second), NOW).attempt(2).closing is CloseReason.PAID


# ── what needs a person ───────────────────────────────────────────────────────────────────────────────────────────────
def test_a_charge_back_is_a_case_with_the_amounts() -> None:
    back = PAID.with_charge(charge(charged_back_minor=3_000_000, refunded_minor=1))
    (opened,) = follow(back, LATER).cases
    assert opened == case(
        CaseKind.CHARGED_BACK,
        opened_at=LATER,
        evidence={"captured": "100000 IDR", "refunded": "0.01 IDR", "charged_back": "30000 IDR"},
    )


def test_one_minor_unit_charged_back_is_a_case() -> None:
    assert kinds(follow(PAID.with_charge(charge(charged_back_minor=1)), NOW)) == ["charged_back"]


def test_a_charge_back_of_an_unknown_amount_is_a_case_too() -> None:
    (opened,) = follow(PAID.with_charge(charge(charged_back_unknown=True)), NOW).cases
    assert (opened.kind, opened.evidence) == (CaseKind.CHARGED_BACK, {"captured": "100000 IDR"})


@pytest.mark.parametrize(("refunded", "charged_back", "over"), [(WHOLE, 0, False), (WHOLE, 1, True), (0, WHOLE, False)])
def test_more_than_was_taken_is_overdrawn_and_all_of_it_is_not(refunded: int, charged_back: int, over: bool) -> None:
    payment = follow(PAID.with_charge(charge(refunded_minor=refunded, charged_back_minor=charged_back)), NOW)
    assert ("overdrawn" in kinds(payment)) is over


def test_money_beside_the_kept_is_surplus_until_it_is_back() -> None:
    (opened,) = follow(PAID.with_charge(charge(transaction_id="ty", refunded_minor=1)), LATER).cases
    evidence = {"captured": "100000 IDR", "refunded": "0.01 IDR"}
    assert opened == case(CaseKind.SURPLUS_PAYMENT, transaction_id="ty", opened_at=LATER, evidence=evidence)
    assert kinds(follow(PAID.with_charge(charge(transaction_id="ty", refunded_minor=WHOLE)), LATER)) == []


def test_one_minor_unit_of_surplus_is_surplus() -> None:
    assert kinds(follow(PAID.with_charge(charge(transaction_id="ty", refunded_minor=WHOLE - 1)), NOW)) == [
        "surplus_payment"
    ]


def test_money_for_a_cancelled_order_is_a_late_payment() -> None:
    (opened,) = follow(given_up(DEAD, ClosedAs.CANCELLED).with_charge(SETTLED), LATER).cases
    assert opened == case(CaseKind.LATE_PAYMENT, opened_at=LATER, evidence={"captured": "100000 IDR"})


def test_money_for_an_expired_order_is_not_a_case_before_stock_was_asked_for() -> None:
    assert follow(given_up(DEAD).with_charge(SETTLED), LATER).cases == ()


# ── giving up ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def wanted_to_end(reason: CloseReason, by: str | None = "operator:bob") -> Payment:
    return attrs.evolve(with_page(DEAD, closing=reason, closing_by=by), deadline_at=LATER)


@pytest.mark.parametrize(
    ("reason", "kind"), [(CloseReason.EXPIRED, ClosedAs.EXPIRED), (CloseReason.CANCELLED, ClosedAs.CANCELLED)]
)
def test_a_payment_is_given_up_once_its_page_is_dead(reason: CloseReason, kind: ClosedAs) -> None:
    over = follow(wanted_to_end(reason), NOW)
    assert (over.closed, over.deadline_at) == (Closed(kind, NOW, "operator:bob"), None)
    assert follow(over, LATER) == over, "once"


def test_who_gave_it_up_is_known_even_from_a_row_that_did_not_say() -> None:
    over = follow(wanted_to_end(CloseReason.EXPIRED, by=None), NOW).closed
    assert over is not None
    assert over.by == "core"


@pytest.mark.parametrize("reason", [CloseReason.PAID, CloseReason.REVERSED, CloseReason.REPLACED, CloseReason.LOST])
def test_a_page_that_died_for_another_reason_gives_nothing_up(reason: CloseReason) -> None:
    assert follow(wanted_to_end(reason), NOW).closed is None


def test_nothing_is_given_up_while_it_may_still_be_paid() -> None:
    """Not while a page, a try, a kept charge or a blocking case is there."""
    ending = wanted_to_end(CloseReason.EXPIRED)
    closing = with_page(ending, state=AttemptState.CLOSING)
    assert follow(closing, NOW).closed is None
    assert follow(ending.with_charge(charge(ChargeState.PENDING)), NOW).closed is None
    assert follow(with_cases(ending, case(CaseKind.REVERSED)), NOW).closed is None
    assert follow(ending.with_charge(SETTLED), NOW).closed is None


def test_an_earlier_page_that_was_given_up_does_not_end_a_later_one() -> None:
    second = attrs.evolve(DEAD.attempt(1), number=2, provider_order_id="second", closing=CloseReason.REPLACED)
    assert follow(wanted_to_end(CloseReason.EXPIRED).with_attempt(second), NOW).closed is None


# ── late money ────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_late_money_is_good_money_that_came_after_the_expiry() -> None:
    late = given_up(DEAD).with_charge(SETTLED)
    assert late_charge(late) == SETTLED
    assert late_charge(DEAD.with_charge(SETTLED)) is None, "not given up"
    assert late_charge(given_up(DEAD, ClosedAs.CANCELLED).with_charge(SETTLED)) is None, "cancelled: a person decides"
    assert late_charge(attrs.evolve(late, paid_by="tx")) is None, "kept already"
    assert late_charge(given_up(DEAD).with_charge(REFUNDED)) is None, "back already"
    assert late_charge(given_up(DEAD).with_charge(charge(refunded_minor=WHOLE - 1))) is not None
    assert late_charge(given_up(HELD)) is None, "held is not taken"
    assert late_charge(with_cases(late, case(CaseKind.LATE_PAYMENT))) is None, "looked at already"
    assert late_charge(with_cases(late, case(CaseKind.OVERDRAWN))) == SETTLED


def test_late_money_without_stock_is_a_case() -> None:
    late = given_up(DEAD).with_charge(SETTLED)
    reviewed = review_late(late, SETTLED, LATER)
    assert reviewed == with_cases(
        late, case(CaseKind.LATE_PAYMENT, opened_at=LATER, evidence={"captured": "100000 IDR"})
    )


def test_a_reopened_payment_is_paid_and_reserved_anew() -> None:
    again = reopen(
        given_up(DEAD).with_charge(charge(captured_minor=6_000_000)), charge(captured_minor=6_000_000), LATER
    )
    assert (again.closed, again.reserved_at, again.paid_by, again.paid_at) == (None, LATER, "tx", LATER)
    assert again.owed == rupiah(60_000)


def test_a_reopened_payment_stops_what_is_beside_it() -> None:
    late = given_up(DEAD).with_charge(SETTLED).with_charge(charge(transaction_id="ty"))
    assert kinds(reopen(late, SETTLED, LATER)) == ["surplus_payment"]


def test_stock_is_lost_with_a_dismissed_reversal_until_it_is_reserved_anew() -> None:
    def after(at: datetime, evidence: dict[str, str]) -> Payment:
        return with_cases(PAID, decided(CaseKind.REVERSED, at, evidence=evidence))  # type: ignore[arg-type]

    assert lost_its_stock(after(LATER, {"amount": "1 IDR", **STOCK_RELEASED}))
    assert not lost_its_stock(after(LATER, {"amount": "1 IDR"}))
    assert not lost_its_stock(after(PAID.reserved_at, STOCK_RELEASED)), "reserved anew with that very decision"
    assert not lost_its_stock(with_cases(PAID, case(CaseKind.REVERSED, evidence=STOCK_RELEASED)))
    assert not lost_its_stock(PAID)


# ── outcomes that were unknown ────────────────────────────────────────────────────────────────────────────────────────
OF_THE_PAGE = case(CaseKind.OUTCOME_UNKNOWN, transaction_id=None, evidence={"page": PAGE.attempt(1).provider_order_id})
OF_THE_TRY = case(CaseKind.OUTCOME_UNKNOWN)


@pytest.mark.parametrize(
    ("payment", "unknown", "told"),
    [
        (PAGE, OF_THE_PAGE, False),
        (DEAD, OF_THE_PAGE, True),
        (PAID, OF_THE_PAGE, True),
        (PAGE, OF_THE_TRY, False),
        (PAID, OF_THE_TRY, True),
        (HELD.with_charge(charge(ChargeState.AUTHORIZED, asked_by="olga")), OF_THE_TRY, False),
        (HELD.with_charge(charge(ChargeState.AUTHORIZED, due=ChargeDue.CANCEL)), OF_THE_TRY, False),
        (HELD.with_charge(charge(ChargeState.CANCELLED, due=ChargeDue.CANCEL)), OF_THE_TRY, True),
        (PAID.with_charge(charge(asked_by="olga")), OF_THE_TRY, True),
        (PAID.with_refund(refund(RefundState.REQUESTED)), OF_THE_TRY, False),
        (PAID.with_refund(refund(RefundState.SENT)), OF_THE_TRY, False),
        (PAID.with_refund(refund(RefundState.UNKNOWN)), OF_THE_TRY, False),
        (PAID.with_refund(refund(RefundState.CONFIRMED)), OF_THE_TRY, True),
        (PAID.with_refund(refund(transaction_id="another")), OF_THE_TRY, True),
        (PAID, case(CaseKind.OUTCOME_UNKNOWN, transaction_id=None), False),
        (PAID, case(CaseKind.OVERDRAWN), False),
    ],
)
def test_an_unknown_outcome_waits_for_nobody_once_the_gateway_has_told_it(
    payment: Payment, unknown: Case, told: bool
) -> None:
    """Of a page: that it is over. Of a try: that nothing asked of it, and no refund of it, is under way any more."""
    after = follow(with_cases(payment, unknown), LATER).cases[0]
    closed = attrs.evolve(
        unknown, decision=CaseDecision.DISMISS, decided_by="gateway", decided_at=LATER, note="it has told since"
    )
    assert after == (closed if told else unknown)


def test_what_is_overdrawn_is_a_case_of_its_charge() -> None:
    (opened,) = follow(PAID.with_charge(charge(refunded_minor=WHOLE + 1)), LATER).open_cases
    assert (opened.kind, opened.transaction_id) == (CaseKind.OVERDRAWN, "tx")
