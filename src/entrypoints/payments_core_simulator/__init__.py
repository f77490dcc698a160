"""Stand-ins for payment gateways: their wire, signed notifications, a pay page, a ledger of what happened.

They import nothing of the packages they are used to check.
"""

from .app import create_app
from .midtrans import Settings as MidtransSettings
from .midtrans import simulated_midtrans
from .server import serve
from .stripe import Settings as StripeSettings
from .stripe import simulated_stripe

__all__ = ["MidtransSettings", "StripeSettings", "create_app", "serve", "simulated_midtrans", "simulated_stripe"]
