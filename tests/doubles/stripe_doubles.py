"""The same requests of the official SDK against our Stripe simulator and against servers that others wrote.

Not collected by pytest and not run in CI: the others are installed by hand, each in a folder of its own, and started as
processes of their own (localstripe is GPL: it is never imported). `docs/reference/stripe-doubles.md` has the last run.

    python tests/doubles/stripe_doubles.py --localstripe bin/localstripe --node bin/node --modules node_modules
"""

import argparse
import json
import os
import queue
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests
import stripe

SECRET = "whsec_doubles"
KEY = "sk_test_doubles"
READY_S = 60
EVENT_S = 5.0


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Webhook:
    """Receives events and asks the SDK whether they are genuine."""

    def __init__(self) -> None:
        self.seen: queue.Queue[str] = queue.Queue()
        seen = self.seen

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                kind = json.loads(body).get("type", "?")
                try:
                    stripe.WebhookSignature.verify_header(body.decode(), self.headers["Stripe-Signature"], SECRET)
                    named = "id" if json.loads(body).get("id") else "no id"
                    seen.put(f"{kind} (verified, {named})")
                except (stripe.SignatureVerificationError, TypeError, AttributeError) as error:
                    seen.put(f"{kind} ({type(error).__name__})")
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Keep quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/wh"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def taken(self) -> list[str]:
        """What has come within a few seconds."""
        until, kinds = time.monotonic() + EVENT_S, []
        while time.monotonic() < until:
            try:
                kinds.append(self.seen.get(timeout=0.2))
            except queue.Empty:
                continue
        return sorted(kinds)


@contextmanager
def process(command: list[str], url: str, **environment: str) -> Iterator[None]:
    """The server runs and accepts connections; it is ended by its own process id."""
    with tempfile.TemporaryFile() as log:
        running = subprocess.Popen(command, env={**os.environ, **environment}, stdout=log, stderr=log)
        try:
            until = time.monotonic() + READY_S
            while not _answers(url):
                if running.poll() is not None or time.monotonic() > until:
                    log.seek(0)
                    raise RuntimeError(log.read().decode()[-500:])
                time.sleep(0.2)
            yield
        finally:
            running.terminate()
            running.wait(20)


def _answers(url: str) -> bool:
    try:
        requests.get(url, timeout=2)
    except requests.RequestException:
        return False
    return True


def told(step: str, call: Callable[[], Any]) -> Any:
    """Print what a step ended in; its answer, or None when it was refused."""
    try:
        answer = call()
    except stripe.StripeError as error:
        code = f" {error.code}" if error.code else ""
        sys.stdout.write(f"  {step:<44} {type(error).__name__} {error.http_status}{code}\n")
        return None
    sys.stdout.write(f"  {step:<44} {_short(answer)}\n")
    return answer


def _short(answer: Any) -> str:
    body = answer.to_dict() if isinstance(answer, stripe.StripeObject) else answer
    if not isinstance(body, dict):
        return str(body)
    names = ("object", "status", "payment_status", "amount_total", "amount", "amount_received", "amount_refunded")
    return ", ".join(str(body[name]) for name in names if body.get(name) is not None)


def client_of(url: str) -> stripe.StripeClient:
    """A client without retries of its own."""
    return stripe.StripeClient(KEY, base_addresses={"api": url}, max_network_retries=0)


SESSION: Any = {
    "mode": "payment",
    "success_url": "https://shop.example/",
    "client_reference_id": "o-1",
    "line_items": [
        {"quantity": 1, "price_data": {"currency": "usd", "unit_amount": 2000, "product_data": {"name": "x"}}}
    ],
}


def refunds(client: stripe.StripeClient, intent: str) -> None:
    """A part, more than there is, the rest, and one more."""
    some: Any = {"payment_intent": intent, "amount": 500}
    told("refund 500", lambda: client.v1.refunds.create(some))
    told("refund 999999", lambda: client.v1.refunds.create({"payment_intent": intent, "amount": 999_999}))
    told("refund with a reason", lambda: client.v1.refunds.create({**some, "reason": "duplicate"}))
    told("refund the rest", lambda: client.v1.refunds.create({"payment_intent": intent}))
    told("refund once more", lambda: client.v1.refunds.create({"payment_intent": intent}))


