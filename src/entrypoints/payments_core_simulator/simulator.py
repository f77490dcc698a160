"""The simulated gateway as one object: the ledger with a clock, its notifications sent, its faults armed."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from uuid import uuid4

from . import wire
from .channel_fields import amount_text
from .clock import Clock, wire_time
from .fault_rules import FaultPlan
from .faults import Faults
from .ledger import Ledger
from .notifier import Notifier
from .settings import Settings
from .values import Page, Transaction


class Simulator:
    """Everything the routes share. All of it lives in one event loop, so one call is one step."""

    def __init__(self, settings: Settings) -> None:
        self._started_with = settings
        self.settings = settings
        self.clock = Clock()
        self.ledger = Ledger()
        self.faults = Faults()
        self.notifier = Notifier(self.faults, settings.notification_speed_up)
        # Calls of the gateway's API as they arrived, the refused ones included.
        self.calls: Counter[str] = Counter()

    def now(self) -> datetime:
        """Return the time, after everything the clock does by itself has been done and told."""
        now = self.clock.now()
        self.tell(self.ledger.advance(now))
        return now

    def tell(self, versions: Iterable[Transaction]) -> None:
        """Notify the merchant of each version of a transaction."""
        for version in versions:
            body = wire.notification(version, self.settings.account)
            self.notifier.send(body, self._urls(self.ledger.page_by_order(version.order_id)))

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
        self.notifier.send(body, (settings.notify_url,) if settings.notify_url else ())
        return body

    def plan_faults(self, plan: FaultPlan) -> None:
        """Put this plan in the place of the one before."""
        self.faults.replace(plan)
        self.notifier.reseed()

    def reset(self) -> None:
        """Return to the state of the start: no data, no faults, no clock moved, the switches as started."""
        self.settings = self._started_with
        self.clock.reset()
        self.ledger.clear()
        self.plan_faults(FaultPlan())
        self.notifier.reset()
        self.calls.clear()

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
