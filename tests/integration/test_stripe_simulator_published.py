"""Independent proof beside the Stripe simulator: the published request schema, and the types of the official SDK.

The schema judges the bytes the SDK sends, which our simulator also judges; where the two disagree, one is wrong.
The SDK's own types judge what the simulator answers.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType
from typing import Any, Literal, Union, get_args, get_origin
from urllib.parse import parse_qsl

import jsonschema
import pytest
import stripe

from harness.stripe_simulator import PRICE, Stripe, error_of, line, params, running_stripe

pytestmark = pytest.mark.processes

SPECIFICATION = Path(__file__).parents[3] / "shared" / "corpus" / "specs" / "stripe_requests_subset.json"
needs_corpus = pytest.mark.skipif(
    not SPECIFICATION.exists(), reason="the corpus of published schemas does not lie beside the project"
)
# The published copy is older than the SDK's version; these parameters came after it.
YOUNGER = frozenset({"adaptive_pricing", "allowed_payment_method_types", "excluded_payment_method_types", "ui_mode"})


@pytest.fixture(scope="module")
def server() -> Iterator[Stripe]:
    with running_stripe() as running:
        yield Stripe.of(running)


@pytest.fixture
def api(server: Stripe) -> Stripe:
    server.simulator.control("reset")
    return server


# ── requests ──────────────────────────────────────────────────────────────────────────────────────────────────────────
class Recorder(stripe.RequestsClient):
    """The SDK's own HTTP client, keeping the bytes of every POST."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[tuple[str, str]] = []

    def request(self, method: str, url: str, headers: Any, post_data: Any = None) -> Any:
        if method == "post":
            self.sent.append(("/" + url.split("/", 3)[3], post_data or ""))
        return super().request(method, url, headers, post_data)


def nested(form: str) -> dict[str, Any]:
    """A form with bracketed keys as nested values; written here anew, so that it is no copy of the simulator's."""
    root: dict[str, Any] = {}
    for key, value in parse_qsl(form, keep_blank_values=True):
        *path, last = key.replace("]", "").split("[")
        here = root
        for step in path:
            here = here.setdefault(step, {})
        here[last] = value
    return listed(root)  # type: ignore[no-any-return]


