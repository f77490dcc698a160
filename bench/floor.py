"""What an application can do at all: a bare Litestar handler that checks a notification's signature.

With and without one SQL statement, which goes to `FLOOR_DATABASE`; served as the product is, by two processes.
"""

import argparse
import hashlib
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import uvicorn
from litestar import Litestar, Request, post
from uvicorn.supervisors import Multiprocess

from payments_core_app.listeners import Listeners

KEY = "SB-Mid-server-bench"
TABLES = """
DROP TABLE IF EXISTS floor_payment, floor_event;
CREATE TABLE floor_payment(id int PRIMARY KEY, status text NOT NULL, updated_at timestamptz);
CREATE TABLE floor_event(
    id bigserial PRIMARY KEY, payment_id int NOT NULL, kind text NOT NULL, at timestamptz DEFAULT now()
);
INSERT INTO floor_payment SELECT g, 'pending' FROM generate_series(1, 10000) g
"""
ONE_STATEMENT = """
WITH u AS (UPDATE floor_payment SET status = 'success', updated_at = now() WHERE id = $1 RETURNING id)
INSERT INTO floor_event(payment_id, kind) SELECT id, 'paid' FROM u
"""


def make_app(*, with_statement: bool) -> Litestar:
    """The application."""
    pools: list[asyncpg.Pool] = []

    @asynccontextmanager
    async def pool(_app: Litestar) -> AsyncIterator[None]:
        if with_statement:
            pools.append(await asyncpg.create_pool(os.environ["FLOOR_DATABASE"], min_size=16, max_size=16))
        yield
        while pools:
            await pools.pop().close()

    @post("/webhook", status_code=200)
    async def webhook(request: Request) -> dict[str, str]:  # type: ignore[type-arg]
        said = json.loads(await request.body())
        signed = f"{said['order_id']}{said['status_code']}{said['gross_amount']}{KEY}"
        if hashlib.sha512(signed.encode()).hexdigest() != said["signature_key"]:
            return {"status": "bad"}
        if with_statement:
            async with pools[0].acquire() as connection:
                await connection.execute(ONE_STATEMENT, int(said["order_id"]))
        return {"status": "ok"}

    return Litestar([webhook], openapi_config=None, lifespan=[pool])


def bare() -> Litestar:
    """Nothing but HTTP and the signature."""
    return make_app(with_statement=False)


def one_statement() -> Litestar:
    """The same, and the least a database can be asked for."""
    return make_app(with_statement=True)


def main() -> None:
    """Serve one of them as the product is served: two processes, a listener each."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("which", choices=["bare", "one_statement"])
    options.add_argument("--port", type=int, required=True)
    given = options.parse_args()
    config = uvicorn.Config(f"floor:{given.which}", factory=True, workers=2, access_log=False, log_level="error")
    Multiprocess(config, sockets=Listeners("127.0.0.1", given.port)).run()


if __name__ == "__main__":
    main()
