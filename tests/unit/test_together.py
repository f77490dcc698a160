"""What arrives while one transaction commits goes into the next one together, and everybody gets his own answer."""

import asyncio
from collections.abc import Sequence

import attrs
import pytest

from payments_core.errors import StorageUnavailable
from payments_core.limits import BATCH_ITEMS_MAX
from payments_core.use_cases.together import Together


class Refused(Exception):
    """What became of one item."""


@attrs.define
class Work:
    """Doubles numbers, a batch at a time, when it is let; a negative one is refused."""

    batches: list[list[int]] = attrs.field(factory=list)
    may_go: asyncio.Semaphore = attrs.field(factory=lambda: asyncio.Semaphore(0))
    breaks: bool = False
    away: bool = False
    unreadable: int | None = None

    async def __call__(self, items: Sequence[int]) -> list[int | Exception]:
        self.batches.append([*items])
        await self.may_go.acquire()
        if self.breaks:
            raise ConnectionError("the store is away")
        if self.away:
            raise StorageUnavailable("the store is away")
        if self.unreadable in items:
            raise ValueError("a row that cannot be read")
        return [Refused(str(item)) if item < 0 else 2 * item for item in items]

    def let(self, batches: int = 9) -> None:
        """So many batches may end."""
        for _ in range(batches):
            self.may_go.release()


async def began(*tasks: "asyncio.Task[int]") -> None:
    """They have gone as far as they can."""
    for _ in range(3 + len(tasks)):
        await asyncio.sleep(0)


def call(together: Together[int, int], item: int) -> "asyncio.Task[int]":
    async def one() -> int:
        return await together(item)

    return asyncio.create_task(one())


async def test_an_item_alone_waits_for_nobody() -> None:
    work = Work()
    work.let()
    together = Together(work)
    assert [await together(1), await together(2)] == [2, 4]
    assert work.batches == [[1], [2]]


async def test_what_comes_meanwhile_goes_together_in_the_order_it_came() -> None:
    work = Work()
    together = Together(work)
    tasks = [call(together, item) for item in (1, 2, 3)]
    await began(*tasks)
    assert work.batches == [[1]], "one batch is under way at a time"
    work.let()
    assert await asyncio.gather(*tasks) == [2, 4, 6]
    assert work.batches == [[1], [2, 3]]
    assert await together(4) == 8
    assert work.batches[-1] == [4], "nobody is left waiting"


async def test_what_comes_while_the_second_batch_is_under_way_makes_a_third() -> None:
    work = Work()
    together = Together(work)
    tasks = [call(together, item) for item in (1, 2)]
    await began(*tasks)
    work.let(1)
    assert await tasks[0] == 2
    await began()
    assert work.batches == [[1], [2]]
    tasks += [call(together, item) for item in (3, 4)]
    await began(*tasks)
    assert work.batches == [[1], [2]]
    work.let()
    assert await asyncio.gather(*tasks) == [2, 4, 6, 8]
    assert work.batches == [[1], [2], [3, 4]]


async def test_a_batch_has_a_bound_and_the_rest_makes_the_next() -> None:
    work = Work()
    together = Together(work)
    tasks = [call(together, item) for item in range(BATCH_ITEMS_MAX + 3)]
    await began(*tasks)
    work.let()
    assert await asyncio.gather(*tasks) == [2 * item for item in range(BATCH_ITEMS_MAX + 3)]
    assert [len(batch) for batch in work.batches] == [1, BATCH_ITEMS_MAX, 2]


async def test_an_exception_belongs_to_its_own_item() -> None:
    work = Work()
    together = Together(work)
    tasks = [call(together, item) for item in (-1, 2, -3, 4)]
    await began(*tasks)
    work.let()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert [str(end) for end in ended] == ["-1", "4", "-3", "8"]
    assert [type(end) for end in ended] == [Refused, int, Refused, int]


async def test_work_that_breaks_is_told_to_everybody_and_the_next_goes_on() -> None:
    """Nobody may wait for ever."""
    work = Work(breaks=True)
    together = Together(work)
    tasks = [call(together, item) for item in (1, 2, 3)]
    await began(*tasks)
    work.let()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(end) for end in ended] == [ConnectionError] * 3
    work.breaks = False
    assert await together(4) == 8


async def test_what_cannot_be_read_for_one_is_read_for_the_others() -> None:
    """A customer must not see another's trouble."""
    work = Work(unreadable=3)
    together = Together(work)
    tasks = [call(together, item) for item in (1, 2, 3, 4)]
    await began(*tasks)
    work.let()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(end) for end in ended] == [int, int, ValueError, int]
    assert work.batches == [[1], [2, 3, 4], [2], [3], [4]]


async def test_a_store_that_is_away_is_asked_once_for_all() -> None:
    """It would be waited for as often as there are callers."""
    work = Work(away=True)
    together = Together(work)
    tasks = [call(together, item) for item in (1, 2, 3)]
    await began(*tasks)
    work.let()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(end) for end in ended] == [StorageUnavailable] * 3
    assert work.batches == [[1], [2, 3]]


async def test_work_that_breaks_for_one_alone_keeps_nobody_out() -> None:
    work = Work(breaks=True)
    work.let()
    together = Together(work)
    for _ in range(2):
        with pytest.raises(ConnectionError):
            await together(1)
    assert work.batches == [[1], [1]]


async def test_a_caller_who_goes_away_takes_nobody_with_him() -> None:
    """His item may be in a transaction already; the others get their answers."""
    work = Work()
    together = Together(work)
    tasks = [call(together, item) for item in (1, 2, 3)]
    await began(*tasks)
    tasks[1].cancel()
    await began()
    work.let()
    assert await asyncio.gather(tasks[0], tasks[2]) == [2, 6]
    assert work.batches == [[1], [2, 3]]
    assert tasks[1].cancelled()


async def test_a_refusal_for_a_caller_who_went_away_reaches_nobody() -> None:
    work = Work()
    together = Together(work)
    tasks = [call(together, item) for item in (1, -2, 3)]
    await began(*tasks)
    tasks[1].cancel()
    await began()
    work.let()
    assert await asyncio.gather(tasks[0], tasks[2]) == [2, 6]


async def test_when_the_first_caller_goes_away_the_others_go_on() -> None:
    work = Work()
    together = Together(work)
    tasks = [call(together, item) for item in (1, 2)]
    await began(*tasks)
    tasks[0].cancel()
    work.let()
    assert await tasks[1] == 4
    assert work.batches == [[1], [2]]


def test_a_loop_that_ends_while_somebody_waits_leaves_nothing_behind() -> None:
    """Found by made-up worlds beyond the usual thousand: whoever was being served is thrown away with his loop."""
    forever = asyncio.Event()
    stops = True

    async def work(items: Sequence[int]) -> list[int | Exception]:
        if stops:
            await forever.wait()
        return [2 * item for item in items]

    together = Together(work)
    loop = asyncio.new_event_loop()

    async def begin() -> list[asyncio.Task[int]]:
        tasks = [loop.create_task(together(item)) for item in (1, 2)]
        await asyncio.sleep(0)
        return tasks

    for task in loop.run_until_complete(begin()):
        coroutine = task.get_coro()
        assert coroutine is not None
        coroutine.close()
        task._log_destroy_pending = False  # type: ignore[attr-defined]
    loop.close()
    stops = False

    async def three(first: int) -> list[int]:
        return await asyncio.gather(*(together(first + more) for more in range(3)))

    assert asyncio.run(three(3)) == [6, 8, 10]
