"""Rows tampered with in a real database: `verified_pages` names the payment and what was done to it (G10)."""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import attrs
import pytest
from sqlalchemy import Delete, select, text
from sqlalchemy.exc import DBAPIError

from payments_core.chain import Finding, FindingKind
from payments_core.payment import Case, Charge, Payment, Refund, RefundState
from payments_core.ports import Change, DueKind
from payments_core.states import CaseKind, ChargeState
from payments_core.testing.samples import NOW, event, payment
from payments_core_sqlalchemy import Head, SqlStore, against_anchor, tables, verified_pages
from payments_core_sqlalchemy.migrate import migrate_async
from payments_core_sqlalchemy.rows import Row

KEY = "the-key-of-this-history-32-bytes!"
OF_A_PAYMENT = (
    tables.payments,
    tables.attempts,
    tables.charges,
    tables.refunds,
    tables.cases,
    tables.events,
    tables.history,
)


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[SqlStore]:
    """A store with a key, on each database."""
    await migrate_async(database_url)
    store = SqlStore(database_url, history_keys=(KEY,))
    yield store
    await store.close()


async def save(store: SqlStore, before: Payment | None, after: Payment) -> Payment:
    """Saved with one event."""
    after = attrs.evolve(after, events=after.events + 1)
    change = Change(before, after, [event(after, after.events)], "customer:alice", NOW)
    async with store.transaction() as uow:
        stored = (await uow.payments.save([change]))[after.payment_id]
        await uow.commit()
    return stored


async def lived(store: SqlStore, number: int = 1) -> str:
    """The id of a payment that was opened, asked about, leased, paid, refunded in part and looked at."""
    made = payment(number)
    page = attrs.evolve(made.attempts[0], check_at=NOW, methods=("gopay",))
    opened = await save(store, None, attrs.evolve(made, attempts=(page,), deadline_at=NOW))
    async with store.transaction() as uow:
        await uow.payments.take_numbers([opened.payment_id])
        for kind in (DueKind.ATTEMPT, DueKind.DEADLINE):
            await uow.claim_due(kind, now=NOW, until=NOW + timedelta(seconds=30), limit=99)
        await uow.commit()
    async with store.reading() as uow:
        (asked,) = (await uow.payments.load([opened.payment_id])).values()
    charge = Charge(
        transaction_id="tx", attempt=1, state=ChargeState.SETTLED, amount=asked.amount, captured_minor=10_000_000
    )
    paid = await save(store, asked, attrs.evolve(asked.with_charge(charge), paid_by="tx", paid_at=NOW))
    refund = Refund(
        key="r1", transaction_id="tx", amount=paid.amount, state=RefundState.CONFIRMED, by="ops", at=NOW, reason="torn"
    )
    case = Case(number=1, kind=CaseKind.SURPLUS_PAYMENT, transaction_id="tx", opened_at=NOW, evidence={"a": "b"})
    await save(store, paid, attrs.evolve(paid, refunds=(refund,), cases=(case,)))
    return opened.payment_id


async def execute(store: SqlStore, *statements: str | Delete, **values: object) -> None:
    """What somebody does who can write the database: the trigger is dropped first."""
    tail = "" if store.is_sqlite else " ON history"
    async with store.engine.begin() as connection:
        for name in ("history_no_update", "history_no_delete"):
            await connection.execute(text(f"DROP TRIGGER IF EXISTS {name}{tail}"))
        for statement in statements:
            await connection.execute(text(statement) if isinstance(statement, str) else statement, values)


async def findings(store: SqlStore) -> list[Finding]:
    return [finding async for page in verified_pages(store) for finding in page.findings]


async def heads(store: SqlStore) -> list[Head]:
    return [head async for page in verified_pages(store) for head in page.heads]


async def anchored(store: SqlStore, anchor: Sequence[Head]) -> list[tuple[str, FindingKind]]:
    return [(f.payment_id, f.kind) async for found in against_anchor(store, anchor) for f in found]


