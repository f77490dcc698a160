"""Notifications as a receiver meets them: headers, signature, retries, redirects, duplicates, drops."""

import hashlib
import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import attrs
import pytest
import requests

from payments_core_simulator.process import RunningSimulator, running_simulator

pytestmark = pytest.mark.processes
TIMEOUT_S = 10
# Published intervals divided by this are a few milliseconds.
SPEED_UP = 100_000


@attrs.frozen
class Received:
    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class Receiver:
    """A merchant's webhook: keeps what it got, and answers `/503/...` with 503, `/307/x` with a redirect to `/x`."""

    def __init__(self) -> None:
        self._got: queue.Queue[Received] = queue.Queue()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        got = self._got

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                got.put(Received(self.path, dict(self.headers), json.loads(raw)))
                first, _, rest = self.path.lstrip("/").partition("/")
                if first == "hang":
                    time.sleep(float(rest))
                status = int(first) if first.isdigit() else 200
                self.send_response(status)
                if status in {301, 302, 303, 307, 308}:
                    self.send_header("Location", "/" + rest)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def get(self) -> Received:
        return self._got.get(timeout=TIMEOUT_S)

    def all(self) -> list[Received]:
        """Return what was not taken yet; meant for after the deliveries ended."""
        return [self._got.get_nowait() for _ in range(self._got.qsize())]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    opened = Receiver()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def server() -> Iterator[RunningSimulator]:
    with running_simulator("--notification-speed-up", str(SPEED_UP)) as running:
        yield running


@pytest.fixture
def simulator(server: RunningSimulator, receiver: Receiver) -> RunningSimulator:
    server.control("reset")
    server.control("settings", {"notify_url": f"{receiver.url}/notify"})
    return server


def create(simulator: RunningSimulator, order_id: str = "o-1", **headers: str) -> requests.Response:
    body = {"transaction_details": {"order_id": order_id, "gross_amount": 150_000}, "custom_field1": "shop-7"}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    url = f"{simulator.url}/snap/v1/transactions"
    answer = requests.post(url, json=body, auth=(simulator.server_key, ""), headers=named, timeout=TIMEOUT_S)
    assert answer.status_code == 201
    return answer


def pay(
    simulator: RunningSimulator, payment_type: str = "qris", outcome: str = "settlement", **more: object
) -> dict[str, Any]:
    return simulator.control("pay", {"order_id": "o-1", "payment_type": payment_type, "outcome": outcome, **more})


def counts(simulator: RunningSimulator) -> dict[str, int]:
    return simulator.view("ledger")["notifications"]


def until(condition: Callable[[], bool]) -> None:
    """Look again and again; the clock only decides when to give up."""
    gives_up = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < gives_up, "waited in vain"
        time.sleep(0.005)


def delivered(simulator: RunningSimulator, receiver: Receiver) -> list[Received]:
    until(lambda: counts(simulator)["pending"] == 0)
    return receiver.all()


def statuses(received: list[Received]) -> list[str]:
    return [one.body["transaction_status"] for one in received]


def test_a_notification_looks_and_signs_like_the_gateways(simulator: RunningSimulator, receiver: Receiver):
    create(simulator)
    pay(simulator)
    got = receiver.get()
    body = got.body
    signed = f"o-1200150000.00{simulator.server_key}"
    assert body["signature_key"] == hashlib.sha512(signed.encode()).hexdigest()
    assert (got.headers["User-Agent"], got.headers["Content-Type"]) == ("Veritrans", "application/json")
    assert (body["transaction_status"], body["custom_field1"]) == ("settlement", "shop-7")
    assert None not in body.values()
    assert delivered(simulator, receiver) == []
    assert counts(simulator) == {"sent": 1, "acknowledged": 1, "given_up": 0, "dropped": 0, "pending": 0}


@pytest.mark.parametrize(
    ("path", "requests_in_all"), [("503", 5), ("500", 2), ("404", 3), ("302/notify", 1), ("401", 6)]
)
def test_retries_follow_the_published_table(
    simulator: RunningSimulator, receiver: Receiver, path: str, requests_in_all: int
):
    simulator.control("settings", {"notify_url": f"{receiver.url}/{path}"})
    create(simulator)
    pay(simulator)
    assert len(delivered(simulator, receiver)) == requests_in_all
    assert counts(simulator)["given_up"] == 1


