"""The page behind a session's `url`: what a buyer sees and can do there, without a script."""

from collections.abc import Iterator

import pytest
import requests

from harness.stripe_simulator import Stripe, line, running_stripe

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def server() -> Iterator[Stripe]:
    with running_stripe() as running:
        yield Stripe.of(running)


@pytest.fixture
def api(server: Stripe) -> Stripe:
    server.simulator.control("reset")
    return server


def submit(api: Stripe, session_id: str, form: str, **fields: str) -> requests.Response:
    """The buyer presses a button; the browser follows where it is sent."""
    return requests.post(f"{api.simulator.url}/c/pay/{session_id}/{form}", data=fields, timeout=10)


def test_every_page_says_simulator_and_carries_no_script(api: Stripe):
    made = api.create()
    for path in ("/", f"/c/pay/{made.id}", "/c/pay/cs_test_unknown", "/nothing"):
        answer = requests.get(api.simulator.url + path, timeout=10)
        assert "SIMULATOR" in answer.text
        assert "<script" not in answer.text
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_names_from_outside_are_shown_as_text(api: Stripe):
    item = line()
    item["price_data"]["product_data"]["name"] = "<script>alert(1)</script>"
    text = requests.get(api.create(line_items=[item]).url or "", timeout=10).text
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert "IDR\N{NO-BREAK SPACE}150,000.00" in text


def test_a_buyer_is_declined_and_pays_with_the_next_card(api: Stripe):
    made = api.create()
    after = submit(api, made.id, "pay", choice="card-decline")
    assert (after.status_code, "do not honor" in after.text) == (200, True)
    paid = submit(api, made.id, "pay", choice="card-succeed")
    assert "Payment received" in paid.text
    assert f"https://shop.example/done?session={made.id}" in paid.text
    assert len(api.simulator.view("ledger")["orders"]["o-1"]["transactions"]) == 1


@pytest.mark.parametrize(("step", "said"), [("succeed", "Payment received"), ("fail", "3-D Secure failed")])
def test_three_d_secure_is_a_step_of_its_own(api: Stripe, step: str, said: str):
    made = api.create()
    assert "3-D Secure" in submit(api, made.id, "pay", choice="card-3ds").text
    assert said in submit(api, made.id, "step", step=step).text


@pytest.mark.parametrize(("step", "said"), [("succeed", "Payment received"), ("fail", "Payment failed")])
def test_a_delayed_payment_is_ended_by_the_bank(api: Stripe, step: str, said: str):
    made = api.create()
    assert "on its way" in submit(api, made.id, "pay", choice="bank").text
    assert said in submit(api, made.id, "step", step=step).text


def test_a_page_that_only_holds_says_so_and_offers_cards_only(api: Stripe):
    made = api.create(payment_intent_data={"capture_method": "manual"})
    assert "Bank debit" not in requests.get(made.url or "", timeout=10).text
    assert "Amount reserved" in submit(api, made.id, "pay", choice="card-succeed").text


def test_a_closed_page_takes_nothing_and_leads_back(api: Stripe):
    made = api.create(cancel_url="https://shop.example/back")
    assert "https://shop.example/back" in requests.get(made.url or "", timeout=10).text
    api.client.v1.checkout.sessions.expire(made.id)
    answer = requests.get(f"{api.simulator.url}/c/pay/{made.id}", timeout=10)
    assert (answer.status_code, "Page closed" in answer.text) == (410, True)
    submit(api, made.id, "pay", choice="card-succeed")
    assert api.simulator.view("ledger")["orders"]["o-1"]["transactions"] == []


def test_pressing_twice_pays_once(api: Stripe):
    made = api.create()
    for _ in range(2):
        submit(api, made.id, "pay", choice="card-succeed")
    assert api.transaction()["captured_amount"] == "150000.00"
    assert api.events().count("payment_intent.succeeded") == 1


@pytest.mark.parametrize(
    ("form", "fields", "status"), [("pay", {"choice": "gold"}, 400), ("step", {"step": "up"}, 404)]
)
def test_what_the_page_does_not_offer_is_refused(api: Stripe, form: str, fields: dict[str, str], status: int):
    assert submit(api, api.create().id, form, **fields).status_code == status
