"""Row locks as PostgreSQL has them: exclusive, first come first served, held until the transaction ends."""

import asyncio
from collections import deque
from collections.abc import Hashable

__all__ = ["Deadlock", "Locks", "Owner"]


class Owner:
    """A transaction, as far as locks know it."""

    def __init__(self) -> None:
        self.held: list[Hashable] = []
        self.waits_for: Hashable | None = None


class Deadlock(AssertionError):
    """Two transactions wait for each other: the global lock order was broken."""


class Locks:
    """Who holds which row, and who waits for it."""

    def __init__(self) -> None:
        self._owner: dict[Hashable, Owner] = {}
        self._queue: dict[Hashable, deque[tuple[Owner, asyncio.Future[None]]]] = {}

    async def take(self, owner: Owner, row: Hashable) -> None:
        """The row belongs to this owner until it lets go of everything.

        Errors: Deadlock.
        """
        if self.try_take(owner, row):
            return
        self._refuse_a_circle(owner, row)
        turn = asyncio.get_running_loop().create_future()
        self._queue.setdefault(row, deque()).append((owner, turn))
        owner.waits_for = row
        await turn
        owner.waits_for = None

    def try_take(self, owner: Owner, row: Hashable) -> bool:
        """Whether the row was free, or this owner's already; it is now."""
        if self._owner.setdefault(row, owner) is not owner:
            return False
        if row not in owner.held:
            owner.held.append(row)
        return True

    def _refuse_a_circle(self, owner: Owner, row: Hashable) -> None:
        chain, wanted = [row], row
        while (holder := self._owner[wanted]).waits_for is not None:
            wanted = holder.waits_for
            chain.append(wanted)
            if self._owner[wanted] is owner:
                raise Deadlock(f"a circle of waiting transactions over {chain}")

    def release_all(self, owner: Owner) -> None:
        """Everything this owner held goes to whoever waited longest, and it waits for nothing any more."""
        if owner.waits_for is not None:
            queue = self._queue[owner.waits_for]
            self._queue[owner.waits_for] = deque(waiting for waiting in queue if waiting[0] is not owner)
            owner.waits_for = None
        for row in owner.held:
            del self._owner[row]
            if queue := self._queue.get(row):
                following, turn = queue.popleft()
                self._owner[row] = following
                following.held.append(row)
                following.waits_for = None
                turn.set_result(None)
        owner.held.clear()
