"""What buyers, the gateway, the shop, operators and fate do in one world, all drawn from its seed.

Each seed draws which kinds of trouble there are at all: with everything at once most kinds would hide each other.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from random import Random

import attrs

from payments_core.errors import PaymentsError
from payments_core.money import Money
from payments_core.pages import PageWish
from payments_core.payment import UNDER_WAY, Case, CaseDecision, Payment
from payments_core.policy import GatewayTraits, LatePayment, Policy, RefundRule
from payments_core.states import CaseKind, Confirm
from unit.simulation.bank import MANUAL, Bank
from unit.simulation.doings import BankDoings, Doings, MidtransDoings, StripeDoings
from unit.simulation.far_side import ALIVE, FarSide, Transaction
from unit.simulation.ledger import Ledger
from unit.simulation.messages import Messenger, Post
from unit.simulation.network import PROVIDER, Weather
from unit.simulation.process import ConnectionLost, Process
from unit.simulation.store import Mood
from unit.simulation.stripe_ledger import STRIPE, StripeLedger
from unit.simulation.telling import Telling
from unit.simulation.world import IDR, Parts, World

__all__ = ["Plan", "Workload", "draw_plan", "plan_of"]

_TROUBLES = (
    "crash", "drop", "repeat", "delay", "lose", "refuse", "slow", "lag", "outage", "database", "stall", "skew", "forge",
)  # fmt: skip
_DEEDS = ("cancel", "refund", "capture", "review", "void", "refresh", "resolve", "replace")
_GIVING_BACK = ("refund", "refund", "resolve")
_GATEWAYS = (*2 * ((PROVIDER,), (STRIPE,), (PROVIDER, STRIPE)), (MANUAL,), (PROVIDER, MANUAL))
_OPERATORS = ("olga", "otto")
_PATIENCE_S = 20.0
_BANK_TAKES_S = (3 * 86_400.0, 10 * 86_400.0)
"""Longer than Stripe keeps a key, and than anybody is asked about a refund."""


@attrs.frozen
class Plan:
    """What this seed's world is like."""

    troubles: frozenset[str]
    deeds: tuple[str, ...]
    orders: int
    processes: int
    lasts_s: float
    policy: Policy
    traits: GatewayTraits
    """Of Midtrans; Stripe has its adapter's own."""
    subscriber: bool = False
    gateways: tuple[str, ...] = (PROVIDER,)
    """Where both are, an order changes gateways."""
    telling: Telling = Telling.KEYS
    """How Midtrans tells of refunds."""
    operators: int = 1
    """People for each order, who do not talk to each other."""
    gives_back: bool = False
    """Most of what happens here is that money goes back, asked for by us and by others."""
    bank_takes_s: float = 0.0
    """How long at most a refund waits for the buyer's bank once everything else is quiet."""


def draw_plan(random: Random) -> Plan:
    """A world drawn from its seed."""
    many = random.random()
    troubles = frozenset(name for name in _TROUBLES if random.random() < many)
    deeds = tuple(name for name in _DEEDS if random.random() < 0.4)
    confirm = random.choice([Confirm.ALWAYS, Confirm.ALWAYS, Confirm.SIGNATURE])
    if confirm is Confirm.SIGNATURE:
        troubles -= {"forge"}
    lasts_s = random.choice([1200.0, 7200.0, 100_000.0])
    window = random.choice([timedelta(seconds=lasts_s / 3), timedelta(days=45)])
    rules = {"card": RefundRule(2 * window), "wallet": RefundRule(window, partial=False)}
    key_life = random.choice([None, timedelta(hours=2), timedelta(days=1), timedelta(days=7)])
    return Plan(
        troubles=troubles,
        deeds=deeds,
        orders=random.choice([1, 1, 2]),
        processes=random.choice([1, 2, 2, 3]),
        lasts_s=lasts_s,
        policy=Policy(
            expiry=timedelta(minutes=random.choice([12, 60, 1440])),
            late_payment=random.choice(list(LatePayment)),
        ),
        traits=GatewayTraits(confirm=confirm, refunds=random.choice([None, rules]), refund_key_life=key_life),
        gateways=random.choice(_GATEWAYS),
        subscriber=random.random() < 0.25,
        telling=random.choice([Telling.KEYS, Telling.KEYS, *Telling]),
        bank_takes_s=random.choice([0, 0, *_BANK_TAKES_S]),
        gives_back=random.random() < 0.3,
        operators=random.choice([1, 1, 2]),
    )


