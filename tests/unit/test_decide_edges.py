"""Decisions on values, at their edges; `test_decide.py` has them over a world with a page."""

from datetime import timedelta

import attrs
import pytest

from payments_core import Confirm, Observation, Reading, Signal, Verdict, decide_hint, decide_reading
from payments_core.decide import HintDecision, recheck_again, still_wants
from payments_core.limits import CHARGES_MAX, LEASE, RETRY_SCHEDULE
from payments_core.money import Money
from payments_core.observations import Dispute, DisputeNews, Nothing, RefundNews, RefundReport, Unknown
from payments_core.operations import plan_capture, plan_decision
from payments_core.payment import AttemptState, CaseDecision, Charge, ChargeDue, CloseReason, Payment, RefundState
from payments_core.states import CaseKind, ChargeState
from payments_core.testing.samples import LATER, NOW
from unit.values import DEAD, HELD, PAGE, PAID, WHOLE, case, charge, kinds, refund, says, with_cases, with_page
from unit.world import rupiah

LAG = timedelta(minutes=10)
PENDING = PAGE.with_charge(charge(ChargeState.PENDING))
PARTLY = PAID.with_charge(charge(refunded_minor=1_000_000))


def hint(payment: Payment, message: Observation, confirm: Confirm = Confirm.SIGNATURE) -> HintDecision:
    return decide_hint(payment, message, confirm=confirm, now=LATER)


def read(payment: Payment, answer: Observation | None, number: int = 7, **more: object) -> Payment:
    values = {"asked_at": LATER, "attempt": 1, "transaction_id": answer.transaction_id if answer else None, **more}
    reading = Reading(number=number, answer=answer, **values)  # type: ignore[arg-type]
    return decide_reading(payment, reading, lag=LAG, now=LATER).payment


def one(payment: Payment, transaction_id: str = "tx") -> Charge:
    found = payment.charge(transaction_id)
    assert found is not None
    return found


# ── hints ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_believed_hint_moves_the_charge_it_knows() -> None:
    """What was known of it stays."""
    dated = PAGE.with_charge(charge(ChargeState.PENDING, recheck_after=NOW, reading_number=4))
    moved = hint(dated, says(Signal.AUTHORIZED))
    assert (moved.verdict, moved.ask, moved.reason) == (Verdict.APPLIED, None, "pending -> authorized")
    assert one(moved.payment).reading_number == 4
    assert one(moved.payment).authorized_minor == WHOLE


def test_a_question_takes_the_next_number() -> None:
    asked = hint(attrs.evolve(PENDING, reading_number=4), says(Signal.EXPIRED))
    assert (asked.verdict, asked.ask, asked.payment.reading_number) == (Verdict.WAITING, 5, 5)
    assert asked.payment == attrs.evolve(PENDING, reading_number=5)


def test_a_word_nobody_knows_is_kept_and_changes_nothing() -> None:
    unknown = attrs.evolve(says(Signal.SETTLED), meaning=Unknown("frozen"))
    assert hint(PENDING, unknown) == HintDecision(PENDING, Verdict.STALE, "unknown status word")


def test_a_hint_with_another_amount_asks_and_calls_a_person() -> None:
    """Midtrans signs the amount, so the hint alone may do that."""
    asked = hint(PENDING, says(Signal.SETTLED, amount=rupiah(1)))
    assert asked.verdict is Verdict.WAITING
    (opened,) = asked.payment.cases
    assert opened == case(
        CaseKind.AMOUNT_MISMATCH,
        opened_at=LATER,
        evidence={"owed": "100000 IDR", "said": "1 IDR", "merchant": "not named", "status": "settled"},
    )
    assert asked.payment.paid_by is None


def test_a_hint_with_another_currency_or_merchant_only_asks() -> None:
    """Neither is signed: a stranger who rewrites them must not call anybody in."""
    named = with_page(PENDING, merchant_id="G1")
    for forged in (says(Signal.SETTLED, amount=Money.of(WHOLE, "USD")), says(Signal.SETTLED, merchant_id="G2")):
        asked = hint(named, forged)
        assert (asked.verdict, asked.payment.cases) == (Verdict.WAITING, ())


def test_a_reading_with_another_merchant_says_which_in_the_evidence() -> None:
    named = with_page(PENDING, merchant_id="G1")
    assert read(named, says(Signal.SETTLED, merchant_id="G2")).cases[0].evidence == {
        "owed": "100000 IDR",
        "said": "100000 IDR",
        "merchant": "G2",
        "status": "settled",
    }


