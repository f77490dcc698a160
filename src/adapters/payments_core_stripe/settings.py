"""What the Stripe adapter has to be told."""

from datetime import timedelta
from functools import cached_property

import attrs

from payments_core.payment import MISMATCHES
from payments_core.policy import GatewayTraits
from payments_core.states import Confirm

__all__ = ["API_URL", "API_VERSION", "StripeSettings"]

API_URL = "https://api.stripe.com"
API_VERSION = "2026-10-28.endive"
"""The version our calls are made in, and the one webhook endpoints should be made with: that of the SDK we lock."""
PAGE_MAX = timedelta(hours=23, minutes=55)
"""A session lives 24 hours at most, counted by Stripe's clock; the rest is for a clock of ours that goes ahead."""
_REFUND_KEY_LIFE = timedelta(hours=24)
"""Kept so long at least; after that the same key makes a new refund (stripe.md section 6)."""
_LIVE = ("sk_live_", "rk_live_")
_TEST = ("sk_test_", "rk_test_")


@attrs.frozen(kw_only=True)
class StripeSettings:
    """One account at Stripe.

    Units: `timeout` and `status_lag` as durations.
    Shape: `webhook_secrets` are the endpoint's secrets, more than one while they are rolled. `frontend_url` is where
    the buyer returns: `{frontend_url}/orders/{order_id}/finish`.
    Source: stripe.md sections 5, 6 and 8.
    """

    secret_key: str = attrs.field(repr=False)
    webhook_secrets: tuple[str, ...] = attrs.field(default=(), repr=False)
    api_url: str | None = None
    frontend_url: str = "http://127.0.0.1:8000"
    timeout: timedelta = timedelta(seconds=10)
    status_lag: timedelta = timedelta(seconds=60)

    @property
    def api_base(self) -> str:
        """Where the API is."""
        return (self.api_url or API_URL).rstrip("/")

    @property
    def live(self) -> bool | None:
        """Whether the key moves real money; the key itself says so, None when it is of a kind we do not know."""
        if self.secret_key.startswith(_LIVE):
            return True
        return False if self.secret_key.startswith(_TEST) else None

    @cached_property
    def traits(self) -> GatewayTraits:
        """What the core must know: an event is signed as a whole, so what it says is believed (ADR 22).

        Refunds and disputes name the transaction alone, and the same create again answers with the same page.
        """
        return GatewayTraits(
            confirm=Confirm.SIGNATURE,
            signed=MISMATCHES,
            status_lag=self.status_lag,
            timeout=self.timeout,
            live=self.live,
            page_max=PAGE_MAX,
            replaces_pages=False,
            names_orders=False,
            refund_key_life=_REFUND_KEY_LIFE,
        )
