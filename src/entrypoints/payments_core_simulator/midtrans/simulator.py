"""The simulated Midtrans as one object: the ledger with a clock, its notifications sent, its faults armed."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from uuid import uuid4

import attrs
import msgspec

from payments_core_simulator.control_bodies import decode
from payments_core_simulator.faults import Calls
from payments_core_simulator.notifier import Message, PostalHabits
from payments_core_simulator.stage import Stage

from . import wire
from .channel_fields import Fields, amount_text
from .control_bodies import Switches
from .ledger import Ledger
from .retry_table import RETRIES
from .settings import Settings
from .times import wire_time
from .values import Page, Transaction

CALLS = Calls(
    names=frozenset(
        {
            "snap_create", "token_cancel", "token_expire",
            "status", "cancel", "expire", "refund", "capture", "approve", "deny",
        }
    ),
    lagging=frozenset({"status"}),
    refusable=frozenset({"refund", "capture"}),
)  # fmt: skip


def _headers(_: bytes) -> Mapping[str, str]:
    return {"User-Agent": "Veritrans"}


HABITS = PostalHabits(RETRIES, _headers, in_order=True)


class Simulator(Stage):
    """Everything the routes of Midtrans share."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(CALLS, HABITS, settings.notification_speed_up)
        self._started_with = settings
        self.settings = settings
        self.ledger = Ledger()

    def now(self) -> datetime:
        """Return the time, after everything the clock does by itself has been done and told."""
        now = self.clock.now()
        self.tell(self.ledger.advance(now))
        return now

    def tell(self, versions: Iterable[Transaction]) -> None:
        """Notify the merchant of each version of a transaction."""
        for version in versions:
            body = wire.notification(version, self.settings.account)
            self._send(body, self._urls(self.ledger.page_by_order(version.order_id)))

    def _send(self, body: Fields, urls: Iterable[str]) -> None:
        self.notifier.send(message(body), urls)

    def _urls(self, page: Page) -> Iterable[str]:
        if page.request.override_urls:
            return page.request.override_urls
        own = (self.settings.notify_url,) if self.settings.notify_url else ()
        return dict.fromkeys((*own, *page.request.append_urls))

    def status_body(self, transaction: Transaction) -> dict[str, object]:
        """Return what GET status says of it."""
        return wire.status_reply(transaction, self.settings.account)

    def send_test_probe(self) -> dict[str, object]:
        """Send what the dashboard's test button sends, and return it."""
        settings = self.settings
        body = wire.dashboard_probe(uuid4(), settings.account, wire_time(self.now()))
        self._send(body, (settings.notify_url,) if settings.notify_url else ())
        return body

    def throw_switches(self, body: bytes) -> dict[str, object]:
        """Change the switches the body names, and return all of them without the key."""
        self.settings = decode(body, Switches).applied_to(self.settings)
        return attrs.asdict(self.settings, filter=lambda field, _: field.name != "server_key")

    def reset(self) -> None:
        """Return to the state of the start."""
        self.settings = self._started_with
        self.ledger.clear()
        super().reset()

    def report(self) -> dict[str, object]:
        """Return the ledger as `/_sim/ledger` shows it: what really happened."""
        now = self.now()
        orders = {page.order_id: self._order_report(page, now) for page in self.ledger.pages()}
        return {"orders": orders, "notifications": self.notifier.counts(), "calls": dict(self.calls)}

    def _order_report(self, page: Page, now: datetime) -> dict[str, object]:
        return {
            "gross_amount": f"{page.request.gross_amount}.00",
            "token": page.token,
            "page": "open" if page.open_at(now) else "dead",
            "transactions": [_transaction_report(one) for one in self.ledger.transactions(page)],
        }


def message(body: Fields) -> Message:
    """Return a notification's bytes; a null property is left out, as the gateway does."""
    present = {name: value for name, value in body.items() if value is not None}
    order_id, transaction_id, status = (
        str(present[name]) for name in ("order_id", "transaction_id", "transaction_status")
    )
    return Message(msgspec.json.encode(present), order_id, transaction_id, status)


def _transaction_report(transaction: Transaction) -> dict[str, object]:
    return {
        "transaction_id": transaction.transaction_id,
        "payment_type": transaction.payment_type,
        "transaction_status": transaction.status,
        "fraud_status": transaction.fraud,
        "gross_amount": amount_text(transaction.gross_sen),
        "authorized_amount": amount_text(transaction.authorized_sen),
        "captured_amount": amount_text(transaction.captured_sen),
        "refunded_amount": amount_text(transaction.refunded_sen),
        "charged_back_amount": amount_text(transaction.charged_back_sen),
    }
