"""Notifications on their way: dropped, repeated, delayed, reordered, forged; sent again until they are answered 2xx."""

import asyncio
import json
from random import Random

import attrs

from payments_core.errors import PaymentsError
from unit.simulation.ledger import Snapshot, Transaction
from unit.simulation.network import fields_of, sign
from unit.simulation.process import ConnectionLost
from unit.simulation.world import World

__all__ = ["Messenger", "Post"]

_RETRY_AFTER_S = (60, 120, 600, 1800, 5400)
"""When an unanswered notification is sent again; afterwards it is lost."""
_PATIENCE_S = 15.0


@attrs.define
class Post:
    """How the post is just now; probabilities of one notification."""

    dropped: float = 0.0
    repeated: float = 0.0
    delayed: float = 0.0
    """Up to two hours."""


class Messenger:
    """Carries what the gateway has to say."""

    def __init__(self, world: World, random: Random) -> None:
        self.world, self.random, self.post = world, random, Post()
        self.acknowledged: set[bytes] = set()
        world.on_transaction.append(self.tell)

    def tell(self, transaction: Transaction) -> None:
        """What the transaction is now will be told, as often and as late as the post has it."""
        body = _body(transaction, transaction.now)
        if self.random.random() < self.post.dropped:
            return
        for _ in range(1 + (self.random.random() < self.post.repeated) * self.random.randrange(1, 3)):
            delayed = self.random.random() < self.post.delayed
            self.world.actor(
                self._deliver(body, self.random.uniform(1, 7200) if delayed else self.random.uniform(0.1, 2))
            )

    def tell_at_last(self, transaction: Transaction) -> None:
        """The last word about it is told surely, unless it was told and acknowledged before.

        That one message of a gateway's last change arrives is what the law of convergence assumes; it assumes no more.
        """
        body = _body(transaction, transaction.now)
        if body not in self.acknowledged:
            self.world.actor(self._deliver(body, self.random.uniform(1, 60)))

    def forge(self, transaction: Transaction, status: str) -> None:
        """Somebody rewrote the status, which nobody signs, under a true signature.

        Never to the letter what the gateway itself will say later: a copy of what was answered already ends there
        (design 3), so whoever guesses the very bytes of a reversal to come keeps it from being asked about.
        """
        self.world.say(f"forged: {transaction.transaction_id} is {status}")
        body = _body(transaction, transaction.now, status=status, forged=True)
        self.world.actor(self._deliver(body, 0.1, genuine=False))

    async def _deliver(self, body: bytes, after_s: float, *, genuine: bool = True) -> None:
        await asyncio.sleep(after_s)
        for pause in (*_RETRY_AFTER_S, None):
            if await self._is_acknowledged(body):
                if genuine:  # the gateway may have to say the very same later
                    self.acknowledged.add(body)
                self._check_it_is_kept(body)
                return
            if pause is not None:
                await asyncio.sleep(pause * self.random.uniform(0.8, 1.2))

    async def _is_acknowledged(self, body: bytes) -> bool:
        if not self.world.processes:
            return False
        process = self.random.choice(self.world.processes)
        try:
            await asyncio.wait_for(process.webhook(body, {"signature": sign(body)}), _PATIENCE_S)
        except (PaymentsError, ConnectionLost, TimeoutError):
            return False
        return True

    def _check_it_is_kept(self, body: bytes) -> None:
        if not any(kept.notification.body == body for kept in self.world.store.committed.inbox.values()):
            self.world.complain(f"answered 2xx and not stored: {body!r}")


def _body(transaction: Transaction, snapshot: Snapshot, **changes: object) -> bytes:
    return json.dumps({**fields_of(transaction, snapshot), **changes}).encode()
