"""What the core needs of the world, as small protocols named for the domain.

An implementation is believed only after it passed the contract that belongs to its port (`payments_core.testing`).
Whatever cannot be reached raises StorageUnavailable, GatewayUnavailable or GatewayTimeout; nothing here returns None
for "I do not know".
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from enum import Enum
from typing import Protocol

import attrs

from payments_core.commands import Command
from payments_core.decide import Verdict
from payments_core.facts import Event
from payments_core.money import Money
from payments_core.observations import Observation
from payments_core.orders import Order, OrderStatus, StockLevel, StockMove
from payments_core.payment import Attempt, Payment, Refund
from payments_core.policy import GatewayTraits
from payments_core.status import PaymentStatus

__all__ = [
    "CaptureReply",
    "Change",
    "Clock",
    "Delivery",
    "Done",
    "Due",
    "DueKind",
    "Errands",
    "Foreign",
    "Gateway",
    "Genuine",
    "Ids",
    "Inbox",
    "Kept",
    "KeyUsed",
    "Notification",
    "NotificationKey",
    "OrderBook",
    "OrderEffect",
    "OrderPayment",
    "OrderRegistry",
    "Outbox",
    "PageClosing",
    "PageOpened",
    "PageRefused",
    "PageReply",
    "PageTaken",
    "PaymentFilter",
    "Payments",
    "Placed",
    "RefundReply",
    "Refused",
    "ShopStore",
    "ShopUnitOfWork",
    "Store",
    "Subscriber",
    "Survey",
    "Turns",
    "UnitOfWork",
    "Waiting",
]


# ── gateways ──────────────────────────────────────────────────────────────────────────────────────────────────────────
@attrs.frozen
class Genuine:
    """A notification that proved its sender, and what it says.

    `identity` is the gateway's own name for the message, where it gives each one a name and repeats it with every
    delivery; without one, the bytes are what makes a message one.
    """

    observation: Observation
    identity: str | None = None


@attrs.frozen
class Foreign:
    """Not a payment at all (a subscription, an account): answered, counted, not stored. `kind` names it."""

    kind: str


@attrs.frozen
class PageOpened:
    """The page can be paid at `url`; `token` names it at the gateway."""

    token: str
    url: str


@attrs.frozen
class PageRefused:
    """A definitive no: the same request will be refused again. `reasons` are the gateway's, safe to show."""

    reasons: tuple[str, ...]


@attrs.frozen
class PageTaken:
    """The gateway says this order id has a transaction already."""


PageReply = PageOpened | PageRefused | PageTaken


@attrs.frozen
class Done:
    """The gateway did it."""


@attrs.frozen
class Waiting:
    """The gateway took it in; a bank has the last word, which a reading will show."""


@attrs.frozen
class KeyUsed:
    """The gateway knows this refund key already: what became of it is read."""


@attrs.frozen
class Refused:
    """A definitive no, and nothing happened. `reasons` are the gateway's, safe to show."""

    reasons: tuple[str, ...]


CaptureReply = Done | Refused
RefundReply = Done | Waiting | KeyUsed | Refused


class PageClosing(Enum):
    """What a gateway says when it is asked to end a page."""

    GONE = "gone"
    """Cancelled now or before, or unknown: nobody can choose a method any more."""
    IN_PROGRESS = "in_progress"
    """A transaction is under way on it, or the gateway cannot say that it is over."""


