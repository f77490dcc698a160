"""A shop's day at the gateway, written once, and the three ways to live it.

Over HTTP, with use cases awaited in a program's own loop, and with the blocking facade called from plain threads. The
buyers, the gateway (the simulator, asked by the real client) and the database are the same; so has the end to be.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Protocol

import attrs
from sqlalchemy import func, select

from harness.clock import sweep_later
from harness.product import Product, token, until
from harness.questions import event_types, order_status
from payments_core import BlockingPayments, Event, Money, Order, PageWish, PaymentService, SystemClock
from payments_core.errors import PaymentsError
from payments_core.testing.samples import order
from payments_core.use_cases.payment_status import PaymentView
from payments_core_midtrans import MidtransGateway, MidtransSettings
from payments_core_simulator.process import RunningSimulator
from payments_core_sqlalchemy import SqlStore
from payments_core_sqlalchemy.tables import notifications

ALICE, OLIVIA = "customer:alice", "operator:olivia"
BY_MIDTRANS = PageWish(provider="midtrans")
DAY = timedelta(hours=24, seconds=5)
_WAIT_S = 5
_PATIENCE_S = 30.0
_EVENTS_MAX = 1_000


@attrs.frozen(kw_only=True)
class Seen:
    """What a buyer sees of an order."""

    status: str
    amount: str
    refunded: str
    declined: bool
    version: int

    @classmethod
    def of(cls, view: PaymentView) -> "Seen":
        """The same from the view a use case gives."""
        return cls(
            status=view.status.value,
            amount=str(view.amount),
            refunded=str(view.refunded),
            declined=view.last_decline is not None,
            version=view.version,
        )


class Way(Protocol):
    """One way to use the core, and the simulator behind it. There are books to sell; webhooks arrive by themselves."""

    simulator: RunningSimulator

    async def place(self, order_id: str) -> None:
        """Alice orders two books of Rp 50,000."""

    async def click(self, order_id: str) -> tuple[str, str]:
        """She clicks on "Pay": the ids of the payment and of its page at the gateway."""

    async def seen(self, order_id: str, *, version: int | None = None) -> Seen:
        """What she sees; with a version she waits, for a while, until there is another."""

    async def refund(self, payment_id: str, whole: int) -> str:
        """So many rupiah are given back: the state of the refund."""

    async def sweep_a_day_later(self) -> None:
        """What is due a day from now was attended to."""

    async def events(self, payment_id: str) -> list[str]:
        """Types of the payment's events, oldest first."""

    async def order_status(self, order_id: str) -> str:
        """What the shop sees."""

    async def stock(self) -> tuple[int, int]:
        """Books that can be reserved, and those that are."""


@attrs.frozen(kw_only=True)
class Ending:
    """How an order ended: for its buyer, in its history, for the shop, and at the gateway, without the ids.

    Shape: `messages` are those stored, and their deliveries.
    """

    status: str
    amount: str
    refunded: str
    order: str
    events: tuple[str, ...]
    messages: tuple[int, int]
    page: str
    transactions: tuple[Mapping[str, str], ...]


async def a_day(way: Way, database_url: str) -> tuple[dict[str, Ending], tuple[int, int]]:
    """The endings of a day's orders by name, and the stock that is left."""
    day = _Day(way, database_url)
    for story in (day.paid_and_told_twice, day.declined_first, day.paid_and_part_of_it_returned, day.never_paid):
        await story()
    return {name: await day.ending(name) for name in day.pages}, await way.stock()


