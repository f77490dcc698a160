"""A gateway that is not set up, or not any more: whoever wants it is told, and nothing breaks."""

import pytest

from payments_core import PaymentService, Signal
from payments_core.errors import GatewayNotConfigured
from payments_core.payment import AttemptState
from payments_core.system import SystemIds
from payments_core_memory import MemoryGateway
from unit.world import World


async def test_what_needs_a_gateway_without_keys_says_so_and_changes_nothing(world: World) -> None:
    """Payments outlive the keys of their gateway."""
    await world.opened()
    await world.hear(world.tries(Signal.SETTLED, method="card"))
    paid, name = world.payment, world.payment.payment_id
    world.forget_the_gateway()
    for work in (
        world.service.refund(name, None, None, actor="op"),
        world.service.refresh(name, actor="op"),
    ):
        with pytest.raises(GatewayNotConfigured) as refused:
            await work
        assert refused.value.code == "gateway_not_configured"
    assert world.payment.charges == paid.charges
    assert world.payment.refunds == ()


async def test_a_page_that_is_to_be_closed_waits_until_its_gateway_has_keys_again(world: World) -> None:
    """Its buyer may pay it all the while, so nothing else is said of it."""
    await world.opened()
    world.forget_the_gateway()
    await world.service.operate.cancel(world.payment.payment_id, actor="op")
    page = world.payment.payable_attempt
    assert page is not None
    assert (page.state, page.check_at is not None) == (AttemptState.CLOSING, True)


async def test_a_gateway_stands_under_its_own_name(world: World) -> None:
    """Under another one its messages would be nobody's: money that was paid, and no order."""
    with pytest.raises(ValueError, match="its messages would be nobody's"):
        PaymentService.over(
            world.store, {"other": MemoryGateway()}, clock=world.clock, ids=SystemIds(), errands=world.errands
        )
