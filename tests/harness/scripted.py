"""A server that answers exactly what a test scripts: odd JSON, HTML, nothing, slowly, too much."""

import contextlib
import socketserver
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler

import attrs


@attrs.define
class Request:
    """What was received."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Answer = Callable[[BaseHTTPRequestHandler], None]


@attrs.define
class Scripted:
    """`answer` is used for every request; `seen` remembers them."""

    url: str
    answer: Answer
    seen: list[Request] = attrs.field(factory=list)


def says(status: int, body: bytes | str, content_type: str = "application/json", **headers: str) -> Answer:
    """This status and body."""
    raw = body.encode() if isinstance(body, str) else body

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", content_type)
        handler.send_header("Content-Length", str(len(raw)))
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(raw)

    return answer


@contextlib.contextmanager
def scripted_server() -> Iterator[Scripted]:
    """A server on loopback, one thread a connection."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(length)
            scripted.seen.append(Request(self.command, self.path, dict(self.headers), body))
            with contextlib.suppress(ConnectionError):
                scripted.answer(self)

        do_GET = do_POST = handle_any  # noqa: N815 -- http.server finds its handlers by these names

        def log_message(self, *_: object) -> None:
            """Quiet."""

    class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
        allow_reuse_address = True
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        scripted = Scripted(f"http://127.0.0.1:{server.server_address[1]}", says(200, "{}"))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield scripted
        finally:
            server.shutdown()
            thread.join()
