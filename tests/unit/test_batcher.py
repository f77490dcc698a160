"""What one batch takes in, and when the errands behind it give way."""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import attrs
import pytest

from payments_core.decide import Verdict
from payments_core.errors import StorageError, StorageUnavailable
from payments_core.ports import Notification, NotificationKey
from payments_core.use_cases.receive_notification import Accepted
from payments_core_app.batcher import Batcher
from unit.simulation.loop import SimulatedLoop

_COMMIT_S = 0.004
_CALLERS = 16


def notification(number: int) -> Notification:
    key = NotificationKey("", "midtrans", "default", f"{number}")
    return Notification(key=key, body=b"{}", received_at=datetime(2030, 1, 1, tzinfo=UTC), transaction_id="")


@attrs.define
class Scene:
    """A batcher on a loop whose time jumps; each batch takes four milliseconds if nothing else is said.

    Shape: `pressed` is what was seen at the times looked at, `handed_over` when each batch was about to end.
    """

    commit_s: float = _COMMIT_S
    loop: SimulatedLoop = attrs.field(factory=lambda: SimulatedLoop(None))
    batches: list[int] = attrs.field(factory=list)
    pressed: list[bool] = attrs.field(factory=list)
    handed_over: list[bool] = attrs.field(factory=list)
    batcher: Batcher = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.batcher = Batcher(self.accept)

    async def accept(self, batch: Sequence[Notification]) -> list[Accepted | StorageError]:
        self.batches.append(len(batch))
        await asyncio.sleep(self.commit_s)
        self.handed_over.append(self.batcher.is_pressed)
        return [Accepted(Verdict.APPLIED, "")] * len(batch)

    async def deliver(self, number: int) -> None:
        """As a server does it: polled in one turn of the loop, read in the next, understood in the third."""
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await self.batcher.submit(notification(number))

    def send(self, at: float, count: int = 1) -> None:
        for number in range(count):
            self.loop.call_at(at, lambda n=number: self.loop.create_task(self.deliver(n)))

    def look(self, at: float) -> None:
        self.loop.call_at(at, lambda: self.pressed.append(self.batcher.is_pressed))

    def run(self) -> None:
        over = list[bool]()
        self.loop.call_at(10.0, over.append, True)
        self.loop.run_until(lambda: bool(over), steps_max=10_000)
        for task in self.loop.tasks:
            task.result()


@pytest.fixture
def scene() -> Iterator[Scene]:
    made = Scene()
    yield made
    made.loop.close()


def test_what_stands_in_a_socket_when_a_batch_is_done_goes_into_the_next(scene: Scene) -> None:
    """One is under way, another waits; what arrives in the moment of the commit does not wait for a third batch."""
    scene.send(at=1.0)
    scene.send(at=1.0 + _COMMIT_S / 2)
    scene.send(at=1.0 + _COMMIT_S, count=14)
    scene.run()
    assert scene.batches == [1, 15]


def test_callers_who_come_again_when_they_are_answered_stay_together(scene: Scene) -> None:
    async def caller(number: int) -> None:
        for _ in range(10):
            await scene.deliver(number)

    scene.loop.call_at(1.0, lambda: scene.loop.create_task(caller(0)))
    for number in range(1, _CALLERS):
        scene.loop.call_at(1.0 + _COMMIT_S / 2, lambda n=number: scene.loop.create_task(caller(n)))
    scene.run()
    assert sum(scene.batches) == 10 * _CALLERS
    assert len(scene.batches) <= 12


def test_a_few_press_nobody(scene: Scene) -> None:
    scene.send(at=1.0, count=3)
    scene.look(at=1.0 + _COMMIT_S / 2)
    scene.look(at=1.0 + 2 * _COMMIT_S)
    scene.run()
    assert (scene.batches, scene.pressed) == ([3], [False, False])


def test_many_at_once_press_until_a_moment_after_their_batch(scene: Scene) -> None:
    scene.send(at=1.0, count=4)
    for after in (_COMMIT_S / 2, _COMMIT_S + 0.045, _COMMIT_S + 0.055):
        scene.look(at=1.0 + after)
    scene.run()
    assert (scene.batches, scene.pressed) == ([4], [True, True, False])


def test_many_press_to_the_end_of_their_batch_however_long_it_takes(scene: Scene) -> None:
    """What a batch leads to is handed over when it is committed, a far database's too."""
    scene.commit_s = 0.3
    scene.send(at=1.0, count=_CALLERS)
    scene.run()
    assert (scene.batches, scene.handed_over) == ([_CALLERS], [True])


def test_a_batch_that_fails_does_not_press_for_ever(scene: Scene) -> None:
    async def fail(_batch: Sequence[Notification]) -> list[Accepted | StorageError]:
        raise RuntimeError("broken")

    async def refused(number: int) -> None:
        with pytest.raises(StorageUnavailable):
            await scene.batcher.submit(notification(number))

    scene.batcher = Batcher(fail)
    for number in range(_CALLERS):
        scene.loop.call_at(1.0, lambda n=number: scene.loop.create_task(refused(n)))
    scene.look(at=2.0)
    scene.run()
    assert scene.pressed == [False]


def test_a_batch_that_is_under_way_when_its_loop_ends_is_taken_apart_without_a_word(scene: Scene) -> None:
    scene.commit_s = 100.0
    scene.send(at=1.0, count=_CALLERS)
    scene.loop.call_at(2.0, scene.batches.append, 0)
    scene.loop.run_until(lambda: scene.batches == [_CALLERS, 0], steps_max=1000)
    scene.loop.close()
    assert scene.handed_over == []


def test_what_waits_for_the_next_batch_presses(scene: Scene) -> None:
    scene.send(at=1.0)
    scene.send(at=1.0 + _COMMIT_S / 4, count=2)
    scene.look(at=1.0 + _COMMIT_S / 2)
    scene.run()
    assert scene.pressed == [True]
