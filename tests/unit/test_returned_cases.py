"""What becomes of the cases about money that goes back: over when it is back, and decided anew when it is not."""

from datetime import timedelta

import attrs

from payments_core import GatewayTraits, Observation, Signal
from payments_core.observations import RefundNews, RefundReport
from payments_core.payment import CaseDecision, RefundState
from payments_core.returns import refund_refused, refund_unanswered
from payments_core.testing.samples import LATER, NOW
from payments_core_memory import MemoryGateway
from unit.values import PAID, WHOLE, charge, kinds, refund
from unit.world import World, decide, rupiah

SENT = RefundState.SENT

DONE, RETURNED = RefundNews.CONFIRMED, RefundNews.RETURNED


class Other(MemoryGateway):
    """Another merchant's money came in."""

    def observe(self, body: bytes) -> Observation:
        return attrs.evolve(super().observe(body), merchant_id="M-2")


async def mismatched_twice() -> tuple[World, str]:
    """Another amount, of another merchant."""
    traits = GatewayTraits(merchant_id="M-1")
    world = World(traits=traits)
    world.use(Other(traits=traits))
    await world.opened()
    transaction = world.tries(Signal.SETTLED)
    was = world.gateway.transactions[transaction]
    world.gateway.transactions[transaction] = attrs.evolve(was, amount=rupiah(90_000))
    await world.hear(transaction)
    assert world.cases == ["amount_mismatch", "merchant_mismatch"]
    return world, transaction


async def test_two_mismatches_of_one_payment_are_over_when_it_is_returned() -> None:
    """Nothing is left to return for the second, and it would keep the order from being paid."""
    world, transaction = await mismatched_twice()
    await decide(world, CaseDecision.RETURN)
    await world.do_errands()
    assert (world.gateway.transactions[transaction].refunded, world.cases) == (rupiah(90_000), [])
    assert (await world.click()).created


async def test_a_mismatched_payment_that_the_dashboard_gave_back_blocks_nothing() -> None:
    world, transaction = await mismatched_twice()
    world.gateway.becomes(transaction, Signal.SETTLED, refunded=rupiah(90_000))
    await world.hear(transaction)
    assert world.cases == []
    assert [(one.decision, one.decided_by) for one in world.payment.cases] == [(CaseDecision.RETURN, "gateway")] * 2
    assert (await world.click()).created


async def test_a_mismatched_payment_first_heard_of_when_it_was_back_blocks_nothing(world: World) -> None:
    await world.opened()
    transaction = world.tries(Signal.SETTLED)
    was = world.gateway.transactions[transaction]
    world.gateway.transactions[transaction] = attrs.evolve(was, amount=rupiah(90_000))
    world.gateway.becomes(transaction, Signal.SETTLED, refunded=rupiah(90_000))
    await world.hear(transaction)
    assert ([one.kind.value for one in world.payment.cases], world.cases) == (["amount_mismatch"], [])


class OneByOne(MemoryGateway):
    """Tells each refund by its key, and its total by them, as Stripe does; some have come back."""

    came_back: tuple[str, ...] = ()

    def observe(self, body: bytes) -> Observation:
        one = super().observe(body)
        made = [r for r in self.refunds.values() if r.transaction_id == one.transaction_id]
        told = (RefundReport(r.key, r.amount, RETURNED if r.key in self.came_back else DONE) for r in made)
        return attrs.evolve(one, refunds=tuple(told), refunded=None)

    def bounces(self, key: str) -> None:
        """This refund comes back from the buyer's bank."""
        self.came_back = (*self.came_back, key)
        transaction = self.transactions[self.refunds[key].transaction_id]
        self.transactions[transaction.transaction_id] = attrs.evolve(transaction, refunded=rupiah(0))


async def test_late_money_whose_return_came_back_is_sent_again_under_a_new_key() -> None:
    """It pays no order, so it is not a refund of one; a dismissal would keep it for ever."""
    world, gateway = World(), OneByOne()
    world.use(gateway)
    await world.opened()
    transaction = world.tries(Signal.PENDING)
    await world.hear(transaction)
    await world.service.operate.cancel(world.payment.payment_id, actor="operator:olivia")
    world.gateway.becomes(transaction, Signal.SETTLED)
    await world.hear(transaction)
    for number in (1, 2):
        await decide(world, CaseDecision.RETURN, number)
        await world.do_errands()
        assert world.cases == []
        gateway.bounces(world.payment.refunds[-1].key)
        await world.hear(transaction, seq=number)
        assert world.cases == ["refund_returned"], "each time"
    await decide(world, CaseDecision.RETURN, 3)
    await world.do_errands()
    assert [one.state.value for one in world.payment.refunds] == ["returned", "returned", "confirmed"]
    assert (world.cases, world.gateway.transactions[transaction].refunded) == ([], rupiah(100_000))


async def test_a_return_by_hand_that_was_dismissed_is_called_for_again() -> None:
    """The account number was wrong: it is returned once more, and refused once more."""
    world = World(traits=GatewayTraits(refunds={}))
    await world.opened()
    first, second = world.tries(Signal.SETTLED), world.tries(Signal.SETTLED)
    await world.hear(first)
    await world.hear(second)
    assert world.cases == ["surplus_payment"]
    await decide(world, CaseDecision.RETURN)
    await world.do_errands()
    await decide(world, CaseDecision.DISMISS, 2)
    await decide(world, CaseDecision.RETURN)
    await world.do_errands()
    assert world.cases == ["surplus_payment", "return_by_hand"]
    await decide(world, CaseDecision.RETURN, 3, "transfer 4711")
    charge = world.payment.charge(second)
    assert charge is not None
    assert (charge.left_minor, world.cases) == (0, [])


def test_a_refund_that_is_refused_when_everything_is_back_asks_for_no_hand() -> None:
    """The dashboard was faster: nothing is left to be sent by other means."""
    back = PAID.with_charge(charge(captured_minor=WHOLE, refunded_minor=WHOLE)).with_refund(refund(SENT, checks=1))
    told = refund_refused(back, "k-1", "nothing is left", True, LATER)
    assert [one.kind for one in told.open_cases] == []


def test_each_refund_nobody_can_tell_of_is_a_case() -> None:
    first = refund_unanswered(PAID.with_refund(refund(SENT, checks=9)), "k-1", NOW + timedelta(days=2))
    decided = first.with_case(attrs.evolve(first.cases[0], decision=CaseDecision.DISMISS, decided_at=LATER))
    again = refund_unanswered(decided, "k-1", NOW + timedelta(days=3))
    assert kinds(again) == []
    second = decided.with_refund(refund(SENT, key="k-2", checks=9))
    assert kinds(refund_unanswered(second, "k-2", NOW + timedelta(days=3))) == ["outcome_unknown"]
