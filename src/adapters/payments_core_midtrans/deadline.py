"""One deadline for a whole answer, status line and headers included.

A time-out of a socket is the patience with one read, so a peer that sends a byte now and then holds its reader for
ever, and here the reader is one of few threads. So every read of an answer waits no longer than what is left of its
time: nobody has to watch the thread from outside.
"""

import io
import socket
from http.client import HTTPResponse
from time import monotonic
from typing import Any, cast

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

__all__ = ["bounded_adapter"]


class _Patient(io.RawIOBase):
    """The bytes of one answer, as long as its time lasts."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._bytes = cast("io.RawIOBase", connection.makefile("rb", buffering=0))
        # urllib3 has just set the time-out of the request; from here on it counts for all reads together.
        timeout_s = connection.gettimeout()
        self._until = None if timeout_s is None else monotonic() + timeout_s

    def readable(self) -> bool:
        """It is read."""
        return True

    def readinto(self, buffer: Any) -> int | None:  # noqa: ANN401 - any writable buffer
        """What has come, waiting no longer than the rest of the time.

        Errors: TimeoutError.
        """
        if self._until is not None:
            left_s = self._until - monotonic()
            if left_s <= 0:
                raise TimeoutError("the answer came too slowly")
            self._connection.settimeout(left_s)
        return self._bytes.readinto(buffer)

    def close(self) -> None:
        """The connection is no longer held by this reader."""
        self._bytes.close()
        super().close()


class _BoundedResponse(HTTPResponse):
    """An answer that is read under one deadline."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as its base has them
        super().__init__(sock, *args, **kwargs)
        self.fp.close()
        self.fp = io.BufferedReader(_Patient(sock))


class _BoundedConnection(HTTPConnection):
    response_class = _BoundedResponse


class _BoundedSecureConnection(HTTPSConnection):
    response_class = _BoundedResponse


class _BoundedPool(HTTPConnectionPool):
    ConnectionCls = _BoundedConnection


class _BoundedSecurePool(HTTPSConnectionPool):
    ConnectionCls = _BoundedSecureConnection


def bounded_adapter(connections: int) -> HTTPAdapter:
    """What `requests` sends by: pooled, never repeating a request by itself, each answer under one deadline."""
    adapter = HTTPAdapter(pool_connections=4, pool_maxsize=connections, max_retries=0)
    adapter.poolmanager.pool_classes_by_scheme = {"http": _BoundedPool, "https": _BoundedSecurePool}
    return adapter
