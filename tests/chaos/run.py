"""A run: a storm of orders, faults and kills; then quiet, until both sides say the same; then the verdict."""

import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
from stripe import WebhookSignature

from chaos.books import Ledger, Stored, read_database
from chaos.check import behind, disagreements, log_findings, unended, violations
from chaos.client import Client
from chaos.nemesis import Nemesis, Progress
from chaos.people import Deed, People
from chaos.plan import ENDING_RATE, SKUS, STOCK, Plan
from chaos.report import Outcome
from chaos.stories import BY_NAME
from chaos.system import STRIPE_SECRET, System, running_system
from harness.clock import lasting_token
from harness.midtrans import CODES, signature
from payments_core_simulator.process import RunningSimulator
from payments_core_sqlalchemy import SqlStore
from payments_core_sqlalchemy.watch import Watch

__all__ = ["run"]

_LOOK_EVERY_S = 1.0
HELP_AFTER_S = 120.0
"""Product seconds after the last fault within which everything that can come together by itself does."""


async def run(plan: Plan, folder: Path) -> Outcome:
    """What the run came to; `violations` is empty when nothing went wrong."""
    outcome = Outcome(plan)
    async with running_system(plan, folder) as system, httpx.AsyncClient(trust_env=False) as http:
        client = Client(system, random.Random(f"client:{plan.seed}"), http)  # noqa: S311 - a replayable chance
        await _stock(client)
        begun = time.monotonic()
        outcome.deeds, outcome.kills = await _storm(system, client)
        outcome.storm_s = time.monotonic() - begun
        outcome.faults = _faults_that_fired(system)
        for simulator in system.simulators.values():
            simulator.control("faults", {"delivery": {"speed_up": 3000}})
        await _quiet(system, http, outcome)
        await _judge(system, client, outcome)
    return outcome


async def _stock(client: Client) -> None:
    shop = lasting_token("shop", payments_role="service", scope="orders:write")
    for sku in SKUS:
        answer = await client.insist("PUT", f"/api/stock/{sku}", as_=shop, json={"available": STOCK})
        answer.raise_for_status()


async def _storm(system: System, client: Client) -> tuple[dict[str, Deed], Counter[str]]:
    """Every story is over and every kill was made."""
    plan = system.plan
    for name, simulator in system.simulators.items():
        simulator.control("faults", plan.faults(name))
    progress = Progress(plan.payments, plan.kills, time.monotonic() + plan.minutes * 60)
    nemesis = Nemesis(system, progress)
    everybody = [People.meet(client, story, number, plan.seed) for number, story in enumerate(plan.stories())]
    places = asyncio.Semaphore(plan.clients)

    deeds: dict[str, Deed] = {}

    async def one(number: int, people: People) -> None:
        async with places:
            if not await progress.load_is_due(number, plan.clients):
                return
            deeds[people.deed.order_id] = people.deed
            await people.live(BY_NAME[people.deed.story])
        await progress.an_order_ended()

    async with asyncio.TaskGroup() as group:
        group.create_task(nemesis.rage())
        telling = group.create_task(_tell(progress))
        lives = [group.create_task(one(number, people)) for number, people in enumerate(everybody)]
        await asyncio.gather(*lives)
        telling.cancel()
    return deeds, nemesis.kills


async def _tell(progress: Progress) -> None:
    """A line now and then, for whoever waits."""
    while True:
        await asyncio.sleep(10)
        _say(f"{progress.ended} of {progress.orders} orders, {progress.killed} of {progress.kills} kills")


def _faults_that_fired(system: System) -> Counter[str]:
    fired: Counter[str] = Counter()
    for simulator in system.simulators.values():
        told = simulator.view("faults")
        for rule, times in zip(told["faults"], told["fired"], strict=True):
            fired[rule["kind"]] += times
    return fired


async def _quiet(system: System, http: httpx.AsyncClient, outcome: Outcome) -> None:
    """Nothing fails any more: first money and notifications come together, then every order ends."""
    since = system.clock.now()

    async def apart() -> list[str]:
        stored, ledger = await _look(system)
        found = disagreements(stored, ledger)
        outcome.together.append((system.clock.now() - since, len(found)))
        if outcome.together[-1][0] > HELP_AFTER_S:
            system.clock.set_rate(ENDING_RATE)  # what is left waits for a step of minutes or hours
        return found

    async def together_without_help() -> list[str]:
        found = await apart()
        return found if outcome.together[-1][0] < HELP_AFTER_S else []

    async def not_over() -> list[str]:
        stored, ledger = await _look(system)
        return unended(stored, outcome.deeds) + disagreements(stored, ledger)

    await _until_none(together_without_help, system.plan.patience_s)
    outcome.told_again = await _last_word(system, http)
    await _until_none(apart, system.plan.patience_s)
    system.clock.set_rate(ENDING_RATE)
    await _until_none(not_over, system.plan.patience_s)
    outcome.ended_s = system.clock.now() - since


