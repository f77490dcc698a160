"""Authenticity of a notification, in constant time.

`signature_key` is the lower-case hex SHA-512 of order id + status code + gross amount + server key, without separators.
It covers neither `transaction_status` nor anything else, and it is replayable for ever: a genuine notification is a
hint, never a proof (midtrans.md section 5).
Because nothing separates the parts, a shifted digit verifies too: `200` + `150000.00` and `2001` + `50000.00` are the
same text. So the code must be exactly three digits, the amount must look like one, and our order ids end in a letter.
"""

import hmac
import re
from collections.abc import Iterable
from hashlib import sha512

__all__ = ["is_signed", "signature_of"]

_STATUS_CODE = re.compile(r"[1-9][0-9]{2}", re.ASCII)
_GROSS_AMOUNT = re.compile(r"(0|[1-9][0-9]{0,14})(\.[0-9]{1,2})?", re.ASCII)


def signature_of(order_id: str, status_code: str, gross_amount: str, server_key: str) -> str:
    """The signature Midtrans puts on a notification with these raw strings."""
    return sha512(f"{order_id}{status_code}{gross_amount}{server_key}".encode()).hexdigest()


def is_signed(order_id: str, status_code: str, gross_amount: str, signature: str, keys: Iterable[str]) -> bool:
    """Whether one of the keys made this signature; every key is tried, so time tells nothing."""
    if not _STATUS_CODE.fullmatch(status_code) or not _GROSS_AMOUNT.fullmatch(gross_amount):
        return False
    try:
        f"{order_id}{status_code}{gross_amount}".encode()
    except UnicodeEncodeError:  # half a character: JSON can say it, nobody can have signed it
        return False
    given = signature.encode("utf-8", "surrogatepass")
    matches = [
        hmac.compare_digest(signature_of(order_id, status_code, gross_amount, key).encode(), given) for key in keys
    ]
    return any(matches)
