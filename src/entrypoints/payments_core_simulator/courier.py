"""Carries one notification to one URL, once, as a gateway's sender does."""

import asyncio
from collections.abc import Mapping
from urllib.parse import urljoin

import httpx

from .limits import DELIVERIES_IN_FLIGHT_MAX
from .retries import TIMEOUT, UNREACHABLE, Answer, RetryTable


class Courier:
    """Sends, one connection for each request."""

    def __init__(self, retries: RetryTable) -> None:
        self._retries = retries
        self._client = httpx.AsyncClient(
            headers={"Content-Type": "application/json"},
            follow_redirects=False,
            # A proxy of the machine must not see, or break, what goes to a receiver beside us.
            trust_env=False,
            timeout=None,  # noqa: S113 - `post` bounds the whole exchange, which httpx cannot
            # No connection is used twice: a receiver that restarts would cost a delivery one of its few retries.
            limits=httpx.Limits(max_connections=DELIVERIES_IN_FLIGHT_MAX, max_keepalive_connections=0),
        )

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], timeout_s: float) -> Answer:
        """Return what the receiver said to one attempt, redirects the gateway follows followed."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._follow(url, body, headers)
        except TimeoutError:
            return TIMEOUT
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError):
            return UNREACHABLE

    async def _follow(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        status = 0
        for _ in range(1 + self._retries.redirect_hops_max):
            status, location = await self._exchange(url, body, headers)
            if status not in self._retries.followed or not location:
                break
            url = urljoin(url, location)
        return status

    async def _exchange(self, url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, str]:
        async with self._client.stream("POST", url, content=body, headers=dict(headers)) as response:
            # The status decides; a body, however long, is left unread.
            return response.status_code, response.headers.get("location", "")

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()
