"""One charge and one message: what they disagree about, and what the charge becomes."""

from datetime import timedelta

import attrs
import pytest

from payments_core import Observation, Signal
from payments_core.charges import after_message, compare, money_news
from payments_core.money import Money
from payments_core.observations import Nothing, RefundNews, RefundReport
from payments_core.payment import Charge, Decline
from payments_core.states import CaseKind, ChargeState
from payments_core.testing.samples import LATER, NOW
from unit.values import PAGE, WHOLE, charge, says
from unit.world import rupiah

ATTEMPT = PAGE.attempt(1)
AMOUNT, CURRENCY, MERCHANT = CaseKind.AMOUNT_MISMATCH, CaseKind.CURRENCY_MISMATCH, CaseKind.MERCHANT_MISMATCH
HELD = charge(ChargeState.AUTHORIZED, authorized_by_reading=True)


def hear(was: Charge | None, message: Observation, to: ChargeState, *, by_reading: bool = True) -> Charge:
    return after_message(was, ATTEMPT, message, to, LATER, by_reading=by_reading)


# ── what must agree ───────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("amount", "faults"),
    [
        (rupiah(100_000), set()),
        (Money.of(WHOLE - 1, "IDR"), {AMOUNT}),
        (Money.of(WHOLE + 1, "IDR"), {AMOUNT}),
        (Money.of(WHOLE, "USD"), {CURRENCY}),
    ],
)
def test_one_minor_unit_is_a_difference(amount: Money, faults: set[CaseKind]) -> None:
    assert compare(ATTEMPT, None, says(Signal.SETTLED, amount=amount)) == faults


@pytest.mark.parametrize("word", [Signal.AUTHORIZED, Signal.CAPTURED, Signal.SETTLED])
def test_money_that_does_not_say_how_much_cannot_be_the_first_thing_we_hear(word: Signal) -> None:
    silent = says(word, amount=None)
    assert compare(ATTEMPT, None, silent) == {AMOUNT}
    assert compare(ATTEMPT, charge(ChargeState.PENDING), silent) == set()


@pytest.mark.parametrize("word", [Signal.PENDING, Signal.DENIED, Signal.EXPIRED])
def test_words_without_money_may_leave_the_amount_out(word: Signal) -> None:
    assert compare(ATTEMPT, None, says(word, amount=None)) == set()


@pytest.mark.parametrize("word", [Signal.CAPTURED, Signal.SETTLED])
def test_a_part_of_a_hold_agrees_when_a_reading_showed_the_hold_or_we_asked_for_the_part(word: Signal) -> None:
    part = says(word, amount=rupiah(60_000))
    assert compare(ATTEMPT, HELD, part) == set()
    assert compare(ATTEMPT, charge(ChargeState.AUTHORIZED), part) == {AMOUNT}, "a hint of a hold proves nothing"
    assert compare(ATTEMPT, charge(ChargeState.AUTHORIZED, capture_minor=6_000_000), part) == set()
    assert compare(ATTEMPT, charge(ChargeState.AUTHORIZED, capture_minor=5_000_000), part) == {AMOUNT}
    assert compare(ATTEMPT, None, part) == {AMOUNT}


def test_only_taken_money_may_be_a_part_and_never_more_than_the_whole() -> None:
    assert compare(ATTEMPT, HELD, says(Signal.AUTHORIZED, amount=rupiah(60_000))) == {AMOUNT}
    assert compare(ATTEMPT, HELD, says(Signal.CAPTURED, amount=rupiah(100_001))) == {AMOUNT}


@pytest.mark.parametrize(
    ("ours", "theirs", "faults"),
    [("G1", "G1", set()), ("G1", "G2", {MERCHANT}), ("G1", None, set()), (None, "G2", set())],
)
def test_merchants_are_compared_when_both_sides_name_one(
    ours: str | None, theirs: str | None, faults: set[CaseKind]
) -> None:
    attempt = attrs.evolve(ATTEMPT, merchant_id=ours)
    assert compare(attempt, None, says(Signal.SETTLED, merchant_id=theirs)) == faults


@pytest.mark.parametrize(("ours", "theirs", "differs"), [(True, False, True), (False, True, True), (True, True, False)])
def test_test_money_and_live_money_are_told_apart(ours: bool, theirs: bool, differs: bool) -> None:
    attempt = attrs.evolve(ATTEMPT, live=ours)
    assert (compare(attempt, None, says(Signal.SETTLED, live=theirs)) == {MERCHANT}) is differs


