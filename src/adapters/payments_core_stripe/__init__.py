"""Stripe: so far what its events mean. Sessions, refunds and the webhook come with their own release."""

from payments_core_stripe.observe import observe

__all__ = ["observe"]
