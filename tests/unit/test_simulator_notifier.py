"""Delivery of notifications: the retry table, the order of first attempts, and faults; with a courier of the test."""

import asyncio
import json
import random
from collections import defaultdict
from collections.abc import Mapping

import pytest

from payments_core_simulator import notifier as notifier_module
from payments_core_simulator.control_bodies import decode
from payments_core_simulator.courier import Courier
from payments_core_simulator.fault_rules import FaultPlan
from payments_core_simulator.faults import Faults
from payments_core_simulator.midtrans.limits import RETRY_INTERVALS_S
from payments_core_simulator.midtrans.retry_table import RETRIES as TABLE
from payments_core_simulator.midtrans.simulator import CALLS, HABITS, message
from payments_core_simulator.notifier import Message, Notifier
from payments_core_simulator.retries import TIMEOUT, UNREACHABLE, Answer, acknowledged

URL = "http://shop.example/notify"


class ScriptedCourier(Courier):
    """Answers each body as the test says, and keeps what was carried."""

    def __init__(self) -> None:
        self.answers: dict[str, list[int | str]] = defaultdict(list)
        self.carried: list[tuple[str, str]] = []
        self.gates: dict[str, asyncio.Event] = {}
        # Released once for each delivery that began.
        self.began = asyncio.Semaphore(0)

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], timeout_s: float):  # noqa: ARG002 - the signature it stands in for
        status = json.loads(body)["transaction_status"]
        self.carried.append((url, status))
        self.began.release()
        if status in self.gates:
            await self.gates[status].wait()
        return self.answers[status].pop(0) if self.answers[status] else 200

    async def close(self):
        pass

    def statuses(self) -> list[str]:
        return [status for _, status in self.carried]


@pytest.fixture
async def courier():
    return ScriptedCourier()


@pytest.fixture
async def faults():
    return Faults(CALLS)


@pytest.fixture
async def notifier(courier: ScriptedCourier, faults: Faults):
    made = Notifier(faults, HABITS, 1_000_000.0, lambda _: courier)
    yield made
    await made.close()


def body(status: str, order_id: str = "o-1") -> Message:
    return message({"transaction_status": status, "order_id": order_id, "transaction_id": "t-1", "absent": None})


async def all_done(notifier: Notifier) -> None:
    async with asyncio.timeout(10):
        while notifier._tasks:
            await asyncio.wait(notifier._tasks)


def planned(faults: Faults, *rules: dict[str, object]) -> None:
    faults.replace(decode(json.dumps({"faults": rules}).encode(), FaultPlan))


RETRIES = [
    (200, 0), (204, 0), (500, 1), (503, 4), (400, 2), (404, 2), (301, 0), (302, 0), (303, 0), (307, 5), (401, 5),
    (502, 5), (TIMEOUT, 5), (UNREACHABLE, 5),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "retries"), RETRIES)
async def test_a_receiver_is_tried_as_often_as_its_answer_permits(
    notifier: Notifier, courier: ScriptedCourier, answer: Answer, retries: int
):
    courier.answers["pending"] = [answer] * 10
    notifier.send(body("pending"), [URL])
    await all_done(notifier)
    assert len(courier.carried) == 1 + retries
    done = "acknowledged" if acknowledged(answer) else "given_up"
    assert notifier.counts() == dict.fromkeys(notifier.counts(), 0) | {"sent": 1, done: 1}


async def test_a_later_answer_replaces_what_an_earlier_one_permitted(notifier: Notifier, courier: ScriptedCourier):
    """503 would permit four retries, but the 500 that follows permits one in all."""
    courier.answers["pending"] = [503, 500, 200]
    notifier.send(body("pending"), [URL])
    await all_done(notifier)
    assert len(courier.carried) == 2


def test_pauses_are_the_published_ones_shifted_and_sped_up():
    chances = random.Random(1)  # noqa: S311 - a test's chance
    pauses = [TABLE.pause_s(0, RETRY_INTERVALS_S, 10.0, chances) for _ in range(1_000)]
    assert 3.3 <= min(pauses) < 4.0
    assert 11.0 < max(pauses) <= 12.0
    assert TABLE.allowed(TIMEOUT) == len(RETRY_INTERVALS_S)


async def test_null_properties_are_left_out(notifier: Notifier):
    notifier.send(body("pending"), [URL])
    await all_done(notifier)
    assert "absent" not in json.loads(notifier.recent(1)[0].message.body)


async def test_every_url_gets_every_event(notifier: Notifier, courier: ScriptedCourier):
    notifier.send(body("pending"), [URL, URL + "/2"])
    await all_done(notifier)
    assert sorted(courier.carried) == [(URL, "pending"), (URL + "/2", "pending")]


