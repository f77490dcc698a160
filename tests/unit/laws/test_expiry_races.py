"""Expiry against settlement: whatever comes first, the order is paid or given up, never both and never neither (A6)."""

import asyncio
import contextlib
import random
from collections import Counter
from datetime import timedelta

import attrs
import pytest

from payments_core import Policy, Signal
from payments_core.errors import Conflict, GatewayError
from payments_core.policy import LatePayment
from unit.world import World

RACES = 250
"""For each policy, with and without a competitor for the stock: a thousand in all."""
PRICE = 10_000_000


@attrs.define
class Race:
    """A virtual account is paid around the moment its page is given up; each method is a step chance may take."""

    world: World
    account: str
    chance: random.Random
    contended: bool

    async def settles(self) -> None:
        words = self.world.gateway.transactions[self.account].words
        if words[-1] in (Signal.PENDING, Signal.EXPIRED):
            self.world.gateway.becomes(self.account, Signal.SETTLED)

    async def expires(self) -> None:
        if self.world.gateway.transactions[self.account].words[-1] is Signal.PENDING:
            self.world.gateway.becomes(self.account, Signal.EXPIRED)

    async def tells(self) -> None:
        await self.world.deliver(self.account)

    async def answers(self) -> None:
        await self.world.do_errands()

    async def passes(self) -> None:
        await self.world.pass_time(timedelta(minutes=self.chance.choice([1, 5, 20])))

    async def is_gone(self) -> None:
        self.world.gateway.unreachable = not self.world.gateway.unreachable

    async def somebody_buys(self) -> None:
        if self.contended and "o-2" not in self.world.store.orders.orders and self.world.stock >= 2:
            self.world.order("o-2")

    async def run(self, steps: int) -> None:
        """So many steps in any order."""
        often = [self.tells, self.passes]
        every = [self.settles, self.expires, self.answers, self.is_gone, self.somebody_buys, *often, *often]
        for _ in range(steps):
            with contextlib.suppress(GatewayError, Conflict):
                await self.chance.choice(every)()

    async def ends(self) -> None:
        """The gateway is back, and after its last change one message reaches us."""
        self.world.gateway.unreachable = False
        await self.passes()
        await self.tells()
        await self.answers()
        await self.world.pass_time(timedelta(hours=9))


async def race(policy: LatePayment, contended: bool, seed: int) -> str:
    """How one race ended."""
    chance = random.Random(seed)  # noqa: S311 - an order of steps
    world = World(policy=Policy(late_payment=policy))
    world.order(stock=2)
    page = (await world.click()).attempt
    account = world.tries(Signal.PENDING)
    await world.hear(account)
    await world.pass_time(page.ends_at - world.clock.now() - timedelta(minutes=chance.choice([0, 1, 10])))
    running = Race(world, account, chance, contended)
    await running.run(12)
    await running.ends()
    return judged(world, account, contended)


def judged(world: World, account: str, contended: bool) -> str:
    """The end, once it is one of the allowed: money kept and goods sold, or neither, or somebody has a case."""
    order = world.shop_order()
    payment = world.store.payments.rows[order.payment_id or ""]
    transaction = world.gateway.transactions[account]
    kept = transaction.words[-1] is Signal.SETTLED and transaction.refunded.amount_minor < PRICE
    held = world.store.orders.held["o-1"].value
    paid, given_up = order.status.value == "paid", order.status.value == "cancelled"
    assert paid != given_up, "in both worlds, or in neither"
    if paid:
        assert kept
        assert (held, payment.paid_by) == ("consumed", account)
        return "paid"
    assert held == "released"
    if kept:
        assert contended, "there was stock to take the money for"
        assert [case.kind.value for case in payment.open_cases] == ["late_payment"]
        return "late, a case"
    return "late, returned" if transaction.refunded.amount_minor else "given up"


@pytest.mark.parametrize("contended", [False, True], ids=["goods left", "goods wanted"])
@pytest.mark.parametrize("policy", LatePayment, ids=lambda policy: policy.value)
def test_a_race_of_expiry_and_settlement_has_one_end(policy: LatePayment, contended: bool) -> None:
    ends = Counter(asyncio.run(race(policy, contended, seed)) for seed in range(RACES))
    print(f"{RACES} races, {policy.value}, {'goods wanted' if contended else 'goods left'}: {dict(ends)}")
    assert ends["paid"]
    assert ends["given up"]
    if contended:
        assert ends["late, a case" if policy is LatePayment.REOPEN_OR_REVIEW else "late, returned"]
