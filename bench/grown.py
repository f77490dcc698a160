"""What the length of the tables costs: `python bench/grown.py [--payments 1000000] [--rounds 5]`.

Two databases on one PostgreSQL, one service with two processes each: one begins empty, the other with so many paid
payments and everything that belongs to them. In every round both answer as many notifications, clicks on an open page
and status reads, in turned order, and the ratio of the two is taken inside the round. Then the invariants are asked,
which read whole tables (guarantee H2).
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import asyncpg
import seed
from race import Measured, measure, postgres, request, served
from sqlalchemy import Column, String

from payments_core_sqlalchemy import SqlStore, tables
from payments_core_sqlalchemy.watch import INVARIANTS, Watch

_PATTERN = 1_000
"""Payments that were really paid; the others are copies of their rows under other ids."""
_AT_ONCE = 100
"""Copies of the pattern that one statement makes."""
_LONG_S = 900.0


# ── growing ───────────────────────────────────────────────────────────────────────────────────────────────────────────
_PAID = "SELECT payment_id, order_id FROM payments WHERE status = 'success'"
_TABLES = {
    "payments": "payment_id",
    "attempts": "payment_id",
    "charges": "payment_id",
    "charge_owners": "payment_id",
    "events": "payment_id",
    "history": "payment_id",
    "orders": "order_id",
    "reservations": "order_id",
    "notifications": "shard",
}
"""Tables with rows of a paid payment, and the column that says whose they are."""


def _copying(name: str) -> str:
    """A statement that copies all rows of the pattern, once for each number from $1 to $2, under ids of their own."""
    columns = tables.metadata.tables[name].columns

    def copied(column: Column[Any]) -> str:
        if column.name == "digest":
            return "encode(sha256((r.digest || n)::bytea), 'hex')"
        if not isinstance(column.type, String):
            return f"r.{column.name}"
        payment = f"replace(r.{column.name}, r.pid, 'z' || lpad(to_hex(n), 7, '0') || substr(r.pid, 9))"
        return f"replace({payment}, r.oid, 'G' || n || r.oid)"

    names, values = ", ".join(c.name for c in columns), ", ".join(copied(c) for c in columns)
    return f"INSERT INTO {name} ({names}) SELECT {values} FROM pattern_{name} r, generate_series($1::int, $2::int) n"


async def _more_events(connection: asyncpg.Connection, events: int) -> None:
    """The pattern's payments with so many events each: the last one is repeated."""
    kept = ", ".join(f'"{c.name}"' for c in tables.events.columns if c.name != "sequence") + ", pid, oid"
    await connection.execute(
        f"INSERT INTO pattern_events (sequence, {kept}) SELECT n, {kept} FROM pattern_events e, "
        "generate_series(e.sequence + 1, $1::int) n "
        "WHERE e.sequence = (SELECT max(sequence) FROM pattern_events o WHERE o.pid = e.pid)",
        events,
    )
    await connection.execute("UPDATE pattern_payments SET events = greatest(events, $1)", events)


async def grow(database: str, payments: int, events: int) -> dict[str, int]:
    """How many rows each table has after the paid payments of this database were copied, with so many events each."""
    connection = await asyncpg.connect(database)
    for name, owner in _TABLES.items():
        which = "order_id" if owner == "order_id" else "payment_id"
        await connection.execute(
            f"CREATE TABLE pattern_{name} AS SELECT t.*, p.payment_id AS pid, p.order_id AS oid "
            f"FROM {name} t JOIN ({_PAID}) p ON t.{owner} = p.{which}"
        )
    await _more_events(connection, events)
    copies = payments // _PATTERN
    for start in range(1, copies + 1, _AT_ONCE):
        for name in _TABLES:
            await connection.execute(_copying(name), start, min(start + _AT_ONCE - 1, copies), timeout=_LONG_S)
    for name in _TABLES:
        await connection.execute(f"DROP TABLE pattern_{name}")
    await connection.execute("VACUUM ANALYZE", timeout=_LONG_S)
    counted = {name: await connection.fetchval(f"SELECT count(*) FROM {name}") for name in _TABLES}
    await connection.close()
    return counted


