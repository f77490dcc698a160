"""What one batch takes in, and when the errands behind it give way."""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import attrs
import pytest

from payments_core.decide import Verdict
from payments_core.errors import StorageError
from payments_core.ports import Notification, NotificationKey
from payments_core.use_cases.receive_notification import Accepted
from payments_core_app.batcher import Batcher
from unit.simulation.loop import SimulatedLoop

_COMMIT_S = 0.004
_MANY = 16


def notification(number: int) -> Notification:
    key = NotificationKey("", "midtrans", "default", f"{number}")
    return Notification(key=key, body=b"{}", received_at=datetime(2030, 1, 1, tzinfo=UTC), transaction_id="")


@attrs.define
class Scene:
    """A batcher on a loop whose time jumps; each batch takes four milliseconds."""

    loop: SimulatedLoop = attrs.field(factory=lambda: SimulatedLoop(None))
    batches: list[int] = attrs.field(factory=list)
    pressed: list[bool] = attrs.field(factory=list)
    batcher: Batcher = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.batcher = Batcher(self.accept)

    async def accept(self, batch: Sequence[Notification]) -> list[Accepted | StorageError]:
        self.batches.append(len(batch))
        await asyncio.sleep(_COMMIT_S)
        return [Accepted(Verdict.APPLIED, "")] * len(batch)

    async def deliver(self, number: int) -> None:
        """As a server does it: the bytes are read in one turn of the loop, understood and submitted in the next."""
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
    for number in range(1, _MANY):
        scene.loop.call_at(1.0 + _COMMIT_S / 2, lambda n=number: scene.loop.create_task(caller(n)))
    scene.run()
    assert sum(scene.batches) == 10 * _MANY
    assert len(scene.batches) <= 12


def test_a_lone_notification_presses_nobody(scene: Scene) -> None:
    scene.send(at=1.0)
    scene.look(at=1.0 + _COMMIT_S / 2)
    scene.look(at=1.0 + 2 * _COMMIT_S)
    scene.run()
    assert (scene.batches, scene.pressed) == ([1], [False, False])


def test_many_at_once_press_until_a_moment_after_their_batch(scene: Scene) -> None:
    scene.send(at=1.0, count=_MANY)
    scene.look(at=1.0 + _COMMIT_S / 2)
    scene.look(at=1.0 + 2 * _COMMIT_S)
    scene.look(at=1.5)
    scene.run()
    assert scene.pressed == [True, True, False]


def test_what_waits_for_the_next_batch_presses(scene: Scene) -> None:
    scene.send(at=1.0)
    scene.send(at=1.0 + _COMMIT_S / 4, count=2)
    scene.look(at=1.0 + _COMMIT_S / 2)
    scene.run()
    assert scene.pressed == [True]
