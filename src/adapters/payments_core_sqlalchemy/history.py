"""The history of payments: what every save changed, chained; a payment rebuilt from it; the two compared.

An entry's body is JSON: `at`, `actor`, `base` (the version it builds on, 0 for nothing), `rows` (table -> key -> the
fields that changed) and `events` (the rows published with it).
`rebuild(bodies) == the stored rows` is a law, checked with generated lives of payments.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

import attrs
import msgspec
from sqlalchemy import Table, select, tuple_, union

from payments_core.chain import ChainKeys, Entry, Finding, FindingKind, canonical, check_chain
from payments_core.ports import Change
from payments_core_sqlalchemy import tables
from payments_core_sqlalchemy.rows import PaymentRows, Row
from payments_core_sqlalchemy.session import Session
from payments_core_sqlalchemy.statements import Statement, any_of

__all__ = ["Head", "Image", "Record", "Save", "SqlHistory", "examine", "image_of", "make_body", "read_body", "rebuild"]

Image = dict[str, dict[str, Row]]
"""The rows of one payment by table and key; the key is the primary key without the payment's id."""
Save = tuple[Change, PaymentRows | None, PaymentRows, Sequence[Row]]
"""A change, the rows of its payment before and after, and those of its events."""

_PARTS = ("payments", *(field.name for field in attrs.fields(PaymentRows) if field.name != "payment"))
_MOVED = {
    "payments": {"deadline_at", "reading_number"},
    "attempts": {"check_at"},
    "charges": {"check_at"},
    "refunds": {"check_at"},
}
"""Taking a number and leasing a due row move these forward without a save.

So an entry repeats them with every change of their row. A `check_at` also moves back, when a gateway answers again; a
deadline and a reading number are never earlier than the history says.
"""
_MOVES_BACK = frozenset({"check_at"})
_UNTOLD = frozenset({"evidence", "note", "reason", "request", "return_url", "token", "url"})
"""Fields whose values no finding prints: they are somebody's data, or open a page."""
_INCOMPLETE = frozenset({FindingKind.GAP, FindingKind.ERASED})
_BROKEN = frozenset({FindingKind.BODY, FindingKind.CHAIN, FindingKind.UNKNOWN_KEY})


# ── images ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def image_of(rows: PaymentRows) -> Image:
    """These rows by table and key."""
    return {name: {_key(name, row): row for row in of_table} for name, of_table in _by_table(rows)}


def _by_table(rows: PaymentRows) -> Iterator[tuple[str, Sequence[Row]]]:
    yield "payments", [dict(rows.payment)]
    for name in _PARTS[1:]:
        yield name, getattr(rows, name)


def make_body(change: Change, before: PaymentRows | None, after: PaymentRows, events: Sequence[Row]) -> str:
    """What an entry says of this change and the rows of its events; `before` is None when none is there to build on."""
    return msgspec.json.encode(
        {
            "at": change.at,
            "actor": change.actor,
            "base": before.payment["version"] if before else 0,
            "rows": _difference(image_of(before) if before else {}, after),
            "events": events,
        }
    ).decode()


def read_body(body: str) -> dict[str, Any]:
    """What an entry says, its moments as `canonical` spells them: versions before wrote them otherwise.

    Errors: ValueError, TypeError, LookupError, AttributeError when it says something else.
    """
    said: dict[str, Any] = json.loads(body)
    for name, rows in said["rows"].items():
        for row in rows.values():
            _spell_moments(name, row)
    for event in said["events"]:
        _spell_moments("events", event)
    return said


def _spell_moments(name: str, row: Row) -> None:
    for field in _moments(name):
        if row.get(field) is not None:
            row[field] = json.loads(canonical(datetime.fromisoformat(row[field])))


@cache
def _moments(name: str) -> tuple[str, ...]:
    table = tables.metadata.tables.get(name)
    return (
        tuple(column.name for column in table.columns if isinstance(column.type, tables.Utc))
        if table is not None
        else ()
    )


def rebuild(bodies: Iterable[Mapping[str, Any] | None]) -> Image | None:
    """The image these bodies add up to; None when one that is missing was needed."""
    image: Image | None = {}
    for body in bodies:
        if body is None:
            image = None
        elif body["base"] == 0:
            image = _patched({}, body["rows"])
        elif image is not None:
            image = _patched(image, body["rows"])
    return image


def _difference(before: Image, after: PaymentRows) -> Image:
    changes: Image = {}
    for name, rows in _by_table(after):
        known = before.get(name, {})
        for row in rows:
            key = _key(name, row)
            was = known.get(key)
            fields = row if was is None else {field: value for field, value in row.items() if was[field] != value}
            if fields:
                moved = {field: row[field] for field in _MOVED.get(name, ())}
                changes.setdefault(name, {})[key] = {**fields, **moved}
    return changes


