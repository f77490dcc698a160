"""What the simulated gateway knows: pages, transactions, refunds; immutable values.

**Units**: `_sen` is hundredths of a rupiah, because the wire writes two decimals and a test may want to be one off.
Times are aware and in UTC.
"""

from datetime import datetime, timedelta

import attrs

SEN_PER_RUPIAH = 100


@attrs.frozen
class Item:
    """One line of the shopping list, shown to the buyer."""

    name: str
    price: int
    quantity: int


@attrs.frozen
class PageRequest:
    """A Snap create that passed every check."""

    order_id: str
    gross_amount: int
    items: tuple[Item, ...] = ()
    customer_name: str = ""
    finish_url: str = ""
    enabled_payments: tuple[str, ...] = ()
    authorize_only: bool = False
    expiry_start: datetime | None = None
    expiry_duration: timedelta | None = None
    page_duration: timedelta | None = None
    custom_fields: tuple[tuple[str, str], ...] = ()
    append_urls: tuple[str, ...] = ()
    override_urls: tuple[str, ...] = ()

    def window_ends(self, chosen_at: datetime) -> datetime | None:
        """Return when a payment method chosen at this moment stops being payable, or None without `expiry`."""
        if self.expiry_duration is None:
            return None
        return (self.expiry_start or chosen_at) + self.expiry_duration


@attrs.frozen
class Page:
    """One Snap order: its live token, how long it lives, and the transactions tried on it, oldest first."""

    request: PageRequest
    token: str
    ends_at: datetime
    cancelled_at: datetime | None = None
    transaction_ids: tuple[str, ...] = ()

    @property
    def order_id(self) -> str:
        """Return the merchant's order id."""
        return self.request.order_id

    def open_at(self, now: datetime) -> bool:
        """Tell whether the page still takes payments."""
        return self.cancelled_at is None and now < self.ends_at


@attrs.frozen
class Try:
    """What a buyer does on a page: a payment method, and how it ends. `bank` and `store` may be left to the channel."""

    payment_type: str
    outcome: str
    bank: str = ""
    store: str = ""


@attrs.frozen
class Refund:
    """One return of money, known by its key."""

    number: int
    key: str
    amount_sen: int
    created_at: datetime
    reason: str = ""
    direct: bool = False
    confirmed_at: datetime | None = None


@attrs.frozen
class Transaction:
    """One try of one buyer with one payment method.

    `status` and `fraud` are the gateway's words. `captured_sen` is money the merchant holds or held before refunds:
    it is zero until capture or settlement and zero again after a void or a reversal.
    """

    transaction_id: str
    order_id: str
    payment_type: str
    gross_sen: int
    authorized_sen: int
    created_at: datetime
    changed_at: datetime
    expires_at: datetime
    status: str = "pending"
    fraud: str = "accept"
    bank: str = ""
    store: str = ""
    captured_sen: int = 0
    charged_back_sen: int = 0
    # A charge-back whose amount nobody was told: the wire then leaves the amount out.
    charge_back_amount_told: bool = False
    refunds: tuple[Refund, ...] = ()
    settled_at: datetime | None = None
    currency: str = "IDR"
    merchant_id: str = ""
    custom_fields: tuple[tuple[str, str], ...] = ()

    @property
    def refunded_sen(self) -> int:
        """Return the sum of all refunds."""
        return sum(refund.amount_sen for refund in self.refunds)

    @property
    def left_sen(self) -> int:
        """Return what could still be given back."""
        return self.captured_sen - self.refunded_sen - self.charged_back_sen

    @property
    def challenged(self) -> bool:
        """Tell whether the fraud system holds it: not paid, not refused."""
        return self.fraud == "challenge"
