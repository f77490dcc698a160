"""The machine: anything a buyer, a gateway, a network and a shop can do, in any order, and what must always hold.

The gateway's ledger is the oracle. Whatever happened, once everything is quiet, what we believe of every charge is what
the ledger says, money adds up, and stock is where it belongs.

It runs over any world: a store of your own, an order book of your own, the memory twins.

    class MyMachine(PaymentMachine):
        @asynccontextmanager
        async def opened(self, traits: GatewayTraits) -> AsyncIterator[World]:
            yield World(store=MyStore(...), gateway=MemoryGateway(traits=traits), ...)

    TestMyMachine = MyMachine.TestCase
    TestMyMachine.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from datetime import timedelta
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from payments_core.errors import Busy, Conflict, GatewayError
from payments_core.facts import FactType
from payments_core.money import Money
from payments_core.orders import OrderStatus, StockMove
from payments_core.payment import AttemptState, CaseDecision, Payment
from payments_core.policy import GatewayTraits
from payments_core.states import ENDED, MONEY, CaseKind, ChargeState, Confirm, Signal
from payments_core.testing.histories import FIRST, LEGAL
from payments_core.testing.world import LedgerTransaction, Seen, World

__all__ = ["PaymentMachine"]

Result = TypeVar("Result")

UNITS, LEFT = 2, 8
"""The order takes two units and leaves eight."""
OPERATOR = "operator:olivia"
THIRDS = 3
OVER = timedelta(minutes=60)
"""So long after its known end a page is dead without the gateway's word (`limits.OVER_AFTER`)."""
QUIET = timedelta(hours=30)
"""Longer than any page lives."""


