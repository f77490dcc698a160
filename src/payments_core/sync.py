"""The use cases for programs that wait: Flask, Django views, scripts.

It is the same `PaymentService`, on an event loop in a thread of its own. The use cases stay what they are; a call hands
one to the loop and waits for its result, so that any number of threads share the store's connections, what they want
together is done together, and errands go on while nobody waits.
"""

import asyncio
import atexit
import logging
import os
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent import futures
from contextlib import suppress
from datetime import datetime
from functools import wraps
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

import attrs

from payments_core.errors import Busy
from payments_core.limits import SWEEP_BATCH_MAX
from payments_core.orders import Order
from payments_core.ports import Placed
from payments_core.service import PaymentService
from payments_core.use_cases.reconcile import Reconcile, Reconciled
from payments_core.use_cases.sweep import SweepReport

__all__ = ["BlockingPayments"]

log = logging.getLogger(__name__)

Given = ParamSpec("Given")
Result = TypeVar("Result")

_TIMEOUT_S = 30.0
"""A click waits for another's opening, then calls itself: 25 s with a gateway's usual time-out of 10 s. Web servers
give a request up after about as long."""
_SWEEP_TIMEOUT_S = 600.0
"""Nobody waits for a sweep but the program it has to itself."""
_DRAIN_S = 5.0
"""How long calls and errands may still take when it closes; a gateway that hangs takes longer, and its rows are due."""
_CLOSE_S = 15.0
"""For that, and the connections to give back."""
_IDS_AT_ONCE = 100


@attrs.frozen
class _Running:
    """The event loop at work, and the one process it works in: a fork takes no thread along."""

    loop: asyncio.AbstractEventLoop
    stop: asyncio.Event
    thread: threading.Thread
    pid: int = attrs.field(factory=os.getpid)


