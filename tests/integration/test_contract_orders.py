"""PUT /api/orders and stock: what the shop may say, and what each answer means."""

import json
import secrets
from pathlib import Path
from typing import Any

import pytest

from harness.product import Product, order_body
from harness.questions import at_once, order_status, problem, put_order

HTTP_PAGE = Path(__file__).parents[2] / "docs" / "reference" / "http.md"
SHIPPING = {"cost": "9000", "name": "Alice", "address": "Jl. Merdeka 1", "city": "Jakarta", "postal_code": "10110"}


def new_id() -> str:
    return f"o-{secrets.token_hex(6)}"


def priced(literal: str) -> bytes:
    """An order whose price is this very piece of JSON."""
    item = {"sku": "book", "name": "A book", "price": "@", "quantity": 1}
    return json.dumps(order_body(items=[item])).replace('"@"', literal).encode()


def with_item(**changes: object) -> dict[str, Any]:
    return order_body(items=[{"sku": "book", "name": "A book", "price": "50000", "quantity": 2, **changes}])


def own_sku(product: Product, available: int) -> str:
    sku = f"sku-{secrets.token_hex(4)}"
    product.stock(sku, available)
    return sku


def stock_of(product: Product, sku: str) -> dict[str, Any]:
    return dict(product.call("GET", f"/api/stock/{sku}", as_=product.shop).raise_for_status().json())


def test_a_new_order_is_created_and_reserves_its_stock(product: Product) -> None:
    sku, order_id = own_sku(product, 5), new_id()
    answer = put_order(product, order_id, order_body(sku=sku, quantity=2))
    assert answer.status_code == 201
    assert answer.json() == {
        "id": order_id,
        "status": "pending",
        "total": "100000",
        "currency": "IDR",
        "items": answer.json()["items"],
        "payment_id": None,
    }
    assert [(item["sku"], item["price"], item["quantity"]) for item in answer.json()["items"]] == [(sku, "50000", 2)]
    assert stock_of(product, sku) == {"sku": sku, "available": 3, "reserved": 2}


def test_the_order_of_the_documentation_is_taken(product: Product) -> None:
    """What a reader copies first has to work."""
    body = json.loads(HTTP_PAGE.read_text().split("## Placing an order")[1].split("```")[1].removeprefix("json"))
    product.stock(body["items"][0]["sku"], 10)
    answer = put_order(product, new_id(), body)
    assert (answer.status_code, answer.json().get("total")) == (201, "160000")
    unnamed = put_order(product, new_id(), {**body, "colour": "red"})
    assert problem(unnamed, 400, "invalid_request")["detail"] == "Object contains unknown field `colour`"


def test_the_total_is_items_less_the_discount_plus_shipping(product: Product) -> None:
    body = order_body(discount="15000", shipping=SHIPPING)
    assert put_order(product, new_id(), body).json()["total"] == "94000"


@pytest.mark.parametrize(
    ("literal", "total"),
    [("50000", "50000"), ('"50000"', "50000"), ('"50000.00"', "50000"), ("1", "1")],
)
def test_amounts_come_in_as_decimal_text_or_json_integers(product: Product, literal: str, total: str) -> None:
    answer = put_order(product, new_id(), priced(literal))
    assert answer.status_code == 201, answer.text
    assert answer.json()["total"] == total


@pytest.mark.parametrize("literal", ["50000.0", "50000.5", "5e4", "5E4", "50000e0", "1e309", "-1e309", "1e-400"])
def test_a_json_number_with_a_fraction_or_an_exponent_is_refused(product: Product, literal: str) -> None:
    """A binary fraction has already lost the amount before we see it; so has whoever wrote it."""
    problem(put_order(product, new_id(), priced(literal)), 400, "invalid_request")
    discounted = json.dumps(order_body(discount="@")).replace('"@"', literal).encode()
    problem(put_order(product, new_id(), discounted), 400, "invalid_request")


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "true", "null", "[]", "{}", "9" * 5000])
def test_what_is_no_amount_is_refused(product: Product, literal: str) -> None:
    problem(put_order(product, new_id(), priced(literal)), 400, "invalid_request")


