"""What must hold at every commit, and once everything is quiet; the gateway's ledger is the oracle."""

from collections import Counter
from collections.abc import Iterable
from itertools import chain

import attrs

from payments_core.decide import Verdict
from payments_core.facts import FactType
from payments_core.limits import OVER_AFTER
from payments_core.orders import OrderStatus, StockMove
from payments_core.payment import Attempt, AttemptState, Payment, RefundState
from payments_core.ports import DueKind, Kept
from payments_core.returns import refundable
from payments_core.states import ENDED, MONEY, CaseKind, ChargeState, Signal
from payments_core.status import PaymentStatus, order_status, status
from unit.simulation.bank import MANUAL
from unit.simulation.far_side import Transaction
from unit.simulation.money_back import (
    amounts,
    bookings,
    by_hand_minor,
    called_for_nothing,
    forgotten,
    goods_for_nothing,
    is_kept_by_a_person,
    never_left,
    sent_twice,
    wrongly_done,
)
from unit.simulation.workload import Workload

__all__ = ["Checks"]

_UNITS = 2
_SKEW_S = 240
"""Two processes may differ by so much about the time."""
_TERMINAL = frozenset(
    {
        PaymentStatus.SUCCESS,
        PaymentStatus.REFUNDED,
        PaymentStatus.PARTIALLY_REFUNDED,
        PaymentStatus.CHARGED_BACK,
        PaymentStatus.CANCELLED,
        PaymentStatus.EXPIRED,
    }
)


