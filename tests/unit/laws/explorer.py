"""Every interleaving of a gateway's histories with its deliveries and our questions, as one graph of situations.

A **situation** is what is stored of the payment and of each notification, which questions wait or are on their way, and
how far the gateway has come. From each one leads: the gateway's next step; a delivery of any message it has sent, first
or repeated; a question leaving, its answer fixed then; an answer arriving, in any order; a question or an answer lost.
Deliveries are not counted, so the graph holds every number of copies of every message, 0 to 3 among them; and histories
with a common beginning share its situations. A crash is among them: it loses questions, and nothing that is stored.

Equal situations are explored once, and three things make them equal:

- **Numbers are only compared.** Reading numbers are replaced by their rank among the questions that are still open.
- **What is done is done.** Verdicts that no delivery and no answer looks at again are one.
- **Counters do not decide.** Version, history, times and evidence are left out. `tries`, and with it the time a hint is
  asked about again, is kept only on demand: within the gateway's lag it may not decide anything, which is the law that
  the walk with `tries` checks.

The real use cases are run over the memory store, each distinct call once: a delivery with its own row, an answer with
one row after the other, because each hint is judged by itself. That this leaves nothing out is a test too: what
`one_by_one.py` finds with the whole store, real numbers and real copies is among these situations.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from functools import cache
from typing import Any, TypeVar

import attrs

from payments_core import AskCharge, ChargeState, Confirm, GatewayTraits, Money, Observation, Policy, Reading, Signal
from payments_core.decide import Verdict
from payments_core.limits import REFUTE_AFTER
from payments_core.payment import Payment
from payments_core.ports import Kept, Notification
from payments_core.states import ENDED
from payments_core.testing.histories import PARTS, STEPS, Step
from payments_core.use_cases.start_payment import _Click as Click
from payments_core_memory import MemoryStore
from payments_core_memory.gateway import Transaction
from payments_core_memory.orders import MemoryOrders
from unit.world import ANYTHING, World, drive

__all__ = [
    "End",
    "Explorer",
    "check_end",
    "gateway_says",
    "interleavings",
    "prefixes",
    "shop_with_a_try",
]

STEPS_MAX, IN_FLIGHT_MAX = 5, 2
"""No step comes twice in a history, so a step names a message."""
AMOUNT_MINOR = 100_000_00
QUIET_FOR = timedelta(minutes=20)
"""Longer than everything that becomes due in answer to a message."""
History = tuple[Step, ...]
_ANSWERED = frozenset(Verdict) - {Verdict.WAITING, Verdict.REFUTED, Verdict.UNMATCHED}
_NOT_ASKED = -1


def prefixes(history: History) -> list[History]:
    """This history and its beginnings, the shortest first."""
    return [history[: length + 1] for length in range(len(history))]


@cache
def interleavings(steps: int, copies: int, left: tuple[int, ...] = ()) -> int:
    """In how many orders a history of so many steps and its messages, each delivered 0 to `copies` times, can happen.

    Our questions are not counted; `left` are the copies of the messages sent so far.
    """
    total = 1 if len(left) == steps else interleavings(steps, copies, (*left, copies))
    for message, some in enumerate(left):
        if some:
            total += interleavings(steps, copies, (*left[:message], some - 1, *left[message + 1 :]))
    return total


# ── where a history may end ───────────────────────────────────────────────────────────────────────────────────────────
@attrs.frozen
class End:
    """What is true of the payment once everything due was done."""

    state: ChargeState | None
    status: str
    order: str
    stock: str
    paid: bool
    given_up: bool
    given_back: tuple[int, int]
    """Minor units refunded and charged back."""
    cases: tuple[str, ...]

    @classmethod
    def of(cls, world: World, transaction_id: str) -> "End":
        """Where this world stands."""
        payment = world.payment
        charge = payment.charge(transaction_id)
        return cls(
            state=charge.state if charge else None,
            status=world.status.value,
            order=world.shop_order().status.value,
            stock=world.store.orders.held["o-1"].value,
            paid=payment.paid_by is not None,
            given_up=payment.closed is not None,
            given_back=(charge.refunded_minor, charge.charged_back_minor) if charge else (0, 0),
            cases=tuple(world.cases),
        )


_PAID = frozenset({Signal.CAPTURED, Signal.SETTLED})
_WAITS = {Signal.PENDING: "processing", Signal.CHALLENGED: "processing", Signal.AUTHORIZED: "authorized"}


def check_end(history: History, end: End) -> None:
    """The allowed ends of a history; more than one only where design 3 allows it."""
    last, words, why = history[-1].word, {step.word for step in history}, (history, end)
    reached = (end.state, end.status, end.order, end.stock)
    if last in _PAID:
        assert reached == (ChargeState(last.value), *_called(history[-1]), "consumed"), why
        assert end.given_back == _minor(history[-1]), why
        assert ("charged_back" in end.cases) == (history[-1].charged_back > 0), why
    elif last in _WAITS:
        assert reached == (ChargeState(last.value), _WAITS[last], "pending", "reserved"), why
    elif _PAID & words:
        # Money was there and is gone. Whoever saw it knows a reversal and asks a person; others see an ending.
        assert end.state in ENDED or (end.state is ChargeState.REVERSED and "reversed" in end.cases), why
        assert not end.paid, why
        assert end.order in ("pending", "cancelled"), why
    else:
        assert end.state in ENDED, why
        assert end.stock == ("released" if end.given_up else "reserved"), why
        assert end.order == ("cancelled" if end.given_up else "pending"), why
        if last is Signal.DENIED:
            assert not end.given_up, f"a decline never gives an order up: {why}"
        elif Signal.AUTHORIZED not in words:
            assert end.given_up, f"an unpaid page that ended is given up: {why}"


def _called(paid: Step) -> tuple[str, str]:
    """The status of the payment and of its order when the keeping charge stands so."""
    if paid.charged_back == PARTS:
        return "charged_back", "paid"
    if paid.refunded == PARTS:
        return "refunded", "refunded"
    return ("partially_refunded",) * 2 if paid.refunded or paid.charged_back else ("success", "paid")


def _minor(step: Step) -> tuple[int, int]:
    return step.refunded * AMOUNT_MINOR // PARTS, step.charged_back * AMOUNT_MINOR // PARTS


# ── the use cases, each distinct call once ────────────────────────────────────────────────────────────────────────────
def shop_with_a_try(confirm: Confirm, traits: GatewayTraits | None = None) -> tuple[World, str]:
    """A shop whose customer tried once to pay, and the id of that transaction; nobody was told of it yet."""
    traits = attrs.evolve(traits or GatewayTraits(), confirm=confirm, status_lag=timedelta(seconds=60))
    world = World(traits=traits, policy=Policy(expiry=timedelta(hours=72), poll=timedelta(days=2)))
    world.order()
    drive(world.service.start._pay(Click("o-1", ANYTHING, "alice", "alice")))
    assert world.payment.amount.amount_minor == AMOUNT_MINOR
    return world, world.gateway.buyer_tries(world.payment.attempt(1).token or "", Signal.PENDING)


def gateway_says(world: World, transaction: Transaction, *steps: Step) -> None:
    """The gateway's transaction went through these steps; a lagging answer shows the one before the last."""
    refunded, charged_back = (Money(minor, transaction.amount.currency) for minor in _minor(steps[-1]))
    words = tuple(step.word for step in steps)
    now = attrs.evolve(transaction, words=words, refunded=refunded, charged_back=charged_back)
    world.gateway.transactions[transaction.transaction_id] = now