def test_every_difference_is_told() -> None:
    attempt = attrs.evolve(ATTEMPT, merchant_id="G1")
    assert compare(attempt, None, says(Signal.SETTLED, amount=rupiah(1), merchant_id="G2")) == {AMOUNT, MERCHANT}


# ── faults stay until they are taken back ─────────────────────────────────────────────────────────────────────────────
FAULTY = charge(ChargeState.PENDING, faults=frozenset({AMOUNT, MERCHANT}))


def test_a_fault_stays_until_a_message_speaks_of_it() -> None:
    """A message that leaves the amount out does not make a wrong amount right."""
    assert hear(FAULTY, says(Signal.PENDING, amount=None), ChargeState.PENDING).faults == {AMOUNT}
    named = attrs.evolve(ATTEMPT, merchant_id="G1")
    silent = after_message(FAULTY, named, says(Signal.PENDING), ChargeState.PENDING, NOW, by_reading=True)
    assert silent.faults == {MERCHANT}, "the amount is right now, the merchant was not named"
    live = attrs.evolve(ATTEMPT, live=True)
    assert after_message(FAULTY, live, says(Signal.PENDING), ChargeState.PENDING, NOW, by_reading=True).faults == {
        MERCHANT
    }
    said = says(Signal.PENDING, merchant_id="G1", live=True)
    assert after_message(FAULTY, named, said, ChargeState.PENDING, NOW, by_reading=True).faults == set()


def test_a_wrong_currency_made_right_is_forgiven() -> None:
    wrong = charge(ChargeState.PENDING, faults=frozenset({CURRENCY}))
    assert hear(wrong, says(Signal.PENDING), ChargeState.PENDING).faults == set()
    assert hear(wrong, says(Signal.PENDING, amount=None), ChargeState.PENDING).faults == {CURRENCY}


def test_a_fault_found_now_is_added() -> None:
    named = attrs.evolve(ATTEMPT, merchant_id="G1")
    said = says(Signal.SETTLED, amount=rupiah(1))
    assert after_message(FAULTY, named, said, ChargeState.SETTLED, NOW, by_reading=True).faults == {AMOUNT, MERCHANT}


# ── the first message ─────────────────────────────────────────────────────────────────────────────────────────────────
def test_the_first_message_makes_the_charge() -> None:
    made = hear(None, says(Signal.PENDING, method="qris"), ChargeState.PENDING)
    assert made == charge(ChargeState.PENDING)


def test_a_first_message_without_an_amount_makes_a_charge_of_nothing() -> None:
    made = hear(None, says(Signal.DENIED, amount=None), ChargeState.DENIED)
    assert made.amount == rupiah(0)
    assert made.captured_minor == 0


def test_what_a_message_leaves_out_stays() -> None:
    kept = hear(charge(ChargeState.PENDING), says(Signal.PENDING, amount=None), ChargeState.PENDING)
    assert (kept.amount, kept.method) == (rupiah(100_000), "qris")


def test_a_charge_is_of_what_was_taken_of_the_hold() -> None:
    taken = hear(HELD, says(Signal.SETTLED, amount=rupiah(60_000)), ChargeState.SETTLED)
    assert (taken.amount, taken.captured_minor) == (rupiah(60_000), 6_000_000)


# ── amounts ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_hold_remembers_how_much_and_whether_a_reading_showed_it() -> None:
    hint = hear(None, says(Signal.AUTHORIZED), ChargeState.AUTHORIZED, by_reading=False)
    assert (hint.authorized_minor, hint.authorized_by_reading, hint.had_money) == (WHOLE, False, True)
    reading = hear(hint, says(Signal.AUTHORIZED), ChargeState.AUTHORIZED)
    assert reading.authorized_by_reading
    later = hear(reading, says(Signal.CAPTURED, amount=rupiah(60_000)), ChargeState.CAPTURED, by_reading=False)
    assert (later.authorized_minor, later.authorized_by_reading) == (WHOLE, True)
    assert later.captured_minor == 6_000_000


@pytest.mark.parametrize("word", [Signal.PENDING, Signal.CAPTURED])
def test_no_other_word_of_a_reading_shows_a_hold(word: Signal) -> None:
    assert not hear(None, says(word), ChargeState(word.value)).authorized_by_reading


@pytest.mark.parametrize(
    ("state", "had"),
    [
        ("pending", False),
        ("challenged", False),
        ("denied", False),
        ("authorized", True),
        ("captured", True),
        ("settled", True),
    ],
)
def test_money_once_seen_is_remembered(state: str, had: bool) -> None:
    """The end of such a charge is never the end of an unpaid page."""
    made = hear(None, says(Signal(state)), ChargeState(state))
    assert made.had_money is had
    assert hear(made, says(Signal.CANCELLED), ChargeState.CANCELLED).had_money is had