def test_a_receiver_that_is_not_there_is_tried_six_times(simulator: RunningSimulator):
    simulator.control("settings", {"notify_url": "http://127.0.0.1:9/notify"})
    create(simulator)
    pay(simulator)
    until(lambda: counts(simulator)["given_up"] == 1)
    (entry,) = simulator.view("notifications")["notifications"]
    assert (entry["attempts"], entry["last_answer"], entry["state"]) == (6, "unreachable", "given_up")


def test_a_receiver_that_is_too_slow_counts_as_not_having_answered(simulator: RunningSimulator, receiver: Receiver):
    delivery = {"timeout_s": 0.1, "speed_up": SPEED_UP}
    simulator.control("faults", {"delivery": delivery})
    simulator.control("settings", {"notify_url": f"{receiver.url}/hang/0.4"})
    create(simulator)
    pay(simulator)
    assert len(delivered(simulator, receiver)) == 6
    assert simulator.view("notifications")["notifications"][0]["last_answer"] == "timeout"


@pytest.mark.parametrize("status", [307, 308])
def test_a_307_or_308_is_followed_with_the_same_body(simulator: RunningSimulator, receiver: Receiver, status: int):
    simulator.control("settings", {"notify_url": f"{receiver.url}/{status}/notify"})
    create(simulator)
    pay(simulator)
    first, second = delivered(simulator, receiver)
    assert (second.path, second.body) == ("/notify", first.body)
    assert counts(simulator)["acknowledged"] == 1


@pytest.mark.parametrize(("hops", "done"), [(5, "acknowledged"), (6, "given_up")])
def test_redirects_are_followed_five_times(simulator: RunningSimulator, receiver: Receiver, hops: int, done: str):
    simulator.control("settings", {"notify_url": receiver.url + "/307" * hops + "/notify"})
    create(simulator)
    pay(simulator)
    delivered(simulator, receiver)
    assert counts(simulator)[done] == 1


@pytest.mark.parametrize("status", [301, 302, 303])
def test_other_redirects_fail_at_once(simulator: RunningSimulator, receiver: Receiver, status: int):
    """A redirect for a trailing slash loses every notification."""
    simulator.control("settings", {"notify_url": f"{receiver.url}/{status}/notify"})
    create(simulator)
    pay(simulator)
    assert [one.path for one in delivered(simulator, receiver)] == [f"/{status}/notify"]


def test_append_adds_urls_and_override_replaces_them(simulator: RunningSimulator, receiver: Receiver):
    create(simulator, X_Append_Notification=f"{receiver.url}/a,{receiver.url}/b")
    pay(simulator)
    assert sorted(one.path for one in delivered(simulator, receiver)) == ["/a", "/b", "/notify"]
    create(simulator, "o-2", X_Append_Notification=f"{receiver.url}/a", X_Override_Notification=f"{receiver.url}/o")
    simulator.control("pay", {"order_id": "o-2", "payment_type": "qris", "outcome": "settlement"})
    assert [one.path for one in delivered(simulator, receiver)] == ["/o"]


def test_each_refund_is_notified_without_and_then_with_the_banks_confirmation(
    simulator: RunningSimulator, receiver: Receiver
):
    create(simulator)
    pay(simulator, notify=False)
    auth = (simulator.server_key, "")
    asked = {"refund_key": "k-1", "amount": 5_000}
    for _ in range(2):
        requests.post(f"{simulator.url}/v2/o-1/refund", json=asked, auth=auth, timeout=TIMEOUT_S)
    without, with_it = delivered(simulator, receiver)
    assert "bank_confirmed_at" not in without.body["refunds"][0]
    assert "bank_confirmed_at" in with_it.body["refunds"][0]
    assert without.body["signature_key"] == with_it.body["signature_key"]


def test_every_action_of_the_merchant_is_notified(simulator: RunningSimulator, receiver: Receiver):
    create(simulator)
    pay(simulator, "bank_transfer", "pending")
    requests.post(f"{simulator.url}/v2/o-1/cancel", auth=(simulator.server_key, ""), timeout=TIMEOUT_S)
    pending, cancelled = delivered(simulator, receiver)
    assert (pending.body["status_code"], cancelled.body["status_code"]) == ("201", "202")
    assert statuses([pending, cancelled]) == ["pending", "cancel"]


def test_an_expiry_is_notified_when_time_is_moved_past_it(simulator: RunningSimulator, receiver: Receiver):
    create(simulator)
    pay(simulator, "qris", "pending", notify=False)
    simulator.control("clock", {"advance_s": 86_401})
    assert receiver.get().body["transaction_status"] == "expire"


