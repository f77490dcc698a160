"""The far side with Midtrans' manners: a token is replaced until a method is chosen, an order id is taken afterwards.

Its words are its own (`_fields_of`), but for refunds that are done (`telling.py`): the adapter of Midtrans is proved
elsewhere, the core knows manners only.
"""

import json
import math
from typing import Any

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
from unit.simulation.far_side import (
    ALIVE,
    MONEY,
    FarSide,
    Letter,
    Page,
    Snapshot,
    Transaction,
    strangers_key,
    written,
)
from unit.simulation.telling import Telling, given_back

__all__ = ["PROVIDER", "Ledger"]

PROVIDER = "midtrans"

_CAN_BE_CANCELLED = (*ALIVE, Signal.CAPTURED)


@attrs.define(slots=False)
class Ledger(FarSide):
    """Every page, transaction and refund."""

    asked: dict[str, list[tuple[str, int]]] = attrs.field(factory=dict)
    """Refund requests that reached us, by key: transaction and amount."""
    telling: Telling = Telling.KEYS
    keys_kept_s: float = math.inf
    """How long a refund's key is known again; after that the same request makes another refund."""
    _kept: dict[str, float] = attrs.field(factory=dict)
    _answers: int = 0

    @property
    def names_refunds(self) -> bool:
        return self.telling is Telling.KEYS

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
        if self.clock() - self._kept.get(key, -math.inf) < self.keys_kept_s:
            return KeyUsed()
        if transaction.now.word is not Signal.SETTLED or minor > transaction.now.free_minor or self.refuse_operations:
            return Refused(("414: refused",))
        self._kept[key] = self.clock()
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
        self.told(self.letter(transaction))
        return transaction_id

    def becomes(self, transaction_id: str, word: Signal) -> None:
        """The transaction has moved on, along the moves there are."""
        transaction = self.transactions[transaction_id]
        assert word in LEGAL[transaction.now.word] or word in (Signal.CANCELLED, Signal.EXPIRED)
        self._append(transaction, attrs.evolve(transaction.now, word=word))

    def charge_back(self, transaction_id: str, minor: int) -> None:
        """The bank took this much more of settled money back."""
        transaction = self.transactions[transaction_id]
        if transaction.now.word is Signal.SETTLED and 0 < minor <= transaction.now.free_minor:
            more = transaction.now.charged_back + minor
            self._append(transaction, attrs.evolve(transaction.now, charged_back=more))

    def dashboard_refund(self, transaction_id: str, minor: int) -> None:
        """Somebody gave money back in the gateway's dashboard, under a key we never heard of."""
        transaction = self.transactions[transaction_id]
        if transaction.now.word is Signal.SETTLED and 0 < minor <= transaction.now.free_minor:
            self._give_back(transaction, strangers_key(f"{transaction_id}-{len(transaction.log)}"), minor, "confirmed")

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
        super()._append(transaction, snapshot)
        self.told(self.letter(transaction))

    def letter(self, transaction: Transaction, **changes: object) -> Letter:
        """What is told of it now; `changes` are what somebody else wrote into it."""
        return Letter(PROVIDER, written({**self.shown(transaction, transaction.now), **changes}))

    def shown(self, transaction: Transaction, snapshot: Snapshot) -> dict[str, Any]:
        """What the next answer, or notification, says of it as it was then."""
        self._answers += 1
        return _fields_of(transaction, snapshot, self.telling, self._answers)

    def last_words(self, transaction: Transaction) -> list[Letter]:
        return [self.letter(transaction)]


def _fields_of(transaction: Transaction, snapshot: Snapshot, telling: Telling, turn: int) -> dict[str, Any]:
    """What a status answer or a notification says of it."""
    return {
        "order_id": transaction.order_id,
        "transaction_id": transaction.transaction_id,
        "status": snapshot.word.value,
        "amount_minor": snapshot.minor,
        "method": transaction.method,
        "taken_at": _taken_at(transaction),
        "charged_back": snapshot.charged_back,
        "waiting": (),
        **given_back(snapshot, telling, turn),
    }


def _taken_at(transaction: Transaction) -> float | None:
    """When its money came."""
    return next((since for since, snapshot in transaction.log if snapshot.word in MONEY), None)