def test_the_evidence_says_when_nothing_was_said() -> None:
    silent = says(Signal.SETTLED, amount=None)
    assert hint(PAGE, silent).payment.cases[0].evidence["said"] == "nothing"


def test_declines_without_end_end_as_stale() -> None:
    payment = PAGE
    for number in range(CHARGES_MAX):
        payment = payment.with_charge(charge(ChargeState.DENIED, f"t-{number}"))
    told = hint(payment, says(Signal.DENIED, "t-1")).payment
    full = hint(payment, says(Signal.DENIED, "one-more"))
    assert (full.verdict, full.payment) == (Verdict.STALE, payment)
    assert hint(payment, says(Signal.AUTHORIZED, "held")).verdict is Verdict.APPLIED, "money is always recorded"
    assert hint(told, says(Signal.DENIED, "t-1")).verdict is Verdict.STALE, "why it was declined is known by now"


# ── money a hint brings ───────────────────────────────────────────────────────────────────────────────────────────────
def test_a_try_that_is_known_moves_on_however_many_there_are() -> None:
    full = PENDING
    for number in range(CHARGES_MAX):
        full = full.with_charge(charge(ChargeState.DENIED, f"t-{number}"))
    assert hint(full, says(Signal.DENIED)).verdict is Verdict.APPLIED
    assert one(read(full, says(Signal.DENIED))).state is ChargeState.DENIED


def test_a_hint_of_a_refund_is_believed_where_the_signature_covers_it() -> None:
    told = hint(PAID, says(Signal.SETTLED, refunded=rupiah(40_000)))
    assert told.verdict is Verdict.APPLIED
    assert one(told.payment).refunded_minor == 4_000_000
    assert hint(told.payment, says(Signal.SETTLED, refunded=rupiah(40_000))).verdict is Verdict.STALE


@pytest.mark.parametrize("some", ["refunded_unknown", "charged_back_unknown"])
def test_a_hint_that_does_not_say_how_much_asks(some: str) -> None:
    asked = hint(PAID, says(Signal.SETTLED, **{some: True}))
    assert (asked.verdict, asked.payment.cases) == (Verdict.WAITING, ())


def test_with_confirm_always_a_hint_of_a_refund_asks() -> None:
    told = says(Signal.SETTLED, refunded=rupiah(40_000))
    assert hint(PAID, told, Confirm.ALWAYS).verdict is Verdict.WAITING


def test_a_hint_of_money_given_back_of_a_charge_we_do_not_know_is_stale() -> None:
    about_nothing = attrs.evolve(says(Signal.SETTLED, refunded=rupiah(1)), meaning=Nothing("refund"))
    assert hint(PAGE, about_nothing).verdict is Verdict.STALE


def test_a_body_that_only_speaks_of_a_refund_moves_the_refund() -> None:
    report = RefundReport("k-1", rupiah(40_000), RefundNews.CONFIRMED)
    told = attrs.evolve(says(Signal.SETTLED, refunds=(report,)), meaning=Nothing("refund"))
    asked = PAID.with_refund(refund(RefundState.SENT))
    moved = hint(asked, told).payment
    assert [made.state for made in moved.refunds] == [RefundState.CONFIRMED]
    assert one(moved).refunded_minor == 4_000_000


CAME_BACK = PAID.with_refund(refund(RefundState.RETURNED))
WENT_THROUGH = RefundReport("k-1", rupiah(40_000), RefundNews.CONFIRMED)


def test_an_old_hint_of_a_refund_that_has_come_back_since_counts_nothing() -> None:
    """Stripe promises no order: that it went through may be told after it failed."""
    late = attrs.evolve(says(Signal.SETTLED, refunds=(WENT_THROUGH,)), meaning=Nothing("refund.created"))
    told = hint(CAME_BACK, late)
    assert (told.verdict, told.payment) == (Verdict.STALE, CAME_BACK)
    assert not still_wants(CAME_BACK, says(Signal.SETTLED, refunds=(WENT_THROUGH,)))


def test_an_old_reading_of_a_refund_that_has_come_back_since_counts_nothing() -> None:
    """And it confirms no other refund by a total that is not true."""
    waiting = CAME_BACK.with_refund(refund(RefundState.SENT, key="k-2"))
    after = read(waiting, says(Signal.SETTLED, refunds=(WENT_THROUGH,)))
    assert one(after).refunded_minor == 0
    assert [made.state for made in after.refunds] == [RefundState.RETURNED, RefundState.SENT]


