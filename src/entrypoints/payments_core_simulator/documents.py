"""What every page a person sees is made of: one frame that says SIMULATOR, one stylesheet, headers without scripts."""

from html import escape
from importlib.resources import files
from string import Template
from urllib.parse import parse_qs

from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.response import Response

from .gate import to_response
from .limits import FORM_FIELDS_MAX
from .replies import Reply

_STATIC = files(__package__) / "static"
_FRAME = Template((_STATIC / "page.html").read_text("utf-8"))
_STYLESHEET = (_STATIC / "simulator.css").read_bytes()
_HTML = "text/html; charset=utf-8"
_HEADERS = {
    # No script at all; styles only from the one file; forms only to this origin.
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    # The token in the address is the buyer's key to the page.
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def asset_routes() -> list[HTTPRouteHandler]:
    """Return the handler of the stylesheet."""

    @get("/assets/simulator.css")
    async def stylesheet() -> Response[bytes]:
        return to_response(Reply(200, _STYLESHEET, "text/css; charset=utf-8", {"Cache-Control": "no-cache"}))

    return [stylesheet]


def frame(title: str, content: str) -> str:
    """Return a whole document; `content` is HTML, `title` is text."""
    return _FRAME.substitute(title=escape(title), content=content)


def message_page(title: str, text: str) -> str:
    """Return a page that only says something."""
    return frame(title, f"<section><h1>{escape(title)}</h1><p>{escape(text)}</p></section>")


def verdict(state: str, title: str, text: str) -> str:
    """Return the part of a page that says how it ended; `state` chooses its colour."""
    return f"<div class='verdict {state}'><h2>{escape(title)}</h2><p>{escape(text)}</p></div>"


def html_reply(http_status: int, document: str) -> Reply:
    """Return a page."""
    return Reply(http_status, document.encode("utf-8", "replace"), _HTML, _HEADERS)


def see(path: str) -> Reply:
    """Send the browser on with a GET, so that a reload pays nothing again."""
    return Reply(303, b"", _HTML, {**_HEADERS, "Location": path})


def page_error(http_status: int) -> Reply:
    """Return a page that says what is wrong."""
    title, text = {
        404: ("No such page", "This payment page does not exist, or a newer one has taken its place."),
        400: ("Not understood", "The page does not offer that choice. Go back and choose again."),
        409: ("Too many tries", "This page has seen too many payments. Ask the shop for a new one."),
    }.get(http_status, ("Not possible", "The simulator has no answer to this request."))
    return html_reply(http_status, message_page(title, text))


def form_field(body: bytes, name: str) -> str:
    """Return a field of a submitted form, or nothing when the form is unreadable."""
    try:
        fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=FORM_FIELDS_MAX)
    except ValueError:
        return ""
    return fields.get(name, [""])[0]
