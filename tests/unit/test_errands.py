"""Errands give way to what has to be taken in, for a second and no longer."""

import asyncio
from collections.abc import Callable, Iterator

import attrs
import pytest

from payments_core.commands import AskCharge, Command
from payments_core_app.errands import BackgroundErrands
from unit.simulation.loop import SimulatedLoop


def question(number: int, transaction_id: str = "tx") -> AskCharge:
    return AskCharge("payment", "midtrans", 1, f"{transaction_id}-{number}", number)


@attrs.define
class Scene:
    """Errands on a loop whose time jumps, and when each of them was begun."""

    loop: SimulatedLoop = attrs.field(factory=lambda: SimulatedLoop(None))
    busy: bool = False
    errands: BackgroundErrands = attrs.field(factory=lambda: BackgroundErrands(at_once=2))
    begun: list[tuple[float, int]] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.errands.give_way(lambda: self.busy)

        async def perform(command: Command) -> None:
            assert isinstance(command, AskCharge)
            self.begun.append((self.loop.time(), command.number))
            await asyncio.get_running_loop().create_future() if command.number == 99 else None

        self.errands.begin(perform)

    def at(self, when: float, what: Callable[[], object]) -> None:
        self.loop.call_at(when, what)

    def run(self, until: float) -> list[tuple[float, int]]:
        over = []
        self.loop.call_at(until, over.append, True)
        self.loop.run_until(lambda: bool(over), steps_max=1000)
        return self.begun

    def is_busy(self, busy: bool) -> None:
        self.busy = busy


@pytest.fixture
def scene() -> Iterator[Scene]:
    made = Scene()
    yield made
    made.loop.close()


def test_an_errand_begins_at_once_when_nothing_waits_to_be_taken_in(scene: Scene) -> None:
    scene.at(1.0, lambda: scene.errands([question(1)]))
    assert scene.run(until=1.1) == [(1.0, 1)]


def test_an_errand_waits_while_notifications_do_and_begins_soon_after(scene: Scene) -> None:
    scene.busy = True
    scene.at(1.0, lambda: scene.errands([question(1)]))
    scene.at(1.2, lambda: scene.errands([question(2)]))
    scene.at(1.4, lambda: scene.is_busy(False))
    assert scene.run(until=1.39) == []
    assert [number for when, number in scene.run(until=1.42)] == [1, 2]


def test_an_errand_waits_for_a_second_at_most_however_many_notifications_come(scene: Scene) -> None:
    """Confirmations are what gets an order paid: a flood must not stop them."""
    scene.busy = True
    scene.at(1.0, lambda: scene.errands([question(1)]))
    scene.at(1.7, lambda: scene.errands([question(2)]))
    assert [(round(when, 1), number) for when, number in scene.run(until=10.0)] == [(2.0, 1), (2.7, 2)]


def test_a_newer_question_takes_the_place_of_the_older_in_the_line(scene: Scene) -> None:
    scene.busy = True
    scene.at(1.0, lambda: scene.errands([question(1)]))
    scene.at(1.7, lambda: scene.errands([AskCharge("payment", "midtrans", 1, "tx-1", 7)]))
    assert [(round(when, 1), number) for when, number in scene.run(until=10.0)] == [(2.0, 7)]


def test_a_long_line_begins_in_portions_so_that_what_arrives_meanwhile_is_noticed(scene: Scene) -> None:
    scene.errands._at_once = 100
    scene.at(1.0, lambda: scene.errands([question(number) for number in range(40)]))
    scene.errands.give_way(lambda: bool(scene.begun))
    begun = [round(when, 1) for when, _ in scene.run(until=10.0)]
    assert (begun.count(1.0), begun.count(2.0)) == (16, 24)


def test_an_errand_begins_when_the_press_ends_in_the_very_moment_it_is_asked_about(scene: Scene) -> None:
    """Whether to give way is asked once: what may begin and when to look again follow from the same answer."""
    answers = iter([True])
    scene.errands.give_way(lambda: next(answers, False))
    scene.at(1.0, lambda: scene.errands([question(1)]))
    assert [number for _, number in scene.run(until=2.0)] == [1]


def test_a_drain_begins_what_gave_way(scene: Scene) -> None:
    """A server that is asked to stop finishes what its last notifications ask for."""
    scene.busy, scene.errands._at_once = True, 40
    scene.at(1.0, lambda: scene.errands([question(number) for number in range(50)]))
    scene.at(1.1, lambda: scene.loop.create_task(scene.errands.drain()))
    begun = scene.run(until=2.0)
    assert [number for _, number in begun] == [*range(40)]


def test_no_more_run_at_once_than_may(scene: Scene) -> None:
    scene.at(1.0, lambda: scene.errands([question(99, "a"), question(99, "b"), question(3)]))
    assert scene.run(until=5.0) == [(1.0, 99), (1.0, 99)]
