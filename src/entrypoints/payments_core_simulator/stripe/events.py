"""Events: what happened, rendered once as it was then, kept for a look back, and signed for every delivery anew."""

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

import attrs
import msgspec

from payments_core_simulator.notifier import Message

from .api_errors import ApiRefusal
from .books import new_id
from .limits import EVENTS_MAX
from .objects import Json, seconds
from .render import Renderer
from .values import Charge, Coupon, Dispute, Intent, News, Refund, Session, Thing


@attrs.frozen
class Origin:
    """The API request that made something happen; both are None when nobody asked."""

    request_id: str | None = None
    idempotency_key: str | None = None


class Events:
    """The newest events, oldest first."""

    def __init__(self) -> None:
        self._events: dict[str, Json] = {}

    def clear(self) -> None:
        """Forget every event."""
        self._events.clear()

    def record(self, news: News, renderer: Renderer, now: datetime, version: str, origin: Origin) -> Json:
        """Keep what happened as an event, and return it."""
        kind, thing = news
        event: Json = {
            "id": new_id("evt_"),
            "object": "event",
            "api_version": version,
            "created": seconds(now),
            "data": {"object": renderer.render(thing)},
            "livemode": False,
            "pending_webhooks": 1,
            "request": {"id": origin.request_id, "idempotency_key": origin.idempotency_key},
            "type": kind,
        }
        self._events[event["id"]] = event
        if len(self._events) > EVENTS_MAX:
            del self._events[next(iter(self._events))]
        return event

    def get(self, event_id: str) -> Json:
        """Return the event with this id."""
        if event_id not in self._events:
            raise ApiRefusal.missing("event", event_id)
        return self._events[event_id]

    def newest_first(self) -> Iterator[Json]:
        """Yield every event kept."""
        return reversed(self._events.values())


def message(event: Json, thing: Thing, session: Session | None) -> Message:
    """Return the event as it is delivered; the order it is about is the merchant's reference of its session."""
    reference = (session.request.client_reference_id or session.id) if session else ""
    return Message(msgspec.json.encode(event), reference, _intent_id(thing), event["type"])


def _intent_id(thing: Thing) -> str:
    match thing:
        case Charge() | Refund() | Dispute():
            return thing.intent_id
        case Session():
            return thing.intent_id or thing.id
        case Intent() | Coupon():
            return thing.id


def signature_header(body: bytes, secrets: Sequence[str], timestamp: int) -> str:
    """Return `t=...,v1=...`: one `v1` for each secret, as while one is being rolled."""
    signed = f"{timestamp}.".encode() + body
    digests = (hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in secrets)
    return ",".join([f"t={timestamp}", *(f"v1={digest}" for digest in digests)])


def delivery_headers(body: bytes, secrets: Sequence[str], now: datetime) -> Mapping[str, str]:
    """Return the headers of one delivery attempt."""
    headers = {"User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)"}
    return headers | {"Stripe-Signature": signature_header(body, secrets, int(now.timestamp()))} if secrets else headers


def of_types(events: Iterable[Json], types: Sequence[str]) -> Iterator[Json]:
    """Yield the events of these types; a `*` at the end stands for anything, and no types for all."""
    for event in events:
        if not types or any(_matches(event["type"], wanted) for wanted in types):
            yield event


def _matches(kind: str, wanted: str) -> bool:
    return kind.startswith(wanted[:-1]) if wanted.endswith("*") else kind == wanted
