"""The far side: what the gateway itself believes, its pages, transactions and refunds. The oracle of every check.

Nothing here waits or fails; delays, losses and errors belong to the network in front of it. The manners are those of a
real gateway: a token is replaced until a method is chosen, an order id is taken afterwards, a status may lag.
"""

import json
from collections.abc import Callable

import attrs

from payments_core.ports import (
    CaptureReply,
    Done,
    KeyUsed,
    PageClosing,
    PageOpened,
    PageRefused,
    PageReply,
    PageTaken,
    RefundReply,
    Refused,
    Waiting,
)
from payments_core.states import Signal
from payments_core.testing.histories import LEGAL

__all__ = ["Ledger", "Page", "Snapshot", "Transaction"]

MONEY = (Signal.CAPTURED, Signal.SETTLED)
ALIVE = (Signal.PENDING, Signal.CHALLENGED, Signal.AUTHORIZED)
_CAN_BE_CANCELLED = (*ALIVE, Signal.CAPTURED)


@attrs.frozen
class Snapshot:
    """A transaction as the status call shows it; `refunds` are key, amount and what became of it."""

    word: Signal
    minor: int
    refunds: tuple[tuple[str, int, str], ...] = ()
    charged_back: int = 0

    def refunded(self, *also: str) -> int:
        """What went back, and what is in the state of one of these words."""
        return sum(minor for _, minor, news in self.refunds if news == "confirmed" or news in also)


@attrs.define
class Transaction:
    """One try of a buyer, with everything it ever was."""

    transaction_id: str
    order_id: str
    method: str
    log: list[tuple[float, Snapshot]]

    @property
    def now(self) -> Snapshot:
        return self.log[-1][1]

    @property
    def words(self) -> list[Signal]:
        return [snapshot.word for _, snapshot in self.log]

    def as_of(self, at: float) -> Snapshot | None:
        """How it stood then; None before it was made."""
        return next((snapshot for since, snapshot in reversed(self.log) if since <= at), None)

    @property
    def left_minor(self) -> int:
        """Money that the merchant has of it."""
        return self.now.minor - self.now.refunded() - self.now.charged_back if self.now.word in MONEY else 0


@attrs.define
class Page:
    """One payable page; every token but the newest is worth nothing."""

    order_id: str
    minor: int
    ends_at: float
    tokens: list[str]
    request: str
    gone: bool = False


