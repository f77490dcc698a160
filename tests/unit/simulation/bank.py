"""The far side of bank transfers: bookings on the shop's account, pages that only we know of, and what is said of them.

Nobody can be asked about a booking. It exists for the service once somebody with its secret says so, of which page and
how much is his word, and he may say it twice, of the wrong page, or with a slip in the amount. The real adapter stands
before it; what it asks is the made-up store.
"""

from collections.abc import Sequence
from datetime import timedelta

import attrs

from payments_core.decide import Verdict
from payments_core.money import Money
from payments_core.payment import Attempt, Charge
from payments_core.ports import PageClosing, PageReply
from payments_core.states import Signal
from payments_core_manual import ManualGateway, ManualSettings, Transfer
from payments_core_manual.transfer import METHOD, signature_of
from payments_core_manual.transfer import PROVIDER as MANUAL
from unit.simulation.far_side import FarSide, Letter, Page, Snapshot, Transaction
from unit.simulation.network import BEGAN, Openings, seconds
from unit.simulation.store import SimulatedStore

__all__ = ["MANUAL", "Bank", "Booking", "SimulatedManual", "signed_by_hand"]

_SECRET = "a secret of at least thirty-two bytes"
_SETTINGS = ManualSettings(bank_details="IBAN", secrets=(_SECRET,), page_base="https://shop.example")
_CURRENCY = "IDR"


@attrs.frozen
class Booking:
    """A line of the bank statement; `page` is the reference that the buyer wrote."""

    reference: str
    page: str
    minor: int
    at: float


@attrs.define(slots=False)
class Bank(FarSide):
    """What came, and every word about it. Its transactions are the words that count, since they do."""

    bookings: list[Booking] = attrs.field(factory=list)
    words: list[Transfer] = attrs.field(factory=list)

    def buyer_pays(self, page: str, minor: int) -> Booking:
        """A transfer with this reference has come, whether or not anybody still expects it."""
        booking = Booking(f"booking {len(self.bookings) + 1}", page, minor, self.clock())
        self.bookings.append(booking)
        return booking

    def said(self, booking: Booking, who: str, *, page: str, minor: int) -> Letter:
        """An operator's word about it, true or not."""
        word = Transfer(
            provider_order_id=page,
            amount=Money.of(minor, _CURRENCY),
            bank_reference=booking.reference,
            confirmed_by=who,
            received_at=BEGAN + timedelta(seconds=booking.at),
        )
        self.words.append(word)
        return Letter(MANUAL, word.to_bytes())

    def letters(self) -> list[Letter]:
        """Every word that was said."""
        return [Letter(MANUAL, word.to_bytes()) for word in self.words]

    def counted(self, charge: Charge) -> str | None:
        """What is wrong with this charge, of which we hear for the first time; None when somebody said so, once."""
        mine = [word for word in self.words if word.transaction_id == charge.transaction_id]
        word = next((w for w in mine if w.amount.amount_minor == charge.captured_minor), None)
        if word is None:
            return f"{charge.captured_minor} is on {charge.transaction_id}, and nobody said so"
        first = Snapshot(Signal.SETTLED, charge.captured_minor)
        transaction = Transaction(charge.transaction_id, word.provider_order_id, METHOD, [(self.clock(), first)])
        twice = self.names(word.bank_reference) & {*self.transactions}
        self.transactions[charge.transaction_id] = transaction
        return f"{word.bank_reference} counts twice" if twice else None

    def names(self, reference: str) -> set[str]:
        """Every name that a charge for this booking could have."""
        return {word.transaction_id for word in self.words if word.bank_reference == reference}

    def last_words(self, transaction: Transaction) -> list[Letter]:  # noqa: ARG002 - nothing becomes of a booking
        return []


@attrs.frozen
class _Stored:
    """What was confirmed, as `StoredNotifications` reads it."""

    store: SimulatedStore

    async def of(self, payment_id: str) -> Sequence[bytes]:
        """The bodies of this payment's confirmations that count, oldest first."""
        await self.store.round_trip("confirmations")
        kept = [k for k in self.store.committed.inbox.values() if k.notification.key.shard == payment_id]
        mine = [k for k in kept if k.notification.key.provider == MANUAL and k.verdict is not Verdict.DUPLICATE]
        return [k.notification.body for k in sorted(mine, key=lambda k: k.notification.received_at)]


class SimulatedManual(ManualGateway):
    """The adapter as it is; its pages are noted, for the checks of all pages."""

    def __init__(self, bank: Bank, store: SimulatedStore, openings: Openings) -> None:
        super().__init__(_SETTINGS, _Stored(store))
        self._bank, self._openings = bank, openings

    async def open_page(self, attempt: Attempt) -> PageReply:
        """As the adapter does it."""
        name = attempt.provider_order_id
        page = Page(name, attempt.amount.amount_minor, seconds(attempt.ends_at), [name], attempt.request or "")
        self._bank.pages.setdefault(name, page)
        return await self._openings.opened(attempt, super().open_page(attempt))

    async def close_page(self, attempt: Attempt) -> PageClosing:
        """As the adapter does it."""
        if (page := self._bank.pages.get(attempt.provider_order_id)) is not None:
            page.gone = True
        return await super().close_page(attempt)


def signed_by_hand(body: bytes) -> dict[str, str]:
    """The header of an operator's word."""
    return {"Manual-Signature": signature_of(body, _SECRET)}
