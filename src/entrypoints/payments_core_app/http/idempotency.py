"""`Idempotency-Key`: the same request again gets the same answer, another one under its key is refused.

Source: draft-ietf-httpapi-idempotency-key-header; guarantees C1 to C8 of this project.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256
from typing import Annotated, Any

import msgspec
import structlog
from litestar import Response
from litestar.params import HeaderParameter

from payments_core.errors import Conflict, InvalidInput, StorageError
from payments_core.ports import Clock
from payments_core_app.http.auth import caller_of
from payments_core_app.http.order_input import ORDER_ID
from payments_core_app.http.requests import Call
from payments_core_sqlalchemy.idempotency import Answered, Begun, OtherRequest, RequestKey, SqlIdempotency, UnderWay

__all__ = ["Idempotency", "Key", "asked_as"]

log = structlog.get_logger(__name__)

_KEY = re.compile(r"[\x21-\x7e]{1,255}")
"""Visible ASCII: a header cannot carry more safely."""

Key = Annotated[str | None, HeaderParameter(name="Idempotency-Key", description="1 to 255 visible ASCII characters")]
Work = Callable[[], Awaitable[Response[Any]]]


class Idempotency:
    """Carries a request out once for each key of each caller."""

    def __init__(self, keys: SqlIdempotency, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock

    async def __call__(
        self, request: Call, key: str | None, about: str, body: object, work: Work, *, required: bool = False
    ) -> Response[Any]:
        """The answer of `work`, or the one it gave before under the same key.

        Only a success is kept: after an error the same key may be sent again, and what had an effect is found by it.
        Errors: InvalidInput `idempotency_key_missing`, `idempotency_key_reused`; Conflict `idempotency_in_progress`.
        """
        if key is None:
            if required:
                raise InvalidInput("this route takes an Idempotency-Key", code="idempotency_key_missing")
            return await work()
        if not _KEY.fullmatch(key):
            raise InvalidInput("an Idempotency-Key has 1 to 255 visible ASCII characters", code="invalid_request")
        if not ORDER_ID.fullmatch(about):
            return await work()  # nothing is named so: the work says it, and does nothing that could be done twice
        slot = RequestKey(about, caller_of(request).actor, _route(request), key)
        match await self._keys.begin(slot, _fingerprint(request.path_params, body), self._clock.now()):
            case Answered(status, stored):
                headers = {"Idempotency-Replayed": "true"}
                return Response(stored, status_code=status, media_type="application/json", headers=headers)
            case UnderWay():
                raise Conflict("the same request is under way", code="idempotency_in_progress", retryable=True)
            case OtherRequest():
                raise InvalidInput("this key was used for another request", code="idempotency_key_reused")
            case Begun():
                return await self._carry_out(slot, work)

    async def _carry_out(self, slot: RequestKey, work: Work) -> Response[Any]:
        try:
            answer = await work()
        except BaseException:  # also a caller that went away: the key is free for whoever sends it again
            await self._release(slot)
            raise
        await self._keys.finish(slot, answer.status_code or 200, msgspec.json.encode(answer.content))
        return answer

    async def _release(self, slot: RequestKey) -> None:
        try:
            await self._keys.release(slot)
        except StorageError as error:
            log.warning("idempotency.not_released", why=error.code)  # its lease ends


def asked_as(request: Call, key: str | None, about: str) -> str | None:
    """The digest under which what a request made is found again; None without a key."""
    if key is None:
        return None
    return sha256("\n".join((about, caller_of(request).actor, _route(request), key)).encode()).hexdigest()


def _route(request: Call) -> str:
    return f"{request.method} {request.scope.get('path_template', request.url.path)}"


def _fingerprint(path: Mapping[str, Any], body: object) -> str:
    """The same for bodies that mean the same: neither blanks nor the order of keys count."""
    said = {"path": {name: str(value) for name, value in path.items()}, "body": msgspec.to_builtins(body)}
    return sha256(msgspec.json.encode(said, order="sorted")).hexdigest()