@attrs.frozen
class _Row:
    """What decides of one stored notification; `asked` is the rank of the first open question that may answer it."""

    verdict: Verdict
    asked: int = 0
    tries: int = 0
    check_at: datetime | None = None


Rows = tuple[int, ...]
Open = tuple[int, ...]
"""Open questions, the oldest first: the word an answer will say, or `_NOT_ASKED`. Its place is a question's number."""
Situation = tuple[int, Rows, Open]
"""A payment, a row for each message sent so far, and the open questions."""


Value = TypeVar("Value")


class _Remembered(dict[tuple[Any, ...], Value]):
    """What `work` answers, asked once for each of its arguments."""

    def __init__(self, work: Callable[..., Value]) -> None:
        super().__init__()
        self.work = work

    def __missing__(self, arguments: tuple[Any, ...]) -> Value:
        self[arguments] = answer = self.work(*arguments)
        return answer


class _UseCases:
    """The real use cases over values that are numbered as they are met."""

    def __init__(self, confirm: Confirm, *, tries: bool, traits: GatewayTraits | None) -> None:
        self.world, self.transaction_id = shop_with_a_try(confirm, traits)
        self.transaction = self.world.gateway.transactions[self.transaction_id]
        self.tries, self.began_at = tries, self.world.clock.at
        self.messages, self.answers = list[Notification](), []
        for step in STEPS:
            gateway_says(self.world, self.transaction, step)
            self.messages.append(self.world.understood(self.transaction_id))
            self.answers.append(drive(self.world.gateway.read(self.transaction_id)))
        self._payments = dict[object, int]()
        self._payment_of = list[tuple[Payment, MemoryOrders]]()
        self._rows, self._row_of = dict[_Row | None, int](), list[_Row | None]()
        self.unseen = self._row_number(None)
        self.first = self.payment_in(self.world.store, ())
        self.deliver, self.arrive = _Remembered(self._deliver), _Remembered(self._arrive)
        self.payment_without = _Remembered(self._payment_without)
        self.rows_without, self.row_without = _Remembered(self._rows_without), _Remembered(self._row_without)
        self.ended = _Remembered(self._end)

    # ── what is stored, as numbers ────────────────────────────────────────────────────────────────────────────────
    def payment_in(self, store: MemoryStore, asked: tuple[int, ...]) -> int:
        """The number of the payment and the order in this store, when the questions of these numbers are open."""
        (payment,) = store.payments.rows.values()
        ranked = [attrs.evolve(c, reading_number=sum(n <= c.reading_number for n in asked)) for c in payment.charges]
        payment = attrs.evolve(
            payment,
            version=0,
            events=0,
            reading_number=len(asked) + 1,
            charges=tuple(ranked),
            cases=tuple(attrs.evolve(case, evidence={}) for case in payment.cases),
        )
        key = (payment, tuple(store.orders.orders.items()), tuple(store.orders.held.items()))
        number = self._payments.setdefault(key, len(self._payment_of))
        if number == len(self._payment_of):
            self._payment_of.append((payment, store.orders.copy()))
        return number

    def row_in(self, store: MemoryStore, word: int, asked: tuple[int, ...]) -> int:
        """The number of this message's row in this store, when the questions of these numbers are open."""
        kept = store.inbox.rows.get(self.messages[word].key)
        if kept is None:
            return self.unseen
        if kept.verdict in _ANSWERED:
            return self._row_number(_Row(Verdict.STALE))
        rank = 1 + sum(number < kept.asked for number in asked) if kept.verdict is Verdict.WAITING else 0
        tries = kept.tries if self.tries else 0
        check_at = kept.check_at if self.tries else kept.check_at and self.began_at
        return self._row_number(_Row(kept.verdict, rank, min(tries, len(REFUTE_AFTER)), check_at))

    def _row_number(self, row: _Row | None) -> int:
        number = self._rows.setdefault(row, len(self._row_of))
        if number == len(self._row_of):
            self._row_of.append(row)
        return number

    def _put(self, payment: int, rows: Iterable[tuple[int, int]]) -> str:
        """The world holds this payment and these rows, and nothing else happened; the payment's id."""
        stored, orders = self._payment_of[payment]
        store = self.world.store
        store.payments.rows, store.payments.events = {stored.payment_id: stored}, {}
        store.orders, store.inbox.rows = orders.copy(), {}
        for word, number in rows:
            if (row := self._row_of[number]) is not None:
                message = attrs.evolve(self.messages[word], says=None)
                store.inbox.rows[message.key] = Kept(notification=message, **attrs.asdict(row))
        self.world.errands.waiting.clear()
        self.world.clock.at = self.began_at
        return stored.payment_id

    # ── what happens ──────────────────────────────────────────────────────────────────────────────────────────────
    def _deliver(self, payment: int, opened: int, word: int, row: int) -> tuple[int, int, bool]:
        """Payment and row after this message came (again), and whether the newest open question is a new one.

        Other rows keep their rank: a new question may answer what none of the open ones does.
        """
        self._put(payment, [(word, row)])
        drive(self.world.service.receive.accept([self.messages[word]]))
        new = [command.number for command in self.world.errands.waiting if isinstance(command, AskCharge)]
        asked = (*range(1, opened + 1), *new)
        return self.payment_in(self.world.store, asked), self.row_in(self.world.store, word, asked), bool(new)

    def _arrive(self, payment: int, opened: int, place: int, says: int) -> tuple[int, "_Remembered[int]"]:
        """The payment after this answer to the open question at this place, and what it makes of each hint's row.

        The question is open no more.
        """
        reading = Reading(
            number=place + 1,
            asked_at=self.began_at,
            attempt=1,
            transaction_id=self.transaction_id,
            answer=self.answers[says],
        )
        asked = _others(opened, place)

        def apply(rows: list[tuple[int, int]]) -> int:
            drive(self.world.service.perform.ask.apply(self._put(payment, rows), reading))
            return self.payment_in(self.world.store, asked)

        def judge(word: int, row: int) -> int:
            assert apply([(word, row)]) == after, "what an answer does to the payment depends on no hint"
            return self.row_in(self.world.store, word, asked)

        after = apply([])
        return after, _Remembered(judge)

    def _payment_without(self, payment: int, opened: int, place: int) -> int:
        """The same payment, when the question at this place is open no more."""
        self._put(payment, [])
        return self.payment_in(self.world.store, _others(opened, place))

    def _rows_without(self, rows: Rows, opened: int, place: int) -> Rows:
        """The same rows, when the question at this place is open no more."""
        return tuple(self.row_without[row, opened, place] for row in rows)

    def _row_without(self, row: int, opened: int, place: int) -> int:
        self._put(self.first, [(0, row)])
        return self.row_in(self.world.store, 0, _others(opened, place))

    def end(self, history: History, payment: int, rows: Rows) -> End:
        """Where it ends when nothing more comes but what is due; the gateway is quiet and does not lag.

        If the last change was notified, that must be enough; only if every copy of it was lost, one poll reaches us.
        """
        waiting = [(STEPS.index(step), row) for step, row in zip(history, rows, strict=True) if not self._is_over(row)]
        return self.ended[history[-1], payment, tuple(waiting), rows[-1] != self.unseen]

    def _is_over(self, row: int) -> bool:
        known = self._row_of[row]
        return known is None or known.verdict is Verdict.STALE

    def _end(self, last: Step, payment: int, waiting: tuple[tuple[int, int], ...], notified: bool) -> End:
        payment_id = self._put(payment, waiting)
        gateway_says(self.world, self.transaction, last)
        if not notified:
            drive(self.world.service.perform.ask.page(payment_id, self.world.payment.attempt(1)))
        drive(self.world.do_errands())
        drive(self.world.pass_time(QUIET_FOR))
        return End.of(self.world, self.transaction_id)