@pytest.mark.parametrize(
    "literal",
    ['""', '" 5"', '"5 "', '"+5"', '"5e4"', '"1_000"', '"50,000"', '"\\u0665\\u0660"', '"NaN"', '"0x10"', '"5."'],
)
def test_text_that_is_no_decimal_amount_is_refused(product: Product, literal: str) -> None:
    assert 400 <= put_order(product, new_id(), priced(literal)).status_code < 500


@pytest.mark.parametrize(
    "body",
    [
        with_item(price="50000.5"),
        with_item(price="0.5", quantity=2),
        order_body(discount="0.5"),
        order_body(shipping={**SHIPPING, "cost": "0.50"}),
        order_body(discount="0.5", shipping={**SHIPPING, "cost": "0.5"}),
        with_item(price="0.001"),
        with_item(price="999999999999999999"),
        order_body(currency="USD"),
    ],
    ids=[
        "price",
        "whole total of half prices",
        "discount",
        "shipping",
        "halves that cancel out",
        "mill",
        "huge",
        "USD",
    ],
)
def test_an_amount_the_gateway_cannot_say_is_refused_when_the_order_is_put(
    product: Product, body: dict[str, Any]
) -> None:
    """Better now than at the click: Midtrans takes whole rupiah in every line."""
    problem(put_order(product, new_id(), body), 422, "amount_not_representable")


@pytest.mark.parametrize("discount", ["100000", "100001"])
def test_an_order_must_owe_something(product: Product, discount: str) -> None:
    answer = put_order(product, new_id(), order_body(discount=discount))
    assert answer.status_code in {400, 422}, answer.text


@pytest.mark.parametrize(
    "changes",
    [
        {"items": []},
        {"currency": "rupiah"},
        {"discount": "-1"},
        {"shipping": {**SHIPPING, "cost": "-1"}},
        {"customer": {"name": "Nobody", "email": "x@example.com"}},
        {"items": [{"sku": "book", "name": "A book", "price": "1", "quantity": 0}]},
        {"items": [{"sku": "book", "name": "A book", "price": "1", "quantity": -1}]},
        {"items": [{"sku": "book", "name": "A book", "price": "1", "quantity": 1.5}]},
        {"items": [{"sku": "book", "name": "A book", "price": "-1", "quantity": 1}]},
    ],
)
def test_an_order_that_makes_no_sense_is_refused(product: Product, changes: dict[str, Any]) -> None:
    before = product.available("book")
    answer = put_order(product, new_id(), {**order_body(), **changes})
    assert answer.status_code in {400, 422}, answer.text
    assert product.available("book") == before


def test_an_item_without_a_stock_row_is_refused_unless_it_is_not_tracked(product: Product) -> None:
    sku = f"unknown-{secrets.token_hex(4)}"
    problem(put_order(product, new_id(), order_body(sku=sku)), 422, "unknown_sku")
    answer = put_order(product, new_id(), with_item(sku=sku, track_stock=False))
    assert answer.status_code == 201
    problem(product.call("GET", f"/api/stock/{sku}", as_=product.shop), 404, "unknown_sku")


def test_an_order_for_more_than_there_is_reserves_nothing(product: Product) -> None:
    plenty, scarce = own_sku(product, 10), own_sku(product, 1)
    items = [{"sku": sku, "name": "A book", "price": "1000", "quantity": 2} for sku in (plenty, scarce)]
    problem(put_order(product, new_id(), order_body(items=items)), 409, "out_of_stock")
    assert (product.available(plenty), product.available(scarce)) == (10, 1)


def test_the_last_unit_is_reserved_once(product: Product) -> None:
    sku = own_sku(product, 3)
    answers = at_once(12, lambda _: put_order(product, new_id(), order_body(sku=sku, quantity=1)).status_code)
    assert sorted(answers) == [201] * 3 + [409] * 9
    assert product.available(sku) == 0


def test_the_same_order_again_changes_nothing(product: Product) -> None:
    sku, order_id = own_sku(product, 5), new_id()
    body = order_body(sku=sku)
    put_order(product, order_id, body)
    answers = at_once(8, lambda _: put_order(product, order_id, body).status_code)
    assert answers == [200] * 8
    assert product.available(sku) == 3


def test_a_new_order_put_by_many_at_once_is_one_order(product: Product) -> None:
    sku, order_id = own_sku(product, 50), new_id()
    answers = at_once(8, lambda _: put_order(product, order_id, order_body(sku=sku)).status_code)
    assert sorted(answers) == [200] * 7 + [201]
    assert product.available(sku) == 48


