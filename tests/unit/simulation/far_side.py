"""What every simulated gateway keeps: its pages, and transactions with everything they ever were. The oracle of checks.

Nothing here waits or fails; delays, losses and errors belong to the network in front of it.
"""

import json
from collections.abc import Callable
from typing import Any

import attrs

from payments_core.states import Signal

__all__ = [
    "ALIVE",
    "MONEY",
    "Dispute",
    "FarSide",
    "Letter",
    "Page",
    "Snapshot",
    "Transaction",
    "is_strangers",
    "strangers_key",
    "written",
]

MONEY = (Signal.CAPTURED, Signal.SETTLED)
ALIVE = (Signal.PENDING, Signal.CHALLENGED, Signal.AUTHORIZED)
_STRANGERS = "dash-"


@attrs.frozen
class Letter:
    """One message of a gateway, to the byte; a copy of it is the same letter."""

    provider: str
    body: bytes


@attrs.frozen
class Dispute:
    """A bank's wish to have money back; `withdrawn` while it is with the bank."""

    dispute_id: str
    minor: int
    status: str
    withdrawn: bool = False


@attrs.frozen
class Snapshot:
    """A transaction at one moment; `refunds` are key, amount and what became of it.

    `status`, `declined` and `disputes` are of gateways that have such.
    """

    word: Signal
    minor: int
    refunds: tuple[tuple[str, int, str], ...] = ()
    charged_back: int = 0
    status: str = ""
    declined: str | None = None
    disputes: tuple[Dispute, ...] = ()

    def refunded(self, *also: str) -> int:
        """What went back, and what is in the state of one of these words."""
        return sum(minor for _, minor, news in self.refunds if news == "confirmed" or news in also)

    @property
    def strangers_minor(self) -> int:
        """What went back, or may, without our asking for it."""
        return sum(minor for key, minor, _ in self.refunds if is_strangers(key))

    @property
    def free_minor(self) -> int:
        """What can still be given back: taken, and neither back nor on its way."""
        return self.minor - self.refunded("pending") - self.charged_back


@attrs.define
class Transaction:
    """One try of a buyer (or, where all tries are one transaction, all of them), with everything it ever was."""

    transaction_id: str
    order_id: str
    method: str
    log: list[tuple[float, Snapshot]]

    @property
    def now(self) -> Snapshot:
        return self.log[-1][1]

    @property
    def waits(self) -> bool:
        """Money on its way back waits for the buyer's bank."""
        return any(news == "pending" for _, _, news in self.now.refunds)

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
class FarSide:
    """Pages and transactions. `changed` hears of each change of a transaction, `told` of each message to send."""

    clock: Callable[[], float]
    changed: Callable[[Transaction], None]
    page_made: Callable[[Page], None] = lambda _page: None
    told: Callable[[Letter], None] = lambda _letter: None
    pages: dict[str, Page] = attrs.field(factory=dict)
    transactions: dict[str, Transaction] = attrs.field(factory=dict)
    calls: list[tuple[str, str]] = attrs.field(factory=list)
    complaints: list[str] = attrs.field(factory=list)
    refuse_pages: bool = False
    refuse_operations: bool = False
    refunds_wait: bool = False

    @property
    def names_refunds(self) -> bool:
        """Whether every answer says which refund is which."""
        return True

    def be_well(self) -> None:
        """Nothing is refused, and nothing waits, any more."""
        self.refuse_pages = self.refuse_operations = self.refunds_wait = False

    def is_payable(self, page: Page) -> bool:
        """Somebody can still choose a method on it."""
        return not page.gone and self.clock() < page.ends_at

    def tries(self, order_id: str) -> list[Transaction]:
        """The transactions made on a page, oldest first."""
        return [t for t in self.transactions.values() if t.order_id == order_id]

    def dashboard_refund(self, transaction_id: str, minor: int) -> None:
        """Somebody gave money back in the gateway's dashboard, where it has one."""

    def last_words(self, transaction: Transaction) -> list[Letter]:
        """What surely arrives in the end: the newest message about everything that changes by itself."""
        raise NotImplementedError

    def _append(self, transaction: Transaction, snapshot: Snapshot) -> None:
        transaction.log.append((self.clock(), snapshot))
        self.changed(transaction)


def strangers_key(name: object) -> str:
    """The key of a refund that somebody made in the gateway's dashboard."""
    return f"{_STRANGERS}{name}"


def is_strangers(key: str) -> bool:
    """Whether this refund was none of our asking."""
    return key.startswith(_STRANGERS)


def written(fields: Any) -> bytes:
    """The bytes of a message."""
    return json.dumps(fields).encode()
