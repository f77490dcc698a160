"""The first answer to a key is the answer to it: given again for a day, refused for anything else."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import attrs

from payments_core_simulator.replies import Reply

from .api_errors import ApiRefusal
from .limits import IDEMPOTENCY_KEY_CHARS_MAX, IDEMPOTENCY_KEYS_MAX, IDEMPOTENCY_LIFE

_KIND = "idempotency_error"


@attrs.frozen
class Kept:
    """An answer that is given again."""

    fingerprint: str
    reply: Reply
    at: datetime
    request_id: str


def fingerprint(path: str, body: bytes) -> str:
    """Return what a repeat must have in common with the first request."""
    return hashlib.sha256(path.encode() + b"\n" + body).hexdigest()


class IdempotencyKeys:
    """What was answered under which key. It holds a bounded number; the oldest are forgotten first."""

    def __init__(self) -> None:
        self._kept: dict[str, Kept] = {}
        self._busy: set[str] = set()

    def clear(self) -> None:
        """Forget every answer, and who is under way: a request that still hangs holds no key of the next world."""
        self._kept.clear()
        self._busy = set()

    @contextmanager
    def occupied(self, key: str) -> Iterator[None]:
        """Hold the key while its request is under way.

        **Errors**: `ApiRefusal` 400 for a key that is too long, 409 while a twin is under way.
        """
        if len(key) > IDEMPOTENCY_KEY_CHARS_MAX:
            raise ApiRefusal.invalid(f"The idempotency key is longer than {IDEMPOTENCY_KEY_CHARS_MAX} characters.")
        if key in self._busy:
            raise ApiRefusal(
                "There is currently another in-progress request using this Idempotent Key (that probably means you "
                f"submitted twice, and the other request is still going through): {key}. Please try again later.",
                http_status=409,
                kind=_KIND,
                code="idempotency_key_in_use",
                validation=True,
            )
        busy = self._busy
        busy.add(key)
        try:
            yield
        finally:
            busy.discard(key)

    def let_go(self, key: str) -> None:
        """No request is under way for this key."""
        self._busy.discard(key)

    def recall(self, key: str, what: str, now: datetime) -> Kept | None:
        """Return the answer kept under this key, or None for a new one.

        **Errors**: `ApiRefusal` when the key was used for something else.
        """
        kept = self._kept.get(key)
        if kept is None or now - kept.at > IDEMPOTENCY_LIFE:
            return None
        if kept.fingerprint != what:
            raise ApiRefusal(
                "Keys for idempotent requests can only be used with the same parameters they were first used with. "
                f"Try using a key other than '{key}' if you meant to execute a different request.",
                kind=_KIND,
                validation=True,
            )
        return kept

    def keep(self, key: str, kept: Kept) -> None:
        """Keep the first answer."""
        self._kept.pop(key, None)
        self._kept[key] = kept
        if len(self._kept) > IDEMPOTENCY_KEYS_MAX:
            del self._kept[next(iter(self._kept))]