async def test_what_the_store_writes_is_well(store: SqlStore) -> None:
    """Leases and numbers move rows without a save; they are no tampering."""
    for number in (1, 2, 3):
        await lived(store, number)
    assert await findings(store) == []
    assert [head.version for head in await heads(store)] == [3, 3, 3]


async def test_every_payment_is_checked_over_many_pages(store: SqlStore) -> None:
    async with store.transaction() as uow:
        await uow.payments.save([Change(None, payment(number), []) for number in range(1, 452)])
        await uow.commit()
    await execute(store, "UPDATE payments SET order_id = 'x' WHERE payment_id = :id", id=payment(450).payment_id)
    pages = [page async for page in verified_pages(store)]
    assert [page.payments for page in pages] == [200, 200, 51]
    assert [f.payment_id for page in pages for f in page.findings] == [payment(450).payment_id]


TAMPERED = {
    "the amount of a payment": ("UPDATE payments SET amount_minor = amount_minor + 1", FindingKind.DIFFERS),
    "who paid it": ("UPDATE payments SET paid_by = NULL", FindingKind.DIFFERS),
    "a number set back": ("UPDATE payments SET reading_number = 0", FindingKind.DIFFERS),
    "a deadline taken away": ("UPDATE payments SET deadline_at = NULL", FindingKind.DIFFERS),
    "where a page leads": ("UPDATE attempts SET url = 'https://elsewhere.example'", FindingKind.DIFFERS),
    "what was captured": ("UPDATE charges SET captured_minor = captured_minor - 1", FindingKind.DIFFERS),
    "a charge taken out": ("DELETE FROM charges", FindingKind.DIFFERS),
    "what was refunded": ("UPDATE refunds SET amount_minor = 1", FindingKind.DIFFERS),
    "a case decided": ("UPDATE cases SET decision = 'dismiss'", FindingKind.DIFFERS),
    "a payment taken out": ("DELETE FROM payments", FindingKind.MISSING),
    "an event edited": ("UPDATE events SET actor = 'mallory'", FindingKind.EVENTS),
    "an event taken out": ("DELETE FROM events WHERE sequence = 2", FindingKind.EVENTS),
    "a body edited": ("UPDATE history SET body = replace(body, 'alice', 'mallory')", FindingKind.BODY),
    "a body erased": ("UPDATE history SET body = NULL", FindingKind.ERASED),
    "an entry edited": ("UPDATE history SET body_digest = chain", FindingKind.CHAIN),
    "the first entry taken out": ("DELETE FROM history WHERE version = 1", FindingKind.GAP),
    "the last entry taken out": ("DELETE FROM history WHERE version = 3", FindingKind.DIFFERS),
    "all of the history taken out": ("DELETE FROM history", FindingKind.GAP),
}


@pytest.mark.parametrize("what", TAMPERED)
async def test_a_row_that_was_tampered_with_is_found(store: SqlStore, what: str) -> None:
    victim, bystander = await lived(store, 1), await lived(store, 2)
    statement, kind = TAMPERED[what]
    where = " AND " if " WHERE " in statement else " WHERE "
    await execute(store, f"{statement}{where}payment_id = :id", id=victim)
    found = await findings(store)
    assert {finding.payment_id for finding in found} == {victim}, f"and not {bystander}"
    assert kind in {finding.kind for finding in found}


async def test_a_row_that_cannot_be_read_is_found_and_hides_nothing_else(store: SqlStore) -> None:
    if not store.is_sqlite:
        pytest.skip("PostgreSQL keeps to its types")
    victim, other = await lived(store, 1), await lived(store, 2)
    await execute(store, "UPDATE payments SET created_at = 'yesterday' WHERE payment_id = :id", id=victim)
    await execute(store, "UPDATE payments SET order_id = 'x' WHERE payment_id = :id", id=other)
    assert [(finding.payment_id, finding.kind) for finding in await findings(store)] == [
        (victim, FindingKind.UNREADABLE),
        (other, FindingKind.DIFFERS),
    ]


