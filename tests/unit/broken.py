"""Three adapters that are broken on purpose, each beside its honest twin; `test_conformance.py` runs them.

Each forgets one thing that a tired person could forget.
"""

from collections.abc import Sequence

import attrs
import pytest

from harness.memory_wire import MemoryWire
from payments_core.orders import StockMove
from payments_core.payment import Attempt, Payment
from payments_core.ports import Change, OrderEffect, PageReply
from payments_core.testing.gateways import GatewayContract
from payments_core.testing.order_books import OrderBookContract, StockContract
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
