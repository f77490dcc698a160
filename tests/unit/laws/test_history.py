"""The history of a payment: rebuilt from it, it is the stored one; whatever is changed without the key is found."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate, pairwise

import attrs
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from payments_core.chain import ChainKeys, Entry, FindingKind, canonical, check_chain
from payments_core.facts import Event, FactType
from payments_core.payment import AttemptState, Payment
from payments_core.ports import Change
from payments_core.testing.strategies import payments
from payments_core_sqlalchemy import tables
from payments_core_sqlalchemy.history import Image, Record, examine, image_of, make_body, read_body, rebuild
from payments_core_sqlalchemy.rows import PaymentRows, event_to_row, from_rows, to_rows

KEYS = ChainKeys(("the-key-of-this-history-32-bytes!", "an-older-key-that-is-still-known!"))
NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
Life = Sequence[Change]


# ── lives ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
def later(before: Payment, drawn: Payment) -> Payment:
    """What was drawn as the next state of this payment: children are added and changed, never taken away."""
    pages = {page.number: page for page in (*before.attempts, *drawn.attempts)}
    pages = {n: page if n == max(pages) else attrs.evolve(page, state=AttemptState.DEAD) for n, page in pages.items()}
    return attrs.evolve(
        drawn,
        payment_id=before.payment_id,
        attempts=tuple(pages.values()),
        charges=tuple({c.transaction_id: c for c in (*before.charges, *drawn.charges)}.values()),
        refunds=tuple({r.key: r for r in (*before.refunds, *drawn.refunds)}.values()),
        cases=tuple({c.number: c for c in (*before.cases, *drawn.cases)}.values()),
    )


@st.composite
def lives(draw: st.DrawFn, min_size: int = 1) -> Life:
    """The saves of one payment, each with an event or two, in the words of the store."""
    states = [*accumulate(draw(st.lists(payments(), min_size=min_size, max_size=4)), later)]
    states = [attrs.evolve(state, version=version) for version, state in enumerate(states, start=1)]
    told = [draw(st.integers(0, 2)) for _ in states]
    first = [1 + sum(told[:n]) for n in range(len(told))]
    return [
        Change(before, after, [event(after, first[n] + i) for i in range(told[n])], f"actor-{n}", NOW)
        for n, (before, after) in enumerate(pairwise([None, *states]))
        if after is not None
    ]


def event(payment: Payment, sequence: int) -> Event:
    return Event(payment.payment_id, sequence, FactType.PAYMENT_PAID, NOW, "gateway:midtrans", {"amount": "100000"})


def bodies_of(life: Life) -> list[str]:
    return [
        make_body(c, to_rows(c.before) if c.before else None, to_rows(c.after), [event_to_row(e) for e in c.events])
        for c in life
    ]


def chained(life: Life, keys: ChainKeys = KEYS) -> list[Entry]:
    entries: list[Entry] = []
    for change, body in zip(life, bodies_of(life), strict=True):
        previous = entries[-1].chain if entries else ""
        entries.append(keys.entry(previous, change.after.payment_id, change.after.version, body))
    return entries


def record(life: Life, *, entries: Sequence[Entry] | None = None, stored: Payment | None = None) -> Record:
    """What a store that wrote this life holds; entries and payment may be others."""
    events = [event_to_row(event) for change in life for event in change.events]
    image = image_of(to_rows(stored or life[-1].after))
    return Record(life[-1].after.payment_id, chained(life) if entries is None else entries, image, events)


def kinds(changed: Record, keys: ChainKeys = KEYS) -> set[FindingKind]:
    return {finding.kind for finding in examine(changed, keys)}


def findings(saves: Life, stored: Payment, events: Sequence[Event]) -> list[str]:
    """What is wrong with a payment in the memory store, by what every save of it changed."""
    known = Record(
        stored.payment_id, chained(saves), image_of(to_rows(stored)), [event_to_row(event) for event in events]
    )
    return [finding.what for finding in examine(known, KEYS)]


def payment_of(image: Image) -> Payment:
    """The payment an image holds; moments are read back where the tables have them."""
    rows = {
        name: [
            {
                field: datetime.fromisoformat(value)
                if value is not None and isinstance(tables.metadata.tables[name].c[field].type, tables.Utc)
                else value
                for field, value in row.items()
            }
            for row in image.get(name, {}).values()
        ]
        for name in ("payments", "attempts", "charges", "refunds", "cases")
    }
    return from_rows(PaymentRows(rows["payments"][0], *[rows[name] for name in [*rows][1:]]))


# ── rebuilding ────────────────────────────────────────────────────────────────────────────────────────────────────────
@given(lives())
@settings(max_examples=100, deadline=None)
def test_a_payment_rebuilt_from_its_history_is_the_stored_one(life: Life) -> None:
    rebuilt = rebuild(read_body(body) for body in bodies_of(life))
    assert rebuilt is not None
    assert payment_of(rebuilt) == life[-1].after
    assert examine(record(life), KEYS) == []


@given(lives())
@settings(deadline=None, max_examples=30)
def test_bodies_of_an_older_version_spelled_their_moments_otherwise_and_say_the_same(life: Life) -> None:
    entries: list[Entry] = []
    for change, body in zip(life, bodies_of(life), strict=True):
        previous = entries[-1].chain if entries else ""
        older = canonical(read_body(body))
        assert older != body
        entries.append(KEYS.entry(previous, change.after.payment_id, change.after.version, older))
    assert examine(record(life, entries=entries), KEYS) == []


@given(lives())
@settings(deadline=None, max_examples=30)
def test_leases_and_numbers_that_ran_ahead_of_the_history_are_no_difference(life: Life) -> None:
    """A sweep leases due rows and a question takes its number without saving the payment."""
    stored = life[-1].after
    ahead = attrs.evolve(
        stored,
        reading_number=stored.reading_number + 1,
        deadline_at=stored.deadline_at and stored.deadline_at + timedelta(seconds=30),
        attempts=tuple(attrs.evolve(a, check_at=a.check_at and a.check_at + timedelta(1)) for a in stored.attempts),
    )
    assert kinds(record(life, stored=ahead)) == set()
    behind = attrs.evolve(stored, reading_number=stored.reading_number - 1)
    assert kinds(record(life, stored=behind)) == {FindingKind.DIFFERS}


# ── tampering ─────────────────────────────────────────────────────────────────────────────────────────────────────────
@given(lives(), st.data())
@settings(max_examples=100, deadline=None)
def test_any_character_changed_in_the_history_is_found(life: Life, data: st.DataObject) -> None:
    entries = chained(life)
    place = data.draw(st.integers(0, len(entries) - 1))
    field = data.draw(st.sampled_from(["body", "body_digest", "chain", "key_id", "payment_id"]))
    value = getattr(entries[place], field)
    at = data.draw(st.integers(0, len(value) - 1))
    other = data.draw(st.characters(min_codepoint=32, max_codepoint=126).filter(lambda c: c != value[at]))
    entries[place] = attrs.evolve(entries[place], **{field: value[:at] + other + value[at + 1 :]})
    assert kinds(record(life, entries=entries))


@given(lives(min_size=2), st.data())
@settings(max_examples=50, deadline=None)
def test_an_entry_taken_out_moved_or_put_in_is_found(life: Life, data: st.DataObject) -> None:
    entries = chained(life)
    place = data.draw(st.integers(0, len(entries) - 2))
    first, second = entries[place : place + 2]
    swapped = [attrs.evolve(second, version=first.version), attrs.evolve(first, version=second.version)]
    taken = data.draw(st.sampled_from(entries))
    without = [entry for entry in entries if entry is not taken]
    closed_up = [attrs.evolve(entry, version=n) for n, entry in enumerate(without, start=1)]
    doubled = [*entries, attrs.evolve(entries[place], version=len(entries) + 1)]
    for changed in (without, closed_up, [*entries[:place], *swapped, *entries[place + 2 :]], doubled):
        assert kinds(record(life, entries=changed))


@given(lives(min_size=2))
@settings(deadline=None, max_examples=30)
def test_a_history_cut_at_its_end_is_not_the_stored_payments(life: Life) -> None:
    """The stored payment's version tells; only when it is set back too does an anchor have to."""
    assert FindingKind.DIFFERS in kinds(record(life, entries=chained(life)[:-1]))