def test_another_refund_beside_one_that_came_back_counts() -> None:
    other = RefundReport("k-2", rupiah(10_000), RefundNews.CONFIRMED)
    told = attrs.evolve(says(Signal.SETTLED, refunds=(WENT_THROUGH, other)), meaning=Nothing("refund.updated"))
    assert one(hint(CAME_BACK, told).payment).refunded_minor == 1_000_000


# ── whether a reading was behind a hint ───────────────────────────────────────────────────────────────────────────────
DISPUTED = with_cases(PAID, case(CaseKind.DISPUTE_OPEN))
TAKEN = DISPUTED.with_charge(charge(charged_back_minor=4_000_000))
DECIDED = with_cases(PAID, case(CaseKind.DISPUTE_OPEN, decision=CaseDecision.DISMISS))


@pytest.mark.parametrize(
    ("news", "wanting", "content"),
    [
        (DisputeNews.OPENED, [PAID], [DISPUTED, TAKEN, DECIDED]),
        (DisputeNews.WITHDRAWN, [PAID, DISPUTED, DECIDED], [TAKEN]),
        (DisputeNews.LOST, [PAID, DISPUTED, DECIDED], [TAKEN]),
        (DisputeNews.REINSTATED, [DISPUTED, TAKEN], [PAID, DECIDED]),
        (DisputeNews.WON, [DISPUTED, TAKEN], [PAID, DECIDED]),
        (DisputeNews.INQUIRY, [], [PAID, DISPUTED, TAKEN]),
    ],
)
def test_a_reading_that_does_not_show_a_dispute_yet_is_behind_the_hint(
    news: DisputeNews, wanting: list[Payment], content: list[Payment]
) -> None:
    """A dispute is not polled: what one lagging answer denied would never be heard of again."""
    told = attrs.evolve(says(Signal.SETTLED, dispute=Dispute(news, rupiah(40_000))), meaning=Nothing("dispute"))
    assert [still_wants(payment, told) for payment in wanting] == [True] * len(wanting)
    assert [still_wants(payment, told) for payment in content] == [False] * len(content)


def disputed(payment: Payment, news: DisputeNews, name: str, number: int, taken: int = 0) -> Payment:
    dispute = Dispute(news, rupiah(40_000), name)
    answer = says(Signal.SETTLED, dispute=dispute, charged_back=rupiah(taken) if taken else None)
    return read(payment, answer, number)


def test_another_dispute_about_the_same_charge_is_another_case() -> None:
    """Each has an id of its own at Stripe, and evidence of its own to send in time."""
    first = disputed(PAID, DisputeNews.WITHDRAWN, "dp_1", 7, taken=40_000)
    assert kinds(first) == ["dispute_open", "charged_back"]
    won = disputed(first, DisputeNews.WON, "dp_1", 8)
    assert kinds(won) == []
    assert kinds(disputed(won, DisputeNews.OPENED, "dp_1", 9)) == [], "a message from before"
    second = disputed(won, DisputeNews.WITHDRAWN, "dp_2", 9, taken=40_000)
    assert kinds(second) == ["dispute_open", "charged_back"]
    assert [one.evidence["dispute"] for one in second.cases if one.kind is CaseKind.DISPUTE_OPEN] == ["dp_1", "dp_2"]
    assert kinds(disputed(second, DisputeNews.WITHDRAWN, "dp_2", 10, taken=40_000)) == kinds(second), "once"


def test_a_dispute_beside_one_that_is_open_is_another_case() -> None:
    """Whoever decides the first has not seen the second, which has a time of its own to be answered in."""
    first = disputed(PAID, DisputeNews.WITHDRAWN, "dp_1", 7, taken=40_000)
    both = disputed(first, DisputeNews.OPENED, "dp_2", 8, taken=40_000)
    assert kinds(both) == ["dispute_open", "charged_back", "dispute_open"]
    assert kinds(disputed(both, DisputeNews.WITHDRAWN, "dp_1", 9, taken=40_000)) == kinds(both), "each once"
    assert kinds(disputed(both, DisputeNews.WON, "dp_2", 9)) == [], "an answer names one that is open, while one is"


def test_a_charge_back_somebody_decided_on_is_not_opened_again_by_the_same_money() -> None:
    decided = with_cases(
        TAKEN, case(CaseKind.CHARGED_BACK, decision=CaseDecision.DISMISS, decided_by="operator:olivia")
    )
    assert kinds(disputed(decided, DisputeNews.LOST, "dp_1", 7, taken=40_000)) == []


