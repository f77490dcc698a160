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
import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from itertools import count
from time import monotonic
from typing import Any, TypeVar

import attrs
import pytest

from payments_core.errors import (
    AmountNotRepresentable,
    GatewayTimeout,
    GatewayUnavailable,
    NotAuthentic,
    NotificationRefused,
)
from payments_core.identity import make_payment_id, provider_order_id
from payments_core.money import Currency, Money
from payments_core.observations import Observation, Unknown
from payments_core.orders import Customer, Item, Order, Shipping
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
from payments_core.testing.proofs import FORGERIES, Change, forgeries, trusted

__all__ = ["GatewayContract", "Wire", "sample_attempt"]

_NUMBERS = count(1)
"""Every attempt of a run is of an order of its own: a sandbox remembers the ones before."""

Answer = TypeVar("Answer")
BUSY_S = 2.0
"""How much later than it should a call may end on a busy machine, seconds; an answer that is held comes later still."""
NEW_WORD = "invented_yesterday"
"""A status no gateway has, yet."""


class Wire(abc.ABC):
    """The other side: what a buyer, the gateway itself and a bad network do.

    What a gateway cannot do (a method that is never declined) its wire answers with `pytest.skip` and the reason.
    The methods that are not abstract skip by themselves; each that you write proves more.
    """

    @abc.abstractmethod
    def is_payable(self, page: PageOpened) -> bool:
        """Whether a buyer who was given this page could pay on it now."""

    @abc.abstractmethod
    def buyer_tries(self, page: PageOpened, attempt: Attempt, outcome: Signal) -> str:
        """The transaction id of a buyer's try on this page, which ended (so far) as `outcome` says."""

    @abc.abstractmethod
    def becomes(self, transaction_id: str, word: Signal) -> None:
        """The transaction moved on, and the gateway told so."""

    @abc.abstractmethod
    def notification(self, transaction_id: str) -> tuple[bytes, dict[str, str]]:
        """Body and headers of the newest notification about this transaction, as they came over the wire."""

    @abc.abstractmethod
    def refuses_the_next_call(self) -> None:
        """The next call is answered with an error, and does not take effect."""

    @abc.abstractmethod
    def loses_the_next_answer(self) -> None:
        """The next call takes effect, and its answer never comes."""

    def asked_for(self, page: PageOpened, attempt: Attempt) -> Money:  # noqa: ARG002 - for wires that know it
        """What a buyer has to pay on this page, as the gateway has it: who errs both ways agrees with himself."""
        pytest.skip("which amount reached the gateway is not proved: give the Wire an `asked_for`")

    def reproved(self, body: bytes, headers: Mapping[str, str], change: Change) -> tuple[bytes, dict[str, str]]:
        """The message with another proof of who sent it: by default every header is taken for one."""
        if not headers:
            pytest.skip("the proof is in the body: give the Wire a `reproved`, which changes it there")
        changed = {name: change(proof) for name, proof in headers.items()}
        return body, {name: proof for name, proof in changed.items() if proof is not None}

    def says(self, transaction_id: str, word: str) -> None:  # noqa: ARG002 - for wires that can
        """The status of this transaction is this word from now on, in answers and in notifications."""
        pytest.skip("what becomes of a word nobody knows is not proved: give the Wire a `says`")

    def notification_saying(self, transaction_id: str, word: str) -> tuple[bytes, dict[str, str]]:
        """A genuine notification of this transaction with this word for its status."""
        self.says(transaction_id, word)
        return self.notification(transaction_id)

    def holds_the_next_answer(self) -> None:
        """The next call takes effect, and its answer comes when nobody waits for it any more."""
        pytest.skip("that a call ends while its answer does not come is not proved: give the Wire this method")


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

    async def test_a_page_asks_for_what_is_owed(self, gateway: Gateway, wire: Wire) -> None:
        """To the unit, with discount and shipping; only the gateway can say what it was asked to take."""
        price = Money(self.price_minor, Currency.of(self.currency))
        part = Money(self.price_minor // 5, price.currency)
        attempt = sample_attempt(gateway, price, discount=part, shipping_cost=part + part)
        page = await self.opened(gateway, attempt)
        assert wire.asked_for(page, attempt) == attempt.amount == price + price + part

    async def test_an_amount_is_said_to_the_unit_or_refused(self, gateway: Gateway, wire: Wire) -> None:
        """A wire that takes whole rupiah refuses what it cannot say, before a page is opened, and never rounds it."""
        odd = Money(self.price_minor + 1, Currency.of(self.currency))
        refused = {_is_refused(asks) for asks in _every_refusal(gateway, odd)}
        assert len(refused) == 1, "the gateway is of two minds"
        if refused == {False}:
            attempt = sample_attempt(gateway, odd)
            assert wire.asked_for(await self.opened(gateway, attempt), attempt) == odd + odd

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
            assert (read.meaning, read.amount) == (outcome, attempt.amount)
            assert read.provider_order_id == attempt.provider_order_id
            self.names_its_charge(gateway, read, transaction_id)

    async def test_the_newest_try_of_a_page_is_read(self, gateway: Gateway, wire: Wire) -> None:
        """A buyer whose first card was declined has paid with the second."""
        attempt = self.attempt(gateway)
        page = await self.opened(gateway, attempt)
        wire.buyer_tries(page, attempt, Signal.DENIED)
        transaction_id = wire.buyer_tries(page, attempt, Signal.SETTLED)
        read = await gateway.read_page(attrs.evolve(attempt, token=page.token))
        assert read is not None
        assert (read.transaction_id, read.meaning) == (transaction_id, Signal.SETTLED)

    async def test_a_transaction_that_moved_on_is_told_as_it_is_now(self, gateway: Gateway, wire: Wire) -> None:
        """A virtual account is shown today and paid tomorrow."""
        transaction_id, _ = await self.paid(gateway, wire, Signal.PENDING)
        before = await gateway.read(transaction_id)
        wire.becomes(transaction_id, Signal.SETTLED)
        after, said = await gateway.read(transaction_id), self.believed(gateway, *wire.notification(transaction_id))
        assert before is not None
        assert after is not None
        assert said is not None
        assert (before.meaning, after.meaning) == (Signal.PENDING, Signal.SETTLED)
        assert said.observation.meaning is Signal.SETTLED

    async def test_a_word_nobody_knows_is_unknown_in_a_notification(self, gateway: Gateway, wire: Wire) -> None:
        """Gateways invent words; one of them must not pay an order, and none may be lost."""
        transaction_id, _ = await self.paid(gateway, wire, Signal.PENDING)
        said = gateway.authenticate(*wire.notification_saying(transaction_id, NEW_WORD))
        assert isinstance(said, Genuine)
        assert isinstance(said.observation.meaning, Unknown)

    async def test_a_word_nobody_knows_is_unknown_in_a_reading(self, gateway: Gateway, wire: Wire) -> None:
        """The same word, when it is the answer to a question."""
        transaction_id, _ = await self.paid(gateway, wire, Signal.PENDING)
        wire.says(transaction_id, NEW_WORD)
        read = await gateway.read(transaction_id)
        assert read is not None
        assert isinstance(read.meaning, Unknown)

    # ── who said it ───────────────────────────────────────────────────────────────────────────────────────────────
    async def test_a_notification_says_what_a_reading_says(self, gateway: Gateway, wire: Wire) -> None:
        """Both end in the same words, and a stored notification is understood again later."""
        attempt = self.attempt(gateway)
        transaction_id = wire.buyer_tries(await self.opened(gateway, attempt), attempt, Signal.SETTLED)
        body, headers = wire.notification(transaction_id)
        genuine, read = gateway.authenticate(body, headers), await gateway.read(transaction_id)
        assert isinstance(genuine, Genuine)
        assert read is not None
        said = genuine.observation
        assert said.meaning is read.meaning is Signal.SETTLED
        assert said.amount == read.amount == attempt.amount
        self.names_its_charge(gateway, said, transaction_id)
        unnamed = () if gateway.traits.names_orders else (None, transaction_id)
        assert said.provider_order_id in (attempt.provider_order_id, *unnamed)
        assert gateway.observe(body) == said

    @pytest.mark.parametrize("how", FORGERIES)
    async def test_a_true_body_needs_its_own_proof(self, gateway: Gateway, wire: Wire, how: str) -> None:
        """Whoever saw one notification knows what they look like, and can say what he likes."""
        (body, headers), other = [await self.told(gateway, wire) for _ in range(2)]
        assert self.believed(gateway, *wire.reproved(body, headers, lambda proof: proof)) is not None
        another = list[str]()
        wire.reproved(*other, another.append)
        forged = wire.reproved(body, headers, forgeries(body, another)[how])
        believed = self.believed(gateway, *forged)
        assert believed is None, "believed without its proof; if that is in the body, the Wire's `reproved` says where"

    async def test_what_is_believed_for_its_proof_is_proved(self, gateway: Gateway, wire: Wire) -> None:
        """All of it with `Confirm.SIGNATURE`, else the order and what `traits.signed` names: no byte changes them."""
        body, headers = await self.told(gateway, wire)
        said = self.believed(gateway, body, headers)
        assert said is not None
        for place, byte in enumerate(body):
            changed = self.believed(gateway, body[:place] + bytes([byte ^ 1]) + body[place + 1 :], headers)
            if changed is not None:
                assert trusted(gateway.traits, changed) == trusted(gateway.traits, said), body[place - 20 : place + 9]

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
        assert self.believed(gateway, body, {}) is None

    # ── the end of a page ─────────────────────────────────────────────────────────────────────────────────────────
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

    @pytest.mark.parametrize("fault", ["an error", "a lost answer"])
    @pytest.mark.parametrize("asked", ["close_page", "read", "read_page", "cancel", "capture", "approve", "deny"])
    async def test_no_answer_is_never_taken_for_one(self, gateway: Gateway, wire: Wire, asked: str, fault: str) -> None:
        """Not for GONE, not for None, not for a refusal, not for silence: what happened is unknown.

        A reading may have been asked for again in the time it has; then it is the answer that is given now.
        """
        attempt = self.attempt(gateway)
        page = await self.opened(gateway, attempt)
        under_way = {"capture": Signal.AUTHORIZED, "approve": Signal.CHALLENGED, "deny": Signal.CHALLENGED}
        transaction_id = wire.buyer_tries(page, attempt, under_way.get(asked, Signal.PENDING))
        known = attrs.evolve(attempt, token=page.token)
        about: tuple[Any, ...] = (known,) if "page" in asked else (transaction_id,)
        about += (attempt.amount,) if asked == "capture" else ()
        wire.refuses_the_next_call() if fault == "an error" else wire.loses_the_next_answer()
        try:
            answer = await getattr(gateway, asked)(*about)
        except (GatewayTimeout, GatewayUnavailable):
            return
        assert isinstance(answer, Observation), "nothing was answered"
        assert answer == await getattr(gateway, asked)(*about)

    async def test_calls_end_within_their_time(self, gateway: Gateway, wire: Wire) -> None:
        """Whoever asks holds a lease for so long and no longer."""
        attempt = self.attempt(gateway)
        page = await self.in_time(gateway, self.opened(gateway, attempt))
        transaction_id = wire.buyer_tries(page, attempt, Signal.SETTLED)
        await self.in_time(gateway, gateway.read_page(attrs.evolve(attempt, token=page.token)))
        await self.in_time(gateway, gateway.read(transaction_id))
        await self.in_time(gateway, gateway.cancel(transaction_id))

    async def in_time(self, gateway: Gateway, call: Awaitable[Answer]) -> Answer:
        """The answer, which came within the time-out, or half as much again on a busy machine."""
        begun = monotonic()
        answer = await call
        assert monotonic() - begun < 1.5 * gateway.traits.timeout.total_seconds()
        return answer

    @pytest.fixture
    def impatient(self, gateway: Gateway) -> Gateway:
        """The gateway that is kept waiting; give one with a short time-out, and the test takes no longer than that."""
        return gateway

    async def test_a_call_whose_answer_is_held_ends_within_its_time(self, impatient: Gateway, wire: Wire) -> None:
        """A gateway that hangs must not hang the shop."""
        attempt = self.attempt(impatient)
        wire.holds_the_next_answer()
        begun = monotonic()
        with pytest.raises((GatewayTimeout, GatewayUnavailable)):
            async with asyncio.timeout(impatient.traits.timeout.total_seconds() + BUSY_S):
                await impatient.open_page(attempt)
        assert monotonic() - begun < impatient.traits.timeout.total_seconds() + BUSY_S

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

    async def told(self, gateway: Gateway, wire: Wire) -> tuple[bytes, dict[str, str]]:
        """A genuine notification of a new settlement."""
        transaction_id, _ = await self.paid(gateway, wire, Signal.SETTLED)
        return wire.notification(transaction_id)

    def believed(self, gateway: Gateway, body: bytes, headers: Mapping[str, str]) -> Genuine | None:
        """What is believed of this message; None when it is refused, or is not about a payment."""
        try:
            said = gateway.authenticate(body, headers)
        except NotificationRefused:
            return None
        return None if isinstance(said, Foreign) else said

    def names_its_charge(self, gateway: Gateway, said: Observation, transaction_id: str) -> None:
        """The observation is of this gateway and about this transaction, and dates it in UTC or not at all."""
        assert (said.provider, said.transaction_id) == (gateway.name, transaction_id)
        assert said.occurred_at is None or said.occurred_at.utcoffset() == timedelta(0)

    def attempt(self, gateway: Gateway) -> Attempt:
        """An attempt with its stored request, of an order of its own."""
        return sample_attempt(gateway, Money(self.price_minor, Currency.of(self.currency)))


def sample_attempt(
    gateway: Gateway, price: Money, *, discount: Money | None = None, shipping_cost: Money | None = None
) -> Attempt:
    """A new attempt at this gateway over two items of this price, with the request that opens its page."""
    number = next(_NUMBERS)
    order = _sample_order(number, price, discount, shipping_cost)
    payment_id = make_payment_id(int(order.reserved_at.timestamp() * 1000), number)
    attempt = Attempt(
        number=1,
        provider=gateway.name,
        provider_order_id=provider_order_id(payment_id, 1),
        state=AttemptState.OPENING,
        amount=order.total,
        opened_at=order.reserved_at,
        ends_at=order.expires_at,
    )
    return attrs.evolve(attempt, request=gateway.page_request(order, attempt))


def _sample_order(
    number: int, price: Money, discount: Money | None = None, shipping_cost: Money | None = None
) -> Order:
    now = SystemClock().now().replace(microsecond=0)
    return Order(
        order_id=f"o-{number}",
        customer=Customer("alice", "Alice", "alice@example.com"),
        currency=price.currency,
        items=(Item("book", "A book", price, 2),),
        discount=discount or Money(0, price.currency),
        shipping=Shipping(shipping_cost, "Alice", "Jalan Contoh 1", "Jakarta", "10110") if shipping_cost else None,
        reserved_at=now,
        expires_at=now + timedelta(hours=24),
    )


def _every_refusal(gateway: Gateway, price: Money) -> list[Callable[[], object]]:
    """What is asked of a gateway before it has to say an amount."""
    return [
        lambda: gateway.refuse_amount(price),
        lambda: gateway.refuse_unsayable(_sample_order(0, price)),
        lambda: sample_attempt(gateway, price),
    ]


def _is_refused(asks: Callable[[], object]) -> bool:
    try:
        asks()
    except AmountNotRepresentable:
        return True
    return False