@attrs.define(slots=False)
class Ledger:
    """Every page, transaction and refund. `changed` hears of each change of a transaction."""

    clock: Callable[[], float]
    changed: Callable[[Transaction], None]
    page_made: Callable[[Page], None] = lambda _page: None
    pages: dict[str, Page] = attrs.field(factory=dict)
    transactions: dict[str, Transaction] = attrs.field(factory=dict)
    asked: dict[str, list[tuple[str, int]]] = attrs.field(factory=dict)
    """Refund requests that reached us, by key: transaction and amount."""
    calls: list[tuple[str, str]] = attrs.field(factory=list)
    complaints: list[str] = attrs.field(factory=list)
    refuse_pages: bool = False
    refuse_operations: bool = False
    refunds_wait: bool = False

    def is_payable(self, page: Page) -> bool:
        """Somebody can still choose a method on it."""
        return not page.gone and self.clock() < page.ends_at

    def tries(self, order_id: str) -> list[Transaction]:
        """The transactions made on a page, oldest first."""
        return [t for t in self.transactions.values() if t.order_id == order_id]

    # ── what a merchant may call ──────────────────────────────────────────────────────────────────────────────────
    def open(self, order_id: str, request: str) -> PageReply:
        """A page for this order id, or its new token."""
        self.calls.append(("open", order_id))
        fields = json.loads(request)
        page = self.pages.get(order_id)
        if page is not None and page.request != request:
            self.complaints.append(f"{order_id} was opened with two different requests")
        if page is not None and (page.gone or self.tries(order_id)):
            return PageTaken()
        if self.clock() >= fields["ends_at"] or self.refuse_pages:
            return PageRefused(("this gateway refuses",))
        if page is None:
            page = Page(order_id, fields["amount_minor"], fields["ends_at"], [], request)
            self.pages[order_id] = page
            self.page_made(page)
        page.tokens.append(f"token-{order_id}-{len(page.tokens) + 1}")
        return PageOpened(page.tokens[-1], f"https://pay.example/{page.tokens[-1]}")

    def close(self, order_id: str, token: str | None) -> PageClosing:
        """End the page of this token."""
        self.calls.append(("close", order_id))
        page = self.pages.get(order_id)
        if page is None or page.tokens[-1] != token:
            return PageClosing.GONE
        if not page.gone and any(t.now.word in (*ALIVE, *MONEY) for t in self.tries(order_id)):
            return PageClosing.IN_PROGRESS
        page.gone = True
        return PageClosing.GONE

    def read(self, reference: str, lag: float) -> tuple[Transaction, Snapshot] | None:
        """What the status call shows of a transaction, or of the newest one of an order id."""
        self.calls.append(("read", reference))
        named = self.transactions.get(reference)
        for transaction in [named] if named else reversed(self.tries(reference)):
            if snapshot := transaction.as_of(self.clock() - lag):
                return transaction, snapshot
        return None

    def cancel(self, transaction_id: str) -> None:
        """Void it if it has not settled; anything else is refused without a word."""
        self.calls.append(("cancel", transaction_id))
        if self.transactions[transaction_id].now.word in _CAN_BE_CANCELLED:
            self.becomes(transaction_id, Signal.CANCELLED)

    def capture(self, transaction_id: str, minor: int) -> CaptureReply:
        """Take held money, all of it or less."""
        self.calls.append(("capture", transaction_id))
        transaction = self.transactions[transaction_id]
        if transaction.now.word is not Signal.AUTHORIZED or minor > transaction.now.minor or self.refuse_operations:
            return Refused(("412: the status cannot be changed",))
        self._append(transaction, attrs.evolve(transaction.now, word=Signal.CAPTURED, minor=minor))
        return Done()

    def review(self, transaction_id: str, word: Signal) -> CaptureReply:
        """Let a transaction under review through, or refuse it."""
        self.calls.append((word.value, transaction_id))
        if self.transactions[transaction_id].now.word is not Signal.CHALLENGED or self.refuse_operations:
            return Refused(("412: the status cannot be changed",))
        self.becomes(transaction_id, word)
        return Done()

    def refund(self, key: str, transaction_id: str, minor: int) -> RefundReply:
        """Give settled money back under this key, once."""
        self.calls.append(("refund", key))
        earlier = self.asked.setdefault(key, [])
        earlier.append((transaction_id, minor))
        if len(set(earlier)) > 1:
            self.complaints.append(f"refund key {key} was used for two different refunds: {earlier}")
        transaction = self.transactions[transaction_id]
        if any(known == key for known, _, _ in transaction.now.refunds):
            return KeyUsed()
        free = transaction.now.minor - transaction.now.refunded("pending") - transaction.now.charged_back
        if transaction.now.word is not Signal.SETTLED or minor > free or self.refuse_operations:
            return Refused(("414: refused",))
        news = "pending" if self.refunds_wait else "confirmed"
        self._give_back(transaction, key, minor, news)
        return Waiting() if self.refunds_wait else Done()

    # ── what a buyer, a bank and the gateway's own people do ──────────────────────────────────────────────────────
    def buyer_tries(self, order_id: str, token: str, word: Signal, method: str) -> str | None:
        """The id of a try on this page, None when this page cannot be paid."""
        page = self.pages[order_id]
        if not self.is_payable(page) or page.tokens[-1] != token:
            return None
        transaction_id = f"tx{len(self.transactions) + 1}"
        transaction = Transaction(transaction_id, order_id, method, [(self.clock(), Snapshot(word, page.minor))])
        self.transactions[transaction_id] = transaction
        self.changed(transaction)
        return transaction_id

    def becomes(self, transaction_id: str, word: Signal) -> None:
        """The transaction has moved on, along the moves there are."""
        transaction = self.transactions[transaction_id]
        assert word in LEGAL[transaction.now.word] or word in (Signal.CANCELLED, Signal.EXPIRED)
        self._append(transaction, attrs.evolve(transaction.now, word=word))

    def charge_back(self, transaction_id: str, minor: int) -> None:
        """The bank took this much more of settled money back."""
        transaction = self.transactions[transaction_id]
        free = transaction.now.minor - transaction.now.refunded("pending") - transaction.now.charged_back
        if transaction.now.word is Signal.SETTLED and 0 < minor <= free:
            more = transaction.now.charged_back + minor
            self._append(transaction, attrs.evolve(transaction.now, charged_back=more))

    def dashboard_refund(self, transaction_id: str, minor: int) -> None:
        """Somebody gave money back in the gateway's dashboard, under a key we never heard of."""
        transaction = self.transactions[transaction_id]
        free = transaction.now.minor - transaction.now.refunded("pending") - transaction.now.charged_back
        if transaction.now.word is Signal.SETTLED and 0 < minor <= free:
            self._give_back(transaction, f"dash-{transaction_id}-{len(transaction.log)}", minor, "confirmed")

    def settle_refunds(self, transaction_id: str, news: str) -> None:
        """The bank has the last word on refunds that waited for it."""
        transaction = self.transactions[transaction_id]
        if any(state == "pending" for _, _, state in transaction.now.refunds):
            settled = tuple((k, m, news if state == "pending" else state) for k, m, state in transaction.now.refunds)
            self._append(transaction, attrs.evolve(transaction.now, refunds=settled))

    def _give_back(self, transaction: Transaction, key: str, minor: int, news: str) -> None:
        refunds = (*transaction.now.refunds, (key, minor, news))
        self._append(transaction, attrs.evolve(transaction.now, refunds=refunds))

    def _append(self, transaction: Transaction, snapshot: Snapshot) -> None:
        transaction.log.append((self.clock(), snapshot))
        self.changed(transaction)
