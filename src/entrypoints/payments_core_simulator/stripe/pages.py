"""The pay page behind a session's `url`."""

from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.response import Response

from payments_core_simulator.documents import html_reply, message_page
from payments_core_simulator.gate import to_response

from .simulator import Simulator


def page_routes(simulator: Simulator) -> list[HTTPRouteHandler]:
    """Return the handlers of the pay page."""

    @get("/")
    async def home() -> Response[bytes]:
        return to_response(html_reply(200, message_page("Stripe simulator", "This server stands in for Stripe.")))

    return [home]