class Checks:
    """Watches one workload's world."""

    def __init__(self, work: Workload) -> None:
        self.work, self.world = work, work.world
        self.store = work.world.store
        self.tokens = set[str]()
        """Tokens that were ever stored, so that somebody may have been given them."""
        self.store.watchers.append(self._committed)
        self.store.inbox_watchers.append(self._judged)
        self.world.on_transaction.append(self._gateway_changed)

    def _must(self, true: bool, what: str) -> None:
        if not true:
            self.world.complain(what)

    def _all_of(self, *complaints: Iterable[str]) -> None:
        for what in chain(*complaints):
            self.world.complain(what)

    def _judged(self, before: Kept | None, after: Kept) -> None:
        """What was answered for good is never looked at again."""
        final = before is not None and before.verdict in (Verdict.APPLIED, Verdict.STALE, Verdict.QUARANTINED)
        same = before is None or before.verdict is after.verdict
        self._must(same or not final, f"a notification that was {before and before.verdict} became {after.verdict}")

    def statuses(self) -> tuple[str, ...]:
        """How every payment stands."""
        return tuple(status(payment).value for payment in self.store.committed.payments.values())

    # ── at every commit ───────────────────────────────────────────────────────────────────────────────────────────
    def _committed(self, changed: dict[str, tuple[Payment | None, Payment]]) -> None:
        for before, after in changed.values():
            was = before.version if before else 0
            self._must(after.version in (was, was + 1), f"lost update: version {was} became {after.version}")
            if after.version != was:
                self._check_history(after)
                self._check_order(after)
                self._check_stock(after.order_id)
                self._check_pages(after)
                self._check_refunds(before, after)
                for charge in after.charges:
                    if after.refunds and (transaction := self.world.transactions.get(charge.transaction_id)):
                        self._all_of(sent_twice(after, transaction, self.world.by_hand[transaction.transaction_id]))
                self._all_of(bookings(self.world, after), goods_for_nothing(before, after), never_left(before, after))
                kept = after.keeping_charge
                self._must(kept is None or kept.has_money, "kept by a charge without money")
                self._must(after.closed is None or after.payable_attempt is None, "given up with a payable page")

    def _check_history(self, payment: Payment) -> None:
        """What was published adds up to what is stored."""
        events = self.store.committed.events.get(payment.payment_id, ())
        self._must([e.sequence for e in events] == [*range(1, payment.events + 1)], "the history has a gap")
        count = Counter(event.type for event in events)
        paid, reversed_ = count[FactType.ORDER_PAID], count[FactType.PAYMENT_REVERSED]
        self._must(paid - reversed_ == (payment.paid_by is not None), f"paid {paid} times, reversed {reversed_} times")
        consumed, released = count[FactType.STOCK_CONSUMED], count[FactType.STOCK_RELEASED]
        self._must(consumed <= 1 + released, "stock consumed twice")
        self._must(count[FactType.STOCK_RESERVED] <= 1 + released, "stock reserved twice")
        self._must(released <= count[FactType.STOCK_RESERVED], "stock released twice for one reservation")
        for fact, sign, total in (
            (
                FactType.PAYMENT_REFUNDED,
                FactType.PAYMENT_REFUND_RETURNED,
                sum(c.refunded_minor for c in payment.charges),
            ),
            (
                FactType.PAYMENT_CHARGED_BACK,
                FactType.PAYMENT_CHARGE_BACK_RETURNED,
                sum(c.charged_back_minor for c in payment.charges),
            ),
        ):
            told = sum(
                _minor(event.data["amount"]) * (-1 if event.type is sign else 1)
                for event in events
                if event.type in (fact, sign)
            )
            self._must(told == total, f"{fact.value} adds up to {told}, stored is {total}")

    def _check_order(self, payment: Payment) -> None:
        order = self.store.committed.orders[payment.order_id]
        self._must(order.status is order_status(payment), f"the order is {order.status.value}, not as its payment says")
        held = self.store.committed.held.get(payment.order_id)
        events = self.store.committed.events.get(payment.payment_id, ())
        moves = [event.type.value.removeprefix("stock.") for event in events if event.type.value.startswith("stock.")]
        told = StockMove(moves[-1]) if moves else StockMove.RESERVED
        self._must(told is held, f"stock is {held}, the history says {told}")

    def _check_stock(self, order_id: str) -> None:
        released = self.store.committed.held[order_id] is StockMove.RELEASED
        left = self.store.committed.available[f"book-{order_id}"]
        wanted = self.work.stock[order_id] - (0 if released else _UNITS)
        self._must(left == wanted, f"{left} units are left, not {wanted}")

    def _check_pages(self, payment: Payment) -> None:
        """A page we call dead is dead at the gateway, or an hour past its end.

        Not one whose newest token nobody was ever given: the answer that brought it got lost.
        """
        now = self.world.loop.time()
        self.tokens |= {attempt.token for attempt in payment.attempts if attempt.token is not None}
        for attempt in payment.attempts:
            page = self.world.page(attempt)
            if attempt.state is not AttemptState.DEAD or page is None or not self.world.is_payable(attempt):
                continue
            over = now >= page.ends_at + OVER_AFTER.total_seconds() - _SKEW_S
            seen = page.tokens[-1] in self.tokens
            self._must(over or not seen, f"{attempt.provider_order_id} is called dead and can be paid")
        self._check_one_page(payment)

    def _check_one_page(self, payment: Payment) -> None:
        """Two pages that can be paid are how one order is charged twice."""
        payable = []
        for attempt in payment.attempts:
            page = self.world.page(attempt)
            if page is None or not self.world.is_payable(attempt) or self._has_money(attempt):
                continue
            if page.tokens[-1] in self.tokens or attempt.is_payable:
                payable.append(attempt.provider_order_id)
        self._must(len(payable) <= 1, f"two pages can be paid: {payable}")

    def _has_money(self, attempt: Attempt) -> bool:
        tries = self.world.ledgers[attempt.provider].tries(attempt.provider_order_id)
        return any({Signal.CAPTURED, Signal.SETTLED} & set(t.words) for t in tries)

    def _check_refunds(self, before: Payment | None, after: Payment) -> None:
        """We never ask for more than is left, and a request makes one refund."""
        known = {refund.key for refund in before.refunds} if before else set()
        asked = [r for r in after.refunds if r.key not in known and r.state is RefundState.REQUESTED]
        if asked:
            without = attrs.evolve(after, refunds=tuple(r for r in after.refunds if r not in asked))
            for charge in after.charges:
                wanted = sum(r.amount.amount_minor for r in asked if r.transaction_id == charge.transaction_id)
                left = refundable(without, charge).amount_minor
                self._must(wanted <= left, f"{wanted} is asked back of {left} left of {charge.transaction_id}")
        named = Counter(refund.asked_as for refund in after.refunds if refund.asked_as)
        self._must(max(named.values(), default=1) == 1, f"one request, two refunds: {named}")

    # ── at every change of the gateway ────────────────────────────────────────────────────────────────────────────
    def _gateway_changed(self, transaction: Transaction) -> None:
        payment = next(
            (p for p in self.store.committed.payments.values() if p.attempt_named(transaction.order_id)), None
        )
        self._must(payment is not None, "the gateway has a transaction of no payment of ours")
        if payment is None:
            return
        self._all_of(sent_twice(payment, transaction, self.world.by_hand[transaction.transaction_id]))
        given = transaction.now.refunded("pending") + transaction.now.charged_back
        self._must(given <= transaction.now.minor, f"{given} of {transaction.now.minor} went back")

    # ── at the end ────────────────────────────────────────────────────────────────────────────────────────────────
    def at_the_end(self) -> None:
        """Everything the gateway knows is known here, and nothing is left hanging."""
        for order_id, order in self.store.committed.orders.items():
            payment = self.world.payment_of(order_id)
            if payment is None:
                self._must(order.status is OrderStatus.CANCELLED, "an order nobody clicked was not given up")
                continue
            for transaction in self.world.transactions.values():
                if payment.attempt_named(transaction.order_id) is not None:
                    self._check_charge(payment, transaction)
            self._check_rest(payment)
            self._check_end(payment)
            self._all_of(forgotten(self.world, payment), called_for_nothing(payment))
            if self.world.hearer is not None and (
                told := self.world.hearer.complaint(payment.payment_id, payment.events)
            ):
                self._must(False, told)
        for kept in self.store.committed.inbox.values():
            hanging = kept.verdict in (Verdict.WAITING, Verdict.UNMATCHED, Verdict.QUARANTINED)
            of_bank = kept.notification.key.provider == MANUAL
            if kept.verdict is Verdict.QUARANTINED and (of_bank or b'"forged": true' in kept.notification.body):
                hanging = False  # an amount that never went with its word: somebody was called, and rightly
            self._must(not hanging, f"a notification is {kept.verdict.value}: {kept.notification.body!r}")
        self._must(self.store.next_due() is None, f"still due: {[*self.still_due()]}")

    def still_due(self) -> list[str]:
        """What is due, and when."""
        return [f"{due.kind.value} {due.part} at {at}" for kind in DueKind for at, due in self.store.due(kind)]

    def _check_charge(self, payment: Payment, transaction: Transaction) -> None:
        """The charge stands where the transaction stands; the ended ones are one class."""
        charge, truth = payment.charge(transaction.transaction_id), transaction.now
        name = transaction.transaction_id
        if charge is None:
            self._must(False, f"{name} is {truth.word.value} at the gateway and unknown here")
            return
        last = ChargeState(truth.word.value)
        if last in ENDED:
            ended = charge.state in ENDED | {ChargeState.REVERSED} or charge.left_minor == 0
            self._must(ended, f"{name} is {truth.word.value} at the gateway and {charge.state.value} here")
            return
        self._must(charge.state is last, f"{name} is {truth.word.value} at the gateway and {charge.state.value} here")
        if self.world.ledger_of(transaction).names_refunds:
            for key, _, _ in truth.refunds:
                self._must(payment.refund(key) is not None, f"money went back under {key}, which is not known here")
        if last in MONEY:
            self._check_disputes(payment, transaction)
            self._must(
                charge.captured_minor == truth.minor, f"{name}: captured {charge.captured_minor}, not {truth.minor}"
            )
            named = self.world.ledger_of(transaction).names_refunds
            self._all_of(wrongly_done(payment, transaction, named=named), amounts(payment, charge, transaction))

    def _check_disputes(self, payment: Payment, transaction: Transaction) -> None:
        """Whoever may be fought with is told, each time."""
        for dispute in transaction.now.disputes:
            told = any(
                case.kind is CaseKind.DISPUTE_OPEN
                and (case.is_open or case.evidence.get("dispute") == dispute.dispute_id)
                for case in payment.cases
            )
            self._must(told or dispute.status in ("won", "lost"), f"nobody was told of {dispute.dispute_id}")

    def _check_rest(self, payment: Payment) -> None:
        """No refund hangs between heaven and earth, no page stays half closed."""
        cases = {case.transaction_id for case in payment.cases}
        for refund in payment.refunds:
            hanging = refund.state in (RefundState.REQUESTED, RefundState.SENT, RefundState.UNKNOWN)
            self._must(not hanging or refund.transaction_id in cases, f"{refund.key} is {refund.state.value}")
            name = refund.transaction_id
            transaction = self.world.transactions[name]
            told = next((news for key, _, news in transaction.now.refunds if key == refund.key), None)
            lost = told == "confirmed" and refund.state is RefundState.REFUSED
            came_back = refund.state is RefundState.RETURNED and refund.by != "gateway"
            said = any((c.kind, c.transaction_id) == (CaseKind.REFUND_RETURNED, name) for c in payment.cases)
            self._must(said or not came_back, f"{refund.key} came back, and nobody was told")
            self._must(not lost, f"{refund.key} is {refund.state.value}, and was given back")
        held = any(c.state in (ChargeState.CHALLENGED, ChargeState.AUTHORIZED) for c in payment.charges)
        for attempt in payment.attempts:
            closing = attempt.state is AttemptState.CLOSING and not held
            self._must(not closing and attempt.state is not AttemptState.OPENING, f"a page is {attempt.state.value}")
        for charge in payment.charges:
            self._must(charge.due is None, f"{charge.transaction_id} is still to be {charge.due}")

    def _check_end(self, payment: Payment) -> None:
        """Terminal, payable, or in a case; paid once, with every other money returned or in a case."""
        stands = status(payment)
        told = {c.transaction_id for c in payment.cases if c.is_open or is_kept_by_a_person(c)}
        settled = stands in _TERMINAL or bool(payment.open_cases)
        held = stands is PaymentStatus.AUTHORIZED
        self._must(settled or held, f"{payment.order_id} ends {stands.value}, and nobody is called")
        mine = [t for t in self.world.transactions.values() if payment.attempt_named(t.order_id) is not None]
        with_money = {t.transaction_id for t in mine if t.left_minor > by_hand_minor(payment, t)}
        others = with_money - {payment.paid_by} - told
        self._must(not others, f"money is kept silently: {sorted(others)}")
        if payment.paid_by is not None:
            alive = [t.transaction_id for t in mine if t.now.word in (Signal.PENDING, Signal.AUTHORIZED)]
            self._must(not alive, f"beside a paid order {alive} can still be paid")
            held_as = self.store.committed.held[payment.order_id]
            self._must(held_as is StockMove.CONSUMED, f"a paid order's stock is {held_as.value}")
        for attempt in payment.attempts:
            payable = self.world.is_payable(attempt) and attempt.state is AttemptState.OPEN
            self._must(not payable or payment.paid_by is None, "a paid order has a page that can be paid")


def _minor(major: object) -> int:
    whole, _, cents = str(major).partition(".")
    return int(whole) * 100 + int((cents + "00")[:2])
