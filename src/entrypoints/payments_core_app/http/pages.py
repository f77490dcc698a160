"""Static pages over this API: the API's own reference, the operator's console, the demo shop."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs
from litestar import MediaType, Response, get
from litestar.handlers import HTTPRouteHandler

from payments_core.errors import NotFound
from payments_core_app.catalogue import CATALOGUE, CUSTOMER
from payments_core_app.http.requests import Call
from payments_core_app.settings import LOOPBACK, Mode, Settings
from payments_core_app.tokens import Role, make_token

__all__ = ["page_routes"]

_PAGES = Path(__file__).parent.parent / "pages"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
"""Nothing from elsewhere, nothing inline, no forms, no frames."""


def page_routes(settings: Settings) -> list[HTTPRouteHandler]:
    """`/docs` and `/console`; `/shop` outside production."""
    shared: dict[str, Any] = {"include_in_schema": False, "media_type": MediaType.HTML}

    @get("/docs", **shared)
    async def docs() -> Response[bytes]:
        return _page("docs.html")

    @get("/pages/{name:str}", **shared)
    async def asset(name: str) -> Response[bytes]:
        return _page(name)

    @get(["/shop", "/shop/orders/{order_id:str}/finish"], **shared)
    async def shop() -> Response[bytes]:
        return _page("shop.html")

    @get("/console", **shared)
    async def console() -> Response[bytes]:
        return _page("console.html")

    @get("/shop/demo.json", include_in_schema=False)
    async def demo(request: Call) -> dict[str, Any]:
        peer = request.client.host if request.client else ""
        if not _is_loopback(request.headers.get("host", "")) or peer not in LOOPBACK:
            # Another origin that names this machine otherwise must not get tokens (DNS rebinding), nor another machine.
            raise NotFound("the demo gives its tokens to this machine only")
        return _demo(settings)

    pages: list[HTTPRouteHandler] = [docs, asset, console]
    if settings.mode is not Mode.PRODUCTION:
        pages.append(shop)
    return [*pages, demo] if settings.mode is Mode.DEMO else pages


def _is_loopback(host: str) -> bool:
    try:
        return urlsplit(f"//{host}").hostname in LOOPBACK
    except ValueError:  # an unclosed bracket
        return False


def _demo(settings: Settings) -> dict[str, Any]:
    """What the demo's pages need: a catalogue and tokens, made anew each time; the demo binds to loopback."""
    return {
        "catalogue": [attrs.asdict(product) for product in CATALOGUE],
        "customer": CUSTOMER,
        "gateways": [
            name
            for name, there in {
                "midtrans": settings.midtrans,
                "stripe": settings.stripe,
                "manual": settings.manual,
            }.items()
            if there is not None
        ],
        "customer_token": make_token(settings, CUSTOMER["id"]),
        "shop_token": make_token(settings, "shop", role=Role.SERVICE, scope="orders:write"),
        "operator_token": make_token(settings, "demo-operator", role=Role.OPERATOR, scope="payments:read"),
    }


def _read_pages() -> Mapping[str, tuple[bytes, str]]:
    return {
        path.name: (path.read_bytes(), _TYPES[path.suffix])
        for path in sorted(_PAGES.iterdir())
        if path.suffix in _TYPES
    }


_FILES = _read_pages()


def _page(name: str) -> Response[bytes]:
    if name not in _FILES:
        raise NotFound(f"no page {name}")
    body, kind = _FILES[name]
    return Response(body, headers={"Content-Type": kind, "Content-Security-Policy": _CSP})
