"""The machine of `payments_core.testing` over the memory twins."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
from hypothesis import settings
from hypothesis.stateful import invariant

from payments_core import GatewayTraits
from payments_core.testing.machine import PaymentMachine
from payments_core_memory import MemoryStore
from payments_core_stripe import StripeSettings
from unit.laws.test_history import findings
from unit.world import World


class MemoryMachine(PaymentMachine):
    @asynccontextmanager
    async def opened(self, traits: GatewayTraits) -> AsyncIterator[World]:
        yield World(traits=traits)

    @invariant()
    def the_history_of_stock_is_the_stock(self) -> None:
        """What the order book holds for the order is what the history says."""
        assert self.store.orders.held[self.order_id] is self.now.held

    def check_the_order(self) -> None:
        """What every save changed adds up to what is stored; leases and numbers only ran ahead of it (G10)."""
        super().check_the_order()
        payments = self.store.payments
        for payment_id, payment in payments.rows.items():
            assert findings(payments.saves[payment_id], payment, payments.events[payment_id]) == []

    @property
    def store(self) -> MemoryStore:
        """The twin, looked into."""
        store = self.there.store
        assert isinstance(store, MemoryStore)
        return store


class StripeLikeMachine(MemoryMachine):
    """The same with Stripe's manner: signed as a whole, a repeated create brings the same page, charges are bound."""

    @asynccontextmanager
    async def opened(self, traits: GatewayTraits) -> AsyncIterator[World]:
        yield World(traits=attrs.evolve(STRIPE, status_lag=traits.status_lag, live=None))


STRIPE = StripeSettings(secret_key="sk_test_machine").traits
TestPaymentMachine = MemoryMachine.TestCase
TestPaymentMachine.settings = settings(max_examples=500, stateful_step_count=30, deadline=None)
TestStripeLikeMachine = StripeLikeMachine.TestCase
TestStripeLikeMachine.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)
