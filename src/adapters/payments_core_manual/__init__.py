"""Bank transfers that an operator confirms: a gateway without a network, and the example of how to write one."""

from payments_core_manual.gateway import Confirmations, ManualGateway
from payments_core_manual.settings import ManualSettings
from payments_core_manual.transfer import HEADER, Transfer, signature_of

__all__ = ["HEADER", "Confirmations", "ManualGateway", "ManualSettings", "Transfer", "signature_of"]