@attrs.frozen
class _Day:
    way: Way
    database_url: str
    pages: dict[str, tuple[str, str]] = attrs.field(factory=dict)

    async def paid_and_told_twice(self) -> None:
        """The gateway repeats itself, byte by byte."""
        twice = {"kind": "notification_duplicate", "statuses": ["settlement"], "count": 1}
        await asyncio.to_thread(self.way.simulator.control, "faults", {"faults": [twice]})
        await self._clicked("paid")
        await self._clicked("paid")  # twice, as buyers do
        await self._buyer("paid", "settlement")
        await self._until("paid", lambda seen: seen.status == "success")
        await self._everything_was_told()

    async def declined_first(self) -> None:
        """A decline ends a try and no page."""
        await self._clicked("declined")
        await self._buyer("declined", "deny", payment_type="credit_card")
        await self._until("declined", lambda seen: seen.declined)
        await self._buyer("declined", "settlement", payment_type="bank_transfer", bank="bca")
        await self._until("declined", lambda seen: seen.status == "success")

    async def paid_and_part_of_it_returned(self) -> None:
        """Refunds are told twice too, and count once."""
        await self._clicked("returned")
        await self._buyer("returned", "settlement")
        await self._until("returned", lambda seen: seen.status == "success")
        assert await self.way.refund(self.pages["returned"][0], 30_000) == "confirmed"
        await self._until("returned", lambda seen: seen.status == "partially_refunded")
        await self._everything_was_told()

    async def never_paid(self) -> None:
        """The page is given up at its deadline, and its stock comes back."""
        await self._clicked("expired")
        await self.way.sweep_a_day_later()
        await self._until("expired", lambda seen: seen.status == "expired")

    async def ending(self, name: str) -> Ending:
        payment_id, provider_order_id = self.pages[name]
        seen = await self.way.seen(name)
        ledger = await asyncio.to_thread(self.way.simulator.view, "ledger")
        there = ledger["orders"][provider_order_id]
        return Ending(
            status=seen.status,
            amount=seen.amount,
            refunded=seen.refunded,
            order=await self.way.order_status(name),
            events=tuple(await self.way.events(payment_id)),
            messages=await self._messages(payment_id),
            page=there["page"],
            transactions=tuple(
                {field: said for field, said in one.items() if field != "transaction_id"}
                for one in there["transactions"]
            ),
        )

    async def _clicked(self, name: str) -> None:
        if name not in self.pages:
            await self.way.place(name)
        page = await self.way.click(name)
        assert self.pages.setdefault(name, page) == page

    async def _buyer(self, name: str, outcome: str, *, payment_type: str = "gopay", **more: str) -> None:
        body = {"order_id": self.pages[name][1], "payment_type": payment_type, "outcome": outcome, **more}
        await asyncio.to_thread(self.way.simulator.control, "pay", body)

    async def _until(self, name: str, wanted: Callable[[Seen], bool]) -> None:
        async with asyncio.timeout(_PATIENCE_S):
            seen = await self.way.seen(name)
            while not wanted(seen):
                seen = await self.way.seen(name, version=seen.version)

    async def _messages(self, payment_id: str) -> tuple[int, int]:
        ours = select(func.count(), func.sum(notifications.c.times)).where(notifications.c.shard == payment_id)
        store = SqlStore(self.database_url)
        try:
            async with store.reader.connect() as connection:
                stored, deliveries = (await connection.execute(ours)).one()
                return int(stored), int(deliveries or 0)
        finally:
            await store.close()

    async def _everything_was_told(self) -> None:
        def told() -> bool:
            counts = self.way.simulator.view("ledger")["notifications"]
            return bool(counts["pending"] == 0 and counts["sent"] == counts["acknowledged"])

        await asyncio.to_thread(until, told, what="the last notification")


