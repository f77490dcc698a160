"""The order as payments need it."""

import attrs
import pytest

from payments_core.errors import InvalidInput
from payments_core.limits import ORDER_ITEMS_MAX
from payments_core.money import Currency, Money
from payments_core.orders import Customer, Item, Order, OrderStatus, Shipping
from payments_core.testing import samples
from payments_core.testing.samples import LATER
from unit.world import rupiah

SENT = Shipping(rupiah(9_000), "Alice", "Street 1", "Bandung", "40111")


def item(sku: str = "book", price: int = 50_000, quantity: int = 1, **more: object) -> Item:
    return Item(sku, f"A {sku}", rupiah(price), quantity, **more)  # type: ignore[arg-type]


def order(*items: Item, **more: object) -> Order:
    return samples.order(items=items, **more)


def test_the_total_is_items_minus_discount_plus_shipping() -> None:
    lines = (item(quantity=3), item("pen", 2_000, 2))
    assert order(*lines).total == rupiah(154_000)
    assert order(*lines, discount=rupiah(4_000), shipping=SENT).total == rupiah(159_000)


@pytest.mark.parametrize("count", [0, ORDER_ITEMS_MAX + 1])
def test_an_order_without_lines_or_with_too_many_is_refused(count: int) -> None:
    with pytest.raises(InvalidInput) as caught:
        order(*[item(price=1)] * count)
    assert caught.value.code == "invalid_order"


@pytest.mark.parametrize("count", [1, ORDER_ITEMS_MAX])
def test_one_line_is_enough_and_so_many_are_not_too_many(count: int) -> None:
    assert order(*[item(price=1)] * count).total == rupiah(count)


def test_an_order_that_costs_nothing_is_no_order() -> None:
    with pytest.raises(InvalidInput) as caught:
        order(item(price=10), discount=rupiah(10))
    assert caught.value.code == "invalid_order"
    assert order(item(price=10), discount=Money.of(999, "IDR")).total == Money.of(1, "IDR")


def test_every_amount_a_gateway_has_to_say_is_listed() -> None:
    """One of them that cannot be said refuses the order before anybody pays."""
    small = order(item(quantity=3), discount=rupiah(4_000))
    assert small.amounts == (rupiah(146_000), rupiah(4_000), rupiah(50_000))
    assert attrs.evolve(small, shipping=SENT).amounts == (rupiah(155_000), rupiah(4_000), rupiah(9_000), rupiah(50_000))


def test_stock_is_counted_by_sku_in_lock_order_and_only_where_it_is_tracked() -> None:
    lines = (item("pen", quantity=2), item("book"), item("ebook", track_stock=False), item("pen", quantity=3))
    assert [*order(*lines).tracked_units().items()] == [("book", 1), ("pen", 5)]


@pytest.mark.parametrize(
    "changes",
    [
        {"order_id": "o-2"},
        {"customer": Customer("bob", "Bob", "bob@example.com")},
        {"items": (item(quantity=3),)},
        {"discount": rupiah(1)},
        {"shipping": SENT},
    ],
)
def test_another_sale_is_told_apart(changes: dict[str, object]) -> None:
    assert not order(item()).sells_the_same_as(attrs.evolve(order(item()), **changes))


def test_another_currency_is_another_sale() -> None:
    free = Item("book", "A book", Money.of(100, "USD"), 1)
    dollars = Currency.of("USD")
    sale = samples.order(items=(free,), currency=dollars, discount=Money.of(0, "USD"))
    assert not sale.sells_the_same_as(order(item()))


def test_what_happened_to_an_order_does_not_make_it_another() -> None:
    paid = attrs.evolve(order(item()), status=OrderStatus.PAID, payment_id="pay", reserved_at=LATER, expires_at=LATER)
    assert paid.sells_the_same_as(order(item()))


@pytest.mark.parametrize("quantity", [0, -3, 1.5, True])
def test_a_line_has_one_unit_or_more(quantity: int) -> None:
    """One below would put units into stock."""
    with pytest.raises(InvalidInput) as caught:
        order(item(quantity=2), attrs.evolve(item("pen"), quantity=quantity))
    assert caught.value.code == "invalid_order"


@pytest.mark.parametrize(
    "below",
    [
        {"discount": rupiah(-1)},
        {"shipping": attrs.evolve(SENT, cost=rupiah(-1))},
        {"items": (item(), item("pen", -1))},
    ],
)
def test_no_amount_of_an_order_is_below_zero(below: dict[str, object]) -> None:
    with pytest.raises(InvalidInput) as caught:
        attrs.evolve(order(item()), **below)
    assert caught.value.code == "invalid_order"


@pytest.mark.parametrize("name", ["reserved_at", "expires_at"])
def test_the_times_of_an_order_have_a_time_zone(name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        order(item(), **{name: LATER.replace(tzinfo=None)})
    assert caught.value.code == "invalid_order"
