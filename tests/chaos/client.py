"""A caller as real ones are: it tries again, under the same Idempotency-Key, until it is told something definite."""

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import attrs
import httpx

from chaos.system import System

_ANSWER_S = 20.0
_PAUSE_FIRST_S, _PAUSE_MAX_S = 0.1, 2.0
_AGAIN = frozenset({429, 502, 503, 504})
_BUG = 500


class GaveUpError(Exception):
    """No definite answer within the caller's patience; what happened is for the ledger to say."""


@attrs.define
class Client:
    """Calls the API processes in turn, and the simulator's buyer."""

    system: System
    chance: random.Random
    http: httpx.AsyncClient
    counts: Counter[str] = attrs.field(factory=Counter)
    bugs: list[str] = attrs.field(factory=list)
    _turn: "itertools.count[int]" = attrs.field(factory=itertools.count)

    async def insist(
        self,
        method: str,
        path: str,
        *,
        as_: str,
        json: object = None,
        key: str | None = None,
        patience_s: float = 120.0,
    ) -> httpx.Response:
        """A success, or a refusal that another try would not change.

        Errors: GaveUpError.
        """
        headers = {"Authorization": f"Bearer {as_}", **({} if key is None else {"Idempotency-Key": key})}
        until, pause = time.monotonic() + patience_s, _PAUSE_FIRST_S
        while time.monotonic() < until:
            answer = await self._once(method, path, headers, json)
            if answer is not None and not self._is_worth_another(answer, method, path):
                return answer
            self.counts["retries"] += 1
            await asyncio.sleep(pause * self.chance.uniform(0.5, 1.5))
            pause = min(pause * 2, _PAUSE_MAX_S)
        raise GaveUpError(f"{method} {path}")

    async def _once(self, method: str, path: str, headers: Mapping[str, str], json: object) -> httpx.Response | None:
        ports = self.system.ports
        url = f"http://127.0.0.1:{ports[next(self._turn) % len(ports)]}{path}"
        self.counts["requests"] += 1
        try:
            return await self.http.request(method, url, headers=headers, json=json, timeout=_ANSWER_S)
        except httpx.TransportError as error:
            self.counts[f"no answer: {type(error).__name__}"] += 1
            return None

    def _is_worth_another(self, answer: httpx.Response, method: str, path: str) -> bool:
        status = answer.status_code
        if status == _BUG:
            self.bugs.append(f"{method} {path} was answered 500: {answer.text[:300]}")
        if status in _AGAIN or status == _BUG:
            self.counts[f"answer {status}"] += 1
            return True
        return status >= 400 and bool(answer.json().get("retryable"))

    async def simulator(
        self, lever: str, body: Mapping[str, object], gateway: str = "midtrans"
    ) -> dict[str, Any] | None:
        """What the gateway's page or dashboard says to this; None when it refuses, as a page that is closed does."""
        url = f"{self.system.simulators[gateway].url}/_sim/{lever}"
        answer = await self.http.post(url, json=dict(body), timeout=60)
        return dict(answer.json()) if answer.is_success else None