def _patched(image: Image, changes: Image) -> Image:
    patched = dict(image)
    for name, rows in changes.items():
        known = patched.get(name, {})
        patched[name] = {**known, **{key: {**known.get(key, {}), **fields} for key, fields in rows.items()}}
    return patched


def _key(name: str, row: Mapping[Any, Any]) -> str:
    column = _key_column(name)
    return "" if column is None else str(row[column])


@cache
def _key_column(name: str) -> str | None:
    """What tells the rows of one payment in this table apart, None where there is one."""
    columns = [c.name for c in tables.metadata.tables[name].primary_key if c.name != "payment_id"]
    assert len(columns) <= 1, name
    return columns[0] if columns else None


# ── comparing ─────────────────────────────────────────────────────────────────────────────────────────────────────────
@attrs.frozen
class Record:
    """Everything stored of one payment: its history, its rows, its events."""

    payment_id: str
    entries: Sequence[Entry]
    stored: Image
    events: Sequence[Row]


def examine(record: Record, keys: ChainKeys) -> list[Finding]:
    """What is wrong with one payment: its chain first, then what the chain says against what is stored."""
    payment_id = record.payment_id
    if not record.entries:
        return [Finding(payment_id, None, FindingKind.GAP, "there is no history of it")]
    findings = [*check_chain(payment_id, record.entries, keys)]
    kinds = {finding.kind for finding in findings}
    if kinds & _BROKEN:
        return findings  # what it says is not to be believed
    bodies = [read_body(entry.body) if entry.body is not None else None for entry in record.entries]
    findings += _check_bases(payment_id, record.entries, bodies)
    findings += _compare_events(payment_id, bodies, _plain(record.events), complete=not kinds & _INCOMPLETE)
    rebuilt = rebuild(bodies)
    if rebuilt is not None:
        findings += _compare_rows(payment_id, rebuilt, _plain(record.stored))
    return findings


def _check_bases(payment_id: str, entries: Sequence[Entry], bodies: Iterable[Any]) -> Iterator[Finding]:
    for entry, body in zip(entries, bodies, strict=True):
        if body is not None and body["base"] not in (0, entry.version - 1):
            yield Finding(payment_id, entry.version, FindingKind.CHAIN, f"builds on version {body['base']}")


def _compare_events(payment_id: str, bodies: Iterable[Any], stored: list[Row], *, complete: bool) -> Iterator[Finding]:
    """With a gap or an erased body the history cannot say that an event is one too many."""
    said = {event["sequence"]: event for body in bodies if body is not None for event in body["events"]}
    found = {event["sequence"]: event for event in stored}
    for sequence in sorted(said.keys() | found.keys() if complete else said.keys()):
        if sequence not in found:
            yield Finding(payment_id, None, FindingKind.EVENTS, f"event {sequence} is gone")
        elif sequence not in said:
            yield Finding(payment_id, None, FindingKind.EVENTS, f"event {sequence} is not in the history")
        elif said[sequence] != found[sequence]:
            yield Finding(payment_id, None, FindingKind.EVENTS, f"event {sequence} was changed")


def _compare_rows(payment_id: str, rebuilt: Image, stored: Image) -> Iterator[Finding]:
    if not stored.get("payments"):
        yield Finding(payment_id, None, FindingKind.MISSING, "there is a history, and no payment")
        return
    for name in _PARTS:
        said, found = rebuilt.get(name, {}), stored.get(name, {})
        for key in sorted(said.keys() | found.keys()):
            what = f"{name} {key}".strip()
            if key not in found:
                yield Finding(payment_id, None, FindingKind.DIFFERS, f"{what} is gone")
            elif key not in said:
                yield Finding(payment_id, None, FindingKind.DIFFERS, f"{what} is not in the history")
            else:
                for told in _compare_row(name, said[key], found[key]):
                    yield Finding(payment_id, None, FindingKind.DIFFERS, f"{what} {told}")


def _compare_row(name: str, said: Row, found: Row) -> Iterator[str]:
    """Columns that only one side knows were added or dropped by a migration since."""
    for field in sorted(said.keys() & found.keys()):
        was, now = said[field], found[field]
        moves = field in _MOVED.get(name, ()) and was is not None and now is not None
        moved = moves and (field in _MOVES_BACK or now >= was)
        if was != now and not moved:
            told = "another value is stored" if field in _UNTOLD else f"history says {was!r}, stored is {now!r}"
            yield f"{field}: {told}"


def _plain(value: Any) -> Any:  # noqa: ANN401 - JSON of any shape
    """As it comes back from JSON."""
    return json.loads(canonical(value))


# ── the table ─────────────────────────────────────────────────────────────────────────────────────────────────────────
@attrs.frozen
class Head:
    """Where the history of one payment ended: its newest version and that entry's code."""

    payment_id: str
    version: int
    chain: str