# ── over HTTP ─────────────────────────────────────────────────────────────────────────────────────────────────────────
@attrs.frozen
class OverHttp:
    """The served application, called as a shop's backend and a buyer's browser call it."""

    product: Product

    @property
    def simulator(self) -> RunningSimulator:
        return self.product.simulator

    async def place(self, order_id: str) -> None:
        book = {"sku": "book", "name": "A book", "price": "50000", "quantity": 2}
        alice = {"id": "alice", "name": "Alice", "email": "alice@example.com"}
        body = {"customer": alice, "currency": "IDR", "items": [book]}
        put = await self._call("PUT", f"/api/orders/{order_id}", as_=self.product.shop, json=body)
        assert put["status"] == "pending"

    async def click(self, order_id: str) -> tuple[str, str]:
        page = await self._call("POST", f"/api/orders/{order_id}/pay/", as_=token("alice"))
        return page["payment_id"], page["provider_order_id"]

    async def seen(self, order_id: str, *, version: int | None = None) -> Seen:
        query = "" if version is None else f"?wait={_WAIT_S}&seen={version}"
        told = await asyncio.to_thread(self.product.status, order_id, query=query)
        return Seen(
            status=told["status"],
            amount=f"{told['amount']} {told['currency']}",
            refunded=f"{told['refunded_amount']} {told['currency']}",
            declined=told["last_decline"] is not None,
            version=told["version"],
        )

    async def refund(self, payment_id: str, whole: int) -> str:
        operator = token("olivia", payments_role="operator", scope="payments:operate")
        path, key = f"/api/payments/{payment_id}/refunds", {"Idempotency-Key": f"refund-{payment_id}"}
        return str((await self._call("POST", path, as_=operator, json={"amount": whole}, headers=key))["state"])

    async def sweep_a_day_later(self) -> None:
        await asyncio.to_thread(sweep_later, self.product, DAY.total_seconds())

    async def events(self, payment_id: str) -> list[str]:
        return await asyncio.to_thread(event_types, self.product, payment_id)

    async def order_status(self, order_id: str) -> str:
        return await asyncio.to_thread(order_status, self.product, order_id)

    async def stock(self) -> tuple[int, int]:
        level = await self._call("GET", "/api/stock/book", as_=self.product.shop)
        return level["available"], level["reserved"]

    async def _call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        answer = await asyncio.to_thread(self.product.call, method, path, **options)
        return dict(answer.raise_for_status().json())


# ── embedded ──────────────────────────────────────────────────────────────────────────────────────────────────────────
@attrs.define
class LaterClock(SystemClock):
    """The machine's time, and as much later as it is told."""

    ahead: timedelta = timedelta()

    def now(self) -> datetime:
        """The time in UTC."""
        return super().now() + self.ahead


@attrs.frozen
class Embedded:
    """The use cases over an SQL store and the real client, in this process; `store` keeps the shop's orders too."""

    simulator: RunningSimulator
    store: SqlStore
    clock: LaterClock
    service: PaymentService

    @classmethod
    def over(cls, database_url: str, simulator: RunningSimulator) -> "Embedded":
        """The parts put together; no connection is made yet."""
        settings = MidtransSettings(
            server_key=simulator.server_key,
            merchant_id="G000000000",
            snap_url=f"{simulator.url}/snap/v1",
            api_url=simulator.url,
        )
        store, clock = SqlStore(database_url), LaterClock()
        gateways = {"midtrans": MidtransGateway(settings)}
        return cls(simulator, store, clock, PaymentService.over(store, gateways, clock=clock, shop=store))

    def books(self, order_id: str) -> Order:
        """Two books for Alice."""
        now = self.clock.now()
        return order(order_id, reserved_at=now, expires_at=now + timedelta(hours=24))

    async def put_stock(self, available: int) -> None:
        """So many books can be reserved."""
        async with self.store.transaction() as uow:
            await uow.orders.put_stock("book", available)
            await uow.commit()

    async def history(self, payment_id: str) -> list[Event]:
        """Its events."""
        async with self.store.reading() as uow:
            return await uow.payments.history(payment_id, after=0, limit=_EVENTS_MAX)

    async def order(self, order_id: str) -> Order | None:
        """The order."""
        async with self.store.reading() as uow:
            return await uow.orders.get(order_id)

    async def level(self) -> tuple[int, int]:
        """Of the book: what can be reserved, and what is."""
        async with self.store.reading() as uow:
            level = await uow.orders.stock("book")
        assert level is not None
        return level.available, level.reserved


