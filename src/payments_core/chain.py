"""A chain of entries, one a save of a payment, that nobody without the key can change unnoticed.

Each entry holds the digest of its body and a code over that digest, its place, and the code of the entry before it.
The body stands beside the chain: it may be erased, and the chain still holds.
With a key the code is an HMAC; without one it is a plain hash, which finds accidents, and nobody who recomputes it.
"""

import hmac
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from enum import Enum
from hashlib import sha256
from itertools import pairwise
from typing import Any

import attrs

__all__ = ["ChainKeys", "Entry", "Finding", "FindingKind", "canonical", "check_chain"]


class FindingKind(Enum):
    """What can be wrong with a history; the words are stable, and printed by `payments verify`."""

    CHAIN = "chain"
    """An entry does not follow from the one before it: changed, moved, put in, or signed by nobody."""
    BODY = "body"
    """A body is not the one its digest was taken of."""
    UNKNOWN_KEY = "unknown_key"
    """Signed with a key we were not given."""
    UNKEYED = "unkeyed"
    """Chained without a key, from before there was one."""
    GAP = "gap"
    """A version was stored without an entry."""
    ERASED = "erased"
    """A body is gone, so that what it said cannot be compared."""
    EVENTS = "events"
    """The published events are not those of the history."""
    DIFFERS = "differs"
    """The stored payment is not the one rebuilt from its history."""
    MISSING = "missing"
    """There is a history, and no payment."""
    UNREADABLE = "unreadable"
    """A row does not hold what its type says."""
    REMOVED = "removed"
    """The anchor knows the payment; the database does not."""
    REWRITTEN = "rewritten"
    """The anchor saw another entry in this place, or the history ends before it."""
    ANCHOR = "anchor"
    """The anchor file itself was changed or cut."""


@attrs.frozen
class Finding:
    """One thing that is wrong; `version` is None when it is about the payment as a whole."""

    payment_id: str
    version: int | None
    kind: FindingKind
    what: str


@attrs.frozen
class Entry:
    """One link: the payment's `version`, what changed (`body`, None once erased), and the code that seals it.

    Shape: `key_id` names the key, empty without one; digest and chain are 64 hex digits.
    """

    payment_id: str
    version: int
    key_id: str
    body: str | None
    body_digest: str
    chain: str


@attrs.frozen
class ChainKeys:
    """The first key signs, every key is recognised; without any, codes are plain hashes."""

    keys: tuple[str, ...] = attrs.field(default=(), repr=False)
    _by_id: dict[str, bytes] = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_by_id", {_key_id(key.encode()): key.encode() for key in self.keys})

    @property
    def key_id(self) -> str:
        """The name of the key that signs, empty when there is none."""
        return next(iter(self._by_id), "")

    def sign(self, message: Any) -> str:  # noqa: ANN401 - anything JSON can say
        """The code of this message under the key that signs."""
        return self._code(self.key_id, message)

    def knows(self, key_id: str) -> bool:
        """Whether codes under this key can be checked."""
        return key_id == "" or key_id in self._by_id

    def verifies(self, key_id: str, code: str, message: Any) -> bool:  # noqa: ANN401 - anything JSON can say
        """Whether the code is that of this message under this key."""
        return self.knows(key_id) and hmac.compare_digest(self._code(key_id, message).encode(), code.encode())

    def entry(self, previous: str, payment_id: str, version: int, body: str) -> Entry:
        """The next entry after the one whose code is `previous` (empty for the first)."""
        digest = _digest(body)
        chain = self.sign(_message(previous, payment_id, version, self.key_id, digest))
        return Entry(payment_id, version, self.key_id, body, digest, chain)

    def _code(self, key_id: str, message: Any) -> str:  # noqa: ANN401 - anything JSON can say
        said = canonical(message).encode()
        return hmac.digest(self._by_id[key_id], said, "sha256").hex() if key_id else sha256(said).hexdigest()


def canonical(value: Any) -> str:  # noqa: ANN401 - anything JSON can say, and moments
    """The one spelling of this value as JSON: ASCII, names sorted, no blanks, moments in UTC with microseconds."""
    return _ENCODER.encode(value)


def check_chain(payment_id: str, entries: Sequence[Entry], keys: ChainKeys) -> Iterator[Finding]:
    """What is wrong with one payment's entries, given in the order of their versions."""
    before: list[Entry | None] = [None, *entries]
    for previous, entry in pairwise(before):
        if entry is not None:
            yield from _check_entry(payment_id, previous, entry, keys)


def _check_entry(payment_id: str, previous: Entry | None, entry: Entry, keys: ChainKeys) -> Iterator[Finding]:
    version = entry.version
    follows = previous is not None and previous.version == version - 1
    message = _message(
        previous.chain if previous and follows else "", entry.payment_id, version, entry.key_id, entry.body_digest
    )
    if version != 1 and not follows:
        missing = f"{previous.version if previous else 0} and {version}"
        yield Finding(payment_id, version, FindingKind.GAP, f"no entry for what was stored between versions {missing}")
    if not keys.knows(entry.key_id):
        yield Finding(payment_id, version, FindingKind.UNKNOWN_KEY, f"signed with key {entry.key_id}, not among ours")
    elif not keys.verifies(entry.key_id, entry.chain, message):
        yield Finding(payment_id, version, FindingKind.CHAIN, "does not follow from the entry before it")
    if keys.key_id and not entry.key_id:
        yield from _without_key(payment_id, previous, version)
    if entry.body is None:
        yield Finding(payment_id, version, FindingKind.ERASED, "the body was erased")
    elif _digest(entry.body) != entry.body_digest:
        yield Finding(payment_id, version, FindingKind.BODY, "the body is not the one that was signed")


def _without_key(payment_id: str, previous: Entry | None, version: int) -> Iterator[Finding]:
    """From before there was a key it may be honest; after a signed entry it cannot be. Said once a payment."""
    if previous is None:
        yield Finding(payment_id, version, FindingKind.UNKEYED, "chained without a key: anybody could have written it")
    elif previous.key_id:
        yield Finding(payment_id, version, FindingKind.CHAIN, "not signed, although the entry before it is")


def _message(previous: str, payment_id: str, version: int, key_id: str, body_digest: str) -> list[str | int]:
    return ["entry", previous, payment_id, version, key_id, body_digest]


def _key_id(key: bytes) -> str:
    """A name that says which key without saying the key."""
    return hmac.new(key, b"payments history key id", sha256).hexdigest()[:8]


def _digest(body: str) -> str:
    return sha256(body.encode("utf-8", "surrogatepass")).hexdigest()


def _moment(value: object) -> str:
    if isinstance(value, datetime):
        return (value if value.tzinfo is UTC else value.astimezone(UTC)).isoformat(timespec="microseconds")
    raise TypeError(f"JSON cannot say {type(value).__name__}")


_ENCODER = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), allow_nan=False, check_circular=False, default=_moment
)
