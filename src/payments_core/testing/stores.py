"""What every store must do: the `Store` port, with its payments, its inbox and its due work.

Orders are another port (`order_books`); a store that keeps the shop's orders as well proves both in one class:

    class TestMyStore(StoreContract, OrderRegistryContract):
        @pytest.fixture
        def store(self) -> MyStore:
            return MyStore(...)

`Store.find` needs an order to find, and the port has no method that makes one: a class with a `shop` fixture, a
`Shopkeeper` over the same store, proves it too. `OrderRegistryContract` brings one.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import attrs
import pytest

from payments_core.decide import Verdict
from payments_core.errors import StaleWrite
from payments_core.facts import Event
from payments_core.identity import provider_order_id
from payments_core.observations import Observation
from payments_core.payment import AttemptState, Case, CaseDecision, Charge, ChargeDue, Payment, Refund, RefundState
from payments_core.ports import (
    Change,
    Due,
    DueKind,
    Kept,
    Notification,
    NotificationKey,
    OrderPayment,
    PaymentFilter,
    Store,
)
from payments_core.states import CaseKind, ChargeState, Signal
from payments_core.status import PaymentStatus
from payments_core.testing.full import bare, full_payment
from payments_core.testing.order_books import Shopkeeper
from payments_core.testing.samples import LATER, NOW, arrived, event, notification, payment

__all__ = ["StoreContract"]

FIRST, SECOND = payment(1).payment_id, payment(2).payment_id
READING_S = 10
"""A reading that waits for the writer beside it would wait for ever; seconds."""
DUE_PARTS: Mapping[DueKind, str] = {
    DueKind.NOTIFICATION: "",
    DueKind.ATTEMPT: "1",
    DueKind.CHARGE: "tx",
    DueKind.REFUND: "r-1",
    DueKind.DEADLINE: "",
}
"""The part that is due, of each kind but ORDER: an order belongs to its order book, and proves itself there."""
FILTERED: Mapping[str, Sequence[tuple[Any, Sequence[int]]]] = {
    "status": [(PaymentStatus.PENDING, [6, 4, 2, 1]), (PaymentStatus.SUCCESS, [5]), (PaymentStatus.REFUNDED, [])],
    "provider": [("midtrans", [6, 5, 4, 2, 1]), ("stripe", [3]), ("nobody", [])],
    "order_id": [("o-3", [3]), ("o-9", [])],
    "created_from": [(LATER, [6]), (NOW, [6, 5, 4, 3, 2, 1])],
    "created_to": [(LATER, [5, 4, 3, 2, 1]), (NOW, [])],
    "needs_review": [(True, [2]), (False, [6, 5, 4, 3, 1])],
}
"""Which of `different_payments` a filter leaves, newest first."""


class StoreContract:
    """Inherit it, and give a `store` fixture: a `Store` with nothing in it."""

    pytestmark = pytest.mark.asyncio

    # ── transactions ──────────────────────────────────────────────────────────────────────────────────────────────
    async def test_what_is_not_committed_did_not_happen(self, store: Store) -> None:
        """A process that dies in the middle leaves nothing half done."""
        async with store.transaction() as uow:
            await uow.payments.save([Change(None, payment(), [event(payment(), 1)])])
            await uow.inbox.put([arrived(notification())])
        await self._nothing_is_stored(store)

    async def test_an_exception_undoes_everything(self, store: Store) -> None:
        """A webhook that failed is sent again, and must find the world as it was."""
        with pytest.raises(RuntimeError, match="broken"):
            await self._break_after_writing(store)
        await self._nothing_is_stored(store)

    async def _break_after_writing(self, store: Store) -> None:
        async with store.transaction() as uow:
            await uow.payments.save([Change(None, payment(), [event(payment(), 1)])])
            await uow.inbox.put([arrived(notification())])
            raise RuntimeError("broken")

    async def _nothing_is_stored(self, store: Store) -> None:
        async with store.reading() as uow:
            assert await uow.payments.load([payment().payment_id]) == {}
            assert await uow.payments.history(payment().payment_id, after=0, limit=9) == []
            assert await uow.inbox.load([notification().key]) == []

    # ── payments ──────────────────────────────────────────────────────────────────────────────────────────────────
    async def test_a_payment_comes_back_as_it_was_saved(self, store: Store) -> None:
        """Value for value; unknown ids are left out, and the version is the first."""
        made = payment()
        stored = await self.saved(store, made)
        async with store.reading() as uow:
            assert await uow.payments.load([made.payment_id, "unknown"]) == {made.payment_id: stored}
        assert stored == attrs.evolve(made, version=1)

    async def test_a_stale_write_changes_nothing(self, store: Store) -> None:
        """Two servers decided on the same payment: the second one has to look again."""
        stored = await self.saved(store, payment())
        newer = attrs.evolve(stored, paid_at=NOW)
        await self.saved(store, newer, before=stored)
        with pytest.raises(StaleWrite):
            await self.saved(store, attrs.evolve(stored, paid_at=LATER), before=stored)
        async with store.reading() as uow:
            (found,) = (await uow.payments.load([stored.payment_id])).values()
        assert (found.paid_at, found.version) == (NOW, 2)

    async def test_a_payment_cannot_be_made_twice(self, store: Store) -> None:
        """Two first clicks, two payments, two pages: only one may be stored."""
        await self.saved(store, payment())
        with pytest.raises(StaleWrite):
            await self.saved(store, payment())

    async def test_children_are_added_and_changed(self, store: Store) -> None:
        """Attempts, charges, refunds and cases are stored with their payment."""
        stored = await self.saved(store, payment())
        charge = Charge(transaction_id="tx", attempt=1, state=ChargeState.PENDING, amount=stored.amount)
        with_charge = await self.saved(store, stored.with_charge(charge), before=stored)
        settled = attrs.evolve(charge, state=ChargeState.SETTLED, captured_minor=10_000_000)
        changed = await self.saved(store, with_charge.with_charge(settled), before=with_charge)
        async with store.reading() as uow:
            assert await uow.payments.load([stored.payment_id]) == {stored.payment_id: changed}

    async def test_no_field_of_a_payment_is_lost(self, store: Store) -> None:
        """Not when it is made, not when everything about it changed, and not when there is nothing to say any more."""
        stored: Payment | None = None
        for version, said in enumerate((full_payment(), full_payment(turn=1), bare(full_payment(turn=1))), start=1):
            wanted = attrs.evolve(said, version=version, events=version)
            after, events = attrs.evolve(wanted, version=version - 1), [event(wanted, version)]
            assert await self.saved(store, after, before=stored, events=events) == wanted
            for read in await self.read_in_every_way(store, wanted.payment_id):
                assert read == wanted
            stored = wanted

    async def read_in_every_way(self, store: Store, payment_id: str) -> list[Payment]:
        """The only payment there is: loaded, locked, listed."""
        async with store.reading() as uow:
            loaded = await uow.payments.load([payment_id])
        async with store.reading() as uow:
            listed = await uow.payments.newest(PaymentFilter(), before=None, limit=9)
        async with store.transaction() as uow:
            locked = await uow.payments.lock([payment_id])
        return [loaded[payment_id], *listed, locked[payment_id]]

    async def test_what_is_not_committed_is_seen_by_nobody_else(self, store: Store) -> None:
        """A buyer must not read that an order is paid before it is; nor does a reader wait for the writer."""
        made = await self.saved(store, payment())
        async with store.transaction() as uow:
            await uow.payments.lock([made.payment_id])
            await uow.payments.save([Change(made, attrs.evolve(made, paid_at=NOW), [event(made, 1)])])
            await uow.payments.save([Change(None, payment(2), [])])
            await uow.inbox.put([arrived(notification())])
            async with asyncio.timeout(READING_S), store.reading() as reading:
                assert await reading.payments.load([FIRST, SECOND]) == {FIRST: made}
                assert await reading.payments.history(FIRST, after=0, limit=9) == []
                assert await reading.payments.newest(PaymentFilter(), before=None, limit=9) == [made]
                assert await reading.inbox.load([notification().key]) == []
            await uow.commit()
        async with store.reading() as reading:
            assert (await reading.payments.load([FIRST]))[FIRST].paid_at == NOW

    async def test_the_payment_of_an_order_is_found(self, store: Store, orders_in: Shopkeeper) -> None:
        """What the buyer's browser asks for, again and again: the whole payment, as it stands now."""
        order_id = await orders_in.place(units=2, left=3, at=NOW)
        async with store.reading() as uow:
            order = await uow.orders.get(order_id)
        assert order is not None
        assert await store.find(order_id) == OrderPayment(order.customer.id, None)
        full, changed = (full_payment(turn=turn) for turn in (0, 1))
        async with store.transaction() as uow:
            assert await uow.orders.claim(order_id, full.payment_id)
            (stored,) = (await uow.payments.save([Change(None, attrs.evolve(full, order_id=order_id), [])])).values()
            await uow.commit()
        assert await store.find(order_id) == OrderPayment(order.customer.id, stored)
        newer = attrs.evolve(changed, order_id=order_id, version=stored.version)
        stored = await self.saved(store, newer, before=stored)
        assert await store.find(order_id) == OrderPayment(order.customer.id, stored)
        bound = attrs.evolve(bare(stored), events=1)
        stored = await self.saved(store, bound, before=stored, events=[event(bound, 1)])
        assert await store.find(order_id) == OrderPayment(order.customer.id, stored)

    async def test_the_payment_of_an_order_nobody_placed_is_none(self, store: Store) -> None:
        """A link with somebody's typing error is answered 404, and is no crash."""
        await self.saved(store, payment())
        assert await store.find("nobody-placed-this") is None

    @pytest.fixture
    def orders_in(self, request: pytest.FixtureRequest) -> Shopkeeper:
        """Who places orders in the store, if the test module says it."""
        try:
            shop = request.getfixturevalue("shop")
        except pytest.FixtureLookupError:
            pytest.skip("Store.find is not proved: give a `shop` fixture, a Shopkeeper whose orders are in this store")
        assert isinstance(shop, Shopkeeper)
        return shop

    async def test_history_is_appended_in_order_and_paged(self, store: Store) -> None:
        """The history is what is shown to a person when money is in doubt."""
        made = payment()
        await self.saved(store, made, events=[event(made, 1), event(made, 2), event(made, 3)])
        async with store.reading() as uow:
            assert [e.sequence for e in await uow.payments.history(made.payment_id, after=1, limit=1)] == [2]
            assert await uow.payments.history(made.payment_id, after=0, limit=9) == [event(made, n) for n in (1, 2, 3)]

    async def test_numbers_of_questions_never_repeat(self, store: Store) -> None:
        """An answer that was overtaken is known by its number; no save gives one out again."""
        made = await self.saved(store, payment())
        taken = []
        for _ in range(3):
            async with store.transaction() as uow:
                taken.append((await uow.payments.take_numbers([made.payment_id, "unknown"]))[made.payment_id])
                (locked,) = (await uow.payments.lock([made.payment_id])).values()
                await uow.payments.save([Change(locked, attrs.evolve(locked, paid_at=NOW), [])])
                await uow.commit()
        assert taken == [1, 2, 3]

    async def test_lists_are_newest_first_and_paged(self, store: Store) -> None:
        """Pages that miss nothing."""
        for number in range(1, 6):
            await self.saved(store, payment(number))
        async with store.reading() as uow:
            first = await uow.payments.newest(PaymentFilter(), before=None, limit=2)
            rest = await uow.payments.newest(PaymentFilter(), before=first[-1].payment_id, limit=9)
        assert [p.order_id for p in (*first, *rest)] == ["o-5", "o-4", "o-3", "o-2", "o-1"]

    async def test_each_filter_of_a_list_leaves_what_fits(self, store: Store) -> None:
        """An operator who asks for what needs a person must see that, and all of that; the filters add up."""
        assert {field.name for field in attrs.fields(PaymentFilter)} == set(FILTERED), "a filter nobody proved"
        for made in self.different_payments():
            await self.saved(store, made)
        async with store.reading() as uow:
            for name, cases in FILTERED.items():
                for value, numbers in cases:
                    wanted = attrs.evolve(PaymentFilter(), **{name: value})
                    fit = await uow.payments.newest(wanted, before=None, limit=9)
                    assert (name, value, [p.order_id for p in fit]) == (name, value, [f"o-{n}" for n in numbers])
            calm = PaymentFilter(
                status=PaymentStatus.PENDING, provider="midtrans", created_to=LATER, needs_review=False
            )
            assert [p.order_id for p in await uow.payments.newest(calm, before=None, limit=1)] == ["o-4"]
            older = await uow.payments.newest(calm, before=payment(4).payment_id, limit=9)
            assert [p.order_id for p in older] == ["o-1"]

    def different_payments(self) -> list[Payment]:
        """Six payments, each unlike the first in one thing that a list can ask for."""
        first, reviewed, elsewhere, settled_case, paid, late = (payment(number) for number in range(1, 7))
        case = Case(number=1, kind=CaseKind.LATE_PAYMENT, transaction_id=None, opened_at=NOW)
        decided = attrs.evolve(case, decision=CaseDecision.DISMISS, decided_by="operator:ani", decided_at=NOW)
        dead = attrs.evolve(elsewhere.attempt(1), state=AttemptState.DEAD)
        named = provider_order_id(elsewhere.payment_id, 2)
        other = attrs.evolve(dead, number=2, provider="stripe", provider_order_id=named)
        charge = Charge(
            transaction_id="tx", attempt=1, state=ChargeState.SETTLED, amount=paid.amount, captured_minor=10_000_000
        )
        return [
            first,
            attrs.evolve(reviewed, cases=(case,)),
            elsewhere.with_attempt(dead).with_attempt(other),
            attrs.evolve(settled_case, cases=(decided,)),
            attrs.evolve(paid.with_charge(charge), paid_by="tx", paid_at=NOW),
            attrs.evolve(late, created_at=LATER),
        ]

    async def test_a_transaction_belongs_to_the_payment_that_bound_it_first(self, store: Store) -> None:
        """Where a status answer does not name our order id, this says whose money it is."""
        async with store.transaction() as uow:
            assert await uow.payments.bind(FIRST, "midtrans", "default", "tx")
            await uow.commit()
        async with store.transaction() as uow:
            assert await uow.payments.bind(FIRST, "midtrans", "default", "tx")
            assert not await uow.payments.bind(SECOND, "midtrans", "default", "tx")
            assert await uow.payments.bind(SECOND, "stripe", "default", "tx")
            assert await uow.payments.bind(SECOND, "midtrans", "second", "tx")

    # ── notifications ─────────────────────────────────────────────────────────────────────────────────────────────
    async def test_whose_a_bound_transaction_is_can_be_asked(self, store: Store) -> None:
        """Some messages name the transaction alone, and its owner is who is meant."""
        async with store.transaction() as uow:
            await uow.payments.bind(FIRST, "stripe", "default", "pi_1")
            await uow.payments.bind(SECOND, "stripe", "default", "pi_2")
            await uow.payments.bind(SECOND, "midtrans", "default", "pi_3")
            await uow.commit()
        async with store.reading() as uow:
            asked = ["pi_2", "pi_1", "pi_3", "nobody's"]
            assert await uow.payments.owners("stripe", "default", asked) == {"pi_1": FIRST, "pi_2": SECOND}
            assert await uow.payments.owners("stripe", "second", asked) == {}
            assert await uow.payments.owners("stripe", "default", []) == {}

    async def test_a_hint_that_named_no_payment_waits_for_the_transaction_it_named(self, store: Store) -> None:
        """The answer about its transaction is its answer, whoever's payment that turned out to be."""
        hint = notification(1, "", "pi_1")
        await self.put(store, [arrived(hint, Verdict.WAITING, asked=1)])
        async with store.transaction() as uow:
            assert [k.notification.key for k in await uow.inbox.waiting([FIRST], ["pi_1"])] == [hint.key]
            assert await uow.inbox.waiting([FIRST], ["pi_2"]) == []

    async def test_a_notification_is_stored_once_and_counted(self, store: Store) -> None:
        """Gateways repeat themselves; whoever stores the same bytes a second time changes nothing but their number."""
        first, second = notification(1), notification(2)
        await self.put(store, [arrived(first, Verdict.APPLIED, times=2), arrived(second)])
        await self.put(store, [arrived(first, Verdict.QUARANTINED)])
        async with store.transaction() as uow:
            found = {kept.notification.key: kept for kept in await uow.inbox.lock([first.key, second.key])}
        assert [(found[n.key].verdict, found[n.key].times) for n in (first, second)] == [
            (Verdict.APPLIED, 3),
            (Verdict.STALE, 1),
        ]
        assert not any(kept.fresh for kept in found.values())

    @pytest.mark.parametrize("other", [{"provider": "stripe"}, {"account": "second"}, {"shard": SECOND}])
    async def test_the_same_bytes_of_another_gateway_are_another_notification(
        self, store: Store, other: dict[str, str]
    ) -> None:
        """The key is the payment they name, provider, account and digest, not the digest alone."""
        first = notification(1)
        other_one = attrs.evolve(first, key=attrs.evolve(first.key, **other))
        await self.put(store, [arrived(first)])
        async with store.transaction() as uow:
            assert await uow.inbox.lock([other_one.key]) == []
            await uow.inbox.put([arrived(other_one)])
            await uow.commit()
        async with store.transaction() as uow:
            assert [kept.times for kept in await uow.inbox.lock([first.key, other_one.key])] == [1, 1]
            assert await uow.inbox.lock([]) == []

    async def test_no_field_of_a_notification_is_lost(self, store: Store) -> None:
        """Its bytes are all the proof there is; what was made of them may change, and is read back by every way."""
        key = NotificationKey(FIRST, "stripe", "second", "d" * 64)
        told = Notification(key=key, body=b"\x00{\xff", received_at=LATER, transaction_id="pi_1")
        kept = Kept(
            notification=told,
            verdict=Verdict.WAITING,
            reason="asked",
            asked=1,
            tries=2,
            times=3,
            check_at=NOW,
            fresh=True,
        )
        changed = attrs.evolve(kept, reason="again", asked=4, tries=5, times=6, check_at=LATER, fresh=False)
        ended = attrs.evolve(changed, verdict=Verdict.APPLIED, reason="", check_at=None)
        for wanted in (kept, changed, ended):
            await self.put(store, [wanted])
            async with store.transaction() as uow:
                loaded, locked = await uow.inbox.load([key]), await uow.inbox.lock([key])
                waiting = await uow.inbox.waiting([FIRST], [])
            assert loaded == locked == [attrs.evolve(wanted, fresh=False)]
            assert waiting == ([] if wanted is ended else loaded)

    async def test_what_was_nobodys_and_is_said_anew_takes_the_place_of_what_was_said(self, store: Store) -> None:
        """A slip in a reference is corrected under the same name; the right bytes are the ones that are asked for."""
        slip = notification(1)
        await self.put(store, [arrived(slip, Verdict.UNMATCHED)])
        says = Observation(provider="midtrans", provider_order_id=None, transaction_id="tx-2", meaning=Signal.SETTLED)
        anew = attrs.evolve(slip, body=b'{"right": 1}', transaction_id="tx-2", says=says)
        await self.put(store, [attrs.evolve(arrived(anew, Verdict.APPLIED, times=2), fresh=False)])
        async with store.transaction() as uow:
            (found,) = await uow.inbox.load([slip.key])
        assert (found.notification.body, found.notification.transaction_id) == (b'{"right": 1}', "tx-2")
        assert (found.verdict, found.times, found.notification.received_at) == (Verdict.APPLIED, 2, slip.received_at)

    async def test_a_verdict_is_kept_and_waiting_hints_are_found_by_transaction(self, store: Store) -> None:
        """One answer of the gateway serves every hint of its transaction that waits."""
        shard = payment().payment_id
        hints = [notification(n, shard, "tx" if n < 3 else "other") for n in (1, 2, 3)]
        waiting = [arrived(hint, Verdict.WAITING, asked=4, tries=1, check_at=LATER, reason="asked") for hint in hints]
        await self.put(store, waiting)
        async with store.transaction() as uow:
            found = [k for k in await uow.inbox.waiting([shard], ["tx"]) if k.notification.transaction_id == "tx"]
            assert [(k.notification.body, k.asked, k.tries, k.check_at) for k in found] == [
                (hints[0].body, 4, 1, LATER),
                (hints[1].body, 4, 1, LATER),
            ]
        await self.put(store, [attrs.evolve(waiting[0], fresh=False, verdict=Verdict.APPLIED, check_at=None)])
        async with store.transaction() as uow:
            left = await uow.inbox.waiting([shard], ["tx"])
            assert {k.notification.body for k in left} == {h.body for h in hints[1:]}
            assert await uow.inbox.waiting([payment(2).payment_id], ["other"]) == []
            (applied,) = await uow.inbox.load([hints[0].key])
        assert (applied.verdict, applied.reason) == (Verdict.APPLIED, "asked")

    async def test_the_number_of_a_question_is_kept_and_nothing_else(self, store: Store) -> None:
        """To be asked about is no change of a payment: no version, nothing in its history; the next number follows."""
        made = await self.saved(store, payment(), events=[event(payment(), 1)])
        async with store.transaction() as uow:
            (locked,) = (await uow.payments.lock([made.payment_id])).values()
            await uow.payments.keep_numbers([attrs.evolve(locked, reading_number=7, deadline_at=LATER)])
            await uow.commit()
        async with store.transaction() as uow:
            (found,) = (await uow.payments.lock([made.payment_id])).values()
            assert found == attrs.evolve(locked, reading_number=7)
            assert len(await uow.payments.history(made.payment_id, after=0, limit=9)) == 1
            assert await uow.payments.take_numbers([made.payment_id]) == {made.payment_id: 8}

    # ── due work ──────────────────────────────────────────────────────────────────────────────────────────────────
    async def test_due_rows_are_claimed_once_until_the_lease_ends(self, store: Store) -> None:
        """A worker that died gives its rows back; until then nobody else has them."""
        made = self.due_payment()
        await self.saved(store, made)
        hint = notification(1, made.payment_id)
        await self.put(store, [arrived(hint, Verdict.WAITING, check_at=NOW)])
        for kind, part in DUE_PARTS.items():
            (due,) = await self.claimed(store, kind, NOW)
            assert (due.kind, due.id, due.part) == (kind, made.payment_id, part)
            assert due.key == (hint.key if kind is DueKind.NOTIFICATION else None)
            assert await self.claimed(store, kind, NOW) == []
            assert len(await self.claimed(store, kind, LATER)) == 1

    def due_payment(self) -> Payment:
        """A payment of which everything is due, now."""
        made = payment(deadline_at=NOW)
        page = attrs.evolve(made.attempt(1), check_at=NOW)
        charge = Charge(
            transaction_id="tx",
            attempt=1,
            state=ChargeState.PENDING,
            amount=made.amount,
            due=ChargeDue.RECHECK,
            check_at=NOW,
        )
        refund = Refund(
            key="r-1",
            transaction_id="tx",
            amount=made.amount,
            state=RefundState.UNKNOWN,
            by="operator:ani",
            at=NOW,
            check_at=NOW,
        )
        return made.with_attempt(page).with_charge(charge).with_refund(refund)

    async def test_what_is_done_is_not_due_any_more(self, store: Store) -> None:
        """A row that stays due is asked about for ever."""
        made = await self.saved(store, self.due_payment())
        hint = arrived(notification(1, made.payment_id), Verdict.WAITING, check_at=NOW)
        await self.put(store, [hint])
        await self.saved(store, bare(made), before=made)
        await self.put(store, [attrs.evolve(hint, fresh=False, verdict=Verdict.APPLIED, check_at=None)])
        for kind in DUE_PARTS:
            assert await self.claimed(store, kind, LATER + timedelta(days=9)) == []

    async def test_what_is_not_due_is_not_claimed_and_the_oldest_comes_first(self, store: Store) -> None:
        """What has waited longest is looked at first, a bounded batch at a time."""
        for number in range(1, 5):
            await self.saved(store, payment(number, deadline_at=NOW + timedelta(seconds=10 - number)))
        async with store.transaction() as uow:
            due = await uow.claim_due(
                DueKind.DEADLINE, now=NOW + timedelta(seconds=8), until=LATER + timedelta(days=1), limit=2
            )
            await uow.commit()
        assert {d.id for d in due} == {payment(4).payment_id, payment(3).payment_id}
        assert len(await self.claimed(store, DueKind.DEADLINE, NOW + timedelta(seconds=8))) == 1

    # ── at once ───────────────────────────────────────────────────────────────────────────────────────────────────
    async def test_concurrent_changes_of_one_payment_lose_nothing(self, store: Store) -> None:
        """Twenty processes lock, decide and save the same payment; every decision stands."""
        made = await self.saved(store, payment())

        async def add(number: int) -> None:
            async with store.transaction() as uow:
                before = (await uow.payments.lock([made.payment_id]))[made.payment_id]
                charge = Charge(transaction_id=f"tx-{number}", attempt=1, state=ChargeState.PENDING, amount=made.amount)
                await uow.payments.save([Change(before, before.with_charge(charge), [])])
                await uow.commit()

        await asyncio.gather(*(add(number) for number in range(20)))
        async with store.reading() as uow:
            (found,) = (await uow.payments.load([made.payment_id])).values()
        assert len(found.charges) == 20
        assert found.version == 21

    async def test_the_same_notification_at_once_is_stored_once(self, store: Store) -> None:
        """Ten who found nothing stored, and hold no payment's lock, do not stand in each other's way."""
        hint = notification(1)
        await asyncio.gather(*(self.put(store, [arrived(hint)]) for _ in range(10)))
        async with store.reading() as uow:
            assert [kept.times for kept in await uow.inbox.load([hint.key])] == [10]

    # ── small helpers ─────────────────────────────────────────────────────────────────────────────────────────────
    async def saved(
        self, store: Store, after: Payment, *, before: Payment | None = None, events: Sequence[Event] = ()
    ) -> Payment:
        """The payment as it is stored after this save, in a transaction of its own."""
        async with store.transaction() as uow:
            stored = await uow.payments.save([Change(before, after, events)])
            await uow.commit()
        return stored[after.payment_id]

    async def put(self, store: Store, kept: Sequence[Kept]) -> None:
        """Notifications stored, or as they stand now, and committed."""
        async with store.transaction() as uow:
            await uow.inbox.put(kept)
            await uow.commit()

    async def claimed(self, store: Store, kind: DueKind, now: datetime) -> list[Due]:
        """What is due of one kind, leased for thirty seconds."""
        async with store.transaction() as uow:
            due = await uow.claim_due(kind, now=now, until=now + timedelta(seconds=30), limit=10)
            await uow.commit()
        return due