def same(what: str, first: Any, second: Any) -> None:
    """Print whether two creates with one key made one object."""
    one = first is not None and second is not None and first["id"] == second["id"]
    sys.stdout.write(f"  {what:<44} {'one object' if one else 'two objects, or none'}\n")


def run_simulator(webhook: Webhook) -> None:
    """Ours, with everything the others are asked."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    options = ["--gateway", "stripe", "--port", str(port), "--secret-key", KEY, "--webhook-secret", SECRET]
    with process([sys.executable, "-m", "payments_core_simulator", *options, "--notify-url", webhook.url], url):
        client = client_of(url)
        sessions = client.v1.checkout.sessions
        made = told("session create, price_data", lambda: sessions.create(SESSION, {"idempotency_key": "k"}))
        same("the same key again", made, sessions.create(SESSION, {"idempotency_key": "k"}))
        told(
            "the same key, other parameters",
            lambda: sessions.create({**SESSION, "cancel_url": "https://a.example/"}, {"idempotency_key": "k"}),
        )
        other = sessions.create({**SESSION, "client_reference_id": "o-2"})
        told("session expire", lambda: sessions.expire(other.id))
        told("session expire again", lambda: sessions.expire(other.id))
        for outcome in ("declined", "succeeded"):
            requests.post(f"{url}/_sim/pay", json={"order_id": "o-1", "outcome": outcome}, timeout=10)
            told(f"session after {outcome}", lambda: sessions.retrieve(made.id))
        intent = str(sessions.retrieve(made.id).payment_intent)
        told("intent retrieve", lambda: client.v1.payment_intents.retrieve(intent))
        refunds(client, intent)
        hold: Any = {**SESSION, "client_reference_id": "o-3", "payment_intent_data": {"capture_method": "manual"}}
        sessions.create(hold)
        held = requests.post(f"{url}/_sim/pay", json={"order_id": "o-3"}, timeout=10).json()["payment_intent"]["id"]
        told("hold", lambda: client.v1.payment_intents.retrieve(held))
        told("capture 700", lambda: client.v1.payment_intents.capture(held, {"amount_to_capture": 700}))
        told("capture again", lambda: client.v1.payment_intents.capture(held))
        coupon: Any = {"amount_off": 100, "currency": "usd", "duration": "once"}
        told("coupon amount_off, once", lambda: client.v1.coupons.create(coupon))
        sys.stdout.write("  events: " + "; ".join(webhook.taken()) + "\n")


def run_localstripe(program: str, webhook: Webhook) -> None:
    """Intents, declines and the signature path."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with process([program, "--port", str(port), "--from-scratch"], url):
        requests.post(f"{url}/_config/webhooks/wh1", data={"url": webhook.url, "secret": SECRET}, timeout=10)
        client = client_of(url)
        told("session create, price_data", lambda: client.v1.checkout.sessions.create(SESSION))
        intents = client.v1.payment_intents
        card: Any = {"amount": 2000, "currency": "usd", "payment_method": _card(url, "4242424242424242")}
        first = told("intent create", lambda: intents.create({**card, "confirm": True}, {"idempotency_key": "k"}))
        second = told(
            "intent create, same key", lambda: intents.create({**card, "confirm": True}, {"idempotency_key": "k"})
        )
        same("the same key again", first, second)
        bad = {**card, "payment_method": _card(url, "4000000000000341"), "confirm": True}
        told("declined card", lambda: intents.create(bad))
        if first is not None:
            refunds(client, first["id"])
        held = told("hold", lambda: intents.create({**card, "confirm": True, "capture_method": "manual"}))
        if held is not None:
            told("capture 700", lambda: intents.capture(held["id"], {"amount_to_capture": 700}))
            told("capture again", lambda: intents.capture(held["id"]))
        coupon: Any = {"amount_off": 100, "currency": "usd", "duration": "once"}
        told("coupon amount_off, once", lambda: client.v1.coupons.create(coupon))
        sys.stdout.write("  events: " + "; ".join(webhook.taken()) + "\n")


def _card(url: str, number: str) -> str:
    form = {"type": "card", "card[number]": number, "card[exp_month]": "12", "card[exp_year]": "2034", "card[cvc]": "1"}
    form["card[cvc]"] = "123"
    answer = requests.post(f"{url}/v1/payment_methods", data=form, auth=(KEY, ""), timeout=10)
    return str(answer.json()["id"])


