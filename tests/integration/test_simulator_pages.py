"""The pay page as a buyer uses it: forms without scripts, over HTTP and in a real browser."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from playwright.sync_api import Page

from harness.browser import running_browser
from harness.simulator import TIMEOUT_S
from payments_core_simulator.process import RunningSimulator

pytestmark = pytest.mark.processes
FINISH = "https://shop.example/return?lang=id"


def create(simulator: RunningSimulator, **changes: object) -> str:
    """Return the address of a new page."""
    body = {
        "transaction_details": {"order_id": "o-1", "gross_amount": 150_000},
        "item_details": [{"id": "A", "name": "Kopi <Gayo>", "price": 75_000, "quantity": 2}],
        "callbacks": {"finish": FINISH},
        **changes,
    }
    url = f"{simulator.url}/snap/v1/transactions"
    return requests.post(url, json=body, auth=(simulator.server_key, ""), timeout=TIMEOUT_S).json()["redirect_url"]


def submit(url: str, path: str, **fields: str) -> requests.Response:
    """Send a form of the page; the answer is the page after the redirect."""
    return requests.post(url + path, data=fields, timeout=TIMEOUT_S)


def transactions(simulator: RunningSimulator) -> list[dict[str, Any]]:
    return simulator.view("ledger")["orders"]["o-1"]["transactions"]


@pytest.mark.parametrize(
    ("choice", "status", "says"),
    [
        ("card-approve", "capture", "Payment received"),
        ("card-decline", "deny", "Card declined"),
        ("card-challenge", "capture", "Under review"),
        ("card-3ds", "pending", "Finish 3-D Secure"),
        ("gopay", "pending", "I have paid"),
        ("qris", "pending", "I have paid"),
        ("va-bca", "pending", "BCA virtual account"),
        ("indomaret", "pending", "Payment code"),
    ],
)
def test_each_choice_does_what_it_says(simulator: RunningSimulator, choice: str, status: str, says: str):
    url = create(simulator)
    answer = submit(url, "/pay", choice=choice)
    assert answer.status_code == 200
    assert says in answer.text
    assert [one["transaction_status"] for one in transactions(simulator)] == [status]


@pytest.mark.parametrize(
    ("step", "status", "says"),
    [
        ("paid", "settlement", "Payment received"),
        ("cancel", "cancel", "BNI virtual account cancelled"),
        ("expire", "expire", "BNI virtual account expired"),
    ],
)
def test_a_pending_payment_is_paid_cancelled_or_left(simulator: RunningSimulator, step: str, status: str, says: str):
    url = create(simulator)
    submit(url, "/pay", choice="va-bni")
    answer = submit(url, f"/transactions/{transactions(simulator)[0]['transaction_id']}", step=step)
    assert says in answer.text
    assert transactions(simulator)[0]["transaction_status"] == status


def test_after_a_decline_the_buyer_tries_again_on_the_same_page(simulator: RunningSimulator):
    url = create(simulator)
    submit(url, "/pay", choice="card-decline")
    assert "Payment received" in submit(url, "/pay", choice="card-approve").text
    assert [one["transaction_status"] for one in transactions(simulator)] == ["deny", "capture"]


def test_the_way_back_names_order_code_and_status(simulator: RunningSimulator):
    url = create(simulator)
    html = submit(url, "/pay", choice="card-approve").text
    (href,) = re.findall(r"href='(https://[^']+)'", html)
    expected = "order_id=o-1&amp;status_code=200&amp;transaction_status=capture"
    assert href == f"https://shop.example/return?lang=id&amp;{expected}"


def test_a_paid_page_takes_nothing_more_from_a_buyer(simulator: RunningSimulator):
    """A form left open in another tab must not pay twice."""
    url = create(simulator)
    submit(url, "/pay", choice="card-approve")
    assert "Payment received" in submit(url, "/pay", choice="card-approve").text
    assert len(transactions(simulator)) == 1


def test_a_step_on_what_is_no_longer_pending_changes_nothing(simulator: RunningSimulator):
    url = create(simulator)
    submit(url, "/pay", choice="va-bni")
    path = f"/transactions/{transactions(simulator)[0]['transaction_id']}"
    submit(url, path, step="cancel")
    submit(url, path, step="paid")
    assert transactions(simulator)[0]["transaction_status"] == "cancel"


def test_a_cancelled_page_says_so_and_takes_nothing(simulator: RunningSimulator):
    url = create(simulator)
    token = url.rsplit("/", 1)[1]
    cancel = f"{simulator.url}/snap/v1/transactions/{token}/cancel"
    requests.post(cancel, auth=(simulator.server_key, ""), timeout=TIMEOUT_S)
    shown = requests.get(url, timeout=TIMEOUT_S)
    assert shown.status_code == 410
    assert "The merchant closed this payment page" in shown.text
    assert "<form" not in shown.text
    submit(url, "/pay", choice="card-approve")
    assert transactions(simulator) == []


def test_an_expired_page_says_so(simulator: RunningSimulator):
    url = create(simulator, page_expiry={"duration": 5, "unit": "minutes"})
    simulator.control("clock", {"advance_s": 301})
    assert "This payment page expired on" in requests.get(url, timeout=TIMEOUT_S).text


def test_a_replaced_page_is_gone(simulator: RunningSimulator):
    older = create(simulator)
    create(simulator)
    assert requests.get(older, timeout=TIMEOUT_S).status_code == 404
    assert submit(older, "/pay", choice="card-approve").status_code == 404
    assert transactions(simulator) == []


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/pay", b"", 400),
        ("/pay", b"choice=nothing", 400),
        ("/pay", b"\xff\xfe%zz&&==", 400),
        ("/pay", b"&".join(b"a=1" for _ in range(50)), 400),
        ("/transactions/unknown", b"step=paid", 404),
        ("/nothing", b"", 404),
    ],
)
def test_a_form_that_cannot_be_meant_is_refused_with_a_page(
    simulator: RunningSimulator, path: str, body: bytes, status: int
):
    url = create(simulator)
    answer = requests.post(url + path, data=body, timeout=TIMEOUT_S)
    assert answer.status_code == status
    assert "<strong>SIMULATOR</strong>" in answer.text


@pytest.mark.parametrize("path", ["", "/", "/nothing", "/snap/v2/vtweb/unknown", "/snap/v2/vtweb/%00"])
def test_every_page_is_locked_down_and_says_simulator(simulator: RunningSimulator, path: str):
    answer = requests.get(simulator.url + path, timeout=TIMEOUT_S)
    assert answer.status_code in {200, 404}
    assert "<strong>SIMULATOR</strong>" in answer.text
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


# --- in a browser ----------------------------------------------------------------------------------------------------


@pytest.fixture
def browser_page() -> Iterator[Page]:
    with running_browser() as browser:
        # Scripts are off: everything must work with plain forms.
        yield browser.new_page(java_script_enabled=False, viewport={"width": 360, "height": 740})


@pytest.mark.browser
def test_a_buyer_with_a_phone_and_no_scripts_pays_by_virtual_account(simulator: RunningSimulator, browser_page: Page):
    complaints: list[str] = []
    browser_page.on("console", lambda message: complaints.append(message.text))
    browser_page.goto(create(simulator))
    browser_page.get_by_text("Bank transfer", exact=False).first.click()
    browser_page.get_by_label("BRI", exact=True).check()
    browser_page.get_by_role("button", name="Get a number").click()
    assert browser_page.get_by_role("heading", name="BRI virtual account").is_visible()
    browser_page.get_by_role("button", name="I have paid").click()
    assert browser_page.get_by_role("heading", name="Payment received").is_visible()
    way_back = browser_page.get_by_role("link", name="Back to the shop").get_attribute("href")
    assert way_back == f"{FINISH}&order_id=o-1&status_code=200&transaction_status=settlement"
    assert transactions(simulator)[0]["captured_amount"] == "150000.00"
    assert complaints == []


@pytest.mark.browser
def test_nothing_on_a_narrow_phone_runs_over_the_edge(simulator: RunningSimulator, browser_page: Page):
    name = "W" * 50
    browser_page.set_viewport_size({"width": 320, "height": 600})
    items = [{"id": "A", "name": name, "price": 150_000, "quantity": 1}]
    browser_page.goto(create(simulator, item_details=items))
    widest = max(
        (
            box["x"] + box["width"]
            for box in (one.bounding_box() for one in browser_page.locator("main *").all())
            if box
        ),
    )
    assert widest <= 320
