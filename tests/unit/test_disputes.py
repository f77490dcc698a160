"""A dispute moves money in several messages of any order: each is asked about, and the gateway's answer counts."""

from datetime import timedelta

import attrs
import pytest

from payments_core import Confirm, Observation, Reading, Signal, Verdict, decide_hint, decide_reading
from payments_core.charges import dispute_news
from payments_core.decide import HintDecision
from payments_core.limits import LEASE
from payments_core.observations import Dispute, DisputeNews, Nothing, RefundNews, RefundReport
from payments_core.payment import AttemptState, CaseDecision, CloseReason, Decline, Payment
from payments_core.states import CaseKind, ChargeState
from payments_core.testing.samples import LATER, NOW
from unit.values import DEAD, PAGE, PAID, WHOLE, case, charge, kinds, says, with_cases, with_page
from unit.world import rupiah

PENDING = PAGE.with_charge(charge(ChargeState.PENDING))
OVER = (DisputeNews.INQUIRY, DisputeNews.REINSTATED, DisputeNews.WON, DisputeNews.LOST)


def disputed(news: DisputeNews, minor: int | None = WHOLE, **more: object) -> Observation:
    amount = None if minor is None else rupiah(minor // 100)
    return says(Signal.SETTLED, dispute=Dispute(news, amount), **more)


def hint(payment: Payment, message: Observation, **more: object) -> HintDecision:
    return decide_hint(payment, message, confirm=Confirm.SIGNATURE, now=LATER, **more)  # type: ignore[arg-type]


def read(payment: Payment, answer: Observation | None, transaction_id: str | None = "tx", number: int = 7) -> Payment:
    reading = Reading(number=number, asked_at=LATER, attempt=1, transaction_id=transaction_id, answer=answer)
    return decide_reading(payment, reading, lag=LEASE, now=LATER).payment


# ── a hint of a dispute, of money, of a decline ───────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("news", DisputeNews)
@pytest.mark.parametrize("payment", [PAID, PENDING, PAGE], ids=["paid", "pending", "unknown"])
def test_every_dispute_is_asked_about(payment: Payment, news: DisputeNews) -> None:
    """Where the signature covers everything too: what it took or gave back is told by several messages."""
    told = attrs.evolve(disputed(news), meaning=Nothing("charge.dispute"))
    asked = hint(payment, told)
    assert (asked.verdict, asked.ask) == (Verdict.WAITING, payment.reading_number + 1)


@pytest.mark.parametrize("payment", [PENDING, PAGE], ids=["pending", "unknown"])
def test_a_refund_of_money_we_have_not_seen_is_asked_about(payment: Payment) -> None:
    report = RefundReport("re_1", rupiah(10_000), RefundNews.CONFIRMED)
    told = attrs.evolve(says(Signal.SETTLED, refunds=(report,)), meaning=Nothing("refund.created"))
    assert hint(payment, told).verdict is Verdict.WAITING


def test_a_word_about_nothing_of_a_charge_we_do_not_know_is_no_news() -> None:
    told = attrs.evolve(says(Signal.SETTLED), meaning=Nothing("charge.updated"))
    assert hint(PAGE, told) == HintDecision(PAGE, Verdict.STALE, "nothing new")


def test_a_declined_try_on_a_page_that_lives_is_shown_to_the_buyer() -> None:
    """The charge stays what it was; the refusal he saw last is told."""
    told = attrs.evolve(says(Signal.PENDING, decline_code="insufficient_funds"), meaning=Nothing("payment_failed"))
    heard = hint(PENDING, told)
    assert (heard.verdict, heard.reason) == (Verdict.APPLIED, "a try was declined")
    (one,) = heard.payment.charges
    assert one.state is ChargeState.PENDING
    assert one.decline is not None
    assert (one.decline.code, one.decline.at) == ("insufficient_funds", LATER)
    assert hint(heard.payment, told) == HintDecision(heard.payment, Verdict.STALE, "nothing new"), "told once"


@pytest.mark.parametrize(
    ("code", "seconds", "is_news"),
    [("do_not_honor", 1, True), ("no_funds", 1, False), ("do_not_honor", 0, False), ("do_not_honor", -1, False)],
)
def test_a_refusal_is_told_when_it_is_another_and_a_later_one(code: str, seconds: int, is_news: bool) -> None:
    """Messages overtake each other; the buyer sees the refusal he met last."""
    known = PAGE.with_charge(charge(ChargeState.PENDING, decline=Decline("no_funds", "card", NOW)))
    at = NOW + timedelta(seconds=seconds)
    told = attrs.evolve(says(Signal.PENDING, decline_code=code, occurred_at=at), meaning=Nothing("payment_failed"))
    (one,) = hint(known, told).payment.charges
    assert one.decline == (Decline(code, "qris", at) if is_news else Decline("no_funds", "card", NOW))


def test_money_that_comes_with_a_total_of_refunds_that_may_still_fail_is_asked_about() -> None:
    """It would be counted as given back, and nothing would un-count it when the bank sends it back (world 6618)."""
    news = says(Signal.SETTLED, refunded=rupiah(40_000), refunded_unknown=True)
    asked = hint(PENDING, news)
    assert (asked.verdict, asked.payment.charges) == (Verdict.WAITING, PENDING.charges)


def test_money_given_back_is_believed_where_the_signature_covers_it() -> None:
    report = RefundReport("re_1", rupiah(10_000), RefundNews.CONFIRMED)
    told = attrs.evolve(says(Signal.SETTLED, refunds=(report,)), meaning=Nothing("refund.updated"))
    heard = hint(PAID, told)
    assert (heard.verdict, heard.reason) == (Verdict.APPLIED, "money given back")
    assert heard.payment.charges[0].refunded_minor == 1_000_000
    assert decide_hint(PAID, told, confirm=Confirm.ALWAYS, now=LATER).verdict is Verdict.WAITING


@pytest.mark.parametrize("message", [says(Signal.SETTLED), says(Signal.SETTLED, provider_order_id=None)])
def test_a_message_of_another_gateway_is_about_no_page_of_this_one(message: Observation) -> None:
    """Ids are unique at one gateway only."""
    foreign = attrs.evolve(message, provider="stripe")
    assert hint(PAID, foreign) == HintDecision(PAID, Verdict.UNMATCHED, "no such attempt")


@pytest.mark.parametrize(
    ("signed", "opened"), [((), []), ((CaseKind.CURRENCY_MISMATCH,), ["currency_mismatch"])], ids=["no", "yes"]
)
def test_a_hint_calls_a_person_for_what_its_signature_covers(signed: tuple[CaseKind, ...], opened: list[str]) -> None:
    """Elsewhere a stranger could keep a buyer from paying by rewriting it."""
    odd = says(
        Signal.SETTLED, amount=attrs.evolve(rupiah(100_000), currency=attrs.evolve(rupiah(1).currency, code="USD"))
    )
    asked = hint(PAGE, odd, signed=signed)
    assert (asked.verdict, kinds(asked.payment)) == (Verdict.WAITING, opened)


# ── what the gateway answers of a dispute ─────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("news", [DisputeNews.OPENED, DisputeNews.WITHDRAWN])
def test_an_open_dispute_is_a_case_of_its_charge(news: DisputeNews) -> None:
    payment = read(PAID, disputed(news, 4_000_000))
    (opened,) = payment.open_cases
    assert (opened.kind, opened.transaction_id, opened.opened_at) == (CaseKind.DISPUTE_OPEN, "tx", LATER)
    assert opened.evidence == {"disputed": str(rupiah(40_000))}


def test_a_dispute_of_an_unknown_amount_says_so() -> None:
    assert read(PAID, disputed(DisputeNews.OPENED, None)).cases[0].evidence == {"disputed": "nobody says how much"}


@pytest.mark.parametrize("news", OVER)
def test_a_dispute_that_is_over_or_was_a_question_waits_for_nobody(news: DisputeNews) -> None:
    """Its gateway closes the case, and the charge-back with it when the money is here."""
    open_cases = (
        case(CaseKind.DISPUTE_OPEN),
        case(CaseKind.CHARGED_BACK, number=2),
        case(CaseKind.OVERDRAWN, number=3),
        case(CaseKind.DISPUTE_OPEN, number=4, transaction_id="another"),
    )
    payment = read(with_cases(PAID, *open_cases), disputed(news))
    assert [(c.kind, c.transaction_id) for c in payment.open_cases] == [
        (CaseKind.OVERDRAWN, "tx"),
        (CaseKind.DISPUTE_OPEN, "another"),
    ]
    closed = payment.cases[0]
    assert (closed.decision, closed.decided_by, closed.decided_at) == (CaseDecision.DISMISS, "gateway", LATER)
    assert closed.note == f"the dispute is over: {news.value}"


@pytest.mark.parametrize(
    ("news", "charged_back", "is_news"),
    [
        (DisputeNews.LOST, 0, True),
        (DisputeNews.LOST, WHOLE - 1, True),
        (DisputeNews.LOST, WHOLE, False),
        (DisputeNews.WITHDRAWN, 1, True),
        (DisputeNews.WON, 1, True),
        (DisputeNews.WON, 0, False),
        (DisputeNews.REINSTATED, WHOLE, True),
    ],
)
def test_a_dispute_is_news_until_all_that_it_moved_is_known(
    news: DisputeNews, charged_back: int, is_news: bool
) -> None:
    known = charge(charged_back_minor=charged_back)
    assert dispute_news(PAID.with_charge(known), known, Dispute(news, rupiah(WHOLE // 100))) is is_news


def test_a_dispute_that_is_lost_leaves_its_charge_back_to_a_person() -> None:
    open_cases = (case(CaseKind.DISPUTE_OPEN), case(CaseKind.CHARGED_BACK, number=2))
    payment = read(with_cases(PAID, *open_cases), disputed(DisputeNews.LOST, charged_back=rupiah(100_000)))
    assert kinds(payment) == ["charged_back"]
    assert payment.charges[0].charged_back_minor == WHOLE


def test_an_answer_about_no_dispute_opens_and_closes_nothing() -> None:
    payment = with_cases(PAID, case(CaseKind.DISPUTE_OPEN))
    assert kinds(read(payment, says(Signal.SETTLED))) == ["dispute_open"]


def test_money_a_dispute_gave_back_is_with_us_again() -> None:
    """An answer about a dispute says what is gone now, which may be less than before; nothing else may say less."""
    taken = PAID.with_charge(charge(charged_back_minor=WHOLE))
    back = read(taken, disputed(DisputeNews.REINSTATED, charged_back=rupiah(30_000)))
    assert back.charges[0].charged_back_minor == 3_000_000
    assert read(taken, disputed(DisputeNews.WON)).charges[0].charged_back_minor == 0
    assert read(taken, says(Signal.SETTLED, charged_back=rupiah(30_000))).charges[0].charged_back_minor == WHOLE


# ── a page that says that it is over, or that it takes no other try ───────────────────────────────────────────────────
@pytest.mark.parametrize("flag", ["ends_page", "uses_up_page"])
def test_the_end_of_a_page_is_believed_on_an_answer_only(flag: str) -> None:
    told = says(Signal.DENIED, **{flag: True})
    assert hint(PENDING, told).verdict is Verdict.WAITING
    assert hint(PENDING, says(Signal.DENIED)).verdict is Verdict.APPLIED


def test_a_page_that_is_said_to_be_over_before_anybody_paid_is_asked_about() -> None:
    waiting = with_page(PAGE, checks=5)
    heard = hint(waiting, says(Signal.EXPIRED, "", ends_page=True))
    assert (heard.verdict, heard.reason) == (Verdict.APPLIED, "the page is asked about")
    doubted = attrs.evolve(waiting.attempt(1), doubt=CloseReason.EXPIRED, check_at=LATER + LEASE, checks=0)
    assert heard.payment == waiting.with_attempt(doubted)


@pytest.mark.parametrize(
    ("payment", "ends_page"),
    [
        (PAGE, False),
        (DEAD, True),
        (with_page(PAGE, state=AttemptState.CLOSING, closing=CloseReason.CANCELLED), True),
    ],
    ids=["not over", "dead", "closing"],
)
def test_nothing_new_is_said_of_a_page_that_is_over_already(payment: Payment, ends_page: bool) -> None:
    told = says(Signal.EXPIRED, "", ends_page=ends_page)
    assert hint(payment, told) == HintDecision(payment, Verdict.STALE, "nothing new")


OVER_UNPAID = attrs.evolve(says(Signal.EXPIRED, "", ends_page=True), meaning=Nothing("the session has expired"))
"""Of a page on which nobody has tried to pay."""


def test_a_page_the_gateway_calls_over_is_closed_without_a_doubt_before() -> None:
    closed = read(PAGE, OVER_UNPAID, transaction_id=None)
    page = closed.attempt(1)
    assert (page.state, page.closing, page.closing_by) == (AttemptState.CLOSING, CloseReason.EXPIRED, "gateway")
    assert page.check_at == LATER + LEASE


def test_a_doubt_about_a_page_nobody_tried_is_settled_by_any_answer_about_it() -> None:
    doubted = with_page(PAGE, doubt=CloseReason.EXPIRED)
    page = read(doubted, attrs.evolve(OVER_UNPAID, ends_page=False), transaction_id=None).attempt(1)
    assert (page.state, page.closing) == (AttemptState.CLOSING, CloseReason.EXPIRED)


@pytest.mark.parametrize("over", [DEAD, with_page(PAGE, state=AttemptState.CLOSING, closing=CloseReason.CANCELLED)])
def test_a_page_that_is_over_already_keeps_its_reason(over: Payment) -> None:
    assert read(over, OVER_UNPAID, transaction_id=None).attempt(1) == over.attempt(1)


def test_a_try_that_ended_with_its_page_does_not_take_it_from_another_that_lives() -> None:
    """An answer by the order id shows one try only."""
    lives = PAGE.with_charge(charge(ChargeState.PENDING, "other"))
    page = read(lives, says(Signal.EXPIRED, ends_page=True), transaction_id=None).attempt(1)
    assert (page.state, page.doubt) == (AttemptState.OPEN, None)


USED_UP = {"uses_up_page": True}


@pytest.mark.parametrize("state", [ChargeState.DENIED, ChargeState.CANCELLED, ChargeState.EXPIRED, ChargeState.FAILED])
def test_a_page_that_took_its_one_try_for_nothing_makes_room_for_another(state: ChargeState) -> None:
    payment = read(PENDING, says(Signal(state.value), **USED_UP))
    page = payment.attempt(1)
    assert (page.state, page.closing, page.closing_by) == (AttemptState.CLOSING, CloseReason.USED_UP, "gateway")
    assert (page.check_at, page.doubt) == (LATER + LEASE, None)


def test_a_hold_that_ended_uses_its_page_up_and_gives_no_order_up() -> None:
    """The page may be over as well; but the buyer had the money, so he may pay anew."""
    held = PAGE.with_charge(charge(ChargeState.AUTHORIZED))
    page = read(held, says(Signal.CANCELLED, ends_page=True, **USED_UP)).attempt(1)
    assert (page.closing, page.doubt) == (CloseReason.USED_UP, None)


def test_an_end_of_the_page_without_money_is_a_doubt_whether_it_is_used_up_or_not() -> None:
    page = read(PENDING, says(Signal.EXPIRED, ends_page=True, **USED_UP)).attempt(1)
    assert (page.state, page.doubt) == (AttemptState.OPEN, CloseReason.EXPIRED)


@pytest.mark.parametrize(
    ("payment", "word"),
    [
        (PENDING, Signal.PENDING),
        (PAGE.with_charge(charge(ChargeState.PENDING)), Signal.AUTHORIZED),
        (with_page(PENDING, state=AttemptState.CLOSING, closing=CloseReason.CANCELLED), Signal.DENIED),
    ],
    ids=["lives", "held", "closing"],
)
def test_a_page_is_used_up_by_an_end_only_and_once(payment: Payment, word: Signal) -> None:
    page = read(payment, says(word, **USED_UP)).attempt(1)
    assert (page.state, page.closing) == (payment.attempt(1).state, payment.attempt(1).closing)


def test_a_page_of_a_paid_order_is_not_used_up() -> None:
    """Another page was paid; this one is being closed for that."""
    paid = attrs.evolve(
        PENDING.with_charge(charge(transaction_id="paid", state=ChargeState.SETTLED)), paid_by="paid", paid_at=NOW
    )
    assert read(paid, says(Signal.DENIED, **USED_UP)).attempt(1).closing is not CloseReason.USED_UP
