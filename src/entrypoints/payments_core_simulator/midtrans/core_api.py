"""The routes of the Core API that a Snap merchant uses; `{id}` is an order id or a transaction id."""

import re
from datetime import timedelta
from uuid import uuid4

from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.response import Response

from payments_core_simulator.faults import CallFaults
from payments_core_simulator.gate import AnyRequest, Gate, Product, basic_key
from payments_core_simulator.refusals import Refusal, Why
from payments_core_simulator.replies import Reply, json_reply

from . import moves, wire
from .ledger import Move
from .limits import REASON_CHARS_MAX, REFUND_KEY_CHARS_MAX
from .simulator import Simulator
from .snap_request import Json, read_object
from .values import SEN_PER_RUPIAH, Refund
from .wire_errors import CORE_INTERNAL, CORE_UNAUTHORIZED, RATE_LIMITED, core_error, core_refusal

_REFUND_KEY = re.compile(rf"[A-Za-z0-9_-]{{1,{REFUND_KEY_CHARS_MAX}}}")
# More digits than any amount has, and few enough to turn into a number.
_DIGITS = re.compile(r"[0-9]{1,15}")
_MESSAGES = {
    "cancel": "Success, transaction is canceled",
    "expire": "Success, transaction has expired",
    "approve": "Success, transaction is approved",
    "deny": "Success, transaction is denied",
    "capture": "Success, Credit Card capture transaction is successful",
    "refund": "Success, refund request is approved",
}


def core_routes(simulator: Simulator) -> list[HTTPRouteHandler]:
    """Return the handlers under `/v2`."""
    calls = CoreCalls(simulator)
    gate = Gate(simulator, _product(simulator))

    @get("/v2/{any_id:str}/status")
    async def status(request: AnyRequest, any_id: str) -> Response[bytes]:
        return await gate.answer(request, "status", lambda _, drawn: calls.status(any_id, drawn))

    @post("/v2/{any_id:str}/refund")
    async def refund(request: AnyRequest, any_id: str) -> Response[bytes]:
        return await gate.answer(request, "refund", lambda body, drawn: calls.refund(any_id, body, drawn, direct=False))

    @post("/v2/{any_id:str}/refund/online/direct")
    async def direct(request: AnyRequest, any_id: str) -> Response[bytes]:
        return await gate.answer(request, "refund", lambda body, drawn: calls.refund(any_id, body, drawn, direct=True))

    @post("/v2/capture")
    async def capture(request: AnyRequest) -> Response[bytes]:
        return await gate.answer(request, "capture", calls.capture)

    actions = [_action_route(gate, calls, name) for name in ("cancel", "expire", "approve", "deny")]
    return [status, *actions, refund, direct, capture]


def _action_route(gate: Gate, calls: "CoreCalls", name: str) -> HTTPRouteHandler:
    @post(f"/v2/{{any_id:str}}/{name}")
    async def action(request: AnyRequest, any_id: str) -> Response[bytes]:
        return await gate.answer(request, name, lambda *_: calls.act(name, any_id))

    return action


def core_http_error(http_status: int) -> Reply:
    """Return Core's words for a path or verb it does not have."""
    return core_error(http_status, http_status, "The requested resource is not found")


def _product(simulator: Simulator) -> Product:
    return Product(
        authentic=lambda request: basic_key(request, simulator.settings.server_key),
        unauthorized=lambda _: core_error(401, 401, CORE_UNAUTHORIZED),
        refusal=lambda refusal: core_refusal(refusal, errors_in_body=simulator.settings.core_errors == "body"),
        broken=lambda http_status, code: core_error(http_status, code, CORE_INTERNAL),
        limited=lambda _: core_error(429, 429, RATE_LIMITED),
    )


