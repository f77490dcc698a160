"""Stripe, through hosted Checkout Sessions: the `Gateway` port over the official SDK."""

from payments_core_stripe.gateway import StripeGateway
from payments_core_stripe.observe import observe
from payments_core_stripe.settings import StripeSettings

__all__ = ["StripeGateway", "StripeSettings", "observe"]