class BlockingPayments:
    """A payment service whose calls return when they are done; for any number of threads.

    Its thread begins with the first call, so it may be made before a server forks its workers, and used after. It owns
    what the service is made of: `close`, or the end of a `with`, gives the connections back.

    Shape: the calls have the arguments and results of the use cases whose names they have. `timeout_s` bounds every
    wait; with `sweep_every_s` due work is attended to in the background, from the first call on.
    Errors, all calls: those of the use case, unchanged. Busy when there is no result in time: nothing is cancelled,
    and the same call will find it done, or do it (a refund when it is named by `asked_as`). RuntimeError when waiting
    here would stop an event loop, after `close`, and in a process that was forked after the first call.
    """

    def __init__(
        self, service: PaymentService, *, timeout_s: float = _TIMEOUT_S, sweep_every_s: float | None = None
    ) -> None:
        self.service = service
        self._timeout_s, self._sweep_every_s = timeout_s, sweep_every_s
        self._lock = threading.Lock()
        self._running: _Running | None = None
        self._is_closed = False
        self.start = self._blocking(service.start)
        self.status = self._blocking(service.status)
        self.receive = self._blocking(service.receive)
        self.refresh = self._blocking(service.refresh)
        self.refund = self._blocking(service.refund)
        self.capture = self._blocking(service.operate.capture)
        self.approve = self._blocking(service.operate.approve)
        self.deny = self._blocking(service.operate.deny)
        self.cancel = self._blocking(service.operate.cancel)
        self.resolve = self._blocking(service.operate.resolve)

    def _blocking(self, use_case: Callable[Given, Coroutine[Any, Any, Result]]) -> Callable[Given, Result]:
        """The use case with the same arguments and the same result, waited for."""

        @wraps(use_case)
        def call(*given: Given.args, **named: Given.kwargs) -> Result:
            return self.run(use_case(*given, **named))

        return call

    def place_order(self, order: Order) -> tuple[Order, Placed]:
        """As the use case of a service that keeps the shop's orders. Errors: RuntimeError of one that does not."""
        return self.run(_kept(self.service.place_order)(order))

    def cancel_order(self, order_id: str, *, actor: str) -> tuple[Order, bool]:
        """As the use case of a service that keeps the shop's orders. Errors: RuntimeError of one that does not."""
        return self.run(_kept(self.service.cancel_order)(order_id, actor=actor))

    def sweep(self, *, timeout_s: float = _SWEEP_TIMEOUT_S) -> SweepReport:
        """Every row that is due now was attended to once, up to one batch of each kind; for a timer or a cron job."""
        return self.run(self.service.sweep.once(), timeout_s=timeout_s)

    def reconcile(self, since: datetime) -> Iterator[Reconciled]:
        """Each payment with a page that ended after `since`, or with anything under way, compared and repaired.

        One after the other, as they are asked for; each is a call of its own.
        Errors: RuntimeError when the service has no survey to find them by.
        """
        reconcile = self.service.reconcile
        if reconcile is None:
            raise RuntimeError("reconciling needs a survey: PaymentService.over(..., survey=...)")
        return self._reconciled(reconcile, since)

    def _reconciled(self, reconcile: Reconcile, since: datetime) -> Iterator[Reconciled]:
        after: str | None = None
        while ids := self.run(reconcile.survey.ids(since, after=after, limit=_IDS_AT_ONCE)):
            for payment_id in ids:
                yield self.run(reconcile(payment_id))
            after = ids[-1]

    def run(self, work: Coroutine[Any, Any, Result], *, timeout_s: float | None = None) -> Result:
        """The result of any coroutine over the same store, such as placing an order in it."""
        try:
            future = self._begun(work)
        except BaseException:
            work.close()  # it never runs
            raise
        return _waited_for(future, self._timeout_s if timeout_s is None else timeout_s)

    def _begun(self, work: Coroutine[Any, Any, Result]) -> "futures.Future[Result]":
        _refuse_to_stop_a_loop()
        self._refuse_a_fork()
        with self._lock:  # against `close`: whatever is handed over before it says stop is seen by the loop
            if self._is_closed:
                raise RuntimeError("these payments are closed")
            if self._running is None:
                self._running = self._start_thread()
            if not self._running.thread.is_alive():
                raise RuntimeError("the thread of these payments was ended by a SystemExit or KeyboardInterrupt in it")
            return asyncio.run_coroutine_threadsafe(work, self._running.loop)

    def _is_forked(self) -> bool:
        return self._running is not None and self._running.pid != os.getpid()

    def _refuse_a_fork(self) -> None:
        """Also before the lock is asked for: whoever had it when the process was forked is not here to give it back."""
        if self._is_forked():
            raise RuntimeError(
                "these payments were used before this process was forked, and their thread and connections are the "
                "parent's: make them in each process, or let the first call be made there"
            )

    # ── the thread ────────────────────────────────────────────────────────────────────────────────────────────────
    def _start_thread(self) -> _Running:
        loop, stop = asyncio.new_event_loop(), asyncio.Event()
        thread = threading.Thread(target=self._live, args=(loop, stop), name="payments", daemon=True)
        thread.start()
        atexit.register(self.close)
        return _Running(loop, stop, thread)

    def _live(self, loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
        with suppress(SystemExit, KeyboardInterrupt), asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(self._serve(stop))  # raised by a piece of work, whose caller has it; nobody else is to

    async def _serve(self, stop: asyncio.Event) -> None:
        sweeping = asyncio.create_task(self._sweep_until(stop))
        await stop.wait()
        await _drain(_DRAIN_S)
        await asyncio.gather(sweeping, return_exceptions=True)
        await self.service.close()

    async def _sweep_until(self, stop: asyncio.Event) -> None:
        while self._sweep_every_s is not None and not stop.is_set():
            try:
                report = await self.service.sweep.once()
                if report.total >= SWEEP_BATCH_MAX:
                    continue  # more is due
            except Exception:
                # It is what recovers everything else, so nothing may end it.
                log.exception("a sweep failed; the next one comes")
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self._sweep_every_s)

    # ── the end ───────────────────────────────────────────────────────────────────────────────────────────────────
    def close(self) -> None:
        """Calls under way have ended or were given up, errands too, and all connections were given back.

        It comes by itself at the end of the program; again it changes nothing, and in a forked process it leaves the
        parent's alone.
        """
        if self._is_forked():
            return
        if self._running is not None and self._running.thread is threading.current_thread():
            raise RuntimeError("payments cannot be closed by what they run themselves: it would wait for itself")
        with self._lock:
            running, self._is_closed = self._running, True
            if running is None:
                return
            with suppress(RuntimeError):  # the loop is over already
                running.loop.call_soon_threadsafe(running.stop.set)
        running.thread.join(_CLOSE_S)
        if running.thread.is_alive():
            log.warning("the thread of payments has not ended %s s after it was told to; it is left alone", _CLOSE_S)
        atexit.unregister(self.close)

    def __enter__(self) -> "BlockingPayments":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()


def _kept(use_case: Result | None) -> Result:
    if use_case is None:
        raise RuntimeError("the orders are not kept here: PaymentService.over(..., shop=store)")
    return use_case


def _refuse_to_stop_a_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError(
        "an event loop runs in this thread, and waiting here would stop it: await the use cases of a PaymentService, "
        "or call from a thread (asyncio.to_thread)"
    )


def _waited_for(future: "futures.Future[Result]", timeout_s: float) -> Result:
    done, _ = futures.wait([future], timeout_s)
    if not done:
        raise Busy(f"no result within {timeout_s} s; it goes on, and the same call will find it done, or do it")
    if future.cancelled():
        raise Busy("payments were closed before there was a result; what was under way is due again")
    return future.result()


async def _drain(within_s: float) -> None:
    """Nothing but the caller runs on this loop any more: it has ended, or was cancelled when its time was over."""
    loop, me = asyncio.get_running_loop(), asyncio.current_task()
    until = loop.time() + within_s
    while (others := asyncio.all_tasks() - {me}) and (left_s := until - loop.time()) > 0:
        await asyncio.wait(others, timeout=left_s)
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