class CoreCalls:
    """What each call does to the ledger, and how it is answered; refusals travel as exceptions."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    def status(self, any_id: str, drawn: CallFaults) -> Reply:
        """Answer with the transaction as it stands, or stood before the lag."""
        now = self._simulator.now()
        as_of = now - timedelta(seconds=drawn.lag_s) if drawn.lag_s else None
        return json_reply(200, self._simulator.status_body(self._simulator.ledger.find(any_id, as_of)))

    def act(self, name: str, any_id: str) -> Reply:
        """Move the transaction, tell the merchant's webhook, and answer in success shape."""
        now = self._simulator.now()
        steps: dict[str, Move] = {
            "cancel": lambda one: moves.cancel(one, now),
            "expire": lambda one: moves.expire(one, now),
            "approve": lambda one: moves.approve(one, now),
            "deny": lambda one: moves.deny(one, now),
        }
        return self._moved(name, any_id, steps[name])

    def capture(self, body: bytes, drawn: CallFaults) -> Reply:
        """Take a held amount, or less of it; a bank may refuse and leave everything as it was."""
        data = _read(body)
        transaction_id = data.get("transaction_id")
        if not isinstance(transaction_id, str):
            raise Refusal(Why.INVALID, "transaction_id is required")
        amount_sen, now = _rupiah(data, "gross_amount", texts=False), self._simulator.now()
        held = self._simulator.ledger.find(transaction_id)
        moves.capture(held, now, amount_sen)
        if drawn.bank_refuses:
            return json_reply(200, wire.refused_capture_reply(held, self._simulator.settings.account))
        return self._moved("capture", transaction_id, lambda one: moves.capture(one, now, amount_sen))

    def refund(self, any_id: str, body: bytes, drawn: CallFaults, *, direct: bool) -> Reply:
        """Give money back once for each key; a new refund is notified without and then with the bank's word."""
        wanted, whole = self._wanted(_read(body), direct=direct)
        simulator, ledger = self._simulator, self._simulator.ledger
        if drawn.bank_refuses:
            known = ledger.find(any_id)
            moves.refund(known, wanted, whole=whole)
            return json_reply(200, wire.refused_refund_reply(known, wanted.key))
        replay = simulator.settings.repeated_refund_key == "replay"
        moved, made, new = ledger.refund(any_id, wanted, whole=whole, replay=replay)
        if new:
            confirm = ledger.move(moved.transaction_id, lambda one: moves.confirm_refunds(one, wanted.created_at))
            simulator.tell((moved, confirm))
        return json_reply(200, wire.refund_reply(moved, made, _MESSAGES["refund"]))

    def _wanted(self, data: Json, *, direct: bool) -> tuple[Refund, bool]:
        """Return the refund asked for, and whether all that is left is meant."""
        key, reason = data.get("refund_key"), data.get("reason", "")
        if key is not None and not (isinstance(key, str) and _REFUND_KEY.fullmatch(key)):
            raise Refusal(Why.INVALID, "refund_key may hold letters, digits, - and _ only")
        if not isinstance(reason, str) or len(reason) > REASON_CHARS_MAX:
            raise Refusal(Why.INVALID, f"reason must be a text of at most {REASON_CHARS_MAX} characters")
        amount_sen = _rupiah(data, "amount", texts=direct)
        # Without a key every call is a new refund, as at the gateway.
        refund = Refund(0, key or str(uuid4()), amount_sen or 0, self._simulator.now(), reason, direct)
        return refund, amount_sen is None

    def _moved(self, name: str, any_id: str, move: Move) -> Reply:
        moved = self._simulator.ledger.move(any_id, move)
        self._simulator.tell((moved,))
        return json_reply(200, wire.action_reply(moved, _MESSAGES[name], self._simulator.settings.account))


def _read(body: bytes) -> Json:
    return read_object(body) if body.strip() else {}


def _rupiah(data: Json, field: str, *, texts: bool) -> int | None:
    """Return whole rupiah as sen, or None when the field is absent; the direct refund also takes digits in a text."""
    value = data.get(field)
    if value is None:
        return None
    if texts and isinstance(value, str) and _DIGITS.fullmatch(value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise Refusal(Why.INVALID, f"{field} must be an integer")
    return value * SEN_PER_RUPIAH
