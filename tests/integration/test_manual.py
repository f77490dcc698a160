"""Bank transfers that an operator confirms: the contract of gateways, and the whole product over HTTP and commands."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest

from harness.clock import HOUR_S, sweep_later
from harness.product import Product, running_product, token, until
from harness.sql_shop import SqlShop
from payments_core import PageWish
from payments_core.errors import MalformedNotification
from payments_core.identity import read_provider_order_id
from payments_core.money import Currency, Money
from payments_core.payment import Attempt
from payments_core.ports import PageClosing, PageOpened
from payments_core.states import Signal
from payments_core.testing.gateways import GatewayContract, Wire
from payments_core.use_cases.receive_notification import Accepted
from payments_core_manual import HEADER, ManualGateway, ManualSettings, Transfer, signature_of
from payments_core_sqlalchemy import SqlStore
from payments_core_sqlalchemy.confirmations import StoredNotifications
from payments_core_sqlalchemy.migrate import migrate_async

SECRET = "manual-secret-of-the-tests-0123456789"
BANK = "Bank Contoh, 123-456-789, Toko <Buku>"
SETTINGS = ManualSettings(bank_details=BANK, secrets=(SECRET, "older-" + SECRET), page_base="https://shop.example")


# ── the contract ──────────────────────────────────────────────────────────────────────────────────────────────────────
class Stored:
    """What was confirmed, kept in memory as the product keeps it in its table of notifications."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    async def of(self, payment_id: str) -> list[bytes]:
        named = [(body, read_provider_order_id(json.loads(body)["provider_order_id"])) for body in self.bodies]
        return [body for body, name in named if name is not None and name.payment_id == payment_id]


class WatchedGateway(ManualGateway):
    """Remembers which pages are over, as the stored attempt does in the product."""

    def __init__(self, stored: Stored) -> None:
        super().__init__(SETTINGS, stored)
        self.closed: set[str] = set()

    async def close_page(self, attempt: Attempt) -> PageClosing:
        self.closed.add(attempt.token or "")
        return await super().close_page(attempt)


@attrs.define
class OperatorWire(Wire):
    gateway: WatchedGateway
    stored: Stored

    def is_payable(self, page: PageOpened) -> bool:
        return page.token not in self.gateway.closed

    def buyer_tries(self, page: PageOpened, attempt: Attempt, outcome: Signal) -> str:
        if outcome is not Signal.SETTLED:
            pytest.skip("a transfer is on our account or it is not: nothing is pending, held, reviewed or declined")
        transfer = Transfer(
            provider_order_id=page.token,
            amount=attempt.amount,
            bank_reference=f"booking {len(self.stored.bodies)}",
            confirmed_by="operator:ani",
            received_at=datetime.now(UTC),
        )
        self.stored.bodies.append(transfer.to_bytes())
        return transfer.transaction_id

    def becomes(self, transaction_id: str, word: Signal) -> None:  # noqa: ARG002 - it becomes nothing
        pytest.skip("a booking stays what it is")

    def asked_for(self, page: PageOpened, attempt: Attempt) -> Money:
        asked = json.loads(attempt.request or "")
        assert asked["reference"] == page.token
        return Money(int(Decimal(asked["amount"]) * 100), Currency.of(asked["currency"]))

    def says(self, transaction_id: str, word: str) -> None:  # noqa: ARG002 - it says nothing
        pytest.skip("a booking has no status: it is there")

    def notification(self, transaction_id: str) -> tuple[bytes, dict[str, str]]:
        body = next(body for body in self.stored.bodies if Transfer.read(body).transaction_id == transaction_id)
        return body, {HEADER: signature_of(body, SECRET)}

    def refuses_the_next_call(self) -> None:
        pytest.skip("there is no network: nothing can be answered with an error")

    def loses_the_next_answer(self) -> None:
        pytest.skip("there is no network: no answer can be lost")

    def holds_the_next_answer(self) -> None:
        pytest.skip("there is no network: no answer can be held")


class TestManualGateway(GatewayContract):
    secrets = (SECRET,)

    @pytest.fixture
    def stored(self) -> Stored:
        return Stored()

    @pytest.fixture
    def gateway(self, stored: Stored) -> WatchedGateway:
        return WatchedGateway(stored)

    @pytest.fixture
    def wire(self, gateway: WatchedGateway, stored: Stored) -> Wire:
        return OperatorWire(gateway, stored)


