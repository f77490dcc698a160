"""A process's share of what a gateway may be asked: a row with a lease, all of them together within the limit.

Living processes share alike. Whoever has more than his part gives it up with his next renewal, but never less than he
is using; whoever has less takes what is free, and leaves an eighth of it for who comes next. So the sum is never above
the limit, and who takes over from a process that died can begin at once: the share of the dead comes back only when its
lease ends, and it may have held nearly all of it.
"""

import attrs
from sqlalchemy import Float, delete, func, select
from sqlalchemy import cast as as_type
from sqlalchemy.ext.asyncio import AsyncConnection

from payments_core_sqlalchemy.repositories import insert_into
from payments_core_sqlalchemy.store import SqlStore
from payments_core_sqlalchemy.tables import gateway_shares as table

__all__ = ["Allowance", "SqlShares"]

_LOCK = ""
_LEFT = 8
"""One part in so many of what is free is left free."""


@attrs.frozen
class Allowance:
    """So many calls in flight, and so many begun in any one second."""

    in_flight: int
    per_second: int


class SqlShares:
    """Shares in one PostgreSQL database."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store

    async def renew(
        self, provider: str, holder: str, *, limit: Allowance, using: Allowance, lease_s: float
    ) -> Allowance:
        """The share of this process until the lease ends; nothing of either may be had when it is 0.

        `using` is what it uses now: it is not given to anybody else before it is free.
        Errors: StorageError.
        """
        async with self._store.transaction() as uow:
            now = await _locked(uow.connection, provider)
            await uow.connection.execute(delete(table).where(table.c.holder != _LOCK, table.c.until < now))
            others = (
                await uow.connection.execute(
                    select(
                        func.count().label("processes"),
                        func.coalesce(func.sum(table.c.in_flight), 0).label("in_flight"),
                        func.coalesce(func.sum(table.c.per_second), 0).label("per_second"),
                    ).where(table.c.provider == provider, table.c.holder.not_in([_LOCK, holder]))
                )
            ).one()
            living = others.processes + 1
            ours = Allowance(
                _part(limit.in_flight, living, others.in_flight),
                _part(limit.per_second, living, others.per_second),
            )
            row = {
                "provider": provider,
                "holder": holder,
                "in_flight": max(ours.in_flight, using.in_flight),
                "per_second": max(ours.per_second, using.per_second),
                "until": now + lease_s,
            }
            insert = insert_into(uow.connection, table).values(row)
            rest = {name: insert.excluded[name] for name in ("in_flight", "per_second", "until")}
            await uow.connection.execute(insert.on_conflict_do_update(index_elements=["provider", "holder"], set_=rest))
            await uow.commit()
        return ours

    async def give_back(self, provider: str, holder: str) -> None:
        """The share is free for the others."""
        async with self._store.transaction() as uow:
            await uow.connection.execute(
                delete(table).where(table.c.provider == provider, table.c.holder == holder, table.c.holder != _LOCK)
            )
            await uow.commit()


def _part(limit: int, living: int, taken: int) -> int:
    """An equal part, at least one, as far as it is free; something stays for a newcomer where there is enough."""
    free = limit - taken
    return max(0, min(max(1, limit // living), free - free // _LEFT))


async def _locked(connection: AsyncConnection, provider: str) -> float:
    """The time by the database's clock, with this provider's shares locked."""
    lock = {"provider": provider, "holder": _LOCK, "in_flight": 0, "per_second": 0, "until": 0.0}
    await connection.execute(insert_into(connection, table).values(lock).on_conflict_do_nothing())
    row = select(table.c.provider).where(table.c.provider == provider, table.c.holder == _LOCK)
    await connection.execute(row.with_for_update())
    clock = func.extract("epoch", func.clock_timestamp())
    return float(await connection.scalar(select(as_type(clock, Float))) or 0.0)
