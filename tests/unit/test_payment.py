"""The values of a payment: what they say of themselves, and what they refuse to be."""

import attrs
import pytest

from payments_core.payment import BLOCKING, AttemptState, CaseDecision, Decline, Payment
from payments_core.states import CaseKind, ChargeState
from payments_core.testing.samples import LATER, NOW
from unit.values import DEAD, PAGE, PAID, SPENT, WHOLE, case, charge, refund, with_cases, with_page

SECOND = attrs.evolve(PAGE.attempt(1), number=2, provider_order_id="second")


def test_two_pages_that_could_be_paid_at_once_are_no_payment() -> None:
    """The last line of defence of "one payable page"."""
    with pytest.raises(ValueError, match="two pages"):
        PAGE.with_attempt(SECOND)
    assert len(DEAD.with_attempt(SECOND).attempts) == 2


def test_a_payment_is_paid_by_a_charge_of_its_own() -> None:
    with pytest.raises(ValueError, match="no charge of it"):
        attrs.evolve(PAGE, paid_by="tx")


@pytest.mark.parametrize(
    ("state", "payable"),
    [("opening", True), ("open", True), ("closing", True), ("dead", False), ("spent", False)],
)
def test_a_page_is_payable_until_it_is_dead_or_spent(state: str, payable: bool) -> None:
    page = with_page(PAGE, state=AttemptState(state))
    assert page.attempt(1).is_payable is payable
    assert page.payable_attempt == (page.attempt(1) if payable else None)


def test_a_charge_is_good_without_a_fault_or_when_a_person_accepted_it() -> None:
    bad = charge(faults=frozenset({CaseKind.AMOUNT_MISMATCH}))
    assert charge().is_good
    assert not bad.is_good
    assert attrs.evolve(bad, accepted=True).is_good
    assert attrs.evolve(charge(), accepted=True).is_good


@pytest.mark.parametrize("state", ChargeState)
def test_a_charge_has_money_may_have_it_or_is_over(state: ChargeState) -> None:
    one = charge(state)
    assert one.has_money is (state.value in ("captured", "settled"))
    assert one.is_live is (state.value in ("pending", "challenged", "authorized"))


def test_what_is_left_is_what_went_nowhere_else() -> None:
    assert charge(refunded_minor=1, charged_back_minor=20, reversed_minor=300).left_minor == WHOLE - 321


def test_the_keeping_charge_is_the_one_it_was_paid_by() -> None:
    both = PAID.with_charge(charge(transaction_id="ty"))
    assert both.keeping_charge == charge()
    assert PAGE.keeping_charge is None
    assert SPENT.with_charge(charge()).keeping_charge is None


def test_the_last_page_is_the_newest() -> None:
    assert DEAD.with_attempt(SECOND).last_attempt == SECOND
    assert attrs.evolve(PAGE, attempts=()).last_attempt is None


def blocked(payment: Payment, kind: CaseKind, **more: object) -> bool:
    return with_cases(payment, case(kind, **more)).is_blocked


@pytest.mark.parametrize("kind", CaseKind)
def test_a_case_blocks_while_it_is_open_and_a_contradiction_only_while_nothing_is_paid(kind: CaseKind) -> None:
    assert blocked(PAGE, kind) is (kind in BLOCKING or kind is CaseKind.CONTRADICTION)
    assert blocked(PAID, kind) is (kind in BLOCKING)
    assert not blocked(PAGE, kind, decision=CaseDecision.DISMISS)
    assert with_cases(PAGE, case(kind)).is_blocked_by_reversal is (kind is CaseKind.REVERSED)


def test_open_cases_are_those_nobody_has_decided() -> None:
    decided = case(number=2, decision=CaseDecision.DISMISS)
    assert with_cases(PAGE, case(), decided).open_cases == (case(),)


def test_the_refusal_a_buyer_saw_last_is_told_until_a_charge_has_paid() -> None:
    first, last = Decline("a", None, NOW), Decline("b", None, LATER)
    tried = PAGE.with_charge(charge(ChargeState.DENIED, "t-1", decline=last))
    tried = tried.with_charge(charge(ChargeState.DENIED, "t-2", decline=first)).with_charge(charge(ChargeState.PENDING))
    assert tried.last_decline == last
    assert PAGE.last_decline is None
    assert PAID.with_charge(charge(ChargeState.DENIED, "t-1", decline=first)).last_decline is None


def test_what_belongs_to_a_payment_is_found_by_its_name() -> None:
    payment = DEAD.with_attempt(SECOND).with_charge(charge()).with_charge(charge(transaction_id="ty", attempt=2))
    payment = payment.with_refund(refund()).with_refund(refund(key="k-2"))
    assert payment.attempt(2) == SECOND
    assert payment.attempt_named("second") == SECOND
    assert payment.attempt_named("foreign") is payment.attempt_named(None) is None
    assert payment.charge("ty") == charge(transaction_id="ty", attempt=2)
    assert payment.charge("foreign") is None
    assert payment.charges_of(SECOND) == (charge(transaction_id="ty", attempt=2),)
    assert payment.refund("k-2") == refund(key="k-2")
    assert payment.refund("foreign") is None


def test_a_changed_part_takes_its_place_and_a_new_one_comes_last() -> None:
    payment = DEAD.with_attempt(SECOND).with_charge(charge()).with_charge(charge(transaction_id="ty"))
    payment = with_cases(payment.with_refund(refund()).with_refund(refund(key="k-2")), case(), case(number=2))
    changed = payment.with_charge(charge(checks=9)).with_refund(refund(checks=9)).with_case(case(note="x"))
    changed = changed.with_attempt(attrs.evolve(DEAD.attempt(1), checks=9))
    assert [one.checks for one in changed.charges] == [9, 0]
    assert [one.checks for one in changed.refunds] == [9, 0]
    assert [one.checks for one in changed.attempts] == [9, 0]
    assert [one.note for one in changed.cases] == ["x", None]
    assert [one.transaction_id for one in changed.charges] == ["tx", "ty"]