def _others(opened: int, place: int) -> tuple[int, ...]:
    return tuple(number for number in range(1, opened + 1) if number != place + 1)


def _step_of(answer: Observation) -> Step:
    assert isinstance(answer.meaning, Signal)
    back = (answer.refunded, answer.charged_back)
    refunded, charged_back = (money.amount_minor * PARTS // AMOUNT_MINOR if money else 0 for money in back)
    return Step(answer.meaning, refunded, charged_back)


# ── the graph ─────────────────────────────────────────────────────────────────────────────────────────────────────────
class Explorer:
    """Walks every situation of these histories, which hold their own beginnings, and checks every end."""

    def __init__(
        self,
        confirm: Confirm,
        *,
        lag: bool,
        waiting: int = 1,
        tries: bool = False,
        traits: GatewayTraits | None = None,
    ) -> None:
        self.use_cases = _UseCases(confirm, tries=tries, traits=traits)
        self.lag, self.waiting_max = lag, waiting
        self.situations = self.moves = self.ends = 0
        self.reached = set[tuple[History, End]]()

    def explore(self, tree: Iterable[History], *, keep: bool = False) -> dict[History, set[Situation]]:
        """Every situation of every history, each end checked; returned when they are to be kept."""
        found = dict[History, set[Situation]]()
        entered = dict[History, set[Situation]]()
        tree = set(tree)
        todo = [history for history in tree if len(history) == 1]
        for history in todo:
            entered[history] = {(self.use_cases.first, (self.use_cases.unseen,), ())}
        while todo:
            history = todo.pop()
            known = self._walk(history, entered.pop(history))
            for step in history[-1].following:
                if (longer := (*history, step)) in tree:
                    entered[longer] = {(p, (*rows, self.use_cases.unseen), opened) for p, rows, opened in known}
                    todo.append(longer)
                    self.moves += len(known)
            if keep:
                found[history] = known
        return found

    def _walk(self, history: History, known: set[Situation]) -> set[Situation]:
        """Everything that can happen until the gateway's next step; `known` are the situations it begins with."""
        words, todo = tuple(STEPS.index(step) for step in history), list(known)
        while todo:
            situation = todo.pop()
            following = {*self._deliveries(words, situation), *self._answers(words, situation)}
            self.moves += len(following)
            new = following - known
            known |= new
            todo += new
            if not situation[2]:
                self._check(history, situation)
        self.situations += len(known)
        return known

    def known_as(
        self, store: MemoryStore, history: History, waiting: Iterable[AskCharge], in_flight: Iterable[Reading]
    ) -> Situation:
        """What a whole store with its open questions is called here; the gateway has come to the end of `history`."""
        says = {command.number: _NOT_ASKED for command in waiting}
        for reading in in_flight:
            assert reading.answer is not None
            says[reading.number] = STEPS.index(_step_of(reading.answer))
        asked, use = tuple(sorted(says)), self.use_cases
        rows = tuple(use.row_in(store, STEPS.index(step), asked) for step in history)
        return use.payment_in(store, asked), rows, tuple(says[number] for number in asked)

    def _check(self, history: History, situation: Situation) -> None:
        end = self.use_cases.end(history, situation[0], situation[1])
        self.ends += 1
        if (history, end) not in self.reached:
            check_end(history, end)
            self.reached.add((history, end))

    def _deliveries(self, words: tuple[int, ...], situation: Situation) -> Iterator[Situation]:
        """Each message sent so far, delivered (again); a question it asks waits behind all that are open."""
        (payment, rows, opened), deliver = situation, self.use_cases.deliver
        for message, word in enumerate(words):
            after, row, asks = deliver[payment, len(opened), word, rows[message]]
            changed = rows if row == rows[message] else (*rows[:message], row, *rows[message + 1 :])
            if not asks:
                yield after, changed, opened
            elif opened.count(_NOT_ASKED) < self.waiting_max:
                yield after, changed, (*opened, _NOT_ASKED)
            else:  # one answer serves every earlier question
                yield self._lost((after, changed, (*opened, _NOT_ASKED)), opened.index(_NOT_ASKED))

    def _answers(self, words: tuple[int, ...], situation: Situation) -> Iterator[Situation]:
        """Each open question leaves, or is answered, or is lost."""
        payment, rows, opened = situation
        in_flight = len(opened) - opened.count(_NOT_ASKED)
        for place, says in enumerate(opened):
            yield self._lost(situation, place)
            if says != _NOT_ASKED:
                yield self._answered(words, situation, place)
            elif in_flight < IN_FLIGHT_MAX:
                for seen in words[-2:] if self.lag else words[-1:]:
                    yield payment, rows, (*opened[:place], seen, *opened[place + 1 :])

    def _lost(self, situation: Situation, place: int) -> Situation:
        (payment, rows, opened), use = situation, self.use_cases
        still = opened[:place] + opened[place + 1 :]
        return use.payment_without[payment, len(opened), place], use.rows_without[rows, len(opened), place], still

    def _answered(self, words: tuple[int, ...], situation: Situation, place: int) -> Situation:
        payment, rows, opened = situation
        after, judge = self.use_cases.arrive[payment, len(opened), place, opened[place]]
        judged = tuple([judge[hint] for hint in zip(words, rows, strict=True)])
        return after, judged, opened[:place] + opened[place + 1 :]
