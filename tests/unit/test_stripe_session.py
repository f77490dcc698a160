"""What opens a session: every amount to the unit, the order's total by construction, the same bytes again."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import jsonschema
import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st

from harness.stripe_shop import new_order
from payments_core import Attempt, AttemptState, Currency, Item, Money, Order
from payments_core.errors import AmountNotRepresentable
from payments_core.system import SystemClock
from payments_core_stripe.amounts import from_stripe, to_stripe
from payments_core_stripe.session import LINES_MAX, page_request
from payments_core_stripe.settings import API_VERSION, PAGE_MAX, StripeSettings

SPEC = Path(__file__).parents[3] / "shared" / "corpus" / "specs" / "stripe_requests_subset.json"
FINISH = "https://shop.example/orders/o-1/finish"


def attempt_of(order: Order, **changes: Any) -> Attempt:
    now = SystemClock().now().replace(microsecond=0)
    attempt = Attempt(
        number=1,
        provider="stripe",
        provider_order_id="01kdvdna000000000000000001-1p",
        state=AttemptState.OPENING,
        amount=order.total,
        opened_at=now,
        ends_at=now + timedelta(hours=20),
    )
    return attrs.evolve(attempt, **changes)


def params_of(order: Order, **changes: Any) -> dict[str, Any]:
    return dict(json.loads(page_request(order, attempt_of(order, **changes), FINISH))["params"])


def total_of(params: dict[str, Any]) -> int:
    return sum(line["quantity"] * line["price_data"]["unit_amount"] for line in params["line_items"])


@pytest.mark.parametrize(
    ("currency", "minor", "unit_amount"),
    [
        ("IDR", 15_000_000, 15_000_000),
        ("USD", 1_250, 1_250),
        ("JPY", 500, 500),
        ("KWD", 1_230, 1_230),
        ("UGX", 500, 50_000),
        ("ISK", 500, 50_000),
        ("MGA", 500, 5),
    ],
)
def test_each_currency_is_said_in_stripes_units(currency: str, minor: int, unit_amount: int) -> None:
    """Rp150,000.00 is 15000000 there; a wrong exponent is an error by a factor of a hundred."""
    (line,) = params_of(new_order(minor, 1, currency=currency))["line_items"]
    assert line["price_data"]["unit_amount"] == unit_amount
    assert line["price_data"]["currency"] == currency.lower()
    assert from_stripe(unit_amount, currency) == Money.of(minor, currency)


@pytest.mark.parametrize(("currency", "minor"), [("KWD", 1_231), ("MGA", 501)])
def test_an_amount_stripe_cannot_say_is_refused(currency: str, minor: int) -> None:
    with pytest.raises(AmountNotRepresentable):
        params_of(new_order(minor, 1, currency=currency))


def test_without_a_discount_the_buyer_reads_the_cart() -> None:
    order = new_order(5_000_000, 2, shipping=1_000_000, more=(item("pen", 250_000, 3, variant="blue"),))
    lines = params_of(order)["line_items"]
    assert [(line["price_data"]["product_data"]["name"], line["quantity"]) for line in lines] == [
        ("A book", 2),
        ("A pen - blue", 3),
        ("Shipping", 1),
    ]
    assert total_of(params_of(order)) == to_stripe(order.total)


def test_a_discount_makes_one_line_of_the_net_total_that_says_what_is_in_it() -> None:
    """Lines cannot be negative, and a coupon is another call that can fail."""
    order = new_order(5_000_000, 2, discount=1_234_567, shipping=1_000_000)
    params = params_of(order)
    (line,) = params["line_items"]
    assert total_of(params) == to_stripe(order.total) == 10_000_000 - 1_234_567 + 1_000_000
    product = line["price_data"]["product_data"]
    assert product == {"name": "Order o-1", "description": "2 x A book (discount and shipping included)"}


def test_more_lines_than_stripe_takes_are_one() -> None:
    many = tuple(item(f"pen-{n}", 1_000 + n, 1) for n in range(LINES_MAX))
    params = params_of(new_order(more=many))
    (line,) = params["line_items"]
    assert line["price_data"]["product_data"]["description"].endswith("more")
    assert total_of(params) == to_stripe(new_order(more=many).total)


def test_a_price_stripe_cannot_say_is_folded_when_the_total_can_be_said() -> None:
    """Two times 1.005 dinar are 2.010, of which the last digit is 0."""
    params = params_of(new_order(1_005, 2, currency="KWD"))
    assert (len(params["line_items"]), total_of(params)) == (1, 2_010)


@given(
    prices=st.lists(st.tuples(st.integers(0, 10**9), st.integers(1, 1000)), min_size=1, max_size=120),
    shipping=st.integers(0, 10**8),
    discount=st.integers(0, 10**6),
    currency=st.sampled_from(["IDR", "USD", "JPY", "KWD"]),
)
def test_lines_always_add_up_to_the_order(
    prices: list[tuple[int, int]], shipping: int, discount: int, currency: str
) -> None:
    """Whatever the cart, what Stripe will ask for is what the order owes."""
    ten = 10 if currency == "KWD" else 1
    more = tuple(item(f"i-{n}", price * ten, units, currency) for n, (price, units) in enumerate(prices))
    order = new_order(10**7, 1, currency=currency, discount=discount * ten, shipping=shipping * ten, more=more)
    assert total_of(params_of(order)) == to_stripe(order.total)


def item(sku: str, price: int, quantity: int, currency: str = "IDR", variant: str | None = None) -> Item:
    return Item(sku, f"A {sku}", Money(price, Currency.of(currency)), quantity, variant)


def test_the_same_attempt_makes_the_same_bytes_and_the_same_key() -> None:
    """`expires_at` counts from the stored opening, so nothing differs when it is sent again."""
    order = new_order()
    attempt = attempt_of(order)
    assert page_request(order, attempt, FINISH) == page_request(order, attempt, FINISH)
    assert json.loads(page_request(order, attempt, FINISH))["idempotency_key"] == "01kdvdna000000000000000001-1p:create"


@pytest.mark.parametrize(
    ("lives", "expires_after"),
    [(timedelta(minutes=5), timedelta(minutes=31)), (timedelta(hours=2), timedelta(hours=2)), (PAGE_MAX, PAGE_MAX)],
)
def test_a_session_ends_with_its_page_or_as_soon_as_stripe_lets_it(lives: timedelta, expires_after: timedelta) -> None:
    """Half an hour at least; a page of ours that ends sooner is expired by us at its deadline."""
    order = new_order()
    attempt = attempt_of(order)
    attempt = attrs.evolve(attempt, ends_at=attempt.opened_at + lives)
    params = json.loads(page_request(order, attempt, FINISH))["params"]
    assert params["expires_at"] == int((attempt.opened_at + expires_after).timestamp())


def test_nothing_is_left_to_the_gateways_taste() -> None:
    params = params_of(new_order())
    assert params["adaptive_pricing"] == params["automatic_tax"] == {"enabled": False}
    assert params["client_reference_id"] == params["metadata"]["provider_order_id"]
    assert params["payment_intent_data"]["metadata"] == params["metadata"], "the intent is found by its own"
    assert params["success_url"] == params["cancel_url"] == FINISH
    assert "payment_method_types" not in params


@pytest.mark.skipif(
    not SPEC.exists(), reason="the published schema does not lie beside this checkout (../shared/corpus)"
)
@pytest.mark.parametrize("order", [new_order(), new_order(discount=100, shipping=500)], ids=["cart", "one line"])
def test_the_request_is_what_the_published_schema_describes(order: Order) -> None:
    """Checked without us: the schema Stripe publishes (an older one, which knows no adaptive pricing yet)."""
    published = json.loads(SPEC.read_text())["paths"]["/v1/checkout/sessions"]["post"]["requestBody"]["content"]
    schema = published["application/x-www-form-urlencoded"]["schema"]
    params = params_of(order)
    assert params.pop("adaptive_pricing") == {"enabled": False}
    jsonschema.validate(params, schema)


def test_the_version_we_pin_is_the_one_of_the_sdk_we_lock() -> None:
    """An SDK that moves on is noticed here, and not by its types in production."""
    assert stripe.api_version == API_VERSION


@pytest.mark.parametrize(
    ("key", "live"),
    [("sk_live_x", True), ("rk_live_x", True), ("sk_test_x", False), ("rk_test_x", False), ("sk_other", None)],
)
def test_the_key_says_whether_its_money_is_real(key: str, live: bool | None) -> None:
    settings = StripeSettings(secret_key=key)
    assert settings.live is settings.traits.live is live
    assert key not in repr(settings)
