"""A double of Stripe's API for the tests of its adapter: real HTTP, a ledger of its own, a buyer's side, faults.

It knows what `stripe.md` says and no more: sessions with their intents, refunds, disputes, idempotency keys, and the
events a deed leads to, signed. Beside it, its requests are checked against the published schema (`published`).
"""

import contextlib
import itertools
import json
import socketserver
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import attrs
from stripe import WebhookSignature

__all__ = ["KEY", "SECRET", "Request", "StripeDouble", "signed", "stripe_double"]

KEY, SECRET = "sk_test_double_4eC39HqLyjWDarjtT1zdp7dc", "whsec_double_secret"
Object = dict[str, Any]
_HOLD_S = 30
"""A held answer comes never; after so long its connection is given up, if nobody asked for its end before."""
_OPEN_STATES = ("requires_payment_method", "requires_confirmation", "requires_action")


class Refused(Exception):
    """An answer of Stripe's that is an error."""

    def __init__(self, status: int, code: str, message: str, kind: str = "invalid_request_error") -> None:
        super().__init__(message)
        self.status, self.error = status, {"type": kind, "code": code, "message": message}


@attrs.frozen
class Request:
    """What was received, its form read."""

    method: str
    path: str
    headers: dict[str, str]
    body: str
    form: Object
    query: dict[str, str]


def signed(event: Object, *, secret: str = SECRET, at: int | None = None) -> tuple[bytes, dict[str, str]]:
    """The bytes of this event, and the header that proves them."""
    body = json.dumps(event)
    return body.encode(), {"Stripe-Signature": WebhookSignature.generate_signature_header(body, secret, at)}


