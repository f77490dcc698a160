"""How transactions move: what the API allows, what the clock does, and that the amounts stay true."""

from datetime import UTC, datetime, timedelta

import attrs
import pytest

from payments_core_simulator.midtrans import moves
from payments_core_simulator.midtrans.limits import REFUNDS_PER_TRANSACTION_MAX
from payments_core_simulator.midtrans.values import Refund, Transaction
from payments_core_simulator.refusals import Refusal, Why

NOW = datetime(2026, 5, 27, 7, 30, tzinfo=UTC)
GROSS = 10_000_000


def at(word: str, payment_type: str = "credit_card") -> Transaction:
    created = Transaction(
        transaction_id="t-1",
        order_id="o-1",
        payment_type=payment_type,
        gross_sen=GROSS,
        authorized_sen=GROSS,
        created_at=NOW,
        changed_at=NOW,
        expires_at=NOW + timedelta(hours=1),
    )
    return moves.put(created, word, NOW, 1_000_000 if word == "partial_refund" else None)


def refund_of(amount_sen: int, key: str = "k-1") -> Refund:
    return Refund(1, key, amount_sen, NOW)


LEGAL = {
    "cancel": {"pending", "authorize", "capture", "challenge"},
    "expire": {"pending"},
    "approve": {"challenge"},
    "deny": {"challenge"},
    "capture": {"authorize"},
}
ACTIONS = {
    "cancel": moves.cancel,
    "expire": moves.expire,
    "approve": moves.approve,
    "deny": moves.deny,
    "capture": moves.capture,
}


@pytest.mark.parametrize("word", sorted(moves.WORDS))
@pytest.mark.parametrize("action", sorted(LEGAL))
def test_the_api_acts_only_where_the_documents_allow_it(action: str, word: str):
    """Everything else is 412 on the wire and changes nothing."""
    if word in LEGAL[action]:
        ACTIONS[action](at(word), NOW)
        return
    with pytest.raises(Refusal) as refused:
        ACTIONS[action](at(word), NOW)
    assert refused.value.why is Why.STATE


@pytest.mark.parametrize("word", sorted(moves.WORDS))
def test_a_refund_needs_settled_money(word: str):
    """A captured card is voided by cancel instead."""
    if word in {"settlement", "partial_refund"}:
        assert moves.refund(at(word), refund_of(100), whole=False).status == "partial_refund"
        return
    with pytest.raises(Refusal) as refused:
        moves.refund(at(word), refund_of(100), whole=False)
    assert refused.value.why is Why.STATE


@pytest.mark.parametrize("payment_type", ["bank_transfer", "echannel", "cstore"])
def test_money_that_came_by_bank_or_counter_is_never_refunded_by_the_gateway(payment_type: str):
    with pytest.raises(Refusal) as refused:
        moves.refund(at("settlement", payment_type), refund_of(100), whole=False)
    assert refused.value.why is Why.STATE


@pytest.mark.parametrize("amount_sen", [-100, 0, GROSS + 1])
def test_a_refund_of_nothing_or_of_more_than_is_left_is_refused(amount_sen: int):
    with pytest.raises(Refusal) as refused:
        moves.refund(at("settlement"), refund_of(amount_sen), whole=False)
    assert refused.value.why is Why.REFUND_AMOUNT


def test_parts_that_add_up_to_everything_make_a_full_refund():
    part = moves.refund(at("settlement"), refund_of(4_000_000, "a"), whole=False)
    rest = moves.refund(part, refund_of(6_000_000, "b"), whole=False)
    assert (part.status, rest.status, rest.refunded_sen) == ("partial_refund", "refund", GROSS)


def test_a_refund_without_an_amount_returns_all_that_is_left():
    part = moves.refund(at("settlement"), refund_of(4_000_000, "a"), whole=False)
    whole = moves.refund(part, refund_of(0, "b"), whole=True)
    assert (whole.refunds[-1].amount_sen, whole.left_sen) == (6_000_000, 0)


def test_ovo_refunds_all_or_nothing():
    with pytest.raises(Refusal) as refused:
        moves.refund(at("settlement", "ovo"), refund_of(100), whole=False)
    assert refused.value.why is Why.REFUND_AMOUNT
    assert moves.refund(at("settlement", "ovo"), refund_of(0), whole=True).status == "refund"


def test_a_used_refund_key_is_replayed_for_seven_days_and_then_refused():
    given = moves.refund(at("settlement"), refund_of(100), whole=False)
    within = NOW + timedelta(days=7)
    assert moves.refund_with_key(given, "k-1", within, replay=True) == given.refunds[0]
    assert moves.refund_with_key(given, "k-2", within, replay=True) is None
    with pytest.raises(Refusal) as refused:
        moves.refund_with_key(given, "k-1", within + timedelta(seconds=1), replay=True)
    assert refused.value.why is Why.REFUND_KEY_USED


