"""The official SDK, bounded: what a gateway that answers oddly, slowly, too much or not at all leads to."""

import json
import time
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any

import attrs
import pytest

from harness.scripted import Scripted, says, scripted_server
from harness.stripe_double import KEY
from harness.stripe_shop import new_order
from payments_core import Attempt, Money
from payments_core.errors import GatewayTimeout, GatewayUnavailable
from payments_core.payment import Refund, RefundState
from payments_core.ports import Done, KeyUsed, PageClosing, PageRefused, Refused, Waiting
from payments_core.system import SystemClock
from payments_core.testing.gateways import sample_attempt
from payments_core_stripe import StripeGateway, StripeSettings


@pytest.fixture(scope="module")
def server() -> Iterator[Scripted]:
    with scripted_server() as running:
        yield running


@pytest.fixture
async def gateway(server: Scripted) -> AsyncIterator[StripeGateway]:
    server.seen.clear()
    settings = StripeSettings(secret_key=KEY, api_url=server.url, timeout=timedelta(seconds=1))
    gateway = StripeGateway(settings)
    yield gateway
    await gateway.close()


def attempt_at(gateway: StripeGateway) -> Attempt:
    return sample_attempt(gateway, new_order().items[0].price)


def refusal(status: int, code: str = "", kind: str = "invalid_request_error", **headers: str) -> Any:
    body = json.dumps({"error": {"type": kind, "code": code, "message": "because"}})
    return says(status, body, **headers)


REFUND = Refund(
    key="k-r1",
    transaction_id="pi_1",
    amount=Money.of(5_000, "IDR"),
    state=RefundState.SENT,
    by="operator:olivia",
    at=SystemClock().now(),
)


async def test_what_is_sent_is_pinned_and_under_our_key(gateway: StripeGateway, server: Scripted) -> None:
    """Version, key and idempotency key; nothing is retried by the SDK itself."""
    server.answer = says(500, "{}")
    attempt = attempt_at(gateway)
    with pytest.raises(GatewayUnavailable):
        await gateway.open_page(attempt)
    (request,) = server.seen
    assert request.path == "/v1/checkout/sessions"
    headers = {name.lower(): value for name, value in request.headers.items()}
    assert headers["stripe-version"] == "2026-10-28.endive"
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["idempotency-key"] == f"{attempt.provider_order_id}:create"


@pytest.mark.parametrize(
    "answer",
    [
        says(200, "<html>maintenance</html>", "text/html"),
        says(404, "<html>not here</html>", "text/html"),
        says(502, "<html>bad gateway</html>", "text/html"),
        says(302, "", Location="https://elsewhere.example/"),
        says(200, "[]"),
        says(200, "null"),
        says(200, '"paid"'),
        says(200, b"\xff\xfe"),
        says(200, "{}"),
        says(200, '{"id": "cs_1", "url": "javascript:alert(1)", "amount_total": 1}'),
        says(200, '{"id": 5, "url": ["x"]}'),
        says(200, "[" * 100_000),
        says(200, "x" * 2_000_000),
        refusal(401),
        refusal(403),
        refusal(409),
        refusal(429),
        refusal(500),
        refusal(404, "", "invalid_request_error"),
    ],
)
async def test_what_is_no_answer_of_stripe_leaves_the_page_unknown(
    gateway: StripeGateway, server: Scripted, answer: Any
) -> None:
    """Unknown is not failure: the same request is sent again."""
    server.answer = answer
    with pytest.raises(GatewayUnavailable) as unknown:
        await gateway.open_page(attempt_at(gateway))
    assert unknown.value.retryable
    assert KEY not in str(unknown.value)


@pytest.mark.parametrize("status", [400, 402])
async def test_a_definitive_no_refuses_the_page_with_stripes_words(
    gateway: StripeGateway, server: Scripted, status: int
) -> None:
    server.answer = refusal(status, "amount_too_small")
    assert await gateway.open_page(attempt_at(gateway)) == PageRefused(("because",))