class Gateway(Protocol):
    """A payment provider.

    `name` is the word in URLs and rows. Every call ends within `traits.timeout`.
    """

    @property
    def name(self) -> str:
        """The provider's word, for example `midtrans`."""

    @property
    def traits(self) -> GatewayTraits:
        """What the core must know of its manner."""

    def authenticate(self, body: bytes, headers: Mapping[str, str]) -> Genuine | Foreign:
        """What the bytes say, once their sender is proved.

        Errors: MalformedNotification, NotAuthentic.
        """

    def observe(self, body: bytes) -> Observation:
        """What the bytes of a notification say that was proved genuine when it was stored."""

    def refuse_unsayable(self, order: Order) -> None:
        """Nothing, when every amount of the order can be said on this wire.

        Errors: AmountNotRepresentable.
        """

    def refuse_amount(self, amount: Money) -> None:
        """Nothing, when this wire can say the amount.

        Errors: AmountNotRepresentable.
        """

    def page_request(self, order: Order, attempt: Attempt) -> str:
        """The exact body that opens this attempt; stored before it is sent, and sent again unchanged.

        Errors: AmountNotRepresentable.
        """

    async def open_page(self, attempt: Attempt) -> PageReply:
        """Send the attempt's stored request.

        Errors: GatewayUnavailable, GatewayTimeout: it may or may not have happened.
        """

    async def close_page(self, attempt: Attempt) -> PageClosing:
        """End the page named by the attempt's token.

        Errors: GatewayUnavailable, GatewayTimeout.
        """

    async def read(self, transaction_id: str) -> Observation | None:
        """What the gateway says now of this transaction; None when it does not know it.

        Errors: GatewayUnavailable, GatewayTimeout.
        """

    async def read_page(self, attempt: Attempt) -> Observation | None:
        """What the gateway says now of the page: its newest transaction, or its own end when it has none.

        None while nobody has tried to pay on it, or when the gateway does not know it: a proof of nothing.
        Errors: as `read`.
        """

    async def cancel(self, transaction_id: str) -> None:
        """Ask for the cancellation of one transaction; whether it happened is read afterwards.

        Errors: GatewayUnavailable, GatewayTimeout. A refusal ("cannot be cancelled") is no error: the reading tells.
        """

    async def capture(self, transaction_id: str, amount: Money) -> CaptureReply:
        """Take this much of the money that is held; the rest is let go.

        Errors: GatewayUnavailable, GatewayTimeout: it may or may not have happened.
        """

    async def approve(self, transaction_id: str) -> CaptureReply:
        """Let a transaction under review through. Errors: as `capture`."""

    async def deny(self, transaction_id: str) -> CaptureReply:
        """Refuse a transaction under review. Errors: as `capture`."""

    async def refund(self, refund: Refund) -> RefundReply:
        """Give settled money back under the refund's key; the same key again is the same refund.

        Errors: as `capture`.
        """


# ── the store ─────────────────────────────────────────────────────────────────────────────────────────────────────────
@attrs.frozen
class Change:
    """One payment before and after a decision (`before` is None for a new one), with the events it made.

    `actor` and `at` say who changed it and when, also where nothing is published.
    """

    before: Payment | None
    after: Payment
    events: Sequence[Event]
    actor: str = ""
    at: datetime | None = None


@attrs.frozen(kw_only=True)
class PaymentFilter:
    """Which payments a list shows; None leaves a field open. Times bound `created_at`, from included, to not."""

    status: PaymentStatus | None = None
    provider: str | None = None
    order_id: str | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None
    needs_review: bool | None = None


class Payments(Protocol):
    """Payments, by id; many at a time."""

    async def lock(self, payment_ids: Collection[str]) -> dict[str, Payment]:
        """These payments, locked in the order of their ids until the transaction ends; unknown ids are left out."""

    async def load(self, payment_ids: Collection[str]) -> dict[str, Payment]:
        """These payments as they are, without a lock."""

    async def save(self, changes: Sequence[Change]) -> dict[str, Payment]:
        """The changed payments with their new versions; events are appended in the same transaction.

        A store that outlives the process also appends one chained entry a payment, saying what changed.
        Errors: StaleWrite when a version differs, or a constraint says that another writer was first.
        """

    async def take_numbers(self, payment_ids: Collection[str]) -> dict[str, int]:
        """A new reading number for each payment, taken from its row before the question leaves."""

    async def keep_numbers(self, payments: Sequence[Payment]) -> None:
        """The reading numbers of these payments, which are locked, as they stand here.

        Nothing else of them, no version and no history: to be asked about is no change of a payment.
        """

    async def history(self, payment_id: str, *, after: int, limit: int) -> list[Event]:
        """Events with a sequence above `after`, oldest first."""

    async def newest(self, wanted: PaymentFilter, *, before: str | None, limit: int) -> list[Payment]:
        """Payments that fit, newest first, made before the one with this id."""

    async def bind(self, payment_id: str, provider: str, account: str, transaction_id: str) -> bool:
        """Whether this transaction belongs to this payment, binding it when it belongs to none.

        Needed where a message does not name our order id, so that nothing else says whose money it is; and for a
        booking, which a message could say of any order, and which is bound by its own name instead.
        """

    async def owners(self, provider: str, account: str, transaction_ids: Collection[str]) -> dict[str, str]:
        """The payment each of these transactions was bound to, by transaction; those of nobody are left out."""


@attrs.frozen(cache_hash=True)
class NotificationKey:
    """What makes a stored notification one: the digest of its bytes, or of the name its gateway gave it.

    `shard` is the payment id they name, or empty.
    """

    shard: str
    provider: str
    account: str
    digest: str


@attrs.frozen(kw_only=True)
class Notification:
    """The bytes a gateway sent us, proved genuine, and the transaction they name.

    `says` is what they mean while they are fresh; a stored notification has None and is observed again.
    """

    key: NotificationKey
    body: bytes
    received_at: datetime
    transaction_id: str
    says: Observation | None = attrs.field(default=None, eq=False)


