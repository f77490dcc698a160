"""A crash at every await and every commit of every path that moves money: the work is finished as if nothing had been.

The points are enumerated by running: point n stops the process before its n-th step, until a run gets through unharmed.
`pytest -s` prints them.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest

from payments_core.errors import PaymentsError
from payments_core.money import Money
from payments_core.pages import PageWish
from payments_core.policy import LatePayment
from payments_core.states import Signal
from unit.simulation.crash_points import OTHERS, Deed, Path, Stage, crash_points, undisturbed
from unit.simulation.far_side import FarSide
from unit.simulation.ledger import Ledger
from unit.simulation.messages import headers_of
from unit.simulation.network import PROVIDER
from unit.simulation.process import Process
from unit.simulation.stripe_ledger import STRIPE, StripeLedger
from unit.simulation.world import IDR, quiet_logs

Ask = Callable[[Process], Awaitable[Any]]


# ── what people and gateways do ───────────────────────────────────────────────────────────────────────────────────────
def click(stage: Stage) -> None:
    wish = PageWish(provider=stage.gateway, any_provider=False)
    stage.run(_may_be_refused(lambda p: p.service.start("o1", wish, customer_id="alice", actor="alice")))


def click_again(stage: Stage) -> None:
    # A crash in the middle of an opening, or of a closing, waits for the end of its lease; till then he is refused.
    stage.world.run(asyncio.sleep(60))
    click(stage)


def elsewhere(deed: Deed) -> Deed:
    """The same at the other gateway."""

    def there(stage: Stage) -> None:
        (other,) = OTHERS[stage.gateway]
        here, stage.gateway = stage.gateway, other
        deed(stage)
        stage.gateway = here

    return there


def nothing(_stage: Stage) -> None:
    """The sweep alone finishes it."""


def unheard(deed: Callable[[Stage, FarSide], object]) -> Deed:
    """Something happens at the gateway, and nobody is told."""

    def silently(stage: Stage) -> None:
        post, stage.post.post.dropped = stage.post.post.dropped, 1.0
        deed(stage, stage.world.ledgers[stage.gateway])
        stage.post.post.dropped = post

    return silently


def tried(word: Signal, method: str = "bank_transfer") -> Deed:
    """A buyer tried to pay."""

    def deed(stage: Stage, ledger: FarSide) -> None:
        page = ledger.pages[stage.payment.attempts[-1].provider_order_id]
        assert isinstance(ledger, Ledger | StripeLedger)
        assert ledger.buyer_tries(page.order_id, page.tokens[-1], word, method) is not None

    return unheard(deed)


def at_stripe(deed: Callable[[StripeLedger, str], None]) -> Deed:
    """Something happens to the one intent there is."""

    def there(_stage: Stage, ledger: FarSide) -> None:
        assert isinstance(ledger, StripeLedger)
        (intent_id,) = ledger.transactions
        deed(ledger, intent_id)

    return unheard(there)


def told(stage: Stage) -> None:
    """The gateway delivers what it has to say of the newest transaction, once, and what that asks for is done."""
    _deliver(stage, "payment_intent." if stage.gateway == STRIPE else "")


def told_of(kind: str) -> Deed:
    """Stripe delivers its newest event of this kind."""
    return lambda stage: _deliver(stage, kind)


def _deliver(stage: Stage, kind: str) -> None:
    mine = (letter for letter in reversed(stage.letters) if letter.provider == stage.gateway)
    letter = next(letter for letter in mine if json.loads(letter.body).get("type", "").startswith(kind))
    stage.run(lambda p: p.webhook(letter.provider, letter.body, headers_of(letter, stage.world.loop.time())))


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
    stage.run(
        _may_be_refused(lambda p: p.service.cancel_order("o1", actor="shop") if p.service.cancel_order else nobody())
    )


async def nobody() -> None:
    """The shop keeps its orders elsewhere."""


def facts_delivered(stage: Stage) -> None:
    deliver = stage.process.service.deliver
    assert deliver is not None
    stage.run(lambda _process: deliver.once())


def hours_pass(hours: float) -> Deed:
    def deed(stage: Stage) -> None:
        async def wait() -> None:
            until = stage.world.loop.time() + hours * 3600
            while stage.process.alive and stage.world.loop.time() < until:  # noqa: ASYNC110 - made-up time
                await asyncio.sleep(1)

        stage.world.run(wait())

    return deed


PAID = both(click, tried(Signal.SETTLED), told)
HELD = both(click, tried(Signal.AUTHORIZED, "card"), told)
WAITING = both(click, tried(Signal.PENDING), told)
"""A virtual account at Midtrans; at Stripe a delayed method, on a session that is complete."""

AT_BOTH = (
    Path("create", "", before=nothing, path=click, again=click_again),
    Path("notification", "", before=both(click, tried(Signal.SETTLED)), path=told, again=told),
    Path("notification of a decline", "", before=both(click, tried(Signal.DENIED)), path=told, again=told),
    Path("refund", "", before=PAID, path=refund, again=refund),
    Path("capture", "", before=HELD, path=capture, again=capture),
    Path("void of a hold", "", before=HELD, path=void, again=void),
    Path("closing at the deadline", "", before=click, path=hours_pass(1.1), again=nothing, sweeping=True),
    Path("change to the other gateway", "", before=elsewhere(click), path=click, again=click_again),
    Path("delivery of facts", "", before=PAID, path=facts_delivered, again=nothing, subscriber=True),
)
AT_MIDTRANS = (
    Path("cancellation of the order", PROVIDER, before=WAITING, path=cancel_order, again=cancel_order),
    Path(
        "notification found by the sweep",
        PROVIDER,
        before=click,
        path=both(tried(Signal.PENDING), told),
        again=nothing,
        sweeping=True,
    ),
    Path("void", PROVIDER, before=both(click, tried(Signal.CAPTURED, "card"), told), path=void, again=void),
    Path("approve", PROVIDER, before=both(click, tried(Signal.CHALLENGED, "card"), told), path=approve, again=approve),
    Path("closing a page with a try", PROVIDER, before=WAITING, path=hours_pass(1.1), again=nothing, sweeping=True),
    Path(
        "surplus payment",
        PROVIDER,
        before=both(PAID, tried(Signal.SETTLED)),
        path=told,
        again=told,
        late=LatePayment.REOPEN_OR_REFUND,
    ),
)
DISPUTED = at_stripe(lambda ledger, intent: ledger.dispute_opens(intent, 100_000))
AT_STRIPE = (
    Path(
        "cancellation of the order",
        STRIPE,
        before=both(click, tried(Signal.PENDING, "card"), told),
        path=cancel_order,
        again=cancel_order,
    ),
    Path(
        "event of the session",
        STRIPE,
        before=both(click, tried(Signal.SETTLED)),
        path=told_of("checkout.session."),
        again=told_of("checkout.session."),
    ),
    Path(
        "refund that came back",
        STRIPE,
        before=both(PAID, refund, at_stripe(lambda ledger, intent: ledger.refunds_come_back(intent))),
        path=told_of("refund.failed"),
        again=told_of("refund.failed"),
    ),
    Path(
        "dispute", STRIPE, before=both(PAID, DISPUTED), path=told_of("charge.dispute"), again=told_of("charge.dispute")
    ),
    Path(
        "dispute found by the sweep",
        STRIPE,
        before=both(PAID, DISPUTED),
        path=told_of("charge.dispute"),
        again=told_of("charge.dispute"),
        sweeping=True,
    ),
    Path(
        "dispute won",
        STRIPE,
        before=both(
            PAID,
            DISPUTED,
            told_of("charge.dispute"),
            at_stripe(lambda ledger, intent: ledger.dispute_closes(intent, won=True)),
        ),
        path=told_of("charge.dispute.closed"),
        again=told_of("charge.dispute.closed"),
    ),
    Path(
        "delayed payment that bounces",
        STRIPE,
        before=both(WAITING, at_stripe(lambda ledger, intent: ledger.bank_decides(intent, good=False))),
        path=told_of("checkout.session.async"),
        again=told_of("checkout.session.async"),
    ),
)
PATHS = (*(attrs.evolve(path, gateway=name) for name in OTHERS for path in AT_BOTH), *AT_MIDTRANS, *AT_STRIPE)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: f"{path.gateway}: {path.name}")
def test_a_crash_at_every_point_ends_as_if_there_had_been_none(path: Path) -> None:
    """Killed before every step of the path, the work is finished by the next request, notification or sweep (A2)."""
    complaints: list[str] = []
    with quiet_logs(complaints.append):
        wanted, steps, said = undisturbed(path)
        found = crash_points(path)
    assert complaints == []
    print(f"\n{path.gateway}: {path.name}: {len(found)} points")
    for point, _ending in found:
        print(f"  {point.number:3} after {point.after}")
    assert len(found) == steps, "every step is a point"
    assert [point.number for point, _ in found] == [*range(steps)], "none is left out"
    stopped_after = Counter(point.after for point, _ in found)
    assert {*said} == {*stopped_after} - {"the beginning"}, "every statement and every call has a point behind it"
    assert wanted.wrongly_told is None
    wrong = {f"{point.number} after {point.after}": ending for point, ending in found if ending != wanted}
    assert not wrong, f"undisturbed: {wanted}\nwith a crash: {wrong}"
