"""Events of the Stripe simulator as a receiver meets them: signatures the SDK verifies, retries, faults, no order."""

import json
import queue
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import attrs
import pytest
import requests
import stripe

from harness.product import until
from harness.stripe_simulator import SECRETS, Stripe, error_of, running_stripe

pytestmark = pytest.mark.processes
TIMEOUT_S = 20


@attrs.frozen
class Delivery:
    """What came over the wire."""

    body: bytes
    signature: str

    @property
    def event(self) -> dict[str, Any]:
        """The body, once the SDK has verified it with the newest secret."""
        return dict(stripe.Webhook.construct_event(self.body, self.signature, SECRETS[0]).to_dict())  # type: ignore[no-untyped-call]


class Receiver:
    """A merchant's webhook; it answers with the codes it was told, then with 200."""

    def __init__(self) -> None:
        self.got: queue.Queue[Delivery] = queue.Queue()
        self.answers: list[int] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}/webhook"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.put(Delivery(raw, self.headers.get("Stripe-Signature", "")))
                self.send_response(receiver.answers.pop(0) if receiver.answers else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def next(self) -> Delivery:
        return self.got.get(timeout=TIMEOUT_S)

    def take(self, count: int) -> list[dict[str, Any]]:
        return [self.next().event for _ in range(count)]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def server() -> Iterator[Stripe]:
    with running_stripe() as running:
        yield Stripe.of(running)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def api(server: Stripe, receiver: Receiver) -> Stripe:
    server.simulator.control("reset")
    server.simulator.control("settings", {"notify_url": receiver.url})
    server.simulator.control("faults", {"delivery": {"speed_up": 1_000_000}})
    return server


def test_a_card_payment_sends_what_stripe_sends(api: Stripe, receiver: Receiver):
    """Several events describe the same money; effects must be keyed on it, not counted."""
    api.paid()
    events = receiver.take(4)
    assert {event["type"] for event in events} == {
        "payment_intent.created",
        "charge.succeeded",
        "payment_intent.succeeded",
        "checkout.session.completed",
    }
    assert len({event["id"] for event in events}) == 4
    for event in events:
        assert (event["object"], event["livemode"], event["api_version"]) == ("event", False, "2026-10-28.endive")


def test_every_secret_signs_while_one_is_rolled(api: Stripe, receiver: Receiver):
    api.paid()
    got = receiver.next()
    for secret in SECRETS:
        stripe.Webhook.construct_event(got.body, got.signature, secret)  # type: ignore[no-untyped-call]
    assert got.signature.count("v1=") == 2
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(got.body, got.signature, "whsec_other")  # type: ignore[no-untyped-call]
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(got.body + b" ", got.signature, SECRETS[0])  # type: ignore[no-untyped-call]


def test_an_event_shows_its_object_as_it_was_then(api: Stripe, receiver: Receiver):
    """An event that comes late is old: the object may have moved on."""
    api.paid()
    receiver.take(4)
    api.becomes("refund", amount=1000)
    api.becomes("refund", amount=2000)
    refunded = [event for event in receiver.take(4) if event["type"] == "charge.refunded"]
    assert sorted(event["data"]["object"]["amount_refunded"] for event in refunded) == [1000, 3000]


def test_an_event_names_the_request_that_caused_it(api: Stripe, receiver: Receiver):
    made = api.create(key="k")
    api.client.v1.checkout.sessions.expire(made.id, options={"idempotency_key": "expire-1"})
    (event,) = receiver.take(1)
    assert (event["type"], event["request"]["idempotency_key"]) == ("checkout.session.expired", "expire-1")
    assert event["request"]["id"].startswith("req_")


@pytest.mark.parametrize("answer", [400, 301, 500, 503])
def test_anything_but_success_is_tried_again_with_the_same_event(api: Stripe, receiver: Receiver, answer: int):
    receiver.answers = [answer] * 2
    made = api.create()
    api.client.v1.checkout.sessions.expire(made.id)
    ids = {event["id"] for event in receiver.take(3)}
    assert len(ids) == 1
    until(lambda: api.simulator.view("ledger")["notifications"]["acknowledged"] == 1, what="the acknowledgement")


def test_a_receiver_that_never_takes_it_is_given_up(api: Stripe, receiver: Receiver):
    receiver.answers = [500] * 6
    api.client.v1.checkout.sessions.expire(api.create().id)
    until(lambda: api.simulator.view("ledger")["notifications"]["given_up"] == 1, what="the end of retries")
    assert receiver.got.qsize() == 6


@pytest.mark.parametrize(
    ("rule", "deliveries"),
    [
        ({"kind": "notification_duplicate", "statuses": ["charge.succeeded"]}, 5),
        ({"kind": "notification_drop", "statuses": ["charge.succeeded"]}, 3),
        ({"kind": "notification_delay", "ms": 50}, 4),
    ],
)
def test_events_are_repeated_lost_and_late_on_request(
    api: Stripe, receiver: Receiver, rule: dict[str, Any], deliveries: int
):
    api.simulator.control("faults", {"faults": [rule]})
    api.paid()
    receiver.take(deliveries)
    counts = api.simulator.view("ledger")["notifications"]
    assert counts["sent"] == deliveries
    assert counts["pending"] + counts["acknowledged"] == deliveries


def test_what_was_lost_is_found_in_the_list_of_events(api: Stripe, receiver: Receiver):
    """The way back after an outage; nothing was delivered, everything is listed."""
    api.simulator.control("faults", {"faults": [{"kind": "notification_drop"}]})
    api.paid()
    listed: Any = api.client.v1.events.list({"types": ["payment_intent.succeeded", "checkout.session.*"]}).data
    assert {event.type for event in listed} == {"payment_intent.succeeded", "checkout.session.completed"}
    assert receiver.got.empty()
    one = api.client.v1.events.retrieve(listed[0].id)
    assert one.type == listed[0].type


def test_a_lever_can_move_without_telling(api: Stripe, receiver: Receiver):
    api.create()
    api.pay(notify=False)
    assert "payment_intent.succeeded" in api.events()
    assert receiver.got.empty()
    assert api.simulator.view("ledger")["notifications"]["sent"] == 0


# ── faults of calls ───────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("rule", "status", "kind"),
    [
        ({"kind": "server_error", "status": 503}, 503, stripe.APIError),
        ({"kind": "html"}, 502, stripe.APIError),
        ({"kind": "rate_limit"}, 429, stripe.RateLimitError),
        ({"kind": "rate_limit", "code": "lock_timeout"}, 429, stripe.RateLimitError),
        ({"kind": "cut", "applied": True}, None, stripe.APIConnectionError),
    ],
)
def test_the_sdk_sees_a_bad_network_as_what_it_is(
    api: Stripe, rule: dict[str, Any], status: int | None, kind: type[stripe.StripeError]
):
    api.simulator.control("faults", {"faults": [{**rule, "calls": ["session_create"], "count": 1}]})
    error = error_of(lambda: api.create(key="k"))
    assert isinstance(error, kind)
    assert error.http_status == status
    api.create(key="k")
    assert len(api.simulator.view("ledger")["orders"]["o-1"]["sessions"]) == 1