def listed(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    inner = {key: listed(one) for key, one in value.items()}
    return [inner[key] for key in sorted(inner, key=int)] if inner and all(key.isdigit() for key in inner) else inner


def typed(value: Any, schema: Mapping[str, Any]) -> Any:
    """The value as the schema's type; a form holds texts only."""
    for choice in schema.get("anyOf", [schema]):
        if isinstance(value, dict) and choice.get("type") == "object":
            known, free = choice.get("properties", {}), choice.get("additionalProperties")
            return {
                name: typed(one, known.get(name, free if isinstance(free, dict) else {})) for name, one in value.items()
            }
        if isinstance(value, list) and choice.get("type") == "array":
            return [typed(one, choice["items"]) for one in value]
        if isinstance(value, str) and choice.get("type") == "integer" and value.lstrip("-").isdigit():
            return int(value)
        if isinstance(value, str) and choice.get("type") == "boolean" and value in {"true", "false"}:
            return value == "true"
    return value


def check(path: str, form: str) -> None:
    """Validate one request against the published schema of its path."""
    paths = json.loads(SPECIFICATION.read_text("utf-8"))["paths"]
    parts = path.split("/")
    fits = [
        template
        for template in paths
        if len(template.split("/")) == len(parts)
        and all(t.startswith("{") or t == p for t, p in zip(template.split("/"), parts, strict=True))
        and "post" in paths[template]
    ]
    body = paths[fits[0]]["post"]["requestBody"]["content"]["application/x-www-form-urlencoded"]
    value = {name: one for name, one in nested(form).items() if name not in YOUNGER}
    jsonschema.Draft4Validator(body["schema"]).validate(typed(value, body["schema"]))


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def recorded(api: Stripe, recorder: Recorder) -> Stripe:
    client = stripe.StripeClient(
        api.client._requestor.api_key or "", base_addresses={"api": api.simulator.url}, http_client=recorder
    )
    return Stripe(api.simulator, client)


@needs_corpus
def test_what_the_sdk_sends_fits_the_published_schema_and_the_simulator_takes_it(recorded: Stripe, recorder: Recorder):
    """Both judges agree on every request a merchant of hosted payments makes."""
    coupon: Any = {"id": "c-1", "amount_off": 1000, "currency": "idr", "duration": "once", "max_redemptions": 1}
    recorded.client.v1.coupons.create(coupon)
    rate = {"display_name": "Post", "type": "fixed_amount", "fixed_amount": {"amount": 1000, "currency": "idr"}}
    hold = {"capture_method": "manual", "metadata": {"provider_order_id": "o-1"}, "description": "books"}
    made = recorded.create(
        "o-1",
        discounts=[{"coupon": "c-1"}],
        shipping_options=[{"shipping_rate_data": rate}],
        payment_intent_data=hold,
        adaptive_pricing={"enabled": False},
        customer_email="alice@example.com",
        cancel_url="https://shop.example/back",
        expand=["payment_intent"],
    )
    assert made.status == "open"
    intent = recorded.pay("o-1")["payment_intent"]["id"]
    recorded.client.v1.payment_intents.capture(intent, {"amount_to_capture": PRICE})
    refund: Any = {"payment_intent": intent, "amount": 100, "reason": "duplicate", "metadata": {"refund_key": "r"}}
    recorded.client.v1.refunds.create(refund)
    other = recorded.create("o-2", payment_intent_data=hold)
    held = recorded.pay("o-2")["payment_intent"]["id"]
    recorded.client.v1.payment_intents.cancel(held, {"cancellation_reason": "abandoned"})
    error_of(lambda: recorded.client.v1.checkout.sessions.expire(other.id))
    assert len(recorder.sent) == 7
    for path, form in recorder.sent:
        check(path, form)


BAD: list[dict[str, Any]] = [
    {"mode": "nope"},
    {"colour": "red"},
    {"line_items": [{**line(), "colour": "red"}]},
    {"line_items": [{"quantity": 1, "price_data": {"unit_amount": 100, "product_data": {"name": "A book"}}}]},
    {"line_items": [line(amount=15.5)]},  # type: ignore[arg-type]
    {"payment_intent_data": {"capture_method": "later"}},
    {"success_url": None},
]


@needs_corpus
@pytest.mark.parametrize("changes", BAD, ids=lambda changes: str(next(iter(changes))))
def test_what_the_published_schema_refuses_the_simulator_refuses(
    recorded: Stripe, recorder: Recorder, changes: dict[str, Any]
):
    """A simulator that takes more than the gateway would let a bug through."""
    assert error_of(lambda: recorded.create(**changes)).http_status == 400
    with pytest.raises(jsonschema.ValidationError):
        check(*recorder.sent[-1])


# ── answers ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def misfits(value: object, hint: Any, place: str) -> list[str]:
    """Where a JSON value is not what the SDK's annotation says."""
    origin, choices = get_origin(hint), get_args(hint)
    if hint is Any or isinstance(hint, str):
        return []
    if origin is Union:
        return [] if any(not misfits(value, one, place) for one in choices) else [f"{place}: {value!r}"]
    if origin is Literal:
        return [] if value in choices else [f"{place}: {value!r} is none of {choices}"]
    if origin is list:
        wrong = [] if isinstance(value, list) else [f"{place}: {value!r} is no list"]
        return wrong or [one for inner in value for one in misfits(inner, choices[0], f"{place}[]")]  # type: ignore[attr-defined]
    if isinstance(hint, type) and issubclass(hint, stripe.StripeObject):
        return [] if isinstance(value, dict) else [f"{place}: {value!r} is no object"]
    if hint in (int, str, bool, float, NoneType):
        return [] if type(value) is hint else [f"{place}: {value!r} is no {hint.__name__}"]
    return []


def unfit(body: Mapping[str, Any], kind: type[stripe.StripeObject]) -> list[str]:
    """Every property the SDK's type requires and the body lacks or has as something else."""
    wrong = []
    for name, hint in kind.__annotations__.items():
        if name.isupper() or name.startswith("_"):
            continue
        optional = get_origin(hint) is Union and NoneType in get_args(hint)
        if name not in body:
            wrong += [] if optional or "NotRequired" in str(hint) else [f"{name} is missing"]
            continue
        wrong += misfits(body[name], hint, name)
    return wrong


def test_every_answer_fits_the_types_of_the_sdk(api: Stripe):
    """Required properties are there, and every property is of a type and a word the SDK knows."""
    intent = api.paid()
    client = api.client.v1
    refund = client.refunds.create({"payment_intent": intent, "amount": PRICE})
    api.becomes("dispute")
    coupon = client.coupons.create({"percent_off": 10, "duration": "once"})
    charge = client.charges.list({"payment_intent": intent}).data[0]
    open_one = api.create("o-2")
    answers: list[tuple[stripe.StripeObject, type[stripe.StripeObject]]] = [
        (client.checkout.sessions.list({"payment_intent": intent}).data[0], stripe.checkout.Session),
        (open_one, stripe.checkout.Session),
        (client.checkout.sessions.expire(open_one.id), stripe.checkout.Session),
        (client.payment_intents.retrieve(intent), stripe.PaymentIntent),
        (charge, stripe.Charge),
        (refund, stripe.Refund),
        (client.disputes.list({"payment_intent": intent}).data[0], stripe.Dispute),
        (coupon, stripe.Coupon),
        *((event, stripe.Event) for event in client.events.list({"limit": 100}).data),
    ]
    wrong = [f"{kind.__name__}: {one}" for answer, kind in answers for one in unfit(answer.to_dict(), kind)]
    assert wrong == []


def test_every_event_is_one_the_sdk_knows_and_is_about_an_object_of_its_kind(api: Stripe):
    kinds = {
        "checkout.session": stripe.checkout.Session,
        "payment_intent": stripe.PaymentIntent,
        "charge": stripe.Charge,
        "refund": stripe.Refund,
        "dispute": stripe.Dispute,
    }
    known = get_args(get_args(stripe.Event.__annotations__["type"])[0]) or get_args(
        stripe.Event.__annotations__["type"]
    )
    api.paid()
    for to in ("refund", "refund_failed", "dispute", "funds_withdrawn", "dispute_won"):
        api.becomes(to)
    for reference, ways in {"o-2": ("succeed",), "o-3": ("fail",)}.items():
        api.create(reference)
        api.pay(reference, "processing")
        for way in ways:
            api.becomes(way, reference)
    api.create("o-4")
    api.pay("o-4", "requires_action")
    api.becomes("expire", "o-4")
    events = list(api.client.v1.events.list({"limit": 100}).auto_paging_iter())
    assert len({event.id for event in events}) == len(events) >= 25
    for event in events:
        body = event.data.object.to_dict() if hasattr(event.data.object, "to_dict") else dict(event.data.object)
        assert event.type in known, event.type
        assert unfit(body, kinds[body["object"]]) == [], event.type


def test_the_parameters_of_the_tests_are_the_ones_the_sdk_types() -> None:
    """The TypedDict of the pinned version knows every name we send."""
    assert set(params()) <= set(stripe.params.checkout.SessionCreateParams.__annotations__)
