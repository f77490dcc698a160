"""Every payment checked against its history, a bounded page at a time; then the history against an anchor.

Each page is read in a transaction of its own, which sees one consistent picture: a running service raises no alarm.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from itertools import islice

import attrs

from payments_core.chain import Finding, FindingKind
from payments_core_sqlalchemy.history import Head, Record, SqlHistory, examine
from payments_core_sqlalchemy.store import SqlStore

__all__ = ["Page", "against_anchor", "verified_pages"]

_PAGE = 200
"""Payments at once: some megabytes, and statements far below their time limit."""


@attrs.frozen
class Page:
    """Some payments, checked: how many, their entries, where their histories end, and what is wrong."""

    payments: int
    entries: int
    heads: Sequence[Head]
    findings: Sequence[Finding]


async def verified_pages(store: SqlStore) -> AsyncIterator[Page]:
    """Every payment once, in the order of ids.

    Errors: StorageUnavailable.
    """
    after: str | None = None
    while True:
        async with store.reading() as uow:
            ids = await uow.history.ids(after=after, limit=_PAGE)
            if not ids:
                return
            page = await _check(uow.history, ids)
        yield page
        after = ids[-1]


async def against_anchor(store: SqlStore, heads: Iterable[Head]) -> AsyncIterator[list[Finding]]:
    """What an anchor saw and the database no longer has.

    Errors: StorageUnavailable.
    """
    for some in _batches(heads):
        async with store.reading() as uow:
            yield await uow.history.against(some)


def _batches(heads: Iterable[Head]) -> Iterator[list[Head]]:
    waiting = iter(heads)
    while some := [*islice(waiting, _PAGE)]:
        yield some


async def _check(history: SqlHistory, ids: Sequence[str]) -> Page:
    try:
        records = await history.records(ids)
    except (ValueError, TypeError) as error:  # a column holds what its type cannot be: whose is it?
        if len(ids) == 1:
            what = f"a row cannot be read: {type(error).__name__}"
            return Page(1, 0, (), [Finding(ids[0], None, FindingKind.UNREADABLE, what)])
        return _joined([await _check(history, [payment_id]) for payment_id in ids])
    return Page(
        payments=len(records),
        entries=sum(len(record.entries) for record in records),
        heads=[head for record in records for head in _head(record)],
        findings=[finding for record in records for finding in _examined(record, history)],
    )


def _joined(pages: Sequence[Page]) -> Page:
    return Page(
        payments=sum(page.payments for page in pages),
        entries=sum(page.entries for page in pages),
        heads=[head for page in pages for head in page.heads],
        findings=[finding for page in pages for finding in page.findings],
    )


def _head(record: Record) -> Iterator[Head]:
    if record.entries:
        yield Head(record.payment_id, record.entries[-1].version, record.entries[-1].chain)


def _examined(record: Record, history: SqlHistory) -> list[Finding]:
    try:
        return examine(record, history.keys)
    except (ValueError, TypeError, LookupError, AttributeError) as error:  # signed by nobody, it may say anything
        what = f"the history cannot be read: {type(error).__name__}"
        return [Finding(record.payment_id, None, FindingKind.UNREADABLE, what)]
