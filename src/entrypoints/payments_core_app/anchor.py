"""The anchor file: where every history ended at one moment, sealed; kept where a writer of the database cannot reach.

Shape: JSON lines. The first says the format and when; then `[payment_id, version, code]` for each payment; the last
holds the count and the seal over everything above it.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import TextIO

import attrs

from payments_core.chain import ChainKeys, Finding, FindingKind, canonical
from payments_core.identity import PAYMENT_ID
from payments_core_sqlalchemy import Head

__all__ = ["Anchor", "AnchorWriter"]

_FORMAT = "payments-anchor-1"
_VERSION_MAX = 2**31 - 1
"""What its column holds."""


class AnchorWriter:
    """Writes an anchor; what is not kept at the end is as if it had never been begun."""

    def __init__(self, file: TextIO, keys: ChainKeys, at: datetime) -> None:
        self._file, self._keys, self._count, self._sum, self._kept = file, keys, 0, sha256(), False
        self._line({"format": _FORMAT, "at": at})

    @classmethod
    @contextmanager
    def begun(cls, path: Path, keys: ChainKeys, at: datetime) -> Iterator["AnchorWriter"]:
        """Writes beside the path; an older file there is replaced at the end, or stays as it was."""
        unfinished = path.with_name(f"{path.name}.unfinished")
        try:
            with unfinished.open("w", encoding="ascii") as file:
                writer = cls(file, keys, at)
                yield writer
            if writer._kept:
                unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)

    def add(self, heads: Iterable[Head]) -> None:
        """Some more payments."""
        for head in heads:
            self._count += 1
            self._line([head.payment_id, head.version, head.chain])

    def keep(self) -> None:
        """Sealed: it is to be kept."""
        seal = self._keys.sign(_message(self._count, self._sum.hexdigest()))
        self._line({"payments": self._count, "key_id": self._keys.key_id, "seal": seal})
        self._kept = True

    def _line(self, value: object) -> None:
        line = f"{canonical(value)}\n"
        self._sum.update(line.encode())
        self._file.write(line)


@attrs.define
class Anchor:
    """Reads an anchor file; `findings` are complete when `heads` has come to its end."""

    path: Path
    keys: ChainKeys
    findings: list[Finding] = attrs.field(factory=list)

    def heads(self) -> Iterator[Head]:
        """Every payment the anchor knows; a line that is none ends it with a finding."""
        digest, count, last = sha256(), 0, b""
        try:
            with self.path.open("rb") as file:
                header = next(file, b"")
                digest.update(header)
                for line in file:
                    if line.startswith(b"{"):
                        last = line
                        break
                    head = _head(line)
                    digest.update(line)
                    count += 1
                    yield head
            self._check_seal(json.loads(header), json.loads(last), _message(count, digest.hexdigest()))
        except (ValueError, TypeError, LookupError, RecursionError):
            self._find(FindingKind.ANCHOR, "the anchor file is cut, or is none")

    def _check_seal(self, header: dict[str, str], last: dict[str, str], message: list[str | int]) -> None:
        key_id = last["key_id"]
        if header["format"] != _FORMAT:
            self._find(FindingKind.ANCHOR, f"the anchor file has another format than {_FORMAT}")
        elif not self.keys.knows(key_id):
            self._find(FindingKind.UNKNOWN_KEY, f"the anchor is sealed with key {key_id}, not among ours")
        elif not self.keys.verifies(key_id, last["seal"], message):
            self._find(FindingKind.ANCHOR, "the anchor file was changed")
        elif self.keys.key_id and not key_id:
            self._find(FindingKind.UNKEYED, "the anchor was sealed without a key: anybody could have written it")

    def _find(self, kind: FindingKind, what: str) -> None:
        self.findings.append(Finding("", None, kind, what))


def _head(line: bytes) -> Head:
    """What this line says, if it is something that a database can be asked about.

    Errors: ValueError, TypeError, RecursionError: the seal is looked at last, so it may be anything until then.
    """
    payment_id, version, chain = json.loads(line)
    if not PAYMENT_ID.fullmatch(payment_id) or not 0 < version <= _VERSION_MAX:
        raise ValueError("no payment of ours, or no version of it")
    return Head(payment_id, int(version), str(chain))


def _message(count: int, digest: str) -> list[str | int]:
    return ["anchor", count, digest]
