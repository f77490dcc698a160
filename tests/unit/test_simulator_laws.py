"""Laws of the simulated gateway's money, under any sequence of calls."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from payments_core_simulator.midtrans import moves
from payments_core_simulator.midtrans.channels import CHANNELS
from payments_core_simulator.midtrans.ledger import Ledger
from payments_core_simulator.midtrans.values import PageRequest, Refund, Try
from payments_core_simulator.refusals import Refusal

ACTIONS = {"cancel": moves.cancel, "expire": moves.expire, "approve": moves.approve, "deny": moves.deny}
ENDED = moves.ENDED_WITHOUT_MONEY | {"refund"}
tries = st.sampled_from([Try(name, outcome) for name, channel in CHANNELS.items() for outcome in channel.outcomes])


class Gateway(RuleBasedStateMachine):
    """One order, its buyer, its merchant and the clock, each doing what the API lets them."""

    def __init__(self) -> None:
        super().__init__()
        self.now = datetime(2026, 5, 27, 7, 30, tzinfo=UTC)
        self.ledger = Ledger()
        self.ledger.open_page(PageRequest("o-1", 1_000), self.now)
        self.ended: dict[str, str] = {}
        self.refunded: dict[str, int] = {}

    def transactions(self):
        return self.ledger.transactions(self.ledger.page_by_order("o-1"))

    def attempt(self, call: Callable[..., object], *arguments: object, **options: object):
        """Make the call; a refusal must leave every transaction as it was."""
        before = self.transactions()
        try:
            call(*arguments, **options)
        except Refusal:
            assert self.transactions() == before

    def chosen(self, data: st.DataObject):
        return data.draw(st.sampled_from(self.transactions())).transaction_id

    @rule(wish=tries)
    def buyer_tries(self, wish: Try):
        self.attempt(self.ledger.pay, "o-1", wish, self.now)

    @precondition(lambda self: self.transactions())
    @rule(data=st.data(), action=st.sampled_from(sorted(ACTIONS)))
    def merchant_acts(self, data: st.DataObject, action: str):
        self.attempt(self.ledger.move, self.chosen(data), lambda one: ACTIONS[action](one, self.now))

    @precondition(lambda self: self.transactions())
    @rule(data=st.data(), amount_sen=st.none() | st.integers(-100, 120_000))
    def merchant_captures(self, data: st.DataObject, amount_sen: int | None):
        self.attempt(self.ledger.move, self.chosen(data), lambda one: moves.capture(one, self.now, amount_sen))

    @precondition(lambda self: self.transactions())
    @rule(data=st.data(), amount_sen=st.integers(-100, 120_000), key=st.sampled_from("abc"), whole=st.booleans())
    def merchant_refunds(self, data: st.DataObject, amount_sen: int, key: str, whole: bool):
        wanted = Refund(0, key, amount_sen, self.now)
        self.attempt(self.ledger.refund, self.chosen(data), wanted, whole=whole, replay=True)

    @rule(hours=st.integers(1, 48))
    def time_passes(self, hours: int):
        self.now += timedelta(hours=hours)
        self.ledger.advance(self.now)

    @rule()
    def merchant_closes_the_page(self):
        self.attempt(self.ledger.close_page, self.ledger.page_by_order("o-1").token, self.now)

    @invariant()
    def nobody_gives_back_what_was_not_taken(self):
        for one in self.transactions():
            assert 0 <= one.refunded_sen <= one.captured_sen
            assert one.left_sen >= 0
            assert 0 <= one.captured_sen <= one.authorized_sen

    @invariant()
    def captured_money_and_the_status_agree(self):
        for one in self.transactions():
            taken = one.status in moves.CAPTURING | moves.REFUNDING and not one.challenged
            assert (one.captured_sen > 0) is taken
            assert (one.status == "refund") is (one.captured_sen > 0 and one.left_sen == 0)

    @invariant()
    def an_ended_transaction_stays_ended(self):
        for one in self.transactions():
            assert self.ended.get(one.transaction_id, one.status) == one.status
            if one.status in ENDED:
                self.ended[one.transaction_id] = one.status

    @invariant()
    def refunds_only_grow_and_a_key_is_one_refund(self):
        for one in self.transactions():
            assert one.refunded_sen >= self.refunded.get(one.transaction_id, 0)
            self.refunded[one.transaction_id] = one.refunded_sen
            assert len({refund.key for refund in one.refunds}) == len(one.refunds)

    @invariant()
    def a_cancelled_page_holds_no_money_and_no_hope(self):
        if self.ledger.page_by_order("o-1").cancelled_at is not None:
            assert all(one.status in moves.ENDED_WITHOUT_MONEY for one in self.transactions())


Gateway.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestGatewayLaws = Gateway.TestCase
