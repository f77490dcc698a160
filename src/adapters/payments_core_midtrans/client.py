"""`midtransclient`, made safe to call: bounded in time and size, pooled, without redirects, and without blocking.

What it does by itself, and what is done about it here (midtrans.md section 8): it has no time-out and opens a
connection per call, so its HTTP client is replaced; it follows redirects and reads any amount, so ours does not; it
puts ids into paths unquoted, so they are quoted before; its exceptions carry the Authorization header and the whole
answer, so nothing of them is chained or kept; it blocks, so it runs behind a bridge (`bridge.py`).
"""

import asyncio
import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import aiohttp
import attrs
import midtransclient
import midtransclient.error_midtrans
from yarl import URL

from payments_core.errors import GatewayTimeout, GatewayUnavailable
from payments_core_midtrans.bridge import run_bridged, wait_for
from payments_core_midtrans.settings import MidtransSettings

__all__ = ["ApiRefusal", "MidtransClient"]

_ANSWER_BYTES_MAX = 1024 * 1024
"""Real answers have a few kB; more is somebody else's page."""
_CONNECT_S_MAX = 3.05
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class ApiRefusal(Exception):
    """Midtrans answered with an error of its own.

    Shape: `code` is the body's `status_code`, which comes inside HTTP 200 too, else the HTTP status; `messages` are its
    words, without secrets.
    """

    def __init__(self, code: int, messages: tuple[str, ...]) -> None:
        super().__init__(f"{code}: {'; '.join(messages)}")
        self.code = code
        self.messages = messages


@attrs.frozen
class _HttpAnswer:
    """What `midtransclient` needs of a response, and nothing that could leak: no request, no headers."""

    status_code: int
    body: bytes = attrs.field(repr=False)

    @property
    def text(self) -> str:
        return f"{len(self.body)} bytes"

    def json(self) -> Any:
        answer = json.loads(self.body)
        if not isinstance(answer, dict):
            raise json.JSONDecodeError("not a JSON object", "", 0)
        return answer


class _BoundedHttp:
    """Stands in for the `requests` module inside `midtransclient`."""

    def __init__(self, timeout: timedelta, connections: int) -> None:
        self._timeout = aiohttp.ClientTimeout(
            total=timeout.total_seconds(), connect=None, sock_connect=min(_CONNECT_S_MAX, timeout.total_seconds())
        )
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def request(self, method: str, url: str, **given: Any) -> _HttpAnswer:
        return wait_for(self._request(method, url, given))

    async def _request(self, method: str, url: str, given: Mapping[str, Any]) -> _HttpAnswer:
        credentials = f"{given['auth'].username}:{given['auth'].password}".encode()
        headers = {**given["headers"], "Authorization": f"Basic {b64encode(credentials).decode()}"}
        session = self._session_here()
        async with session.request(
            method,
            URL(url, encoded=True),
            params=given.get("params") or None,
            data=given.get("data"),
            headers=headers,
            allow_redirects=False,
            timeout=self._timeout,
        ) as response:
            if response.status in _REDIRECTS:
                raise GatewayUnavailable("the answer is a redirect")
            return _HttpAnswer(response.status, await _bounded(response.content))

    def _session_here(self) -> aiohttp.ClientSession:
        """A session belongs to its event loop; a program that runs several, one after the other, gets one for each."""
        running = asyncio.get_running_loop()
        if self._session is None or self._loop is not running:
            connector = aiohttp.TCPConnector(limit=self._connections, limit_per_host=self._connections)
            # No cookies: calls share no state. No environment: a ~/.netrc must not replace our key.
            self._session = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
            )
            self._loop = running
        return self._session

    async def close(self) -> None:
        if self._session is not None and self._loop is asyncio.get_running_loop():
            await self._session.close()
        self._session = None


async def _bounded(content: aiohttp.StreamReader) -> bytes:
    """The whole body, however it drips; the session's total time-out ends it."""
    body = bytearray()
    async for chunk in content.iter_any():
        body += chunk
        if len(body) > _ANSWER_BYTES_MAX:
            raise GatewayUnavailable(f"the answer is longer than {_ANSWER_BYTES_MAX} bytes")
    return bytes(body)