def test_a_change_before_the_first_click_moves_the_reservation(product: Product) -> None:
    old, new, order_id = own_sku(product, 5), own_sku(product, 5), new_id()
    put_order(product, order_id, order_body(sku=old, quantity=4))
    answer = put_order(product, order_id, order_body(sku=new, quantity=5))
    assert (answer.status_code, answer.json()["total"]) == (200, "250000")
    assert (product.available(old), product.available(new)) == (5, 0)
    # Its own units count as free: 5 of 5 are taken by this very order.
    assert put_order(product, order_id, order_body(sku=new, quantity=3)).status_code == 200
    assert product.available(new) == 2


def test_a_change_that_stock_does_not_allow_leaves_the_order_as_it_was(product: Product) -> None:
    sku, order_id = own_sku(product, 5), new_id()
    put_order(product, order_id, order_body(sku=sku, quantity=2))
    problem(put_order(product, order_id, order_body(sku=sku, quantity=6)), 409, "out_of_stock")
    problem(put_order(product, order_id, order_body(sku=new_id())), 422, "unknown_sku")
    assert product.available(sku) == 3
    answer = product.call("GET", f"/api/orders/{order_id}", as_=product.shop)
    assert answer.json()["total"] == "100000"


def test_after_the_first_click_an_order_is_frozen(product: Product) -> None:
    """The page shows an amount; the order must go on owing just that."""
    order_id = product.order()
    before = product.available("book")
    product.pay(order_id).raise_for_status()
    for different in (order_body(quantity=3), order_body(discount="1"), order_body("bob")):
        problem(put_order(product, order_id, different), 409, "order_frozen")
    assert put_order(product, order_id, order_body()).status_code == 200
    assert product.available("book") == before


def test_an_equal_amount_said_otherwise_is_the_same_order(product: Product) -> None:
    order_id = product.order()
    product.pay(order_id).raise_for_status()
    said_otherwise = order_body(items=[{"quantity": 2, "price": 50000, "name": "A book", "sku": "book"}], discount="0")
    assert put_order(product, order_id, said_otherwise).status_code == 200


def test_a_cancelled_order_is_frozen(product: Product) -> None:
    order_id = product.order()
    product.call("POST", f"/api/orders/{order_id}/cancel", as_=product.shop).raise_for_status()
    problem(put_order(product, order_id, order_body(quantity=1)), 409, "order_frozen")
    assert order_status(product, order_id) == "cancelled"


@pytest.mark.parametrize("order_id", ["a", "7", "A1_~.-", "x" * 64])
def test_an_order_id_of_the_shop_is_taken_as_it_is(product: Product, order_id: str) -> None:
    assert put_order(product, order_id, order_body()).json()["id"] == order_id
    page = product.pay(order_id)
    assert page.status_code == 201
    product.buyer(page.json()["provider_order_id"], "settlement")
    assert product.settled(order_id, "success")["order_id"] == order_id


@pytest.mark.parametrize("order_id", ["-a", ".a", "_a", "~a", "x" * 65, "a%20b", "a%00", "%C3%A9", "a%0d%0ab", "a;b"])
def test_an_order_id_that_no_url_or_gateway_carries_is_refused(product: Product, order_id: str) -> None:
    answer = put_order(product, order_id, order_body())
    assert answer.status_code in {400, 404, 422}, answer.text
    problem(answer, answer.status_code, answer.json()["code"])


@pytest.mark.parametrize("available", [-1, "x", 1.5, None, 10**30, True])
def test_stock_is_a_whole_number_of_units(product: Product, available: object) -> None:
    answer = product.call("PUT", "/api/stock/odd", as_=product.shop, json={"available": available})
    assert answer.status_code in {400, 422}, answer.text


def test_setting_stock_says_what_can_still_be_reserved(product: Product) -> None:
    sku = own_sku(product, 5)
    put_order(product, new_id(), order_body(sku=sku, quantity=2))
    answer = product.call("PUT", f"/api/stock/{sku}", as_=product.shop, json={"available": 7})
    assert answer.json() == {"sku": sku, "available": 7, "reserved": 2}