def test_a_message_about_a_dispute_nobody_was_told_of_wants_to_be_heard_beside_one_that_is_known() -> None:
    known = with_cases(TAKEN, case(CaseKind.DISPUTE_OPEN, evidence={"dispute": "dp_1"}))
    told = says(Signal.SETTLED, dispute=Dispute(DisputeNews.OPENED, rupiah(1), "dp_2"))
    told = attrs.evolve(told, meaning=Nothing("charge.dispute.created"))
    assert still_wants(known, told)
    assert not still_wants(known, attrs.evolve(told, dispute=Dispute(DisputeNews.OPENED, rupiah(1), "dp_1")))


def test_a_dispute_that_says_no_amount_wants_any() -> None:
    told = attrs.evolve(says(Signal.SETTLED, dispute=Dispute(DisputeNews.LOST, None)), meaning=Nothing("dispute"))
    assert still_wants(PAID, told)
    assert not still_wants(PAID.with_charge(charge(charged_back_minor=1)), told)


def test_a_void_we_asked_for_leaves_its_hint_nothing_to_want() -> None:
    """The charge stays captured, all of it refunded."""
    voided = charge(ChargeState.CAPTURED, cancel_asked=True, refunded_minor=WHOLE)
    said = says(Signal.CANCELLED)
    assert not still_wants(PAGE.with_charge(voided), said)
    assert still_wants(PAGE.with_charge(attrs.evolve(voided, cancel_asked=False)), said)
    assert still_wants(PAGE.with_charge(attrs.evolve(voided, refunded_minor=WHOLE - 1)), said)
    assert still_wants(PAGE.with_charge(voided), says(Signal.DENIED))


@pytest.mark.parametrize("state", [ChargeState.PENDING, ChargeState.CHALLENGED, ChargeState.AUTHORIZED])
def test_a_try_we_asked_to_cancel_is_asked_about_until_the_gateway_bears_it_out(state: ChargeState) -> None:
    """Found by thirty thousand worlds: one answer behind the hint, then one that showed money that was void by then."""
    asked = PAGE.with_charge(charge(state, captured_minor=0, cancel_asked=True))
    assert still_wants(asked, says(Signal.CANCELLED))
    assert not still_wants(PAGE.with_charge(charge(ChargeState.CANCELLED, cancel_asked=True)), says(Signal.CANCELLED))


def test_a_refund_of_an_unknown_amount_is_asked_about_until_a_person_is_called() -> None:
    some = says(Signal.SETTLED, refunded_unknown=True)
    assert still_wants(PAID, some)
    assert not still_wants(with_cases(PAID, case(CaseKind.REFUND_UNKNOWN)), some)
    assert still_wants(with_cases(PAID, case(CaseKind.REFUND_UNKNOWN, transaction_id="ty")), some)
    assert still_wants(with_cases(PAID, case(CaseKind.OVERDRAWN)), some)


def test_a_word_nobody_knows_wants_nothing() -> None:
    assert not still_wants(PAID, attrs.evolve(says(Signal.SETTLED), meaning=Unknown("frozen")))


# ── what a person accepted ────────────────────────────────────────────────────────────────────────────────────────────
def accepted(payment: Payment) -> Payment:
    return plan_decision(payment, len(payment.cases), CaseDecision.ACCEPT, "ok", by="bob", now=NOW, deadline=LATER)


def waits_for(whole: int) -> Payment:
    """A try that a person accepted for this amount, before it was paid."""
    return accepted(read(PENDING, says(Signal.PENDING, amount=rupiah(whole)), number=5))


def test_what_was_accepted_pays_and_any_other_amount_is_another_case() -> None:
    """99,000 were accepted, and one rupiah comes."""
    assert read(waits_for(99_000), says(Signal.SETTLED, amount=rupiah(99_000))).paid_by == "tx"
    assert read(waits_for(99_000), says(Signal.SETTLED, amount=None)).paid_by == "tx"
    less = read(waits_for(99_000), says(Signal.SETTLED, amount=rupiah(1)))
    assert (less.paid_by, one(less).accepted, kinds(less)) == (None, False, ["amount_mismatch"])
    assert (less.cases[1].number, less.cases[1].evidence["said"]) == (2, "1 IDR")
    again = accepted(less)
    assert (again.paid_by, again.owed) == ("tx", rupiah(1))


