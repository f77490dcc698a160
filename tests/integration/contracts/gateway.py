"""What every gateway adapter must do, driven against something that speaks its wire.

The class that inherits it gives a `gateway`, and the buyer's and the saboteur's side of the wire behind it.
"""

import abc
from datetime import UTC, datetime, timedelta

import attrs
import pytest

from payments_core.errors import GatewayTimeout, GatewayUnavailable, NotAuthentic
from payments_core.identity import make_payment_id, provider_order_id
from payments_core.money import Currency, Money
from payments_core.orders import Customer, Item, Order
from payments_core.payment import Attempt, AttemptState
from payments_core.ports import Gateway, Genuine, PageClosing, PageOpened, PageTaken
from payments_core.states import Signal

IDR = Currency.of("IDR")


class Wire(abc.ABC):
    """The other side: what a buyer, the gateway itself and a bad network do."""

    @abc.abstractmethod
    def buyer_tries(self, page: PageOpened, attempt: Attempt, outcome: Signal) -> str:
        """The transaction id of a buyer's try."""

    @abc.abstractmethod
    def becomes(self, transaction_id: str, word: Signal) -> None:
        """The transaction moved on."""

    @abc.abstractmethod
    def notification(self, transaction_id: str) -> tuple[bytes, dict[str, str]]:
        """Body and headers of the newest notification."""

    @abc.abstractmethod
    def refuses_the_next_call(self) -> None:
        """The next call is answered with an error, and did not take effect."""

    @abc.abstractmethod
    def loses_the_next_answer(self) -> None:
        """The next call takes effect, and its answer never comes."""


