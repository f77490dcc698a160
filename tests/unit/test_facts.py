"""Facts: derived from the difference of two payments, each once, in an order in which every prefix adds up."""

import attrs
import pytest

from payments_core.facts import Fact, FactType, facts_between, numbered, stock_fact
from payments_core.orders import StockMove
from payments_core.payment import (
    AttemptState,
    CaseDecision,
    ChargeDue,
    Closed,
    ClosedAs,
    CloseReason,
    Decline,
    Payment,
    RefundState,
)
from payments_core.states import CaseKind, ChargeState
from payments_core.testing.samples import LATER, NOW
from unit.values import DEAD, HELD, PAGE, PAID, case, charge, refund, with_page
from unit.world import rupiah

ORDER_ID = {"order_id": "o-1"}
AMOUNT = {"amount": "100000", "currency": "IDR"}
TX = {"transaction_id": "tx"}
EXPIRED = attrs.evolve(DEAD, closed=Closed(ClosedAs.EXPIRED, NOW, "deadline"))


def given_back(minor: int) -> Payment:
    return PAID.with_charge(charge(refunded_minor=minor))


def told(before: Payment | None, after: Payment) -> list[tuple[str, dict[str, object]]]:
    return [(fact.type.value, dict(fact.data)) for fact in facts_between(before, after)]


def said(before: Payment, after: Payment, kind: FactType) -> list[dict[str, object]]:
    return [dict(fact.data) for fact in facts_between(before, after) if fact.type is kind]


def types(before: Payment | None, after: Payment) -> list[str]:
    return [fact.type.value for fact in facts_between(before, after)]


@pytest.mark.parametrize("payment", [PAGE, DEAD, HELD, PAID, EXPIRED, given_back(1)])
def test_what_did_not_change_is_not_told_again(payment: Payment) -> None:
    """A settlement that is heard of twice differs once."""
    assert facts_between(payment, payment) == []


# ── pages ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
OPENED = {"attempt": 1, "provider": "midtrans", "provider_order_id": PAGE.attempt(1).provider_order_id}


def test_a_new_payment_says_for_which_order_and_how_much() -> None:
    assert told(None, with_page(PAGE, url=None)) == [("payment.created", {**ORDER_ID, **AMOUNT})]


def test_a_payment_stored_late_in_its_life_tells_all_of_it() -> None:
    """An embedding application may store a payment for the first time when it is paid already."""
    late = attrs.evolve(with_page(PAID, url="https://pay.example/1"), cases=(case(),))
    assert types(None, late) == ["payment.created", "attempt.opened", "payment.paid", "order.paid", "case.opened"]


def test_a_page_is_opened_when_it_has_a_url() -> None:
    opening = with_page(PAGE, url=None, state=AttemptState.OPENING)
    assert told(opening, with_page(PAGE, url="https://pay.example/1")) == [("attempt.opened", OPENED)]


def test_another_url_of_a_page_is_no_other_page() -> None:
    first = with_page(PAGE, url="https://pay.example/1")
    assert told(first, with_page(PAGE, url="https://pay.example/2")) == []


def test_a_second_page_is_opened_too() -> None:
    second = attrs.evolve(PAGE.attempt(1), number=2, provider_order_id="second", url="https://pay.example/2")
    assert told(DEAD, DEAD.with_attempt(second)) == [
        ("attempt.opened", {"attempt": 2, "provider": "midtrans", "provider_order_id": "second"})
    ]


def test_a_page_that_closes_says_why() -> None:
    closing = with_page(PAGE, state=AttemptState.CLOSING, closing=CloseReason.EXPIRED)
    assert told(PAGE, closing) == [("attempt.closing", {**OPENED, "reason": "expired"})]
    assert told(closing, with_page(closing, closing=CloseReason.PAID)) == [], "it was told that it closes"


def test_a_dead_page_says_by_what_proof() -> None:
    assert told(PAGE, DEAD) == [("attempt.dead", {**OPENED, "proof": "closed"}), ("payment.failed", {})]


def test_a_page_first_stored_dead_is_told_dead() -> None:
    """The gateway refused it before anything else was stored."""
    assert types(attrs.evolve(PAGE, attempts=()), DEAD)[0] == "attempt.dead"


