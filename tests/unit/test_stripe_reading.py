"""What an intent beside its session means: Stripe's table of statuses, row by row."""

from typing import Any

import pytest

from payments_core import Money, Signal, Unknown
from payments_core.observations import DisputeNews, Nothing, RefundNews
from payments_core_stripe import observe
from payments_core_stripe.reading import is_alive, read_intent, read_page_alone

OPEN, COMPLETE, EXPIRED = "open", "complete", "expired"


def intent(status: str, **more: Any) -> dict[str, Any]:
    return {
        "id": "pi_1",
        "status": status,
        "amount": 15_000_000,
        "amount_received": 15_000_000 if status == "succeeded" else 0,
        "currency": "idr",
        "metadata": {"provider_order_id": "p-1p"},
        "livemode": False,
        **more,
    }


def session(status: str | None, **more: Any) -> dict[str, Any] | None:
    if status is None:
        return None
    return {"id": "cs_1", "status": status, "client_reference_id": "p-1p", "payment_status": "unpaid", **more}


@pytest.mark.parametrize(
    ("status", "page", "meaning", "ends_page", "uses_up_page"),
    [
        ("requires_payment_method", OPEN, Signal.PENDING, False, False),
        ("requires_payment_method", None, Signal.PENDING, False, False),
        ("requires_payment_method", EXPIRED, Signal.EXPIRED, True, False),
        ("requires_payment_method", COMPLETE, Signal.FAILED, False, True),
        ("requires_action", OPEN, Signal.PENDING, False, False),
        ("requires_action", COMPLETE, Signal.PENDING, False, False),
        ("requires_action", EXPIRED, Signal.EXPIRED, True, False),
        ("requires_confirmation", OPEN, Signal.PENDING, False, False),
        ("processing", COMPLETE, Signal.PENDING, False, False),
        ("requires_capture", COMPLETE, Signal.AUTHORIZED, False, False),
        ("succeeded", COMPLETE, Signal.SETTLED, False, False),
        ("succeeded", EXPIRED, Signal.SETTLED, False, False),
        ("canceled", EXPIRED, Signal.EXPIRED, True, False),
        ("canceled", COMPLETE, Signal.CANCELLED, True, True),
        ("canceled", None, Signal.CANCELLED, False, False),
        ("a new word", COMPLETE, Unknown("a new word"), False, False),
    ],
)
def test_an_intent_means_what_its_session_lets_it_mean(
    status: str, page: str | None, meaning: object, ends_page: bool, uses_up_page: bool
) -> None:
    """A voucher shown on a complete session is alive; a bank debit that came back there is not."""
    seen = read_intent(intent(status), session(page))
    assert (seen.meaning, seen.ends_page, seen.uses_up_page) == (meaning, ends_page, uses_up_page)
    assert (seen.transaction_id, seen.provider_order_id, seen.live) == ("pi_1", "p-1p", False)
    assert seen.amount == Money.of(15_000_000, "IDR")


@pytest.mark.parametrize(
    ("status", "alive"),
    [("processing", True), ("requires_action", True), ("requires_capture", True), ("canceled", False),
     ("requires_payment_method", False), ("succeeded", False)],
)  # fmt: skip
def test_what_is_on_its_way_keeps_a_complete_page_alive(status: str, alive: bool) -> None:
    assert is_alive(intent(status)) is alive


def test_a_partial_capture_took_what_was_received() -> None:
    assert read_intent(intent("succeeded", amount_received=4_000_000), None).amount == Money.of(4_000_000, "IDR")


def test_an_intent_without_our_name_answers_to_its_own() -> None:
    """Then whose it is is what was bound."""
    assert read_intent(intent("succeeded", metadata={}), None).provider_order_id == "pi_1"


def test_a_page_speaks_for_itself_when_nobody_has_tried_to_pay() -> None:
    assert read_page_alone(session(OPEN) or {}) is None
    over = read_page_alone(session(EXPIRED) or {})
    assert over is not None
    assert (over.transaction_id, over.ends_page, type(over.meaning)) == ("", True, Nothing)


def dispute(status: str, *moves: int) -> dict[str, Any]:
    listed = [{"amount": amount} for amount in moves]
    return {"id": "du_1", "status": status, "amount": 5_000_000, "currency": "idr", "balance_transactions": listed}


@pytest.mark.parametrize(
    ("disputes", "news", "charged_back"),
    [
        ([dispute("warning_needs_response")], DisputeNews.INQUIRY, 0),
        ([dispute("warning_closed")], DisputeNews.INQUIRY, 0),
        ([dispute("needs_response")], DisputeNews.OPENED, 0),
        ([dispute("needs_response", -5_000_000)], DisputeNews.WITHDRAWN, 5_000_000),
        ([dispute("under_review", -5_000_000, 5_000_000)], DisputeNews.OPENED, 0),
        ([dispute("won", -5_000_000, 5_000_000)], DisputeNews.WON, 0),
        ([dispute("prevented")], DisputeNews.WON, 0),
        ([dispute("lost", -5_000_000)], DisputeNews.LOST, 5_000_000),
        ([dispute("won", -5_000_000, 5_000_000), dispute("lost", -5_000_000)], DisputeNews.LOST, 5_000_000),
        ([dispute("lost", -5_000_000), dispute("needs_response", -5_000_000)], DisputeNews.WITHDRAWN, 10_000_000),
    ],
)
def test_disputes_are_told_as_one_with_what_they_have_taken_by_now(
    disputes: list[dict[str, Any]], news: DisputeNews, charged_back: int
) -> None:
    seen = read_intent(intent("succeeded"), None, disputes=disputes)
    assert seen.dispute is not None
    assert seen.dispute.news is news
    assert (seen.charged_back.amount_minor if seen.charged_back else 0) == charged_back


def test_each_refund_is_told_under_our_key_or_its_own() -> None:
    ours = {"id": "re_1", "status": "succeeded", "amount": 1, "currency": "idr", "metadata": {"refund_key": "p-r1"}}
    theirs = {"id": "re_2", "status": "failed", "amount": 2, "currency": "idr", "metadata": {}}
    odd = {"id": "re_3", "status": "a new word", "amount": 3, "currency": "idr"}
    seen = read_intent(intent("succeeded"), None, refunds=[ours, theirs, odd])
    told = [(report.key, report.news) for report in seen.refunds]
    assert told == [("p-r1", RefundNews.CONFIRMED), ("re_2", RefundNews.RETURNED)]


@pytest.mark.parametrize("odd", [None, 5, "x" * 5_000, ["pi_1"], {"id": None}, "pi\x00_1"])
def test_odd_ids_are_as_good_as_none(odd: object) -> None:
    """Nothing that could not be stored gets as far as the store."""
    event = {
        "id": "evt_1",
        "type": "refund.updated",
        "data": {"object": {"status": "succeeded", "payment_intent": odd}},
    }
    assert observe(event).transaction_id == ""
