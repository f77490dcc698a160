"""A gateway in memory, with the manners of a real one: it repeats itself, forgets, lags, times out.

It keeps its own ledger of pages and transactions, so a test can ask what really happened. Its notifications are signed
over the whole body; with `Confirm.ALWAYS` in its traits the core treats them as unproved hints all the same.
"""

import hmac
import json
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import TypeVar

import attrs

from payments_core.errors import GatewayTimeout, GatewayUnavailable, MalformedNotification, NotAuthentic
from payments_core.money import Money
from payments_core.observations import Observation, Unknown
from payments_core.orders import Order
from payments_core.payment import Attempt, Refund
from payments_core.policy import GatewayTraits
from payments_core.ports import (
    CaptureReply,
    Done,
    Foreign,
    Genuine,
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

__all__ = ["MemoryGateway", "Page", "Transaction"]

Answer = TypeVar("Answer")

_UNPAID_ENDS = frozenset({Signal.DENIED, Signal.CANCELLED, Signal.EXPIRED, Signal.FAILED})


@attrs.frozen
class Transaction:
    """One try of a buyer; `words` are the states it went through, newest last."""

    transaction_id: str
    provider_order_id: str
    amount: Money
    method: str
    words: tuple[Signal, ...]
    refunded: Money
    charged_back: Money | None = None

    @property
    def is_over(self) -> bool:
        """Ended without money."""
        return self.words[-1] in _UNPAID_ENDS


@attrs.define
class Page:
    """One payable page; a token that was replaced is worth nothing."""

    provider_order_id: str
    amount: Money
    token: str
    is_gone: bool = False


@attrs.define
class MemoryGateway:
    """The `Gateway` port, with a ledger, and a buyer's and a saboteur's side.

    The saboteur's side are the plain fields: answers that get lost, calls that fail, readings that lag.
    """

    name: str = "memory"
    traits: GatewayTraits = attrs.field(factory=GatewayTraits)
    secret: bytes = attrs.field(default=b"memory-secret", repr=False)
    pages: dict[str, Page] = attrs.field(factory=dict)
    transactions: dict[str, Transaction] = attrs.field(factory=dict)
    calls: list[str] = attrs.field(factory=list)
    lost_answers: int = 0
    """So many of the next calls take effect and are not answered."""
    refused_calls: int = 0
    """So many of the next calls fail before they take effect."""
    refuse_pages: bool = False
    refuse_operations: bool = False
    refunds_wait: bool = False
    refunds: dict[str, Refund] = attrs.field(factory=dict)
    """What was given back through us, by its key."""
    lag: int = 0
    """A reading shows a transaction as it was so many states ago."""
    unreachable: bool = False

    # ── the port ──────────────────────────────────────────────────────────────────────────────────────────────────
    def authenticate(self, body: bytes, headers: Mapping[str, str]) -> Genuine | Foreign:
        """What the bytes say, once their signature is proved."""
        if b"transaction_id" not in body:
            raise MalformedNotification("no transaction_id")
        signature = hmac.new(self.secret, body, sha256).hexdigest()
        if not hmac.compare_digest(headers.get("signature", "").encode(), signature.encode()):
            raise NotAuthentic("the signature is wrong")
        return Genuine(self.observe(body))

    def observe(self, body: bytes) -> Observation:
        """What a notification says."""
        fields = json.loads(body)
        word, currency = fields["status"], fields["currency"]
        known = word in Signal._value2member_map_
        return Observation(
            provider=self.name,
            provider_order_id=fields["order_id"],
            transaction_id=fields["transaction_id"],
            meaning=Signal(word) if known else Unknown(word),
            amount=Money.of(fields["amount_minor"], currency),
            method=fields["method"],
            refunded=Money.of(fields["refunded_minor"], currency),
            charged_back=Money.of(fields["charged_back_minor"], currency),
            ends_page=word in ("expired", "cancelled") and fields["method"] != "card",
        )

    def refuse_unsayable(self, order: Order) -> None:
        """This wire can say every amount."""

    def refuse_amount(self, amount: Money) -> None:
        """This wire can say every amount."""

    def page_request(self, order: Order, attempt: Attempt) -> str:  # noqa: ARG002 - the amount is the attempt's
        """The body that opens this attempt."""
        return json.dumps({"order_id": attempt.provider_order_id, "amount_minor": attempt.amount.amount_minor})

    async def open_page(self, attempt: Attempt) -> PageReply:
        """Send the stored request; the same order id again replaces the token until a buyer chose a method."""
        return self._call("open", lambda: self._open(attempt))

    async def close_page(self, attempt: Attempt) -> PageClosing:
        """End the page named by the attempt's token."""
        return self._call("close", lambda: self._close(attempt))

    async def read(self, transaction_id: str) -> Observation | None:
        """The transaction of this id."""
        return self._call("read", lambda: self._read(self.transactions.get(transaction_id)))

    async def read_page(self, attempt: Attempt) -> Observation | None:
        """The newest transaction of this attempt."""
        return self._call("read", lambda: self._read(next(reversed(self._tries(attempt.provider_order_id)), None)))

    async def cancel(self, transaction_id: str) -> None:
        """Cancel a transaction that has not settled; anything else is refused without a word."""
        self._call("cancel", lambda: self._cancel(transaction_id))

    async def capture(self, transaction_id: str, amount: Money) -> CaptureReply:
        """Take held money, all of it or less."""
        return self._call("capture", lambda: self._capture(transaction_id, amount))

    async def approve(self, transaction_id: str) -> CaptureReply:
        """Let a transaction under review through."""
        return self._call("approve", lambda: self._review(transaction_id, Signal.CAPTURED))

    async def deny(self, transaction_id: str) -> CaptureReply:
        """Refuse a transaction under review."""
        return self._call("deny", lambda: self._review(transaction_id, Signal.DENIED))

    async def refund(self, refund: Refund) -> RefundReply:
        """Give settled money back; a key that was used is told so."""
        return self._call("refund", lambda: self._refund(refund))

    def _call(self, name: str, effect: Callable[[], Answer]) -> Answer:
        self.calls.append(name)
        if self.unreachable or self.refused_calls:
            self.refused_calls = max(0, self.refused_calls - 1)
            raise GatewayUnavailable("503")
        answer = effect()
        if self.lost_answers:
            self.lost_answers -= 1
            raise GatewayTimeout("no answer in time")
        return answer

    def _open(self, attempt: Attempt) -> PageReply:
        if attempt.request is None:
            raise ValueError("a request is stored before it is sent")
        if self.refuse_pages:
            return PageRefused(("this gateway refuses",))
        order_id = json.loads(attempt.request)["order_id"]
        page = self.pages.get(order_id)
        if page is not None and not self.traits.replaces_pages:
            return PageOpened(page.token, f"https://pay.example/{page.token}")
        if page is not None and (page.is_gone or self._tries(order_id)):
            return PageTaken()
        token = f"token-{order_id}-{len(self.calls)}"
        self.pages[order_id] = Page(order_id, attempt.amount, token)
        return PageOpened(token, f"https://pay.example/{token}")

    def _close(self, attempt: Attempt) -> PageClosing:
        page = self.pages.get(attempt.provider_order_id)
        if page is None or page.token != attempt.token:
            return PageClosing.GONE
        if not page.is_gone and any(not t.is_over for t in self._tries(attempt.provider_order_id)):
            return PageClosing.IN_PROGRESS
        page.is_gone = True
        return PageClosing.GONE

    def _read(self, transaction: Transaction | None) -> Observation | None:
        return self.observe(self._body(transaction, lag=self.lag)) if transaction else None

    def _cancel(self, transaction_id: str) -> None:
        transaction = self.transactions.get(transaction_id)
        if transaction is not None and not transaction.is_over and transaction.words[-1] is not Signal.SETTLED:
            self.becomes(transaction_id, Signal.CANCELLED)

    def _capture(self, transaction_id: str, amount: Money) -> CaptureReply:
        transaction = self.transactions[transaction_id]
        if transaction.words[-1] is not Signal.AUTHORIZED or self.refuse_operations:
            return Refused(("412: the status cannot be changed",))
        self.transactions[transaction_id] = attrs.evolve(transaction, amount=amount)
        self.becomes(transaction_id, Signal.CAPTURED)
        return Done()

    def _review(self, transaction_id: str, word: Signal) -> CaptureReply:
        if self.transactions[transaction_id].words[-1] is not Signal.CHALLENGED or self.refuse_operations:
            return Refused(("412: the status cannot be changed",))
        self.becomes(transaction_id, word)
        return Done()

    def _refund(self, refund: Refund) -> RefundReply:
        if refund.key in self.refunds:
            return KeyUsed()
        transaction = self.transactions[refund.transaction_id]
        back = transaction.refunded + refund.amount
        settled = transaction.words[-1] is Signal.SETTLED
        if not settled or back.amount_minor > transaction.amount.amount_minor or self.refuse_operations:
            return Refused(("414: refused",))
        self.refunds[refund.key] = refund
        self.transactions[refund.transaction_id] = attrs.evolve(transaction, refunded=back)
        return Waiting() if self.refunds_wait else Done()

    def _tries(self, order_id: str) -> list[Transaction]:
        return [t for t in self.transactions.values() if t.provider_order_id == order_id]

    # ── the buyer's side ──────────────────────────────────────────────────────────────────────────────────────────
    def buyer_tries(self, token: str, outcome: Signal, *, method: str = "bank_transfer") -> str:
        """The transaction id of a buyer's try on the page of this token.

        Errors: ValueError when the page cannot be paid.
        """
        page = next((p for p in self.pages.values() if p.token == token and not p.is_gone), None)
        if page is None:
            raise ValueError(f"{token} is no page that can be paid")
        transaction_id = f"tx-{len(self.transactions) + 1}-{page.provider_order_id}"
        nothing = Money(0, page.amount.currency)
        self.transactions[transaction_id] = Transaction(
            transaction_id, page.provider_order_id, page.amount, method, (outcome,), nothing
        )
        return transaction_id

    def becomes(self, transaction_id: str, word: Signal, *, refunded: Money | None = None) -> None:
        """The transaction has moved on."""
        was = self.transactions[transaction_id]
        self.transactions[transaction_id] = attrs.evolve(
            was, words=(*was.words, word), refunded=refunded or was.refunded
        )

    def notification(self, transaction_id: str, **changes: object) -> tuple[bytes, dict[str, str]]:
        """Body and headers of what the gateway would send now; `changes` forge fields under a genuine signature."""
        fields = {**json.loads(self._body(self.transactions[transaction_id])), **changes}
        body = json.dumps(fields).encode()
        return body, {"signature": hmac.new(self.secret, body, sha256).hexdigest()}

    def _body(self, transaction: Transaction, *, lag: int = 0) -> bytes:
        word = transaction.words[max(0, len(transaction.words) - 1 - lag)]
        return json.dumps(
            {
                "order_id": transaction.provider_order_id,
                "transaction_id": transaction.transaction_id,
                "status": word.value,
                "amount_minor": transaction.amount.amount_minor,
                "currency": transaction.amount.currency.code,
                "method": transaction.method,
                "refunded_minor": transaction.refunded.amount_minor,
                "charged_back_minor": transaction.charged_back.amount_minor if transaction.charged_back else 0,
            }
        ).encode()