@given(lives(), st.data())
@settings(max_examples=100, deadline=None)
def test_any_stored_field_changed_is_found(life: Life, data: st.DataObject) -> None:
    honest = record(life)
    name = data.draw(st.sampled_from([name for name, rows in honest.stored.items() if rows]))
    key = data.draw(st.sampled_from(sorted(honest.stored[name])))
    row = honest.stored[name][key]
    field = data.draw(st.sampled_from(sorted(row)))
    assume(field not in {"check_at", "deadline_at", "reading_number"} or row[field] is not None)
    stored = {**honest.stored, name: {**honest.stored[name], key: {**row, field: "another value" * 2}}}
    if field in {"check_at", "deadline_at"} or (field == "reading_number" and name == "payments"):
        stored[name][key][field] = None  # may run ahead, may not vanish
    assert FindingKind.DIFFERS in kinds(attrs.evolve(honest, stored=stored))
    gone = {**honest.stored, name: {k: r for k, r in honest.stored[name].items() if k != key}}
    assert kinds(attrs.evolve(honest, stored=gone)) & {FindingKind.DIFFERS, FindingKind.MISSING}


@given(lives(), st.data())
@settings(deadline=None, max_examples=30)
def test_any_event_changed_taken_out_or_put_in_is_found(life: Life, data: st.DataObject) -> None:
    honest = record(life)
    assume(honest.events)
    place = data.draw(st.integers(0, len(honest.events) - 1))
    edited = [{**e, "actor": "somebody else"} if n == place else e for n, e in enumerate(honest.events)]
    added = [*honest.events, {**honest.events[-1], "sequence": len(honest.events) + 1}]
    for events in (edited, [e for n, e in enumerate(honest.events) if n != place], added):
        assert kinds(attrs.evolve(honest, events=events)) == {FindingKind.EVENTS}


