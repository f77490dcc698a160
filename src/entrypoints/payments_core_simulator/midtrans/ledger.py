"""The gateway's books: Snap orders and their pages, tokens, transactions with every version they had.

No input, no output, no clock of its own: each call is told the time. Each answers with values and either changes
everything it says or, with a `Refusal`, nothing.
"""

import heapq
import itertools
from collections.abc import Callable, Iterator
from datetime import datetime
from uuid import UUID, uuid4

import attrs

from payments_core_simulator.refusals import Refusal, Why

from . import moves
from .channels import CHANNELS, Channel, is_bi_snap
from .limits import (
    CARD_PENDING_LIFE,
    ORDERS_MAX,
    PAGE_LIFE_DEFAULT,
    PENDING_LIFE_DEFAULT,
    TRANSACTIONS_PER_ORDER_MAX,
    VERSIONS_PER_TRANSACTION_MAX,
)
from .times import JAKARTA
from .values import SEN_PER_RUPIAH, Page, PageRequest, Refund, Transaction, Try

Move = Callable[[Transaction], Transaction]


class Ledger:
    """What really happened. `new_uuid` is where every id comes from, so that a test can choose them."""

    def __init__(self, new_uuid: Callable[[], UUID] = uuid4) -> None:
        self._new_uuid = new_uuid
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._pages: dict[str, Page] = {}
        self._order_by_token: dict[str, str] = {}
        # Every version a transaction had, newest last; the one before is what a lagging status shows.
        self._versions: dict[str, list[Transaction]] = {}
        # When the clock may have something to do, and the one entry that counts for each transaction.
        self._due: list[tuple[datetime, str]] = []
        self._due_at: dict[str, datetime] = {}
        self._numbers = itertools.count(1)

    # --- pages -------------------------------------------------------------------------------------------------------

    def open_page(self, request: PageRequest, now: datetime) -> Page:
        """Open the order's page under a new token; a token given out before a method was chosen dies."""
        known = self._pages.get(request.order_id)
        if known is not None:
            self._refuse_taken(known, now)
            del self._order_by_token[known.token]
        elif len(self._pages) >= ORDERS_MAX:
            raise Refusal(Why.FULL, f"the simulator holds {ORDERS_MAX} orders; reset it")
        page = Page(request, str(self._new_uuid()), _page_end(request, now))
        self._pages[page.order_id] = page
        self._order_by_token[page.token] = page.order_id
        return page

    def _refuse_taken(self, page: Page, now: datetime) -> None:
        if any(one.captured_sen > 0 for one in self.transactions(page)):
            raise Refusal(Why.ORDER_PAID)
        if page.transaction_ids or not page.open_at(now):
            raise Refusal(Why.ORDER_TAKEN)

    def close_page(self, token: str, now: datetime) -> Page:
        """Make the page take no more payments; refused while a transaction on it is alive or has taken money."""
        page = self.page_by_token(token)
        if page.cancelled_at is not None:
            raise Refusal(Why.TOKEN_CANCELLED)
        if any(one.status not in moves.ENDED_WITHOUT_MONEY for one in self.transactions(page)):
            raise Refusal(Why.ON_PROGRESS)
        if not page.open_at(now):
            raise Refusal(Why.TOKEN_UNKNOWN)
        closed = self._pages[page.order_id] = attrs.evolve(page, cancelled_at=now)
        return closed

    def page_by_token(self, token: str) -> Page:
        """Return the page this token opens; a replaced token opens nothing."""
        order_id = self._order_by_token.get(token)
        if order_id is None:
            raise Refusal(Why.TOKEN_UNKNOWN)
        return self._pages[order_id]

    def page_by_order(self, order_id: str) -> Page:
        """Return the page of this order."""
        if order_id not in self._pages:
            raise Refusal(Why.PAGE_UNKNOWN, f"no Snap page was created for order_id {order_id!r}")
        return self._pages[order_id]

    def pages(self) -> Iterator[Page]:
        """Yield every page in order of creation."""
        return iter(self._pages.values())

    # --- transactions ------------------------------------------------------------------------------------------------

    def pay(self, order_id: str, wish: Try, now: datetime) -> Transaction:
        """Record that the buyer tried this method on the order's page, and how it ended so far."""
        page = self.page_by_order(order_id)
        if not page.open_at(now):
            raise Refusal(Why.PAGE_DEAD, f"the page of order_id {order_id!r} is cancelled or expired")
        if len(page.transaction_ids) >= TRANSACTIONS_PER_ORDER_MAX:
            raise Refusal(Why.FULL, f"order_id {order_id!r} has {TRANSACTIONS_PER_ORDER_MAX} transactions already")
        chosen = self._chosen(page, wish, now)
        self._pages[order_id] = attrs.evolve(page, transaction_ids=(*page.transaction_ids, chosen.transaction_id))
        return self._record(moves.put(chosen, wish.outcome, now))

    def _chosen(self, page: Page, wish: Try, now: datetime) -> Transaction:
        """Return a new pending transaction; refused when the wish makes no sense."""
        channel = _channel_for(wish)
        bank = _one_of("bank", wish, wish.bank or channel.default_bank, channel.banks)
        store = _one_of("store", wish, wish.store or channel.default_store, channel.stores)
        gross_sen = page.request.gross_amount * SEN_PER_RUPIAH
        return Transaction(
            transaction_id=self._new_transaction_id(wish.payment_type, bank, now),
            order_id=page.order_id,
            payment_type=wish.payment_type,
            gross_sen=gross_sen,
            authorized_sen=gross_sen,
            created_at=now,
            changed_at=now,
            expires_at=_pending_end(page.request, wish.payment_type, now),
            bank=bank,
            store=store,
            custom_fields=page.request.custom_fields,
        )

    def _new_transaction_id(self, payment_type: str, bank: str, now: datetime) -> str:
        unique = self._new_uuid()
        if is_bi_snap(payment_type, bank):
            return f"A1{now.astimezone(JAKARTA):%Y%m%d%H%M%S}{unique.hex[:10]}ID"
        return str(unique)

    def find(self, any_id: str, as_of: datetime | None = None) -> Transaction:
        """Return the transaction an API call means by this transaction id or order id.

        An order id means its newest transaction, but never one of a BI-SNAP channel: those answer to their own id only.
        With `as_of` the answer is what was true at that moment.
        """
        by_itself = any_id in self._versions
        found = self._version(any_id, as_of) if by_itself else self._newest_of_order(any_id, as_of)
        if found is None:
            raise Refusal(Why.UNKNOWN_TRANSACTION)
        return found

    def _newest_of_order(self, order_id: str, as_of: datetime | None) -> Transaction | None:
        page = self._pages.get(order_id)
        for transaction_id in reversed(page.transaction_ids if page else ()):
            found = self._version(transaction_id, as_of)
            if found is not None and not is_bi_snap(found.payment_type, found.bank):
                return found
        return None

    def _version(self, transaction_id: str, as_of: datetime | None) -> Transaction | None:
        versions = reversed(self._versions[transaction_id])
        return next((one for one in versions if as_of is None or one.changed_at <= as_of), None)

    def transactions(self, page: Page) -> list[Transaction]:
        """Return the page's transactions as they stand, oldest first."""
        return [self._versions[one][-1] for one in page.transaction_ids]

    def move(self, any_id: str, move: Move) -> Transaction:
        """Apply a move of `moves` to the transaction and record the result."""
        return self._record(move(self.find(any_id)))

    def force(self, transaction_id: str, to: str, now: datetime, amount_sen: int | None = None) -> Transaction:
        """Move the transaction to any word, legal or not: the lever of tests."""
        self._known(transaction_id)
        number = next(self._numbers)
        return self.move(transaction_id, lambda one: moves.put(one, to, now, amount_sen, number))

    def rename(self, transaction_id: str, currency: str | None, merchant_id: str | None) -> Transaction:
        """Make the transaction's newest version name another currency or merchant; None leaves it as it is."""
        known = self._known(transaction_id)
        renamed = attrs.evolve(known, currency=currency or known.currency, merchant_id=merchant_id or known.merchant_id)
        self._versions[transaction_id][-1] = renamed
        return renamed

    def _known(self, transaction_id: str) -> Transaction:
        if transaction_id not in self._versions:
            raise Refusal(Why.UNKNOWN_TRANSACTION, f"no transaction {transaction_id!r}")
        return self._versions[transaction_id][-1]

    def refund(self, any_id: str, wanted: Refund, *, whole: bool, replay: bool) -> tuple[Transaction, Refund, bool]:
        """Give money back under a key, once.

        **Shape**: the transaction, the refund this key stands for, and whether this call made it.
        """
        now, known = wanted.created_at, self.find(any_id)
        earlier = moves.refund_with_key(known, wanted.key, now, replay=replay)
        if earlier is not None:
            return known, earlier, False
        numbered = attrs.evolve(wanted, number=next(self._numbers))
        moved = self._record(moves.refund(known, numbered, whole=whole))
        return moved, moved.refunds[-1], True

    # --- time --------------------------------------------------------------------------------------------------------

    def advance(self, now: datetime) -> list[Transaction]:
        """Do what the clock does by itself up to now, and return each new version.

        Pending transactions and holds expire; captured cards settle and unanswered challenges are cancelled in the
        batch of the next day. A page that ends needs nothing: it is compared with the time when asked.
        """
        moved = []
        while self._due and self._due[0][0] <= now:
            due_at, transaction_id = heapq.heappop(self._due)
            if self._due_at.get(transaction_id) != due_at:
                continue
            del self._due_at[transaction_id]
            current = self._versions[transaction_id][-1]
            step = moves.due(current)
            # The entry may stem from an older version; what counts is what the newest one is due for.
            if step is not None and step[0] <= now:
                moved.append(self._record(moves.put(current, step[1], now)))
            else:
                self._schedule(current)
        return moved

    def _record(self, transaction: Transaction) -> Transaction:
        versions = self._versions.setdefault(transaction.transaction_id, [])
        versions.append(transaction)
        del versions[:-VERSIONS_PER_TRANSACTION_MAX]
        self._schedule(transaction)
        return transaction

    def _schedule(self, transaction: Transaction) -> None:
        """Look at the transaction no later than it is due; an earlier look is enough, it looks again."""
        step, known = moves.due(transaction), self._due_at.get(transaction.transaction_id)
        if step is not None and (known is None or step[0] < known):
            self._due_at[transaction.transaction_id] = step[0]
            heapq.heappush(self._due, (step[0], transaction.transaction_id))


