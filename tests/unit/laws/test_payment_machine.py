"""The machine: anything a buyer, a gateway, a network and a shop can do, in any order, and what must always hold.

The gateway's ledger is the oracle. Whatever happened, once everything is quiet, what we believe of every charge is what
the ledger says, money adds up, and stock is where it belongs.
"""

import contextlib
from datetime import timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from payments_core import Confirm, GatewayTraits, Signal
from payments_core.errors import Busy, Conflict, GatewayError
from payments_core.payment import AttemptState
from payments_core.states import ENDED, MONEY, ChargeState
from payments_core_memory.gateway import Transaction
from unit.laws.explorer import LEGAL
from unit.world import World, drive, run

FIRST = st.sampled_from(list(LEGAL["start"]))
UNITS, STOCK = 2, 10


class PaymentMachine(RuleBasedStateMachine):
    """One order, one shop, one gateway that misbehaves."""

    @initialize(confirm=st.sampled_from(Confirm), lost=st.integers(0, 1))
    def begin(self, confirm: Confirm, lost: int) -> None:
        self.world = World(traits=GatewayTraits(confirm=confirm, status_lag=timedelta(minutes=2)))
        self.world.order(units=UNITS, stock=STOCK)
        self.messages: list[tuple[bytes, dict[str, str]]] = []
        self.world.gateway.lost_answers = lost
        self.tolerate(self.world.click())

    # ── what happens ──────────────────────────────────────────────────────────────────────────────────────────────
    @rule()
    def click(self) -> None:
        self.tolerate(self.world.click())

    @precondition(lambda self: self.open_tokens())
    @rule(outcome=FIRST, method=st.sampled_from(["card", "bank_transfer"]))
    def buyer_tries(self, outcome: Signal, method: str) -> None:
        transaction = self.world.gateway.buyer_tries(self.open_tokens()[-1], outcome, method=method)
        self.messages.append(self.world.gateway.notification(transaction))

    @precondition(lambda self: self.can_move())
    @rule(data=st.data())
    def gateway_moves(self, data: st.DataObject) -> None:
        transaction = data.draw(st.sampled_from(self.can_move()))
        word = data.draw(st.sampled_from(LEGAL[transaction.words[-1]]))
        self.world.gateway.becomes(transaction.transaction_id, word)
        self.messages.append(self.world.gateway.notification(transaction.transaction_id))

    @precondition(lambda self: self.messages)
    @rule()
    def newest_message_arrives(self) -> None:
        drive(self.world.deliver_bytes(*self.messages[-1]))
        self.tolerate(self.world.do_errands())

    @precondition(lambda self: self.messages)
    @rule(data=st.data())
    def message_arrives(self, data: st.DataObject) -> None:
        body, headers = data.draw(st.sampled_from(self.messages))
        drive(self.world.deliver_bytes(body, headers))

    @rule()
    def questions_are_asked(self) -> None:
        self.tolerate(self.world.do_errands())

    @rule()
    def the_process_dies(self) -> None:
        self.world.errands.waiting.clear()

    @rule(minutes=st.sampled_from([1, 1, 3, 7, 60]))
    def time_passes(self, minutes: int) -> None:
        run(self.world.pass_time(timedelta(minutes=minutes)))

    @precondition(lambda self: self.world.payment.deadline_at is not None)
    @rule()
    def the_deadline_comes(self) -> None:
        run(self.world.pass_time(timedelta(hours=25)))

    @rule(unreachable=st.booleans(), lost=st.integers(0, 1), lag=st.integers(0, 1))
    def the_gateway_changes_its_mood(self, unreachable: bool, lost: int, lag: int) -> None:
        gateway = self.world.gateway
        gateway.unreachable, gateway.lost_answers, gateway.lag = unreachable, lost, lag

    @rule()
    def the_shop_cancels(self) -> None:
        cancel = self.world.service.cancel_order
        assert cancel is not None
        self.tolerate(cancel("o-1", actor="service:shop"))

    def tolerate(self, work: Any) -> None:
        with contextlib.suppress(Conflict, GatewayError, Busy):
            run(work)

    def open_tokens(self) -> list[str]:
        """Pages that somebody can pay on: not one whose address nobody was ever given and that we hold for dead.

        Design 2b takes the end of its transactions for its end, because there is no token to cancel it by.
        """
        pages = {page.provider_order_id: page for page in self.world.gateway.pages.values() if not page.is_gone}
        for attempt in self.world.payment.attempts if self.world.store.payments.rows else ():
            if attempt.state is AttemptState.DEAD and attempt.token is None:
                pages.pop(attempt.provider_order_id, None)
        return [page.token for page in pages.values()]

    def can_move(self) -> list[Transaction]:
        return [t for t in self.world.gateway.transactions.values() if LEGAL[t.words[-1]]]

    def took_money(self) -> bool:
        money = {Signal.CAPTURED, Signal.SETTLED}
        return any(money & set(t.words) for t in self.world.gateway.transactions.values())

    # ── what must hold at every moment ────────────────────────────────────────────────────────────────────────────
    @invariant()
    def at_most_one_page_can_be_paid(self) -> None:
        """Two payable pages are how one order is charged twice."""
        if hasattr(self, "world") and not self.took_money():
            assert len(self.open_tokens()) <= 1

    @invariant()
    def a_page_we_call_dead_is_dead(self) -> None:
        """A time-out, a 404, our own clock prove nothing."""
        if not hasattr(self, "world"):
            return
        for attempt in self.world.payment.attempts:
            page = self.world.gateway.pages.get(attempt.provider_order_id)
            if attempt.state is AttemptState.DEAD and page is not None:
                over = self.world.clock.now() >= attempt.ends_at + timedelta(minutes=60)
                assert page.is_gone or page.token != attempt.token or over

    @invariant()
    def the_keeping_charge_has_the_money(self) -> None:
        if hasattr(self, "world") and (kept := self.world.payment.keeping_charge):
            assert kept.has_money

    @invariant()
    def what_is_given_up_cannot_be_paid(self) -> None:
        if hasattr(self, "world") and self.world.payment.closed is not None:
            assert self.world.payment.payable_attempt is None

    @invariant()
    def stock_is_conserved(self) -> None:
        if hasattr(self, "world"):
            held = self.world.store.orders.held["o-1"].value
            assert self.world.stock == (STOCK if held == "released" else STOCK - UNITS)

    @invariant()
    def an_order_is_paid_as_often_as_it_was_not_taken_back(self) -> None:
        if hasattr(self, "world") and self.world.store.payments.rows:
            history = self.world.history
            assert history.count("order.paid") <= 1 + history.count("payment.reversed")
            assert history.count("stock.consumed") <= 1
            assert history.count("stock.released") <= history.count("stock.reserved")

    # ── the end ───────────────────────────────────────────────────────────────────────────────────────────────────
    def teardown(self) -> None:
        """The faults stop, everything due is done, one poll reaches us: what we believe is what is."""
        if not hasattr(self, "world") or not self.world.store.payments.rows:
            return
        world, gateway = self.world, self.world.gateway
        gateway.unreachable, gateway.lost_answers, gateway.lag = False, 0, 0
        run(world.pass_time(timedelta(hours=30)))
        for transaction in gateway.transactions.values():
            page = world.payment.attempt_named(transaction.provider_order_id)
            assert page is not None
            self.poll(transaction)
        run(world.pass_time(timedelta(hours=3)))
        self.check_charges()
        self.check_the_order()

    def poll(self, transaction: Transaction) -> None:
        world = self.world
        body, headers = world.gateway.notification(transaction.transaction_id, poll=True)
        drive(world.deliver_bytes(body, headers))
        run(world.do_errands())

    def check_charges(self) -> None:
        for transaction in self.world.gateway.transactions.values():
            charge = self.world.payment.charge(transaction.transaction_id)
            assert charge is not None
            last = ChargeState(transaction.words[-1].value)
            if last in ENDED:
                assert charge.state in ENDED | {ChargeState.REVERSED} or charge.left_minor == 0
            else:
                assert charge.state is last
            if last in MONEY:
                assert charge.captured_minor == transaction.amount.amount_minor

    def check_the_order(self) -> None:
        payment, held = self.world.payment, self.world.store.orders.held["o-1"].value
        with_money = [c for c in payment.charges if c.has_money and c.left_minor > 0]
        if payment.paid_by is not None:
            assert self.world.shop_order().status.value in ("paid", "partially_refunded", "refunded")
            assert held == "consumed"
            alive = [
                t for t in self.world.gateway.transactions.values() if t.words[-1].value in ("pending", "authorized")
            ]
            assert not alive, "a virtual account shown earlier can still be paid"
            cases = {case.transaction_id for case in payment.open_cases}
            assert all(c.transaction_id == payment.paid_by or c.transaction_id in cases for c in with_money)
        else:
            late = {c.transaction_id for c in payment.open_cases if c.kind.value in ("late_payment", "surplus_payment")}
            assert {c.transaction_id for c in with_money} <= late, "money is kept silently"
        if payment.closed is not None:
            assert held in ("released", "consumed")
            assert all(page.state in (AttemptState.DEAD, AttemptState.SPENT) for page in payment.attempts)
        closing = [a for a in payment.attempts if a.state is AttemptState.CLOSING]
        reviewed = any(charge.state is ChargeState.CHALLENGED for charge in payment.charges)
        assert not closing or reviewed, "only a review keeps a page from being proved dead"


TestPaymentMachine = PaymentMachine.TestCase
TestPaymentMachine.settings = settings(max_examples=500, stateful_step_count=30, deadline=None)
