"""Midtrans' words -> ours: every status, fraud status and channel has one meaning."""

from datetime import UTC, datetime
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments_core.errors import MalformedNotification
from payments_core.money import Money
from payments_core.observations import Unknown
from payments_core.states import Signal
from payments_core_midtrans.observe import MEANINGS, observe

BODY = {
    "order_id": "01kdvdna000000000000000001-1p",
    "transaction_id": "b0b5-1",
    "transaction_status": "settlement",
    "status_code": "200",
    "gross_amount": "100000.00",
    "payment_type": "credit_card",
    "fraud_status": "accept",
}
STATUSES = sorted({status for status, _ in MEANINGS})


def said(**changes: object) -> object:
    fields = {**BODY, **changes}
    return observe({name: value for name, value in fields.items() if value is not None}).meaning


@pytest.mark.parametrize(
    ("status", "fraud", "meaning"),
    [
        ("pending", "accept", Signal.PENDING),
        ("authorize", "accept", Signal.AUTHORIZED),
        ("authorize", None, Signal.AUTHORIZED),
        ("authorize", "challenge", Signal.CHALLENGED),
        ("authorize", "deny", Signal.DENIED),
        ("capture", "accept", Signal.CAPTURED),
        ("capture", None, Signal.CAPTURED),
        ("capture", "challenge", Signal.CHALLENGED),
        ("capture", "deny", Signal.DENIED),
        ("settlement", "accept", Signal.SETTLED),
        ("settlement", None, Signal.SETTLED),
        ("deny", "accept", Signal.DENIED),
        ("deny", "deny", Signal.DENIED),
        ("cancel", None, Signal.CANCELLED),
        ("expire", None, Signal.EXPIRED),
        ("failure", None, Signal.FAILED),
        ("refund", None, Signal.SETTLED),
        ("partial_refund", None, Signal.SETTLED),
        ("chargeback", None, Signal.SETTLED),
        ("partial_chargeback", None, Signal.SETTLED),
    ],
)
def test_a_status_and_a_fraud_status_mean(status: str, fraud: str | None, meaning: Signal) -> None:
    assert said(transaction_status=status, fraud_status=fraud) is meaning
    assert said(transaction_status=status.upper(), fraud_status=fraud and fraud.upper()) is meaning


@pytest.mark.parametrize("status", ["capture", "authorize"])
def test_a_capture_with_code_201_is_under_review_whatever_the_fraud_status_says(status: str) -> None:
    """201 is not paid: do not deliver."""
    assert said(transaction_status=status, status_code="201") is Signal.CHALLENGED
    assert said(transaction_status=status, status_code="201", fraud_status=None) is Signal.CHALLENGED


def test_upper_case_pending_with_code_200_is_not_paid() -> None:
    """DANA's status answer says PENDING under 200."""
    assert said(transaction_status="PENDING", payment_type="dana") is Signal.PENDING


@given(st.text(min_size=1, max_size=20).filter(lambda w: w.lower() not in STATUSES and w.isprintable()))
def test_a_word_nobody_knows_is_unknown(word: str) -> None:
    assert isinstance(said(transaction_status=word), Unknown)


def test_a_settlement_under_a_fraud_status_nobody_knows_is_unknown() -> None:
    assert said(fraud_status="suspicious") == Unknown("settlement/suspicious")


@pytest.mark.parametrize(
    ("status", "method"), [*product(["expire", "cancel"], ["credit_card", "qris", "bank_transfer"])]
)
def test_what_may_end_the_page(status: str, method: str) -> None:
    """An expired card try was an abandoned 3-D Secure; an expired virtual account was the page's last chance."""
    ends = observe({**BODY, "transaction_status": status, "payment_type": method}).ends_page
    assert ends is (status == "cancel" or method != "credit_card")


def test_times_are_jakarta_times() -> None:
    seen = observe({**BODY, "transaction_time": "2026-11-23 21:40:00", "settlement_time": "2026-11-23 23:40:00"})
    assert seen.occurred_at == datetime(2026, 11, 23, 16, 40, tzinfo=UTC)


@pytest.mark.parametrize("odd", ["yesterday", "", 5, None, "2026-13-01 00:00:00"])
def test_an_odd_time_is_no_time(odd: object) -> None:
    assert observe({**BODY, "transaction_time": odd}).occurred_at is None


