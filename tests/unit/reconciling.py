"""One payment of the memory twins compared with its gateway, and what was told of it."""

import attrs

from payments_core import Signal
from payments_core.decide import Verdict
from payments_core.ports import NotificationKey
from payments_core.use_cases.reconcile import DifferenceKind, Outcome, Reconcile, Reconciled
from payments_core_memory import MemoryStore
from unit.world import World

MISSING_HERE, MISSING_THERE = DifferenceKind.MISSING_HERE, DifferenceKind.MISSING_THERE
STATUS, AMOUNT, UNKNOWN_WORD = DifferenceKind.STATUS, DifferenceKind.AMOUNT, DifferenceKind.UNKNOWN_WORD
UNREACHABLE, UNFINISHED = DifferenceKind.UNREACHABLE, DifferenceKind.UNFINISHED
REPAIRED, LEFT, CASE = Outcome.REPAIRED, Outcome.LEFT, Outcome.CASE


@attrs.frozen
class MemorySurvey:
    """The `Survey` port over the store in memory."""

    store: MemoryStore

    async def count(self, since: object) -> int:  # noqa: ARG002 - the port
        return len(self.store.payments.rows)

    async def ids(self, since: object, *, after: str | None, limit: int) -> list[str]:  # noqa: ARG002 - the port
        return sorted(self.store.payments.rows)[:limit]

    async def waiting(self, payment_id: str) -> list[NotificationKey]:
        return [
            key
            for key, kept in self.store.inbox.rows.items()
            if kept.verdict is Verdict.WAITING and key.shard == payment_id
        ]


async def reconcile(world: World, payment_id: str | None = None) -> Reconciled:
    """The one payment compared with its gateway."""
    sweep = world.service.sweep
    compare = Reconcile(sweep.desk, MemorySurvey(world.store), sweep.ask, sweep)
    return await compare(payment_id or world.payment.payment_id)


def told(result: Reconciled) -> list[tuple[DifferenceKind, Outcome]]:
    return [(difference.kind, difference.outcome) for difference in result.differences]


def pointed_at(result: Reconciled) -> list[tuple[DifferenceKind, str]]:
    return [(difference.kind, difference.reference) for difference in result.differences]


async def paid(world: World, *, method: str = "bank_transfer") -> str:
    """The transaction that paid the order."""
    await world.opened()
    transaction = world.tries(Signal.SETTLED, method=method)
    await world.hear(transaction)
    return transaction


def changed(world: World, transaction: str, **fields: object) -> None:
    """The gateway's ledger says something else now."""
    was = world.gateway.transactions[transaction]
    world.gateway.transactions[transaction] = attrs.evolve(was, **fields)