async def test_first_attempts_of_one_order_keep_their_order_and_retries_do_not_hold_them_up(
    notifier: Notifier, courier: ScriptedCourier
):
    courier.gates["pending"] = asyncio.Event()
    courier.answers["pending"] = [503, 200]
    notifier.send(body("pending"), [URL])
    notifier.send(body("settlement"), [URL])
    notifier.send(body("settlement", "o-2"), [URL])
    await courier.began.acquire()
    await courier.began.acquire()
    assert courier.statuses() == ["pending", "settlement"]
    assert notifier.recent(9, "o-1")[1].attempts == 0
    courier.gates["pending"].set()
    await all_done(notifier)
    assert sorted(courier.statuses()) == ["pending", "pending", "settlement", "settlement"]


async def test_a_reordered_notification_comes_after_the_next_one(
    notifier: Notifier, courier: ScriptedCourier, faults: Faults
):
    planned(faults, {"kind": "notification_reorder", "statuses": ["pending"], "within_ms": 60_000})
    notifier.send(body("pending"), [URL])
    notifier.send(body("settlement"), [URL])
    await all_done(notifier)
    assert courier.statuses() == ["settlement", "pending"]


async def test_a_reordered_notification_with_no_next_one_comes_all_the_same(
    notifier: Notifier, courier: ScriptedCourier, faults: Faults
):
    planned(faults, {"kind": "notification_reorder", "within_ms": 5})
    notifier.send(body("pending"), [URL])
    await all_done(notifier)
    assert courier.statuses() == ["pending"]


async def test_a_delayed_notification_is_overtaken(notifier: Notifier, courier: ScriptedCourier, faults: Faults):
    planned(faults, {"kind": "notification_delay", "statuses": ["pending"], "ms": 50})
    notifier.send(body("pending"), [URL])
    notifier.send(body("settlement"), [URL])
    await all_done(notifier)
    assert courier.statuses() == ["settlement", "pending"]


async def test_a_duplicated_notification_is_the_same_bytes_again(
    notifier: Notifier, courier: ScriptedCourier, faults: Faults
):
    planned(faults, {"kind": "notification_duplicate", "copies": 2})
    notifier.send(body("pending"), [URL])
    await all_done(notifier)
    assert courier.statuses() == ["pending"] * 3
    assert len({one.message.body for one in notifier.recent(9)}) == 1


async def test_a_dropped_notification_is_never_sent_and_says_so(
    notifier: Notifier, courier: ScriptedCourier, faults: Faults
):
    planned(faults, {"kind": "notification_drop"})
    notifier.send(body("pending"), [URL])
    assert courier.carried == []
    assert notifier.counts()["dropped"] == 1
    assert notifier.recent(1)[0].state == "dropped"


async def test_the_queue_is_bounded(notifier: Notifier, courier: ScriptedCourier, monkeypatch: pytest.MonkeyPatch):
    """A receiver that never answers must not fill the memory."""
    monkeypatch.setattr(notifier_module, "DELIVERIES_WAITING_MAX", 2)
    courier.gates["pending"] = asyncio.Event()
    for _ in range(5):
        notifier.send(body("pending"), [URL])
    assert notifier.counts() == {"sent": 0, "acknowledged": 0, "given_up": 0, "dropped": 3, "pending": 2}
    courier.gates["pending"].set()
    await all_done(notifier)
    assert len(courier.carried) == 2


async def test_a_reset_stops_every_delivery(notifier: Notifier, courier: ScriptedCourier):
    courier.answers["pending"] = [503] * 5
    courier.gates["pending"] = asyncio.Event()
    notifier.send(body("pending"), [URL])
    await asyncio.sleep(0.01)
    notifier.reset()
    courier.gates["pending"].set()
    await asyncio.sleep(0.01)
    assert courier.statuses() == ["pending"]
    assert set(notifier.counts().values()) == {0}
    assert notifier.recent(9) == []


async def test_lines_are_forgotten_when_they_are_empty(notifier: Notifier, courier: ScriptedCourier, faults: Faults):
    planned(
        faults,
        {"kind": "notification_reorder", "probability": 0.3, "within_ms": 2},
        {"kind": "notification_delay", "probability": 0.3, "ms": 2},
    )
    for number in range(50):
        for status in ("pending", "settlement"):
            notifier.send(body(status, f"o-{number}"), [URL])
    await all_done(notifier)
    assert notifier._lanes == {}
    assert len(courier.carried) == 100
