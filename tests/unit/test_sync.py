"""The blocking facade: calls of many threads on one event loop, their errors, their waits, and the end."""

import asyncio
import gc
import inspect
import logging
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from datetime import timedelta
from typing import TypeVar
from unittest.mock import Mock

import pytest

from payments_core import PaymentService, PaymentStatus, Signal, sync
from payments_core.errors import Busy, Conflict, NotFound
from payments_core.limits import SWEEP_BATCH_MAX
from payments_core.orders import OrderStatus
from payments_core.payment import CaseDecision, RefundState
from payments_core.ports import Placed, Store, Survey
from payments_core.sync import BlockingPayments
from payments_core.testing.samples import order
from payments_core.use_cases.receive_notification import Accepted
from payments_core.use_cases.start_payment import Paying
from unit.world import ANYTHING, World, rupiah

Result = TypeVar("Result")

_PATIENCE_S = 10.0
"""For what happens at once unless something is broken."""


def service_over(world: World, **more: object) -> PaymentService:
    parts: dict[str, object] = {"shop": world.store, "clock": world.clock, "ids": world.ids, **more}
    return PaymentService.over(world.store, {"memory": world.gateway}, **parts)  # type: ignore[arg-type]


@pytest.fixture
def payments(world: World) -> Iterator[BlockingPayments]:
    """The facade over the twins; a wait that ends here would otherwise have had no end."""
    with BlockingPayments(service_over(world), timeout_s=_PATIENCE_S) as made:
        yield made


def clicked(payments: BlockingPayments) -> Paying:
    return payments.start("o-1", ANYTHING, customer_id="alice", actor="customer:alice")


def hear(payments: BlockingPayments, world: World, transaction_id: str) -> Accepted:
    accepted = payments.receive("memory", *world.gateway.notification(transaction_id))
    assert isinstance(accepted, Accepted)
    return accepted


def decided(payments: BlockingPayments) -> PaymentStatus:
    return payments.status("o-1", customer_id="alice", wait_s=5).status


def in_thread(call: Callable[[], Result]) -> "Future[Result]":
    """What becomes of the call in a thread of its own."""
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test looks at it
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


# ── a shop's afternoon ────────────────────────────────────────────────────────────────────────────────────────────────
def test_an_order_is_placed_paid_and_given_back_without_an_event_loop_in_sight(
    payments: BlockingPayments, world: World
) -> None:
    world.store.orders.available["book"] = 10
    now = world.clock.now()
    placed = payments.place_order(order(reserved_at=now, expires_at=now + timedelta(hours=24)))
    assert placed[1] is Placed.NEW
    paying = clicked(payments)
    assert paying.created
    transaction = world.gateway.buyer_tries(paying.attempt.token or "", Signal.SETTLED, method="card")
    for _ in range(2):
        hear(payments, world, transaction)
    assert decided(payments) is PaymentStatus.SUCCESS, "the errand asked the gateway while nobody waited for it"
    payment_id = paying.payment.payment_id
    _, refund = payments.refund(payment_id, rupiah(30_000), "torn", actor="olivia", asked_as="torn-1")
    _, again = payments.refund(payment_id, rupiah(30_000), "torn", actor="olivia", asked_as="torn-1")
    assert refund.key == again.key
    assert refund.state is RefundState.CONFIRMED
    assert payments.refresh(payment_id).paid_by == transaction
    assert payments.status("o-1", customer_id="alice").refunded == rupiah(30_000)


@pytest.mark.parametrize(
    ("outcome", "operation", "status"),
    [
        (Signal.AUTHORIZED, "capture", "success"),
        (Signal.AUTHORIZED, "cancel", "cancelled"),
        (Signal.CHALLENGED, "approve", "success"),
        (Signal.CHALLENGED, "deny", "pending"),
    ],
)
def test_what_an_operator_asks_is_done_when_the_call_returns(
    payments: BlockingPayments, world: World, outcome: Signal, operation: str, status: str
) -> None:
    world.order()
    payment = clicked(payments).payment
    world.tries(outcome, method="card")
    payments.refresh(payment.payment_id)
    if operation == "capture":
        payments.capture(payment.payment_id, None, actor="olivia")
    else:
        getattr(payments, operation)(payment.payment_id, actor="olivia")
    assert payments.status("o-1", customer_id=None).status.value == status


