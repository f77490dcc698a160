"""`payments verify`: every history is whole, and every payment is what its history says."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs
import rich_click as click

from payments_core.chain import Finding, FindingKind
from payments_core_app.anchor import Anchor, AnchorWriter
from payments_core_app.commands.common import EXIT_TROUBLE, as_json, fail, print_json, run, say, settings_or_exit
from payments_core_app.container import Container
from payments_core_sqlalchemy import Page, SqlStore, against_anchor, verified_pages

__all__ = ["verify"]

_FORGIVABLE = tuple(kind.value for kind in (FindingKind.ERASED, FindingKind.GAP, FindingKind.UNKEYED))
_PROGRESS_S = 5.0
_KEPT_MAX = 10_000
"""Findings in one JSON document; all of them are counted."""
_NO_KEY = "PAYMENTS_HISTORY_KEY is not set: somebody who can write the database could have rewritten the history too"


@attrs.define
class _Tally:
    """What was found so far; findings are told as they come, unless they are for a machine."""

    allowed: frozenset[FindingKind]
    aloud: bool
    payments: int = 0
    entries: int = 0
    wrong: int = 0
    forgiven: int = 0
    findings: list[Finding] = attrs.field(factory=list)
    _told_at: float = attrs.field(factory=time.monotonic)

    def take_page(self, page: Page) -> None:
        self.payments += page.payments
        self.entries += page.entries
        self.take_all(page.findings)
        if time.monotonic() - self._told_at > _PROGRESS_S:
            self._told_at = time.monotonic()
            click.echo(f"payments verify: {self.payments} payments so far", err=True)

    def take_all(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            self.take(finding)

    def take(self, finding: Finding) -> None:
        forgiven = finding.kind in self.allowed
        self.forgiven += forgiven
        self.wrong += not forgiven
        if len(self.findings) < _KEPT_MAX:
            self.findings.append(finding)
        if self.aloud:
            say(f"{_spoken(finding)}{' (allowed)' if forgiven else ''}")


@click.command()
@click.option(
    "--anchor",
    "anchor_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Also find payments and entries that were there when FILE was written.",
)
@click.option(
    "--write-anchor",
    "new_anchor_path",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="When all is well, write where every history ends to FILE; keep it away from the database.",
)
@click.option(
    "--allow",
    multiple=True,
    type=click.Choice(_FORGIVABLE),
    help="Tell findings of this kind, and exit 0 all the same.",
)
@as_json
def verify(anchor_path: Path | None, new_anchor_path: Path | None, allow: tuple[str, ...], *, as_json: bool) -> None:
    """Check every payment against its chained history. Exits 0 only when all is well, else 1 with every finding."""
    settings = settings_or_exit()
    tally = _Tally(frozenset(map(FindingKind, allow)), aloud=not as_json)
    try:
        written = run(lambda container: _verify(container, tally, anchor_path, new_anchor_path), settings)
    except OSError as error:
        fail(f"the anchor cannot be read or written: {error.strerror}")
    keyed = bool(settings.history_keys)
    if as_json:
        print_json(_answer(tally, keyed=keyed, anchor_written=written))
    else:
        verdict = f"{tally.wrong} findings" if tally.wrong else "all is well"
        also = f", {tally.forgiven} allowed" if tally.forgiven else ""
        click.echo(f"{tally.payments} payments, {tally.entries} entries of history: {verdict}{also}")
        if new_anchor_path is not None:
            click.echo(f"the anchor {'is' if written else 'was not'} written to {new_anchor_path}")
        if not keyed:
            click.echo(f"payments verify: {_NO_KEY}", err=True)
    raise SystemExit(EXIT_TROUBLE if tally.wrong else 0)


async def _verify(container: Container, tally: _Tally, anchor_path: Path | None, new_path: Path | None) -> bool:
    """Whether a new anchor was written."""
    store = container.store()
    assert isinstance(store, SqlStore), "the application's own store"
    if anchor_path is not None:
        anchor = Anchor(anchor_path, store.history_keys)
        async for findings in against_anchor(store, anchor.heads()):
            tally.take_all(findings)
        tally.take_all(anchor.findings)
    if new_path is None:
        async for page in verified_pages(store):
            tally.take_page(page)
        return False
    with AnchorWriter.begun(new_path, store.history_keys, container.clock().now()) as writer:
        async for page in verified_pages(store):
            tally.take_page(page)
            writer.add(page.heads)
        if not tally.wrong:
            writer.keep()
    return not tally.wrong


def _spoken(finding: Finding) -> str:
    where = f"{finding.payment_id or 'anchor'}{f' version {finding.version}' if finding.version is not None else ''}"
    return f"{where}  {finding.kind.value}: {finding.what}"


def _answer(tally: _Tally, *, keyed: bool, anchor_written: bool) -> dict[str, Any]:
    return {
        "well": not tally.wrong,
        "keyed": keyed,
        "payments": tally.payments,
        "entries": tally.entries,
        "wrong": tally.wrong,
        "allowed": tally.forgiven,
        "findings": [
            {**attrs.asdict(finding), "kind": finding.kind.value, "allowed": finding.kind in tally.allowed}
            for finding in tally.findings
        ],
        "anchor_written": anchor_written,
    }