# ── the race of the two ───────────────────────────────────────────────────────────────────────────────────────────────
Rounds = dict[str, list[dict[str, Measured]]]


async def race(
    databases: dict[str, str], folder: Path, *, payments: int, events: int, rounds: int, count: int
) -> Rounds:
    """What each database did in each round, by what was asked."""
    serve = [sys.executable, "-m", "payments_core_app", "serve", "--workers=2", "--no-worker"]
    made = {name: await seed.payments(url, (rounds + 1) * count + _PATTERN) for name, url in databases.items()}
    results: Rounds = {"click": [], "webhook": [], "status": []}
    async with (
        served(serve, seed.environment(databases["empty"]), folder / "empty.log") as empty,
        served(serve, seed.environment(databases["grown"]), folder / "grown.log") as grown,
    ):
        servers = {"empty": empty, "grown": grown}
        for name, (port, pgid) in servers.items():
            paid = [seed.notification(order.provider_order_id) for order in made[name][-_PATTERN:]]
            await measure(port, pgid, [request("POST", "/api/webhooks/midtrans/", body) for body in paid])
        counted = await grow(databases["grown"], payments, events)
        print(", ".join(f"{rows:,} {name}" for name, rows in counted.items()))
        for turn in range(rounds + 1):
            orders = {name: each[turn * count : (turn + 1) * count] for name, each in made.items()}
            for what in results:
                measured = {}
                for name in ("empty", "grown") if turn % 2 else ("grown", "empty"):
                    port, pgid = servers[name]
                    measured[name] = await measure(port, pgid, _requests(what, databases[name], orders[name]))
                if turn:
                    results[what].append(measured)
    return results


def _requests(what: str, database: str, orders: list[seed.Open]) -> list[bytes]:
    token = f"Authorization: Bearer {seed.token(database)}\r\n"
    if what == "webhook":
        sent = [seed.notification(order.provider_order_id) for order in orders]
        return [request("POST", "/api/webhooks/midtrans/", body) for body in sent]
    if what == "click":
        return [request("POST", f"/api/orders/{order.order_id}/pay/", headers=token) for order in orders]
    return [request("GET", f"/api/orders/{order.order_id}/payment-status/", headers=token) for order in orders]


async def ask_invariants(database: str) -> dict[str, tuple[float, int]]:
    """Seconds each invariant took over the whole database, and how many payments it is broken for."""
    store = SqlStore(seed.url(database))
    took = {}
    for name in INVARIANTS:
        began = time.perf_counter()
        broken = await Watch(store).broken([name])
        took[name] = time.perf_counter() - began, broken[name].count
    await store.close()
    return took


def main() -> None:
    """Grow a database, race it against an empty one, and print both tables."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--payments", type=int, default=1_000_000)
    options.add_argument("--events", type=int, default=5, help="of each payment")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--count", type=int, default=2000, help="requests of each kind in a round")
    given = options.parse_args()
    with postgres() as empty, postgres() as grown, tempfile.TemporaryDirectory() as folder:
        databases = {"empty": empty, "grown": grown}
        sizes = {"payments": given.payments, "events": given.events, "rounds": given.rounds, "count": given.count}
        results = asyncio.run(race(databases, Path(folder), **sizes))
        took = asyncio.run(ask_invariants(grown))
    print("| | rate, grown : empty | CPU, grown : empty | CPU ms, grown |")
    print("|---|---:|---:|---:|")
    for what, rounds in results.items():
        rate, cpu = (
            median(getattr(r["grown"], field) / getattr(r["empty"], field) for r in rounds)
            for field in ("rate", "cpu_ms")
        )
        print(f"| {what} | {rate:.2f} | {cpu:.2f} | {median(r['grown'].cpu_ms for r in rounds):.3f} |")
    for name, (seconds, broken) in took.items():
        print(f"invariant {name}: {seconds:.2f} s, broken for {broken}")


if __name__ == "__main__":
    main()
