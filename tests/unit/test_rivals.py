"""Failures that other payment packages showed when they were run, each as a test of ours.

`docs/reference/rivals.md` lists every one of them, also those other files of ours test already.
"""

import asyncio
import re
from pathlib import Path

import attrs
import pytest

from payments_core import PaymentStatus, Signal, status
from payments_core.errors import Conflict
from payments_core.observations import RefundNews, RefundReport
from payments_core.returns import hear_refunds
from payments_core.states import CaseKind, Confirm
from unit.world import World, rupiah

ROOT = Path(__file__).parents[2]
PRICE = 100_000


async def paid(world: World, *, method: str = "card") -> str:
    await world.opened()
    transaction = world.tries(Signal.SETTLED, method=method)
    await world.hear(transaction)
    assert world.status.value == "success"
    return transaction


async def at_once(world: World, *bodies: tuple[bytes, dict[str, str]]) -> None:
    """All of them delivered in the same moment, and their questions asked."""
    await asyncio.gather(*(world.deliver_bytes(body, headers) for body, headers in bodies))
    await world.do_errands()


@pytest.mark.parametrize("first", [0, 1])
async def test_a_full_and_a_stale_partial_capture_at_once_end_on_the_full_one(world: World, first: int) -> None:
    """python-getpaid-core 3.2.0: the full capture was lost in 124 of 200 (PostgreSQL)."""
    await world.opened()
    transaction = world.tries(Signal.CAPTURED, method="card")
    bodies = [
        world.gateway.notification(transaction, amount_minor=rupiah(40_000).amount_minor),
        world.gateway.notification(transaction),
    ]
    await at_once(world, bodies[first], bodies[1 - first])
    assert world.status.value == "success"
    assert world.payment.charges[0].captured_minor == rupiah(PRICE).amount_minor


@pytest.mark.parametrize("confirm", Confirm)
@pytest.mark.parametrize("first", [0, 1])
async def test_captured_and_failed_at_once_end_as_the_gateway_says(confirm: Confirm, first: int) -> None:
    """python-getpaid-core 3.2.0: `failed`, paid 0, in 130 of 200; django-payments 4.1.0: confirmed lost in 26 of 60."""
    world = World()
    world.gateway.traits = attrs.evolve(world.gateway.traits, confirm=confirm)
    await world.opened()
    transaction = world.tries(Signal.CAPTURED, method="card")
    bodies = [world.gateway.notification(transaction), world.gateway.notification(transaction, status="failed")]
    await at_once(world, bodies[first], bodies[1 - first])
    assert world.status.value == "success"


@pytest.mark.parametrize("word", ["settled", "pending", "captured"])
async def test_a_refund_survives_a_message_that_comes_with_it(world: World, word: str) -> None:
    """python-getpaid-core 3.2.0: a redelivered capture, or an event without money, erased the refund beside it."""
    transaction = await paid(world)
    body, headers = world.gateway.notification(transaction, status=word, noise="again")
    await asyncio.gather(
        world.service.refund(world.payment.payment_id, rupiah(30_000), None, actor="olga"),
        world.deliver_bytes(body, headers),
    )
    await world.do_errands()
    assert world.status.value == "partially_refunded"
    assert world.payment.charges[0].refunded_minor == rupiah(30_000).amount_minor


async def test_money_is_held_after_a_declined_try(world: World) -> None:
    """python-getpaid-core 3.2.0 and python-getpaid-stripe 0.2.1: an error, and `failed` while money was held."""
    await world.opened()
    await world.hear(world.tries(Signal.DENIED, method="card"))
    await world.hear(world.tries(Signal.AUTHORIZED, method="card"))
    assert world.status.value == "authorized"


async def test_a_settlement_told_again_after_a_refund_changes_nothing(world: World) -> None:
    """django-payment-midtrans 1.0.0: back to `settlement`, and the paid signal a second time; getpaid: an error."""
    transaction = await paid(world)
    old = world.gateway.notification(transaction, noise="another body")
    await world.service.refund(world.payment.payment_id, rupiah(30_000), None, actor="olga")
    await at_once(world, old, world.gateway.notification(transaction))
    assert world.status.value == "partially_refunded"
    assert world.history.count("order.paid") == world.history.count("payment.paid") == 1


async def test_another_body_about_the_same_transaction_is_not_a_duplicate(world: World) -> None:
    """python-getpaid-core 3.2.0: the same id with 40, then with 100, stayed at 40."""
    await world.opened()
    transaction = world.tries(Signal.PENDING)
    await world.hear(transaction)
    world.gateway.becomes(transaction, Signal.SETTLED)
    await world.hear(transaction)
    assert world.status.value == "success"


