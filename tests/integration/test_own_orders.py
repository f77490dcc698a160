"""Orders in tables of the shop's own, payments in ours: one transaction, proved by the contracts that are shipped."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from payments_core import BlockingPayments, Money, Order, OrderStatus, PageWish, PaymentService, Signal, SystemClock
from payments_core.orders import Customer, Item, StockMove
from payments_core.ports import Change, OrderBook, OrderEffect
from payments_core.testing.order_books import Bill, OrderBookContract, StockContract, StockKeeper
from payments_core.testing.samples import IDR, NOW, event, payment
from payments_core.testing.stores import StoreContract
from payments_core_memory import MemoryGateway
from payments_core_sqlalchemy import OwnOrdersStore, SqlStore, migrate_async

TABLES = (
    "CREATE TABLE products (id VARCHAR(40) PRIMARY KEY, stock INTEGER NOT NULL)",
    """CREATE TABLE sales (
        id VARCHAR(64) PRIMARY KEY, product VARCHAR(40) NOT NULL, units INTEGER NOT NULL, reserved_at VARCHAR(40),
        payment VARCHAR(26), status VARCHAR(40) DEFAULT 'pending', expired INTEGER DEFAULT 0,
        held VARCHAR(20) DEFAULT 'reserved')""",
)


class ShopSales:
    """The shop's sales as payments see them."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self._for_update = "" if connection.dialect.name == "sqlite" else " FOR UPDATE"

    async def get(self, order_id: str) -> Order | None:
        row = (await self._do("SELECT * FROM sales WHERE id = :id", id=order_id)).mappings().first()
        return None if row is None else order_from(row)

    async def lock(self, order_ids: Collection[str]) -> dict[str, Order]:
        found = {}
        for order_id in sorted(order_ids):
            query = f"SELECT * FROM sales WHERE id = :id{self._for_update}"  # noqa: S608 - a word of ours
            row = (await self._do(query, id=order_id)).mappings().first()
            if row is not None:
                found[order_id] = order_from(row)
        return found

    async def claim(self, order_id: str, payment_id: str) -> bool:
        claim = "UPDATE sales SET payment = :payment WHERE id = :id AND payment IS NULL AND status = 'pending'"
        return bool((await self._do(claim, payment=payment_id, id=order_id)).rowcount)

    async def apply(self, effects: Sequence[OrderEffect]) -> dict[str, StockMove]:
        moved = {}
        for effect in effects:
            stands = "UPDATE sales SET status = :status, expired = :expired WHERE id = :id"
            await self._do(stands, status=effect.status.value, expired=int(effect.expired), id=effect.order_id)
            if effect.stock is not None and await self._move(effect.order_id, effect.stock, effect.also_consumed):
                moved[effect.order_id] = effect.stock
        return moved

    async def reserve_again(self, order_id: str, now: datetime) -> bool:
        take = """UPDATE products SET stock = stock - units FROM sales
            WHERE sales.id = :id AND product = products.id AND held = 'released' AND stock >= units"""
        if (await self._do(take, id=order_id)).rowcount:
            again = "UPDATE sales SET held = 'reserved', reserved_at = :now WHERE id = :id"
            await self._do(again, now=now.isoformat(), id=order_id)
        held = (await self._do("SELECT held FROM sales WHERE id = :id", id=order_id)).scalar()
        return held is not None and held != "released"

    async def _move(self, order_id: str, move: StockMove, also_consumed: bool) -> bool:
        held = "held IN ('reserved', 'consumed')" if also_consumed else "held = 'reserved'"
        moved = f"UPDATE sales SET held = :held WHERE id = :id AND {held}"  # noqa: S608 - words of ours
        if not (await self._do(moved, held=move.value, id=order_id)).rowcount:
            return False
        if move is StockMove.RELEASED:
            back = "UPDATE products SET stock = stock + units FROM sales WHERE sales.id = :id AND product = products.id"
            await self._do(back, id=order_id)
        return True

    async def _do(self, statement: str, **values: object) -> Any:
        return await self._connection.execute(text(statement), values)


def order_from(row: Any) -> Order:
    reserved_at = datetime.fromisoformat(row["reserved_at"])
    return Order(
        order_id=row["id"],
        customer=Customer("alice", "Alice", "alice@example.com"),
        currency=IDR,
        items=(Item(row["product"], "A book", Money(5_000_000, IDR), row["units"]),),
        discount=Money(0, IDR),
        status=OrderStatus(row["status"]),
        payment_id=row["payment"],
        reserved_at=reserved_at,
        expires_at=reserved_at + timedelta(hours=24),
        expired=bool(row["expired"]),
    )