@attrs.frozen(kw_only=True)
class Kept:
    """A stored notification with its verdict.

    Shape: `asked` is the reading number that may answer it, `tries` counts readings that were behind it, `check_at` is
    when it is due again. `times` counts deliveries. `fresh` is True while it is not stored yet.
    """

    notification: Notification
    verdict: Verdict
    reason: str = ""
    asked: int = 0
    tries: int = 0
    times: int = 1
    check_at: datetime | None = None
    fresh: bool = False


class Inbox(Protocol):
    """Notifications received, once each."""

    async def put(self, kept: Sequence[Kept]) -> None:
        """The fresh ones stored as they are; of the others verdict, reason, asked, tries, times and check_at.

        And the bytes and the transaction of one that `says` something: it was nobody's, and was said anew.
        A fresh one that another transaction stored meanwhile, which is possible only where no payment's lock is held
        for both, stays as that one left it, and is counted.
        """

    async def waiting(self, payment_ids: Collection[str], transaction_ids: Collection[str]) -> list[Kept]:
        """The hints that wait for an answer, oldest first, locked until the transaction ends.

        Those that name one of these payments, and those that name none but one of these transactions.
        """

    async def load(self, keys: Collection[NotificationKey]) -> list[Kept]:
        """These notifications, oldest first; unknown keys are left out."""

    async def lock(self, keys: Collection[NotificationKey]) -> list[Kept]:
        """The same, locked until the transaction ends."""


class DueKind(Enum):
    """What kind of row is due; the value is its table."""

    NOTIFICATION = "notifications"
    ATTEMPT = "attempts"
    CHARGE = "charges"
    REFUND = "refunds"
    DEADLINE = "payments"
    ORDER = "orders"


@attrs.frozen
class Due:
    """One row that needs attention now.

    Shape: `id` is the payment id (the order id for ORDER); `part` the attempt number, the transaction id or the refund
    key; `key` the notification.
    """

    kind: DueKind
    id: str
    part: str = ""
    key: NotificationKey | None = None


@attrs.frozen
class OrderEffect:
    """What a decision does to its order: its status, and the move of its stock if there is one."""

    order_id: str
    status: OrderStatus
    stock: StockMove | None
    expired: bool = False
    also_consumed: bool = False
    """RELEASED gives back consumed stock too: the money was taken back, and a person decided."""


class OrderBook(Protocol):
    """The shop's orders, inside the same transaction as the payments."""

    async def get(self, order_id: str) -> Order | None:
        """The order, or None."""

    async def lock(self, order_ids: Collection[str]) -> dict[str, Order]:
        """These orders as they are, nobody else's to change until the transaction ends; unknown ones are left out.

        They are locked in the order of their ids, so that two callers never wait for each other.
        """

    async def claim(self, order_id: str, payment_id: str) -> bool:
        """Whether this payment is now the order's; False when the order has another, or is no longer pending."""

    async def apply(self, effects: Sequence[OrderEffect]) -> dict[str, StockMove]:
        """The orders with their new status; the stock moves that really happened, by order id.

        Consuming and releasing happen at most once for a reservation, whatever is asked.
        """

    async def reserve_again(self, order_id: str, now: datetime) -> bool:
        """Whether this order has its units: what was released could be reserved anew, all of it or nothing, or was not
        released; then nothing is taken.
        """


class Placed(Enum):
    """What became of an order the shop sent."""

    NEW = "new"
    SAME = "same"
    CHANGED = "changed"


class OrderRegistry(OrderBook, Protocol):
    """An order book that we keep ourselves, written by the shop over HTTP."""

    async def place(self, order: Order) -> tuple[Order, Placed]:
        """The order stored with its stock reserved, or found the same, or changed before its first page.

        Errors: Conflict `order_frozen`, `out_of_stock`; InvalidInput `unknown_sku`.
        """

    async def expire(self, order_id: str, now: datetime) -> bool:
        """Whether an order without a payment was given up at its time, its stock released."""

    async def cancel(self, order_id: str, now: datetime) -> bool:
        """Whether an order without a payment was cancelled, its stock released; False when it has a payment."""

    async def put_stock(self, sku: str, available: int) -> StockLevel:
        """The stock of this sku with this many units that can still be reserved."""

    async def stock(self, sku: str) -> StockLevel | None:
        """The stock of this sku, or None."""


@attrs.frozen
class OrderPayment:
    """Whose order it is, and its payment when it has one."""

    customer_id: str
    payment: Payment | None


