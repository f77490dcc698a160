"""Laws of the simulated Stripe's books, whatever buyers, merchants and banks do, in any order."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from payments_core_simulator.refusals import Refusal
from payments_core_simulator.stripe.api_errors import ApiRefusal
from payments_core_simulator.stripe.form import read_form
from payments_core_simulator.stripe.ledger import Ledger
from payments_core_simulator.stripe.money import decimals, major
from payments_core_simulator.stripe.values import (
    Charge,
    Dispute,
    Intent,
    Line,
    News,
    Refund,
    Session,
    SessionRequest,
    Try,
)

START = datetime(2026, 11, 27, tzinfo=UTC)
AMOUNT = 1000


def opened(ledger: Ledger, capture_method: str = "automatic") -> Session:
    request = SessionRequest(
        currency="idr",
        lines=(Line("book", AMOUNT, 1),),
        success_url="https://shop.example/",
        expires_at=START + timedelta(hours=24),
        client_reference_id="o-1",
        capture_method=capture_method,
    )
    return ledger.open_session(request, START)


OUTCOMES = ("succeeded", "declined", "requires_action", "processing")
WORDS = (
    "succeed", "fail", "expire", "lapse", "capture", "capture part", "cancel", "refund", "refund part", "refund fails",
    "dispute", "inquiry", "withdrawn", "reinstated", "won", "lost", "clock",
)  # fmt: skip


def step(ledger: Ledger, session: Session, word: str, now: datetime) -> list[News]:
    """Do it, as far as it is allowed."""
    books = ledger.books
    intent = books.find(Intent, books.get(Session, session.id).intent_id or "")
    intent_id, charge_id = (intent.id, intent.latest_charge or "") if intent else ("pi_none", "")
    refund = next(iter(books.owned(Refund, charge_id)), None)
    dispute = next(iter(books.owned(Dispute, charge_id)), None)
    ways: dict[str, Callable[[], list[News]]] = {
        "succeed": lambda: ledger.succeed(intent_id, now),
        "fail": lambda: ledger.fail(intent_id),
        "expire": lambda: ledger.expire_session(session.id, now),
        "lapse": lambda: ledger.lapse(intent_id, now),
        "capture": lambda: ledger.capture(intent_id, None),
        "capture part": lambda: ledger.capture(intent_id, 300),
        "cancel": lambda: ledger.cancel_intent(intent_id, None, now),
        "refund": lambda: ledger.refund(intent_id, None, now)[1],
        "refund part": lambda: ledger.refund(intent_id, 600, now)[1],
        "refund fails": lambda: ledger.move_refund(refund.id if refund else "re_none", "failed"),
        "dispute": lambda: ledger.dispute(intent_id, None, now),
        "inquiry": lambda: ledger.dispute(intent_id, None, now, inquiry=True),
        "withdrawn": lambda: ledger.move_funds(dispute.id if dispute else "du_none", withdrawn=True),
        "reinstated": lambda: ledger.move_funds(dispute.id if dispute else "du_none", withdrawn=False),
        "won": lambda: ledger.close_dispute(dispute.id if dispute else "du_none", won=True),
        "lost": lambda: ledger.close_dispute(dispute.id if dispute else "du_none", won=False),
        "clock": lambda: ledger.advance(now),
    }
    if word in OUTCOMES:
        return ledger.pay(session.id, Try(word, "us_bank_account" if word == "processing" else "card"), now)
    return ways[word]()


def things(ledger: Ledger) -> list[object]:
    return [one for kind in (Session, Intent, Charge, Refund, Dispute) for one in ledger.books.all(kind)]


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    # Most of what can go wrong begins with money: a page that nobody pays has little to tell.
    first=st.sampled_from([(), ("succeeded",), ("processing", "succeed"), ("declined", "succeeded", "capture")]),
    then=st.lists(st.sampled_from(OUTCOMES + WORDS), max_size=9),
    manual=st.booleans(),
    shown=st.booleans(),
    hours=st.lists(st.integers(0, 60), min_size=12, max_size=12),
)
def test_money_adds_up_after_anything(
    first: tuple[str, ...],
    then: list[str],
    manual: bool,
    shown: bool,
    hours: list[int],
) -> None:
    """The ledger is the oracle of the chaos tests: it may be odd, never wrong."""
    ledger = Ledger()
    ledger.released_as_refund = shown
    session, now = opened(ledger, "manual" if manual else "automatic"), START
    for word, passed in zip((*first, *then), hours, strict=False):
        before, now = things(ledger), now + timedelta(hours=passed)
        try:
            step(ledger, session, word, now)
        except Refusal:
            assert things(ledger) == before, f"{word} was refused and changed something"
    page = ledger.books.get(Session, session.id)
    for intent in ledger.books.all(Intent):
        charges = [ledger.books.get(Charge, one) for one in intent.charge_ids]
        assert sum(one.amount_captured for one in charges) == intent.amount_received <= AMOUNT
        assert len([one for one in charges if one.captured]) <= 1, "a session is paid once"
        assert (intent.status == "succeeded") == (intent.amount_received > 0) == (page.payment_status == "paid")
        for charge in charges:
            given_back = sum(one.amount for one in ledger.books.owned(Refund, charge.id) if one.counts)
            assert given_back == charge.amount_refunded <= charge.amount_captured
            assert charge.amount_captured + charge.amount_released <= AMOUNT
            gone = sum(one.amount for one in ledger.books.owned(Dispute, charge.id) if one.withdrawn)
            assert given_back + gone <= charge.amount_captured, "nobody takes more than there is"
    assert page.status != "open" or all(one.status != "succeeded" for one in ledger.books.all(Intent))


@pytest.mark.parametrize("way", ["withdrawn", "lost"])
@pytest.mark.parametrize(("refund", "left"), [("refund", 0), ("refund part", 400)])
def test_what_was_refunded_after_a_dispute_was_won_cannot_be_lost(refund: str, left: int, way: str):
    """Found by `test_money_adds_up_after_anything`, once in many runs."""
    ledger = Ledger()
    session = opened(ledger)
    for word in ("succeeded", "dispute", "won", refund):
        step(ledger, session, word, START)
    before = things(ledger)
    with pytest.raises(Refusal, match=f"{left} of the charge is left"):
        step(ledger, session, way, START)
    assert things(ledger) == before


def test_an_inquiry_moves_no_money():
    ledger = Ledger()
    session = opened(ledger)
    for word in ("succeeded", "inquiry"):
        step(ledger, session, word, START)
    with pytest.raises(Refusal, match="an inquiry moves no money"):
        step(ledger, session, "withdrawn", START)
    step(ledger, session, "lost", START)
    (dispute,) = ledger.books.all(Dispute)
    assert (dispute.status, dispute.withdrawn) == ("warning_closed", False)


def test_the_clock_ends_an_open_page_and_a_hold_and_nothing_else():
    ledger = Ledger()
    left, held = opened(ledger), opened(ledger, "manual")
    ledger.pay(held.id, Try("succeeded"), START)
    assert [kind for kind, _ in ledger.advance(START + timedelta(hours=25))] == ["checkout.session.expired"]
    assert ledger.books.get(Session, left.id).status == "expired"
    assert [kind for kind, _ in ledger.advance(START + timedelta(days=8))] == ["payment_intent.canceled"]
    assert ledger.advance(START + timedelta(days=365)) == []


@pytest.mark.parametrize(
    ("form", "fields"),
    [
        ("", {}),
        ("a=1&b=", {"a": "1", "b": ""}),
        ("a[b][c]=1&a[b][d]=2", {"a": {"b": {"c": "1", "d": "2"}}}),
        ("a[1]=y&a[0]=x", {"a": ["x", "y"]}),
        ("a[]=x&a[]=y", {"a": ["x", "y"]}),
        ("metadata[0]=x", {"metadata": {"0": "x"}}),
        ("a%5B0%5D=caf%C3%A9", {"a": ["café"]}),
    ],
)
def test_bracketed_keys_are_nested_values(form: str, fields: dict[str, object]):
    assert read_form(form) == fields


@pytest.mark.parametrize(
    "form", ["a", "a=1&a[b]=2", "a[b]=1&a=2", "a=1&a=2", "[a]=1", "a[=1", "a" + "[b]" * 9 + "=1", "a=1&" * 2001 + "b=1"]
)
def test_a_form_that_says_nothing_clear_is_refused(form: str):
    with pytest.raises(ApiRefusal):
        read_form(form)


@given(st.text(max_size=200))
def test_no_form_breaks_the_reader(form: str) -> None:
    """Anybody can send anything; it is understood or refused."""
    try:
        fields = read_form(form)
    except ApiRefusal:
        return
    assert isinstance(fields, dict)


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (15_000_000, "idr", "150000.00"),
        (5, "usd", "0.05"),
        (500, "jpy", "500"),
        (12_340, "kwd", "12.340"),
        (0, "usd", "0.00"),
    ],
)
def test_amounts_are_written_with_the_decimals_stripe_gives_them(amount: int, currency: str, text: str):
    assert major(amount, currency) == text
    assert decimals("isk") == 2