class Shop(StockKeeper):
    """How a sale comes to be, and where its units lie."""

    def __init__(self, sql: SqlStore, store: OwnOrdersStore) -> None:
        self._sql, self._store = sql, store
        self._placed = 0

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[OrderBook]:
        async with self._store.transaction() as uow:
            yield uow.orders
            await uow.commit()

    async def place(self, *, units: int, left: int, at: datetime) -> str:
        self._placed += 1
        product, sale = f"book-{self._placed}", f"sale-{self._placed}"
        await self._do("INSERT INTO products (id, stock) VALUES (:id, :left)", id=product, left=left)
        await self._do(
            "INSERT INTO sales (id, product, units, reserved_at) VALUES (:id, :product, :units, :at)",
            id=sale,
            product=product,
            units=units,
            at=at.isoformat(),
        )
        return sale

    async def bill(self, order_id: str) -> Bill:
        units = await self._do("SELECT units FROM sales WHERE id = :id", id=order_id)
        return Bill("alice", Money(units * 5_000_000, IDR))

    async def left(self, order_id: str) -> int:
        query = "SELECT stock FROM products JOIN sales ON product = products.id WHERE sales.id = :id"
        return int(await self._do(query, id=order_id))

    async def leave(self, order_id: str, units: int) -> None:
        stock = "UPDATE products SET stock = :units WHERE id = (SELECT product FROM sales WHERE id = :id)"
        await self._do(stock, units=units, id=order_id)

    async def _do(self, statement: str, **values: object) -> Any:
        """The first value of what the shop itself says to its database, when it gives any."""
        async with self._sql.engine.begin() as connection:
            done = await connection.execute(text(statement), values)
            return done.scalar() if done.returns_rows else None


async def tables(database_url: str) -> SqlStore:
    """Ours and the shop's, in one database."""
    await migrate_async(database_url)
    sql = SqlStore(database_url)
    async with sql.engine.begin() as connection:
        for statement in TABLES:
            await connection.execute(text(statement))
    return sql


@pytest.fixture
async def sql(database_url: str) -> AsyncIterator[SqlStore]:
    sql = await tables(database_url)
    yield sql
    await sql.close()


@pytest.fixture
def store(sql: SqlStore) -> OwnOrdersStore:
    return OwnOrdersStore(sql, ShopSales)


@pytest.fixture
def shop(sql: SqlStore, store: OwnOrdersStore) -> Shop:
    return Shop(sql, store)


class TestOwnOrders(OrderBookContract, StockContract):
    """An order book like any other, on either database."""


class TestPaymentsBesideThem(StoreContract):
    """A store like any other; what differs between databases is proved of the store underneath."""

    @pytest.fixture
    def database_url(self, new_database: Callable[[str], str]) -> str:
        return new_database("sqlite")


async def test_an_order_and_its_payment_change_together_or_not_at_all(store: OwnOrdersStore, shop: Shop) -> None:
    sale, made = await shop.place(units=1, left=0, at=NOW), payment(order_id="sale-1")
    for commits in (False, True):
        async with store.transaction() as uow:
            assert await uow.orders.claim(sale, made.payment_id)
            await uow.payments.save([Change(None, made, [event(made, 1)])])
            if commits:
                await uow.commit()
        found = await store.find(sale)
        assert found is not None
        assert (found.customer_id, found.payment is not None) == ("alice", commits)


async def test_a_shop_with_orders_of_its_own_is_paid_in_a_program_that_waits(database_url: str) -> None:
    sql, gateway = await tables(database_url), MemoryGateway()
    store = OwnOrdersStore(sql, ShopSales)
    sale = await Shop(sql, store).place(units=2, left=3, at=SystemClock().now())
    await store.close()  # its connections were this loop's

    def afternoon() -> tuple[str, str]:
        service = PaymentService.over(OwnOrdersStore(SqlStore(database_url), ShopSales), {"memory": gateway})
        with BlockingPayments(service) as payments:
            page = payments.start(sale, PageWish(provider="memory"), customer_id="alice", actor="customer:alice")
            transaction = gateway.buyer_tries(page.attempt.token or "", Signal.SETTLED)
            payments.receive("memory", *gateway.notification(transaction))
            status = payments.status(sale, customer_id="alice", wait_s=10).status.value
            return status, payments.run(held(service))

    async def held(service: PaymentService) -> str:
        async with service.start.desk.store.reading() as uow:
            order = await uow.orders.get(sale)
        assert order is not None
        return order.status.value

    assert await asyncio.to_thread(afternoon) == ("success", "paid")