def plan_of(seed: int | str) -> Plan:
    """What the world of this seed is like; drawn in no time."""
    return draw_plan(Random(f"plan {seed}"))


class Workload:
    """The actors of one world."""

    def __init__(self, seed: int | str, parts: Parts | None = None) -> None:
        plan = self.plan = plan_of(seed)
        self.world = World(Random(f"world {seed}"), plan.policy, plan.traits, parts, plan.gateways)
        if plan.subscriber:
            self.world.subscribe()
        for openings in self.world.openings:
            openings.leases_hold = "skew" not in plan.troubles
        self.messenger = Messenger(self.world, Random(f"post {seed}"))
        self.calm = False
        self.in_hand: set[tuple[str, int]] = set()
        """Cases by payment and number whose money somebody is sending."""
        self.last_words: list[asyncio.Task[None]] = []
        self.jumped = 0
        """Seconds by which the clocks of the service are ahead of the gateway's."""
        self.world.on_transaction.append(self._transaction_changed)
        self.world.on_death = self._died
        self.random = Random(f"work {seed}")
        self.doings = {name: self._doings(name) for name in plan.gateways}
        for doings in self.doings.values():
            doings.calm = lambda: self.calm
        self.orders = [f"o{number}" for number in range(1, self.plan.orders + 1)]

    # ── beginning and end ─────────────────────────────────────────────────────────────────────────────────────────
    def begin(self) -> None:
        """The orders are placed, and everybody begins."""
        world, plan, random = self.world, self.plan, self.random
        world.say(f"gateways: {' and '.join(plan.gateways)}")
        world.say(f"{sorted(plan.troubles)} {plan.deeds} {plan.processes} processes, {plan.lasts_s:.0f} s")
        world.say(f"refunds are told {plan.telling.value}{', and many' if plan.gives_back else ''}")
        self.stock = {order: random.choice([2, 2, 12]) for order in self.orders}
        for order in self.orders:
            world.put_order(order, units=2, price=50_000, stock=self.stock[order])
        for _ in range(plan.processes):
            self._start_process()
        self._draw_weather()
        for order in self.orders:
            for _ in range(random.choice([1, 1, 2, 3])):
                world.actor(self._buyer(order, random.choice([2, 4, 6])))
            for who in _OPERATORS[: plan.operators]:
                world.actor(self._operator(order, who))
        if plan.gives_back:
            world.actor(self._clerk())
        world.actor(self._fate())

    def calm_down(self) -> None:
        """No trouble any more: the gateway, the network, the database and the processes are well, and people rest."""
        world = self.world
        self.calm = True
        world.say("calm")
        world.store.mood, self.messenger.post = Mood(), Post()
        for name, ledger in world.ledgers.items():
            world.wires[name].weather = Weather()
            ledger.be_well()
        if world.hearer is not None:
            world.hearer.wire.weather = Weather()
        if "crash" in self.plan.troubles:
            for process in [*world.processes]:
                process.die()
        while len(world.processes) < self.plan.processes:
            self._start_process()

    def tell_the_rest(self) -> None:
        """The gateway has the last word about everything, once; about a refund when the bank has decided it."""
        for name, ledger in self.world.ledgers.items():
            for transaction in [*ledger.transactions.values()]:
                self.last_words.append(self.world.actor(self._last_words(name, ledger, transaction)))
        if self.world.bank is not None:
            self.last_words.append(self.world.actor(self.messenger.make_known(self.world.bank.letters())))

    async def _last_words(self, name: str, ledger: FarSide, transaction: Transaction) -> None:
        if transaction.waits:
            await asyncio.sleep(self.plan.bank_takes_s * self.random.random())
            self.doings[name].settle(transaction)
        await self.messenger.tell_at_last(ledger, transaction)

    def _start_process(self) -> None:
        skewed = not self.calm and "skew" in self.plan.troubles
        skew = timedelta(seconds=self.jumped + (self.random.uniform(-2, 2) if skewed else 0))
        process = self.world.start_process(skew=skew)
        if not self.calm and "crash" in self.plan.troubles and self.random.random() < 0.8:
            process.fuse = int(self.random.expovariate(1 / 250))

    def _died(self, _process: Process) -> None:
        self.world.actor(self._restart())

    async def _restart(self) -> None:
        await asyncio.sleep(self.random.choice([0.1, 5, 40, 300]))
        if len(self.world.processes) < self.plan.processes:
            self._start_process()

    # ── fate ──────────────────────────────────────────────────────────────────────────────────────────────────────
    async def _fate(self) -> None:
        while not self.calm:
            await asyncio.sleep(self.random.expovariate(8 / self.plan.lasts_s))
            if not self.calm:
                self._draw_weather()
                self._jump_clocks()

    def _draw_weather(self) -> None:
        def rate(trouble: str, *rates: float) -> float:
            return self.random.choice(rates) if trouble in self.plan.troubles else 0.0

        world = self.world
        for name, ledger in world.ledgers.items():
            at_stripe = isinstance(ledger, StripeLedger)
            weather = world.wires[name].weather = Weather(
                unreachable=bool(rate("outage", 0, 0, 1)),
                refused=rate("refuse", 0, 0.1, 0.3),
                lost=rate("lose", 0, 0.1, 0.4),
                broken=rate("lose", 0, 0.1, 0.2),
                slow=rate("slow", 0, 0.2, 0.5),
                lag_s=rate("lag", 0, 5, 20, 50) if at_stripe else rate("lag", 0, 5, 60, 300),
            )
            ledger.refuse_operations = rate("refuse", 0, 0, 1) > 0
            ledger.refuse_pages = rate("refuse", 0, 0, 0, 1) > 0
            ledger.refunds_wait = self.random.random() < (0.6 if self.plan.gives_back else 0.3)
            if isinstance(ledger, StripeLedger) and "lose" in self.plan.troubles:
                ledger.fails_inside = self.random.choice(["", "", "", "done", "undone"])
            if weather.unreachable:
                world.actor(self._gateway_comes_back(weather))
            world.say(f"{name} {weather}")
        if world.hearer is not None:
            world.hearer.wire.weather = Weather(
                refused=rate("refuse", 0, 0.3), lost=rate("lose", 0, 0.4), slow=rate("slow", 0, 0.5)
            )
        world.store.mood = Mood(
            down=bool(rate("database", 0, 0, 0, 1)),
            slow=rate("stall", 0, 0.2),
            stalls=rate("stall", 0, 0, 0.01),
            commit_refused=rate("database", 0, 0.05),
            commit_unknown=rate("database", 0, 0.05),
        )
        self.messenger.post = Post(
            dropped=rate("drop", 0, 0.3, 1.0),
            repeated=rate("repeat", 0, 0.5),
            delayed=rate("delay", 0, 0.5),
        )
        if world.store.mood.down:
            world.actor(self._database_comes_back())
        world.say(f"{world.store.mood} {self.messenger.post}")

    async def _database_comes_back(self) -> None:
        await asyncio.sleep(self.random.choice([2, 30, 200]))
        self.world.store.mood.down = False

    async def _gateway_comes_back(self, weather: Weather) -> None:
        """Before a day has passed: every half minute somebody asks, which would be most of what a seed does."""
        await asyncio.sleep(self.random.choice([30, 600, 3000]))
        weather.unreachable = False

    def _jump_clocks(self) -> None:
        """The clocks differ by up to four seconds; now and then all of them jump ahead.

        Never by an hour: a page counts as over an hour after its end, because clocks may differ by less. The gateways'
        answers have caught up by then: what their lag explains is measured by these clocks.
        """
        if "skew" in self.plan.troubles:
            was, self.jumped = self.jumped, min(2400, self.jumped + self.random.choice([0, 0, 60, 1200]))
            for wire in self.world.wires.values() if self.jumped > was else ():
                wire.caught_up_at = self.world.loop.time()
            for process in self.world.processes:
                process.clock.skew = timedelta(seconds=self.jumped + self.random.uniform(-2, 2))
                process.poke()

    # ── the gateways' own doings ──────────────────────────────────────────────────────────────────────────────────
    def _doings(self, name: str) -> Doings:
        ledger = self.world.ledgers[name]
        if isinstance(ledger, StripeLedger):
            return StripeDoings(ledger, self.world, self.random)
        if isinstance(ledger, Bank):
            return BankDoings(ledger, self.world, self.random, self.messenger)
        assert isinstance(ledger, Ledger)
        ledger.telling = self.plan.telling
        if self.plan.traits.refund_key_life is not None:
            ledger.keys_kept_s = self.plan.traits.refund_key_life.total_seconds()
        midtrans = MidtransDoings(ledger, self.world, self.random, self.messenger)
        midtrans.lasts_s, midtrans.forges = self.plan.lasts_s, "forge" in self.plan.troubles
        midtrans.keeps_money = self.plan.gives_back
        return midtrans

    def _transaction_changed(self, transaction: Transaction) -> None:
        for name, ledger in self.world.ledgers.items():
            if transaction.transaction_id in ledger.transactions:
                self.doings[name].changed(transaction)

    # ── people ────────────────────────────────────────────────────────────────────────────────────────────────────
    async def _ask(self, work: Callable[[Process], Awaitable[object]]) -> object | None:
        """The answer of any process to a request, None for every kind of no."""
        if not self.world.processes:
            return None
        process = self.random.choice(self.world.processes)
        try:
            return await asyncio.wait_for(process.call(lambda: work(process)), _PATIENCE_S)
        except (PaymentsError, ConnectionLost, TimeoutError):
            return None

    def _now_and_then(self) -> float:
        return self.random.choice([0.01, 0.3, 3, 30, 300, self.plan.lasts_s / 6]) * self.random.random()

    async def _buyer(self, order: str, times: int) -> None:
        """Clicks, and tries to pay on whatever page there is, perhaps one shown long ago."""
        for _ in range(times):
            await asyncio.sleep(self._now_and_then())
            if self.calm:
                return
            provider = self.random.choice(self.plan.gateways)
            wish = PageWish(provider=provider, any_provider=self.random.random() < 0.4)
            if "replace" in self.plan.deeds and self.random.random() < 0.3:
                wish = attrs.evolve(wish, methods=(self.random.choice(["card", "wallet"]),))
            await self._ask(lambda p, w=wish: p.service.start(order, w, customer_id="alice", actor="alice"))  # type: ignore[misc]
            for _ in range(self.random.choice([0, 1, 1, 1, 2])):
                await asyncio.sleep(self.random.choice([0.0, 0.5, 20, 400]) * self.random.random())
                self._try_to_pay(order)

    def _try_to_pay(self, order: str) -> None:
        payment = self.world.payment_of(order)
        known = [a for a in payment.attempts if self.world.page(a) is not None] if payment else []
        if not known or self.calm:
            return
        attempt = self.random.choice(known)
        page = self.world.page(attempt)
        assert page is not None
        self.doings[attempt.provider].buyer_tries(page.order_id, attempt.token or page.tokens[-1])

    async def _operator(self, order: str, who: str) -> None:
        """Does what this seed's operators do, at any time, and now and then by a screen that is old."""
        deeds = (*self.plan.deeds, *(_GIVING_BACK if self.plan.gives_back else ()))
        while deeds:
            await asyncio.sleep(self._now_and_then() + self.plan.lasts_s / 50)
            payment = self.world.payment_of(order)
            if self.calm:
                return
            deed = self.random.choice(deeds)
            if deed == "cancel" and self.random.random() < 0.3:
                await self._ask(
                    lambda p: p.service.cancel_order(order, actor="shop") if p.service.cancel_order else _nothing()
                )
            elif payment is not None:
                if self.random.random() < 0.3:
                    await asyncio.sleep(self._now_and_then())
                await self._operate(deed, payment, who)

    async def _clerk(self) -> None:
        """Gives money back in a gateway's dashboard, now and then, and tells nobody."""
        while not self.calm:
            await asyncio.sleep(self._now_and_then() + self.plan.lasts_s / 20)
            taken = [(d, t) for d in self.doings.values() for t in d.ledger.transactions.values() if t.left_minor > 0]
            if taken and not self.calm and self.random.random() < 0.5:
                doings, transaction = self.random.choice(taken)
                whole = transaction.now.minor
                minor = self.random.choice([*self._asked_back(transaction), *(whole // n for n in (1, 3, 4))])
                doings.ledger.dashboard_refund(transaction.transaction_id, minor)

    def _asked_back(self, transaction: Transaction) -> list[int]:
        """What we have asked for and not heard the end of: somebody may be tired of waiting."""
        payments = self.world.store.committed.payments.values()
        refunds = (r for p in payments for r in p.refunds if r.transaction_id == transaction.transaction_id)
        return [refund.amount.amount_minor for refund in refunds if refund.state in UNDER_WAY]

    async def _operate(self, deed: str, payment: Payment, who: str) -> None:
        name, random = payment.payment_id, self.random
        match deed:
            case "refund":
                part = random.choice([None, payment.amount.amount_minor, payment.amount.amount_minor // 3, 1])
                money = None if part is None else Money(part, IDR)
                asked_as = f"{who} {random.randrange(6)}"
                await self._ask(lambda p: p.service.refund(name, money, None, actor=who, asked_as=asked_as))
            case "capture":
                part = random.choice([None, payment.amount.amount_minor // 2])
                money = None if part is None else Money(part, IDR)
                await self._ask(lambda p: p.service.operate.capture(name, money, actor=who))
            case "review":
                approve = random.random() < 0.6
                await self._ask(
                    lambda p: (p.service.operate.approve if approve else p.service.operate.deny)(name, actor=who)
                )
            case "void":
                await self._ask(lambda p: p.service.operate.cancel(name, actor=who))
            case "refresh":
                await self._ask(lambda p: p.service.refresh(name, actor=who))
            case "resolve" if payment.open_cases:
                case = random.choice(payment.open_cases)
                if case.kind is CaseKind.RETURN_BY_HAND and random.random() < 0.7:
                    await self._send_by_hand(payment, case, who)
                    return
                people = _OPERATORS if random.random() < 0.2 else (who,)
                choice = list(CaseDecision)
                await asyncio.gather(*[self._decide(name, case, random.choice(choice), p) for p in people])
            case _:
                pass

    async def _decide(self, payment_id: str, case: Case, decision: CaseDecision, who: str) -> object | None:
        """Nobody decides what another has in his hands."""
        if (payment_id, case.number) in self.in_hand:
            return None
        return await self._ask(
            lambda p: p.service.operate.resolve(payment_id, case.number, decision, "because", actor=who)
        )

    async def _send_by_hand(self, payment: Payment, case: Case, who: str) -> None:
        """He sends what is left at the bank, if the case is open still, and says so some time later, until it is taken.

        Of the case itself the others know that he has it; of the money they may decide in every other case about it.
        """
        now, mine = self.world.payment_of(payment.order_id), (payment.payment_id, case.number)
        charge = now.charge(case.transaction_id or "") if now is not None else None
        if now is None or charge is None or not now.cases[case.number - 1].is_open or mine in self.in_hand:
            return
        self.in_hand.add(mine)
        self.world.by_hand[charge.transaction_id] += max(0, charge.left_minor)
        self.world.say(f"{who} sends {charge.left_minor} of {charge.transaction_id} by hand")
        self.world.actor(self._say_it_was_sent(payment.payment_id, case, who))

    async def _say_it_was_sent(self, payment_id: str, case: Case, who: str) -> None:
        while self.world.store.committed.payments[payment_id].cases[case.number - 1].is_open:
            await asyncio.sleep(1 + self.random.choice([60, 600, self.plan.lasts_s / 3]) * self.random.random())
            await self._ask(
                lambda p: p.service.operate.resolve(payment_id, case.number, CaseDecision.RETURN, "sent", actor=who)
            )

    @property
    def is_quiet(self) -> bool:
        """Nothing is due, and nothing at the gateway will change by itself."""
        alive = any(t.now.word in ALIVE for t in self.world.transactions.values())
        told = all(task.done() for task in self.last_words)
        return self.world.store.next_due() is None and told and not alive


async def _nothing() -> None:
    """The shop keeps its orders elsewhere."""