@pytest.mark.parametrize("minor", [0, -1, -10_000_000, 12_000_000])
async def test_an_amount_that_is_not_the_price_never_pays_and_is_kept(world: World, minor: int) -> None:
    """getpaid: 0 and negative amounts were no-ops that used their id up, 120 of 100 left no evidence."""
    await world.opened()
    transaction = world.tries(Signal.SETTLED)
    await world.hear(transaction, amount_minor=minor)
    assert "amount_mismatch" in [case.kind.value for case in world.payment.cases]
    assert world.payment.paid_by is None or world.payment.owed == rupiah(PRICE), "only what the gateway bears out pays"


async def test_partial_refunds_add_up_and_have_a_word_of_their_own(world: World) -> None:
    """python-getpaid-stripe 0.2.1: 30 and 30 made 30, 30 and 70 never `refunded`; `partially_paid` for both."""
    transaction = await paid(world)
    for left in (70_000, 40_000):
        await world.service.refund(world.payment.payment_id, rupiah(30_000), None, actor="olga")
        assert world.payment.charges[0].left_minor == rupiah(left).amount_minor
        assert world.status.value == "partially_refunded"
    await world.service.refund(world.payment.payment_id, None, None, actor="olga")
    assert world.status.value == "refunded"
    assert world.gateway.transactions[transaction].refunded == rupiah(PRICE)


async def test_a_refund_that_fails_leaves_the_earlier_one(world: World) -> None:
    """python-getpaid-stripe 0.2.1: 30 refunded, a second one failed, and the status went back to `paid`."""
    await paid(world)
    await world.service.refund(world.payment.payment_id, rupiah(30_000), None, actor="olga")
    world.gateway.refuse_operations = True
    await world.service.refund(world.payment.payment_id, rupiah(30_000), None, actor="olga")
    assert world.status.value == "partially_refunded"
    assert world.payment.charges[0].refunded_minor == rupiah(30_000).amount_minor


async def test_a_refund_the_bank_returns_is_with_us_again(world: World) -> None:
    """python-getpaid-stripe 0.2.1: a refund that failed after it was confirmed was refused, and stayed `refunded`."""
    transaction = await paid(world)
    _, refund = await world.service.refund(world.payment.payment_id, None, None, actor="olga")
    assert world.status.value == "refunded"
    body, _ = world.gateway.notification(transaction)
    back = RefundReport(refund.key, refund.amount, RefundNews.RETURNED)
    told = attrs.evolve(world.gateway.observe(body), refunded=None, refunds=(back,))
    (charge,) = world.payment.charges
    after = hear_refunds(world.payment, charge, told, world.clock.now())
    assert status(after) is PaymentStatus.SUCCESS
    assert [case.kind for case in after.open_cases] == [CaseKind.REFUND_RETURNED]


async def test_more_than_was_paid_is_never_sent(world: World) -> None:
    """python-getpaid-core 3.2.0: a refund of 500 for 100 went to the provider."""
    await paid(world)
    with pytest.raises(Conflict):
        await world.service.refund(world.payment.payment_id, rupiah(500_000), None, actor="olga")
    assert "refund" not in world.gateway.calls


async def test_capturing_twice_at_once_takes_the_money_once(world: World) -> None:
    """python-getpaid-core 3.2.0: the provider was called twice."""
    await world.opened()
    transaction = world.tries(Signal.AUTHORIZED, method="card")
    await world.hear(transaction)
    capture, name = world.service.operate.capture, world.payment.payment_id
    await asyncio.gather(capture(name, None, actor="olga"), capture(name, None, actor="olga"), return_exceptions=True)
    assert world.gateway.transactions[transaction].words == (Signal.AUTHORIZED, Signal.CAPTURED)
    assert world.history.count("order.paid") == 1


@pytest.mark.parametrize("word", ["pending", "expired", "failed", "cancelled"])
async def test_an_old_word_after_a_settlement_undoes_nothing_and_is_no_error(world: World, word: str) -> None:
    """django-payment-midtrans 1.0.0: a late `pending` or `expire` unpaid the order; getpaid: an error to the caller."""
    transaction = await paid(world)
    await world.hear(transaction, status=word)
    assert world.status.value == "success"
    assert world.stock == 8


# ── the table ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_every_failure_of_a_rival_names_a_test_that_exists() -> None:
    """The table says which test of ours fails when the same is done here."""
    table = (ROOT / "docs/reference/rivals.md").read_text()
    named = set(re.findall(r"`(test_\w+)`", table))
    sources = [*ROOT.glob("tests/**/*.py"), *ROOT.glob("src/payments_core/testing/*.py")]
    there = set(re.findall(r"def (test_\w+)", "\n".join(path.read_text() for path in sources)))
    assert named <= there, sorted(named - there)
    here = set(re.findall(r"async def (test_\w+)", Path(__file__).read_text()))
    assert here <= named, "every test here stands in the table"
    rows = [line for line in table.splitlines() if line.startswith("| ") and "---" not in line]
    assert len(rows) > 40
    assert all("`test_" in row for row in rows if not row.startswith("| Package"))
