"""Authenticity of an event: who signed these bytes, and when.

The comparison is the SDK's own, in constant time. What it leaves out is done here: it accepts timestamps of any future,
takes one secret a call, and breaks on bytes that are not text (stripe.md section 5).
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from stripe import SignatureVerificationError, WebhookSignature

__all__ = ["TOLERANCE", "is_signed"]

TOLERANCE = timedelta(seconds=300)
"""How old a signature may be, and how far ahead of our clock: the same both ways."""
_TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)


def is_signed(body: bytes, header: str, secrets: Sequence[str], now: datetime) -> bool:
    """Whether one of the secrets signed these bytes within the tolerance; every one is tried, so time tells nothing."""
    timestamp = _timestamp(header)
    if timestamp is None or abs(int(now.timestamp()) - timestamp) > TOLERANCE.total_seconds():
        return False
    matches = [_is_signed_with(secret, body, header) for secret in secrets]
    return any(matches)


def _timestamp(header: str) -> int | None:
    """The one time in the header; two of them could be read as either."""
    given = [part.partition("=")[2] for part in header.split(",") if part.partition("=")[0] == "t"]
    if len(given) != 1 or not _TIMESTAMP.fullmatch(given[0]) or not header.isascii():
        return None
    return int(given[0])


def _is_signed_with(secret: str, body: bytes, header: str) -> bool:
    try:
        WebhookSignature.verify_header(body, header, secret)  # without its tolerance: ours was checked, both ways
    except (SignatureVerificationError, UnicodeDecodeError):
        return False
    return True