# ── money ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_decline_says_which_try_and_why() -> None:
    declined = charge(ChargeState.DENIED, decline=Decline("insufficient_funds", "qris", NOW))
    data = {**TX, "code": "insufficient_funds", "method": "qris"}
    assert told(PAGE, PAGE.with_charge(declined)) == [("charge.declined", data)]
    assert told(PAGE.with_charge(charge(ChargeState.PENDING)), PAGE.with_charge(declined)) == [
        ("charge.declined", data)
    ]


def test_a_decline_that_is_known_is_not_told_again() -> None:
    declined = charge(ChargeState.DENIED, decline=Decline("no_funds", "card", NOW))
    before, after = PAGE.with_charge(declined), PAGE.with_charge(attrs.evolve(declined, reading_number=9))
    assert types(before, after) == []


def test_held_money_says_how_much() -> None:
    assert told(PAGE, HELD) == [("payment.authorized", {**TX, **AMOUNT})]


def test_of_two_holds_the_good_one_is_told() -> None:
    bad = charge(ChargeState.AUTHORIZED, "bad", faults=frozenset({CaseKind.AMOUNT_MISMATCH}))
    seen = PAGE.with_charge(bad).with_charge(charge(ChargeState.PENDING, "other"))
    assert told(seen, seen.with_charge(charge(ChargeState.AUTHORIZED))) == [("payment.authorized", {**TX, **AMOUNT})]


def test_paid_says_what_was_taken_and_by_what_method() -> None:
    assert told(with_page(PAGE, state=AttemptState.SPENT), PAID) == [
        ("payment.paid", {**TX, **AMOUNT, "method": "qris"}),
        ("order.paid", ORDER_ID),
    ]


def test_paid_by_a_part_of_the_hold_says_the_part() -> None:
    part = attrs.evolve(PAID.with_charge(charge(captured_minor=6_000_000)), owed=rupiah(60_000))
    assert said(HELD, part, FactType.PAYMENT_PAID) == [{**TX, "amount": "60000", "currency": "IDR", "method": "qris"}]


def test_money_that_another_charge_replaced_is_reversed_before_it_is_paid_again() -> None:
    lost = charge(ChargeState.REVERSED, captured_minor=10_000_000, reversed_minor=10_000_000)
    again = attrs.evolve(PAID.with_charge(lost).with_charge(charge(transaction_id="ty")), paid_by="ty")
    assert told(PAID, again) == [
        ("payment.reversed", {**TX, **AMOUNT}),
        ("payment.paid", {"transaction_id": "ty", **AMOUNT, "method": "qris"}),
        ("order.paid", ORDER_ID),
    ]


def test_a_reversal_says_what_was_lost() -> None:
    lost = charge(ChargeState.REVERSED, captured_minor=10_000_000, reversed_minor=10_000_000)
    freed = attrs.evolve(PAID.with_charge(lost), paid_by=None)
    assert told(PAID, freed)[0] == ("payment.reversed", {**TX, **AMOUNT})
    assert "payment.paid" not in types(PAID, freed)
    assert "order.paid" not in types(PAID, freed)


def test_a_refund_says_what_went_back_now_and_in_all() -> None:
    assert told(PAID, given_back(4_000_000)) == [
        ("payment.refunded", {**TX, "amount": "40000", "currency": "IDR", "total": "40000"})
    ]
    assert told(given_back(4_000_000), given_back(6_000_000)) == [
        ("payment.refunded", {**TX, "amount": "20000", "currency": "IDR", "total": "60000"})
    ]


def test_one_minor_unit_given_back_is_told() -> None:
    assert said(PAID, given_back(1), FactType.PAYMENT_REFUNDED) == [
        {**TX, "amount": "0.01", "currency": "IDR", "total": "0.01"}
    ]


def test_a_refund_that_came_back_to_us_is_un_counted() -> None:
    """The sum of what was published is what is given back."""
    assert told(given_back(6_000_000), given_back(1_000_000)) == [
        ("payment.refund_returned", {**TX, "amount": "50000", "currency": "IDR", "total": "10000"})
    ]


def test_a_charge_back_says_what_was_taken_now_and_in_all() -> None:
    once = PAID.with_charge(charge(charged_back_minor=3_000_000))
    twice = PAID.with_charge(charge(charged_back_minor=10_000_000))
    assert said(PAID, once, FactType.PAYMENT_CHARGED_BACK) == [
        {**TX, "amount": "30000", "currency": "IDR", "total": "30000"}
    ]
    assert said(once, twice, FactType.PAYMENT_CHARGED_BACK) == [
        {**TX, "amount": "70000", "currency": "IDR", "total": "100000"}
    ]