@attrs.frozen
class Awaited:
    """A program with an event loop of its own."""

    parts: Embedded

    @property
    def simulator(self) -> RunningSimulator:
        return self.parts.simulator

    async def place(self, order_id: str) -> None:
        place = self.parts.service.place_order
        assert place is not None
        await place(self.parts.books(order_id))

    async def click(self, order_id: str) -> tuple[str, str]:
        paying = await self.parts.service.start(order_id, BY_MIDTRANS, customer_id="alice", actor=ALICE)
        return paying.payment.payment_id, paying.attempt.provider_order_id

    async def seen(self, order_id: str, *, version: int | None = None) -> Seen:
        wait_s = 0 if version is None else _WAIT_S
        return Seen.of(await self.parts.service.status(order_id, customer_id="alice", wait_s=wait_s, seen=version))

    async def refund(self, payment_id: str, whole: int) -> str:
        amount = Money.of(whole * 100, "IDR")
        _, refund = await self.parts.service.refund(payment_id, amount, None, actor=OLIVIA, asked_as="once")
        return refund.state.value

    async def sweep_a_day_later(self) -> None:
        self.parts.clock.ahead = DAY
        await self.parts.service.sweep.once()

    async def events(self, payment_id: str) -> list[str]:
        return [event.type.value for event in await self.parts.history(payment_id)]

    async def order_status(self, order_id: str) -> str:
        found = await self.parts.order(order_id)
        assert found is not None
        return found.status.value

    async def stock(self) -> tuple[int, int]:
        return await self.parts.level()


@attrs.frozen
class Blocking:
    """A program of plain threads: whatever is called here is called in one that has no event loop."""

    parts: Embedded
    payments: BlockingPayments

    @property
    def simulator(self) -> RunningSimulator:
        return self.parts.simulator

    async def place(self, order_id: str) -> None:
        await asyncio.to_thread(self.payments.place_order, self.parts.books(order_id))

    async def click(self, order_id: str) -> tuple[str, str]:
        paying = await asyncio.to_thread(self.payments.start, order_id, BY_MIDTRANS, customer_id="alice", actor=ALICE)
        return paying.payment.payment_id, paying.attempt.provider_order_id

    async def seen(self, order_id: str, *, version: int | None = None) -> Seen:
        wait_s = 0 if version is None else _WAIT_S
        view = await asyncio.to_thread(self.payments.status, order_id, customer_id="alice", wait_s=wait_s, seen=version)
        return Seen.of(view)

    async def refund(self, payment_id: str, whole: int) -> str:
        amount = Money.of(whole * 100, "IDR")
        _, refund = await asyncio.to_thread(
            self.payments.refund, payment_id, amount, None, actor=OLIVIA, asked_as="once"
        )
        return refund.state.value

    async def sweep_a_day_later(self) -> None:
        self.parts.clock.ahead = DAY
        await asyncio.to_thread(self.payments.sweep)

    async def events(self, payment_id: str) -> list[str]:
        events = await asyncio.to_thread(lambda: self.payments.run(self.parts.history(payment_id)))
        return [event.type.value for event in events]

    async def order_status(self, order_id: str) -> str:
        found = await asyncio.to_thread(lambda: self.payments.run(self.parts.order(order_id)))
        assert found is not None
        return found.status.value

    async def stock(self) -> tuple[int, int]:
        return await asyncio.to_thread(lambda: self.payments.run(self.parts.level()))


Take = Callable[[str, bytes, Mapping[str, str]], object]


@contextmanager
def told_by(simulator: RunningSimulator, take: Take) -> Iterator[None]:
    """The gateway's notifications reach `take` over HTTP, each in a thread of its own, as under a WSGI server."""

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            try:
                take("midtrans", body, dict(self.headers))
            except PaymentsError:
                self.send_response(503)
            else:
                self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Webhook) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        simulator.control("settings", {"notify_url": f"http://127.0.0.1:{server.server_port}/"})
        try:
            yield
        finally:
            server.shutdown()