def test_taken_money_keeps_its_amount_when_a_later_message_names_none() -> None:
    taken = charge(ChargeState.CAPTURED, captured_minor=6_000_000)
    assert hear(taken, says(Signal.SETTLED, amount=None), ChargeState.SETTLED).captured_minor == 6_000_000
    assert hear(HELD, says(Signal.CAPTURED, amount=None), ChargeState.CAPTURED).captured_minor == WHOLE


def test_money_that_comes_back_is_no_longer_reversed() -> None:
    gone = charge(ChargeState.REVERSED, captured_minor=WHOLE, reversed_minor=WHOLE)
    back = hear(gone, says(Signal.SETTLED), ChargeState.SETTLED)
    assert (back.captured_minor, back.reversed_minor) == (WHOLE, 0)


def test_a_reversal_takes_what_was_left_and_not_what_was_given_back_before() -> None:
    given = charge(refunded_minor=3_000_000, charged_back_minor=2_000_000)
    gone = hear(given, says(Signal.DENIED), ChargeState.REVERSED)
    assert (gone.captured_minor, gone.refunded_minor, gone.reversed_minor) == (WHOLE, 3_000_000, 5_000_000)
    more = hear(given, says(Signal.DENIED, refunded=rupiah(90_000)), ChargeState.REVERSED)
    assert (more.refunded_minor, more.reversed_minor) == (9_000_000, 0), "never less than nothing"


# ── voids ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_void_we_asked_for_is_a_refund_of_the_whole() -> None:
    asked = charge(ChargeState.CAPTURED, cancel_asked=True)
    voided = hear(asked, says(Signal.CANCELLED), ChargeState.REVERSED)
    assert voided == attrs.evolve(asked, refunded_minor=WHOLE)


def test_a_void_nobody_asked_for_and_a_bank_that_takes_money_back_are_reversals() -> None:
    asked = charge(ChargeState.CAPTURED, cancel_asked=True)
    assert hear(charge(ChargeState.CAPTURED), says(Signal.CANCELLED), ChargeState.REVERSED).reversed_minor == WHOLE
    assert hear(asked, says(Signal.DENIED), ChargeState.REVERSED).reversed_minor == WHOLE


def test_money_that_came_before_our_cancel_is_not_voided_by_us_later() -> None:
    """Whoever voids it from then on does it by himself."""
    held = charge(ChargeState.AUTHORIZED, cancel_asked=True)
    assert not hear(held, says(Signal.CAPTURED), ChargeState.CAPTURED).cancel_asked
    taken = charge(ChargeState.CAPTURED, cancel_asked=True)
    assert hear(taken, says(Signal.SETTLED), ChargeState.SETTLED).cancel_asked
    assert hear(held, says(Signal.CANCELLED), ChargeState.CANCELLED).cancel_asked


# ── dates and declines ────────────────────────────────────────────────────────────────────────────────────────────────
HOUR = timedelta(hours=1)


def test_the_first_date_of_the_money_stays() -> None:
    first = hear(None, says(Signal.CAPTURED, occurred_at=NOW), ChargeState.CAPTURED)
    assert first.occurred_at == NOW
    assert hear(first, says(Signal.SETTLED, occurred_at=NOW + HOUR), ChargeState.SETTLED).occurred_at == NOW
    undated = attrs.evolve(first, occurred_at=None)
    assert hear(undated, says(Signal.SETTLED, occurred_at=NOW + HOUR), ChargeState.SETTLED).occurred_at == NOW + HOUR
    assert hear(first, says(Signal.DENIED, occurred_at=NOW + HOUR), ChargeState.REVERSED).occurred_at == NOW


def test_what_is_no_money_is_not_dated() -> None:
    assert hear(None, says(Signal.PENDING, occurred_at=NOW), ChargeState.PENDING).occurred_at is None


def test_money_that_came_back_is_dated_anew_where_the_gateway_dates_it() -> None:
    gone = charge(ChargeState.REVERSED, occurred_at=NOW)
    assert hear(gone, says(Signal.SETTLED, occurred_at=NOW + HOUR), ChargeState.SETTLED).occurred_at == NOW + HOUR
    assert hear(gone, says(Signal.SETTLED), ChargeState.SETTLED).occurred_at == NOW


