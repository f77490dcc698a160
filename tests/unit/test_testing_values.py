"""The values of `payments_core.testing` leave no field out, also none that is added later."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import attrs
import pytest
from hypothesis import Phase, given, settings

from payments_core.payment import Payment
from payments_core.testing.full import KEPT, PARTS, bare, full_order, full_payment
from payments_core.testing.strategies import orders, payments

BEFORE, AFTER = full_payment(), full_payment(turn=1)
COUNTED = frozenset({"version", "events"})
"""By saves and by rows of history: a payment that was never saved has none."""


def parts_of(value: Any) -> Iterator[Any]:
    """The value, and every value it is made of."""
    yield value
    for field in attrs.fields(type(value)):
        held = getattr(value, field.name)
        for part in held if isinstance(held, tuple) else (held,):
            if attrs.has(type(part)):
                yield from parts_of(part)


@pytest.mark.parametrize("values", [payments(), orders()], ids=["payments", "orders"])
def test_no_field_of_a_generated_value_is_always_the_same(values: Any) -> None:
    """A mapping to rows that loses a field is found out only by values that differ in it."""
    seen = defaultdict[str, set[str]](set)

    @given(values)
    @settings(max_examples=200, phases=[Phase.generate], deadline=None, database=None, derandomize=True)
    def look(value: Any) -> None:
        for part in parts_of(value):
            for field in attrs.fields(type(part)):
                seen[f"{type(part).__name__}.{field.name}"].add(repr(getattr(part, field.name)))

    look()
    assert {name for name, shown in seen.items() if len(shown) < 2} == set()
    assert {name.partition(".")[0] for name in seen} >= {"Currency", "Money"}


@pytest.mark.parametrize("full", [BEFORE, AFTER, full_order()], ids=["a payment", "the payment changed", "an order"])
def test_no_part_of_a_full_value_is_missing(full: Any) -> None:
    """Whatever may be empty is not."""
    for part in parts_of(full):
        for field in attrs.fields(type(part)):
            assert getattr(part, field.name) not in (None, (), frozenset(), {}) or field.name == "payment_id", field


def test_no_field_of_a_full_payment_is_at_its_default() -> None:
    for part in parts_of(BEFORE):
        at_default = {f.name for f in attrs.fields(type(part)) if f.default == getattr(part, f.name)}
        assert at_default <= COUNTED


def test_every_field_that_may_change_does() -> None:
    for name in PARTS:
        for before, after in zip(getattr(BEFORE, name), getattr(AFTER, name), strict=False):
            assert changed(before, after) == {f.name for f in attrs.fields(type(before))} - KEPT[type(before)]
        assert len(getattr(AFTER, name)) == len(getattr(BEFORE, name)) + 1
    assert changed(BEFORE, AFTER) - set(PARTS) == {f.name for f in attrs.fields(Payment)} - KEPT[Payment]


def test_a_bare_payment_says_what_it_must_and_no_more() -> None:
    for part in parts_of(bare(AFTER)):
        for field in attrs.fields(type(part)):
            if field.default is not attrs.NOTHING and field.name not in KEPT.get(type(part), ()):
                assert getattr(part, field.name) in (field.default, {}), field
    assert changed(AFTER, bare(AFTER)).isdisjoint(KEPT[Payment] - set(PARTS))


def test_a_type_nobody_can_make_a_value_of_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who adds a field of a new type is told where to say what it may hold."""
    monkeypatch.setitem(Payment.__annotations__, "owed", complex)
    with pytest.raises(TypeError, match=r"owed: .*complex.*: say in payments_core\.testing\.full"):
        full_payment()


def changed(before: Any, after: Any) -> set[str]:
    return {f.name for f in attrs.fields(type(before)) if getattr(before, f.name) != getattr(after, f.name)}