def _channel_for(wish: Try) -> Channel:
    channel = CHANNELS.get(wish.payment_type)
    if channel is None:
        known = ", ".join(sorted(CHANNELS))
        raise Refusal(Why.NONSENSE, f"payment_type: unknown {wish.payment_type!r}; one of {known}")
    if wish.outcome not in channel.outcomes:
        raise Refusal(Why.NONSENSE, f"outcome: {wish.payment_type} cannot end as {wish.outcome!r}")
    return channel


def _one_of(field: str, wish: Try, chosen: str, allowed: frozenset[str]) -> str:
    if chosen and chosen not in allowed:
        choice = f"one of {', '.join(sorted(allowed))}" if allowed else "none"
        raise Refusal(Why.NONSENSE, f"{field}: {chosen!r} does not belong to {wish.payment_type}; it takes {choice}")
    return chosen


def _page_end(request: PageRequest, now: datetime) -> datetime:
    """Return when the page stops taking payments.

    `page_expiry` comes first, then `expiry`, then a day. An `expiry` with a start time ends every method at one known
    moment, so a page that lives longer takes no payment after it either.
    """
    window_ends = request.window_ends(now)
    if request.page_duration is None:
        return window_ends or now + PAGE_LIFE_DEFAULT
    page_ends = now + request.page_duration
    return min(page_ends, window_ends) if window_ends and request.expiry_start else page_ends


def _pending_end(request: PageRequest, payment_type: str, now: datetime) -> datetime:
    window_ends = request.window_ends(now) or now + PENDING_LIFE_DEFAULT
    return min(window_ends, now + CARD_PENDING_LIFE) if payment_type == "credit_card" else window_ends