def transfer(**changes: Any) -> Transfer:
    usual: dict[str, Any] = {
        "provider_order_id": "01jx0000000000000000000000-1p",
        "amount": Money.of(15_000_000, "IDR"),
        "bank_reference": "BCA 1",
        "confirmed_by": "operator:ani",
        "received_at": datetime(2026, 11, 27, 9, 30, tzinfo=UTC),
    }
    return Transfer(**{**usual, **changes})


def test_a_transfer_reads_back_from_its_own_bytes():
    assert Transfer.read(transfer().to_bytes()) == transfer()


@pytest.mark.parametrize(
    "changes",
    [
        {"bank_reference": ""},
        {"bank_reference": "x" * 129},
        {"amount": Money.of(0, "IDR")},
        {"amount": Money.of(-1, "IDR")},
        {"received_at": datetime(2026, 11, 27)},  # noqa: DTZ001 - a time without a zone is the point
    ],
)
def test_a_transfer_that_cannot_be_one_is_refused(changes: dict[str, Any]):
    with pytest.raises(MalformedNotification):
        transfer(**changes)


def test_a_secret_that_is_being_rolled_still_proves_an_operator():
    body = transfer().to_bytes()
    gateway = ManualGateway(SETTINGS, Stored())
    assert gateway.authenticate(body, {"Manual-Signature": signature_of(body, "older-" + SECRET)})


# ── one booking, one payment ──────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
async def desks(database_url: str) -> AsyncIterator[tuple[SqlShop, SqlShop]]:
    """Two who confirm for one shop, each with connections of his own where the database serves many processes."""
    await migrate_async(database_url)
    stores = [SqlStore(database_url)]
    if not stores[0].is_sqlite:
        stores.append(SqlStore(database_url))
    shops = [SqlShop(store, others={"manual": ManualGateway(SETTINGS, confirmations(store))}) for store in stores]
    yield shops[0], shops[-1]
    for store in stores:
        await store.close()


def confirmations(store: SqlStore) -> StoredNotifications:
    return StoredNotifications(store, ManualGateway.name)


async def asked_to_transfer(shop: SqlShop, order_id: str) -> Attempt:
    await shop.place(order_id)
    wish = PageWish(provider="manual")
    return (await shop.service.start(order_id, wish, customer_id="alice", actor="customer:alice")).attempt


async def confirm(shop: SqlShop, page: Attempt, booking: str) -> Accepted:
    body = transfer(provider_order_id=page.provider_order_id, amount=page.amount, bank_reference=booking).to_bytes()
    accepted = await shop.service.receive("manual", body, {HEADER: signature_of(body, SECRET)})
    assert isinstance(accepted, Accepted)
    return accepted


async def test_a_booking_confirmed_for_two_orders_at_once_counts_for_one(desks: tuple[SqlShop, SqlShop]):
    """Whichever desk is first; a reading of the other order, whose word is stored too, finds no money either."""
    mine, yours = desks
    for number in range(8):
        pages = [await asked_to_transfer(mine, f"o-{number}-{letter}") for letter in "ab"]
        payments = [page.provider_order_id.rpartition("-")[0] for page in pages]
        said = [confirm(mine, pages[0], f"BCA {number}"), confirm(yours, pages[1], f"BCA {number}")]
        reasons = dict(zip([a.reason for a in await asyncio.gather(*said)], payments, strict=True))
        assert {*reasons} == {"unseen -> settled", "was counted for another order"}
        left_out = reasons["was counted for another order"]
        await mine.service.refresh(left_out)
        assert (await mine.payment(reasons["unseen -> settled"])).paid_by is not None
        payment = await mine.payment(left_out)
        assert (payment.charges, payment.cases) == ((), ())
        assert await confirmations(mine.store).of(left_out) == []


# ── the product ───────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """The product with bank transfers switched on, on SQLite."""
    folder: Path = tmp_path_factory.mktemp("manual")
    overrides = {"PAYMENTS_MANUAL_BANK_DETAILS": BANK, "PAYMENTS_MANUAL_SECRET": SECRET}
    with running_product(f"sqlite+aiosqlite:///{folder / 'manual.sqlite3'}", folder, **overrides) as running:
        yield running


OPERATOR = {"payments_role": "operator", "scope": "payments:operate payments:read"}


def clicked(shop: Product) -> tuple[str, dict[str, Any]]:
    order_id = shop.order()
    answer = shop.pay(order_id, json={"provider": "manual"})
    assert answer.status_code == 201, answer.text
    return order_id, dict(answer.json())


