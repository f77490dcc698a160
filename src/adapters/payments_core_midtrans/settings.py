"""What the Midtrans adapter has to be told."""

from datetime import timedelta
from functools import cached_property

import attrs

from payments_core.policy import GatewayTraits, RefundRule
from payments_core.states import Confirm

__all__ = ["MidtransSettings"]

_SNAP = {
    True: "https://app.midtrans.com/snap/v1",
    False: "https://app.sandbox.midtrans.com/snap/v1",
}
REFUNDS = {
    "akulaku": RefundRule(timedelta(days=180)),
    "credit_card": RefundRule(timedelta(days=180)),
    "dana": RefundRule(timedelta(days=45)),
    "gopay": RefundRule(timedelta(days=180)),
    "kredivo": RefundRule(timedelta(days=14)),
    "ovo": RefundRule(timedelta(days=180), partial=False),
    "qris": RefundRule(timedelta(days=45)),
    "shopeepay": RefundRule(timedelta(days=365)),
}
"""Methods Midtrans gives settled money back for, with the longest time any of their kinds has (midtrans.md section 7).

Virtual accounts, Mandiri bills and counter cash are never given back by it. Where a kind is shorter, Midtrans refuses.
"""
_REFUND_KEY_LIFE = timedelta(days=7)
"""From the first try (midtrans.md section 7)."""
_API = {True: "https://api.midtrans.com", False: "https://api.sandbox.midtrans.com"}


@attrs.frozen(kw_only=True)
class MidtransSettings:
    """One merchant account at Midtrans.

    Units: `timeout` and `status_lag` as durations; `threads` counts calls in flight at once.
    Shape: `previous_key` still verifies notifications while a key is being rotated. `frontend_url` is where the buyer
    returns: `{frontend_url}/orders/{order_id}/finish`.
    Source: midtrans.md sections 1 and 2 (docs.midtrans.com, read 2026-11).
    """

    server_key: str = attrs.field(repr=False)
    previous_key: str | None = attrs.field(default=None, repr=False)
    is_production: bool = False
    merchant_id: str | None = None
    snap_url: str | None = None
    api_url: str | None = None
    frontend_url: str = "http://127.0.0.1:8000"
    confirm: Confirm = Confirm.ALWAYS
    status_lag: timedelta = timedelta(seconds=600)
    timeout: timedelta = timedelta(seconds=10)
    threads: int = 512

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys a notification may be signed with, newest first."""
        return (self.server_key, self.previous_key) if self.previous_key else (self.server_key,)

    @property
    def snap_base(self) -> str:
        """Where Snap is; Snap paths on the Core host are 404."""
        return (self.snap_url or _SNAP[self.is_production]).rstrip("/")

    @property
    def api_base(self) -> str:
        """Where the Core API is."""
        return (self.api_url or _API[self.is_production]).rstrip("/")

    @cached_property
    def traits(self) -> GatewayTraits:
        """What the core must know: Midtrans signs no status, an answer may lag, and not every method gives back."""
        return GatewayTraits(
            confirm=self.confirm,
            status_lag=self.status_lag,
            timeout=self.timeout,
            merchant_id=self.merchant_id,
            refunds=REFUNDS,
            refund_key_life=_REFUND_KEY_LIFE,
        )