def run_emulate(node: str, modules: Path, webhook: Webhook) -> None:
    """The hosted page."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    hook = {"url": webhook.url, "secret": SECRET, "events": ["*"]}
    product, price = {"id": "prod_a", "name": "x"}, {"id": "price_a", "product_name": "x", "unit_amount": 2000}
    seed = {"stripe": {"products": [product], "prices": [{**price, "currency": "usd"}], "webhooks": [hook]}}
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(json.dumps(seed))
        file.flush()
        command = [node, str(modules / "emulate/dist/index.js"), "--service", "stripe", "--port", str(port)]
        with process([*command, "--seed", file.name], url):
            client = client_of(url)
            sessions = client.v1.checkout.sessions
            told("session create, price_data", lambda: sessions.create(SESSION))
            prices = client.v1.prices.list().data
            stored: Any = {**SESSION, "line_items": [{"quantity": 1, "price": prices[0].id if prices else "price_a"}]}
            made = told("session create, stored price", lambda: sessions.create(stored, {"idempotency_key": "k"}))
            second = told("session create, same key", lambda: sessions.create(stored, {"idempotency_key": "k"}))
            same("the same key again", made, second)
            told("session expire", lambda: sessions.expire(second["id"]))
            told("session expire again", lambda: sessions.expire(second["id"]))
            address = f"{url}/checkout/{made['id']}/complete"
            answer = requests.post(address, allow_redirects=False, timeout=10)
            sys.stdout.write(f"  {'buyer pays on the page':<44} HTTP {answer.status_code}\n")
            told("session after that", lambda: sessions.retrieve(made["id"]))
            sys.stdout.write("  events: " + "; ".join(webhook.taken()) + "\n")


def run_stateful(node: str, modules: Path) -> None:
    """Idempotency and the classes of errors, on the older Charges API."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [node, str(modules / "stripe-stateful-mock/dist/cli.js")]
    with process(command, url, PORT=str(port), LOG_LEVEL="warn"):
        client = client_of(url)
        charge: Any = {"amount": 2000, "currency": "usd", "source": "tok_visa"}
        first = told("charge create", lambda: client.v1.charges.create(charge, {"idempotency_key": "k"}))
        same("the same key again", first, client.v1.charges.create(charge, {"idempotency_key": "k"}))
        told(
            "the same key, other parameters",
            lambda: client.v1.charges.create({**charge, "amount": 1}, {"idempotency_key": "k"}),
        )
        bad = {**charge, "source": "tok_chargeDeclinedInsufficientFunds"}
        told("declined card", lambda: client.v1.charges.create(bad))
        told("an error of the server", lambda: client.v1.charges.create({**charge, "source": "tok_500"}))
        if first is not None:
            told("refund 500", lambda: client.v1.refunds.create({"charge": first["id"], "amount": 500}))
            told("refund 999999", lambda: client.v1.refunds.create({"charge": first["id"], "amount": 999_999}))
            told("refund the rest", lambda: client.v1.refunds.create({"charge": first["id"]}))
            told("refund once more", lambda: client.v1.refunds.create({"charge": first["id"]}))


def main() -> None:
    """Run what was named, and ours."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--localstripe")
    parser.add_argument("--node")
    parser.add_argument("--modules", type=Path)
    wishes = parser.parse_args()
    runs: list[tuple[str, Callable[[], None]]] = [("payments simulator", lambda: run_simulator(Webhook()))]
    if wishes.localstripe:
        runs.append(("localstripe", lambda: run_localstripe(wishes.localstripe, Webhook())))
    if wishes.node and wishes.modules:
        runs.append(("emulate", lambda: run_emulate(wishes.node, wishes.modules, Webhook())))
        runs.append(("stripe-stateful-mock", lambda: run_stateful(wishes.node, wishes.modules)))
    for name, run in runs:
        sys.stdout.write(f"{name}\n")
        try:
            run()
        except (RuntimeError, requests.RequestException, stripe.StripeError, TypeError) as error:
            sys.stdout.write(f"  ended: {type(error).__name__}: {str(error)[:200]}\n")


if __name__ == "__main__":
    main()
