"""What gateways, banks and buyers do by themselves: how a try begins, where it goes, when a page ends."""

import asyncio
from collections.abc import Callable
from random import Random

from payments_core.states import Signal
from payments_core.testing.histories import LEGAL
from unit.simulation.bank import Bank, Booking
from unit.simulation.far_side import Page, Transaction
from unit.simulation.ledger import Ledger
from unit.simulation.messages import Messenger
from unit.simulation.stripe_ledger import StripeLedger
from unit.simulation.stripe_objects import Session
from unit.simulation.world import World

__all__ = ["BankDoings", "Doings", "MidtransDoings", "StripeDoings"]

_FIRST = {
    Signal.PENDING: 8, Signal.SETTLED: 4, Signal.CAPTURED: 4, Signal.DENIED: 3, Signal.AUTHORIZED: 2,
    Signal.CHALLENGED: 1,
}  # fmt: skip
_AT_STRIPE = {Signal.PENDING: 6, Signal.SETTLED: 6, Signal.DENIED: 4, Signal.AUTHORIZED: 2}
_DAY_S = 86_400.0


class MidtransDoings:
    """At the gateway with Midtrans' manners."""

    def __init__(self, ledger: Ledger, world: World, random: Random, messenger: Messenger) -> None:
        self.ledger, self.world, self.random, self.messenger = ledger, world, random, messenger
        self.calm: Callable[[], bool] = lambda: False
        self.lasts_s = 0.0
        self.forges = False
        self.keeps_money = False
        """What has settled is rarely taken back by its bank."""
        ledger.page_made = self._page_made

    def buyer_tries(self, order_id: str, token: str) -> None:
        """A buyer does something on this page."""
        (word,) = self.random.choices([*_FIRST], [*_FIRST.values()])
        self.ledger.buyer_tries(order_id, token, word, self.random.choice(["card", "card", "wallet", "bank_transfer"]))

    def changed(self, transaction: Transaction) -> None:
        """Mostly it moves on by itself."""
        if self.calm():
            return
        if LEGAL[transaction.now.word] and self.random.random() < 0.85:
            self.world.actor(self._move_on(transaction, transaction.now.word))
        if self.forges and self.random.random() < 0.3:
            word = self.random.choice(["settled", "expired", "denied", "pending", "what"])
            self.messenger.forge(self.ledger, transaction, word)

    def settle(self, transaction: Transaction) -> None:
        """Whatever waited for a bank waits no more."""
        self.ledger.settle_refunds(transaction.transaction_id, self.random.choice(["confirmed"] * 3 + ["refused"]))

    def _page_made(self, page: Page) -> None:
        self.world.actor(self._end_page(page))

    async def _end_page(self, page: Page) -> None:
        """At its end nobody can choose a method; what is pending expires in one of the next batches."""
        await asyncio.sleep(max(0, page.ends_at - self.world.loop.time()))
        page.gone = True
        await asyncio.sleep(self.random.uniform(1, 3000))
        for transaction in self.ledger.tries(page.order_id):
            if transaction.now.word is Signal.PENDING:
                self.ledger.becomes(transaction.transaction_id, Signal.EXPIRED)
            elif transaction.now.word is Signal.CHALLENGED:
                self.ledger.becomes(transaction.transaction_id, Signal.CANCELLED)
        await asyncio.sleep(self.random.uniform(1, 20_000))
        for transaction in self.ledger.tries(page.order_id):
            if transaction.now.word is Signal.AUTHORIZED:
                self.ledger.becomes(transaction.transaction_id, Signal.EXPIRED)

    async def _move_on(self, transaction: Transaction, was: Signal) -> None:
        """Its next word, unless something else has happened to it; a settlement rarely turns, and an expiry may pay."""
        pause = self.random.choice([0.5, 5, 60, 600, 3600]) if was is not Signal.EXPIRED else self.lasts_s / 2
        await asyncio.sleep(pause * self.random.random())
        if self.calm() or transaction.now.word is not was:
            return
        ledger, name = self.ledger, transaction.transaction_id
        if was is Signal.SETTLED and self.random.random() < 0.6:
            if self.random.random() < 0.4:
                ledger.charge_back(name, transaction.now.minor // self.random.choice([1, 3]))
            elif self.random.random() < 0.3:
                ledger.dashboard_refund(name, transaction.now.minor // self.random.choice([1, 3, 4]))
            else:
                ledger.settle_refunds(name, self.random.choice(["confirmed", "confirmed", "refused"]))
            return
        if was is Signal.SETTLED and self.keeps_money:
            return
        ledger.becomes(name, self.random.choice(LEGAL[was]))


class StripeDoings:
    """At the gateway with Stripe's manners."""

    def __init__(self, ledger: StripeLedger, world: World, random: Random) -> None:
        self.ledger, self.world, self.random = ledger, world, random
        self.calm: Callable[[], bool] = lambda: False
        ledger.page_made = self._page_made

    def buyer_tries(self, order_id: str, token: str) -> None:
        """A buyer does something on this page; a delayed method is decided by his bank, days later perhaps."""
        (word,) = self.random.choices([*_AT_STRIPE], [*_AT_STRIPE.values()])
        method = self.random.choice(["card", "sepa_debit"])
        intent_id = self.ledger.buyer_tries(order_id, token, word, method)
        if intent_id is not None and self.ledger.transactions[intent_id].now.status == "processing":
            self.world.actor(self._bank_decides(intent_id))

    def changed(self, transaction: Transaction) -> None:
        """Money is asked back, or comes back."""
        if not self.calm() and transaction.now.word is Signal.SETTLED and self.random.random() < 0.7:
            self.world.actor(self._money_moves(transaction))

    def settle(self, transaction: Transaction) -> None:
        """Whatever waited for a bank waits no more."""
        self.ledger.settle_refunds(transaction.transaction_id, self.random.choice(["confirmed"] * 3 + ["returned"]))

    def _page_made(self, page: Page) -> None:
        assert isinstance(page, Session)
        self.world.actor(self._end_page(page))

    async def _end_page(self, session: Session) -> None:
        """An open session expires to the second; a hold on a complete one lapses some time later."""
        await asyncio.sleep(max(0, session.ends_at - self.world.loop.time()))
        self.ledger.expires(session)
        await asyncio.sleep(self.random.uniform(1, 20_000))
        for intent in self.ledger.tries(session.order_id):
            self.ledger.lapses(intent.transaction_id)

    async def _bank_decides(self, intent_id: str) -> None:
        await asyncio.sleep(self.random.choice([5, 600, 3600, 3 * _DAY_S]) * self.random.random())
        self.ledger.bank_decides(intent_id, good=self.random.random() < 0.6)

    async def _money_moves(self, transaction: Transaction) -> None:
        await asyncio.sleep(self.random.choice([5, 60, 600, 3600]) * self.random.random())
        if self.calm():
            return
        ledger, name, minor = self.ledger, transaction.transaction_id, transaction.now.minor
        match self.random.choice(["dispute", "decided", "dashboard", "refunds", "refunds", "back"]):
            case "dispute":
                ledger.dispute_opens(name, minor // self.random.choice([1, 3]))
            case "decided":
                ledger.dispute_closes(name, won=self.random.random() < 0.5)
            case "dashboard":
                ledger.dashboard_refund(name, minor // self.random.choice([1, 3, 4]))
            case "refunds":
                ledger.settle_refunds(name, self.random.choice(["confirmed", "confirmed", "returned"]))
            case _:
                ledger.refunds_come_back(name)


class BankDoings:
    """At the bank, and at the desk where its statement is read."""

    def __init__(self, bank: Bank, world: World, random: Random, messenger: Messenger) -> None:
        self.ledger, self.world, self.random, self.messenger = bank, world, random, messenger
        self.calm: Callable[[], bool] = lambda: False

    def buyer_tries(self, order_id: str, token: str) -> None:  # noqa: ARG002 - whoever knows the reference can pay
        """A transfer comes, of what is asked for or of something else; somebody reads the statement later."""
        owed = self.ledger.pages[order_id].minor
        booking = self.ledger.buyer_pays(order_id, self.random.choice([owed] * 6 + [owed // 2, owed + 1, owed * 2]))
        self.world.say(f"bank: {booking.reference} of {booking.minor} for {order_id}")
        self.world.actor(self._read(booking))

    async def _read(self, booking: Booking) -> None:
        """Said as it is; perhaps after a slip, perhaps by two people, perhaps at the same moment."""
        await asyncio.sleep(self.random.choice([1, 600, 7200]) * self.random.random())
        words = [("rita", booking.page, booking.minor)]
        match self.random.choice(["once", "once", "once", "twice", "page", "amount"]):
            case "twice":
                words.append((self.random.choice(["rita", "rudi"]), booking.page, booking.minor))
            case "page":
                words.insert(0, ("rudi", self._another_page(booking), booking.minor))
            case "amount":
                words.insert(0, ("rudi", booking.page, booking.minor * 10))
            case _:
                pass
        for who, page, minor in words:
            letter = self.ledger.said(booking, who, page=page, minor=minor)
            self.world.say(f"{who}: {booking.reference} is {minor} for {page}")
            told = self.world.actor(self.messenger.deliver(letter, 0.1))
            if self.random.random() < 0.7:
                await told

    def _another_page(self, booking: Booking) -> str:
        """Of another order, an earlier one of the same, or one that never was."""
        others = [page for page in self.ledger.pages if page != booking.page]
        never = f"{booking.page.rpartition('-')[0]}-99p"
        return self.random.choice([*others[-3:], never])

    def changed(self, transaction: Transaction) -> None:
        """A booking stays what it is."""

    def settle(self, transaction: Transaction) -> None:
        """Nothing waits for anybody."""


Doings = MidtransDoings | StripeDoings | BankDoings
