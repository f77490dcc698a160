"""The gateways that are set up, by name."""

from collections.abc import Mapping

from payments_core.errors import GatewayNotConfigured
from payments_core.ports import Gateway

__all__ = ["Gateways"]


class Gateways(dict[str, Gateway]):
    """The gateways that are set up, by name; a payment may be at one that is not any more.

    Errors: ValueError when a gateway stands under another name than its own; GatewayNotConfigured when one is wanted
    that is not set up.
    """

    def __init__(self, gateways: Mapping[str, Gateway]) -> None:
        for name, gateway in gateways.items():
            if name != gateway.name:
                raise ValueError(f"the gateway {gateway.name!r} stands under {name!r}: its messages would be nobody's")
        super().__init__(gateways)

    def __missing__(self, name: str) -> Gateway:
        raise GatewayNotConfigured(f"no gateway {name!r} is set up")