def test_a_used_refund_key_is_refused_at_once_when_replay_is_off():
    given = moves.refund(at("settlement"), refund_of(100), whole=False)
    with pytest.raises(Refusal):
        moves.refund_with_key(given, "k-1", NOW, replay=False)


def test_confirming_keeps_the_first_confirmation():
    given = moves.refund(at("settlement"), refund_of(100, "a"), whole=False)
    once = moves.confirm_refunds(given, NOW)
    later = NOW + timedelta(days=1)
    twice = moves.confirm_refunds(moves.refund(once, refund_of(100, "b"), whole=False), later)
    assert [one.confirmed_at for one in twice.refunds] == [NOW, later]


def test_capturing_less_than_was_held_makes_that_the_gross_amount():
    """A later body of a partial capture names the captured amount, which is below the order's total."""
    taken = moves.capture(at("authorize"), NOW, 3_000_000)
    assert (taken.gross_sen, taken.captured_sen, taken.authorized_sen) == (3_000_000, 3_000_000, GROSS)


@pytest.mark.parametrize("amount_sen", [0, -1, GROSS + 1])
def test_capturing_nothing_or_more_than_was_held_is_refused(amount_sen: int):
    with pytest.raises(Refusal) as refused:
        moves.capture(at("authorize"), NOW, amount_sen)
    assert refused.value.why is Why.INVALID


def test_the_merchants_deny_is_the_only_one_that_the_fraud_status_repeats():
    assert moves.deny(at("challenge"), NOW).fraud == "deny"
    assert at("deny").fraud == "accept"


@pytest.mark.parametrize("start", sorted(moves.WORDS))
@pytest.mark.parametrize("to", sorted(moves.WORDS))
def test_a_test_may_force_any_move_and_the_amounts_stay_true(start: str, to: str):
    moved = moves.put(at(start), to, NOW, 1_000_000 if to == "partial_refund" else None)
    has_money = to not in moves.ENDED_WITHOUT_MONEY | moves.HOLDING
    assert (moved.captured_sen > 0) is has_money
    assert moved.captured_sen >= 0
    assert moved.refunded_sen >= 0
    if to not in moves.REFUNDING | moves.CHARGING_BACK:
        assert (moved.refunded_sen, moved.charged_back_sen) == (0, 0)


def test_a_reversal_takes_the_captured_money_back():
    """Settlement, then deny on the same transaction: the bank took the money back."""
    assert moves.put(at("settlement"), "deny", NOW).captured_sen == 0


def test_a_settlement_of_another_amount_changes_what_was_captured_and_what_is_named():
    one_off = moves.put(at("pending"), "settlement", NOW, GROSS + 1)
    assert (one_off.gross_sen, one_off.captured_sen) == (GROSS + 1, GROSS + 1)


def test_a_transaction_takes_a_bounded_number_of_refunds():
    given = at("settlement")
    for number in range(REFUNDS_PER_TRANSACTION_MAX):
        given = moves.put(given, "partial_refund", NOW, 1, number)
    with pytest.raises(Refusal) as refused:
        moves.put(given, "partial_refund", NOW, 1)
    assert refused.value.why is Why.FULL
    with pytest.raises(Refusal):
        moves.refund(given, refund_of(1, "k"), whole=False)


def test_a_charge_back_takes_what_refunds_left():
    charged = moves.put(at("partial_refund"), "chargeback", NOW)
    assert charged.left_sen == 0
    assert charged.charged_back_sen == GROSS - 1_000_000


@pytest.mark.parametrize(("to", "amount_sen"), [("partial_refund", None), ("deny", 100), ("expire", 100)])
def test_a_forced_move_with_an_amount_that_means_nothing_is_refused(to: str, amount_sen: int | None):
    with pytest.raises(Refusal) as refused:
        moves.put(at("settlement"), to, NOW, amount_sen)
    assert refused.value.why is Why.NONSENSE


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("pending", (NOW + timedelta(hours=1), "expire")),
        ("authorize", (NOW + timedelta(days=8), "expire")),
        # The card batch runs on the next day at 16:00 GMT+7, which is 09:00 UTC.
        ("capture", (datetime(2026, 5, 28, 9, tzinfo=UTC), "settlement")),
        ("challenge", (datetime(2026, 5, 28, 9, tzinfo=UTC), "cancel")),
        ("settlement", None),
        ("deny", None),
    ],
)
def test_the_clock_knows_what_is_due(word: str, expected: tuple[datetime, str] | None):
    assert moves.due(at(word)) == expected


def test_moves_leave_the_value_they_came_from_alone():
    before = at("pending")
    copy = attrs.evolve(before)
    moves.put(before, "settlement", NOW, 5)
    assert before == copy
