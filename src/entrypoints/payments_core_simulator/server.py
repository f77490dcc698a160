"""Serves the simulator until it is told to stop."""

import socket
import sys
from collections.abc import Callable

import uvicorn

from .app import create_app
from .connections import CuttableConnections
from .limits import KEEP_ALIVE_S, SHUTDOWN_GRACE_S
from .stage import SimulatedGateway

DEFAULT_HOST = "127.0.0.1"
PORT_MAX = 65_535


def serve(
    build: Callable[[str], SimulatedGateway],
    *,
    host: str = DEFAULT_HOST,
    port: int,
    public_url: str = "",
    announce: bool = True,
) -> None:
    """Serve a simulated gateway on `http://host:port` until Ctrl-C or SIGTERM; blocks.

    `build` gets the origin that buyers reach it by, `public_url` when one is given, and returns the gateway.
    `port` 0 takes a free one; the first line on standard output names it: `simulator ready at http://127.0.0.1:PORT`
    (`announce=False` leaves the line out).

    **Errors**: `ValueError` for a setting that makes no sense, `OSError` when the address is taken; nothing runs then.
    """
    if not 0 <= port <= PORT_MAX:
        raise ValueError(f"port must be between 0 and {PORT_MAX}")
    listener = _listen(host, port)
    try:
        gateway = build((public_url or _origin(listener)).rstrip("/"))
        _Server(gateway, _origin(listener) if announce else "").run_on(listener)
    except KeyboardInterrupt:
        # uvicorn has shut down in order and passes the signal on; a stop that was asked for is no error.
        return
    finally:
        listener.close()


class _Server(uvicorn.Server):
    """uvicorn, saying where it listens once it does."""

    def __init__(self, gateway: SimulatedGateway, origin: str) -> None:
        super().__init__(
            uvicorn.Config(
                create_app(gateway),
                http=CuttableConnections,
                ws="none",
                lifespan="on",
                log_level="warning",
                access_log=False,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=SHUTDOWN_GRACE_S,
            )
        )
        self._announced_origin = origin

    def run_on(self, listener: socket.socket) -> None:
        """Serve on this socket until a signal."""
        self.run(sockets=[listener])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets)
        if self._announced_origin:
            sys.stdout.write(f"simulator ready at {self._announced_origin}\n")
            sys.stdout.flush()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        # Started again at once after a stop, as tests and `make run` do.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener


def _origin(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    # Listening everywhere is no address to go to.
    host = {"0.0.0.0": DEFAULT_HOST, "::": "::1"}.get(host, host)  # noqa: S104 - compared with, not bound to
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
