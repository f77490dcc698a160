"""What midtransclient really sends to Snap, read byte for byte by a Snap of our own."""

import base64
import datetime
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from harness.product import Product, order_body, running_product
from harness.questions import payment, put_order
from harness.recording_snap import CUT, Recorded, RecordingSnap, recording_snap

BODY_BYTES_MAX = 16_000
NAME_POINTS_MAX = 50
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"
FLAG = "\U0001f1ee\U0001f1e9"
ACCENTED = "e\u0301"
THUMB = "\U0001f44d\U0001f3fd"
UNTRACKED = {"track_stock": False}
SHIPPING = {
    "cost": "9000",
    "name": "Budi Santoso",
    "phone": "+628123456789",
    "address": "Jl. Merdeka 1",
    "city": "Jakarta",
    "postal_code": "10110",
}


@pytest.fixture(scope="module")
def snap() -> Iterator[RecordingSnap]:
    with recording_snap() as running:
        yield running


@pytest.fixture(scope="module")
def product(snap: RecordingSnap, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    folder = tmp_path_factory.mktemp("snap")
    with running_product(
        f"sqlite+aiosqlite:///{folder / 'payments.sqlite3'}",
        folder,
        "--no-worker",
        MIDTRANS_SNAP_URL=f"{snap.url}/snap/v1",
        FRONTEND_URL="https://shop.example/store",
        PAYMENTS_EXPIRY_HOURS="6",
    ) as running:
        yield running


def put(product: Product, body: dict[str, Any]) -> str:
    order_id = f"Shop_{secrets.token_hex(4)}~.x"
    answer = put_order(product, order_id, body)
    assert answer.status_code == 201, answer.text
    return order_id


def opened(
    product: Product, snap: RecordingSnap, body: dict[str, Any], **pay: object
) -> tuple[dict[str, Any], Recorded]:
    """The answer to the first click on this order, and the one request it caused."""
    order_id = put(product, body)
    answer = product.pay(order_id, json=pay or None)
    assert answer.status_code == 201, answer.text
    (request,) = snap.creates(order_id)
    return answer.json(), request


def named(product: Product, snap: RecordingSnap, name: str) -> str:
    """What the gateway is told this item is called."""
    item = {"sku": "book", "name": name, "price": "1000", "quantity": 1}
    _, request = opened(product, snap, order_body(items=[item]))
    return str(request.json["item_details"][0]["name"])


def cart(count: int, name: str) -> list[dict[str, Any]]:
    return [
        {
            "sku": f"{number:04}-sku",
            "name": f"{number} {name}",
            "price": 1000 + number,
            "quantity": 2,
            "track_stock": False,
        }
        for number in range(count)
    ]


def owed(items: list[dict[str, Any]]) -> int:
    return sum(int(item["price"]) * int(item["quantity"]) for item in items)


def test_the_request_is_midtransclients_own_and_authenticates_with_the_key(
    product: Product, snap: RecordingSnap
) -> None:
    _, request = opened(product, snap, order_body())
    key = f"{product.environment['MIDTRANS_SERVER_KEY']}:".encode()
    assert request.headers["authorization"] == f"Basic {base64.b64encode(key).decode()}"
    assert request.headers["user-agent"].startswith("midtransclient-python/")
    assert request.headers["content-type"] == "application/json"
    assert request.headers["accept"] == "application/json"


def test_the_order_travels_under_the_payments_id_and_the_shops_own(product: Product, snap: RecordingSnap) -> None:
    order_id = put(product, order_body())
    page = product.pay(order_id).json()
    (request,) = snap.creates(order_id)
    assert request.json["transaction_details"] == {"order_id": f"{page['payment_id']}-1p", "gross_amount": 100000}
    assert page["provider_order_id"] == f"{page['payment_id']}-1p"
    assert request.json["custom_field1"] == order_id


def test_discount_and_shipping_are_items_and_the_amount_is_the_sum(product: Product, snap: RecordingSnap) -> None:
    body = order_body(discount="15000", shipping=SHIPPING)
    _, request = opened(product, snap, body)
    items = {item["id"]: item for item in request.json["item_details"]}
    assert (items["book"]["price"], items["book"]["quantity"]) == (50000, 2)
    assert items["DISCOUNT"]["price"] * items["DISCOUNT"]["quantity"] == -15000
    assert (items["SHIPPING"]["price"], items["SHIPPING"]["quantity"]) == (9000, 1)
    assert request.json["transaction_details"]["gross_amount"] == 94000 == owed(request.json["item_details"])
    for item in request.json["item_details"]:
        assert 1 <= len(item["name"]) <= NAME_POINTS_MAX
        assert all(type(item[number]) is int for number in ("price", "quantity"))


def test_without_discount_and_shipping_only_what_was_bought_is_sent(product: Product, snap: RecordingSnap) -> None:
    _, request = opened(product, snap, order_body(discount="0"))
    assert [item["id"] for item in request.json["item_details"]] == ["book"]


def test_an_item_of_the_shop_that_is_called_discount_does_not_become_one(product: Product, snap: RecordingSnap) -> None:
    """Akulaku refuses repeated ids, and a sum by id would be wrong."""
    trap = [{"sku": sku, "name": sku, "price": 700, "quantity": 1, **UNTRACKED} for sku in ("DISCOUNT", "SHIPPING")]
    _, request = opened(product, snap, order_body(items=trap, discount="100", shipping=SHIPPING))
    ids = [item["id"] for item in request.json["item_details"]]
    assert len(ids) == len(set(ids)), ids
    assert owed(request.json["item_details"]) == 1400 - 100 + 9000


def test_a_sku_bought_in_two_variants_is_sent_under_two_ids(product: Product, snap: RecordingSnap) -> None:
    book = {"sku": "book", "name": "A book", "price": "1000", "quantity": 1}
    items = [{**book, "variant": variant} for variant in ("red", "blue")]
    _, request = opened(product, snap, order_body(items=items))
    ids = [item["id"] for item in request.json["item_details"]]
    assert len(ids) == len(set(ids)), ids
    assert owed(request.json["item_details"]) == 2000


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("x" * 50, "x" * 50),
        ("x" * 51, "x" * 50),
        ("\u00e9" * 60, "\u00e9" * 50),
        ("x" * 43 + FAMILY, "x" * 43 + FAMILY),
        ("x" * 44 + FAMILY, "x" * 44),
        ("x" * 49 + FAMILY, "x" * 49),
        ("x" * 48 + ACCENTED, "x" * 48 + ACCENTED),
        ("x" * 49 + ACCENTED + "y", "x" * 49),
        ("x" * 48 + FLAG, "x" * 48 + FLAG),
        ("x" * 49 + FLAG, "x" * 49),
        (FLAG * 30, FLAG * 25),
        ("x" * 49 + THUMB, "x" * 49),
        ("x" * 49 + "\u1112\u1161\u11ab", "x" * 49),
        ("x" * 49 + "\u0915\u094d\u0937\u093f", "x" * 49),
    ],
)
def test_a_name_is_cut_to_fifty_characters_between_two_of_them(
    product: Product, snap: RecordingSnap, name: str, sent: str
) -> None:
    """Half a family, half a flag or a bare accent is not what the buyer bought."""
    assert named(product, snap, name) == sent