async def test_an_amount_changed_is_not_laundered_by_the_next_save(store: SqlStore) -> None:
    """The service loads what is stored, tampered or not; an entry says what *it* changed, so the difference stays."""
    victim = await lived(store)
    await execute(store, "UPDATE payments SET owed_minor = 1 WHERE payment_id = :id", id=victim)
    async with store.reading() as uow:
        loaded = (await uow.payments.load([victim]))[victim]
    await save(store, loaded, attrs.evolve(loaded, paid_at=NOW + timedelta(1)))
    assert [finding.what for finding in await findings(store)] == [
        "payments owed_minor: history says 10000000, stored is 1"
    ]


async def test_a_history_that_was_deleted_does_not_come_back_whole(store: SqlStore) -> None:
    victim = await lived(store)
    await execute(store, "DELETE FROM history")
    async with store.reading() as uow:
        loaded = (await uow.payments.load([victim]))[victim]
    await save(store, loaded, attrs.evolve(loaded, paid_at=NOW + timedelta(1)))
    assert [(f.kind, f.version) for f in await findings(store)] == [(FindingKind.GAP, 4)]


async def test_a_payment_removed_whole_is_found_by_the_last_anchor(store: SqlStore) -> None:
    victim, bystander = await lived(store, 1), await lived(store, 2)
    anchor = await heads(store)
    assert await anchored(store, anchor) == []
    await execute(store, *(table.delete().where(table.c.payment_id == victim) for table in OF_A_PAYMENT))
    assert await findings(store) == [], f"{bystander} is well, and nothing else is left"
    assert await anchored(store, anchor) == [(victim, FindingKind.REMOVED)]


async def test_a_payment_set_back_to_what_it_was_is_found_by_the_last_anchor(store: SqlStore) -> None:
    """Every row of an older moment put back: consistent in itself, and shorter than the anchor saw it."""
    made = await save(store, None, payment())
    then = await dump(store)
    await save(store, made, attrs.evolve(made, paid_at=NOW))
    anchor = await heads(store)
    await put_back(store, then)
    assert await findings(store) == []
    assert await anchored(store, anchor) == [(made.payment_id, FindingKind.REWRITTEN)]


async def test_a_payment_that_went_on_still_fits_its_anchor(store: SqlStore) -> None:
    made = await save(store, None, payment())
    anchor = await heads(store)
    await save(store, made, attrs.evolve(made, paid_at=NOW))
    assert await anchored(store, anchor) == []


async def dump(store: SqlStore) -> dict[str, list[Row]]:
    async with store.engine.connect() as connection:
        return {t.name: [dict(row) for row in (await connection.execute(select(t))).mappings()] for t in OF_A_PAYMENT}


async def put_back(store: SqlStore, then: dict[str, list[Row]]) -> None:
    await execute(store, *(table.delete() for table in OF_A_PAYMENT))
    async with store.engine.begin() as connection:
        for table in OF_A_PAYMENT:
            if then[table.name]:
                await connection.execute(table.insert(), then[table.name])


@pytest.mark.parametrize(
    "statement", ["DELETE FROM history", "UPDATE history SET chain = body_digest", "UPDATE history SET body = 'x'"]
)
async def test_the_database_itself_refuses_to_change_the_history(store: SqlStore, statement: str) -> None:
    """Against accidents; who can drop a trigger is found by the chain."""
    await lived(store)
    with pytest.raises(DBAPIError, match="only ever appended to"):
        async with store.engine.begin() as connection:
            await connection.execute(text(statement))
    assert await findings(store) == []


async def test_a_body_can_be_erased_and_the_chain_holds(store: SqlStore) -> None:
    await lived(store)
    async with store.engine.begin() as connection:
        await connection.execute(text("UPDATE history SET body = NULL WHERE version = 1"))
    assert {finding.kind for finding in await findings(store)} == {FindingKind.ERASED}


async def test_what_is_not_committed_leaves_no_entry(store: SqlStore) -> None:
    async with store.transaction() as uow:
        await uow.payments.save([Change(None, payment(), [])])
    assert [page async for page in verified_pages(store)] == []
