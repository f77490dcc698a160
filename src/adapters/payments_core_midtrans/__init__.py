"""Midtrans, through Snap's hosted page and the classic Core API: the `Gateway` port over `midtransclient`."""

from payments_core_midtrans.gateway import MidtransGateway
from payments_core_midtrans.observe import observe
from payments_core_midtrans.settings import MidtransSettings
from payments_core_midtrans.signature import signature_of

__all__ = ["MidtransGateway", "MidtransSettings", "observe", "signature_of"]