def test_a_name_that_is_one_endless_character_is_still_a_name(product: Product, snap: RecordingSnap) -> None:
    """Midtrans requires a name; this one can neither be kept nor cut."""
    sent = named(product, snap, "e" + "\u0301" * 80)
    assert 1 <= len(sent) <= NAME_POINTS_MAX
    assert "\u0301" not in sent


def test_the_customer_is_named_with_billing_and_shipping_address(product: Product, snap: RecordingSnap) -> None:
    customer = {"id": "alice", "name": "Alice Wijaya", "email": "alice@example.com", "phone": "081234567890"}
    _, request = opened(product, snap, {**order_body(shipping=SHIPPING), "customer": customer})
    details = request.json["customer_details"]
    assert " ".join(filter(None, (details["first_name"], details.get("last_name")))) == "Alice Wijaya"
    assert (details["email"], details["phone"]) == ("alice@example.com", "081234567890")
    for kind in ("billing_address", "shipping_address"):
        assert details[kind]["address"] == "Jl. Merdeka 1"
        assert details[kind]["city"] == "Jakarta"
        assert details[kind]["postal_code"] == "10110"
    shipping = details["shipping_address"]
    assert " ".join(filter(None, (shipping["first_name"], shipping.get("last_name")))) == "Budi Santoso"
    assert shipping["phone"] == "+628123456789"


def test_the_page_and_every_method_on_it_end_at_one_known_moment(product: Product, snap: RecordingSnap) -> None:
    """Without start_time the time would count from the choice of a method, and nobody would know the end."""
    page, request = opened(product, snap, order_body())
    (attempt,) = payment(product, page["payment_id"])["attempts"]
    expiry, page_expiry = request.json["expiry"], request.json["page_expiry"]
    assert expiry["start_time"].endswith(" +0700")
    start = datetime.datetime.strptime(expiry["start_time"], "%Y-%m-%d %H:%M:%S %z")
    assert start == datetime.datetime.fromisoformat(attempt["opened_at"])
    end = start + lasting(expiry)
    assert end == datetime.datetime.fromisoformat(page["expires_at"])
    assert end - start == datetime.timedelta(hours=6)
    assert lasting(page_expiry) <= lasting(expiry)