_h = tables.history.c
_NEWEST = select(tables.payments.c.version).where(tables.payments.c.payment_id == _h.payment_id).scalar_subquery()
_HEADS = Statement(
    # Not a join: SQLite would begin it with the whole history.
    select(_h.payment_id, _h.version, _h.chain).where(any_of(_h.payment_id, "ids"), _h.version == _NEWEST)
)


def _entry_row(entry: Entry) -> Row:
    return {
        "payment_id": entry.payment_id,
        "version": entry.version,
        "key_id": entry.key_id,
        "body": entry.body,
        "body_digest": entry.body_digest,
        "chain": entry.chain,
    }


class SqlHistory:
    """The `history` table: appended to with every save, read to be checked."""

    def __init__(self, session: Session, keys: ChainKeys) -> None:
        self._session = session
        self._connection = session.connection
        self.keys = keys
        self._chains: dict[tuple[str, int], str] = {}

    def remember(self, payment_id: str, version: int | None, chain: str | None) -> None:
        """This transaction has read the code of the entry of this version; None when there is no such entry."""
        if version is not None and chain is not None:
            self._chains[payment_id, version] = chain

    async def entries(self, saves: Sequence[Save]) -> list[Row]:
        """One entry for each save, after the entry of the version before it; whoever saves writes them.

        Where that entry is missing the new one holds the whole payment and begins a chain: a gap that stays visible.
        """
        built_on = {(b.payment["payment_id"], b.payment["version"]) for _, b, _, _ in saves if b}
        if unread := sorted(payment_id for payment_id, _ in built_on - self._chains.keys()):
            for row in await self._session.rows(_HEADS, ids=unread):
                self.remember(row["payment_id"], row["version"], row["chain"])
        entries = []
        for change, before, after, events in saves:
            payment_id, version = after.payment["payment_id"], after.payment["version"]
            previous = self._chains.get((payment_id, version - 1), "")
            body = make_body(change, before if previous else None, after, events)
            entries.append(_entry_row(self.keys.entry(previous, payment_id, version, body)))
        return entries

    async def ids(self, *, after: str | None, limit: int) -> list[str]:
        """The next payment ids anything is stored under, in order; a payment may be gone and leave something."""
        found = []
        for table in (*_tables(), tables.events, tables.history):
            column = table.c.payment_id
            query = select(column).distinct().order_by(column).limit(limit)
            found.append(select((query if after is None else query.where(column > after)).subquery()))
        ids = union(*found).subquery()
        page = select(ids.c.payment_id).order_by(ids.c.payment_id).limit(limit)
        return [*await self._session.scalars(page)]

    async def records(self, payment_ids: Sequence[str]) -> list[Record]:
        """Everything stored of these payments."""
        entries = await self._rows(tables.history, payment_ids, tables.history.c.version)
        events = await self._rows(tables.events, payment_ids, tables.events.c.sequence)
        stored = {table.name: await self._rows(table, payment_ids) for table in _tables()}
        return [
            Record(
                payment_id,
                [Entry(**row) for row in entries[payment_id]],
                {name: {_key(name, row): row for row in rows[payment_id]} for name, rows in stored.items()},
                events[payment_id],
            )
            for payment_id in payment_ids
        ]

    async def against(self, heads: Sequence[Head]) -> list[Finding]:
        """What is wrong by an anchor's heads: each was an entry once, so it must be one still."""
        codes = await self._codes([(head.payment_id, head.version) for head in heads])
        known = {payment_id for payment_id, _ in codes} | await self._known([head.payment_id for head in heads])
        findings = []
        for head in heads:
            code = codes.get((head.payment_id, head.version))
            if head.payment_id not in known:
                findings.append(
                    Finding(head.payment_id, None, FindingKind.REMOVED, "the anchor knows it; its history is gone")
                )
            elif code != head.chain:
                what = "the history ends before this version" if code is None else "the anchor saw another entry here"
                findings.append(Finding(head.payment_id, head.version, FindingKind.REWRITTEN, what))
        return findings

    async def _codes(self, places: Sequence[tuple[str, int]]) -> dict[tuple[str, int], str]:
        if not places:
            return {}
        h = tables.history.c
        query = select(h.payment_id, h.version, h.chain).where(tuple_(h.payment_id, h.version).in_(places))
        return {(row.payment_id, row.version): row.chain for row in await self._session.execute(query)}

    async def _known(self, payment_ids: Sequence[str]) -> set[str]:
        h = tables.history.c
        return {*await self._session.scalars(select(h.payment_id).where(h.payment_id.in_(payment_ids)).distinct())}

    async def _rows(self, table: Table, payment_ids: Sequence[str], *order: Any) -> dict[str, list[Row]]:  # noqa: ANN401 - columns
        found: dict[str, list[Row]] = defaultdict(list)
        query = select(table).where(table.c.payment_id.in_(payment_ids)).order_by(*order)
        for row in (await self._session.execute(query)).mappings():
            found[row["payment_id"]].append(dict(row))
        return found


def _tables() -> list[Table]:
    return [tables.metadata.tables[name] for name in _PARTS]
