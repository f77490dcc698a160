"""What every gateway adapter must do, driven against something that speaks its wire: a simulator, a sandbox, a twin.

The port shows our side only, so the test module gives the other one too, as a `Wire`: what a buyer, the gateway itself
and a bad network do.

    class TestMyGateway(GatewayContract):
        secrets = ("sk_test_",)

        @pytest.fixture
        def gateway(self) -> MyGateway:
            return MyGateway(key="sk_test_123", url=...)

        @pytest.fixture
        def wire(self, gateway: MyGateway) -> MyWire:
            return MyWire(...)
"""

import abc
from datetime import timedelta
from itertools import count

import attrs
import pytest

from payments_core.errors import GatewayTimeout, GatewayUnavailable, NotAuthentic, NotificationRefused
from payments_core.identity import make_payment_id, provider_order_id
from payments_core.money import Currency, Money
from payments_core.orders import Customer, Item, Order
from payments_core.payment import Attempt, AttemptState, Refund, RefundState
from payments_core.ports import (
    Done,
    Foreign,
    Gateway,
    Genuine,
    PageClosing,
    PageOpened,
    PageTaken,
    Refused,
    Waiting,
)
from payments_core.states import Signal
from payments_core.system import SystemClock

__all__ = ["GatewayContract", "Wire", "sample_attempt"]

_NUMBERS = count(1)
"""Every attempt of a run is of an order of its own: a sandbox remembers the ones before."""


class Wire(abc.ABC):
    """The other side: what a buyer, the gateway itself and a bad network do.

    What a gateway cannot do (a method that is never declined) its wire answers with `pytest.skip` and the reason.
    """

    @abc.abstractmethod
    def is_payable(self, page: PageOpened) -> bool:
        """Whether a buyer who was given this page could pay on it now."""

    @abc.abstractmethod
    def buyer_tries(self, page: PageOpened, attempt: Attempt, outcome: Signal) -> str:
        """The transaction id of a buyer's try on this page, which ended (so far) as `outcome` says."""

    @abc.abstractmethod
    def becomes(self, transaction_id: str, word: Signal) -> None:
        """The transaction moved on."""

    @abc.abstractmethod
    def notification(self, transaction_id: str) -> tuple[bytes, dict[str, str]]:
        """Body and headers of the newest notification about this transaction, as they came over the wire."""

    @abc.abstractmethod
    def refuses_the_next_call(self) -> None:
        """The next call is answered with an error, and does not take effect."""

    @abc.abstractmethod
    def loses_the_next_answer(self) -> None:
        """The next call takes effect, and its answer never comes."""


