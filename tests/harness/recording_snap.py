"""A Snap that keeps every request it got, byte for byte, and answers as it is told."""

import contextlib
import json
import threading
import uuid
from collections import deque
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import attrs

CUT = "cut"
"""An answer that is none: the request was read and the connection closed."""


@attrs.frozen
class Recorded:
    """One request as it came over the wire."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The body, read."""
        return dict(json.loads(self.body))


@attrs.define
class RecordingSnap:
    """`answers` are used up one by one; afterwards every create is answered with a new token."""

    url: str
    requests: list[Recorded] = attrs.field(factory=list)
    answers: deque[object] = attrs.field(factory=deque)

    def answer_next(self, *answers: object) -> None:
        """Answer the next requests so: `CUT`, or an HTTP status with its JSON."""
        self.answers.extend(answers)

    def creates(self, order_id: str | None = None) -> list[Recorded]:
        """Requests to open a page, all of them or those of one shop order."""
        found = [request for request in self.requests if request.path == "/snap/v1/transactions"]
        return [request for request in found if order_id in (None, request.json.get("custom_field1"))]


def _handler(snap: RecordingSnap) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            headers = {name.lower(): value for name, value in self.headers.items()}
            snap.requests.append(Recorded(self.path, headers, body))
            if self.path == "/snap/v1/transactions":
                answer = snap.answers.popleft() if snap.answers else _opened(snap)
            else:
                answer = (404, {"error_messages": ["token not found"]})
            if not isinstance(answer, tuple):
                self.close_connection = True
                return
            status, said = answer
            sent = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Say nothing."""

    return Handler


def _opened(snap: RecordingSnap) -> tuple[int, dict[str, str]]:
    token = str(uuid.uuid4())
    return 201, {"token": token, "redirect_url": f"{snap.url}/page/{token}"}


@contextlib.contextmanager
def recording_snap() -> Iterator[RecordingSnap]:
    """A recording Snap that listens on loopback until the block ends."""
    snap = RecordingSnap("")
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(snap)) as server:
        snap.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield snap
        finally:
            server.shutdown()
            thread.join()
