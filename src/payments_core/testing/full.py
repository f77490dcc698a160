"""One payment with nothing left out: every field of every part says something that is not its default.

A store that loses a field loses it here, also a field that was added after the store was written: the values are made
from the types of the fields. A type that nobody here can make a value of is a TypeError, which says what to add.

**Shape**: `turn` 0 and 1 differ in every field that may change in the life of a payment, and 1 has one more of each
part; `bare` has every optional field of every part back at its default.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from enum import Enum
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import attrs

from payments_core.identity import make_payment_id, provider_order_id
from payments_core.money import Currency, Money
from payments_core.orders import Item, Order
from payments_core.payment import Attempt, AttemptState, Case, Charge, Payment, Refund
from payments_core.states import ChargeState
from payments_core.testing.samples import IDR, NOW

__all__ = ["KEPT", "PARTS", "bare", "full_order", "full_payment"]

PARTS: Mapping[str, type] = {"attempts": Attempt, "charges": Charge, "refunds": Refund, "cases": Case}
"""What a payment is made of, by the field that has it."""

KEPT: Mapping[type, frozenset[str]] = {
    Payment: frozenset({"payment_id", "account", "order_id", "amount", "created_at", *PARTS, "version", "events"}),
    Attempt: frozenset({"number", "provider", "account", "provider_order_id", "amount", "opened_at"}),
    Charge: frozenset({"transaction_id", "attempt"}),
    Refund: frozenset({"key", "transaction_id", "amount", "by", "asked_as", "case", "at"}),
    Case: frozenset({"number", "kind", "transaction_id", "opened_at"}),
}
"""What stays as it was made, so that a store need not be able to change it; version and events count by themselves."""

Value = TypeVar("Value")

_CURRENCIES = (IDR, Currency.of("JPY"))
_STATES = {
    1: (AttemptState.SPENT, AttemptState.DEAD),
    2: (AttemptState.CLOSING, AttemptState.SPENT),
    3: (None, AttemptState.OPEN),
}
"""Of the pages, by turn: one at a time can be paid, and what is dead stays so."""


def full_payment(number: int = 1, *, turn: int = 0) -> Payment:
    """The payment, before (0) and after (1) everything about it changed; a higher number is another, later one."""
    payment_id = make_payment_id(1_767_225_600_000 + number, number)
    parts = range(1, 3 + turn)
    return _full(
        Payment,
        turn,
        payment_id=payment_id,
        order_id=f"o-{number}",
        paid_by=f"tx-{1 + turn}",
        attempts=tuple(_attempt(payment_id, part, turn) for part in parts),
        charges=tuple(_full(Charge, turn, part, transaction_id=f"tx-{part}", attempt=min(part, 2)) for part in parts),
        refunds=tuple(_full(Refund, turn, part, key=f"r-{part}", transaction_id="tx-1", case=part) for part in parts),
        cases=tuple(_full(Case, turn, part, number=part) for part in parts),
        version=0,
        events=0,
    )


def full_order(order_id: str = "o-1") -> Order:
    """Two lines that take from stock and one that does not, a discount and shipping; pending, and nobody's payment."""
    untouched: Any = {name: attrs.fields_dict(Order)[name].default for name in ("status", "payment_id", "expired")}
    tracked = [_full(Item, 0, line, price=Money(line * 1_000_000, IDR), track_stock=True) for line in (1, 2)]
    return _full(
        Order,
        0,
        order_id=order_id,
        currency=IDR,
        items=(*tracked, _full(Item, 0, 3, price=Money(3_000_000, IDR), track_stock=False)),
        discount=Money(700_000, IDR),
        **untouched,
        reserved_at=NOW,
        expires_at=NOW + timedelta(hours=24),
    )


def bare(payment: Payment) -> Payment:
    """The payment with nothing said that need not be: every field that may change, at its default where it has one."""
    parts = {name: tuple(_bare(part) for part in getattr(payment, name)) for name in PARTS}
    emptied: Payment = attrs.evolve(_bare(payment), **parts)
    return emptied


def _bare(part: Any) -> Any:  # noqa: ANN401 - a payment, or any part of it
    optional = (field for field in attrs.fields(type(part)) if field.name not in KEPT[type(part)])
    defaults = {field.name: _default(field) for field in optional if field.default is not attrs.NOTHING}
    return attrs.evolve(part, **defaults)


def _default(field: Any) -> Any:  # noqa: ANN401 - of any attrs class
    return getattr(field.default, "factory", lambda: field.default)()


def _attempt(payment_id: str, number: int, turn: int) -> Attempt:
    named = provider_order_id(payment_id, number)
    state = _STATES[number][turn]
    return _full(Attempt, turn, number, number=number, provider_order_id=named, state=state)


def _full(kind: type[Value], turn: int, part: int = 0, **given: Any) -> Value:  # noqa: ANN401 - fields of any type
    """A value of this class; what is not given differs from field to field, from part to part, from turn to turn."""
    types, kept = get_type_hints(kind), KEPT.get(kind, frozenset())
    fields: Any = attrs.fields  # of any attrs class
    for place, field in enumerate(fields(kind)):
        if field.name not in given:
            seed = 100 * part + 2 * place + (0 if field.name in kept else turn)
            given[field.name] = _value(types[field.name], field.name, seed, but=field.default)
    return kind(**given)


_MAKERS: Mapping[object, Callable[[str, int], object]] = {
    bool: lambda _name, seed: seed % 2 == 0,
    int: lambda _name, seed: seed + 1,
    str: lambda name, seed: f"{name}-{seed}",
    datetime: lambda _name, seed: NOW + timedelta(seconds=seed, microseconds=seed + 1),
    Money: lambda _name, seed: Money(seed + 1, _CURRENCIES[seed % 2]),
    Mapping[str, str]: lambda name, seed: {name: f"{name}-{seed}"},
}


def _value(kind: Any, name: str, seed: int, *, but: object = None) -> Any:  # noqa: ANN401 - any type of a field
    """A value of this type, another one for the next seed."""
    if get_origin(kind) in (Union, UnionType):
        (kind,) = (option for option in get_args(kind) if option is not type(None))
    container = get_origin(kind)
    if kind in _MAKERS:
        return _MAKERS[kind](name, seed)
    if container in (tuple, frozenset):
        return container(_value(get_args(kind)[0], name, of_item) for of_item in (seed, seed + 2))
    if attrs.has(kind):
        return _full(kind, seed % 2, seed)
    if isinstance(kind, type) and issubclass(kind, Enum):
        words = [word for word in kind if word not in (but, ChargeState.UNSEEN)]
        return words[seed % len(words)]
    raise TypeError(f"{name}: {kind}: say in payments_core.testing.full how a value of it is made")
