"""`midtransclient` against a hostile server: bounded waits, our errors, and no secret in any of them (G6)."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler

import aiohttp
import attrs
import midtransclient
import midtransclient.error_midtrans
import pytest

from harness.scripted import Scripted, says, scripted_server
from payments_core.errors import GatewayTimeout, GatewayUnavailable
from payments_core.money import Money
from payments_core.payment import Attempt
from payments_core.ports import PageClosing, PageOpened, PageRefused, PageTaken
from payments_core.testing.gateways import sample_attempt
from payments_core_midtrans import MidtransGateway, MidtransSettings

KEY = "SB-Mid-server-very-secret"
AUTHORIZATION = "Basic U0ItTWlkLXNlcnZlci12ZXJ5LXNlY3JldDo="


@pytest.fixture
def server() -> Iterator[Scripted]:
    with scripted_server() as running:
        yield running


@pytest.fixture
async def gateway(server: Scripted) -> AsyncIterator[MidtransGateway]:
    made = MidtransGateway(
        MidtransSettings(
            server_key=KEY,
            snap_url=f"{server.url}/snap/v1",
            api_url=server.url,
            timeout=timedelta(seconds=1),
            threads=2,
        )
    )
    yield made
    await made.close()


@pytest.fixture
def attempt() -> Attempt:
    return sample_attempt(MidtransGateway(MidtransSettings(server_key=KEY)), Money.of(5_000_000, "IDR"))


async def test_what_is_sent_is_the_stored_body_to_the_byte(
    server: Scripted, gateway: MidtransGateway, attempt: Attempt
) -> None:
    server.answer = says(201, json.dumps({"token": "t", "redirect_url": "https://pay.example/t"}))
    assert await gateway.open_page(attempt) == PageOpened("t", "https://pay.example/t")
    (request,) = server.seen
    assert (request.method, request.path) == ("POST", "/snap/v1/transactions")
    assert request.body.decode() == attempt.request
    assert request.headers["Authorization"] == AUTHORIZATION
    assert request.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "answer",
    [
        says(502, "<html>Bad Gateway</html>", "text/html"),
        says(200, ""),
        says(201, ""),
        says(200, "[]"),
        says(200, "null"),
        says(200, '"words"'),
        says(200, '{"status_code": null}'),
        says(200, '{"status_code": "abc"}'),
        says(201, "{}"),
        says(201, '{"token": 5, "redirect_url": "https://x"}'),
        says(201, '{"token": "t", "redirect_url": "javascript:alert(1)"}'),
        says(201, json.dumps({"token": "t" * 300, "redirect_url": "https://x"})),
        says(500, '{"error_messages": ["Sorry, we encountered internal server error."]}'),
        says(503, '{"status_code": "503"}'),
        says(429, '{"error_messages": ["rate limit"]}'),
        says(401, '{"error_messages": ["Access denied due to unauthorized transaction"]}'),
        says(404, '{"error_messages": ["not found"]}'),
        says(302, "", Location="http://127.0.0.1:1/elsewhere"),
        says(200, "[" * 100_000),
        says(200, b"\xff\xfe{}"),
        says(200, b'{"a": "' + b"x" * (1024 * 1024 + 1) + b'"}'),
    ],
    ids=lambda _: "",
)
async def test_an_answer_that_is_none_leaves_the_outcome_unknown(
    server: Scripted, gateway: MidtransGateway, attempt: Attempt, answer: object
) -> None:
    """Neither opened nor refused: the same request is sent again."""
    server.answer = answer  # type: ignore[assignment]
    with pytest.raises(GatewayUnavailable) as unknown:
        await gateway.open_page(attempt)
    assert_no_secret(unknown.value)


@pytest.mark.parametrize(
    "words",
    [
        "transaction_details.order_id has already been taken",
        "transaction_details.order_id has been paid and utilized, please use another order ID",
        "transaction_details.order_id sudah digunakan",
    ],
)
async def test_a_duplicate_is_told_apart_by_its_words(
    server: Scripted, gateway: MidtransGateway, attempt: Attempt, words: str
) -> None:
    server.answer = says(400, json.dumps({"error_messages": [words]}))
    assert await gateway.open_page(attempt) == PageTaken()


async def test_any_other_400_is_a_refusal_with_its_reasons(
    server: Scripted, gateway: MidtransGateway, attempt: Attempt
) -> None:
    words = "transaction_details.gross_amount is not equal to the sum of item_details"
    server.answer = says(400, json.dumps({"error_messages": [words]}))
    assert await gateway.open_page(attempt) == PageRefused((words,))


@pytest.mark.parametrize("status", [404, 200], ids=["HTTP 404", "404 inside HTTP 200"])
async def test_both_forms_of_not_found_are_no_transaction(
    server: Scripted, gateway: MidtransGateway, status: int
) -> None:
    server.answer = says(status, '{"status_code": "404", "status_message": "Transaction doesn\'t exist."}')
    assert await gateway.read("some-order") is None


@pytest.mark.parametrize("code", ["401", "500", "503"])
async def test_an_error_inside_http_200_is_no_answer(server: Scripted, gateway: MidtransGateway, code: str) -> None:
    server.answer = says(200, json.dumps({"status_code": code, "status_message": "trouble"}))
    with pytest.raises(GatewayUnavailable):
        await gateway.read("some-order")


async def test_an_expired_status_answer_comes_under_407(server: Scripted, gateway: MidtransGateway) -> None:
    body = {
        "status_code": "407",
        "order_id": "o",
        "transaction_id": "t",
        "transaction_status": "expire",
        "gross_amount": "1.00",
    }
    server.answer = says(200, json.dumps(body))
    read = await gateway.read("o")
    assert read is not None
    assert read.transaction_id == "t"


@pytest.mark.parametrize("odd", ["a#frag", "a?x=1", "../v2/other", "A/B", "é"])
async def test_ids_are_quoted_in_paths(server: Scripted, gateway: MidtransGateway, odd: str) -> None:
    server.answer = says(404, '{"status_code": "404"}')
    await gateway.read(odd)
    path = server.seen[0].path
    assert path.startswith("/v2/")
    assert path.endswith("/status")
    assert path.count("/") == 3
    assert not set("#?") & set(path)


@pytest.mark.parametrize(
    ("status", "body", "closing"),
    [
        (200, {"canceled_at": "2025-06-03T13:09:39.776Z"}, PageClosing.GONE),
        (400, {"error_messages": ["token already canceled"]}, PageClosing.GONE),
        (404, {"error_messages": ["token not found"]}, PageClosing.GONE),
        (400, {"error_messages": ["Transaction is on progress"]}, PageClosing.IN_PROGRESS),
    ],
)
async def test_what_snap_says_of_a_token(
    server: Scripted,
    gateway: MidtransGateway,
    attempt: Attempt,
    status: int,
    body: dict[str, object],
    closing: PageClosing,
) -> None:
    server.answer = says(status, json.dumps(body))
    assert await gateway.close_page(attrs.evolve(attempt, token="a/b")) is closing
    assert server.seen[0].path == "/snap/v1/transactions/a%2Fb/cancel"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, {}),
        (200, {"maintenance": True}),
        (202, {"status_code": "202"}),
        (302, {"login": "here"}),
        (200, {"canceled_at": 7}),
    ],
)
async def test_only_snaps_own_words_say_that_a_page_is_gone(
    server: Scripted, gateway: MidtransGateway, attempt: Attempt, status: int, body: dict[str, object]
) -> None:
    """A page believed dead by mistake is a second page that can be paid."""
    server.answer = says(status, json.dumps(body), Location="/elsewhere")
    with pytest.raises(GatewayUnavailable):
        await gateway.close_page(attrs.evolve(attempt, token="t"))


async def test_an_error_of_snap_inside_http_200_is_an_error(
    server: Scripted, gateway: MidtransGateway, attempt: Attempt
) -> None:
    server.answer = says(200, json.dumps({"error_messages": ["Transaction is on progress"]}))
    assert await gateway.close_page(attrs.evolve(attempt, token="t")) is PageClosing.IN_PROGRESS


@pytest.mark.parametrize(
    ("status", "body"), [(404, '{"error_messages": ["no route"]}'), (404, "<html></html>"), (400, "{}"), (500, "{}")]
)
async def test_a_404_of_another_kind_does_not_prove_a_page_gone(
    server: Scripted, gateway: MidtransGateway, attempt: Attempt, status: int, body: str
) -> None:
    """A wrong address must not release stock under a page that can be paid."""
    server.answer = says(status, body)
    with pytest.raises(GatewayUnavailable):
        await gateway.close_page(attrs.evolve(attempt, token="t"))


async def test_a_server_that_never_answers_is_given_up(server: Scripted, gateway: MidtransGateway) -> None:
    released = threading.Event()
    server.answer = lambda _handler: released.wait(30) and None
    try:
        with pytest.raises(GatewayTimeout) as unknown:
            await gateway.read("o")
        assert_no_secret(unknown.value)
    finally:
        released.set()


async def test_a_server_that_drips_is_given_up(server: Scripted, gateway: MidtransGateway) -> None:
    """A read time-out alone never ends while a byte comes now and then."""
    stop = threading.Event()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        while not stop.wait(0.2):
            handler.wfile.write(b" " * 20_000)
            handler.wfile.flush()

    server.answer = drip
    try:
        with pytest.raises(GatewayTimeout):
            await gateway.read("o")
    finally:
        stop.set()


async def test_a_server_that_drips_its_headers_gives_the_thread_back(
    server: Scripted, gateway: MidtransGateway
) -> None:
    """Each byte is another read, so only a deadline over all of them frees the thread it would hold for ever."""
    stop, let_go = threading.Event(), threading.Semaphore(0)

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        try:
            while not stop.wait(0.05):
                handler.wfile.write(b"x")
        except ConnectionError:
            let_go.release()  # the client closed: nobody waits for this answer any more

    server.answer = drip
    try:
        results = await asyncio.gather(*(gateway.read(f"o-{n}") for n in range(2)), return_exceptions=True)
        assert all(isinstance(result, GatewayTimeout) for result in results)
        for _ in results:
            assert await asyncio.to_thread(let_go.acquire, timeout=30), "both threads are free again"
    finally:
        stop.set()
    server.answer = says(404, '{"status_code": "404"}')
    assert await gateway.read("o") is None


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nContent-Encoding: gzip\r\n\r\nnot gzip!",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
        b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 100_000 + b"\r\n\r\n{}",
        b"not even HTTP\r\n\r\n",
        b"",
    ],
    ids=["cut in the body", "not gzip", "not chunks", "an endless header", "another protocol", "nothing"],
)
async def test_an_answer_that_breaks_off_is_no_answer(
    server: Scripted, gateway: MidtransGateway, attempt: Attempt, answer: bytes
) -> None:
    """What happened is unknown, and said in our words: another error would pass for a bug of ours and answer 500."""

    def breaks_off(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(answer)
        handler.close_connection = True

    server.answer = breaks_off
    with pytest.raises(GatewayUnavailable) as unknown:
        await gateway.open_page(attempt)
    assert_no_secret(unknown.value)


async def test_more_calls_than_threads_wait_no_longer_than_the_time_out(
    server: Scripted, gateway: MidtransGateway
) -> None:
    """No pile-up: a call that found no thread in time never begins."""
    released = threading.Event()
    server.answer = lambda _handler: released.wait(30) and None
    try:
        results = await asyncio.gather(*(gateway.read(f"o-{n}") for n in range(10)), return_exceptions=True)
        assert all(isinstance(result, GatewayTimeout) for result in results)
    finally:
        released.set()
    assert len(server.seen) <= 4


async def test_nobody_listening_is_unavailable(attempt: Attempt) -> None:
    gateway = MidtransGateway(
        MidtransSettings(server_key=KEY, snap_url="http://127.0.0.1:9/snap/v1", timeout=timedelta(seconds=2))
    )
    with pytest.raises(GatewayUnavailable) as unknown:
        await gateway.open_page(attempt)
    assert_no_secret(unknown.value)
    await gateway.close()


async def test_no_other_client_of_the_library_in_the_process_is_touched(gateway: MidtransGateway) -> None:
    """Its default header dict is one object shared by all clients, its URLs are class attributes."""
    other = midtransclient.Snap(server_key="other")
    assert other.api_config.SNAP_SANDBOX_BASE_URL == "https://app.sandbox.midtrans.com/snap/v1"
    assert gateway._client._snap.api_config.custom_headers is not other.api_config.custom_headers
    assert gateway._client._snap.http_client.http_client is not other.http_client.http_client


def assert_no_secret(error: BaseException | None) -> None:
    """Neither in its words nor in anything chained to it: the library's own errors carry the Authorization header."""
    while error is not None:
        assert not isinstance(error, midtransclient.error_midtrans.MidtransAPIError | aiohttp.ClientError)
        seen = f"{error!r} {vars(error)}"
        assert "secret" not in seen
        assert "Basic" not in seen
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
