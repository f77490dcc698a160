"""Serves the simulator until it is told to stop."""

import socket
import sys

import uvicorn

from .app import create_app
from .connections import CuttableConnections
from .limits import KEEP_ALIVE_S, SHUTDOWN_GRACE_S
from .settings import CoreErrors, RepeatedRefundKey, Settings

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 9001
PORT_MAX = 65_535


def serve(
    *,
    server_key: str,
    host: str = DEFAULT_HOST,
    port: int = DEFAULT_PORT,
    notify_url: str | None = None,
    public_url: str | None = None,
    merchant_id: str = "G000000000",
    core_errors: CoreErrors = "http",
    repeated_refund_key: RepeatedRefundKey = "replay",
    notification_speed_up: float = 1.0,
    announce: bool = True,
) -> None:
    """Serve the simulated Midtrans on `http://host:port` until Ctrl-C or SIGTERM; blocks.

    `server_key` is the key clients authenticate with and notifications are signed with.
    `port` 0 takes a free one; the first line on standard output names it: `simulator ready at http://127.0.0.1:PORT`
    (`announce=False` leaves the line out).
    `notify_url` is the webhook of the merchant; without it only URLs given in request headers are notified.
    `public_url` is the origin put into `redirect_url` when buyers reach the simulator by another name.
    `core_errors`: `http` answers 404, 406, 412 and 414 as HTTP codes, `body` inside HTTP 200.
    `repeated_refund_key`: `replay` answers a used key as before, `406` refuses it.
    `notification_speed_up` divides the retry intervals (2 min to 3.5 h).

    **Errors**: `ValueError` for a setting that makes no sense, `OSError` when the address is taken; nothing runs then.
    """
    if not 0 <= port <= PORT_MAX:
        raise ValueError(f"port must be between 0 and {PORT_MAX}")
    listener = _listen(host, port)
    try:
        settings = Settings(
            server_key=server_key,
            base_url=(public_url or _origin(listener)).rstrip("/"),
            notify_url=notify_url or "",
            merchant_id=merchant_id,
            core_errors=core_errors,
            repeated_refund_key=repeated_refund_key,
            notification_speed_up=notification_speed_up,
        )
        _Server(settings, _origin(listener) if announce else "").run_on(listener)
    except KeyboardInterrupt:
        # uvicorn has shut down in order and passes the signal on; a stop that was asked for is no error.
        return
    finally:
        listener.close()


class _Server(uvicorn.Server):
    """uvicorn, saying where it listens once it does."""

    def __init__(self, settings: Settings, origin: str) -> None:
        super().__init__(
            uvicorn.Config(
                create_app(settings),
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