def test_an_expiry_is_notified_without_anyone_asking(simulator: RunningSimulator, receiver: Receiver):
    """A start time in the past leaves two seconds of a minute."""
    start = (datetime.now(UTC) - timedelta(seconds=58)).strftime("%Y-%m-%d %H:%M:%S +0000")
    body = {
        "transaction_details": {"order_id": "o-1", "gross_amount": 150_000},
        "expiry": {"start_time": start, "duration": 1, "unit": "minute"},
    }
    url = f"{simulator.url}/snap/v1/transactions"
    requests.post(url, json=body, auth=(simulator.server_key, ""), timeout=TIMEOUT_S)
    pay(simulator, "qris", "pending")
    assert statuses([receiver.get(), receiver.get()]) == ["pending", "expire"]


def test_a_page_that_expires_without_a_choice_is_never_notified(simulator: RunningSimulator, receiver: Receiver):
    create(simulator)
    simulator.control("clock", {"advance_s": 86_401})
    assert delivered(simulator, receiver) == []


def test_a_reversal_is_notified_with_the_transaction_that_was_paid(simulator: RunningSimulator, receiver: Receiver):
    create(simulator)
    made = pay(simulator, "bank_transfer", "settlement", bank="permata")
    simulator.control("transition", {"transaction_id": made["transaction_id"], "to": "deny"})
    settled, reversed_ = delivered(simulator, receiver)
    assert settled.body["transaction_id"] == reversed_.body["transaction_id"]
    assert statuses([settled, reversed_]) == ["settlement", "deny"]


def test_the_dashboards_probe_is_signed_and_unknown_to_status(simulator: RunningSimulator, receiver: Receiver):
    simulator.control("test-notification")
    body = receiver.get().body
    assert body["order_id"].startswith("payment_notif_test_G000000000_")
    url = f"{simulator.url}/v2/{body['order_id']}/status"
    assert requests.get(url, auth=(simulator.server_key, ""), timeout=TIMEOUT_S).status_code == 404


def test_notify_false_is_silent(simulator: RunningSimulator, receiver: Receiver):
    create(simulator)
    pay(simulator, notify=False)
    assert delivered(simulator, receiver) == []
    assert counts(simulator)["sent"] == 0


def test_duplicates_drops_and_reordering_come_as_planned(simulator: RunningSimulator, receiver: Receiver):
    rules = [
        {"kind": "notification_drop", "statuses": ["deny"]},
        {"kind": "notification_duplicate", "statuses": ["settlement"], "copies": 1},
        {"kind": "notification_reorder", "statuses": ["pending"], "within_ms": 10_000},
    ]
    simulator.control("faults", {"faults": rules})
    create(simulator)
    for outcome in ("deny", "pending", "settlement"):
        pay(simulator, "qris", outcome)
    assert sorted(statuses(delivered(simulator, receiver))) == ["pending", "settlement", "settlement"]
    log = {
        (one["state"], one["body"]["transaction_status"]) for one in simulator.view("notifications")["notifications"]
    }
    assert log == {("dropped", "deny"), ("acknowledged", "pending"), ("acknowledged", "settlement")}


def test_a_reordered_notification_arrives_after_its_follower(simulator: RunningSimulator, receiver: Receiver):
    rule = {"kind": "notification_reorder", "statuses": ["pending"], "within_ms": 10_000}
    simulator.control("faults", {"faults": [rule]})
    create(simulator)
    made = pay(simulator, "qris", "pending")
    simulator.control("transition", {"transaction_id": made["transaction_id"], "to": "settlement"})
    assert statuses(delivered(simulator, receiver)) == ["settlement", "pending"]


def test_the_log_of_notifications_is_limited_and_filtered(simulator: RunningSimulator, receiver: Receiver):
    for number in (1, 2):
        create(simulator, f"o-{number}")
        simulator.control("pay", {"order_id": f"o-{number}", "payment_type": "qris", "outcome": "settlement"})
    delivered(simulator, receiver)
    (newest,) = simulator.view("notifications", limit="1")["notifications"]
    (first,) = simulator.view("notifications", order_id="o-1")["notifications"]
    assert (newest["body"]["order_id"], first["body"]["order_id"]) == ("o-2", "o-1")
    assert (first["attempts"], first["last_answer"]) == (1, 200)
