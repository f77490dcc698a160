"""The bytes of a notification, read as strictly as a signed thing deserves."""

import json
from collections.abc import Sequence
from typing import Any, NoReturn

from payments_core.errors import MalformedNotification, NotAuthentic
from payments_core.limits import NESTING_MAX

__all__ = ["Fields", "read_fields"]

Fields = dict[str, Any]
"""A JSON object as a gateway sends it; every use checks the type of what it takes."""


def read_fields(body: bytes) -> Fields:
    """The JSON object these bytes are.

    Errors: MalformedNotification when they are not one, or nest too deep; NotAuthentic when a key stands twice, since
    two readers would then read two different messages under one signature.
    """
    _refuse_deep_nesting(body)
    try:
        fields = _DECODER.decode(body.decode())
    except (ValueError, RecursionError) as error:
        raise MalformedNotification("the body is not JSON") from error
    if not isinstance(fields, dict):
        raise MalformedNotification("the body is not a JSON object")
    return fields


def _without_repeats(pairs: Sequence[tuple[str, Any]]) -> Fields:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise NotAuthentic("a key stands twice in the body")
    return fields


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_without_repeats, parse_constant=_refuse_constant)


def _refuse_deep_nesting(body: bytes) -> None:
    """Counting brackets first keeps the parser from recursing; most bodies have too few to count."""
    if body.count(b"{") + body.count(b"[") <= NESTING_MAX:
        return
    depth, in_string, escaped = 0, False, False
    for byte in body:
        if in_string:
            in_string = escaped or byte != ord('"')
            escaped = not escaped and byte == ord("\\")
        elif byte == ord('"'):
            in_string = True
        elif byte in b"{[":
            depth += 1
            if depth > NESTING_MAX:
                raise MalformedNotification(f"the body nests deeper than {NESTING_MAX}")
        elif byte in b"}]":
            depth -= 1
