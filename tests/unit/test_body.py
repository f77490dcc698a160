"""Bytes of a notification are read as strictly as a signed thing deserves: one reading, or none."""

import pytest

from payments_core.body import read_fields
from payments_core.errors import MalformedNotification, NotAuthentic
from payments_core.limits import NESTING_MAX


def test_an_object_is_read_as_it_stands() -> None:
    assert read_fields('{"order_id": "o", "n": 1, "more": {"a": [1, null]}, "näme": "é"}'.encode()) == {
        "order_id": "o",
        "n": 1,
        "more": {"a": [1, None]},
        "näme": "é",
    }


@pytest.mark.parametrize("body", [b"", b"nonsense", b'{"a": 1} x', b'{"a": 1,}', b"\xff{}", b'{"a": "\xff"}'])
def test_what_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedNotification, match="not JSON"):
        read_fields(body)


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"1", b"null", b"true"])
def test_json_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedNotification, match="not a JSON object"):
        read_fields(body)


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_json_does_not_have_are_refused(word: str) -> None:
    with pytest.raises(MalformedNotification):
        read_fields(f'{{"gross_amount": {word}}}'.encode())


@pytest.mark.parametrize(
    "body", [b'{"a": 1, "a": 1}', b'{"b": {"a": 1, "c": 2, "a": 3}}', b'{"b": [{"a": 1, "a": 2}]}']
)
def test_a_key_that_stands_twice_is_not_authentic(body: bytes) -> None:
    """Two readers would read two messages under one signature."""
    with pytest.raises(NotAuthentic):
        read_fields(body)


def test_the_same_key_in_two_objects_is_no_repetition() -> None:
    assert read_fields(b'{"a": {"x": 1}, "b": {"x": 2}}') == {"a": {"x": 1}, "b": {"x": 2}}


@pytest.mark.parametrize(("opens", "closes"), [("[", "]"), ('{"a":', "}")])
def test_a_body_nests_so_deep_and_no_deeper(opens: str, closes: str) -> None:
    """The object itself is the first level."""
    beside = '"b": {}, "c": [[]]'
    bodies = [f'{{{beside}, "a": {opens * depth}{{}}{closes * depth}}}' for depth in (NESTING_MAX - 2, NESTING_MAX - 1)]
    assert read_fields(bodies[0].encode())
    with pytest.raises(MalformedNotification, match="deeper"):
        read_fields(bodies[1].encode())


def test_a_hostile_depth_is_refused_before_anything_is_parsed() -> None:
    with pytest.raises(MalformedNotification, match="deeper"):
        read_fields(b'{"a": ' + b"[" * 100_000)


def test_what_was_closed_on_the_way_down_does_not_hide_the_depth() -> None:
    body = b'{"a": ' + b"[[], " * NESTING_MAX + b"1" + b"]" * NESTING_MAX + b"}"
    with pytest.raises(MalformedNotification, match="deeper"):
        read_fields(body)


def test_many_brackets_beside_each_other_are_not_deep() -> None:
    body = b'{"a": [' + b", ".join([b'{"b": [1]}'] * NESTING_MAX) + b"]}"
    assert len(read_fields(body)["a"]) == NESTING_MAX


@pytest.mark.parametrize(
    "text", ["[" * 99, "{" * 99, "]" * 99 + "[" * 99, '\\"' + "[" * 99, "\\\\\\\\", '[\\\\\\"[' + "{" * 99]
)
def test_brackets_in_a_text_are_not_nesting(text: str) -> None:
    body = f'{{"note": "{text}", "more": [{", ".join(["[]"] * NESTING_MAX)}]}}'.encode()
    assert len(read_fields(body)["more"]) == NESTING_MAX


def test_an_empty_text_hides_nothing_behind_it() -> None:
    with pytest.raises(MalformedNotification, match="deeper"):
        read_fields(b'{"": ' + b"[" * NESTING_MAX + b"]" * NESTING_MAX + b"}")


def test_a_text_that_ends_in_a_backslash_ends() -> None:
    """An escaped backslash does not escape the quote behind it."""
    body = b'{"note": "\\\\", "deep": ' + b"[" * NESTING_MAX + b"]" * NESTING_MAX + b"}"
    with pytest.raises(MalformedNotification, match="deeper"):
        read_fields(body)