def test_one_minor_unit_charged_back_or_given_back_again_is_told() -> None:
    before, after = (PAID.with_charge(charge(charged_back_minor=minor)) for minor in (3, 4))
    assert [fact.type.value for fact in facts_between(before, after)] == ["payment.charged_back"]
    assert [fact.type.value for fact in facts_between(after, before)] == ["payment.charge_back_returned"]


def test_all_that_is_heard_of_at_once_comes_in_the_order_of_money() -> None:
    """Paid, refunded, charged back: every prefix adds up."""
    all_at_once = PAID.with_charge(charge(refunded_minor=1, charged_back_minor=2))
    assert types(with_page(PAGE, state=AttemptState.SPENT), all_at_once) == [
        "payment.paid",
        "payment.refunded",
        "payment.charged_back",
        "order.paid",
    ]


# ── wishes ────────────────────────────────────────────────────────────────────────────────────────────────────────────
WISHED = PAGE.with_charge(charge(ChargeState.AUTHORIZED, due=ChargeDue.CAPTURE, asked_by="operator:bob"))


def test_a_wish_says_what_was_asked_by_whom() -> None:
    data = {**TX, "what": "capture", "by": "operator:bob"}
    assert told(HELD, WISHED) == [("charge.asked", data)]
    assert said(PAGE, WISHED, FactType.CHARGE_ASKED) == [data], "also of a charge that is new"


def test_what_we_want_of_a_charge_ourselves_is_nobodys_wish() -> None:
    assert told(HELD, HELD.with_charge(charge(ChargeState.AUTHORIZED, due=ChargeDue.RECHECK))) == []
    assert told(WISHED, WISHED.with_charge(charge(ChargeState.AUTHORIZED, asked_by="operator:bob"))) == []


REFUND = {"refund": "k-1", **TX, "amount": "40000", "currency": "IDR"}


def test_a_refund_that_was_asked_for_says_by_whom_and_why() -> None:
    asked = PAID.with_refund(refund())
    assert told(PAID, asked) == [("refund.requested", {**REFUND, "by": "operator:bob", "reason": "torn"})]
    assert told(asked, PAID.with_refund(refund(RefundState.SENT))) == []


def test_a_refund_made_in_the_dashboard_was_not_requested_here() -> None:
    assert told(PAID, PAID.with_refund(refund(RefundState.CONFIRMED, by="gateway"))) == []


def test_a_refund_that_was_refused_says_why() -> None:
    refused = PAID.with_refund(refund(RefundState.REFUSED, refused="too late"))
    assert told(PAID.with_refund(refund()), refused) == [("refund.refused", {**REFUND, "why": "too late"})]
    foreign = PAID.with_refund(refund(RefundState.REFUSED, by="gateway"))
    assert told(PAID, foreign) == [("refund.refused", {**REFUND, "why": None})]


# ── ends ──────────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("kind", "by"), [(ClosedAs.EXPIRED, "deadline"), (ClosedAs.CANCELLED, "operator:bob")], ids=["expired", "cancelled"]
)
def test_a_payment_given_up_says_so_of_itself_and_of_the_order(kind: ClosedAs, by: str) -> None:
    given_up = attrs.evolve(DEAD, closed=Closed(kind, NOW, by))
    assert told(DEAD, given_up) == [
        (f"payment.{kind.value}", {}),
        ("order.cancelled", {**ORDER_ID, "as": kind.value, "by": by}),
    ]


def test_a_payment_given_up_stays_given_up_whatever_is_tried() -> None:
    reserved_again = attrs.evolve(EXPIRED, deadline_at=LATER)
    assert told(EXPIRED, reserved_again) == []


def test_a_payment_that_never_had_a_page_did_not_end() -> None:
    """Only its order was cancelled."""
    blank = attrs.evolve(PAGE, attempts=())
    cancelled = attrs.evolve(blank, closed=Closed(ClosedAs.CANCELLED, NOW, "shop"))
    assert types(blank, cancelled) == ["order.cancelled"]


def test_late_money_opens_the_order_again() -> None:
    reopened = attrs.evolve(PAID, closed=None)
    before = attrs.evolve(EXPIRED.with_charge(charge()), paid_by=None)
    assert told(before, reopened) == [
        ("payment.paid", {**TX, **AMOUNT, "method": "qris"}),
        ("order.reopened", ORDER_ID),
        ("order.paid", ORDER_ID),
    ]


