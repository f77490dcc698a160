"""Carries one notification to one URL, once, as the gateway's sender does."""

import asyncio
from urllib.parse import urljoin

import httpx

from .limits import DELIVERIES_IN_FLIGHT_MAX, REDIRECT_HOPS_MAX
from .retry_table import FOLLOWED, TIMEOUT, UNREACHABLE, Answer

_HEADERS = {"Content-Type": "application/json", "User-Agent": "Veritrans"}


class Courier:
    """Sends, one connection for each request."""

    def __init__(self) -> None:
        self._client = httpx.AsyncClient(
            headers=_HEADERS,
            follow_redirects=False,
            # A proxy of the machine must not see, or break, what goes to a receiver beside us.
            trust_env=False,
            timeout=None,  # noqa: S113 - `post` bounds the whole exchange, which httpx cannot
            # No connection is used twice: a receiver that restarts would cost a delivery one of its few retries.
            limits=httpx.Limits(max_connections=DELIVERIES_IN_FLIGHT_MAX, max_keepalive_connections=0),
        )

    async def post(self, url: str, body: bytes, timeout_s: float) -> Answer:
        """Return what the receiver said to one attempt, redirects 307 and 308 followed."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._follow(url, body)
        except TimeoutError:
            return TIMEOUT
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError):
            return UNREACHABLE

    async def _follow(self, url: str, body: bytes) -> Answer:
        status = 0
        for _ in range(1 + REDIRECT_HOPS_MAX):
            status, location = await self._exchange(url, body)
            if status not in FOLLOWED or not location:
                break
            url = urljoin(url, location)
        return status

    async def _exchange(self, url: str, body: bytes) -> tuple[int, str]:
        async with self._client.stream("POST", url, content=body) as response:
            # The status decides; a body, however long, is left unread.
            return response.status_code, response.headers.get("location", "")

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()
