"""Lets a fault cut a connection: the one thing an ASGI application cannot do by itself."""

import asyncio
from typing import Any, cast

from litestar.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_CUT = "payments_core_simulator.cut"


class CuttableConnections(HttpToolsProtocol):
    """uvicorn's HTTP protocol, which also hands each request the means to cut its connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, and wrap the application for it alone."""
        super().connection_made(transport)
        self.app = _with_cut(self.app, transport)


def _with_cut(app: ASGIApp, transport: asyncio.Transport) -> ASGIApp:
    async def cuttable(scope: Scope, receive: Receive, send: Send) -> None:
        cast("dict[str, object]", scope)[_CUT] = transport.abort
        await app(scope, receive, send)

    return cuttable


async def cut_connection(scope: Scope) -> None:
    """Close the client's connection without another byte.

    Under a server that offers no such means the request fails, which a client sees as a cut one as well.
    """
    abort = cast("dict[str, Any]", scope).get(_CUT)
    if abort is None:
        raise ConnectionAbortedError("this server cannot cut a connection")
    abort()
    # The loop tells the server of the loss in its next turn; an answer given before that would be an error in its log.
    await asyncio.sleep(0.01)
