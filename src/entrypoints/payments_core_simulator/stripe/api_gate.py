"""The API's door: keys, versions, request ids, and the answers that are given again for an idempotency key."""

import hmac
import re

import attrs
from litestar.response import Response

from payments_core_simulator.fault_rules import Cut, Outcome, RateLimit
from payments_core_simulator.faults import CallFaults
from payments_core_simulator.gate import Act, AnyRequest, Gate, Product, basic_key, to_response
from payments_core_simulator.refusals import Refusal
from payments_core_simulator.replies import Reply

from .api_errors import ApiRefusal, error_reply, refusal_reply
from .books import new_id
from .events import Origin
from .idempotency import Kept, fingerprint
from .simulator import Simulator

_VERSION = re.compile(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}(\.[a-z_]{1,30})?")
_LIMITED = {
    "rate_limit": "Request rate limit exceeded. Learn more about rate limits.",
    "lock_timeout": "This object cannot be accessed right now because another API request or Stripe process is "
    "currently accessing it.",
}
_INTERNAL = "An error occurred with our connection to the payment network. Please try again."
_ERROR = 500


class ApiGate(Gate):
    """Answers the calls of the API."""

    def __init__(self, simulator: Simulator) -> None:
        super().__init__(simulator, _product(simulator))
        self._simulator = simulator

    async def answer(self, request: AnyRequest, call: str, act: Act) -> Response[bytes]:
        """Return the answer to one call; the first answer to a key is the answer to it."""
        request_id, key = new_id("req_")[:18], request.headers.get("idempotency-key", "")
        version = request.headers.get("stripe-version", self._simulator.settings.api_version)
        about = {"Request-Id": request_id, "Stripe-Version": version}
        if key and request.method == "POST":
            response = await self._once(request, call, act, key, request_id)
            about["Idempotency-Key"] = key
        else:
            response = await super().answer(request, call, self._named(act, Origin(request_id)))
        response.headers.update(about)
        return response

    async def _replaced(self, request: AnyRequest, outcome: Outcome) -> Response[bytes]:
        """What was cut off is not under way any more; what hangs is, until its caller gives up."""
        if isinstance(outcome, Cut):
            self._simulator.keys.let_go(request.headers.get("idempotency-key", ""))
        return await super()._replaced(request, outcome)

    async def _once(self, request: AnyRequest, call: str, act: Act, key: str, request_id: str) -> Response[bytes]:
        simulator, what = self._simulator, fingerprint(request.url.path, await request.body())

        def first_or_again(body: bytes, drawn: CallFaults) -> Reply:
            kept = simulator.keys.recall(key, what, simulator.clock.now())
            if kept is not None:
                again = {"Idempotent-Replayed": "true", "Original-Request": kept.request_id}
                return attrs.evolve(kept.reply, headers={**kept.reply.headers, **again})
            try:
                reply = act(body, drawn)
            except Refusal as refusal:
                if not (isinstance(refusal, ApiRefusal) and not refusal.validation):
                    raise
                reply = refusal_reply(refusal)
            simulator.keys.keep(key, Kept(what, reply, simulator.clock.now(), request_id))
            return reply

        try:
            with simulator.keys.occupied(key):
                response = await super().answer(request, call, self._named(first_or_again, Origin(request_id, key)))
        except ApiRefusal as refusal:
            simulator.calls[call] += 1
            return to_response(refusal_reply(refusal))
        if response.status_code == _ERROR and response.content:
            # An answer of 500 is kept as well, whatever the call did: a repeat gets it again.
            broken = Reply(_ERROR, response.content)
            simulator.keys.keep(key, Kept(what, broken, simulator.clock.now(), request_id))
        return response

    def _named(self, act: Act, origin: Origin) -> Act:
        """Return the call with its request's name on every event it causes."""

        def named(body: bytes, drawn: CallFaults) -> Reply:
            self._simulator.origin = origin
            try:
                return act(body, drawn)
            finally:
                self._simulator.origin = Origin()

        return named


def _product(simulator: Simulator) -> Product:
    def authentic(request: AnyRequest) -> bool:
        given = request.headers.get("authorization", "").encode("utf-8", "replace")
        key = simulator.settings.secret_key
        return basic_key(request, key) or hmac.compare_digest(given, f"Bearer {key}".encode())

    def limited(rule: RateLimit) -> Reply:
        reply = error_reply(429, _LIMITED[rule.code], code=rule.code)
        # A client that honours it waits and repeats an object that is locked; a rate limit is its own to judge.
        return attrs.evolve(reply, headers={"Stripe-Should-Retry": "true"}) if rule.code == "lock_timeout" else reply

    return Product(
        authentic=authentic,
        unauthorized=_unauthorized,
        refusal=refusal_reply,
        broken=lambda http_status, _: error_reply(http_status, _INTERNAL, kind="api_error"),
        limited=limited,
        check=_check_version,
    )


def _check_version(request: AnyRequest) -> None:
    version = request.headers.get("stripe-version")
    if version is not None and not _VERSION.fullmatch(version):
        raise ApiRefusal.invalid(f"Invalid Stripe API version: {version[:50]}")


def _unauthorized(request: AnyRequest) -> Reply:
    given = request.headers.get("authorization", "")
    if not given:
        message = "You did not provide an API key. You need to provide your API key in the Authorization header."
    else:
        # As the gateway does: enough to recognise one's key, not enough to use it.
        message = f"Invalid API Key provided: {given.split(' ')[-1][:8]}********"
    reply = error_reply(401, message)
    return attrs.evolve(reply, headers={"WWW-Authenticate": 'Basic realm="Stripe"'})


def error_for(http_status: int, path: str) -> Reply:
    """Return the API's words for a path, verb or size that is not its own."""
    if http_status == 404:  # noqa: PLR2004 - the HTTP code itself
        return error_reply(404, f"Unrecognized request URL ({path[:200]}).")
    return error_reply(
        http_status, "Invalid request.", kind="api_error" if http_status >= _ERROR else "invalid_request_error"
    )