def test_what_was_accepted_and_then_differed_is_asked_about_anew_when_it_is_back() -> None:
    less = read(waits_for(99_000), says(Signal.PENDING, amount=rupiah(1)), number=7)
    seen = plan_decision(less, 2, CaseDecision.DISMISS, "no", by="bob", now=NOW, deadline=LATER)
    assert kinds(read(seen, says(Signal.PENDING, amount=rupiah(1)), number=8)) == []
    back = read(seen, says(Signal.PENDING, amount=rupiah(99_000)), number=8)
    assert (kinds(back), one(back).is_good) == (["amount_mismatch"], False)


def test_what_agrees_anyway_needs_no_acceptance() -> None:
    """The very amount, or a smaller capture of what was held."""
    right = read(waits_for(99_000), says(Signal.SETTLED))
    assert (right.paid_by, right.owed, kinds(right)) == ("tx", rupiah(100_000), [])
    held = accepted(read(PENDING, says(Signal.AUTHORIZED, amount=rupiah(99_000)), number=5))
    partly = read(held, says(Signal.CAPTURED, amount=rupiah(60_000)))
    assert (partly.paid_by, partly.owed, kinds(partly)) == ("tx", rupiah(60_000), [])


@pytest.mark.parametrize(("whole", "pays"), [(120_000, True), (110_000, True), (111_000, False)])
def test_of_an_accepted_hold_what_we_asked_to_capture_is_accepted_too(whole: int, pays: bool) -> None:
    """More than is owed was held, and a person accepted that."""
    held = accepted(read(PENDING, says(Signal.AUTHORIZED, amount=rupiah(120_000)), number=5))
    wished, _ = plan_capture(held, rupiah(110_000), "bob", NOW)
    taken = read(wished, says(Signal.CAPTURED, amount=rupiah(whole)))
    assert (taken.paid_by == "tx", kinds(taken)) == (pays, [] if pays else ["amount_mismatch"])


def test_another_fault_than_the_accepted_one_is_another_case() -> None:
    named = waits_for(99_000)
    named = with_page(named, merchant_id="G1")
    both = read(named, says(Signal.SETTLED, amount=rupiah(99_000), merchant_id="G2"))
    assert (both.paid_by, kinds(both)) == (None, ["amount_mismatch", "merchant_mismatch"])


@pytest.mark.parametrize(("merchant", "pays"), [("G2", True), (None, True), ("G3", False), ("G1", True)])
def test_another_merchant_than_the_accepted_one_is_another_case(merchant: str | None, pays: bool) -> None:
    named = with_page(PENDING, merchant_id="G1")
    pending = accepted(read(named, says(Signal.PENDING, merchant_id="G2"), number=5))
    then = read(pending, says(Signal.SETTLED, merchant_id=merchant))
    assert (then.paid_by == "tx", kinds(then)) == (pays, [] if pays else ["merchant_mismatch"])


def test_a_hint_that_differs_from_what_was_accepted_asks_and_calls_nobody() -> None:
    """It may be older than what was accepted; the gateway says if the charge has changed."""
    asked = hint(waits_for(99_000), says(Signal.SETTLED, amount=rupiah(1)))
    assert (asked.verdict, kinds(asked.payment)) == (Verdict.WAITING, [])


def test_another_difference_than_the_dismissed_one_is_another_case_and_the_same_is_none() -> None:
    def seen(payment: Payment) -> Payment:
        return plan_decision(payment, 1, CaseDecision.DISMISS, "no", by="bob", now=NOW, deadline=LATER)

    amount = seen(read(PENDING, says(Signal.PENDING, amount=rupiah(99_000)), number=5))
    for message in (says(Signal.SETTLED, amount=rupiah(99_000)), says(Signal.SETTLED, amount=None)):
        assert kinds(read(amount, message)) == []
    assert kinds(read(amount, says(Signal.SETTLED, amount=rupiah(1)))) == ["amount_mismatch"]
    named = with_page(PENDING, merchant_id="G1")
    merchant = seen(read(named, says(Signal.PENDING, merchant_id="G2"), number=5))
    for message in (says(Signal.SETTLED, merchant_id="G2"), says(Signal.SETTLED)):
        assert kinds(read(merchant, message)) == []
    assert kinds(read(merchant, says(Signal.SETTLED, merchant_id="G3"))) == ["merchant_mismatch"]
    currency = seen(read(PENDING, says(Signal.PENDING, amount=Money.of(WHOLE, "USD")), number=5))
    assert kinds(read(currency, says(Signal.SETTLED, amount=Money.of(WHOLE, "EUR")))) == ["currency_mismatch"]