# ── keys ──────────────────────────────────────────────────────────────────────────────────────────────────────────────
@given(lives(min_size=2))
@settings(deadline=None, max_examples=30)
def test_a_history_written_anew_without_the_key_is_found(life: Life) -> None:
    """Recomputing plain hashes, or signing with a key of one's own, is what a thief of the database can do."""
    assert FindingKind.UNKEYED in kinds(record(life, entries=chained(life, ChainKeys())))
    assert FindingKind.UNKNOWN_KEY in kinds(record(life, entries=chained(life, ChainKeys(("a thief's",)))))
    honest = chained(life[:1])
    plain = ChainKeys().entry(honest[0].chain, honest[0].payment_id, 2, bodies_of(life)[1])
    assert FindingKind.CHAIN in kinds(record(life, entries=[*honest, plain, *chained(life)[2:]]))


@given(lives(min_size=2))
@settings(deadline=None, max_examples=30)
def test_keys_are_rotated_while_the_older_one_is_still_known(life: Life) -> None:
    newest, older = (ChainKeys((key,)) for key in KEYS.keys)
    entries = chained(life[:1], older)
    for change, body in zip(life[1:], bodies_of(life)[1:], strict=True):
        entries.append(KEYS.entry(entries[-1].chain, change.after.payment_id, change.after.version, body))
    assert {entry.key_id for entry in entries} == {newest.key_id, older.key_id}
    assert examine(record(life, entries=entries), KEYS) == []
    assert FindingKind.UNKNOWN_KEY in kinds(record(life, entries=entries), newest)


@given(lives())
@settings(deadline=None, max_examples=30)
def test_without_a_key_accidents_are_found_all_the_same(life: Life) -> None:
    entries = chained(life, ChainKeys())
    assert examine(record(life, entries=entries), ChainKeys()) == []
    other = attrs.evolve(life[-1].after, order_id="another order")
    assert kinds(record(life, entries=entries, stored=other), ChainKeys()) == {FindingKind.DIFFERS}


# ── what is not whole ─────────────────────────────────────────────────────────────────────────────────────────────────
@given(lives(min_size=2))
@settings(deadline=None, max_examples=30)
def test_an_erased_body_leaves_the_chain_whole_and_is_told(life: Life) -> None:
    entries = [attrs.evolve(entry, body=None) for entry in chained(life)]
    assert {finding.kind for finding in check_chain("p", entries, KEYS)} == {FindingKind.ERASED}
    assert kinds(record(life, entries=entries)) == {FindingKind.ERASED}


@given(lives(min_size=3))
@settings(deadline=None, max_examples=30)
def test_after_a_gap_the_history_begins_anew_and_the_gap_is_told(life: Life) -> None:
    """Code of the version before wrote version 2: the next entry holds the whole payment, and is compared again."""
    third = life[2]
    begun = KEYS.entry(
        "",
        third.after.payment_id,
        3,
        make_body(third, None, to_rows(third.after), [event_to_row(e) for e in third.events]),
    )
    entries = [chained(life)[0], begun]
    assert kinds(record(life[:3], entries=entries)) == {FindingKind.GAP}
    other = attrs.evolve(third.after, order_id="another order")
    assert kinds(record(life[:3], entries=entries, stored=other)) == {FindingKind.GAP, FindingKind.DIFFERS}


def test_a_payment_without_history_is_told() -> None:
    assert kinds(Record("p", [], {}, [])) == {FindingKind.GAP}


def test_no_key_is_ever_shown() -> None:
    assert "the-key" not in repr(KEYS)
    assert "older" not in repr(KEYS)


def test_there_is_one_spelling_of_a_body() -> None:
    moment = datetime(2026, 11, 24, 16, 0, tzinfo=UTC)
    assert canonical({"b": [1, None], "a": {"ü": moment}}) == (
        '{"a":{"\\u00fc":"2026-11-24T16:00:00.000000+00:00"},"b":[1,null]}'
    )
    with pytest.raises(TypeError):
        canonical({"a": {1, 2}})
