"""The lists of the API: newest first, a page at a time."""

from collections.abc import Iterable
from typing import TypeVar

from payments_core_simulator.replies import Reply, json_reply

from . import params
from .api_errors import parameter_error
from .events import of_types
from .objects import Json, seconds
from .render import list_of
from .simulator import Simulator
from .values import Charge, Coupon, Dispute, Intent, Refund, Session

Found = TypeVar("Found", Session, Intent, Charge, Refund, Dispute, Coupon)


class Lists:
    """What each list shows: newest first, a page at a time."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    def sessions(self, query: str) -> Reply:
        """List pages; by an intent, the one it belongs to."""
        wish = params.read(query, params.ListSessions)
        found = (
            one
            for one in self._newest(Session)
            if wish.payment_intent in {None, one.intent_id} and wish.status in {None, one.status}
        )
        return self._page("/v1/checkout/sessions", wish, found)

    def intents(self, query: str) -> Reply:
        """List intents."""
        return self._page("/v1/payment_intents", params.read(query, params.Listing), self._newest(Intent))

    def charges(self, query: str) -> Reply:
        """List tries."""
        wish = params.read(query, params.ListOfPayment)
        found = (one for one in self._newest(Charge) if wish.payment_intent in {None, one.intent_id})
        return self._page("/v1/charges", wish, found)

    def refunds(self, query: str) -> Reply:
        """List refunds."""
        wish = params.read(query, params.ListOfPayment)
        return self._page("/v1/refunds", wish, _of_payment(self._newest(Refund), wish))

    def disputes(self, query: str) -> Reply:
        """List disputes."""
        wish = params.read(query, params.ListOfPayment)
        return self._page("/v1/disputes", wish, _of_payment(self._newest(Dispute), wish))

    def events(self, query: str) -> Reply:
        """List events, of the types asked for."""
        wish = params.read(query, params.ListEvents)
        self._simulator.now()
        types = wish.types or ((wish.type,) if wish.type else ())
        found = [one for one in of_types(self._simulator.events.newest_first(), types) if wish.holds(one["created"])]
        return _paged("/v1/events", wish, found)

    def _newest(self, kind: type[Found]) -> list[Found]:
        self._simulator.now()
        return list(self._simulator.ledger.books.all(kind))[::-1]

    def _page(
        self, url: str, wish: params.Listing, found: Iterable[Session | Intent | Charge | Refund | Dispute]
    ) -> Reply:
        inner = [path.removeprefix("data.") for path in wish.expand]
        held = [one for one in found if wish.holds(seconds(one.created) or 0)]
        chosen, has_more = _cut(wish, held, [one.id for one in held])
        data = [self._simulator.renderer.render(one, inner) for one in chosen]
        return json_reply(200, list_of(url, data, has_more=has_more))


Owned = TypeVar("Owned", Refund, Dispute)
Item = TypeVar("Item")


def _of_payment(found: Iterable[Owned], wish: params.ListOfPayment) -> list[Owned]:
    return [
        one for one in found if wish.payment_intent in {None, one.intent_id} and wish.charge in {None, one.charge_id}
    ]


def _paged(url: str, wish: params.Listing, found: list[Json]) -> Reply:
    chosen, has_more = _cut(wish, found, [one["id"] for one in found])
    return json_reply(200, list_of(url, chosen, has_more=has_more))


def _cut(wish: params.Listing, found: list[Item], ids: list[str]) -> tuple[list[Item], bool]:
    """Return one page, and whether there is more behind it."""
    if wish.ending_before is not None:
        end = _place(wish.ending_before, ids, "ending_before")
        start = max(0, end - wish.limit)
        return found[start:end], start > 0
    start = 0 if wish.starting_after is None else _place(wish.starting_after, ids, "starting_after") + 1
    return found[start : start + wish.limit], len(found) > start + wish.limit


def _place(any_id: str, ids: list[str], param: str) -> int:
    if any_id not in ids:
        raise parameter_error(param, f"No such object: '{any_id[:100]}'", "resource_missing")
    return ids.index(any_id)