def test_a_case_is_decided(payments: BlockingPayments, world: World) -> None:
    world.order()
    payment = clicked(payments).payment
    hear(payments, world, world.tries(Signal.SETTLED))
    assert decided(payments) is PaymentStatus.SUCCESS
    world.gateway.becomes(payments.refresh(payment.payment_id).paid_by or "", Signal.DENIED)
    assert payments.refresh(payment.payment_id).open_cases
    after = payments.resolve(payment.payment_id, 1, CaseDecision.DISMISS, "goods came back", actor="olivia")
    assert after.open_cases == ()


def test_an_order_is_given_up(payments: BlockingPayments, world: World) -> None:
    world.order()
    given_up, done = payments.cancel_order("o-1", actor="shop")
    assert (given_up.status, done) == (OrderStatus.CANCELLED, True)


def test_orders_that_are_kept_elsewhere_are_not_placed_or_given_up_here(world: World) -> None:
    with BlockingPayments(PaymentService.over(world.store, {})) as payments:
        with pytest.raises(RuntimeError, match=r"shop=store"):
            payments.place_order(order())
        with pytest.raises(RuntimeError, match=r"shop=store"):
            payments.cancel_order("o-1", actor="shop")


def test_calls_say_what_they_take(payments: BlockingPayments) -> None:
    """An editor and `help` show the use case's own arguments, and the type checker knows them too."""
    assert inspect.signature(payments.start) == inspect.signature(payments.service.start)
    assert inspect.signature(payments.capture) == inspect.signature(payments.service.operate.capture)
    assert payments.capture.__doc__ == payments.service.operate.capture.__doc__


# ── what is due ───────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_sweep_attends_to_what_is_due(payments: BlockingPayments, world: World) -> None:
    world.order()
    world.clock.move(timedelta(hours=25))
    assert payments.sweep().done == {"orders": 1}
    assert world.shop_order().status is OrderStatus.CANCELLED