@attrs.define
class StripeDouble:
    """`faults` are done to the next calls, the first to the first; `seen` remembers what came in.

    `refuse` is a 503, `lose` cuts the connection after the effect, `hold` leaves it open without an answer.
    """

    url: str = ""
    sessions: dict[str, Object] = attrs.field(factory=dict)
    intents: dict[str, Object] = attrs.field(factory=dict)
    charges: dict[str, Object] = attrs.field(factory=dict)
    refunds: dict[str, Object] = attrs.field(factory=dict)
    disputes: dict[str, Object] = attrs.field(factory=dict)
    events: list[Object] = attrs.field(factory=list)
    seen: list[Request] = attrs.field(factory=list)
    faults: list[str] = attrs.field(factory=list)
    refund_status: str = "succeeded"
    answered: dict[str, tuple[str, int, Object]] = attrs.field(factory=dict)
    wrong_total: int = 0
    """So much is added to the total of the next sessions."""
    _ids: Iterator[int] = attrs.field(factory=lambda: itertools.count(1))
    _lock: threading.RLock = attrs.field(factory=threading.RLock)

    def clear(self) -> None:
        """Everything is forgotten, and nothing is broken."""
        for thing in (self.sessions, self.intents, self.charges, self.refunds, self.disputes, self.answered):
            thing.clear()
        for what in (self.events, self.seen, self.faults):
            what.clear()
        self.wrong_total, self.refund_status = 0, "succeeded"

    # ── what a buyer, a bank and Stripe itself do ─────────────────────────────────────────────────────────────────
    def buyer(self, session_id: str, outcome: str, *, method: str = "card") -> str:
        """The intent of a buyer's try: paid, authorized, action, declined, delayed; the session must be open."""
        with self._lock:
            session = self.sessions[session_id]
            if session["status"] != "open":
                raise ValueError(f"{session_id} is {session['status']}")
            intent = self._intent_of(session, method)
            match outcome:
                case "declined":
                    error = {"code": "card_declined", "decline_code": "insufficient_funds", "type": "card_error"}
                    intent.update(status="requires_payment_method", last_payment_error=error)
                    self._tell("payment_intent.payment_failed", intent)
                case "action":
                    intent["status"] = "requires_action"
                    self._tell("payment_intent.requires_action", intent)
                case "delayed":
                    intent["status"] = "processing"
                    session.update(status="complete")
                    self._tell("payment_intent.processing", intent)
                    self._tell("checkout.session.completed", session)
                case "authorized":
                    self._charge(intent, captured=False)
                    session.update(status="complete")
                    self._tell("payment_intent.amount_capturable_updated", intent)
                    self._tell("checkout.session.completed", session)
                case "paid":
                    self._paid(intent)
            return str(intent["id"])

    def succeeds(self, intent_id: str) -> None:
        """A delayed method has brought its money."""
        with self._lock:
            self._paid(self.intents[intent_id], "checkout.session.async_payment_succeeded")

    def bounces(self, intent_id: str) -> None:
        """A delayed method has failed."""
        with self._lock:
            intent = self.intents[intent_id]
            error = {"code": "payment_intent_payment_attempt_failed", "type": "card_error"}
            intent.update(status="requires_payment_method", last_payment_error=error)
            self._tell("payment_intent.payment_failed", intent)
            self._tell("checkout.session.async_payment_failed", self._session_of(intent))

    def says(self, intent_id: str, status: str) -> None:
        """An intent has this status, whatever it means."""
        with self._lock:
            intent = self.intents[intent_id]
            intent["status"] = status
            self._tell("payment_intent.processing", intent)

    def lapses(self, intent_id: str) -> None:
        """Held money is let go by the bank."""
        with self._lock:
            intent = self.intents[intent_id]
            intent.update(status="canceled", cancellation_reason="automatic")
            self._tell("payment_intent.canceled", intent)

    def expires(self, session_id: str) -> None:
        """A session comes to its end."""
        with self._lock:
            self._expire(self.sessions[session_id])

    def refund_becomes(self, refund_id: str, status: str) -> None:
        """A refund has come further, or failed."""
        with self._lock:
            refund = self.refunds[refund_id]
            refund["status"] = status
            self._tell("refund.failed" if status == "failed" else "refund.updated", refund)

    def refunded_in_dashboard(
        self, intent_id: str, amount: int, status: str = "succeeded", *, refund_key: str | None = None
    ) -> str:
        """Somebody gave money back by hand."""
        with self._lock:
            metadata = {"refund_key": refund_key} if refund_key else {}
            form = {"payment_intent": intent_id, "amount": str(amount), "metadata": metadata}
            return str(self._refund(form, status)["id"])

    def disputed(self, intent_id: str, status: str = "needs_response", *, withdrawn: bool = True) -> str:
        """A bank's customer disputes the charge."""
        with self._lock:
            charge = self._newest_charge(self.intents[intent_id])
            moves = [{"amount": -charge["amount"]}] if withdrawn else []
            dispute = self._new("dispute", "dp", status=status, payment_intent=intent_id, balance_transactions=moves)
            dispute.update(amount=charge["amount"], currency=charge["currency"], charge=charge["id"], metadata={})
            self.disputes[dispute["id"]] = dispute
            charge["disputed"] = True
            self._tell("charge.dispute.created", dispute)
            if withdrawn:
                self._tell("charge.dispute.funds_withdrawn", dispute)
            return str(dispute["id"])

    def dispute_becomes(self, dispute_id: str, status: str) -> None:
        """A dispute is decided."""
        with self._lock:
            dispute = self.disputes[dispute_id]
            dispute["status"] = status
            if status == "won" and dispute["balance_transactions"]:
                dispute["balance_transactions"] = [*dispute["balance_transactions"], {"amount": dispute["amount"]}]
                self._tell("charge.dispute.funds_reinstated", dispute)
            self._tell("charge.dispute.closed", dispute)

    # ── the ledger ────────────────────────────────────────────────────────────────────────────────────────────────
    def _new(self, kind: str, prefix: str, **fields: Any) -> Object:
        made = {"id": f"{prefix}_{next(self._ids):024}", "object": kind, "livemode": False, "created": int(time.time())}
        return {**made, **fields}

    def _intent_of(self, session: Object, method: str) -> Object:
        if session["payment_intent"] is not None:
            return self.intents[session["payment_intent"]]
        intent = self._new("payment_intent", "pi", status="requires_payment_method", latest_charge=None)
        intent.update(
            amount=session["amount_total"],
            amount_received=0,
            amount_capturable=0,
            currency=session["currency"],
            metadata=dict(session["intent_metadata"]),
            last_payment_error=None,
            payment_method_types=["card", "konbini"],
            method=method,
        )
        self.intents[intent["id"]] = intent
        session["payment_intent"] = intent["id"]
        self._tell("payment_intent.created", intent)
        return intent

    def _charge(self, intent: Object, *, captured: bool) -> Object:
        charge = self._new("charge", "ch", payment_intent=intent["id"], status="succeeded", captured=captured)
        charge.update(
            amount=intent["amount"],
            amount_captured=intent["amount"] if captured else 0,
            amount_refunded=0,
            refunded=False,
            disputed=False,
            currency=intent["currency"],
            metadata=dict(intent["metadata"]),
            payment_method_details={"type": intent["method"]},
        )
        self.charges[charge["id"]] = charge
        intent.update(latest_charge=charge["id"], last_payment_error=None)
        intent.update(status="succeeded" if captured else "requires_capture")
        intent.update({"amount_received" if captured else "amount_capturable": intent["amount"]})
        return charge

    def _paid(self, intent: Object, told: str = "checkout.session.completed") -> None:
        session = self._session_of(intent)
        charge = self._charge(intent, captured=True)
        session.update(status="complete", payment_status="paid")
        self._tell("payment_intent.succeeded", intent)
        self._tell("charge.succeeded", charge)
        self._tell(told, session)

    def _expire(self, session: Object) -> None:
        session.update(status="expired", url=None)
        self._tell("checkout.session.expired", session)

    def _newest_charge(self, intent: Object) -> Object:
        return self.charges[intent["latest_charge"]]

    def _session_of(self, intent: Object) -> Object:
        return next(s for s in self.sessions.values() if s["payment_intent"] == intent["id"])

    def _refund(self, form: Object, status: str) -> Object:
        intent = self.intents.get(form["payment_intent"])
        if intent is None or intent["status"] != "succeeded":
            raise Refused(400, "payment_intent_unexpected_state", "This PaymentIntent has no successful charge")
        charge = self._newest_charge(intent)
        if int(form["amount"]) > charge["amount_captured"] - charge["amount_refunded"]:
            raise Refused(400, "charge_already_refunded", "Refund amount is greater than unrefunded amount on charge")
        refund = self._new("refund", "re", payment_intent=intent["id"], charge=charge["id"], status=status)
        refund.update(amount=int(form["amount"]), currency=intent["currency"], metadata=form.get("metadata", {}))
        self.refunds[refund["id"]] = refund
        charge["amount_refunded"] += refund["amount"]
        charge["refunded"] = charge["amount_refunded"] == charge["amount_captured"]
        self._tell("refund.created", refund)
        self._tell("charge.refunded", charge)
        return refund

    def _tell(self, kind: str, about: Object) -> None:
        event = self._new("event", "evt", type=kind, api_version="2026-10-28.endive")
        event["data"] = {"object": json.loads(json.dumps(self._shown(about)))}
        self.events.append(event)

    def event(self, kind: str) -> Object:
        """The newest event of this type."""
        return next(event for event in reversed(self.events) if event["type"] == kind)

    # ── the wire ──────────────────────────────────────────────────────────────────────────────────────────────────
    def answer(self, request: Request) -> tuple[int, Object]:
        """Status and body; a used idempotency key brings the first answer."""
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return 401, {"error": {"type": "invalid_request_error", "message": "Invalid API Key provided"}}
        key = request.headers.get("idempotency-key") if request.method == "POST" else None
        if key is not None and key in self.answered:
            body, status, made = self.answered[key]
            if body == request.path + request.body:
                return status, made
            return 400, {"error": {"type": "idempotency_error", "message": "Keys for idempotent requests..."}}
        try:
            status, made = 200, json.loads(json.dumps(self._do(request)))
        except Refused as refused:
            return refused.status, {"error": refused.error}
        if key is not None:
            self.answered[key] = (request.path + request.body, status, made)
        return status, made

    def _do(self, request: Request) -> Object:
        match (request.method, request.path.strip("/").split("/")[1:]):
            case ("POST", ["checkout", "sessions"]):
                return self._shown(self._create(request.form))
            case ("GET", ["checkout", "sessions"]):
                wanted = request.query["payment_intent"]
                return self._list([s for s in self.sessions.values() if s["payment_intent"] == wanted])
            case ("GET", ["checkout", "sessions", session_id]):
                return self._shown(self._known(self.sessions, session_id), whole=True)
            case ("POST", ["checkout", "sessions", session_id, "expire"]):
                session = self._known(self.sessions, session_id)
                if session["status"] != "open":
                    raise Refused(400, "", 'Only Checkout Sessions with a status in ["open"] can be expired.')
                self._expire(session)
                return self._shown(session)
            case ("GET", ["payment_intents", intent_id]):
                return self._shown(self._known(self.intents, intent_id), whole=True)
            case ("POST", ["payment_intents", intent_id, deed]):
                return self._shown(self._change(self._known(self.intents, intent_id), deed, request.form))
            case ("POST", ["refunds"]):
                return self._refund(request.form, self.refund_status)
            case ("GET", ["refunds" | "disputes" as kind]):
                rows = self.refunds if kind == "refunds" else self.disputes
                wanted = request.query["payment_intent"]
                return self._list([row for row in reversed([*rows.values()]) if row["payment_intent"] == wanted])
            case _:
                raise Refused(404, "", f"Unrecognized request URL ({request.method}: {request.path})")

    def _create(self, form: Object) -> Object:
        lines = [form["line_items"][str(n)] for n in range(len(form["line_items"]))]
        total = sum(int(line["price_data"]["unit_amount"]) * int(line["quantity"]) for line in lines)
        session = self._new("checkout.session", "cs_test", status="open", payment_status="unpaid", mode=form["mode"])
        session.update(
            amount_total=total + self.wrong_total,
            currency=lines[0]["price_data"]["currency"],
            client_reference_id=form["client_reference_id"],
            metadata=form["metadata"],
            intent_metadata=form["payment_intent_data"]["metadata"],
            expires_at=int(form["expires_at"]),
            payment_intent=None,
            url=f"https://checkout.stripe.com/c/pay/{session['id']}",
        )
        if not session["created"] + 1800 <= session["expires_at"] <= session["created"] + 86400:
            raise Refused(
                400, "", "The `expires_at` timestamp must be at least 30 minutes from Checkout Session creation"
            )
        self.sessions[session["id"]] = session
        return session

    def _change(self, intent: Object, deed: str, form: Object) -> Object:
        if deed == "capture" and intent["status"] == "requires_capture":
            taken = int(form.get("amount_to_capture", intent["amount"]))
            intent.update(status="succeeded", amount_received=taken, amount_capturable=0)
            charge = self._newest_charge(intent)
            charge.update(captured=True, amount_captured=taken)
            self._session_of(intent)["payment_status"] = "paid"
            self._tell("payment_intent.succeeded", intent)
            return intent
        in_open_session = self._session_of(intent)["status"] == "open"
        if deed == "cancel" and not in_open_session and intent["status"] in ("requires_capture", *_OPEN_STATES):
            intent["status"] = "canceled"
            self._tell("payment_intent.canceled", intent)
            return intent
        raise Refused(400, "payment_intent_unexpected_state", f"cannot {deed} while it is {intent['status']}")

    def _known(self, rows: dict[str, Object], name: str) -> Object:
        if name not in rows:
            raise Refused(404, "resource_missing", f"No such object: '{name}'")
        return rows[name]

    def _list(self, rows: list[Object]) -> Object:
        return {"object": "list", "url": "/v1", "has_more": False, "data": [self._shown(row) for row in rows]}

    def _shown(self, row: Object, *, whole: bool = False) -> Object:
        shown = {name: value for name, value in row.items() if name not in ("intent_metadata", "method")}
        if whole and row.get("payment_intent"):
            shown["payment_intent"] = self._shown(self.intents[row["payment_intent"]], whole=True)
        if whole and row.get("latest_charge"):
            shown["latest_charge"] = self.charges[row["latest_charge"]]
        return shown


def form_of(text: str) -> Object:
    """`a[b][0]=c` as nested dicts."""
    form: Object = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        *way, last = name.replace("]", "").split("[")
        place = form
        for step in way:
            place = place.setdefault(step, {})
        place[last] = value
    return form


@contextlib.contextmanager
def stripe_double() -> Iterator[StripeDouble]:
    """The double on loopback, one thread a connection."""
    double = StripeDouble()
    released = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            parts = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            query = dict(parse_qsl(parts.query))
            request = Request(self.command, parts.path, headers, body, form_of(body), query)
            with double._lock:
                double.seen.append(request)
                fault = double.faults.pop(0) if double.faults else None
                status, answer = (
                    (503, {"error": {"type": "api_error"}}) if fault == "refuse" else double.answer(request)
                )
            if fault in ("lose", "hold"):
                self.close_connection = True
                released.wait(_HOLD_S if fault == "hold" else 0)
                return
            raw = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                self.wfile.write(raw)

        do_GET = do_POST = handle_any  # noqa: N815 -- http.server finds its handlers by these names

        def log_message(self, *_: object) -> None:
            """Quiet."""

    class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
        allow_reuse_address = True
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        double.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield double
        finally:
            released.set()
            server.shutdown()
            thread.join()