@pytest.mark.parametrize(
    "rule",
    [{"kind": "cut", "calls": ["snap_create"]}, {"kind": "status_lag", "seconds": 5}, {"kind": "bank_refusal"}],
)
def test_a_plan_that_could_never_fire_here_is_refused(api: Stripe, rule: dict[str, Any]):
    answer = requests.post(f"{api.simulator.url}/_sim/faults", json={"faults": [rule]}, timeout=10)
    assert answer.status_code == 400
    assert "$.faults[0]" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("lever", "body", "status"),
    [
        ("pay", {"order_id": "nobody"}, 404),
        ("pay", {"outcome": "succeeded"}, 400),
        ("pay", {"order_id": "o-1", "session": "cs_1"}, 400),
        ("pay", {"order_id": "o-1", "outcome": "settlement"}, 400),
        ("pay", {"order_id": "o-1", "outcome": "processing", "method": "card"}, 400),
        ("pay", {"order_id": "o-1", "method": "cash"}, 400),
        ("transition", {"order_id": "o-1", "to": "succeed"}, 404),
        ("transition", {"order_id": "o-1", "to": "vanish"}, 400),
        ("settings", {"notify_url": "ftp://x"}, 400),
        ("settings", {"secret_key": "sk_test_other"}, 400),
    ],
)
def test_a_lever_pulled_wrongly_changes_nothing(api: Stripe, lever: str, body: dict[str, Any], status: int):
    api.create()
    before = api.simulator.view("ledger")["orders"]
    answer = requests.post(f"{api.simulator.url}/_sim/{lever}", json=body, timeout=10)
    assert answer.status_code == status, answer.text
    assert api.simulator.view("ledger")["orders"] == before


def test_no_secret_is_ever_shown(api: Stripe):
    shown = json.dumps(api.simulator.control("settings", {}))
    assert "whsec" not in shown
    assert "sk_test" not in shown
