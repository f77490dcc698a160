"""A stand-in for Midtrans: the wire of Snap and Core, signed notifications, a pay page, a ledger of what happened.

It imports nothing of the packages it is used to check.
"""

from .app import create_app
from .server import serve
from .settings import Settings

__all__ = ["Settings", "create_app", "serve"]