class GatewayContract:
    """Inherit it, name the `secrets`, and give `gateway` and `wire` fixtures.

    **Units**: every attempt is about two items at `price_minor` minor units of `currency`.
    """

    pytestmark = pytest.mark.asyncio

    secrets: tuple[str, ...] = ()
    """Texts that give a secret of the gateway away: the key it was made with, or its beginning."""
    currency = "IDR"
    price_minor = 5_000_000
    unknown_page = PageClosing.GONE
    """What closing a page proves that the gateway does not know: nothing (IN_PROGRESS) where it forgets none, because
    then it was asked in another account's name."""

    async def test_a_page_is_opened(self, gateway: Gateway) -> None:
        """The buyer gets an address to pay at."""
        reply = await gateway.open_page(self.attempt(gateway))
        assert isinstance(reply, PageOpened)
        assert reply.url.startswith("http")

    async def test_opening_again_leaves_one_page_that_can_be_paid(self, gateway: Gateway, wire: Wire) -> None:
        """Two pages that can be paid are how one order is charged twice; the address given last must work."""
        attempt = self.attempt(gateway)
        first, second = await self.opened(gateway, attempt), await self.opened(gateway, attempt)
        assert {page.url for page in (first, second) if wire.is_payable(page)} == {second.url}
        wire.buyer_tries(second, attempt, Signal.PENDING)

    async def test_opening_again_after_a_choice_opens_no_other_page(self, gateway: Gateway, wire: Wire) -> None:
        """A buyer who chose a virtual account may be paying it: the gateway refuses, or answers with the same page."""
        attempt = self.attempt(gateway)
        page = await self.opened(gateway, attempt)
        wire.buyer_tries(page, attempt, Signal.PENDING)
        assert await gateway.open_page(attempt) in (PageTaken(), page)

    async def test_before_a_choice_there_is_nothing_to_read(self, gateway: Gateway) -> None:
        """None, and not an error: it is no proof of anything."""
        attempt = self.attempt(gateway)
        page = await self.opened(gateway, attempt)
        assert await gateway.read_page(attrs.evolve(attempt, token=page.token)) is None

    @pytest.mark.parametrize("outcome", [Signal.PENDING, Signal.SETTLED, Signal.DENIED, Signal.EXPIRED])
    async def test_a_try_is_read_by_its_page_and_by_itself(self, gateway: Gateway, wire: Wire, outcome: Signal) -> None:
        """A lost notification is recovered by asking, whether or not the transaction is known."""
        attempt = self.attempt(gateway)
        page = await self.opened(gateway, attempt)
        transaction_id = wire.buyer_tries(page, attempt, outcome)
        by_page = await gateway.read_page(attrs.evolve(attempt, token=page.token))
        for read in (by_page, await gateway.read(transaction_id)):
            assert read is not None
            assert (read.meaning, read.transaction_id, read.amount) == (outcome, transaction_id, attempt.amount)
            assert read.provider_order_id == attempt.provider_order_id

    async def test_a_notification_says_what_a_reading_says(self, gateway: Gateway, wire: Wire) -> None:
        """Both end in the same words, and a stored notification is understood again later."""
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
        """A stranger who moves a settlement to another order pays for it with nothing."""
        attempt = self.attempt(gateway)
        transaction_id = wire.buyer_tries(await self.opened(gateway, attempt), attempt, Signal.SETTLED)
        body, headers = wire.notification(transaction_id)
        forged = body.replace(attempt.provider_order_id.encode(), b"another-order")
        assert forged != body, "a notification names the order it is about"
        with pytest.raises(NotAuthentic):
            gateway.authenticate(forged, headers)

    @pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"\x00", b'{"status": "paid"}'])
    async def test_bytes_nobody_signed_are_never_genuine(self, gateway: Gateway, body: bytes) -> None:
        """The webhook is open to the world."""
        try:
            said = gateway.authenticate(body, {})
        except NotificationRefused:
            return
        assert isinstance(said, Foreign)

    async def test_a_page_is_ended_and_ending_it_again_is_no_error(self, gateway: Gateway, wire: Wire) -> None:
        """The closing of a page is repeated until it is proved."""
        attempt = self.attempt(gateway)
        page = await self.opened(gateway, attempt)
        known = attrs.evolve(attempt, token=page.token)
        assert await gateway.close_page(known) is PageClosing.GONE
        assert not wire.is_payable(page)
        assert await gateway.close_page(known) is PageClosing.GONE

    async def test_an_unknown_page_is_no_error(self, gateway: Gateway) -> None:
        """Nobody can pay on a page the gateway does not know, unless it was somebody else's question."""
        unknown = attrs.evolve(self.attempt(gateway), token="11111111-2222-3333-4444-555555555555")  # noqa: S106 - names a page
        assert await gateway.close_page(unknown) is self.unknown_page

    async def test_a_page_with_a_try_under_way_ends_with_the_try(self, gateway: Gateway, wire: Wire) -> None:
        """A page is not given up while somebody may be paying: it waits for the try, or takes it along."""
        attempt = self.attempt(gateway)
        page = await self.opened(gateway, attempt)
        transaction_id = wire.buyer_tries(page, attempt, Signal.PENDING)
        known = attrs.evolve(attempt, token=page.token)
        if await gateway.close_page(known) is PageClosing.IN_PROGRESS:
            await gateway.cancel(transaction_id)
        read = await gateway.read(transaction_id)
        assert read is not None
        assert read.meaning in (Signal.CANCELLED, Signal.EXPIRED)
        assert await gateway.close_page(known) is PageClosing.GONE

    async def test_cancelling_what_cannot_be_cancelled_is_no_error(self, gateway: Gateway, wire: Wire) -> None:
        """The reading that follows tells what happened."""
        attempt = self.attempt(gateway)
        transaction_id = wire.buyer_tries(await self.opened(gateway, attempt), attempt, Signal.SETTLED)
        await gateway.cancel(transaction_id)
        read = await gateway.read(transaction_id)
        assert read is not None
        assert read.meaning is Signal.SETTLED

    # ── money ─────────────────────────────────────────────────────────────────────────────────────────────────────
    async def paid(self, gateway: Gateway, wire: Wire, outcome: Signal) -> tuple[str, Money]:
        """A transaction with this outcome on a new page, and its amount."""
        attempt = self.attempt(gateway)
        reply = await gateway.open_page(attempt)
        assert isinstance(reply, PageOpened)
        return wire.buyer_tries(reply, attempt, outcome), attempt.amount

    def refund_of(self, transaction_id: str, amount: Money, key: str) -> Refund:
        """A refund to be sent."""
        return Refund(
            key=key,
            transaction_id=transaction_id,
            amount=amount,
            state=RefundState.REQUESTED,
            by="operator:contract",
            reason="contract",
            at=SystemClock().now(),
        )

    def skip_where_money_goes_back_by_hand(self, gateway: Gateway) -> None:
        """No refund is ever sent to a gateway whose traits name no method for it."""
        if gateway.traits.refunds is not None and not gateway.traits.refunds:
            pytest.skip("this gateway gives nothing back by itself: an operator does, by hand")

    async def given_back(self, gateway: Gateway, transaction_id: str) -> int:
        """Minor units, as a reading says it."""
        seen = await gateway.read(transaction_id)
        assert seen is not None
        listed = sum(report.amount.amount_minor for report in seen.refunds if report.amount)
        return max(listed, seen.refunded.amount_minor if seen.refunded else 0)

    async def test_settled_money_is_given_back_once_for_each_key(self, gateway: Gateway, wire: Wire) -> None:
        """Whatever the gateway says to a key it knows, the money moved once; another key moves more."""
        self.skip_where_money_goes_back_by_hand(gateway)
        transaction_id, amount = await self.paid(gateway, wire, Signal.SETTLED)
        part = Money(amount.amount_minor // 4, amount.currency)
        first = self.refund_of(transaction_id, part, f"r-{transaction_id}-1")
        assert isinstance(await gateway.refund(first), Done | Waiting)
        assert not isinstance(await gateway.refund(first), Refused)
        assert await self.given_back(gateway, transaction_id) == part.amount_minor
        second = attrs.evolve(first, key=f"r-{transaction_id}-2")
        assert isinstance(await gateway.refund(second), Done | Waiting)
        assert await self.given_back(gateway, transaction_id) == 2 * part.amount_minor

    async def test_more_than_there_is_is_refused(self, gateway: Gateway, wire: Wire) -> None:
        """A definitive no moves nothing."""
        transaction_id, amount = await self.paid(gateway, wire, Signal.SETTLED)
        more = Money(amount.amount_minor * 2, amount.currency)
        assert isinstance(await gateway.refund(self.refund_of(transaction_id, more, f"r-{transaction_id}")), Refused)
        assert await self.given_back(gateway, transaction_id) == 0

    async def test_a_lost_answer_of_a_refund_is_unknown_and_its_key_finds_it(
        self, gateway: Gateway, wire: Wire
    ) -> None:
        """The same key again must not pay twice."""
        self.skip_where_money_goes_back_by_hand(gateway)
        transaction_id, amount = await self.paid(gateway, wire, Signal.SETTLED)
        refund = self.refund_of(transaction_id, Money(amount.amount_minor // 2, amount.currency), f"r-{transaction_id}")
        wire.loses_the_next_answer()
        with pytest.raises((GatewayUnavailable, GatewayTimeout)):
            await gateway.refund(refund)
        await gateway.refund(refund)
        assert await self.given_back(gateway, transaction_id) == refund.amount.amount_minor

    async def test_held_money_is_taken_whole_or_in_part(self, gateway: Gateway, wire: Wire) -> None:
        """What a reading then calls captured is what was asked for."""
        transaction_id, amount = await self.paid(gateway, wire, Signal.AUTHORIZED)
        part = Money(amount.amount_minor // 2, amount.currency)
        assert isinstance(await gateway.capture(transaction_id, part), Done)
        seen = await gateway.read(transaction_id)
        assert seen is not None
        assert (seen.meaning in (Signal.CAPTURED, Signal.SETTLED), seen.amount) == (True, part)
        assert isinstance(await gateway.capture(transaction_id, part), Refused)

    async def test_a_review_is_let_through_or_refused(self, gateway: Gateway, wire: Wire) -> None:
        """Each once, and only while it lasts."""
        good, _ = await self.paid(gateway, wire, Signal.CHALLENGED)
        bad, _ = await self.paid(gateway, wire, Signal.CHALLENGED)
        assert isinstance(await gateway.approve(good), Done)
        assert isinstance(await gateway.deny(bad), Done)
        for transaction_id, meaning in ((good, Signal.CAPTURED), (bad, Signal.DENIED)):
            seen = await gateway.read(transaction_id)
            assert seen is not None
            assert seen.meaning is meaning
            assert isinstance(await gateway.approve(transaction_id), Refused)

    async def test_an_error_of_the_gateway_is_unknown_and_retryable(self, gateway: Gateway, wire: Wire) -> None:
        """A 5xx is no answer: the same request is sent again."""
        wire.refuses_the_next_call()
        with pytest.raises(GatewayUnavailable) as unknown:
            await gateway.open_page(self.attempt(gateway))
        assert unknown.value.retryable

    async def test_a_lost_answer_is_unknown_and_the_same_request_finds_one_page(
        self, gateway: Gateway, wire: Wire
    ) -> None:
        """The page may exist; sending the stored request again finds it and makes no second one."""
        attempt = self.attempt(gateway)
        wire.loses_the_next_answer()
        with pytest.raises((GatewayTimeout, GatewayUnavailable)):
            await gateway.open_page(attempt)
        page = await self.opened(gateway, attempt)
        wire.buyer_tries(page, attempt, Signal.SETTLED)

    async def test_a_secret_is_in_no_repr(self, gateway: Gateway) -> None:
        """Objects end up in logs and in error reports."""
        assert self.secrets, "name what must not be shown"
        assert not [secret for secret in self.secrets if secret in repr(gateway)]

    # ── small helpers ─────────────────────────────────────────────────────────────────────────────────────────────
    async def opened(self, gateway: Gateway, attempt: Attempt) -> PageOpened:
        """The page the gateway opens for this attempt."""
        reply = await gateway.open_page(attempt)
        assert isinstance(reply, PageOpened)
        return reply

    def attempt(self, gateway: Gateway) -> Attempt:
        """An attempt with its stored request, of an order of its own."""
        return sample_attempt(gateway, Money(self.price_minor, Currency.of(self.currency)))


def sample_attempt(gateway: Gateway, price: Money) -> Attempt:
    """A new attempt at this gateway over two items of this price, with the request that opens its page."""
    number, now = next(_NUMBERS), SystemClock().now().replace(microsecond=0)
    payment_id = make_payment_id(int(now.timestamp() * 1000), number)
    order = Order(
        order_id=f"o-{number}",
        customer=Customer("alice", "Alice", "alice@example.com"),
        currency=price.currency,
        items=(Item("book", "A book", price, 2),),
        discount=Money(0, price.currency),
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