def say(shop: Product, page: dict[str, Any], amount: str = "100000", booking: str = "") -> httpx.Response:
    """An operator's word; without a booking's name it is one of this page alone."""
    booking = booking or f"BCA for {page['provider_order_id']}"
    body = {"reference": page["provider_order_id"], "amount": amount, "bank_reference": booking}
    path = f"/api/payments/{page['payment_id']}/transfers"
    return shop.call("POST", path, as_=token("ani", **OPERATOR), json=body)


def shown(shop: Product, page: dict[str, Any]) -> str:
    path = httpx.URL(page["payment_url"]).path
    return shop.call("GET", path).raise_for_status().text


processes = pytest.mark.processes


@processes
def test_the_page_says_what_to_transfer_where_to_and_with_which_reference(shop: Product):
    _, page = clicked(shop)
    text = shown(shop, page)
    assert page["provider_order_id"] in text
    assert "100000 IDR" in text
    assert "Toko &lt;Buku&gt;" in text


@processes
def test_a_second_click_shows_the_same_page(shop: Product):
    order_id, page = clicked(shop)
    again = shop.pay(order_id, json={"provider": "manual"})
    assert (again.status_code, again.json()["payment_url"]) == (200, page["payment_url"])


@processes
def test_a_confirmed_transfer_pays_the_order_once(shop: Product):
    """The same booking confirmed twice, by two operators or a nervous one, is one transfer."""
    order_id, page = clicked(shop)
    first = say(shop, page)
    assert (first.status_code, first.json()["status"]) == (200, "success"), first.text
    assert say(shop, page).json()["code"] == "already_confirmed"
    status = shop.status(order_id)
    assert (status["status"], status["method"], status["provider"]) == ("success", "manual_transfer", "manual")
    assert "has arrived" in shown(shop, page)


@processes
def test_a_booking_confirmed_for_one_order_is_refused_for_another(shop: Product):
    """Two orders of one amount and one line of the statement: an operator is told, and nothing is opened."""
    first, second = clicked(shop), clicked(shop)
    assert say(shop, first[1], booking="BCA 78").json()["status"] == "success"
    for _ in range(2):
        again = say(shop, second[1], booking=" BCA 78 ")
        assert (again.status_code, again.json()["code"]) == (409, "already_confirmed")
        assert "counted for another order" in again.json()["detail"]
    told = shop.call("GET", f"/api/payments/{second[1]['payment_id']}", as_=shop.shop).json()
    assert (shop.status(second[0])["status"], told["cases"]) == ("pending", [])
    assert say(shop, second[1], booking="BCA 79").json()["status"] == "success"
    assert shop.run("reconcile").returncode == 0


@processes
def test_the_command_confirms_too(shop: Product):
    order_id, page = clicked(shop)
    said = shop.run("confirm-transfer", page["provider_order_id"], "100000", "--bank-reference", "BNI 5")
    assert said.returncode == 0, said.stderr
    assert "success" in said.stdout
    assert shop.status(order_id)["status"] == "success"
    again = shop.run("confirm-transfer", page["provider_order_id"], "100000", "--bank-reference", "BNI 5")
    assert again.returncode == 1
    assert "already_confirmed" in again.stderr


@processes
@pytest.mark.parametrize("amount", ["99999", "100001"])
def test_another_amount_than_asked_for_pays_nothing_and_is_a_case(shop: Product, amount: str):
    """A difference of one never pays; a person decides."""
    order_id, page = clicked(shop)
    said = say(shop, page, amount).json()
    assert [case["kind"] for case in said["cases"] if case["open"]] == ["amount_mismatch"]
    assert shop.status(order_id)["status"] != "success"


@processes
@pytest.mark.parametrize(
    ("changes", "code"),
    [({"amount": "ten"}, 422), ({"amount": "0"}, 400), ({"amount": "1.5555"}, 422), ({"reference": "x"}, 404)],
)
def test_a_transfer_that_cannot_be_meant_changes_nothing(shop: Product, changes: dict[str, str], code: int):
    order_id, page = clicked(shop)
    body = {"reference": page["provider_order_id"], "amount": "100000", "bank_reference": "B 1", **changes}
    path = f"/api/payments/{page['payment_id']}/transfers"
    answer = shop.call("POST", path, as_=token("ani", **OPERATOR), json=body)
    assert answer.status_code == code, answer.text
    assert shop.status(order_id)["status"] == "pending"