@pytest.mark.parametrize(("raw", "minor"), [("100000.00", 10_000_000), ("400000", 40_000_000), ("2700", 270_000)])
def test_amounts_are_read_with_and_without_decimals(raw: str, minor: int) -> None:
    assert observe({**BODY, "gross_amount": raw}).amount == Money.of(minor, "IDR")


@pytest.mark.parametrize("raw", ["1e5", "", "100.000,00", "0.001", "NaN"])
def test_an_odd_amount_is_malformed(raw: str) -> None:
    with pytest.raises(MalformedNotification):
        observe({**BODY, "gross_amount": raw})


def test_a_decline_says_why() -> None:
    declined = observe({**BODY, "transaction_status": "deny", "channel_response_code": "51"})
    assert declined.decline_code == "51"
    assert observe({**BODY, "transaction_status": "deny"}).decline_code == "deny"
    assert observe(BODY).decline_code is None


def test_refunds_are_known_by_their_key_and_not_by_their_number() -> None:
    """Each refund is notified twice, without and with the bank's confirmation."""
    refund = {"refund_chargeback_id": 1, "refund_amount": "30000.00", "refund_key": "r1"}
    confirmed = {**refund, "bank_confirmed_at": "2026-11-24 10:00:00"}
    twice = observe({**BODY, "transaction_status": "partial_refund", "refunds": [refund, confirmed]})
    assert [(report.key, report.amount) for report in twice.refunds] == [("r1", Money.of(3_000_000, "IDR"))]


def test_a_refund_listed_without_its_key_is_part_of_the_total_and_no_refund_of_its_own() -> None:
    """It may be one whose key we know: any field of it can be missing (midtrans.md section 5)."""
    ours = {"refund_chargeback_id": 1, "refund_amount": "30000.00"}
    other = {"refund_chargeback_id": 2, "refund_amount": "20000.00", "refund_key": "r2"}
    unnamed = {**BODY, "transaction_status": "partial_refund", "refunds": [ours, other]}
    seen = observe(unnamed)
    assert [report.key for report in seen.refunds] == ["r2"]
    assert (seen.refunded, seen.refunded_unknown) == (Money.of(5_000_000, "IDR"), False)
    assert observe({**unnamed, "refund_amount": "60000.00"}).refunded == Money.of(6_000_000, "IDR")
    assert observe({**unnamed, "refund_amount": "20000.00"}).refunded == Money.of(5_000_000, "IDR")
    without_amount = [{"refund_chargeback_id": 1}]
    assert observe({**unnamed, "refunds": without_amount}).refunded_unknown
    charged_back = observe({**unnamed, "transaction_status": "chargeback", "refund_amount": "60000.00"})
    assert (charged_back.refunded, charged_back.charged_back) == (Money.of(5_000_000, "IDR"), None)


def test_a_full_refund_needs_no_amount_and_a_partial_one_without_says_so() -> None:
    assert observe({**BODY, "transaction_status": "refund"}).refunded_all
    assert observe({**BODY, "transaction_status": "partial_refund"}).refunded_unknown


def test_charge_backs_without_an_amount_are_whole_or_unknown() -> None:
    assert observe({**BODY, "transaction_status": "chargeback"}).charged_back_all
    assert observe({**BODY, "transaction_status": "partial_chargeback"}).charged_back_unknown
    told = observe({**BODY, "transaction_status": "partial_chargeback", "refund_amount": "5000.00"})
    assert told.charged_back == Money.of(500_000, "IDR")
    assert not told.charged_back_unknown


def test_a_settlement_carries_no_refund_even_if_the_body_has_such_fields() -> None:
    """A refused refund answers with settlement and refund_amount 0.00."""
    seen = observe({**BODY, "refund_amount": "0.00"})
    assert seen.refunded is None
    assert seen.refunds == ()


@pytest.mark.parametrize("odd", ["x", 5, [5], [{"refund_amount": "1"}], {}])
def test_odd_refund_lists_break_nothing(odd: object) -> None:
    assert observe({**BODY, "transaction_status": "partial_refund", "refunds": odd}).refunds == ()


@pytest.mark.parametrize("word", ["authorize", "capture", "settlement", "refund", "partial_refund"])
@pytest.mark.parametrize("code", ["202", "407"])
def test_money_under_a_code_that_is_not_moneys_is_unknown(word: str, code: str) -> None:
    """The code is signed and the word is not: a denied body edited into a settlement."""
    assert said(transaction_status=word, status_code=code) == Unknown(f"{word}/{code}")
