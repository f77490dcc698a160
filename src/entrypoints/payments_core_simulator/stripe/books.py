"""Keeps every object of the simulated Stripe by its id, and knows when the clock has something to do."""

import heapq
import secrets
import string
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TypeVar

from .api_errors import ApiRefusal
from .values import Charge, Coupon, Dispute, Intent, Refund, Session, Thing

_ALPHABET = string.ascii_letters + string.digits
_ID_CHARS = 24
_SESSION_ID_CHARS = 58
Kept = TypeVar("Kept", Session, Intent, Charge, Refund, Dispute, Coupon)
_NAMES: dict[type, str] = {
    Session: "checkout.session",
    Intent: "payment_intent",
    Charge: "charge",
    Refund: "refund",
    Dispute: "dispute",
    Coupon: "coupon",
}


def new_id(prefix: str) -> str:
    """Return an id as long as the gateway's."""
    length = _SESSION_ID_CHARS if prefix.startswith("cs_") else _ID_CHARS
    return prefix + "".join(secrets.choice(_ALPHABET) for _ in range(length))


class Books:
    """Every object as it stands, in order of creation. `new_id` is where every id comes from."""

    def __init__(self, make_id: Callable[[str], str] = new_id) -> None:
        self.new_id = make_id
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._things: dict[type, dict[str, Thing]] = {kind: {} for kind in _NAMES}
        self._owned: dict[tuple[type, str], list[str]] = {}
        # When the clock may have something to do with an object; whether it has is looked up then.
        self._due: list[tuple[datetime, str]] = []

    def put(self, thing: Kept) -> Kept:
        """Keep the object in the place of what it was before."""
        kept = self._things[type(thing)]
        if thing.id not in kept:
            self._owned.setdefault((type(thing), _owner(thing)), []).append(thing.id)
        kept[thing.id] = thing
        return thing

    def owned(self, kind: type[Kept], owner: str) -> list[Kept]:
        """Return the refunds or disputes of a charge, or the sessions with a reference, oldest first."""
        return [self.get(kind, any_id) for any_id in self._owned.get((kind, owner), ())]

    def get(self, kind: type[Kept], any_id: str, param: str | None = None) -> Kept:
        """Return the object.

        **Errors**: `ApiRefusal` as the API says it: 404 for an id in the path, 400 for one in a parameter.
        """
        found = self._things[kind].get(any_id)
        if found is None:
            raise ApiRefusal.missing(_NAMES[kind], any_id, param)
        assert isinstance(found, kind)
        return found

    def find(self, kind: type[Kept], any_id: str) -> Kept | None:
        """Return the object, or None."""
        found = self._things[kind].get(any_id)
        return found if isinstance(found, kind) else None

    def all(self, kind: type[Kept]) -> Iterator[Kept]:
        """Yield the objects of this kind in order of creation."""
        for thing in self._things[kind].values():
            assert isinstance(thing, kind)
            yield thing

    def count(self, kind: type[Kept]) -> int:
        """Return how many there are."""
        return len(self._things[kind])

    def remind(self, at: datetime, any_id: str) -> None:
        """Have the object looked at when this moment has come."""
        heapq.heappush(self._due, (at, any_id))

    def due(self, now: datetime) -> Iterator[str]:
        """Yield the ids to look at now, once each time they were reminded of."""
        while self._due and self._due[0][0] <= now:
            yield heapq.heappop(self._due)[1]


def _owner(thing: Thing) -> str:
    match thing:
        case Refund() | Dispute():
            return thing.charge_id
        case Session():
            return thing.request.client_reference_id or ""
        case _:
            return ""