@pytest.mark.parametrize("state", [ChargeState.DENIED, ChargeState.FAILED])
def test_a_decline_says_code_and_method_and_when_we_heard_of_it(state: ChargeState) -> None:
    said = says(Signal(state.value), decline_code="insufficient_funds", method="card")
    assert hear(None, said, state).decline == Decline("insufficient_funds", "card", LATER)
    silent = hear(charge(ChargeState.PENDING), says(Signal(state.value)), state)
    assert silent.decline == Decline(state.value, "qris", LATER), "without a code: the word itself"


def test_a_decline_is_told_once_and_nothing_else_is_one() -> None:
    first = hear(None, says(Signal.DENIED, decline_code="a"), ChargeState.DENIED)
    assert hear(first, says(Signal.DENIED, decline_code="b"), ChargeState.DENIED).decline == first.decline
    assert hear(None, says(Signal.EXPIRED), ChargeState.EXPIRED).decline is None


# ── money given back ──────────────────────────────────────────────────────────────────────────────────────────────────
SETTLED = charge()


def report(key: str, rupiahs: int, news: RefundNews = RefundNews.CONFIRMED) -> RefundReport:
    return RefundReport(key, rupiah(rupiahs), news)


def test_what_was_given_back_is_the_largest_total_anybody_named() -> None:
    """A total, the sum of the confirmed refunds, or what we know: they only lag behind each other."""

    def refunded(was: int, **more: object) -> int:
        return hear(charge(refunded_minor=was), says(Signal.SETTLED, **more), ChargeState.SETTLED).refunded_minor

    assert refunded(0) == 0
    assert refunded(1_000) == 1_000
    assert refunded(1_000, refunded=rupiah(20_000)) == 2_000_000
    reports = (report("a", 10_000), report("b", 20_000), report("c", 5_000, RefundNews.PENDING))
    assert refunded(0, refunds=reports) == 3_000_000
    assert refunded(0, refunds=reports, refunded=rupiah(40_000)) == 4_000_000
    assert refunded(0, refunds=(RefundReport("a", None, RefundNews.CONFIRMED),)) == 0
    assert refunded(0, refunded_all=True) == WHOLE
    assert refunded(WHOLE + 1, refunded_all=True) == WHOLE + 1


def test_what_was_charged_back_is_the_largest_total_named() -> None:
    def charged_back(was: int, **more: object) -> int:
        heard = hear(charge(charged_back_minor=was), says(Signal.SETTLED, **more), ChargeState.SETTLED)
        return heard.charged_back_minor

    assert charged_back(5) == 5
    assert charged_back(5, charged_back=rupiah(20_000)) == 2_000_000
    assert charged_back(0, charged_back_all=True) == WHOLE
    assert charged_back(0, charged_back_all=True, charged_back=rupiah(20_000)) == 2_000_000, "a named amount is better"
    assert charged_back(WHOLE + 1, charged_back_all=True) == WHOLE + 1


def test_a_charge_back_of_an_unknown_amount_is_remembered() -> None:
    unknown = hear(SETTLED, says(Signal.SETTLED, charged_back_unknown=True), ChargeState.SETTLED)
    assert unknown.charged_back_unknown
    assert hear(unknown, says(Signal.SETTLED), ChargeState.SETTLED).charged_back_unknown


@pytest.mark.parametrize(
    ("more", "news"),
    [
        ({}, False),
        ({"refunded": Money.of(1, "IDR")}, True),
        ({"charged_back": Money.of(1, "IDR")}, True),
        ({"refunded_unknown": True}, True),
        ({"charged_back_unknown": True}, True),
    ],
)
def test_more_given_back_than_we_know_is_news(more: dict[str, object], news: bool) -> None:
    assert money_news(SETTLED, says(Signal.SETTLED, **more)) is news
    assert not money_news(HELD, says(Signal.SETTLED, **more)), "nothing can be given back of what was not taken"


def test_what_is_known_already_is_no_news() -> None:
    known = charge(refunded_minor=5, charged_back_minor=5, charged_back_unknown=True)
    same = says(Signal.SETTLED, refunded=Money.of(5, "IDR"), charged_back=Money.of(5, "IDR"))
    assert not money_news(known, same)
    assert not money_news(known, says(Signal.SETTLED, refunded_unknown=True)), (
        "some was given back, and we know how much"
    )
    assert not money_news(known, says(Signal.SETTLED, charged_back_unknown=True))


def test_a_body_about_nothing_of_a_payment_moves_nothing() -> None:
    said = attrs.evolve(says(Signal.SETTLED), meaning=Nothing("a refund"))
    assert hear(SETTLED, said, ChargeState.SETTLED) == SETTLED