class PaymentMachine(RuleBasedStateMachine):
    """One order, one shop, one gateway that misbehaves; a subclass says over which world."""

    def __init__(self) -> None:
        super().__init__()
        self.runner, self.left_at_the_end = asyncio.Runner(), AsyncExitStack()
        self.world: World | None = None
        self.seen: Seen | None = None
        self.messages: list[tuple[bytes, dict[str, str]]] = []

    def opened(self, traits: GatewayTraits) -> AbstractAsyncContextManager[World]:
        """An empty world whose gateway has these traits; left when the example is over."""
        raise NotImplementedError("a subclass opens the world it wants to prove")

    @initialize(confirm=st.sampled_from(Confirm), lost=st.integers(0, 1))
    def begin(self, confirm: Confirm, lost: int) -> None:
        """An order is placed and clicked; the very first answer of the gateway may get lost."""
        opened = self.opened(GatewayTraits(confirm=confirm, status_lag=timedelta(minutes=2)))
        self.world = self.run(self.left_at_the_end.enter_async_context(opened))
        self.order_id = self.run(self.world.place(units=UNITS, left=LEFT))
        self.world.gateway.lost_answers = lost
        self.attempt(self.world.click(self.order_id))

    # ── what happens ──────────────────────────────────────────────────────────────────────────────────────────────
    @rule()
    def click(self) -> None:
        """The buyer clicks on "Pay"."""
        self.attempt(self.there.click(self.order_id))

    @precondition(lambda self: self.open_tokens())
    @rule(outcome=st.sampled_from(FIRST), method=st.sampled_from(["card", "bank_transfer"]))
    def buyer_tries(self, outcome: Signal, method: str) -> None:
        """The buyer chooses a method on an open page, perhaps one opened long ago."""
        transaction_id = self.there.gateway.buyer_tries(self.open_tokens()[-1], outcome, method=method)
        self.messages.append(self.there.gateway.notification(transaction_id))

    @precondition(lambda self: self.can_move())
    @rule(data=st.data())
    def gateway_moves(self, data: st.DataObject) -> None:
        """A transaction moves on at the gateway."""
        transaction = data.draw(st.sampled_from(self.can_move()))
        word = data.draw(st.sampled_from(LEGAL[transaction.words[-1]]))
        self.there.gateway.becomes(transaction.transaction_id, word)
        self.messages.append(self.there.gateway.notification(transaction.transaction_id))

    @precondition(lambda self: self.messages)
    @rule()
    def newest_message_arrives(self) -> None:
        """The newest notification is delivered, and what it asks for is done."""
        self.do(self.there.deliver_bytes(*self.messages[-1]))
        self.attempt(self.there.do_errands())

    @precondition(lambda self: self.messages)
    @rule(data=st.data())
    def message_arrives(self, data: st.DataObject) -> None:
        """Any notification is delivered, late or again."""
        body, headers = data.draw(st.sampled_from(self.messages))
        self.do(self.there.deliver_bytes(body, headers))

    @rule()
    def questions_are_asked(self) -> None:
        """Whatever waits to be done at once is done."""
        self.attempt(self.there.do_errands())

    @rule()
    def the_process_dies(self) -> None:
        """What was to be done at once is forgotten; its rows are due on their own."""
        self.there.errands.waiting.clear()

    @rule(minutes=st.sampled_from([1, 1, 3, 7, 60]))
    def time_passes(self, minutes: int) -> None:
        """The sweep attends to what comes due."""
        self.do(self.there.pass_time(timedelta(minutes=minutes)))

    @precondition(lambda self: self.payment.deadline_at is not None)
    @rule()
    def the_deadline_comes(self) -> None:
        """A day and an hour pass."""
        self.do(self.there.pass_time(timedelta(hours=25)))

    @rule(unreachable=st.booleans(), lost=st.integers(0, 1), lag=st.integers(0, 1))
    def the_gateway_changes_its_mood(self, unreachable: bool, lost: int, lag: int) -> None:
        """Calls fail, answers get lost, readings are one state old; or all is well again."""
        gateway = self.there.gateway
        gateway.unreachable, gateway.lost_answers, gateway.lag = unreachable, lost, lag

    @precondition(lambda self: self.there.service.cancel_order is not None)
    @rule()
    def the_shop_cancels(self) -> None:
        """The shop gives the order up."""
        cancel = self.there.service.cancel_order
        assert cancel is not None
        self.attempt(cancel(self.order_id, actor="service:shop"))

    @rule(part=st.sampled_from([1, 2, 3]), asked_as=st.sampled_from(["a", "b", None]))
    def an_operator_gives_back(self, part: int, asked_as: str | None) -> None:
        """A part of the money, or all that is left; one request is always for the same."""
        amount = (
            None if part == 3 else Money(self.payment.amount.amount_minor * part // 3, self.payment.amount.currency)
        )
        refund = self.there.service.refund
        request = None if asked_as is None else f"{asked_as}{part}"
        self.attempt(refund(self.payment.payment_id, amount, None, actor=OPERATOR, asked_as=request))

    @rule(less=st.booleans())
    def an_operator_captures(self, less: bool) -> None:
        """Held money is taken, all of it or half."""
        half = Money(self.payment.amount.amount_minor // 2, self.payment.amount.currency)
        capture = self.there.service.operate.capture
        self.attempt(capture(self.payment.payment_id, half if less else None, actor=OPERATOR))

    @rule(name=st.sampled_from(["approve", "deny", "cancel", "refresh"]))
    def an_operator_asks(self, name: str) -> None:
        """Something else of the payment."""
        operate = self.there.service.operate
        asks: dict[str, Callable[..., Coroutine[Any, Any, Payment]]] = {
            "approve": operate.approve,
            "deny": operate.deny,
            "cancel": operate.cancel,
            "refresh": self.there.service.refresh,
        }
        self.attempt(asks[name](self.payment.payment_id, actor=OPERATOR))

    @precondition(lambda self: self.payment.open_cases)
    @rule(data=st.data(), decision=st.sampled_from(CaseDecision))
    def an_operator_decides(self, data: st.DataObject, decision: CaseDecision) -> None:
        """A case is closed, or its return begun."""
        case = data.draw(st.sampled_from(self.payment.open_cases))
        resolve = self.there.service.operate.resolve
        self.attempt(resolve(self.payment.payment_id, case.number, decision, "because", actor=OPERATOR))

    # ── doing, and looking ────────────────────────────────────────────────────────────────────────────────────────
    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """The result of this work, in the loop of this example.

        Not `Runner.run`: it watches for Ctrl-C anew each time, and a machine has thousands of steps.
        """
        return self.runner.get_loop().run_until_complete(work)

    def do(self, work: Coroutine[Any, Any, Result]) -> Result:
        """The result of this work; then the order is looked at again."""
        try:
            return self.run(work)
        finally:
            self.seen = self.run(self.there.look(self.order_id))

    def attempt(self, work: Coroutine[Any, Any, object]) -> None:
        """The same for work that may be refused: by the state of things, by the gateway, or by somebody at it."""
        with contextlib.suppress(Conflict, GatewayError, Busy):
            self.do(work)

    @property
    def there(self) -> World:
        """The world, which is there as soon as the machine has begun."""
        assert self.world is not None
        return self.world

    @property
    def payment(self) -> Payment:
        """The payment; the first click has stored one, whatever the gateway answered."""
        assert self.now.payment is not None
        return self.now.payment

    @property
    def now(self) -> Seen:
        """The order as it was seen last."""
        assert self.seen is not None
        return self.seen

    def open_tokens(self) -> list[str]:
        """Pages that somebody can pay on: not one whose address nobody was ever given and that we hold for dead.

        The end of its transactions is taken for its end, because there is no token to cancel it by.
        """
        dead = (page for page in self.payment.attempts if page.state is AttemptState.DEAD and page.token is None)
        unknown = {page.provider_order_id for page in dead}
        pages = self.there.gateway.pages.values()
        return [page.token for page in pages if not page.is_gone and page.provider_order_id not in unknown]

    def can_move(self) -> list[LedgerTransaction]:
        """Transactions that may become something else."""
        return [t for t in self.there.gateway.transactions.values() if LEGAL[t.words[-1]]]

    def took_money(self) -> bool:
        """Whether any transaction ever had money."""
        money = {Signal.CAPTURED, Signal.SETTLED}
        return any(money & set(t.words) for t in self.there.gateway.transactions.values())

    # ── what must hold at every moment ────────────────────────────────────────────────────────────────────────────
    @invariant()
    def at_most_one_page_can_be_paid(self) -> None:
        """Two payable pages are how one order is charged twice."""
        if not self.took_money():
            assert len(self.open_tokens()) <= 1

    @invariant()
    def a_page_we_call_dead_is_dead(self) -> None:
        """A time-out, a 404, our own clock prove nothing."""
        for attempt in self.payment.attempts:
            page = self.there.gateway.pages.get(attempt.provider_order_id)
            if attempt.state is AttemptState.DEAD and page is not None:
                over = self.there.clock.now() >= attempt.ends_at + OVER
                assert page.is_gone or page.token != attempt.token or over

    @invariant()
    def the_keeping_charge_has_the_money(self) -> None:
        """An order is paid by money that is there."""
        if kept := self.payment.keeping_charge:
            assert kept.has_money

    @invariant()
    def what_is_given_up_cannot_be_paid(self) -> None:
        """Stock is given to others only when nobody can pay any more."""
        if self.payment.closed is not None:
            assert self.payment.payable_attempt is None

    @invariant()
    def stock_is_conserved(self) -> None:
        """The units that are left are what the history says they are."""
        assert self.now.left == (LEFT + UNITS if self.now.held is StockMove.RELEASED else LEFT)

    @invariant()
    def an_order_is_paid_as_often_as_it_was_not_taken_back(self) -> None:
        """One paid effect, and the stock moves once for each reservation."""
        count = self.now.count
        assert count(FactType.ORDER_PAID) <= 1 + count(FactType.PAYMENT_REVERSED)
        assert count(FactType.STOCK_CONSUMED) <= 1 + count(FactType.STOCK_RELEASED)
        assert count(FactType.STOCK_RELEASED) <= count(FactType.STOCK_RESERVED)

    # ── the end ───────────────────────────────────────────────────────────────────────────────────────────────────
    def teardown(self) -> None:
        """The faults stop, everything due is done, one poll reaches us: what we believe is what is."""
        try:
            if self.seen is not None:
                self.come_to_rest()
                self.check_charges()
                self.check_the_order()
        finally:
            self.run(self.left_at_the_end.aclose())
            self.runner.close()

    def come_to_rest(self) -> None:
        """Nothing is broken any more, and every transaction was told about once more."""
        gateway = self.there.gateway
        gateway.unreachable, gateway.lost_answers, gateway.lag = False, 0, 0
        self.do(self.there.pass_time(QUIET))
        for transaction in [*gateway.transactions.values()]:
            assert self.payment.attempt_named(transaction.provider_order_id) is not None
            self.do(self.there.deliver_bytes(*gateway.notification(transaction.transaction_id, poll=True)))
            self.do(self.there.do_errands())
        self.do(self.there.pass_time(timedelta(hours=3)))

    def check_charges(self) -> None:
        """Every charge stands where the gateway's transaction stands; the ended ones are one class."""
        for transaction in self.there.gateway.transactions.values():
            charge = self.payment.charge(transaction.transaction_id)
            assert charge is not None
            last = ChargeState(transaction.words[-1].value)
            if last in ENDED:
                assert charge.state in ENDED | {ChargeState.REVERSED} or charge.left_minor == 0
            else:
                assert charge.state is last
            if last in MONEY:
                assert charge.captured_minor == transaction.amount.amount_minor
            assert transaction.refunded.amount_minor <= min(charge.refunded_minor, transaction.amount.amount_minor)
            if last is ChargeState.SETTLED and not self.was_returned_by_hand(transaction.transaction_id):
                assert transaction.refunded.amount_minor == charge.refunded_minor

    def was_returned_by_hand(self, transaction_id: str) -> bool:
        """Whether somebody sent money of this transaction by other means, which no gateway knows of."""
        by_hand = (case for case in self.payment.cases if case.kind is CaseKind.RETURN_BY_HAND)
        return any(case.transaction_id == transaction_id for case in by_hand)

    def check_the_order(self) -> None:
        """It is paid and nothing more can be paid, or what money there is is a case; no page stays half closed."""
        if self.payment.paid_by is not None:
            self.check_the_paid_order(self.payment.paid_by)
        else:
            late = self.cases(CaseKind.LATE_PAYMENT, CaseKind.SURPLUS_PAYMENT)
            assert self.with_money() <= late, "money is kept silently"
        if self.payment.closed is not None:
            assert self.now.held in (StockMove.RELEASED, StockMove.CONSUMED)
            assert all(page.state in (AttemptState.DEAD, AttemptState.SPENT) for page in self.payment.attempts)
        closing = [page for page in self.payment.attempts if page.state is AttemptState.CLOSING]
        reviewed = any(charge.state is ChargeState.CHALLENGED for charge in self.payment.charges)
        assert not closing or reviewed, "only a review keeps a page from being proved dead"

    def check_the_paid_order(self, paid_by: str) -> None:
        """Its stock is consumed, nothing else is alive, and surplus money is somebody's case."""
        paid = (OrderStatus.PAID, OrderStatus.PARTIALLY_REFUNDED, OrderStatus.REFUNDED)
        assert self.now.order.status in paid
        assert self.now.held is StockMove.CONSUMED
        transactions = self.there.gateway.transactions.values()
        alive = [t for t in transactions if t.words[-1] in (Signal.PENDING, Signal.AUTHORIZED)]
        assert not alive, "a virtual account shown earlier can still be paid"
        assert self.with_money() <= {paid_by} | self.cases(*CaseKind)

    def with_money(self) -> set[str]:
        """Transactions whose money is with the merchant."""
        return {c.transaction_id for c in self.payment.charges if c.has_money and c.left_minor > 0}

    def cases(self, *kinds: CaseKind) -> set[str]:
        """Transactions a person has to look at, or looked at, for these reasons: dismissed money stays where it is."""
        return {case.transaction_id or "" for case in self.payment.cases if case.kind in kinds}
