"""The simulated gateway's books: pages, tokens, several tries on one order, and what the clock does."""

from datetime import UTC, datetime, timedelta

import attrs
import pytest

from payments_core_simulator.midtrans import moves
from payments_core_simulator.midtrans.ledger import Ledger
from payments_core_simulator.midtrans.limits import TRANSACTIONS_PER_ORDER_MAX
from payments_core_simulator.midtrans.values import PageRequest, Refund, Transaction, Try
from payments_core_simulator.refusals import Refusal, Why

NOW = datetime(2026, 5, 27, 7, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
VA = Try("bank_transfer", "pending")


def request(**changes: object) -> PageRequest:
    return attrs.evolve(PageRequest("o-1", 150_000), **changes)


def refused(why: Why):
    return pytest.raises(Refusal, match=why.name)


def tried(ledger: Ledger, outcome: str = "pending", payment_type: str = "qris", now: datetime = NOW) -> Transaction:
    return ledger.pay("o-1", Try(payment_type, outcome), now)


@pytest.fixture
def ledger() -> Ledger:
    opened = Ledger()
    opened.open_page(request(), NOW)
    return opened


# --- pages -----------------------------------------------------------------------------------------------------------


def test_a_second_create_before_a_choice_replaces_the_token(ledger: Ledger):
    """Two answers of one lost create: the older token must not stay payable."""
    older = ledger.page_by_order("o-1").token
    newer = ledger.open_page(request(gross_amount=200_000), NOW)
    assert ledger.page_by_token(newer.token).request.gross_amount == 200_000
    with refused(Why.TOKEN_UNKNOWN):
        ledger.page_by_token(older)
    with refused(Why.TOKEN_UNKNOWN):
        ledger.close_page(older, NOW)


@pytest.mark.parametrize("outcome", ["pending", "deny", "expire", "cancel", "failure"])
def test_after_a_choice_the_order_id_is_taken(ledger: Ledger, outcome: str):
    tried(ledger, outcome)
    with refused(Why.ORDER_TAKEN):
        ledger.open_page(request(), NOW)


def test_a_paid_order_id_is_refused_in_its_own_words(ledger: Ledger):
    tried(ledger, "settlement")
    with refused(Why.ORDER_PAID):
        ledger.open_page(request(), NOW)


def test_the_order_id_of_a_cancelled_or_expired_page_is_taken(ledger: Ledger):
    with refused(Why.ORDER_TAKEN):
        ledger.open_page(request(), NOW + timedelta(hours=24))
    ledger.close_page(ledger.page_by_order("o-1").token, NOW)
    with refused(Why.ORDER_TAKEN):
        ledger.open_page(request(), NOW)


def test_a_cancelled_page_takes_no_more_payments(ledger: Ledger):
    token = ledger.page_by_order("o-1").token
    assert ledger.close_page(token, NOW).cancelled_at == NOW
    with refused(Why.PAGE_DEAD):
        tried(ledger)
    with refused(Why.TOKEN_CANCELLED):
        ledger.close_page(token, NOW)


@pytest.mark.parametrize("word", sorted(moves.WORDS))
def test_a_page_can_be_cancelled_only_when_every_try_ended_without_money(ledger: Ledger, word: str):
    made = tried(ledger)
    ledger.force(made.transaction_id, word, NOW, 100 if word == "partial_refund" else None)
    token = ledger.page_by_order("o-1").token
    if word in moves.ENDED_WITHOUT_MONEY:
        assert ledger.close_page(token, NOW).cancelled_at == NOW
        return
    with refused(Why.ON_PROGRESS):
        ledger.close_page(token, NOW)


def test_an_expired_page_with_a_pending_virtual_account_is_still_in_progress(ledger: Ledger):
    """The page is gone, yet its account number can still be paid: the token cancel must not say otherwise."""
    ledger.clear()
    page = ledger.open_page(request(page_duration=HOUR), NOW)
    ledger.pay("o-1", VA, NOW)
    with refused(Why.ON_PROGRESS):
        ledger.close_page(page.token, NOW + 2 * HOUR)


def test_the_token_of_an_expired_page_is_not_found(ledger: Ledger):
    with refused(Why.TOKEN_UNKNOWN):
        ledger.close_page(ledger.page_by_order("o-1").token, NOW + 25 * HOUR)


@pytest.mark.parametrize(
    ("changes", "ends_after"),
    [
        ({}, 24 * HOUR),
        ({"expiry_duration": 2 * HOUR}, 2 * HOUR),
        ({"expiry_duration": 2 * HOUR, "expiry_start": NOW - HOUR}, HOUR),
        ({"page_duration": 3 * HOUR, "expiry_duration": 2 * HOUR}, 3 * HOUR),
        ({"page_duration": 3 * HOUR, "expiry_duration": 2 * HOUR, "expiry_start": NOW}, 2 * HOUR),
        ({"page_duration": HOUR, "expiry_duration": 2 * HOUR, "expiry_start": NOW}, HOUR),
    ],
)
def test_a_page_lives_as_long_as_its_expiry_says(ledger: Ledger, changes: dict[str, object], ends_after: timedelta):
    ledger.clear()
    page = ledger.open_page(request(**changes), NOW)
    assert page.open_at(NOW + ends_after - timedelta(seconds=1))
    assert not page.open_at(NOW + ends_after)


# --- transactions ----------------------------------------------------------------------------------------------------


def test_a_try_on_an_unknown_order_is_refused(ledger: Ledger):
    with refused(Why.PAGE_UNKNOWN):
        ledger.pay("o-2", VA, NOW)


@pytest.mark.parametrize(
    "wish",
    [
        Try("bank_transfer", "capture"),
        Try("qris", "challenge"),
        Try("bank_transfer", "authorize"),
        Try("cstore", "deny"),
        Try("paypal", "pending"),
        Try("bank_transfer", "pending", bank="monopoly"),
        Try("gopay", "pending", bank="bca"),
        Try("cstore", "pending", store="corner shop"),
    ],
)
def test_a_try_that_makes_no_sense_is_refused_and_leaves_no_trace(ledger: Ledger, wish: Try):
    with refused(Why.NONSENSE):
        ledger.pay("o-1", wish, NOW)
    assert ledger.page_by_order("o-1").transaction_ids == ()


def test_each_try_is_a_transaction_of_its_own(ledger: Ledger):
    first, second = tried(ledger, "deny"), tried(ledger, "settlement")
    assert first.transaction_id != second.transaction_id
    assert [one.status for one in ledger.transactions(ledger.page_by_order("o-1"))] == ["deny", "settlement"]
    assert ledger.find(first.transaction_id).status == "deny"


def test_an_order_id_means_its_newest_transaction(ledger: Ledger):
    tried(ledger, "settlement")
    tried(ledger, "pending")
    assert ledger.find("o-1").status == "pending"


def test_before_a_method_is_chosen_there_is_no_transaction(ledger: Ledger):
    with refused(Why.UNKNOWN_TRANSACTION):
        ledger.find("o-1")


@pytest.mark.parametrize("wish", [Try("dana", "pending"), Try("bank_transfer", "pending", bank="danamon")])
def test_bi_snap_transactions_answer_to_their_own_id_only(ledger: Ledger, wish: Try):
    made = ledger.pay("o-1", wish, NOW)
    assert made.transaction_id.startswith("A120260527143000")
    assert made.transaction_id.endswith("ID")
    assert ledger.find(made.transaction_id) == made
    with refused(Why.UNKNOWN_TRANSACTION):
        ledger.find("o-1")


def test_an_order_id_passes_over_bi_snap_transactions(ledger: Ledger):
    older = tried(ledger)
    ledger.pay("o-1", Try("dana", "settlement"), NOW)
    assert ledger.find("o-1") == older


def test_a_lagging_status_shows_what_was_true_then(ledger: Ledger):
    made = tried(ledger)
    ledger.force(made.transaction_id, "settlement", NOW + 2 * HOUR)
    assert ledger.find("o-1", as_of=NOW + HOUR).status == "pending"
    assert ledger.find("o-1", as_of=NOW + 3 * HOUR).status == "settlement"
    with refused(Why.UNKNOWN_TRANSACTION):
        ledger.find("o-1", as_of=NOW - HOUR)
    with refused(Why.UNKNOWN_TRANSACTION):
        ledger.find(made.transaction_id, as_of=NOW - HOUR)


def test_an_order_takes_a_bounded_number_of_tries(ledger: Ledger):
    for _ in range(TRANSACTIONS_PER_ORDER_MAX):
        tried(ledger, "deny")
    with refused(Why.FULL):
        tried(ledger)


def test_one_refund_key_moves_money_once(ledger: Ledger):
    made = tried(ledger, "settlement")
    wanted = Refund(0, "k-1", 100_00, NOW)
    first = ledger.refund(made.transaction_id, wanted, whole=False, replay=True)
    again = ledger.refund("o-1", wanted, whole=False, replay=True)
    assert (first[2], again[2]) == (True, False)
    assert again[1] == first[1]
    assert ledger.find("o-1").refunded_sen == 100_00


def test_forcing_an_unknown_transaction_is_refused(ledger: Ledger):
    with refused(Why.UNKNOWN_TRANSACTION):
        ledger.force("o-1", "settlement", NOW)


# --- time ------------------------------------------------------------------------------------------------------------


def test_a_pending_transaction_expires_by_the_clock_once(ledger: Ledger):
    made = tried(ledger)
    assert ledger.advance(NOW + 24 * HOUR - timedelta(seconds=1)) == []
    (expired,) = ledger.advance(NOW + 24 * HOUR)
    assert (expired.transaction_id, expired.status) == (made.transaction_id, "expire")
    assert ledger.advance(NOW + 48 * HOUR) == []


def test_a_card_waits_for_3_d_secure_a_quarter_of_an_hour(ledger: Ledger):
    tried(ledger, "pending", "credit_card")
    (expired,) = ledger.advance(NOW + timedelta(minutes=15))
    assert expired.status == "expire"


def test_an_expiry_with_a_start_time_ends_the_transaction_at_the_known_moment(ledger: Ledger):
    ledger.clear()
    ledger.open_page(request(expiry_start=NOW, expiry_duration=2 * HOUR), NOW)
    assert tried(ledger, now=NOW + HOUR).expires_at == NOW + 2 * HOUR


def test_an_expiry_without_a_start_time_counts_from_the_choice(ledger: Ledger):
    ledger.clear()
    ledger.open_page(request(page_duration=4 * HOUR, expiry_duration=2 * HOUR), NOW)
    assert tried(ledger, now=NOW + HOUR).expires_at == NOW + 3 * HOUR


def test_a_paid_transaction_does_not_expire(ledger: Ledger):
    made = tried(ledger)
    ledger.force(made.transaction_id, "settlement", NOW)
    assert ledger.advance(NOW + 240 * HOUR) == []


def test_an_earlier_deadline_does_not_end_what_has_moved_on(ledger: Ledger):
    """The hold lives eight days, although the transaction it grew from was due after one."""
    made = tried(ledger, "pending", "gopay")
    ledger.force(made.transaction_id, "authorize", NOW + HOUR)
    assert ledger.advance(NOW + 48 * HOUR) == []
    (released,) = ledger.advance(NOW + timedelta(days=9))
    assert released.status == "expire"


def test_what_the_clock_watches_does_not_grow_with_every_move(ledger: Ledger):
    made = tried(ledger)
    for _ in range(50):
        ledger.force(made.transaction_id, "pending", NOW)
    assert len(ledger._due) == 1
    assert len(ledger.advance(NOW + 24 * HOUR)) == 1


def test_a_deadline_that_comes_nearer_is_met(ledger: Ledger):
    made = tried(ledger, "authorize", "credit_card")
    ledger.force(made.transaction_id, "capture", NOW)
    (settled,) = ledger.advance(NOW + timedelta(days=2))
    assert settled.status == "settlement"
    assert ledger.advance(NOW + timedelta(days=9)) == []


def test_a_captured_card_settles_in_the_batch_of_the_next_day(ledger: Ledger):
    tried(ledger, "capture", "credit_card")
    (settled,) = ledger.advance(datetime(2026, 5, 28, 9, tzinfo=UTC))
    assert (settled.status, settled.captured_sen) == ("settlement", 150_000_00)


def test_clearing_forgets_everything(ledger: Ledger):
    tried(ledger)
    ledger.clear()
    assert list(ledger.pages()) == []
    assert ledger.advance(NOW + 240 * HOUR) == []
