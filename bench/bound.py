"""What a settlement would cost if deciding cost nothing: `python bench/bound.py [--rounds 5] [--count 3000]`.

A bound on what is left to gain in our own code. The server is the product, over the same HTTP, with the same proof of
the sender and the same batches; but a batch is not decided on. The statements of one settlement are recorded, and sent
again for each batch with other ids in them, so that PostgreSQL does the same work and every order is paid.

Beside it, in the same rounds: the product, and the floor "Litestar and one statement" (`race.py`).
"""

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import asyncpg
import attrs
import floor
import msgspec
import race
import seed
import uvicorn
from litestar import Litestar
from uvicorn.supervisors import Multiprocess

from payments_core import Verdict
from payments_core.ports import Notification
from payments_core.use_cases.receive_notification import Accepted, ReceiveNotification
from payments_core_app import asgi
from payments_core_app.container import Container
from payments_core_app.listeners import Listeners
from payments_core_app.settings import Settings

_HOW = ("execute", "fetch", "fetchrow")
_ALPHABET, _NUMBER_LETTERS = "0123456789abcdefghjkmnpqrstvwxyz", 6
_PLANS = dict.fromkeys(("enable_seqscan", "enable_hashjoin", "enable_mergejoin", "jit"), "off")
_SETTINGS = {**_PLANS, "plan_cache_mode": "force_generic_plan"}  # as a store's connections have them
_ACCEPTED = Accepted(Verdict.APPLIED, "open -> settled")


@attrs.frozen
class Recorded:
    """The statements of one settlement in their order, and what of them differs from settlement to settlement."""

    calls: list[tuple[str, str, list[Any]]]
    differs: list[str]


# ── recording ─────────────────────────────────────────────────────────────────────────────────────────────────────────
async def record(database: str, order: seed.Open) -> Recorded:
    """What the driver is told while this order is settled."""
    container = Container(settings=Settings.read(seed.environment(database)))
    receive = container.service().receive
    understood = receive.understand("midtrans", seed.notification(order.provider_order_id), {})
    if not isinstance(understood, Notification):
        raise TypeError("the benchmark's notification is a foreign body")
    calls: list[tuple[str, str, list[Any]]] = []
    kept = {how: getattr(asyncpg.Connection, how) for how in _HOW}

    def told(how: str) -> Any:
        async def call(connection: asyncpg.Connection, text: str, *values: Any) -> Any:
            calls.append((how, text, [*values]))
            return await kept[how](connection, text, *values)

        return call

    for how in _HOW:
        setattr(asyncpg.Connection, how, told(how))
    try:
        await receive.accept([understood])
    finally:
        for how, method in kept.items():
            setattr(asyncpg.Connection, how, method)
        await container.store().close()
    begun = next(n for n, (_, text, _) in enumerate(calls) if text == "BEGIN")
    return Recorded(calls[begun:], _names(understood))


def _names(notification: Notification) -> list[str]:
    """What a settlement has for itself: payment, order (`seed.py` numbers both alike), the digest of its bytes."""
    number = 0
    for letter in notification.key.shard[-_NUMBER_LETTERS:]:
        number = number << 5 | _ALPHABET.index(letter)
    return [notification.key.shard, f"ORD-{number:08d}", notification.key.digest]


# ── sending it again ──────────────────────────────────────────────────────────────────────────────────────────────────
def arguments(recorded: Recorded, values: Sequence[Any], batch: Sequence[Sequence[str]]) -> list[Any]:
    """These values, said of every settlement of the batch: lists of ids, documents, and how many rows those have."""
    made: list[Any] = []
    for value in values:
        if isinstance(value, list):
            place = recorded.differs.index(value[0])
            made.append(sorted(each[place] for each in batch))
        elif isinstance(value, str) and any(name in value for name in recorded.differs):
            rows = (_with(value[1:-1], recorded.differs, each) for each in batch)
            made.append(f"[{','.join(rows)}]")
        elif isinstance(value, int) and made and any(name in str(made[-1]) for name in batch[0]):
            made.append(value * len(batch))
        else:
            made.append(value)
    return made