@processes
def test_only_an_operator_may_say_that_money_arrived(shop: Product):
    order_id, page = clicked(shop)
    body = {"reference": page["provider_order_id"], "amount": "100000", "bank_reference": "B 2"}
    path = f"/api/payments/{page['payment_id']}/transfers"
    assert shop.call("POST", path, as_=token("alice"), json=body).status_code in (401, 403, 404)
    assert shop.call("POST", path, as_=shop.shop, json=body).status_code == 403
    assert shop.status(order_id)["status"] == "pending"


@processes
def test_a_stranger_at_the_webhook_pays_nothing(shop: Product):
    order_id, page = clicked(shop)
    body = transfer(provider_order_id=page["provider_order_id"], amount=Money.of(10_000_000, "IDR")).to_bytes()
    forged = {HEADER: signature_of(body, "some-other-secret-0123456789012345")}
    answer = shop.client.post(f"{shop.url}/api/webhooks/manual/", content=body, headers=forged)
    assert answer.status_code == 401
    assert shop.status(order_id)["status"] == "pending"
    signed = {HEADER: signature_of(body, SECRET)}
    assert shop.client.post(f"{shop.url}/api/webhooks/manual/", content=body, headers=signed).status_code == 200
    shop.settled(order_id, "success")


@processes
def test_a_refund_goes_back_by_hand(shop: Product):
    """No bank is asked; the answer says so, and nothing is recorded as sent."""
    _, page = clicked(shop)
    say(shop, page)
    refunds = f"/api/payments/{page['payment_id']}/refunds"
    answer = shop.call("POST", refunds, as_=token("ani", **OPERATOR), json={}, headers={"Idempotency-Key": "m-1"})
    assert (answer.status_code, answer.json()["code"]) == (409, "return_by_hand")


@processes
def test_money_for_a_cancelled_order_is_a_case_and_its_return_is_by_hand(shop: Product):
    """The page is over because we said so, and the buyer's bank did not hear it: the money is never dropped."""
    order_id, page = clicked(shop)
    shop.call("POST", f"/api/orders/{order_id}/cancel", as_=shop.shop).raise_for_status()
    shop.settled(order_id, "cancelled")
    assert "is over" in shown(shop, page)
    told = say(shop, page, booking="late 1").json()
    case = next(case for case in told["cases"] if case["open"])
    assert (told["status"], case["kind"]) == ("cancelled", "late_payment")
    path = f"/api/payments/{page['payment_id']}/cases/{case['case_id']}/resolve"
    answer = shop.call("POST", path, as_=token("ani", **OPERATOR), json={"decision": "return", "note": "sent back"})
    assert answer.status_code == 200, answer.text

    def kinds() -> list[str]:
        told = shop.call("GET", f"/api/payments/{page['payment_id']}", as_=shop.shop).json()
        return [case["kind"] for case in told["cases"] if case["open"]]

    until(lambda: "return_by_hand" in kinds(), what="the case return_by_hand")


@processes
def test_a_page_nobody_pays_is_over_by_our_clock_and_money_after_it_is_late(shop: Product):
    """Nobody else ends it: we say that it is over, and say so provably, since only a confirmation could pay."""
    order_id, page = clicked(shop)
    sweep_later(shop, 25 * HOUR_S)
    shop.settled(order_id, "expired")
    assert "is over" in shown(shop, page)
    told = shop.call("GET", f"/api/payments/{page['payment_id']}", as_=shop.shop).json()
    assert [(one["state"], one["closing"]) for one in told["attempts"]] == [("dead", "expired")]
    late = say(shop, page, booking="late 2").json()
    assert late["status"] == "success", "there is stock left, so the order is taken up again"


@processes
def test_without_bank_details_nothing_of_it_is_there(shop: Product, tmp_path: Path):
    plain = running_product(f"sqlite+aiosqlite:///{tmp_path / 'plain.sqlite3'}", tmp_path)
    with plain as product:
        order_id = product.order()
        assert product.pay(order_id, json={"provider": "manual"}).json()["code"] == "gateway_not_configured"
        assert product.client.post(f"{product.url}/api/webhooks/manual/", content=b"{}").status_code == 404
        assert product.client.get(f"{product.url}/transfer/x").status_code == 404
    weak = shop.environment | {"PAYMENTS_MANUAL_SECRET": "short"}
    doctor = attrs.evolve(product, environment=weak).run("doctor")
    assert "PAYMENTS_MANUAL_SECRET: needed" in doctor.stdout
