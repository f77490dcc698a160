"""Every real event of the corpus, taken in by the whole: each payment ends as the index says.

The bodies stay as they were published but for the ids, which become those of our page, and the event's own id, which
repeats across the fixtures. What the event tells is what the double's ledger shows when it is asked.
"""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.stripe_double import StripeDouble, stripe_double
from harness.stripe_shop import StripeShop, new_order, stripe_shop
from payments_core.decide import Verdict
from payments_core.use_cases.receive_notification import Accepted
from payments_core_stripe.amounts import from_stripe

CORPUS = Path(__file__).parents[3] / "shared" / "corpus" / "stripe"
INDEX = json.loads((CORPUS / "index.json").read_text())["events"] if CORPUS.exists() else []
beside = pytest.mark.skipif(not INDEX, reason="the corpus does not lie beside this checkout (../shared/corpus)")

PAID_BEFORE = {"refund_total", "refund_state", "refund_pending", "refund_succeeded", "refund_failed"}
LEGACY = ("12_charge_captured", "14_charge_refunded", "15_charge_refund", "16_", "17_", "18_", "19_", "20_")
"""Published before intents, or without theirs: the money is named by its charge alone."""
STATUS = {
    "paid": {"success"},
    "pending": {"pending", "processing"},
    "dispute_open": {"success", "charged_back"},  # the money is gone while it is fought over, if the bank took it
}


@pytest.fixture(scope="module")
def running() -> Iterator[StripeDouble]:
    with stripe_double() as double:
        yield double


@pytest.fixture
async def shop(running: StripeDouble) -> AsyncIterator[StripeShop]:
    running.clear()
    async with stripe_shop(running) as opened:
        yield opened


def named(item: dict[str, Any]) -> str:
    return str(Path(item["file"]).name)


def total_of(item: dict[str, Any]) -> int:
    """What the order is about, in Stripe's units: the event's amount, or three times a refund's."""
    amount = item["amount_minor"] or 15_000_000
    return amount * 3 if item["object"] == "refund" else amount


async def before(shop: StripeShop, item: dict[str, Any]) -> str:
    """The payment in the natural state before this event, and the intent of its try; nobody told us the latest."""
    double, effect = shop.double, item["expected_effect"]
    money = from_stripe(total_of(item), item["currency"] or "idr")
    session_id = await shop.opened(new_order(money.amount_minor, 1, currency=money.currency.code))
    if effect in ("ignore", "zero_amount"):
        return ""
    if effect == "expire":
        double.expires(session_id)
        return ""
    delayed = item["event_type"].startswith("checkout.session.async") or named(item).startswith(("06", "27"))
    held = effect in ("authorize", "void") or named(item).startswith("32")
    pending = effect in ("failed_attempt", "none") and item["expected_status"] == "pending" and not (delayed or held)
    outcome = "delayed" if delayed else "authorized" if held else "action" if pending else "paid"
    intent_id = double.buyer(session_id, outcome)
    if effect in PAID_BEFORE or effect.startswith("dispute") or item["object"] == "dispute":
        await shop.hear_all()
        assert shop.status == "success"
    await the_ledger_shows(shop, item, intent_id)
    return intent_id


async def the_ledger_shows(shop: StripeShop, item: dict[str, Any], intent_id: str) -> None:
    """What the event is about has happened at the gateway."""
    double, effect = shop.double, item["expected_effect"]
    match effect:
        case "void":
            double.lapses(intent_id)
        case "failed":
            double.bounces(intent_id)
        case "refund_total":
            double.refunded_in_dashboard(intent_id, item["amount_refunded_minor"])
        case "refund_failed":
            refund_id = double.refunded_in_dashboard(intent_id, item["amount_minor"], refund_key="rf-1")
            await shop.hear(double.event("refund.created"))
            assert shop.status == "partially_refunded"
            double.refund_becomes(refund_id, "failed")
    if item["object"] == "dispute" or effect.startswith("dispute"):
        about = body_of(item)["data"]["object"]
        moves = about.get("balance_transactions", [])
        dispute_id = double.disputed(intent_id, about["status"], withdrawn=bool(moves))
        if effect == "dispute_reinstated" and len(moves) == 1:
            moves = [*moves, {"amount": about["amount"]}]  # its object is older than its type, as the index notes
        double.disputes[dispute_id]["balance_transactions"] = moves
        if effect in ("dispute_won", "dispute_lost") or item["expected_status"] == "paid":
            await shop.hear(double.event("charge.dispute.created"))


def body_of(item: dict[str, Any]) -> dict[str, Any]:
    return dict(json.loads((CORPUS / item["file"]).read_text()))


def as_ours(item: dict[str, Any], shop: StripeShop, intent_id: str) -> dict[str, Any]:
    """The event about our page."""
    event = body_of(item)
    about, attempt = event["data"]["object"], shop.payment.attempt(1)
    event["id"] = f"evt_fresh_{named(item)}"
    kind = item["event_type"]
    if kind.startswith("checkout.session"):
        about.update(id=attempt.token, client_reference_id=attempt.provider_order_id)
        about["payment_intent"] = intent_id or None
    elif kind.startswith("payment_intent"):
        about.update(id=intent_id, metadata={"provider_order_id": attempt.provider_order_id})
    elif kind.startswith("charge.") and not kind.startswith(("charge.dispute", "charge.refund.")):
        about.update(payment_intent=intent_id, metadata={"provider_order_id": attempt.provider_order_id})
    else:
        about["payment_intent"] = intent_id
    return event


@beside
@pytest.mark.parametrize("item", INDEX, ids=named)
async def test_a_stripe_event_ends_as_the_index_says(item: dict[str, Any], shop: StripeShop) -> None:
    """Delivered alone, to a payment in its natural state, with a gateway that stands by what it says."""
    intent_id = await before(shop, item)
    was = shop.status
    accepted = await shop.hear(as_ours(item, shop, intent_id))
    assert isinstance(accepted, Accepted)
    if item["expected_effect"] == "zero_amount":
        # Paid, with nothing: orders of nothing are refused before any gateway, so it is another amount than ours.
        assert (shop.status, shop.cases) == ("pending", ["amount_mismatch"])
        return
    expected = item["expected_status"]
    if expected is None:
        assert shop.status == (was if item["expected_effect"] != "refund_state" else "partially_refunded")
        return
    assert shop.status in STATUS.get(expected, {expected}), (accepted, shop.payment)
    if expected == "dispute_open":
        assert "dispute_open" in shop.cases
    if item["expected_effect"] in ("dispute_won", "dispute_inquiry", "dispute_inquiry_closed"):
        assert shop.cases == []


@beside
@pytest.mark.parametrize("item", [i for i in INDEX if named(i).startswith(LEGACY)], ids=named)
async def test_money_without_an_intent_is_kept_and_matched_with_nothing(item: dict[str, Any], shop: StripeShop) -> None:
    """As published, it names a charge nobody of ours made."""
    await shop.opened()
    event = body_of(item)
    event["id"] = f"evt_fresh_{named(item)}"
    accepted = await shop.hear(event)
    assert isinstance(accepted, Accepted)
    assert accepted.verdict in (Verdict.UNMATCHED, Verdict.STALE)
    assert (shop.status, shop.payment.charges) == ("pending", ())
