"""The simulated Stripe as one object: the ledger with a clock, its events sent, its faults armed."""

from collections.abc import Iterable, Mapping
from datetime import datetime

import attrs

from payments_core_simulator.control_bodies import decode
from payments_core_simulator.faults import Calls
from payments_core_simulator.notifier import PostalHabits
from payments_core_simulator.retries import RetryTable
from payments_core_simulator.stage import Stage

from .events import Events, Origin, delivery_headers, message
from .idempotency import IdempotencyKeys
from .ledger import Ledger
from .limits import RETRY_INTERVALS_S
from .money import major
from .render import Renderer
from .settings import Settings, Switches
from .values import Charge, Coupon, Dispute, Intent, News, Refund, Session, Thing

CALLS = Calls(
    names=frozenset(
        {
            "session_create", "session_retrieve", "session_list", "session_expire", "session_line_items",
            "intent_retrieve", "intent_list", "intent_capture", "intent_cancel",
            "refund_create", "refund_retrieve", "refund_list", "refund_cancel",
            "charge_retrieve", "charge_list", "coupon_create", "coupon_retrieve",
            "dispute_retrieve", "dispute_list", "event_retrieve", "event_list",
        }
    )
)  # fmt: skip
# Any answer but 2xx is a failure, redirects included.
RETRIES = RetryTable(intervals_s=RETRY_INTERVALS_S, otherwise=len(RETRY_INTERVALS_S), shift_min=0.8)


class Simulator(Stage):
    """Everything the routes of Stripe share."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(CALLS, PostalHabits(RETRIES, self._headers, in_order=False), settings.notification_speed_up)
        self._started_with = settings
        self.settings = settings
        self.ledger = Ledger()
        self.renderer = Renderer(self.ledger.books, settings.base_url)
        self.events = Events()
        self.keys = IdempotencyKeys()
        # The request being answered, named in the events it causes. One step runs at a time.
        self.origin = Origin()

    def _headers(self, body: bytes) -> Mapping[str, str]:
        # The time of the machine, not of the moved clock: the receiver compares it with its own.
        return delivery_headers(body, self.settings.webhook_secrets, datetime.now().astimezone())

    def now(self) -> datetime:
        """Return the time, after everything the clock does by itself has been done and told."""
        now = self.clock.now()
        self.tell(self.ledger.advance(now))
        return now

    def tell(self, happened: Iterable[News], *, notify: bool = True) -> None:
        """Record an event of each, and send it to the merchant; kept back, the list of events still shows it."""
        url = self.settings.notify_url
        for news in happened:
            event = self.events.record(news, self.renderer, self.clock.now(), self.settings.api_version, self.origin)
            self.notifier.send(message(event, news[1], self._session_of(news[1])), (url,) if url and notify else ())

    def _session_of(self, thing: Thing) -> Session | None:
        books = self.ledger.books
        match thing:
            case Session():
                return thing
            case Intent():
                return books.find(Session, thing.session_id)
            case Charge() | Refund() | Dispute():
                intent = books.find(Intent, thing.intent_id)
                return None if intent is None else books.find(Session, intent.session_id)
            case Coupon():
                return None

    def throw_switches(self, body: bytes) -> dict[str, object]:
        """Change the switches the body names, and return all of them without the secrets."""
        self.settings = decode(body, Switches).applied_to(self.settings)
        self.ledger.released_as_refund = self.settings.released_as_refund
        return attrs.asdict(self.settings, filter=lambda field, _: field.repr is not False)

    def reset(self) -> None:
        """Return to the state of the start."""
        self.settings = self._started_with
        self.ledger.clear()
        self.ledger.released_as_refund = self.settings.released_as_refund
        self.events.clear()
        self.keys.clear()
        super().reset()

    def report(self) -> dict[str, object]:
        """Return the ledger as `/_sim/ledger` shows it: what really happened, by the merchant's reference."""
        self.now()
        orders: dict[str, list[Session]] = {}
        for session in self.ledger.books.all(Session):
            orders.setdefault(session.request.client_reference_id or session.id, []).append(session)
        return {
            "orders": {name: self._order_report(sessions) for name, sessions in orders.items()},
            "notifications": self.notifier.counts(),
            "calls": dict(self.calls),
        }

    def _order_report(self, sessions: list[Session]) -> dict[str, object]:
        newest, books = sessions[-1], self.ledger.books
        intents = [books.get(Intent, one.intent_id) for one in sessions if one.intent_id is not None]
        request = newest.request
        return {
            "gross_amount": major(request.total, request.currency),
            "currency": request.currency.upper(),
            "token": newest.id,
            "page": "open" if any(one.status == "open" for one in sessions) else "dead",
            "sessions": [
                {"id": one.id, "status": one.status, "payment_status": one.payment_status} for one in sessions
            ],
            "transactions": [self._intent_report(intent) for intent in intents],
        }

    def _intent_report(self, intent: Intent) -> dict[str, object]:
        books, charge = self.ledger.books, self.ledger.books.find(Charge, intent.latest_charge or "")
        refunds = books.owned(Refund, charge.id) if charge else []
        disputes = books.owned(Dispute, charge.id) if charge else []
        amounts = {
            "gross_amount": intent.amount,
            "authorized_amount": intent.capturable or intent.amount_received,
            "captured_amount": intent.amount_received,
            "refunded_amount": charge.amount_refunded if charge else 0,
            "charged_back_amount": sum(one.amount for one in disputes if one.withdrawn),
        }
        return {
            "transaction_id": intent.id,
            "payment_type": intent.method,
            "transaction_status": intent.status,
            "charge_id": charge.id if charge else None,
            **{name: major(amount, intent.currency) for name, amount in amounts.items()},
            "refunds": [_part(one) for one in refunds],
            "disputes": [_part(one) for one in disputes],
        }


def _part(thing: Refund | Dispute) -> dict[str, object]:
    return {"id": thing.id, "amount": major(thing.amount, thing.currency), "status": thing.status}
