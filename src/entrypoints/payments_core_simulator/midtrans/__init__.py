"""Midtrans: the wire of Snap and Core, its ledger, its notifications and its pay page."""

from payments_core_simulator.documents import page_error
from payments_core_simulator.replies import Reply
from payments_core_simulator.stage import SimulatedGateway

from .core_api import core_http_error, core_routes
from .levers import lever_routes
from .pages import page_routes
from .settings import Settings
from .simulator import Simulator
from .snap import snap_http_error, snap_routes

__all__ = ["Settings", "simulated_midtrans"]


def simulated_midtrans(settings: Settings) -> SimulatedGateway:
    """Return a simulated Midtrans with an empty ledger."""
    simulator = Simulator(settings)
    routes = [*snap_routes(simulator), *core_routes(simulator), *page_routes(simulator)]
    return SimulatedGateway(simulator, routes, lever_routes(simulator), _http_error)


def _http_error(path: str, http_status: int) -> Reply:
    if path.startswith("/v2/"):
        return core_http_error(http_status)
    return snap_http_error(http_status) if path.startswith("/snap/v1/") else page_error(http_status)
