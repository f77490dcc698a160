"""Two transactions at once on a real database: what one reads, the other may be changing."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from datetime import UTC, datetime, timedelta

import attrs
import pytest

from payments_core import Confirm, ErrandList, GatewayTraits, Money, PageWish, PaymentService, Signal
from payments_core.decide import Verdict
from payments_core.orders import Order
from payments_core.ports import Kept, Notification
from payments_core.system import SystemClock, SystemIds
from payments_core.testing.samples import IDR, order
from payments_core_memory import MemoryGateway
from payments_core_sqlalchemy import SqlStore
from payments_core_sqlalchemy.inbox import SqlInbox
from payments_core_sqlalchemy.migrate import migrate_async
from payments_core_sqlalchemy.order_book import SqlOrderBook

ANYTHING = PageWish(provider="memory")


@attrs.define
class Shop:
    """The use cases over one SQL store and a gateway in memory."""

    store: SqlStore
    gateway: MemoryGateway = attrs.field(factory=MemoryGateway)
    errands: ErrandList = attrs.field(factory=ErrandList)
    service: PaymentService = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.service = PaymentService.over(
            self.store,
            {"memory": self.gateway},
            clock=SystemClock(),
            ids=SystemIds(),
            errands=self.errands,
            shop=self.store,
        )

    async def place(self, placed: Order) -> None:
        async with self.store.transaction() as uow:
            await uow.orders.put_stock("book", 10)
            await uow.orders.place(placed)
            await uow.commit()

    async def opened(self, order_id: str = "o-1") -> str:
        """The token of the page of a new order."""
        await self.place(fresh(order_id))
        paying = await self.service.start(order_id, ANYTHING, customer_id="alice", actor="customer:alice")
        return str(paying.attempt.token)

    def understood(self, transaction_id: str) -> Notification:
        notification = self.service.receive.understand("memory", *self.gateway.notification(transaction_id))
        assert isinstance(notification, Notification)
        return notification


def fresh(order_id: str = "o-1", *, units: int = 1) -> Order:
    now = datetime.now(UTC)
    return order(order_id, units=units, reserved_at=now, expires_at=now + timedelta(hours=24))


@pytest.fixture
async def shop(database_url: str) -> AsyncIterator[Shop]:
    await migrate_async(database_url)
    store = SqlStore(database_url)
    yield Shop(store)
    await store.close()


@pytest.mark.postgres
async def test_an_order_changed_at_the_moment_of_the_first_click_is_paid_as_it_was_claimed(
    new_database: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shop's change commits between the click's read and its lock; SQLite has one writer, so only PostgreSQL."""
    url = new_database("postgres")
    await migrate_async(url)
    store, other = SqlStore(url), SqlStore(url)
    shop, lock = Shop(store), SqlOrderBook.lock
    await shop.place(fresh())

    async def after_a_change(book: SqlOrderBook, order_ids: Collection[str]) -> dict[str, Order]:
        async with other.transaction() as uow:
            await uow.orders.place(fresh(units=4))
            await uow.commit()
        return await lock(book, order_ids)

    monkeypatch.setattr(SqlOrderBook, "lock", after_a_change)
    try:
        paying = await shop.service.start("o-1", ANYTHING, customer_id="alice", actor="customer:alice")
        async with store.reading() as uow:
            placed = await uow.orders.get("o-1")
        assert placed is not None
        assert paying.payment.amount == paying.attempt.amount == placed.total == Money(20_000_000, IDR)
    finally:
        await store.close()
        await other.close()


async def test_a_duplicate_that_meets_the_answer_of_its_own_question_is_no_deadlock(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both want the notification's row and the payment's: whoever comes, the payment first."""
    token, waiting = await shop.opened(), SqlInbox.waiting
    notification = shop.understood(shop.gateway.buyer_tries(token, Signal.SETTLED))
    (first,) = await shop.service.receive.accept([notification])
    arrived, looked = asyncio.Event(), asyncio.Event()

    async def slowly(inbox: SqlInbox, payment_ids: Collection[str], transactions: Collection[str]) -> list[Kept]:
        found = await waiting(inbox, payment_ids, transactions)
        looked.set()
        await asyncio.wait_for(arrived.wait(), 5)
        return found

    async def duplicate() -> object:
        await looked.wait()
        accepting = asyncio.create_task(shop.service.receive.accept([notification]))
        await asyncio.sleep(0)
        arrived.set()
        (again,) = await accepting
        return again

    monkeypatch.setattr(SqlInbox, "waiting", slowly)
    _, again = await asyncio.gather(shop.service.perform(shop.errands.waiting.popleft()), duplicate())
    assert getattr(first, "verdict", None) is Verdict.WAITING
    assert getattr(again, "verdict", None) is Verdict.DUPLICATE


async def test_the_same_notification_at_once_is_decided_once(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten deliveries at two processes: whoever has the payment's lock decides, the others find what it left.

    The decision fails, because one that succeeds may be made twice and nobody would see it.
    """

    def broken(*_: object, **__: object) -> None:
        raise ValueError("it was decided on")

    monkeypatch.setattr("payments_core.use_cases.receive_notification.decide_hint", broken)
    notification = shop.understood(shop.gateway.buyer_tries(await shop.opened(), Signal.SETTLED))
    other = Shop(SqlStore(str(shop.store.url.render_as_string(hide_password=False))), shop.gateway)
    try:
        accepts = [one.service.receive.accept([notification]) for _ in range(5) for one in (shop, other)]
        answers = [answer for (answer,) in await asyncio.gather(*accepts)]
    finally:
        await other.store.close()
    verdicts = [getattr(answer, "verdict", answer) for answer in answers]
    assert sorted(verdicts, key=str) == sorted([Verdict.QUARANTINED] + [Verdict.DUPLICATE] * 9, key=str)
    async with shop.store.reading() as uow:
        (kept,) = await uow.inbox.load([notification.key])
    assert (kept.verdict, kept.times) == (Verdict.QUARANTINED, 10)


async def test_a_batch_is_decided_in_the_order_of_arrival(shop: Shop) -> None:
    """Rows come back in the order of their digests, which is as good as any: several pairs show whose order counts."""
    shop.gateway.traits = GatewayTraits(confirm=Confirm.SIGNATURE)
    for number in range(8):
        transaction = shop.gateway.buyer_tries(await shop.opened(f"o-{number}"), Signal.PENDING, method="card")
        batch = [shop.understood(transaction)]
        shop.gateway.becomes(transaction, Signal.DENIED)
        batch.append(shop.understood(transaction))
        verdicts = [getattr(taken, "verdict", taken) for taken in await shop.service.receive.accept(batch)]
        assert verdicts == [Verdict.APPLIED, Verdict.APPLIED]