# ── readings ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_reading_numbers_the_charge_and_forgives_a_contradiction() -> None:
    doubtful = PAGE.with_charge(charge(ChargeState.PENDING, contradicted=True, reading_number=6))
    heard = one(read(doubtful, says(Signal.PENDING)))
    assert (heard.reading_number, heard.contradicted) == (7, False)


def test_a_reading_of_the_same_number_has_spoken_already() -> None:
    spoken = PAGE.with_charge(charge(ChargeState.PENDING, reading_number=7))
    assert one(read(spoken, says(Signal.SETTLED))).state is ChargeState.PENDING
    assert one(read(spoken, says(Signal.SETTLED), number=8)).state is ChargeState.SETTLED


def test_an_answer_to_a_question_by_order_id_may_be_about_any_of_its_tries() -> None:
    assert read(PAGE, says(Signal.SETTLED, "any"), transaction_id=None).paid_by == "any"
    foreign = says(Signal.SETTLED, provider_order_id="tx")
    assert read(PAGE, foreign, transaction_id=None) == PAGE, "only a question by transaction is answered so"


def test_a_word_nobody_knows_moves_nothing_and_is_no_end() -> None:
    unknown = attrs.evolve(says(Signal.SETTLED), meaning=Unknown("frozen"))
    doubted = with_page(PENDING, doubt=CloseReason.EXPIRED)
    assert read(doubted, unknown, transaction_id=None) == doubted


def test_a_contradiction_of_a_charge_we_do_not_know_is_none() -> None:
    full = PAGE
    for number in range(CHARGES_MAX):
        full = full.with_charge(charge(ChargeState.DENIED, f"t-{number}"))
    assert read(full, says(Signal.PENDING, "one-more")) == full


def test_some_given_back_and_nobody_says_how_much_is_a_case() -> None:
    (opened,) = read(PAID, says(Signal.SETTLED, refunded_unknown=True)).cases
    evidence = {"status": "settled", "why": "some of it was given back, and nobody says how much"}
    assert opened == case(CaseKind.REFUND_UNKNOWN, opened_at=LATER, evidence=evidence)
    assert read(PARTLY, says(Signal.SETTLED, refunded_unknown=True)).cases == (), "we know how much"
    assert read(HELD, says(Signal.AUTHORIZED, refunded_unknown=True)).cases == (), "nothing was taken"


# ── asking once more ──────────────────────────────────────────────────────────────────────────────────────────────────
RECHECK = {"due": ChargeDue.RECHECK, "check_at": LATER + LAG, "recheck_after": LATER + LAG, "checks": 0}


@pytest.mark.parametrize(
    ("was", "says_now"),
    [
        (charge(ChargeState.EXPIRED), Signal.SETTLED),
        (charge(ChargeState.DENIED), Signal.AUTHORIZED),
        (charge(ChargeState.REVERSED, captured_minor=WHOLE, reversed_minor=WHOLE), Signal.SETTLED),
        (charge(ChargeState.CAPTURED), Signal.CANCELLED),
    ],
    ids=["money after an end", "a hold after an end", "money that is back", "money that is gone"],
)
def test_a_surprising_answer_is_asked_for_once_more_after_the_lag(was: Charge, says_now: Signal) -> None:
    heard = one(read(PAGE.with_charge(attrs.evolve(was, checks=3)), says(says_now)))
    assert {name: getattr(heard, name) for name in RECHECK} == RECHECK


def test_what_is_charged_back_is_asked_for_again_whichever_way_it_moved() -> None:
    """Found by seventy thousand worlds: an answer behind the newest dispute told that its money was back."""
    taken = says(
        Signal.SETTLED, charged_back=rupiah(33_333), dispute=Dispute(DisputeNews.WITHDRAWN, rupiah(33_333), "dp_2")
    )
    back = says(Signal.SETTLED, charged_back=rupiah(0), dispute=Dispute(DisputeNews.WON, rupiah(100_000), "dp_1"))
    disputed = PAID.with_charge(charge(charged_back_minor=3_333_300))
    for before, answer, left in ((PAID, taken, 6_666_700), (disputed, back, WHOLE)):
        heard = one(read(before, answer))
        assert (heard.left_minor, heard.due, heard.check_at) == (left, ChargeDue.RECHECK, LATER + LAG)
    assert one(read(disputed, taken)).due is None, "it did not move"