class MidtransClient:
    """The calls we make, as coroutines; each ends within the time-out.

    Errors, all methods: ApiRefusal, GatewayUnavailable, GatewayTimeout.
    """

    def __init__(self, settings: MidtransSettings) -> None:
        self._timeout = settings.timeout
        self._http = _BoundedHttp(settings.timeout, settings.threads)
        self._snap = self._configured(midtransclient.Snap, settings)
        self._core = self._configured(midtransclient.CoreApi, settings)

    def _configured(self, kind: Callable[..., Any], settings: MidtransSettings) -> Any:
        """Its own header and proxy dicts: the library's default dict is one object shared by all clients."""
        client = kind(settings.is_production, settings.server_key, "", {}, {})
        config = client.api_config
        config.CORE_SANDBOX_BASE_URL = config.CORE_PRODUCTION_BASE_URL = settings.api_base
        config.SNAP_SANDBOX_BASE_URL = config.SNAP_PRODUCTION_BASE_URL = settings.snap_base
        client.http_client.http_client = self._http
        return client

    async def create_page(self, request: str) -> dict[str, Any]:
        """Snap's answer to this body."""
        return await self._call(lambda: self._snap.create_transaction(json.loads(request)))

    async def cancel_page(self, token: str) -> dict[str, Any]:
        """Snap's answer to ending this page; the library has no method for it, but its client can say it."""
        config = self._snap.api_config
        url = f"{config.get_snap_base_url()}/transactions/{quote(token, safe='')}/cancel"
        return await self._call(lambda: self._snap.http_client.request("post", config.server_key, url, {}, {}, {})[0])

    async def status(self, reference: str) -> dict[str, Any]:
        """The status of a transaction id or an order id."""
        return await self._call(lambda: self._core.transactions.status(quote(reference, safe="")))

    async def cancel(self, reference: str) -> dict[str, Any]:
        """The answer to cancelling a transaction."""
        return await self._call(lambda: self._core.transactions.cancel(quote(reference, safe="")))

    async def capture(self, body: dict[str, Any]) -> dict[str, Any]:
        """The answer to taking held money."""
        return await self._call(lambda: self._core.capture(body))

    async def approve(self, reference: str) -> dict[str, Any]:
        """The answer to letting a challenged transaction through."""
        return await self._call(lambda: self._core.transactions.approve(quote(reference, safe="")))

    async def deny(self, reference: str) -> dict[str, Any]:
        """The answer to refusing a challenged transaction."""
        return await self._call(lambda: self._core.transactions.deny(quote(reference, safe="")))

    async def refund(self, reference: str, body: dict[str, Any]) -> dict[str, Any]:
        """The answer to giving money back."""
        return await self._call(lambda: self._core.transactions.refund(quote(reference, safe=""), body))

    async def _call(self, call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The time-out covers waiting for a connection too; a call that has none by then never begins."""
        try:
            async with asyncio.timeout(self._timeout.total_seconds()):
                return await run_bridged(lambda: _translated(call))
        except TimeoutError:
            raise GatewayTimeout("Midtrans did not answer in time") from None

    async def close(self) -> None:
        """Connections are given back."""
        await self._http.close()


def _translated(call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The answer, or one of our errors with nothing of the library's behind it (`from None`: see the module)."""
    try:
        return call()
    except midtransclient.error_midtrans.MidtransAPIError as error:
        raise _refusal(error) from None
    except TimeoutError:
        raise GatewayTimeout("Midtrans did not answer in time") from None
    except aiohttp.ClientError as error:
        raise GatewayUnavailable(f"Midtrans could not be reached: {type(error).__name__}") from None
    except (midtransclient.error_midtrans.JSONDecodeError, AttributeError, TypeError, ValueError, RecursionError):
        # JSON that is odd (a list, a null or a word for status_code) breaks the library in these ways.
        raise GatewayUnavailable("Midtrans answered with something that is not its protocol") from None


def _refusal(error: Any) -> ApiRefusal | GatewayUnavailable:
    answer = error.api_response_dict or {}
    try:
        code = int(answer.get("status_code") or error.http_status_code)
    except (TypeError, ValueError):
        return GatewayUnavailable("Midtrans answered with something that is not its protocol")
    said = answer.get("error_messages") or answer.get("validation_messages") or [answer.get("status_message") or ""]
    messages = (
        tuple(str(message)[:200] for message in said if message) if isinstance(said, list) else (str(said)[:200],)
    )
    return ApiRefusal(code, messages)
