"""Commands that catch up: compare with the gateways, and give up what is over its time."""

import asyncio
import re
import time
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import rich_click as click
import structlog

from payments_core.errors import StaleWrite, StorageError
from payments_core.ports import DueKind
from payments_core.use_cases.reconcile import Difference, DifferenceKind, Outcome, Reconciled
from payments_core_app.commands.common import EXIT_TROUBLE, as_json, at_work, print_json, run, say, settings_or_exit
from payments_core_app.container import Container
from payments_core_app.worker import attend_to_all
from payments_core_sqlalchemy.survey import SqlSurvey, Survived

__all__ = ["expire", "reconcile"]

log = structlog.get_logger(__name__)

_SINCE = timedelta(days=7)
"""Longer than any page lives, so that every page that closed lately is looked at."""
_SURVIVES = timedelta(days=1)
"""A run that was killed is gone on with; one older than this would leave out too much that happened since."""
_PAGE = 20
"""Payments between two notes of how far a run has come: as many are compared twice after a kill, at most."""
_AT_ONCE = 16
_PROGRESS_S = 5.0
_KEPT_MAX = 10_000
"""Differences in one JSON document; all of them are counted."""
_UNITS = {"d": "days", "h": "hours", "m": "minutes"}


class _Since(click.ParamType[datetime]):
    """A moment, or how long ago."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:  # noqa: ANN401 - click's own
        """`2026-11-20`, `2026-11-20T08:00:00Z`, `7d`, `12h`, `90m`."""
        if isinstance(value, datetime):
            return value
        if ago := re.fullmatch(r"([0-9]{1,5})([dhm])", value):
            return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        try:
            moment = datetime.fromisoformat(value)
            return moment.astimezone(UTC) if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        except (ValueError, OverflowError):
            self.fail(
                f"{value!r} is no moment such as 2026-11-20T08:00:00Z, nor a time ago such as 7d or 12h", param, ctx
            )


@attrs.define
class _Tally:
    """What was found so far, those of a run before that was killed included."""

    aloud: bool
    payments: int = 0
    questions: int = 0
    counts: Counter[str] = attrs.field(factory=Counter)
    """By class and outcome, `status repaired`."""
    differences: list[Difference] = attrs.field(factory=list)

    @property
    def left(self) -> int:
        """Differences that nobody has repaired or taken over."""
        return sum(count for name, count in self.counts.items() if name.endswith(f" {Outcome.LEFT.value}"))

    def take(self, results: Iterable[Reconciled]) -> None:
        for result in results:
            self.payments += 1
            self.questions += result.questions
            for difference in result.differences:
                self._take(difference)

    def _take(self, difference: Difference) -> None:
        self.counts[f"{difference.kind.value} {difference.outcome.value}"] += 1
        if len(self.differences) < _KEPT_MAX:
            self.differences.append(difference)
        if self.aloud:
            what = f"{difference.kind.value}: {difference.reference}: {difference.what}"
            say(f"{difference.payment_id}  {what} ({difference.outcome.value})")

    def as_row(self) -> dict[str, Any]:
        return {"payments": self.payments, "questions": self.questions, "counts": dict(self.counts)}

    def go_on_from(self, row: Any) -> None:  # noqa: ANN401 - JSON
        self.payments, self.questions = int(row["payments"]), int(row["questions"])
        self.counts = Counter(row["counts"])


@click.command()
@click.option("--since", type=_Since(), help="Also pages that ended since then: a moment, or 7d, 12h.  [default: 7d]")
@click.option("--anew", is_flag=True, help="Begin at the beginning, also when a run before was killed.")
@as_json
def reconcile(since: datetime | None, *, anew: bool, as_json: bool) -> None:
    """Compare every open and recently closed payment with its gateway, and repair what is behind.

    Exits 0 only when nothing is left behind, else 1. A run that was killed is gone on with by the next one.
    """
    settings = settings_or_exit(serving=True)
    tally = _Tally(aloud=not as_json)
    resumed = run(lambda container: _reconcile(container, tally, since, anew=anew), settings)
    if as_json:
        print_json(_answer(tally, resumed=resumed))
    else:
        told = ", ".join(f"{name}: {count}" for name, count in sorted(tally.counts.items())) or "no difference"
        also = " (with what a run before had found)" if resumed else ""
        click.echo(f"{tally.payments} payments, {tally.questions} questions{also}: {told}")
        click.echo("nothing is left behind" if not tally.left else f"{tally.left} left behind")
    raise SystemExit(EXIT_TROUBLE if tally.left else 0)


async def _reconcile(container: Container, tally: _Tally, since: datetime | None, *, anew: bool) -> bool:
    """Whether this went on with a run that was killed."""
    survey, now = container.survey(), container.clock().now()
    reconciling = container.service().reconcile
    assert reconciling is not None, "the application has a survey"
    before = None if anew else await _survived(survey, since, now)
    run_ = before or Survived(since or now - _SINCE, None, now, now, {})
    if before is not None:
        tally.go_on_from(before.tally)
        click.echo(
            f"payments reconcile: going on after {before.cursor}, as far as a run that has not ended had come", err=True
        )
    total, told_at = await survey.count(run_.since), time.monotonic()
    async with at_work(container):
        while ids := await survey.ids(run_.since, after=run_.cursor, limit=_PAGE):
            tally.take(await _side_by_side(reconciling, ids))
            run_ = attrs.evolve(run_, cursor=ids[-1], seen_at=container.clock().now(), tally=tally.as_row())
            await survey.keep(run_)
            if time.monotonic() - told_at > _PROGRESS_S:
                told_at = time.monotonic()
                click.echo(f"payments reconcile: {tally.payments} of {total} payments", err=True)
    await survey.forget()
    return before is not None


async def _side_by_side(reconciling: Any, ids: list[str]) -> list[Reconciled]:  # noqa: ANN401 - the use case
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(payment_id: str) -> Reconciled:
        async with gate:
            try:
                result: Reconciled = await reconciling(payment_id)
            except StaleWrite as error:
                return _not_compared(payment_id, error.code)
            except StorageError:
                raise
            except Exception:
                # A payment that breaks us, which is a bug or a row somebody changed, must not keep the others waiting.
                log.exception("reconcile.failed", payment_id=payment_id)
                return _not_compared(payment_id, "it could not be compared; why was logged")
            return result

    return await asyncio.gather(*(one(payment_id) for payment_id in ids))


def _not_compared(payment_id: str, what: str) -> Reconciled:
    left = Difference(kind=DifferenceKind.UNFINISHED, payment_id=payment_id, reference=payment_id, what=what)
    return Reconciled(payment_id, 0, (left,))


async def _survived(survey: SqlSurvey, since: datetime | None, now: datetime) -> Survived | None:
    """The killed run to go on with: a young one, that looked at least as far back."""
    before = await survey.survived()
    if before is None or before.cursor is None or before.seen_at < now - _SURVIVES:
        return None
    return before if since is None or before.since <= since else None


def _answer(tally: _Tally, *, resumed: bool) -> dict[str, Any]:
    return {
        "done": not tally.left,
        "resumed": resumed,
        **tally.as_row(),
        "left": tally.left,
        "differences": [
            {**attrs.asdict(d), "kind": d.kind.value, "outcome": d.outcome.value} for d in tally.differences
        ],
    }


@click.command()
@as_json
def expire(*, as_json: bool) -> None:
    """Give up what is over its time now: unpaid pages at their deadline, orders that nobody clicked.

    Exits 0 when nothing is left that is over its time, else 1 (a page is not given up before it is proved dead).
    """
    settings = settings_or_exit(serving=True)
    answer = run(_expire, settings)
    if as_json:
        print_json(answer)
    else:
        click.echo(
            f"{answer['deadlines']} deadlines, {answer['orders']} orders, {answer['closing']} pages still closing"
        )
    raise SystemExit(EXIT_TROUBLE if answer["closing"] or answer["postponed"] else 0)


async def _expire(container: Container) -> dict[str, int]:
    async with at_work(container):
        report = await attend_to_all(container.service().sweep, _AT_ONCE, kinds=(DueKind.DEADLINE, DueKind.ORDER))
    backlog = await container.watch().backlog(container.clock().now())
    return {
        "deadlines": report.done[DueKind.DEADLINE.value],
        "orders": report.done[DueKind.ORDER.value],
        "postponed": report.postponed.total(),
        "closing": backlog.waiting["closing"].count,
    }
