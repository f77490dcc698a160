"""What the race does not measure: `python bench/others.py [sqlite] [burst] [start] [import]`; all of it by default.

sqlite   settlements through one process on SQLite with synchronous=FULL, 32 connections
burst    1000 connections at full speed for 10 s on PostgreSQL: refusals, what is effective 2 s later, memory
start    a server from nothing until it answers, and the memory it has then
import   CPU of `import payments_core` over a bare interpreter
"""

import argparse
import asyncio
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from statistics import median

import asyncpg
import race
import seed

SERVE = [sys.executable, "-m", "payments_core_app", "serve"]
_ROUNDS, _COUNT = 5, 3000
_BURST_S, _BURST_CONNECTIONS, _BURST_ORDERS = 10.0, 1000, 60_000
_TRIES = 5
_ALL = ("import", "start", "sqlite", "burst")


# ── SQLite ────────────────────────────────────────────────────────────────────────────────────────────────────────────
async def on_sqlite(folder: Path) -> str:
    """A settlement each, one process; the sweep runs inside, as it must on SQLite."""
    file = folder / "payments.sqlite3"
    database = f"sqlite+aiosqlite:///{file}"
    orders = await seed.payments(database, (_ROUNDS + 1) * _COUNT)
    turns = [settlements(orders[start : start + _COUNT]) for start in range(0, len(orders), _COUNT)]
    async with race.served(SERVE, seed.environment(database), folder / "sqlite.log") as (port, group):
        rounds = [await race.measure(port, group, turn) for turn in turns]
    with closing(sqlite3.connect(file)) as connection:
        (paid,) = connection.execute("SELECT count(*) FROM orders WHERE status = 'paid'").fetchone()
    if paid != len(orders):
        raise RuntimeError(f"{len(orders)} orders were settled: {paid} are paid")
    rate, cpu, p99 = (median(getattr(m, field) for m in rounds[1:]) for field in ("rate", "cpu_ms", "p99_ms"))
    return f"sqlite: {rate:.0f} settlements a second, {cpu:.3f} ms of CPU each, p99 {p99:.1f} ms"


def settlements(orders: Sequence[seed.Open]) -> list[bytes]:
    """The requests that tell of them."""
    bodies = (seed.notification(order.provider_order_id) for order in orders)
    return [race.request("POST", "/api/webhooks/midtrans/", body) for body in bodies]


# ── a burst ───────────────────────────────────────────────────────────────────────────────────────────────────────────
async def a_burst(database: str, folder: Path) -> str:
    """What a thousand callers who never wait are told, and what is in the database two seconds later."""
    requests = iter(settlements(await seed.payments(database, _BURST_ORDERS)))
    said: Counter[int] = Counter()
    async with race.served(
        [*SERVE, "--workers=2", "--no-worker"], seed.environment(database), folder / "burst.log"
    ) as (
        port,
        group,
    ):
        before = memory_mb(group)

        async def caller(until: float) -> None:
            loop = asyncio.get_running_loop()
            _, connection = await loop.create_connection(race._Connection, "127.0.0.1", port)  # noqa: SLF001 - bench
            while time.monotonic() < until and (raw := next(requests, None)) is not None:
                said[await connection.send(raw)] += 1
            connection.transport.close()

        until = time.monotonic() + _BURST_S
        await asyncio.gather(*(caller(until) for _ in range(_BURST_CONNECTIONS)))
        after = memory_mb(group)
        await asyncio.sleep(2)
        connection = await asyncpg.connect(database)
        paid = await connection.fetchval("SELECT count(*) FROM orders WHERE status = 'paid'")
        await connection.close()
    more = max(after[pid] - before.get(pid, 0.0) for pid in after)
    return (
        f"burst: {_BURST_CONNECTIONS} connections, {said.total() / _BURST_S:.0f} a second for {_BURST_S:.0f} s; "
        f"answers {dict(said)}; paid 2 s later {paid}; at most {more:.0f} MB more in a process"
    )


def memory_mb(group: int) -> dict[int, float]:
    """What every process of a group holds in memory."""
    found = {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            words = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
            stat = status.with_name("stat").read_text().rsplit(")", 1)[1].split()
        except (OSError, IndexError):  # it has just ended
            continue
        if int(stat[2]) == group and "VmRSS" in words:
            found[int(status.parent.name)] = int(words["VmRSS"].split()[0]) / 1024
    return found


# ── a start ───────────────────────────────────────────────────────────────────────────────────────────────────────────
async def a_start(folder: Path) -> str:
    """A server on a new SQLite database, from its command until `/health/live` answers."""
    database = f"sqlite+aiosqlite:///{folder / 'start.sqlite3'}"
    await seed.payments(database, 1)
    took, held = [], []
    for _ in range(_TRIES):
        began = time.monotonic()
        async with race.served(SERVE, seed.environment(database), folder / "start.log") as (_, group):
            took.append(time.monotonic() - began)
            held.append(sum(memory_mb(group).values()))
    return f"start: {median(took):.2f} s until it answers, {median(held):.0f} MB resident then (one process)"


# ── an import ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def an_import() -> str:
    """CPU of a process that imports the core, less that of one that imports nothing."""
    over = [_cpu_ms("import payments_core") - _cpu_ms("pass") for _ in range(4 * _TRIES)]
    return f"import: {median(over):.0f} ms of CPU over a bare interpreter"


def _cpu_ms(code: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603 - our own words
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000


def main() -> None:
    """Measure and print, a line each."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("what", nargs="*", default=[*_ALL], metavar="|".join(_ALL))
    wanted = options.parse_args().what
    if unknown := {*wanted} - {*_ALL}:
        options.error(f"nothing is called {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory() as folder:
        if "import" in wanted:
            print(an_import(), flush=True)
        if "start" in wanted:
            print(asyncio.run(a_start(Path(folder))), flush=True)
        if "sqlite" in wanted:
            print(asyncio.run(on_sqlite(Path(folder))), flush=True)
        if "burst" in wanted:
            with race.postgres() as database:
                print(asyncio.run(a_burst(database, Path(folder))), flush=True)


if __name__ == "__main__":
    main()
