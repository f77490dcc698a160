"""Reads a form with bracketed keys, `line_items[0][price_data][currency]=idr`, into nested values."""

import re
from collections.abc import Sequence
from typing import cast
from urllib.parse import parse_qsl

from .api_errors import ApiRefusal, parameter_error
from .limits import FORM_DEPTH_MAX, FORM_FIELDS_MAX

Tree = dict[str, "str | Tree"]
Value = str | list["Value"] | dict[str, "Value"]
Fields = dict[str, Value]

_KEY = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_PART = re.compile(r"\[([^\[\]]*)\]")
_INDEX = re.compile(r"[0-9]{1,4}")
# Keys here are the merchant's own, so that {"0": "x"} is no list.
_FREE_KEYS = frozenset({"metadata"})


def read_form(text: str) -> Fields:
    """Return the fields of a form or a query.

    **Errors**: `ApiRefusal` for a form that cannot be read, is too large, or says one thing twice.
    """
    try:
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text), max_num_fields=FORM_FIELDS_MAX)
    except ValueError as error:
        raise ApiRefusal.invalid("Invalid request: the body is not a form of bracketed keys.") from error
    tree: Tree = {}
    for key, value in pairs:
        _put(tree, _path(key), value, key)
    return cast("Fields", {name: _settled(name, value) for name, value in tree.items()})


def _path(key: str) -> list[str]:
    """Return the steps of a key; an empty pair of brackets counts upwards."""
    written = _KEY.fullmatch(key)
    if written is None:
        raise ApiRefusal.invalid(f"Invalid request: cannot read the parameter name {key[:100]!r}.")
    path = [written[1], *_PART.findall(written[2])]
    if len(path) > FORM_DEPTH_MAX:
        raise ApiRefusal.invalid(f"Invalid request: {key[:100]!r} is nested too deep.")
    return path


def _put(tree: Tree, path: Sequence[str], value: str, key: str) -> None:
    here = tree
    for step in path[:-1]:
        inner = here.setdefault(step, {})
        if isinstance(inner, str):
            raise parameter_error(key, f"Invalid request: {key[:100]!r} is both a value and a hash.")
        here = inner
    last = path[-1] or str(len(here))
    if last in here:
        raise parameter_error(key, f"Invalid request: {key[:100]!r} is given twice.")
    here[last] = value


def _settled(name: str, value: str | Tree) -> Value:
    """Turn {"0": a, "1": b} into a list, in the order of the numbers."""
    if isinstance(value, str):
        return value
    free = name in _FREE_KEYS
    if not free and value and all(_INDEX.fullmatch(key) for key in value):
        return [_settled("", value[key]) for key in sorted(value, key=int)]
    return {key: _settled("" if free else key, inner) for key, inner in value.items()}