@pytest.mark.parametrize(
    ("was", "says_now"),
    [
        (ChargeState.PENDING, Signal.SETTLED),
        (ChargeState.EXPIRED, Signal.EXPIRED),
        (ChargeState.REVERSED, Signal.DENIED),
    ],
)
def test_an_answer_nobody_wonders_about_is_not(was: ChargeState, says_now: Signal) -> None:
    assert one(read(PAGE.with_charge(charge(was)), says(says_now))).due is None


SURPRISED = charge(
    due=ChargeDue.RECHECK,
    check_at=LATER,
    recheck_after=LATER,
    checks=2,
    capture_minor=5,
    asked_by="operator:bob",
    asked_at=NOW,
)


def test_the_answer_that_was_waited_for_ends_the_waiting() -> None:
    """What was asked to be captured stays: the amount of later messages is compared with it."""
    done = one(read(PAID.with_charge(SURPRISED), says(Signal.SETTLED)))
    assert (done.due, done.check_at, done.recheck_after, done.checks) == (None, None, None, 0)
    assert (done.asked_by, done.asked_at) == (None, None)
    assert done.capture_minor == 5


def test_an_answer_to_a_question_that_left_too_early_ends_nothing() -> None:
    early = LATER - timedelta(microseconds=1)
    waiting = one(read(PAID.with_charge(SURPRISED), says(Signal.SETTLED), asked_at=early))
    assert waiting == attrs.evolve(SURPRISED, reading_number=7)


def test_a_wish_that_came_true_wants_nothing_more() -> None:
    wished = HELD.with_charge(
        charge(ChargeState.AUTHORIZED, due=ChargeDue.CAPTURE, asked_by="operator:bob", check_at=LATER, checks=3)
    )
    done = one(read(wished, says(Signal.CAPTURED)))
    assert (done.due, done.asked_by, done.check_at, done.checks) == (None, None, None, 0)
    waits = one(read(wished, says(Signal.AUTHORIZED)))
    assert (waits.due, waits.asked_by, waits.check_at, waits.checks) == (ChargeDue.CAPTURE, "operator:bob", LATER, 3)


def test_an_overtaken_answer_that_differs_is_asked_for_at_once() -> None:
    spoken = PAGE.with_charge(charge(ChargeState.PENDING, reading_number=9))
    heard = one(read(spoken, says(Signal.SETTLED)))
    assert heard == attrs.evolve(one(spoken), due=ChargeDue.RECHECK, check_at=LATER, recheck_after=LATER, checks=0)


def test_an_overtaken_answer_differs_also_in_its_amounts() -> None:
    spoken = PAID.with_charge(charge(reading_number=9))
    assert one(read(spoken, says(Signal.SETTLED, refunded=rupiah(1)))).due is ChargeDue.RECHECK
    assert one(read(spoken, says(Signal.PENDING))).due is ChargeDue.RECHECK, "a contradiction differs"
    assert read(spoken, says(Signal.SETTLED)) == spoken


def test_what_is_due_already_is_asked_about_anyway() -> None:
    busy = PAGE.with_charge(charge(ChargeState.PENDING, reading_number=9, due=ChargeDue.CANCEL, check_at=NOW))
    assert read(busy, says(Signal.SETTLED)) == busy


def test_a_recheck_without_an_answer_is_due_later_each_time_and_ends() -> None:
    for checks, pause in enumerate(RETRY_SCHEDULE):
        waiting = PAID.with_charge(attrs.evolve(SURPRISED, checks=checks))
        again = one(recheck_again(waiting, "tx", LATER))
        assert again == attrs.evolve(SURPRISED, check_at=LATER + pause, checks=checks + 1)
    tired = one(recheck_again(PAID.with_charge(attrs.evolve(SURPRISED, checks=len(RETRY_SCHEDULE))), "tx", LATER))
    assert (tired.due, tired.check_at, tired.checks, tired.recheck_after) == (None, None, 0, None)


def test_only_a_recheck_whose_time_has_come_is_tried_again() -> None:
    cancelling = PAGE.with_charge(charge(ChargeState.PENDING, due=ChargeDue.CANCEL, check_at=NOW))
    early = PAID.with_charge(attrs.evolve(SURPRISED, recheck_after=LATER + LEASE))
    for payment, named in ((cancelling, "tx"), (early, "tx"), (PAID, "tx"), (PAID, "nobody")):
        assert recheck_again(payment, named, LATER) == payment
    undated = PAID.with_charge(attrs.evolve(SURPRISED, recheck_after=None))
    assert one(recheck_again(undated, "tx", LATER)).checks == 3