def lasting(expiry: dict[str, Any]) -> datetime.timedelta:
    """A duration in the words of Midtrans."""
    assert type(expiry["duration"]) is int
    return datetime.timedelta(**{expiry["unit"].rstrip("s") + "s": expiry["duration"]})


def test_the_buyer_comes_back_to_the_finish_page_of_the_order(product: Product, snap: RecordingSnap) -> None:
    order_id = put(product, order_body())
    product.pay(order_id)
    (request,) = snap.creates(order_id)
    assert request.json["callbacks"]["finish"] == f"https://shop.example/store/orders/{order_id}/finish"


def test_methods_are_passed_on_and_without_any_all_are_offered(product: Product, snap: RecordingSnap) -> None:
    _, chosen = opened(product, snap, order_body(), methods=["gopay", "bca_va"])
    assert chosen.json["enabled_payments"] == ["gopay", "bca_va"]
    _, free = opened(product, snap, order_body())
    assert "enabled_payments" not in free.json


@pytest.mark.parametrize("count", [60, 150, 500])
@pytest.mark.parametrize("name", ["plain name of a thing", FAMILY * 7, '"\\' * 20])
def test_a_long_cart_is_folded_until_the_body_fits(
    product: Product, snap: RecordingSnap, count: int, name: str
) -> None:
    """Midtrans refuses more than 16 kB; the sum must stay exact, discount and shipping visible."""
    items = cart(count, name)
    _, request = opened(product, snap, order_body(items=items, discount="77", shipping=SHIPPING))
    sent = request.json["item_details"]
    assert len(request.body) <= BODY_BYTES_MAX
    assert request.json["transaction_details"]["gross_amount"] == owed(items) - 77 + 9000 == owed(sent)
    ids = [item["id"] for item in sent]
    assert len(ids) == len(set(ids))
    assert {"DISCOUNT", "SHIPPING"} <= set(ids)
    assert all(1 <= len(item["name"]) <= NAME_POINTS_MAX and item["quantity"] >= 1 for item in sent)


def test_a_cart_that_fits_is_not_folded(product: Product, snap: RecordingSnap) -> None:
    items = cart(40, "plain name")
    _, request = opened(product, snap, order_body(items=items))
    assert [item["id"] for item in request.json["item_details"]] == [item["sku"] for item in items]


def test_the_longest_words_of_every_kind_still_fit(product: Product, snap: RecordingSnap) -> None:
    """An emoji is twelve bytes on this wire; a long address must not push the order over the limit."""
    longest = {"address": FAMILY * 28, "city": FAMILY * 10, "name": FAMILY * 20, "postal_code": "1" * 10, "cost": "1"}
    customer = {"id": "alice", "name": FAMILY * 28, "email": f"{'a' * 200}@example.com"}
    body = {**order_body(items=cart(500, FAMILY * 7), shipping=longest), "customer": customer}
    _, request = opened(product, snap, body)
    assert len(request.body) <= BODY_BYTES_MAX
    assert FAMILY in request.json["customer_details"]["first_name"]


def test_a_lost_answer_is_asked_for_again_with_the_very_same_bytes(product: Product, snap: RecordingSnap) -> None:
    order_id = put(product, order_body(shipping=SHIPPING))
    snap.answer_next(CUT)
    assert product.pay(order_id).status_code in {502, 504}
    assert product.pay(order_id).status_code == 201
    first, second = snap.creates(order_id)
    assert first.body == second.body


def test_a_definitive_refusal_ends_the_attempt_and_the_next_click_begins_another(
    product: Product, snap: RecordingSnap
) -> None:
    order_id = put(product, order_body())
    snap.answer_next((400, {"error_messages": ["customer_details.email format is invalid"]}))
    refused = product.pay(order_id)
    assert (refused.status_code, refused.json()["code"]) == (422, "gateway_refused")
    page = product.pay(order_id)
    assert page.status_code == 201
    assert page.json()["provider_order_id"] == f"{page.json()['payment_id']}-2p"


@pytest.mark.parametrize(
    "words",
    [
        "transaction_details.order_id has already been taken",
        "transaction_details.order_id has been paid and utilized, please use another order ID",
        "transaction_details.order_id sudah digunakan",
    ],
)
def test_already_taken_after_a_lost_answer_never_opens_another_page(
    product: Product, snap: RecordingSnap, words: str
) -> None:
    """It means that a transaction exists; a 404 of the status call alone does not disprove it."""
    order_id = put(product, order_body())
    snap.answer_next(CUT, (400, {"error_messages": [words]}))
    product.pay(order_id)
    answers = [product.pay(order_id) for _ in range(3)]
    assert all(answer.status_code in {409, 503} and answer.json()["retryable"] for answer in answers)
    assert len({request.json["transaction_details"]["order_id"] for request in snap.creates(order_id)}) == 1