def test_a_sweep_in_the_background_begins_with_the_first_call_and_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It goes on after whatever happens to it: nothing else would find what was left behind."""
    swept, original, broken = asyncio.Event(), PaymentService.over, [ZeroDivisionError()]
    service = original(world.store, {"memory": world.gateway}, shop=world.store, clock=world.clock)
    once = type(service.sweep).once

    async def sweep(self: object) -> object:
        if broken:
            raise broken.pop()
        report = await once(self)  # type: ignore[arg-type]
        swept.set()
        return report

    monkeypatch.setattr(type(service.sweep), "once", sweep)
    world.order()
    world.clock.move(timedelta(hours=25))
    with BlockingPayments(service, timeout_s=_PATIENCE_S, sweep_every_s=0.001) as payments:
        payments.run(swept.wait())
    assert world.shop_order().status is OrderStatus.CANCELLED
    assert [record.levelname for record in caplog.records if record.name == sync.__name__] == ["ERROR"]


def test_a_sweep_in_the_background_does_not_pause_while_more_is_due(world: World) -> None:
    orders = [f"o-{number}" for number in range(SWEEP_BATCH_MAX + 1)]
    for order_id in orders:
        world.order(order_id, units=1, stock=1_000)
    world.clock.move(timedelta(hours=25))

    async def all_given_up() -> None:
        while any(world.shop_order(order_id).status is OrderStatus.PENDING for order_id in orders):  # noqa: ASYNC110
            await asyncio.sleep(0)

    with BlockingPayments(service_over(world), timeout_s=_PATIENCE_S, sweep_every_s=3_600) as payments:
        payments.run(all_given_up())


def test_payments_are_compared_with_their_gateway_page_by_page(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync, "_IDS_AT_ONCE", 2)
    known = ["p-1", "p-2", "p-3"]

    async def ids(_since: object, *, after: str | None, limit: int) -> list[str]:
        return [one for one in known if after is None or one > after][:limit]

    survey = Mock(Survey, ids=ids)
    with BlockingPayments(service_over(world, survey=survey)) as payments:
        compared = payments.reconcile(world.clock.now())
        assert [found.payment_id for found in compared] == known


def test_without_a_survey_there_is_nothing_to_compare(payments: BlockingPayments, world: World) -> None:
    with pytest.raises(RuntimeError, match="survey"):
        payments.reconcile(world.clock.now())


# ── errors and waits ──────────────────────────────────────────────────────────────────────────────────────────────────
def test_an_error_is_raised_in_the_thread_that_called_unchanged(payments: BlockingPayments, world: World) -> None:
    with pytest.raises(NotFound) as unknown:
        payments.status("o-9", customer_id=None)
    assert unknown.value.code == "order_not_found"
    error = Conflict("its stock is gone", code="out_of_stock", extra={"sku": "book"})
    store = Mock(Store, find=Mock(side_effect=error), close=lambda: None)
    with BlockingPayments(PaymentService.over(store, {})) as broken, pytest.raises(Conflict) as raised:
        broken.status("o-1", customer_id=None)
    assert raised.value is error
    assert in_thread(lambda: payments.status("o-9", customer_id=None)).exception(_PATIENCE_S)
    world.order()
    assert clicked(payments).created, "an error ends its call, nothing else"


def test_a_time_out_of_the_work_is_the_works_own(payments: BlockingPayments) -> None:
    async def give_up() -> None:
        raise TimeoutError("theirs")

    with pytest.raises(TimeoutError, match="theirs"):
        payments.run(give_up())


def test_a_wait_ends_and_what_was_waited_for_goes_on(payments: BlockingPayments) -> None:
    """A caller that goes away cancels nothing: the money may be on its way."""
    gate, done = asyncio.Event(), threading.Event()

    async def slow() -> None:
        await gate.wait()
        done.set()

    with pytest.raises(Busy) as gave_up:
        payments.run(slow(), timeout_s=0.01)
    assert gave_up.value.retryable
    assert "0.01 s" in gave_up.value.detail

    async def go_on() -> None:
        gate.set()

    payments.run(go_on())
    assert done.wait(_PATIENCE_S)


def test_every_wait_has_an_end_also_when_nobody_says_which(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync, "_DRAIN_S", 0.01)
    with BlockingPayments(service_over(world), timeout_s=0.01) as payments, pytest.raises(Busy):
        payments.run(asyncio.sleep(_PATIENCE_S))


def test_a_call_brings_what_its_thread_knows(payments: BlockingPayments) -> None:
    """A log line of the use case can say which request it was for."""
    request_id: ContextVar[str] = ContextVar("request_id")
    request_id.set("r-1")

    async def look() -> str:
        return request_id.get()

    assert payments.run(look()) == "r-1"


# ── threads ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_many_threads_that_click_at_once_get_one_page(payments: BlockingPayments, world: World) -> None:
    world.order()
    together = threading.Barrier(16)

    def click(_: int) -> Paying:
        together.wait()
        return clicked(payments)

    with ThreadPoolExecutor(16) as pool:
        pages = list(pool.map(click, range(16)))
    assert len({page.attempt.url for page in pages}) == 1
    assert sum(page.created for page in pages) == 1
    assert threading.active_count() < 2 + 16, "one thread serves them all"


def test_one_threads_wait_holds_up_no_other(payments: BlockingPayments) -> None:
    gate = asyncio.Event()
    waits = in_thread(lambda: payments.run(gate.wait()))

    async def open_gate() -> None:
        gate.set()

    payments.run(open_gate())
    assert waits.result(_PATIENCE_S)


# ── where it may not be called ────────────────────────────────────────────────────────────────────────────────────────
async def test_it_is_not_waited_for_where_an_event_loop_runs(world: World) -> None:
    payments = BlockingPayments(service_over(world))
    with pytest.raises(RuntimeError, match="await the use cases"):
        payments.status("o-1", customer_id=None)
    with pytest.raises(NotFound):
        await asyncio.to_thread(payments.status, "o-1", customer_id=None)
    payments.close()


def test_it_is_not_waited_for_by_what_it_runs_itself(payments: BlockingPayments) -> None:
    """A subscriber that asks for a status in this way would wait for the loop it stands on."""

    async def ask() -> None:
        payments.status("o-1", customer_id=None)

    async def close() -> None:
        payments.close()

    with pytest.raises(RuntimeError, match="await the use cases"):
        payments.run(ask())
    with pytest.raises(RuntimeError, match="wait for itself"):
        payments.run(close())
    with pytest.raises(NotFound):
        payments.status("o-1", customer_id=None)


FORKED = """
import os, sys
from payments_core import PaymentService
from payments_core.errors import NotFound
from payments_core.sync import BlockingPayments
from payments_core_memory import MemoryStore

def ask(payments):
    try:
        payments.status("o-1", customer_id=None)
    except (NotFound, RuntimeError) as error:
        return f"{type(error).__name__}: {error}"

def in_a_fork(payments):
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        print("child", ask(payments))
        payments.close()
        print("child", ask(payments))
        sys.stdout.flush()
        os._exit(0)
    os.waitpid(child, 0)

payments = BlockingPayments(PaymentService.over(MemoryStore(), {}))
in_a_fork(payments)
print("parent", ask(payments))
with payments._lock:  # a child has a copy of it, and nobody who would give that back
    in_a_fork(payments)