async def test_an_error_stripe_stored_under_the_key_is_definitive(gateway: StripeGateway, server: Scripted) -> None:
    """It comes back with every repetition for a day; nobody was given the page, so another key may open another."""
    server.answer = refusal(500, kind="api_error", Idempotent_Replayed="true")
    assert await gateway.open_page(attempt_at(gateway)) == PageRefused(("because",))


def drips(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    for _ in range(30):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.1)


def waits(_handler: BaseHTTPRequestHandler) -> None:
    time.sleep(2)


@pytest.mark.parametrize("answer", [drips, waits])
async def test_a_slow_answer_ends_in_time(gateway: StripeGateway, server: Scripted, answer: Any) -> None:
    """The SDK alone would wait for eighty seconds, and for ever while something drips."""
    server.answer = answer
    with pytest.raises(GatewayTimeout):
        await gateway.read("pi_1")


async def test_nobody_there_is_unknown() -> None:
    settings = StripeSettings(secret_key=KEY, api_url="http://127.0.0.1:9", timeout=timedelta(seconds=1))
    gateway = StripeGateway(settings)
    with pytest.raises(GatewayUnavailable):
        await gateway.read("pi_1")
    await gateway.close()


async def test_only_stripes_own_word_for_missing_is_none(gateway: StripeGateway, server: Scripted) -> None:
    """A 404 of another kind is another server."""
    server.answer = refusal(404, "resource_missing")
    assert await gateway.read("pi_1") is None
    assert await gateway.read_page(attrs.evolve(attempt_at(gateway), token="cs_1")) is None
    server.answer = refusal(404)
    with pytest.raises(GatewayUnavailable):
        await gateway.read("pi_1")


async def test_a_session_stripe_does_not_know_is_no_proof(gateway: StripeGateway, server: Scripted) -> None:
    """It forgets none, so we asked in another account's name; the page may be open in its own."""
    server.answer = refusal(404, "resource_missing")
    page = attrs.evolve(attempt_at(gateway), token="cs_1")
    assert await gateway.close_page(page) is PageClosing.IN_PROGRESS


@pytest.mark.parametrize("intent", ['"pi_1"', '{"id": "pi_1", "status": "succeeded", "amount_received": "x"}', "5"])
async def test_an_answer_that_cannot_be_read_is_unknown(gateway: StripeGateway, server: Scripted, intent: str) -> None:
    server.answer = says(200, f'{{"id": "cs_1", "status": "complete", "data": [], "payment_intent": {intent}}}')
    with pytest.raises(GatewayUnavailable):
        await gateway.read_page(attrs.evolve(attempt_at(gateway), token="cs_1"))


@pytest.mark.parametrize(
    ("answer", "reply"),
    [
        (says(200, '{"id": "re_1", "status": "succeeded"}'), Done()),
        (says(200, '{"id": "re_1", "status": "pending"}'), Waiting()),
        (says(200, '{"id": "re_1", "status": "requires_action"}'), Waiting()),
        (says(200, '{"id": "re_1", "status": "something new"}'), Waiting()),
        (
            says(200, '{"id": "re_1", "status": "failed", "failure_reason": "lost_or_stolen_card"}'),
            Refused(("Stripe says: lost_or_stolen_card",)),
        ),
        (refusal(400, "charge_already_refunded"), Refused(("because",))),
        (refusal(400, "", "idempotency_error"), KeyUsed()),
    ],
)
async def test_what_stripe_says_of_a_refund(
    gateway: StripeGateway, server: Scripted, answer: Any, reply: object
) -> None:
    server.answer = answer
    assert await gateway.refund(REFUND) == reply


async def test_a_status_word_nobody_knows_is_unknown_and_pays_nothing(gateway: StripeGateway, server: Scripted) -> None:
    """Stripe's words are open: a new one must neither crash nor default to paid."""
    server.answer = says(200, '{"id": "pi_1", "status": "almost_succeeded", "amount": 5, "currency": "idr"}')
    seen = await gateway.read("pi_1")
    assert seen is not None
    assert type(seen.meaning).__name__ == "Unknown"