async def _last_word(system: System, http: httpx.AsyncClient) -> int:
    """How many transactions were told of once more.

    The promise assumes that after the last change of a transaction one message about it, or one poll, reaches us. What
    has ended is not polled, so where the storm dropped the last message of all, it is sent again, as a gateway's
    dashboard can.
    """
    late = behind(*await _look(system))
    at_stripe = {transaction_id for transaction_id in late if transaction_id.startswith("pi_")}
    for transaction_id in late:
        if transaction_id not in at_stripe:
            await _tell_again(system, http, transaction_id)
    if at_stripe:
        await _send_events_again(system, http, at_stripe)
    return len(late)


async def _tell_again(system: System, http: httpx.AsyncClient, transaction_id: str) -> None:
    simulator = system.simulators["midtrans"]
    key = simulator.server_key
    status = (await http.get(f"{simulator.url}/v2/{transaction_id}/status", auth=(key, ""))).json()
    body = {**status, "status_code": CODES.get(status["transaction_status"], "200")}
    body["signature_key"] = signature(body, key)
    (await http.post(f"{system.office_url}/api/webhooks/midtrans/", json=body, timeout=60)).raise_for_status()


async def _send_events_again(system: System, http: httpx.AsyncClient, intent_ids: set[str]) -> None:
    """Every event about these intents, oldest first, each signed anew."""
    simulator, url = system.simulators["stripe"], f"{system.office_url}/api/webhooks/stripe/"
    for event in reversed(await _events(simulator, http)):
        about = event["data"]["object"]
        if intent_ids.isdisjoint({about["id"], about.get("payment_intent")}):
            continue
        body = json.dumps(event)
        header = WebhookSignature.generate_signature_header(body, STRIPE_SECRET, int(system.clock.now()))
        sent = await http.post(url, content=body, headers={"Stripe-Signature": header}, timeout=60)
        sent.raise_for_status()


async def _events(simulator: RunningSimulator, http: httpx.AsyncClient) -> list[dict[str, Any]]:
    """Everything Stripe can look back on, newest first."""
    found: list[dict[str, Any]] = []
    while True:
        after = {"starting_after": found[-1]["id"]} if found else {}
        query = {"limit": "100", **after}
        page = (await http.get(f"{simulator.url}/v1/events", params=query, auth=(simulator.server_key, ""))).json()
        found += page["data"]
        if not page["has_more"]:
            return found


async def _until_none(look: Callable[[], Awaitable[list[str]]], patience_s: float) -> None:
    """Nothing is left, or patience is; what is left then is found by the verdict."""
    until, told_at = time.monotonic() + patience_s, time.monotonic()
    begun = time.monotonic()
    while (found := await look()) and time.monotonic() < until:
        if time.monotonic() - told_at > 10:
            told_at = time.monotonic()
            _say(f"{len(found)} left, such as {found[0]}")
        # Looking at thousands of orders takes a while, and the post office works in the same process.
        await asyncio.sleep(max(_LOOK_EVERY_S, 2 * (time.monotonic() - begun)))
        begun = time.monotonic()


async def _look(system: System) -> tuple[Stored, Ledger]:
    return await asyncio.to_thread(_read_both, system)


def _read_both(system: System) -> tuple[Stored, Ledger]:
    return asyncio.run(read_database(system.database.url)), Ledger.read(
        *(simulator.view("ledger") for simulator in system.simulators.values())
    )


async def _judge(system: System, client: Client, outcome: Outcome) -> None:
    # Receipts first: what is acknowledged while the database is read may be stored after it was read.
    outcome.receipts = Counter(system.office.receipts)
    outcome.stored, outcome.ledger = await _look(system)
    outcome.requests, outcome.answers = client.counts, system.office.answers
    done = await asyncio.to_thread(system.command, "verify")
    outcome.verify = (done.stdout.strip().splitlines() or [done.stderr[-300:]])[-1]
    logs = [(path.name, path.read_text(errors="replace")) for path in sorted(system.folder.glob("*.log"))]
    outcome.violations = [
        *violations(outcome.stored, outcome.ledger, outcome.deeds, outcome.receipts),
        *(f"NOT ENDED {what}" for what in unended(outcome.stored, outcome.deeds)),
        *(f"DIED ALONE {what}" for what in system.died_alone),
        *(f"BUG {what}" for what in client.bugs),
        *log_findings(logs),
        *([] if done.returncode == 0 else [f"VERIFY {outcome.verify}"]),
        *await _broken_invariants(system),
    ]


async def _broken_invariants(system: System) -> list[str]:
    """What `payments doctor` and the metrics would call an operator for."""
    store = SqlStore(system.database.url)
    try:
        broken = await Watch(store).broken()
    finally:
        await store.close()
    return [
        f"INVARIANT {name}: {found.count}, such as {found.examples}" for name, found in broken.items() if found.count
    ]


def _say(what: str) -> None:
    sys.stderr.write(f"chaos: {what}\n")
