"""Adapters that are broken on purpose, each beside its honest twin; `test_conformance.py` runs them.

Each forgets one thing that a tired person could forget.
"""

from collections.abc import Sequence

import attrs
import pytest

from harness.memory_wire import MemoryWire
from payments_core.errors import GatewayError
from payments_core.observations import Observation
from payments_core.orders import StockMove
from payments_core.payment import Attempt, Payment
from payments_core.ports import Change, OrderEffect, PageReply
from payments_core.testing.gateways import GatewayContract, Wire
from payments_core.testing.order_books import OrderBookContract, Shopkeeper, StockContract
from payments_core.testing.order_registries import RegistryKeeper
from payments_core.testing.stores import StoreContract
from payments_core_memory import MemoryGateway, MemoryOrders, MemoryStore
from payments_core_memory.store import _Payments


# ── a store that forgets the version check ────────────────────────────────────────────────────────────────────────────
class ForgetfulPayments(_Payments):
    """Saves over whatever is there, as an UPDATE without `WHERE version = ?` does."""

    def copy(self) -> "ForgetfulPayments":
        copied = super().copy()
        return ForgetfulPayments(copied.rows, copied.events, copied.bound)

    async def save(self, changes: Sequence[Change]) -> dict[str, Payment]:
        return await super().save([attrs.evolve(c, before=self.rows.get(c.after.payment_id)) for c in changes])


class TestHonestStore(StoreContract):
    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore()

    @pytest.fixture
    def shop(self, store: MemoryStore) -> RegistryKeeper:
        return RegistryKeeper(store)


class TestForgetfulStore(TestHonestStore):
    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore(payments=ForgetfulPayments())


# ── a store that forgets a column ─────────────────────────────────────────────────────────────────────────────────────
class ColumnlessPayments(_Payments):
    """Has no column for why a refund was refused, as a table has that is older than the field."""

    def copy(self) -> "ColumnlessPayments":
        copied = super().copy()
        return ColumnlessPayments(copied.rows, copied.events, copied.bound)

    async def save(self, changes: Sequence[Change]) -> dict[str, Payment]:
        return await super().save([attrs.evolve(c, after=without_refusals(c.after)) for c in changes])


def without_refusals(payment: Payment) -> Payment:
    return attrs.evolve(payment, refunds=tuple(attrs.evolve(refund, refused=None) for refund in payment.refunds))


class TestColumnlessStore(TestHonestStore):
    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore(payments=ColumnlessPayments())


# ── an order book that releases stock twice ───────────────────────────────────────────────────────────────────────────
class GenerousOrders(MemoryOrders):
    """Gives units back whenever it is asked to, without looking whether it did so before."""

    def copy(self) -> "GenerousOrders":
        copied = super().copy()
        return GenerousOrders(copied.orders, copied.available, copied.held)

    async def apply(self, effects: Sequence[OrderEffect]) -> dict[str, StockMove]:
        for effect in effects:
            if effect.stock is self.held[effect.order_id] is StockMove.RELEASED:
                self.held[effect.order_id] = StockMove.RESERVED
        return await super().apply(effects)


class TestHonestOrders(OrderBookContract, StockContract):
    @pytest.fixture
    def shop(self) -> RegistryKeeper:
        return RegistryKeeper(MemoryStore())


class TestGenerousOrders(OrderBookContract, StockContract):
    @pytest.fixture
    def shop(self) -> RegistryKeeper:
        return RegistryKeeper(MemoryStore(orders=GenerousOrders()))


# ── a gateway whose repeated open makes a second page ─────────────────────────────────────────────────────────────────
class TwoPagesGateway(MemoryGateway):
    """Opens a page for every request and leaves the earlier ones alive: the order id is no key here."""

    def _open(self, attempt: Attempt) -> PageReply:
        earlier = self.pages.get(attempt.provider_order_id)
        reply = super()._open(attempt)
        if earlier is not None and earlier is not self.pages[attempt.provider_order_id]:
            self.pages[earlier.token] = earlier
        return reply


# ── a gateway that takes silence for an answer ────────────────────────────────────────────────────────────────────────
class HopefulGateway(MemoryGateway):
    """Says that it knows of no transaction when it could not ask."""

    async def read(self, transaction_id: str) -> Observation | None:
        try:
            return await super().read(transaction_id)
        except GatewayError:
            return None


class TestHonestGateway(GatewayContract):
    secrets = ("memory-secret",)

    @pytest.fixture
    def gateway(self) -> MemoryGateway:
        return MemoryGateway()

    @pytest.fixture
    def wire(self, gateway: MemoryGateway) -> MemoryWire:
        return MemoryWire(gateway)


class TestTwoPagesGateway(TestHonestGateway):
    @pytest.fixture
    def gateway(self) -> TwoPagesGateway:
        return TwoPagesGateway()


class TestHopefulGateway(TestHonestGateway):
    @pytest.fixture
    def gateway(self) -> HopefulGateway:
        return HopefulGateway()


# ── an honest gateway and store, of which the test module says no more than it must ───────────────────────────────────
class ShortWire(MemoryWire):
    """What a wire was before it was asked for more."""

    asked_for, reproved, says = Wire.asked_for, Wire.reproved, Wire.says
    holds_the_next_answer = Wire.holds_the_next_answer


class TestShortWire(TestHonestGateway):
    @pytest.fixture
    def wire(self, gateway: MemoryGateway) -> ShortWire:
        return ShortWire(gateway)


class TestStoreAlone(StoreContract):
    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore()


class ShortKeeper(RegistryKeeper):
    bill = Shopkeeper.bill


class TestShortKeeper(TestHonestOrders):
    @pytest.fixture
    def shop(self) -> ShortKeeper:
        return ShortKeeper(MemoryStore())