class GatewayContract:
    """Inherit it, and give `gateway` and `wire` fixtures."""

    made = 0

    async def test_a_page_is_opened(self, gateway: Gateway) -> None:
        reply = await gateway.open_page(self.attempt(gateway))
        assert isinstance(reply, PageOpened)
        assert reply.url.startswith("http")

    async def test_opening_again_before_a_choice_replaces_the_page(self, gateway: Gateway, wire: Wire) -> None:
        attempt = self.attempt(gateway)
        first, second = await gateway.open_page(attempt), await gateway.open_page(attempt)
        assert isinstance(first, PageOpened)
        assert isinstance(second, PageOpened)
        assert first.token != second.token
        wire.buyer_tries(second, attempt, Signal.PENDING)

    async def test_opening_again_after_a_choice_is_taken(self, gateway: Gateway, wire: Wire) -> None:
        attempt = self.attempt(gateway)
        page = await self.opened(gateway, attempt)
        wire.buyer_tries(page, attempt, Signal.PENDING)
        assert isinstance(await gateway.open_page(attempt), PageTaken)

    async def test_before_a_choice_there_is_nothing_to_read(self, gateway: Gateway) -> None:
        attempt = self.attempt(gateway)
        await self.opened(gateway, attempt)
        assert await gateway.read(attempt.provider_order_id) is None

    @pytest.mark.parametrize("outcome", [Signal.PENDING, Signal.SETTLED, Signal.DENIED, Signal.EXPIRED])
    async def test_a_try_is_read_by_its_order_and_by_itself(
        self, gateway: Gateway, wire: Wire, outcome: Signal
    ) -> None:
        attempt = self.attempt(gateway)
        transaction_id = wire.buyer_tries(await self.opened(gateway, attempt), attempt, outcome)
        for reference in (attempt.provider_order_id, transaction_id):
            read = await gateway.read(reference)
            assert read is not None
            assert (read.meaning, read.transaction_id, read.amount) == (outcome, transaction_id, attempt.amount)
            assert read.provider_order_id == attempt.provider_order_id

    async def test_a_notification_says_what_a_reading_says(self, gateway: Gateway, wire: Wire) -> None:
        attempt = self.attempt(gateway)
        transaction_id = wire.buyer_tries(await self.opened(gateway, attempt), attempt, Signal.SETTLED)
        body, headers = wire.notification(transaction_id)
        genuine, read = gateway.authenticate(body, headers), await gateway.read(transaction_id)
        assert isinstance(genuine, Genuine)
        assert read is not None
        assert genuine.observation.meaning is read.meaning is Signal.SETTLED
        assert genuine.observation.amount == read.amount
        assert gateway.observe(body) == genuine.observation

    async def test_a_changed_notification_is_refused(self, gateway: Gateway, wire: Wire) -> None:
        attempt = self.attempt(gateway)
        transaction_id = wire.buyer_tries(await self.opened(gateway, attempt), attempt, Signal.SETTLED)
        body, headers = wire.notification(transaction_id)
        with pytest.raises(NotAuthentic):
            gateway.authenticate(body.replace(attempt.provider_order_id.encode(), b"another-order"), headers)

    async def test_a_page_is_ended_and_ending_it_again_is_no_error(self, gateway: Gateway) -> None:
        attempt = self.attempt(gateway)
        page = await self.opened(gateway, attempt)
        known = attrs.evolve(attempt, token=page.token)
        assert await gateway.close_page(known) is PageClosing.GONE
        assert await gateway.close_page(known) is PageClosing.GONE

    async def test_an_unknown_page_is_gone(self, gateway: Gateway) -> None:
        unknown = attrs.evolve(self.attempt(gateway), token="11111111-2222-3333-4444-555555555555")
        assert await gateway.close_page(unknown) is PageClosing.GONE

    async def test_a_page_with_a_try_under_way_is_in_progress(self, gateway: Gateway, wire: Wire) -> None:
        attempt = self.attempt(gateway)
        page = await self.opened(gateway, attempt)
        transaction_id = wire.buyer_tries(page, attempt, Signal.PENDING)
        known = attrs.evolve(attempt, token=page.token)
        assert await gateway.close_page(known) is PageClosing.IN_PROGRESS
        await gateway.cancel(transaction_id)
        read = await gateway.read(transaction_id)
        assert read is not None
        assert read.meaning is Signal.CANCELLED
        assert await gateway.close_page(known) is PageClosing.GONE

    async def test_cancelling_what_cannot_be_cancelled_is_no_error(self, gateway: Gateway, wire: Wire) -> None:
        attempt = self.attempt(gateway)
        transaction_id = wire.buyer_tries(await self.opened(gateway, attempt), attempt, Signal.SETTLED)
        await gateway.cancel(transaction_id)
        read = await gateway.read(transaction_id)
        assert read is not None
        assert read.meaning is Signal.SETTLED

    async def test_an_error_of_the_gateway_is_unknown_and_retryable(self, gateway: Gateway, wire: Wire) -> None:
        wire.refuses_the_next_call()
        with pytest.raises(GatewayUnavailable) as unknown:
            await gateway.open_page(self.attempt(gateway))
        assert unknown.value.retryable

    async def test_a_lost_answer_is_unknown_and_the_same_request_finds_one_page(
        self, gateway: Gateway, wire: Wire
    ) -> None:
        attempt = self.attempt(gateway)
        wire.loses_the_next_answer()
        with pytest.raises((GatewayTimeout, GatewayUnavailable)):
            await gateway.open_page(attempt)
        page = await self.opened(gateway, attempt)
        wire.buyer_tries(page, attempt, Signal.SETTLED)

    async def test_a_secret_is_in_no_repr(self, gateway: Gateway) -> None:
        assert "secret" not in repr(gateway)
        assert "Mid-server" not in repr(gateway)

    # ── small helpers ─────────────────────────────────────────────────────────────────────────────────────────────
    async def opened(self, gateway: Gateway, attempt: Attempt) -> PageOpened:
        reply = await gateway.open_page(attempt)
        assert isinstance(reply, PageOpened)
        return reply

    def attempt(self, gateway: Gateway) -> Attempt:
        """An attempt with its stored request, of an order of its own."""
        GatewayContract.made += 1
        now = datetime.now(UTC).replace(microsecond=0)
        payment_id = make_payment_id(int(now.timestamp() * 1000), GatewayContract.made)
        order = Order(
            order_id=f"o-{GatewayContract.made}",
            customer=Customer("alice", "Alice", "alice@example.com"),
            currency=IDR,
            items=(Item("book", "A book", Money(5_000_000, IDR), 2),),
            discount=Money(0, IDR),
            reserved_at=now,
            expires_at=now + timedelta(hours=24),
        )
        attempt = Attempt(
            number=1,
            provider=gateway.name,
            provider_order_id=provider_order_id(payment_id, 1),
            state=AttemptState.OPENING,
            amount=order.total,
            opened_at=now,
            ends_at=now + timedelta(hours=24),
        )
        return attrs.evolve(attempt, request=gateway.page_request(order, attempt))
