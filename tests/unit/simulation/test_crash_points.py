"""A crash at every await and every commit of every path that moves money: the work is finished as if nothing had been.

The points are enumerated by running: point n stops the process before its n-th step, until a run gets through unharmed.
`pytest -s` prints them.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from payments_core.errors import PaymentsError
from payments_core.money import Money
from payments_core.pages import PageWish
from payments_core.policy import LatePayment
from payments_core.states import Signal
from unit.simulation.crash_points import Deed, Path, Stage, crash_points, undisturbed
from unit.simulation.network import PROVIDER, fields_of, sign
from unit.simulation.process import Process
from unit.simulation.world import IDR, quiet_logs

WISH = PageWish(provider=PROVIDER)
Ask = Callable[[Process], Awaitable[Any]]


# ── what people and the gateway do ────────────────────────────────────────────────────────────────────────────────────
def click(stage: Stage) -> None:
    stage.run(lambda p: p.service.start("o1", WISH, customer_id="alice", actor="alice"))


def click_again(stage: Stage) -> None:
    stage.world.run(asyncio.sleep(20))  # a crash in the middle of an opening waits for the end of its lease
    click(stage)


def nothing(_stage: Stage) -> None:
    """The sweep alone finishes it."""


def tried(word: Signal, method: str = "bank_transfer") -> Deed:
    """A buyer tried to pay, and nobody was told."""

    def deed(stage: Stage) -> None:
        post, stage.post.post.dropped = stage.post.post.dropped, 1.0
        page = stage.world.ledger.pages[stage.payment.attempts[-1].provider_order_id]
        assert stage.world.ledger.buyer_tries(page.order_id, page.tokens[-1], word, method) is not None
        stage.post.post.dropped = post

    return deed


def told(stage: Stage) -> None:
    """The gateway delivers what it has to say of the newest transaction, once, and what that asks for is done."""
    transaction = [*stage.world.ledger.transactions.values()][-1]
    body = _body(fields_of(transaction, transaction.now))
    stage.run(lambda p: p.webhook(body, {"signature": sign(body)}))


def _body(fields: object) -> bytes:
    return json.dumps(fields).encode()


def both(*deeds: Deed) -> Deed:
    def deed(stage: Stage) -> None:
        for one in deeds:
            one(stage)
            stage.world.run_until(
                lambda: not (stage.process.alive and (stage.process.errands._running or stage.process.errands._waiting))
            )

    return deed


def _may_be_refused(work: Ask) -> Ask:
    async def ask(process: Process) -> None:
        try:
            await work(process)
        except PaymentsError:
            return

    return ask


def refund(stage: Stage) -> None:
    part = Money(30_000, IDR)
    name = stage.payment.payment_id
    stage.run(lambda p: p.service.refund(name, part, None, actor="olga", asked_as="request 1"))


def void(stage: Stage) -> None:
    name = stage.payment.payment_id
    stage.run(_may_be_refused(lambda p: p.service.operate.cancel(name, actor="olga")))


def capture(stage: Stage) -> None:
    name = stage.payment.payment_id
    stage.run(_may_be_refused(lambda p: p.service.operate.capture(name, Money(60_000, IDR), actor="olga")))


def approve(stage: Stage) -> None:
    name = stage.payment.payment_id
    stage.run(_may_be_refused(lambda p: p.service.operate.approve(name, actor="olga")))


def cancel_order(stage: Stage) -> None:
    stage.run(_may_be_refused(lambda p: p.service.cancel_order("o1", actor="shop")))


def hours_pass(hours: float) -> Deed:
    def deed(stage: Stage) -> None:
        async def wait() -> None:
            until = stage.world.loop.time() + hours * 3600
            while stage.process.alive and stage.world.loop.time() < until:  # noqa: ASYNC110 - made-up time
                await asyncio.sleep(1)

        stage.world.run(wait())

    return deed


PAID = both(click, tried(Signal.SETTLED), told)

PATHS = (
    Path("create", before=nothing, path=click, again=click_again),
    Path("notification", before=both(click, tried(Signal.SETTLED)), path=told, again=told),
    Path("notification of a decline", before=both(click, tried(Signal.DENIED)), path=told, again=told),
    Path(
        "notification found by the sweep",
        before=click,
        path=both(tried(Signal.PENDING), told),
        again=nothing,
        sweeping=True,
    ),
    Path("refund", before=PAID, path=refund, again=refund),
    Path("void", before=both(click, tried(Signal.CAPTURED, "card"), told), path=void, again=void),
    Path("capture", before=both(click, tried(Signal.AUTHORIZED, "card"), told), path=capture, again=capture),
    Path("approve", before=both(click, tried(Signal.CHALLENGED, "card"), told), path=approve, again=approve),
    Path(
        "cancellation of the order",
        before=both(click, tried(Signal.PENDING), told),
        path=cancel_order,
        again=cancel_order,
    ),
    Path(
        "closing at the deadline",
        before=both(click, tried(Signal.PENDING), told),
        path=hours_pass(1.1),
        again=nothing,
        sweeping=True,
    ),
    Path(
        "surplus payment",
        before=both(PAID, tried(Signal.SETTLED)),
        path=told,
        again=told,
        late=LatePayment.REOPEN_OR_REFUND,
    ),
)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_a_crash_at_every_point_ends_as_if_there_had_been_none(path: Path) -> None:
    """Killed before every step of the path, the work is finished by the next request, notification or sweep (A2)."""
    complaints: list[str] = []
    with quiet_logs(complaints.append):
        wanted, steps, said = undisturbed(path)
        found = crash_points(path)
    assert complaints == []
    print(f"\n{path.name}: {len(found)} points")
    for point, _ending in found:
        print(f"  {point.number:3} after {point.after}")
    assert len(found) == steps, "every step is a point"
    assert [point.number for point, _ in found] == [*range(steps)], "none is left out"
    stopped_after = Counter(point.after for point, _ in found)
    assert {*said} == {*stopped_after} - {"the beginning"}, "every statement and every call has a point behind it"
    wrong = {f"{point.number} after {point.after}": ending for point, ending in found if ending != wanted}
    assert not wrong, f"undisturbed: {wanted}\nwith a crash: {wrong}"
