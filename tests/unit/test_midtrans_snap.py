"""The body that opens a Snap page: it adds up, it fits, and nothing in it is cut through a character."""

import json
from datetime import timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from payments_core.errors import AmountNotRepresentable
from payments_core.money import Money
from payments_core.orders import Customer, Item, Order, Shipping
from payments_core.payment import Attempt, AttemptState
from payments_core_memory import ManualClock
from payments_core_midtrans.snap import BODY_BYTES_MAX, cut, page_request, whole_rupiah
from unit.world import IDR, rupiah

NOW = ManualClock().now()


def order(*items: Item, discount: int = 0, shipping: Shipping | None = None, **customer: str) -> Order:
    who = {"id": "alice", "name": "Alice", "email": "alice@example.com", **customer}
    return Order(
        order_id="o-1",
        customer=Customer(**who),
        currency=IDR,
        items=items or (Item("book", "A book", rupiah(50_000), 2),),
        discount=rupiah(discount),
        shipping=shipping,
        reserved_at=NOW,
        expires_at=NOW,
    )


def sent(wanted: Order, **changes: Any) -> dict[str, Any]:
    attempt = Attempt(
        number=1,
        provider="midtrans",
        provider_order_id="01kdvdna000000000000000001-1p",
        state=AttemptState.OPENING,
        amount=wanted.total,
        opened_at=NOW,
        ends_at=NOW + timedelta(hours=24),
    )
    return dict(json.loads(page_request(wanted, attrs.evolve(attempt, **changes), "https://shop.example/finish")))


def total(body: dict[str, Any]) -> int:
    return sum(line["price"] * line["quantity"] for line in body["item_details"])


HOME = Shipping(rupiah(10_000), "Bob", "Jl. Melati 5", "Bandung", "40111", "+62811")


def test_discount_is_a_negative_item_and_shipping_is_an_item() -> None:
    body = sent(order(discount=5_000, shipping=HOME))
    lines = {line["id"]: line["price"] for line in body["item_details"]}
    assert lines == {"book": 50_000, "DISCOUNT": -5_000, "SHIPPING": 10_000}
    assert body["transaction_details"] == {"order_id": "01kdvdna000000000000000001-1p", "gross_amount": 105_000}
    assert total(body) == 105_000


def test_the_page_and_what_is_chosen_on_it_end_together() -> None:
    body = sent(order())
    assert body["expiry"] == {"start_time": "2026-01-01 12:00:00 +0700", "unit": "minutes", "duration": 1440}
    assert body["page_expiry"] == {"unit": "minutes", "duration": 1440}


def test_methods_are_passed_on_and_left_out_when_there_are_none() -> None:
    assert sent(order(), methods=("gopay", "bca_va"))["enabled_payments"] == ["gopay", "bca_va"]
    assert "enabled_payments" not in sent(order())


def test_the_customer_has_both_addresses_when_something_is_shipped() -> None:
    customer = sent(order(shipping=HOME, phone="+62812"))["customer_details"]
    assert customer["first_name"] == "Alice"
    assert customer["billing_address"]["first_name"] == "Alice"
    assert customer["shipping_address"]["first_name"] == "Bob"
    assert customer["shipping_address"]["city"] == "Bandung"
    assert "billing_address" not in sent(order())["customer_details"]


def test_repeated_and_reserved_ids_are_told_apart() -> None:
    """Some channels refuse a cart in which an id stands twice."""
    lines = [Item(sku, "x", rupiah(1_000), 1) for sku in ("a", "a", "SHIPPING", "s" * 50, "s" * 50)]
    ids = [line["id"] for line in sent(order(*lines, shipping=HOME))["item_details"]]
    assert len(ids) == len(set(ids))
    assert all(len(line_id) <= 50 for line_id in ids)


FAMILY, FLAG, ACCENT = "👨‍👩‍👧‍👦", "🇮🇩", "e\u0301"


@pytest.mark.parametrize(("cluster", "length"), [(FAMILY, 7), (FLAG, 2), (ACCENT, 2), ("你", 1)])
def test_a_name_is_never_cut_inside_a_character(cluster: str, length: int) -> None:
    assert len(cluster) == length
    kept = cut(cluster * 50, 50)
    assert kept == cluster * (50 // length)


@given(st.text(min_size=1, max_size=120))
def test_cut_text_is_a_beginning_and_fits(text: str) -> None:
    kept = cut(text, 50)
    assert len(kept) <= 50
    assert text.startswith(kept)


def test_a_character_that_is_itself_too_long_leaves_the_id_as_name() -> None:
    zalgo = "e" + "\u0301" * 80
    assert sent(order(Item("book", zalgo, rupiah(1_000), 1)))["item_details"][0]["name"] == "book"


def test_a_long_cart_is_folded_and_still_adds_up() -> None:
    cart = [Item(f"sku-{n}", "Ein Buch über Bücher 📚" * 3, rupiah(1_000 + n), 2) for n in range(400)]
    wanted = order(*cart, discount=7_000, shipping=HOME)
    body = sent(wanted)
    assert len(json.dumps(body).encode()) <= BODY_BYTES_MAX
    assert total(body) == whole_rupiah(wanted.total)
    ids = [line["id"] for line in body["item_details"]]
    assert ids[-3:] == ["MORE", "DISCOUNT", "SHIPPING"]
    assert len(ids) > 10, "as many lines as fit"


def test_the_longest_texts_a_shop_may_send_still_fit() -> None:
    long = "𠀀" * 255  # twelve bytes each, once escaped
    cart = [Item("x" * 50, long, rupiah(1_000), 1)] * 500
    shipping = Shipping(rupiah(1), long, "𠀀" * 1000, long, "9" * 32, long)
    body = sent(order(*cart, shipping=shipping, name=long, email=long, phone=long), methods=("gopay",) * 32)
    assert len(json.dumps(body).encode()) <= BODY_BYTES_MAX
    assert len(body["customer_details"]["shipping_address"]["postal_code"]) <= 10


@given(
    st.lists(st.tuples(st.integers(1, 10**6), st.integers(1, 50)), min_size=1, max_size=300),
    st.integers(0, 10**5),
    st.integers(0, 10**5),
)
@settings(max_examples=60)
def test_lines_always_add_up_to_the_gross_amount(cart: list[tuple[int, int]], discount: int, shipping: int) -> None:
    gross = sum(price * units for price, units in cart)
    lines = [Item(f"s{n}", "Buku", rupiah(price), units) for n, (price, units) in enumerate(cart)]
    wanted = order(*lines, discount=min(discount, gross - 1), shipping=attrs.evolve(HOME, cost=rupiah(shipping)))
    body = sent(wanted)
    assert total(body) == body["transaction_details"]["gross_amount"] == whole_rupiah(wanted.total)
    assert len(json.dumps(body).encode()) <= BODY_BYTES_MAX


@pytest.mark.parametrize("money", [Money.of(50, "IDR"), Money.of(100, "USD")])
def test_what_midtrans_cannot_say_is_refused(money: Money) -> None:
    with pytest.raises(AmountNotRepresentable):
        whole_rupiah(money)