def test_a_page_that_turns_out_paid_refuses_the_wish_to_cancel() -> None:
    cancelling = with_page(PAGE, state=AttemptState.CLOSING, closing=CloseReason.CANCELLED)
    assert types(cancelling, PAID)[-2:] == ["order.paid", "order.cancel_refused"]
    assert said(cancelling, PAID, FactType.ORDER_CANCEL_REFUSED) == [ORDER_ID]


@pytest.mark.parametrize("state", [AttemptState.CLOSING, AttemptState.DEAD])
def test_only_a_wish_that_was_still_open_is_refused(state: AttemptState) -> None:
    replaced = CloseReason.EXPIRED if state is AttemptState.CLOSING else CloseReason.CANCELLED
    before = with_page(PAGE, state=state, closing=replaced)
    assert "order.cancel_refused" not in types(before, PAID)


# ── cases, numbers, stock ─────────────────────────────────────────────────────────────────────────────────────────────
CASE = {"case": 1, "kind": "overdrawn", **TX}
DECIDED = case(decision=CaseDecision.DISMISS, decided_by="operator:bob", decided_at=LATER, note="seen")
DECISION = {"decision": "dismiss", "by": "operator:bob", "note": "seen"}


def test_a_case_is_opened_with_its_evidence() -> None:
    opened = attrs.evolve(PAID, cases=(case(evidence={"refunded": "120000 IDR"}),))
    assert told(PAID, opened) == [("case.opened", {**CASE, "refunded": "120000 IDR"})]


def test_a_case_is_closed_once_with_who_and_why() -> None:
    opened, closed = attrs.evolve(PAID, cases=(case(),)), attrs.evolve(PAID, cases=(DECIDED,))
    assert told(opened, closed) == [("case.closed", {**CASE, **DECISION})]
    assert told(closed, closed) == []
    assert told(PAID, closed) == [("case.opened", CASE), ("case.closed", {**CASE, **DECISION})]


def test_events_are_numbered_on_from_the_last_without_a_gap() -> None:
    facts = [Fact(FactType.ORDER_PAID, ORDER_ID), Fact(FactType.STOCK_CONSUMED, {})]
    counted, events = numbered(attrs.evolve(PAID, events=4), facts, NOW, "gateway:midtrans")
    assert counted.events == 6
    assert [(e.payment_id, e.sequence, e.type, e.at, e.actor, e.data) for e in events] == [
        (PAID.payment_id, 5, FactType.ORDER_PAID, NOW, "gateway:midtrans", ORDER_ID),
        (PAID.payment_id, 6, FactType.STOCK_CONSUMED, NOW, "gateway:midtrans", {}),
    ]


@pytest.mark.parametrize("move", StockMove)
def test_every_move_of_stock_is_a_fact(move: StockMove) -> None:
    assert stock_fact(move) == Fact(FactType(f"stock.{move.value}"), {})


def test_amounts_are_told_in_major_units() -> None:
    cents = PAID.with_charge(charge(refunded_minor=1_250, amount=rupiah(100_000)))
    assert said(PAID, cents, FactType.PAYMENT_REFUNDED)[0]["amount"] == "12.50"


def test_a_payment_stored_after_its_money_went_back_tells_that_too() -> None:
    declined = charge(ChargeState.DENIED, "first", decline=Decline("no_funds", "card", NOW))
    late = given_back(1_000_000).with_charge(declined)
    assert types(None, late) == [
        "payment.created",
        "charge.declined",
        "payment.paid",
        "payment.refunded",
        "order.paid",
    ]


def test_a_payment_stored_after_it_was_given_up_tells_that_too() -> None:
    assert types(None, EXPIRED) == ["payment.created", "attempt.dead", "payment.expired", "order.cancelled"]


def test_a_payment_stored_with_a_refund_under_way_tells_who_asked_for_it() -> None:
    assert "refund.requested" in types(None, PAID.with_refund(refund()))


def test_a_wish_that_is_asked_about_again_is_not_told_again() -> None:
    asked = charge(ChargeState.AUTHORIZED, due=ChargeDue.CAPTURE, asked_by="olga")
    before, after = HELD.with_charge(asked), HELD.with_charge(attrs.evolve(asked, checks=1))
    assert types(HELD, before) == ["charge.asked"]
    assert types(before, after) == []
