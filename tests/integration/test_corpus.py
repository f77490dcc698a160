"""Real bodies of the gateways, gathered beside the project: each ends in the outcome its index names.

The corpus is data for this test only; where it does not lie beside the checkout, the test says so and is skipped.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from payments_core.errors import NotAuthentic
from payments_core.money import Money
from payments_core.observations import DisputeNews, Nothing, Observation, RefundNews, Unknown
from payments_core.ports import Genuine
from payments_core.states import Signal
from payments_core_midtrans import MidtransGateway, MidtransSettings, signature_of
from payments_core_midtrans import observe as observe_midtrans
from payments_core_stripe import observe as observe_stripe
from payments_core_stripe.amounts import to_stripe

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"
KEY = "SB-Mid-server-corpus"

OUTCOMES = {
    "pending": Signal.PENDING,
    "authorized": Signal.AUTHORIZED,
    "challenged": Signal.CHALLENGED,
    "paid": (Signal.CAPTURED, Signal.SETTLED),
    "failed_attempt": (Signal.DENIED, Signal.FAILED),
    "denied": Signal.DENIED,
    "cancelled": Signal.CANCELLED,
    "expired": Signal.EXPIRED,
}


def index(gateway: str, key: str) -> list[dict[str, Any]]:
    path = CORPUS / gateway / "index.json"
    return list(json.loads(path.read_text())[key]) if path.exists() else []


MIDTRANS, STRIPE = index("midtrans", "items"), index("stripe", "events")
beside = pytest.mark.skipif(not MIDTRANS, reason="the corpus does not lie beside this checkout (../shared/corpus)")


# ── Midtrans ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def midtrans_body(item: dict[str, Any]) -> dict[str, Any]:
    return dict(json.loads((CORPUS / "midtrans" / item["file"]).read_text()))


def matches(observation: Observation, outcome: str) -> bool:
    if outcome in ("refunded", "partially_refunded"):
        given_back = observation.refunded_all or observation.refunded_unknown or observation.refunded is not None
        whole = observation.refunded_all
        known = given_back or any(report.amount for report in observation.refunds)
        return observation.meaning is Signal.SETTLED and known and whole is (outcome == "refunded")
    expected = OUTCOMES[outcome]
    return observation.meaning in (expected if isinstance(expected, tuple) else (expected,))


@beside
@pytest.mark.parametrize("item", MIDTRANS, ids=[item["file"] for item in MIDTRANS])
def test_a_midtrans_body_means_what_the_index_says(item: dict[str, Any]) -> None:
    observation = observe_midtrans(midtrans_body(item))
    named = {item["expected_outcome"], item.get("acceptable_alternative", item["expected_outcome"])}
    if item["file"].startswith("032"):
        pytest.skip("the reply to a refused capture call; never a reading of the transaction, which stays authorized")
    if item["file"].startswith("041"):
        # The reply to a refused refund: under its code it is no settlement, and changes nothing.
        assert isinstance(observation.meaning, Unknown)
        return
    assert any(matches(observation, outcome) for outcome in named), observation


@beside
@pytest.mark.parametrize(
    "item", [i for i in MIDTRANS if i["kind"] == "notification"], ids=lambda item: str(item["file"])
)
def test_a_midtrans_notification_is_accepted_or_refused_as_the_index_says(item: dict[str, Any]) -> None:
    body = midtrans_body(item)
    if item["expected_handling"] == "reject_unless_resigned":
        with pytest.raises(NotAuthentic):
            gateway(KEY).authenticate(json.dumps(body).encode(), {})
    if item["needs_resigning"]:
        body["signature_key"] = signature_of(body["order_id"], body["status_code"], body["gross_amount"], KEY)
    key = KEY if item["needs_resigning"] else item["server_key"]
    assert isinstance(gateway(key).authenticate(json.dumps(body).encode(), {}), Genuine)
    with pytest.raises(NotAuthentic):
        gateway("another-key").authenticate(json.dumps(body).encode(), {})


def gateway(key: str) -> MidtransGateway:
    return MidtransGateway(MidtransSettings(server_key=key, threads=1))


# ── Stripe: the port is not one gateway's shape ───────────────────────────────────────────────────────────────────────
def stripe_event(item: dict[str, Any]) -> dict[str, Any]:
    return dict(json.loads((CORPUS / "stripe" / item["file"]).read_text()))


EFFECTS: dict[str, Any] = {
    "capture": lambda o: o.meaning is Signal.SETTLED,
    "zero_amount": lambda o: o.meaning is Signal.SETTLED and o.amount.amount_minor == 0,
    "authorize": lambda o: o.meaning is Signal.AUTHORIZED,
    "void": lambda o: o.meaning is Signal.CANCELLED,
    "expire": lambda o: o.ends_page and (o.meaning is Signal.EXPIRED or not o.transaction_id),
    "failed": lambda o: o.meaning is Signal.FAILED and o.uses_up_page,
    "failed_attempt": lambda o: o.decline_code and (o.meaning is Signal.PENDING or isinstance(o.meaning, Nothing)),
    "ignore": lambda o: isinstance(o.meaning, Nothing),
    "refund_total": lambda o: o.refunded is not None,
    "refund_pending": lambda o: o.refunds[0].news is RefundNews.PENDING,
    "refund_state": lambda o: o.refunds[0].news is RefundNews.CONFIRMED,
    "refund_succeeded": lambda o: o.refunds[0].news is RefundNews.CONFIRMED,
    "refund_failed": lambda o: o.refunds[0].news is RefundNews.RETURNED,
    "dispute_inquiry": lambda o: o.dispute.news is DisputeNews.INQUIRY,
    "dispute_inquiry_closed": lambda o: o.dispute.news is DisputeNews.INQUIRY,
    "dispute_opened": lambda o: o.dispute.news is DisputeNews.OPENED,
    "dispute_withdrawn": lambda o: o.dispute.news is DisputeNews.WITHDRAWN,
    "dispute_reinstated": lambda o: o.dispute.news is DisputeNews.REINSTATED,
    "dispute_won": lambda o: o.dispute.news is DisputeNews.WON,
    "dispute_lost": lambda o: o.dispute.news is DisputeNews.LOST,
    "none": lambda o: o.meaning is Signal.PENDING or o.dispute.news is DisputeNews.OPENED,
}


@beside
@pytest.mark.parametrize("item", STRIPE, ids=[str(item["file"]) for item in STRIPE])
def test_a_stripe_event_means_what_the_index_says(item: dict[str, Any]) -> None:
    observation = observe_stripe(stripe_event(item))
    assert EFFECTS[item["expected_effect"]](observation), observation


@beside
@pytest.mark.parametrize("item", STRIPE, ids=[str(item["file"]) for item in STRIPE])
def test_a_stripe_event_names_its_money_and_its_amount(item: dict[str, Any]) -> None:
    event = stripe_event(item)
    observation, about = observe_stripe(event), event["data"]["object"]
    assert observation.transaction_id in (about.get("payment_intent"), about.get("charge"), about.get("id"), "")
    assert observation.live is False
    if item["amount_refunded_minor"]:
        assert observation.refunded is not None
        assert to_stripe(observation.refunded) == item["amount_refunded_minor"]
    if isinstance(observation.meaning, Signal) and item["amount_minor"] is not None:
        assert to_stripe(amount_of(observation)) == item["amount_minor"]


def amount_of(observation: Observation) -> Money:
    assert observation.amount is not None
    return observation.amount


@beside
def test_rupiah_has_two_decimals_at_stripe() -> None:
    """Rp150,000 is 15000000 there and 150000 at Midtrans: the exponent belongs to the gateway."""
    derived = [i for i in STRIPE if i["currency"] == "idr" and i["expected_effect"] == "capture"]
    assert derived
    for item in derived:
        assert amount_of(observe_stripe(stripe_event(item))) == Money.of(15_000_000, "IDR")


@beside
def test_every_item_of_the_corpus_was_looked_at() -> None:
    assert (len(MIDTRANS), len(STRIPE)) == (58, 37)