print("parent", ask(payments))
"""


def test_a_forked_worker_begins_anew_or_is_told_that_it_cannot() -> None:
    """A server may load the program before it forks; a thread and its connections do not go along."""
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=60, check=True)
    fresh, closed, parent, refused, still_refused, after = done.stdout.splitlines()
    assert fresh == "child NotFound: no order o-1"
    assert closed == "child RuntimeError: these payments are closed"
    assert parent == after == "parent NotFound: no order o-1", "what a child closes is the child's"
    assert refused == still_refused
    assert refused.startswith("child RuntimeError: these payments were used before this process was forked")


# ── the end ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_closed_payments_say_so(world: World) -> None:
    payments = BlockingPayments(service_over(world))
    payments.close()
    with pytest.raises(RuntimeError, match="closed"):
        payments.status("o-1", customer_id=None)


def test_the_end_waits_for_calls_and_errands_and_gives_connections_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[str] = []

    async def close(_store: object) -> None:
        ended.append(f"the store was closed when the order was {world.status.value}")

    monkeypatch.setattr(type(world.store), "close", close, raising=False)
    world.order()
    payments = BlockingPayments(service_over(world), timeout_s=_PATIENCE_S)
    clicked(payments)
    gate = asyncio.Event()

    async def slow() -> str:
        gate.set()
        await asyncio.sleep(0.05)
        return "done"

    under_way = in_thread(lambda: payments.run(slow()))
    payments.run(gate.wait())
    hear(payments, world, world.tries(Signal.SETTLED))
    payments.close()
    assert under_way.result(_PATIENCE_S) == "done"
    assert ended == ["the store was closed when the order was success"]
    assert "payments" not in {thread.name for thread in threading.enumerate()}
    payments.close()
    assert len(ended) == 1


FORGETFUL = """
from payments_core import BlockingPayments, PaymentService
from payments_core.errors import NotFound
from payments_core_memory import MemoryStore

class Store(MemoryStore):
    async def close(self):
        print("given back")

payments = BlockingPayments(PaymentService.over(Store(), {}))
try:
    payments.status("o-1", customer_id=None)
except NotFound:
    print("asked")
"""


def test_a_program_that_forgets_the_end_has_one_all_the_same() -> None:
    """Else what a script began last, such as asking whether a notification is true, would be left to a sweep."""
    done = subprocess.run([sys.executable, "-c", FORGETFUL], capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout.split("\n"), done.stderr) == (["asked", "given back", ""], "")


def test_closed_payments_are_remembered_by_nobody(world: World) -> None:
    payments = BlockingPayments(service_over(world))
    with pytest.raises(NotFound):
        payments.status("o-1", customer_id=None)
    payments.close()
    seen = weakref.ref(payments)
    del payments
    gc.collect()
    assert seen() is None


def test_what_does_not_end_is_given_up_and_its_caller_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync, "_DRAIN_S", 0.01)
    payments = BlockingPayments(service_over(world), timeout_s=_PATIENCE_S)
    begun = asyncio.Event()

    async def hang() -> None:
        begun.set()
        await asyncio.Event().wait()

    hanging = in_thread(lambda: payments.run(hang()))
    payments.run(begun.wait())
    payments.close()
    error = hanging.exception(_PATIENCE_S)
    assert isinstance(error, Busy)
    assert "closed before" in error.detail


def test_an_end_that_takes_too_long_is_not_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sync, "_CLOSE_S", 0.01)
    gate = threading.Event()
    payments = BlockingPayments(service_over(world), timeout_s=_PATIENCE_S)
    with pytest.raises(NotFound):
        payments.status("o-1", customer_id=None)
    thread = next(one for one in threading.enumerate() if one.name == "payments")
    monkeypatch.setattr(type(world.store), "close", lambda _store: gate.wait(_PATIENCE_S), raising=False)
    caplog.set_level(logging.WARNING)
    payments.close()
    assert "has not ended" in caplog.text
    gate.set()
    thread.join(_PATIENCE_S)
    assert not thread.is_alive()


def test_payments_whose_thread_was_ended_say_so(world: World) -> None:
    payments = BlockingPayments(service_over(world), timeout_s=_PATIENCE_S)

    async def leave() -> None:
        raise SystemExit

    with pytest.raises(NotFound):
        payments.status("o-1", customer_id=None)
    thread = next(one for one in threading.enumerate() if one.name == "payments")
    with pytest.raises((SystemExit, Busy)):
        payments.run(leave())
    thread.join(_PATIENCE_S)
    with pytest.raises(RuntimeError, match="was ended by"):
        payments.status("o-1", customer_id=None)
    payments.close()
