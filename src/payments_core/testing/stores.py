"""What every store must do: the `Store` port, with its payments, its inbox and its due work.

Orders are another port (`order_books`); a store that keeps the shop's orders as well proves both in one class:

    class TestMyStore(StoreContract, OrderRegistryContract):
        @pytest.fixture
        def store(self) -> MyStore:
            return MyStore(...)
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import attrs
import pytest

from payments_core.decide import Verdict
from payments_core.errors import StaleWrite
from payments_core.facts import Event
from payments_core.payment import Charge, ChargeDue, Payment
from payments_core.ports import Change, Due, DueKind, Kept, PaymentFilter, Store
from payments_core.states import ChargeState
from payments_core.status import PaymentStatus
from payments_core.testing.samples import LATER, NOW, arrived, event, notification, payment

__all__ = ["StoreContract"]

FIRST, SECOND = payment(1).payment_id, payment(2).payment_id


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

    async def test_history_is_appended_in_order_and_paged(self, store: Store) -> None:
        """The history is what is shown to a person when money is in doubt."""
        made = payment()
        await self.saved(store, made, events=[event(made, 1), event(made, 2), event(made, 3)])
        async with store.reading() as uow:
            assert [e.sequence for e in await uow.payments.history(made.payment_id, after=1, limit=1)] == [2]
            assert await uow.payments.history(made.payment_id, after=0, limit=9) == [event(made, n) for n in (1, 2, 3)]

    async def test_numbers_of_questions_never_repeat(self, store: Store) -> None:
        """An answer that was overtaken is known by its number."""
        made = await self.saved(store, payment())
        taken = []
        for _ in range(3):
            async with store.transaction() as uow:
                taken.append((await uow.payments.take_numbers([made.payment_id, "unknown"]))[made.payment_id])
                await uow.commit()
        assert taken == [1, 2, 3]

    async def test_lists_are_newest_first_filtered_and_paged(self, store: Store) -> None:
        """Every filter, and pages that miss nothing."""
        made = [await self.saved(store, payment(number)) for number in range(1, 6)]
        async with store.reading() as uow:
            first = await uow.payments.newest(PaymentFilter(), before=None, limit=2)
            rest = await uow.payments.newest(PaymentFilter(), before=first[-1].payment_id, limit=9)
            by_order = await uow.payments.newest(PaymentFilter(order_id="o-3"), before=None, limit=9)
            by_status = await uow.payments.newest(PaymentFilter(status=PaymentStatus.SUCCESS), before=None, limit=9)
            fresh = await uow.payments.newest(PaymentFilter(created_from=LATER), before=None, limit=9)
            calm = PaymentFilter(
                needs_review=False, provider="midtrans", created_to=LATER, status=PaymentStatus.PENDING
            )
            calm_ones = await uow.payments.newest(calm, before=None, limit=9)
        assert [p.order_id for p in (*first, *rest)] == ["o-5", "o-4", "o-3", "o-2", "o-1"]
        assert [p.order_id for p in by_order] == ["o-3"]
        assert by_status == fresh == []
        assert len(calm_ones) == len(made)

    async def test_a_transaction_belongs_to_the_payment_that_bound_it_first(self, store: Store) -> None:
        """Where a status answer does not name our order id, this says whose money it is."""
        async with store.transaction() as uow:
            assert await uow.payments.bind(FIRST, "midtrans", "default", "tx")
            await uow.commit()
        async with store.transaction() as uow:
            assert await uow.payments.bind(FIRST, "midtrans", "default", "tx")
            assert not await uow.payments.bind(SECOND, "midtrans", "default", "tx")
            assert await uow.payments.bind(SECOND, "stripe", "default", "tx")

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

    async def test_the_same_bytes_of_another_gateway_are_another_notification(self, store: Store) -> None:
        """The key is provider, account and digest, not the digest alone."""
        first = notification(1)
        other = attrs.evolve(first, key=attrs.evolve(first.key, provider="stripe"))
        await self.put(store, [arrived(first)])
        async with store.transaction() as uow:
            assert await uow.inbox.lock([other.key]) == []
            await uow.inbox.put([arrived(other)])
            await uow.commit()
        async with store.transaction() as uow:
            assert [kept.times for kept in await uow.inbox.lock([first.key, other.key])] == [1, 1]
            assert await uow.inbox.lock([]) == []

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
        await self.saved(store, made.with_attempt(page).with_charge(charge))
        hint = notification(1, made.payment_id)
        await self.put(store, [arrived(hint, Verdict.WAITING, check_at=NOW)])
        for kind, part in (
            (DueKind.NOTIFICATION, ""),
            (DueKind.ATTEMPT, "1"),
            (DueKind.CHARGE, "tx"),
            (DueKind.DEADLINE, ""),
        ):
            (due,) = await self.claimed(store, kind, NOW)
            assert (due.id, due.part) == (made.payment_id, part)
            assert (due.key is not None) is (kind is DueKind.NOTIFICATION)
            assert await self.claimed(store, kind, NOW) == []
            assert len(await self.claimed(store, kind, LATER)) == 1

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
