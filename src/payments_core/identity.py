"""Names that carry their own address: payment ids, provider order ids, refund keys.

A provider order id holds its payment id, so a webhook finds its payment (and its shard) without a look-up.
It ends in a letter, because Midtrans' signature joins order id, status code and amount without separators: an id that
ended in digits could lend them to the code.
"""

import re

import attrs

__all__ = ["PAYMENT_ID", "Named", "make_payment_id", "provider_order_id", "read_provider_order_id", "refund_key"]

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32 in lower case: no i, l, o, u."""
_ID_LENGTH = 26
_TIME_BITS, _RANDOM_BITS = 48, 80
PAYMENT_ID = re.compile(rf"[0-7][{_ALPHABET}]{{25}}")
"""A payment id, whole."""
_PROVIDER_ORDER_ID = re.compile(rf"([0-7][{_ALPHABET}]{{25}})-([1-9][0-9]?)p")


@attrs.frozen
class Named:
    """What a provider order id says."""

    payment_id: str
    attempt: int


def make_payment_id(unix_ms: int, random_80_bits: int) -> str:
    """A time-ordered 128-bit id: 48 bits of milliseconds, 80 random ones; it cannot be guessed.

    Shape: 26 characters of lower-case Crockford base 32; ids sort by the time they were made.
    """
    if not (0 <= unix_ms < 1 << _TIME_BITS and 0 <= random_80_bits < 1 << _RANDOM_BITS):
        raise ValueError("48 bits of milliseconds and 80 random bits make an id")
    value = unix_ms << _RANDOM_BITS | random_80_bits
    return "".join(_ALPHABET[value >> shift & 31] for shift in range(5 * (_ID_LENGTH - 1), -1, -5))


def provider_order_id(payment_id: str, attempt: int) -> str:
    """The name under which a gateway knows an attempt: `{payment_id}-{number}p`, never reused."""
    return f"{payment_id}-{attempt}p"


def read_provider_order_id(text: str) -> Named | None:
    """The payment and attempt this id names, None when it is not one of ours."""
    match = _PROVIDER_ORDER_ID.fullmatch(text)
    return Named(match[1], int(match[2])) if match else None


def refund_key(payment_id: str, number: int) -> str:
    """The name under which a gateway knows one return of money, the same in every retry."""
    return f"{payment_id}-r{number}"