# ── contradictions ────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_contradiction_is_a_lag_first() -> None:
    heard = read(PAID, says(Signal.PENDING))
    assert one(heard) == attrs.evolve(one(PAID), reading_number=7, contradicted=True, **RECHECK)
    assert heard.cases == ()


def test_a_gateway_that_insists_after_its_lag_is_a_case() -> None:
    insisted = PAID.with_charge(attrs.evolve(SURPRISED, contradicted=True))
    heard = read(insisted, says(Signal.PENDING))
    evidence = {"known": "settled", "reading": "pending", "number": "7"}
    assert heard.cases == (case(CaseKind.CONTRADICTION, opened_at=LATER, evidence=evidence),)
    assert (one(heard).state, one(heard).due, one(heard).reading_number) == (ChargeState.SETTLED, None, 7)


def test_a_gateway_that_insists_within_its_lag_is_waited_for() -> None:
    insisted = PAID.with_charge(attrs.evolve(SURPRISED, contradicted=True))
    heard = read(insisted, says(Signal.PENDING), asked_at=LATER - timedelta(microseconds=1))
    assert heard == insisted.with_charge(attrs.evolve(SURPRISED, contradicted=True, reading_number=7))


# ── the page behind an ended try ──────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("word", "reason"), [(Signal.EXPIRED, CloseReason.EXPIRED), (Signal.CANCELLED, CloseReason.CANCELLED)]
)
def test_an_end_that_may_be_the_pages_is_asked_about_by_its_order_id(word: Signal, reason: CloseReason) -> None:
    doubted = with_page(PENDING, checks=4)
    page = read(doubted, says(word, ends_page=True)).attempt(1)
    assert page == attrs.evolve(doubted.attempt(1), doubt=reason, check_at=LATER + LEASE, checks=0)


@pytest.mark.parametrize(
    ("payment", "said"),
    [
        (PENDING, says(Signal.EXPIRED)),
        (PENDING, says(Signal.SETTLED, ends_page=True)),
        (PAGE.with_charge(charge(ChargeState.EXPIRED)), says(Signal.EXPIRED, ends_page=True)),
        (PAGE.with_charge(charge(ChargeState.PENDING, cancel_asked=True)), says(Signal.CANCELLED, ends_page=True)),
        (PAGE.with_charge(charge(ChargeState.PENDING, had_money=True)), says(Signal.EXPIRED, ends_page=True)),
        (
            with_page(PENDING, state=AttemptState.CLOSING, closing=CloseReason.PAID),
            says(Signal.EXPIRED, ends_page=True),
        ),
        (DEAD.with_charge(charge(ChargeState.PENDING)), says(Signal.EXPIRED, ends_page=True)),
        (PAID.with_charge(charge(ChargeState.PENDING, "ty")), says(Signal.EXPIRED, "ty", ends_page=True)),
    ],
    ids=["only a try", "no end", "known already", "we asked", "had money", "closing", "dead", "paid"],
)
def test_an_end_that_is_not_the_pages_raises_no_doubt(payment: Payment, said: Observation) -> None:
    assert read(payment, said).attempt(1).doubt is None


DOUBTED = with_page(PAGE.with_charge(charge(ChargeState.EXPIRED, reading_number=6)), doubt=CloseReason.EXPIRED)


@pytest.mark.parametrize("number", [6, 7])
def test_a_doubt_is_settled_by_an_answer_no_older_than_what_we_know(number: int) -> None:
    page = read(DOUBTED, None, number).attempt(1)
    assert (page.state, page.closing, page.closing_by) == (AttemptState.CLOSING, CloseReason.EXPIRED, "gateway")
    assert read(DOUBTED, None, 5) == DOUBTED


def test_a_question_about_one_try_settles_no_doubt_about_the_page() -> None:
    assert read(DOUBTED, None, transaction_id="tx") == DOUBTED


@pytest.mark.parametrize("state", [ChargeState.PENDING, ChargeState.AUTHORIZED])
def test_another_try_that_lives_keeps_the_page(state: ChargeState) -> None:
    alive = DOUBTED.with_charge(charge(state, "ty"))
    page = read(alive, None).attempt(1)
    assert (page.doubt, page.state) == (None, AttemptState.OPEN)


def test_money_found_by_the_question_keeps_the_page_from_closing() -> None:
    found = read(DOUBTED, says(Signal.SETTLED, "ty"), transaction_id=None)
    assert (found.paid_by, found.attempt(1).state, kinds(found)) == ("ty", AttemptState.SPENT, [])
