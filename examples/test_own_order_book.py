"""A shop keeps its orders in its own tables, and proves that payments can rely on them."""

import sqlite3
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from datetime import datetime, timedelta

import pytest

from payments_core import Currency, Customer, Item, Money, Order, OrderStatus
from payments_core.orders import StockMove
from payments_core.ports import OrderEffect
from payments_core.testing.order_books import Bill, OrderBookContract, StockContract, StockKeeper

pytest_plugins = ["payments_core.testing"]

RUPIAH = Currency.of("IDR")
TABLES = """
    CREATE TABLE products (id INTEGER PRIMARY KEY, title TEXT, price_minor INTEGER, stock INTEGER);
    CREATE TABLE sales (
        id TEXT PRIMARY KEY, product INTEGER, units INTEGER, reserved_at TEXT, payment TEXT,
        status TEXT DEFAULT 'pending', expired INTEGER DEFAULT 0, held TEXT DEFAULT 'reserved'
    );
"""


# ── the adapter: five methods inside the transaction of the payment ───────────────────────────────────────────────────
class ShopOrders:
    """The shop's sales as payments see them; whoever made the connection commits."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    async def get(self, order_id: str) -> Order | None:
        query = (
            "SELECT sales.*, title, price_minor FROM sales JOIN products ON products.id = product WHERE sales.id = ?"
        )
        row = self._database.execute(query, [order_id]).fetchone()
        return None if row is None else order_from(row)

    async def lock(self, order_ids: Collection[str]) -> dict[str, Order]:
        # SQLite has one writer; on another database this is SELECT … ORDER BY id FOR UPDATE.
        found = [await self.get(order_id) for order_id in sorted(order_ids)]
        return {order.order_id: order for order in found if order is not None}

    async def claim(self, order_id: str, payment_id: str) -> bool:
        claim = "UPDATE sales SET payment = ? WHERE id = ? AND payment IS NULL AND status = 'pending'"
        return self._database.execute(claim, [payment_id, order_id]).rowcount == 1

    async def apply(self, effects: Sequence[OrderEffect]) -> dict[str, StockMove]:
        moved = {}
        for effect in effects:
            stands = "UPDATE sales SET status = ?, expired = ? WHERE id = ?"
            self._database.execute(stands, [effect.status.value, effect.expired, effect.order_id])
            if effect.stock is not None and self._move(effect):
                moved[effect.order_id] = effect.stock
        return moved

    async def reserve_again(self, order_id: str, now: datetime) -> bool:
        take = """UPDATE products SET stock = stock - units FROM sales
            WHERE sales.id = ? AND product = products.id AND held = 'released' AND stock >= units"""
        if self._database.execute(take, [order_id]).rowcount == 1:
            again = "UPDATE sales SET held = 'reserved', reserved_at = ? WHERE id = ?"
            self._database.execute(again, [now.isoformat(), order_id])
        sale = self._database.execute("SELECT held FROM sales WHERE id = ?", [order_id]).fetchone()
        return sale is not None and sale["held"] != "released"

    def _move(self, effect: OrderEffect) -> bool:
        """Only what is held moves, so whatever is asked twice happens once."""
        held = "held IN ('reserved', 'consumed')" if effect.also_consumed else "held = 'reserved'"
        moved = f"UPDATE sales SET held = ? WHERE id = ? AND {held}"
        if self._database.execute(moved, [effect.stock and effect.stock.value, effect.order_id]).rowcount != 1:
            return False
        if effect.stock is StockMove.RELEASED:
            back = "UPDATE products SET stock = stock + units FROM sales WHERE sales.id = ? AND product = products.id"
            self._database.execute(back, [effect.order_id])
        return True


def order_from(row: sqlite3.Row) -> Order:
    reserved_at = datetime.fromisoformat(row["reserved_at"])
    return Order(
        order_id=row["id"],
        customer=Customer("alice", "Alice", "alice@example.com"),
        currency=RUPIAH,
        items=(Item(str(row["product"]), row["title"], Money(row["price_minor"], RUPIAH), row["units"]),),
        discount=Money(0, RUPIAH),
        status=OrderStatus(row["status"]),
        payment_id=row["payment"],
        reserved_at=reserved_at,
        expires_at=reserved_at + timedelta(hours=24),
        expired=bool(row["expired"]),
    )


# ── the proof: what the port has no method for, and the contracts ─────────────────────────────────────────────────────
class Shop(StockKeeper):
    """How a sale comes to be in this shop, and where its units lie."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[ShopOrders]:
        with self._database:  # commits, or rolls back when the block raised
            yield ShopOrders(self._database)

    async def place(self, *, units: int, left: int, at: datetime) -> str:
        book = "INSERT INTO products (title, price_minor, stock) VALUES ('A book', 5000000, ?)"
        product = self._database.execute(book, [left]).lastrowid
        sale = "INSERT INTO sales (id, product, units, reserved_at) VALUES (?, ?, ?, ?)"
        self._database.execute(sale, [f"sale-{product}", product, units, at.isoformat()])
        self._database.commit()
        return f"sale-{product}"

    async def bill(self, order_id: str) -> Bill:
        sale = self._database.execute("SELECT units FROM sales WHERE id = ?", [order_id]).fetchone()
        return Bill("alice", Money(sale["units"] * 5_000_000, RUPIAH))

    async def left(self, order_id: str) -> int:
        query = "SELECT stock FROM products JOIN sales ON product = products.id WHERE sales.id = ?"
        return int(self._database.execute(query, [order_id]).fetchone()[0])

    async def leave(self, order_id: str, units: int) -> None:
        stock = "UPDATE products SET stock = ? WHERE id = (SELECT product FROM sales WHERE id = ?)"
        self._database.execute(stock, [units, order_id])
        self._database.commit()


class TestShopOrders(OrderBookContract, StockContract):
    @pytest.fixture
    def shop(self) -> Iterator[Shop]:
        with closing(sqlite3.connect(":memory:")) as database:
            database.row_factory = sqlite3.Row
            database.executescript(TABLES)
            yield Shop(database)
