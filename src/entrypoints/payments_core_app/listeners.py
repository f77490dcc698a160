"""A listener of its own for each server process, so that the kernel deals connections out among the processes.

Of one listener for all of them, whichever process is awake takes every connection that waits, and a client that keeps
its connections stays there.
"""

import socket
from collections.abc import Callable

__all__ = ["Listeners", "can_be_dealt_out"]

can_be_dealt_out = hasattr(socket, "SO_REUSEPORT")
"""Elsewhere one listener serves all processes, as uvicorn makes it."""


class Listeners(list[socket.socket]):
    """The sockets of a server process, for uvicorn's supervisor: made where this is unpickled, in the process."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__()
        self._place = (host, port)

    def __reduce__(self) -> tuple[Callable[[str, int], list[socket.socket]], tuple[str, int]]:
        return _bound, self._place


def _bound(host: str, port: int) -> list[socket.socket]:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind((host, port))
    return [listener]
