"""Notifications on their way: dropped, repeated, delayed, reordered, forged; sent again until they are answered 2xx."""

import asyncio
from collections.abc import Sequence
from random import Random

import attrs

from payments_core.errors import PaymentsError
from unit.simulation.bank import MANUAL, signed_by_hand
from unit.simulation.far_side import FarSide, Letter, Transaction
from unit.simulation.ledger import Ledger
from unit.simulation.network import PROVIDER, sign
from unit.simulation.process import ConnectionLost
from unit.simulation.stripe_gateway import signed_at
from unit.simulation.world import World

__all__ = ["Messenger", "Post", "headers_of"]

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


def headers_of(letter: Letter, at: float) -> dict[str, str]:
    """The headers of one delivery of this letter, made at this time."""
    if letter.provider == PROVIDER:
        return {"signature": sign(letter.body)}
    return signed_by_hand(letter.body) if letter.provider == MANUAL else signed_at(letter.body, at)


class Messenger:
    """Carries what the gateways have to say."""

    def __init__(self, world: World, random: Random) -> None:
        self.world, self.random, self.post = world, random, Post()
        self.acknowledged: set[bytes] = set()
        for ledger in world.ledgers.values():
            ledger.told = self.tell

    def tell(self, letter: Letter) -> None:
        """It will be told, as often and as late as the post has it."""
        if self.random.random() < self.post.dropped:
            return
        for _ in range(1 + (self.random.random() < self.post.repeated) * self.random.randrange(1, 3)):
            delayed = self.random.random() < self.post.delayed
            self.world.actor(
                self.deliver(letter, self.random.uniform(1, 7200) if delayed else self.random.uniform(0.1, 2))
            )

    async def tell_at_last(self, ledger: FarSide, transaction: Transaction) -> None:
        """The last word about it is told surely, unless it was told and acknowledged before.

        That one message of a gateway's last change arrives is what the law of convergence assumes; it assumes no more.
        """
        await self.make_known(ledger.last_words(transaction))

    async def make_known(self, letters: Sequence[Letter]) -> None:
        """Each of these is told, unless it was told and acknowledged before."""
        told = [
            self.world.actor(self.deliver(letter, self.random.uniform(1, 60)))
            for letter in letters
            if letter.body not in self.acknowledged
        ]
        for one in told:
            await one

    def forge(self, ledger: Ledger, transaction: Transaction, status: str) -> None:
        """Somebody rewrote the status, which nobody signs, under a true signature.

        Never to the letter what the gateway itself will say later: a copy of what was answered already ends there
        (design 3), so whoever guesses the very bytes of a reversal to come keeps it from being asked about.
        """
        self.world.say(f"forged: {transaction.transaction_id} is {status}")
        letter = ledger.letter(transaction, status=status, forged=True)
        self.world.actor(self.deliver(letter, 0.1, genuine=False))

    async def deliver(self, letter: Letter, after_s: float, *, genuine: bool = True) -> None:
        """It arrives after so many seconds, and again until it is acknowledged or given up."""
        await asyncio.sleep(after_s)
        for pause in (*_RETRY_AFTER_S, None):
            if await self._is_acknowledged(letter):
                if genuine:  # the gateway may have to say the very same later
                    self.acknowledged.add(letter.body)
                is_kept_once = letter.provider == MANUAL  # another word about the same booking is not
                if letter.body not in self.world.store.committed.bodies and not is_kept_once:
                    self.world.complain(f"answered 2xx and not stored: {letter.body!r}")
                return
            if pause is not None:
                await asyncio.sleep(pause * self.random.uniform(0.8, 1.2))

    async def _is_acknowledged(self, letter: Letter) -> bool:
        if not self.world.processes:
            return False
        process = self.random.choice(self.world.processes)
        headers = headers_of(letter, self.world.loop.time())
        try:
            await asyncio.wait_for(process.webhook(letter.provider, letter.body, headers), _PATIENCE_S)
        except (PaymentsError, ConnectionLost, TimeoutError):
            return False
        return True