def _with(text: str, names: Sequence[str], others: Sequence[str]) -> str:
    for name, other in zip(names, others, strict=True):
        text = text.replace(name, other)
    return text


def create() -> Litestar:
    """The product, deciding nothing."""
    recorded = msgspec.json.decode(Path(os.environ["BOUND_RECORDED"]).read_bytes(), type=Recorded)
    connections: list[asyncpg.Connection] = []

    async def accept(_receive: ReceiveNotification, batch: Sequence[Notification]) -> list[Accepted]:
        if not connections:
            connections.append(await asyncpg.connect(os.environ["FLOOR_DATABASE"], server_settings=_SETTINGS))
        about = sorted(map(_names, batch))
        for how, text, values in recorded.calls:
            await getattr(connections[0], how)(text, *arguments(recorded, values, about))
        return [_ACCEPTED] * len(batch)

    ReceiveNotification.accept = accept  # type: ignore[method-assign, assignment]
    return asgi.create()


# ── the rounds ────────────────────────────────────────────────────────────────────────────────────────────────────────
async def rounds(database: str, folder: Path, *, rounds: int, count: int) -> race.Rounds:
    """The floor, the product, and the product deciding nothing, in every round; the first requests warm them up."""
    made = await seed.payments(database, 2 * (rounds + 1) * count + 1)
    connection = await asyncpg.connect(database)
    await connection.execute(floor.TABLES)
    await connection.close()
    recorded = folder / "recorded.json"
    recorded.write_bytes(msgspec.json.encode(await record(database, made.pop())))
    ours, of_floor = seed.environment(database), {"FLOOR_DATABASE": database}
    serve = [sys.executable, "-m", "payments_core_app", "serve", "--workers=2", "--no-worker"]
    deciding_nothing = {**ours, **of_floor, "BOUND_RECORDED": str(recorded), "PAYMENTS_SERVE_SWEEPS": "no"}
    async with (
        race.served([sys.executable, "floor.py", "one_statement"], of_floor, folder / "one.log") as one,
        race.served([sys.executable, "bound.py", "--serve"], deciding_nothing, folder / "bound.log") as bound,
        race.served(serve, ours, folder / "ours.log") as product,
    ):
        servers = {"floor one statement": one, "deciding nothing": bound, "a settlement": product}
        results: race.Rounds = {name: [] for name in servers}
        for turn in range(rounds + 1):
            for name in [*servers][turn % 3 :] + [*servers][: turn % 3]:
                port, pgid = servers[name]
                if name == "floor one statement":
                    sent = [
                        race.request("POST", "/webhook", seed.notification(str(n % 10_000 + 1))) for n in range(count)
                    ]
                else:
                    orders, made = made[:count], made[count:]
                    bodies = [seed.notification(order.provider_order_id) for order in orders]
                    sent = [race.request("POST", "/api/webhooks/midtrans/", body) for body in bodies]
                measured = await race.measure(port, pgid, sent)
                if turn:
                    results[name].append(measured)
    await race.all_paid(database, 2 * (rounds + 1) * count + 1)
    return results


def main() -> None:
    """Run the rounds and print their table; or serve, for them."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--count", type=int, default=3000, help="requests for each target in a round")
    options.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options.add_argument("--port", type=int, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.serve:
        how: dict[str, Any] = {"factory": True, "workers": 2, "access_log": False, "log_level": "error"}
        Multiprocess(uvicorn.Config("bound:create", **how), sockets=Listeners("127.0.0.1", given.port)).run()
        return
    with race.postgres() as database, tempfile.TemporaryDirectory() as folder:
        print(race.table(asyncio.run(rounds(database, Path(folder), rounds=given.rounds, count=given.count))))


if __name__ == "__main__":
    main()