class UnitOfWork(Protocol):
    """One transaction over everything; leaving it without `commit` changes nothing.

    Lock order: payment ids, notification keys, order ids, skus, each sorted.
    """

    @property
    def payments(self) -> Payments:
        """Payments with their history."""

    @property
    def inbox(self) -> Inbox:
        """Notifications."""

    @property
    def orders(self) -> OrderBook:
        """The shop's orders."""

    async def claim_due(self, kind: DueKind, *, now: datetime, until: datetime, limit: int) -> list[Due]:
        """Rows of one kind that are due, oldest first, leased until `until`: no one else gets them before.

        Orders are not leased: giving one up is a single transaction that looks at the time again.
        """

    async def commit(self) -> None:
        """Everything done in this transaction is durable.

        Errors: StaleWrite, StorageUnavailable.
        """


class Store(Protocol):
    """Where payments live."""

    def transaction(self) -> AbstractAsyncContextManager[UnitOfWork]:
        """A unit of work that writes.

        Errors: StorageUnavailable.
        """

    def reading(self) -> AbstractAsyncContextManager[UnitOfWork]:
        """A unit of work that only reads, locks nothing, and waits for no writer."""

    async def find(self, order_id: str) -> OrderPayment | None:
        """The payment of this order as it is, one consistent picture; None when there is no such order.

        What a status read and a click on a page that is open need, and all that they need.
        Errors: StorageUnavailable.
        """


class ShopUnitOfWork(UnitOfWork, Protocol):
    """A unit of work over orders that we keep ourselves."""

    @property
    def orders(self) -> OrderRegistry:
        """The shop's orders."""


class ShopStore(Store, Protocol):
    """A store that keeps the shop's orders too."""

    def transaction(self) -> AbstractAsyncContextManager[ShopUnitOfWork]:
        """A unit of work that writes."""

    def reading(self) -> AbstractAsyncContextManager[ShopUnitOfWork]:
        """A unit of work that only reads."""


# ── facts to deliver, questions to share, payments to look through ────────────────────────────────────────────────────
@attrs.frozen(kw_only=True)
class Delivery:
    """One fact on its way to one subscriber; `tries` counts those before this one."""

    subscriber: str
    event: Event
    tries: int

    @property
    def delivery_id(self) -> str:
        """The same in every try, so that a subscriber knows a repetition."""
        return f"{self.event.payment_id}-{self.event.sequence}"


class Outbox(Protocol):
    """Facts that wait for their subscribers; a fact comes after those before it of its payment, never beside them."""

    async def claim(self, *, now: datetime, until: datetime, limit: int) -> list[Delivery]:
        """Facts that are due, the oldest undelivered one of each payment and subscriber, leased until `until`."""

    async def delivered(self, delivery: Delivery) -> None:
        """The subscriber has it; the next fact of its payment is free."""

    async def failed(self, delivery: Delivery, *, try_at: datetime | None) -> None:
        """It is due again at `try_at`, or a dead letter when that is None; later facts of its payment wait for it."""

    async def revive(self, subscriber: str, *, now: datetime) -> int:
        """The dead letters of this subscriber are due again, their tries counted anew; how many there were."""


class Subscriber(Protocol):
    """Somebody who wants to know the facts."""

    async def __call__(self, event: Event, delivery_id: str) -> None:
        """Take this fact; returning means that it was taken, for good. It may come again under the same id.

        Errors: any; then it is offered again, on a schedule.
        """


class Turns(Protocol):
    """Whose turn it is to do what all processes together do now and then."""

    async def take(self, payment_id: str, *, now: datetime, every: timedelta) -> bool:
        """Whether the caller may do it for this payment now; for one caller in `every`, over all processes.

        Errors: StorageUnavailable.
        """


class Survey(Protocol):
    """The payments worth comparing with their gateways, a page at a time."""

    async def count(self, since: datetime) -> int:
        """Payments with a page that ended or ends after `since`, or with anything still under way."""

    async def ids(self, since: datetime, *, after: str | None, limit: int) -> list[str]:
        """Their ids in order, above `after`."""

    async def waiting(self, payment_id: str) -> list[NotificationKey]:
        """Notifications of this payment that wait for an answer."""


# ── time and identity ─────────────────────────────────────────────────────────────────────────────────────────────────
class Clock(Protocol):
    """Time as an argument."""

    def now(self) -> datetime:
        """The time in UTC."""

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds."""


class Errands(Protocol):
    """Takes what is to be done at once, after the commit that made it necessary.

    Doing it late, twice or never is safe: every errand has a row that is due on its own.
    """

    def __call__(self, commands: Sequence[Command]) -> None:
        """Take these commands; returns at once."""


class Ids(Protocol):
    """Identity as an argument."""

    def payment_id(self) -> str:
        """A new payment id (`identity.make_payment_id`)."""
