"""Between the gateway and the API processes: takes each notification to one that listens, and keeps every receipt.

A receipt is the digest of bytes that an API process answered 2xx. It is kept outside of the product, because what
"acknowledged" means must not be asked of the one who is examined.
"""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from itertools import count

import attrs

_WAIT_S = 10.0
_HEAD_BYTES_MAX = 64 * 1024


@attrs.define
class PostOffice:
    """A load balancer for webhooks: the next process when one refuses the connection, no second try after that."""

    ports: Sequence[int]
    receipts: Counter[str] = attrs.field(factory=Counter)
    """By the digest under which the product has to have it: of the bytes, or of the name its gateway gave the event."""
    answers: Counter[str] = attrs.field(factory=Counter)
    _turn: "count[int]" = attrs.field(factory=count)
    _server: asyncio.Server | None = None

    async def open(self) -> str:
        """The origin that notifications are sent to."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_HEAD_BYTES_MAX)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def close(self) -> None:
        """Nothing is taken any more."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_WAIT_S):
                head, body = await _request(reader)
                answer = await self._carry(head, body)
                status = int(answer.split(b" ", 2)[1]) if answer else 0
                self.answers[str(status or "cut")] += 1
                if 200 <= status < 300:
                    self.receipts[_digest(head, body)] += 1
                writer.write(answer)
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
            self.answers["cut"] += 1  # whoever was at the other end died: the gateway sees a cut connection
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _carry(self, head: bytes, body: bytes) -> bytes:
        """The answer of the first process that takes the connection; a 503 when none listens."""
        first = next(self._turn)
        for offset in range(len(self.ports)):
            port = self.ports[(first + offset) % len(self.ports)]
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                continue
            try:
                writer.write(head + body)
                await writer.drain()
                return await reader.read(-1)
            finally:
                writer.close()
        return b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def _digest(head: bytes, body: bytes) -> str:
    """An event of Stripe is one by its id, also when its bytes are others; Midtrans gives a notification no name."""
    path = head.split(b" ", 2)[1]
    named = str(json.loads(body)["id"]).encode() if path.startswith(b"/api/webhooks/stripe") else body
    return sha256(named).hexdigest()


async def _request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Head and body of one request, the head changed to end the connection after the answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    length = next((int(line.split(b":")[1]) for line in lines if line.lower().startswith(b"content-length:")), 0)
    kept = [line for line in lines[:-2] if not line.lower().startswith(b"connection:")]
    return b"\r\n".join([*kept, b"Connection: close", b"", b""]), await reader.readexactly(length)
