"""Stripe: the wire of Checkout and what follows a payment, its ledger, its events and its pay page."""

from payments_core_simulator.documents import page_error
from payments_core_simulator.replies import Reply
from payments_core_simulator.stage import SimulatedGateway

from .api import api_routes
from .api_gate import error_for
from .levers import lever_routes
from .pages import page_routes
from .settings import Settings
from .simulator import Simulator

__all__ = ["Settings", "simulated_stripe"]


def simulated_stripe(settings: Settings) -> SimulatedGateway:
    """Return a simulated Stripe with an empty ledger."""
    simulator = Simulator(settings)
    routes = [*api_routes(simulator), *page_routes(simulator)]
    return SimulatedGateway(simulator, routes, lever_routes(simulator), _http_error)


def _http_error(path: str, http_status: int) -> Reply:
    return error_for(http_status, path) if path.startswith("/v1/") else page_error(http_status)
