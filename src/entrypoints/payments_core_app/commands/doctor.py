"""`payments doctor`: what is set, wrong or missing; never a secret."""

import asyncio
import os
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import attrs
import rich_click as click

from payments_core.errors import StorageError
from payments_core.states import Confirm
from payments_core.system import SystemClock
from payments_core_app.commands.common import EXIT_TROUBLE, as_json, print_json, schema_trouble
from payments_core_app.settings import SANDBOX_PREFIXES, Mode, Settings, SettingsError
from payments_core_midtrans import MidtransSettings
from payments_core_sqlalchemy import SqlStore, current_revision
from payments_core_sqlalchemy.diagnosis import is_read_only, reason
from payments_core_sqlalchemy.watch import INVARIANTS, Backlog, Broken, Watch, what_is
from payments_core_stripe import StripeSettings

__all__ = ["doctor", "examine"]

_SECRET = frozenset(
    {
        "PAYMENTS_HISTORY_KEY",
        "PAYMENTS_MANUAL_SECRET",
        "PAYMENTS_JWT_SECRET",
        "PAYMENTS_METRICS_TOKEN",
        "MIDTRANS_SERVER_KEY",
        "MIDTRANS_SERVER_KEY_PREVIOUS",
        "MIDTRANS_CLIENT_KEY",
        "STRIPE_SECRET_KEY",
        "STRIPE_WEBHOOK_SECRET",
        "PAYMENTS_DATABASE_URL",
    }
)
_SHOWN = frozenset(
    {
        "FRONTEND_URL",
        "MIDTRANS_API_URL",
        "MIDTRANS_CALLS_IN_FLIGHT",
        "MIDTRANS_CALLS_PER_SECOND",
        "MIDTRANS_CONFIRM",
        "MIDTRANS_IS_PRODUCTION",
        "MIDTRANS_MERCHANT_ID",
        "MIDTRANS_SNAP_URL",
        "MIDTRANS_STATUS_LAG_SECONDS",
        "MIDTRANS_THREADS",
        "MIDTRANS_TIMEOUT_SECONDS",
        "PAYMENTS_DRAIN_SECONDS",
        "PAYMENTS_EXPIRY_HOURS",
        "PAYMENTS_HOLD_MAX_HOURS",
        "PAYMENTS_JWKS_URL",
        "PAYMENTS_JWT_AUDIENCE",
        "PAYMENTS_JWT_ISSUER",
        "PAYMENTS_MANUAL_BANK_DETAILS",
        "PAYMENTS_LATE_PAYMENT",
        "PAYMENTS_METRICS",
        "PAYMENTS_MODE",
        "PAYMENTS_POLL_SECONDS",
        "PAYMENTS_PUBLIC_URL",
        "PAYMENTS_RETURN_ORIGINS",
        "STRIPE_API_URL",
        "STRIPE_CALLS_IN_FLIGHT",
        "STRIPE_CALLS_PER_SECOND",
        "STRIPE_TIMEOUT_SECONDS",
    }
)
"""Only what is known to be no secret is printed: a misspelt name may hold one."""
_PRODUCTION_PREFIXES = ("Mid-server-",)
"""Sandbox keys begin with SB-; the word after it is the same."""
_LATE = timedelta(hours=1)
_LATE_AFTER = {"due_work": timedelta(minutes=2), "notification": timedelta(minutes=15)}
"""When the oldest of something is worth a warning: the sweep looks every second, a hint is decided in 13 minutes."""
_PREFIXES = ("PAYMENTS_", "MIDTRANS_", "STRIPE_", "FRONTEND_URL")


@attrs.frozen
class Finding:
    """One thing the doctor has to say; `level` is ok, warning or error."""

    level: str
    what: str


@click.command()
@as_json
def doctor(*, as_json: bool) -> None:
    """Say what is set, wrong or missing. Exits 0 when the service could run as it is, else 1."""
    findings = examine(dict(os.environ))
    broken = any(finding.level == "error" for finding in findings)
    if as_json:
        answer: dict[str, Any] = {"healthy": not broken, "findings": [attrs.asdict(finding) for finding in findings]}
        print_json(answer)
    else:
        for finding in findings:
            click.echo(f"{finding.level:>8}  {finding.what}")
    raise SystemExit(EXIT_TROUBLE if broken else 0)


def examine(environment: dict[str, str]) -> list[Finding]:
    """Everything worth saying of this environment."""
    findings = [_of_a_name(name, value) for name, value in sorted(environment.items()) if name.startswith(_PREFIXES)]
    try:
        settings = Settings.read(environment)
    except SettingsError as error:
        return [*findings, *(Finding("error", problem) for problem in error.problems)]
    findings += [Finding("error", refusal) for refusal in settings.refusals()]
    findings += [*_of_the_urls(settings), *_of_the_history(settings), *_of_the_gateways(settings)]
    return [*dict.fromkeys([*findings, *_of_the_database(settings)])]  # what production refuses may be known already


def _of_a_name(name: str, value: str) -> Finding:
    if name in _SHOWN:
        return Finding("ok", f"{name} = {value}")
    if name in _SECRET:
        return Finding("ok", f"{name} is set")
    return Finding("warning", f"{name} is set, and is no setting of ours")


def _of_the_urls(settings: Settings) -> list[Finding]:
    """Outside of this machine nothing that counts must come over a connection that anybody can read or change."""
    if settings.mode is not Mode.PRODUCTION:
        return []
    why = {
        "FRONTEND_URL": (settings.frontend_url, "the buyer returns over a connection anybody can change"),
        "PAYMENTS_JWKS_URL": (settings.jwks_url, "whoever is on the way can publish keys of his own"),
    }
    return [
        Finding("warning", f"{name} is not https: {told}")
        for name, (url, told) in why.items()
        if url is not None and urlsplit(url).scheme != "https"
    ]


def _of_the_history(settings: Settings) -> list[Finding]:
    if settings.history_keys:
        return []
    return [
        Finding(
            "warning",
            "PAYMENTS_HISTORY_KEY is not set: a change by somebody who can write the database cannot be detected",
        )
    ]


def _of_the_gateways(settings: Settings) -> list[Finding]:
    midtrans, stripe, manual = settings.midtrans, settings.stripe, settings.manual
    if midtrans is None and stripe is None and manual is None:
        return [Finding("error", "neither MIDTRANS_SERVER_KEY nor STRIPE_SECRET_KEY is set: no order can be paid")]
    findings = _of_midtrans(midtrans, settings.mode) if midtrans else []
    findings += _of_stripe(stripe) if stripe else []
    if manual is not None:
        findings.append(Finding("ok", "bank transfers are taken; an operator confirms them"))
    if len([one for one in (midtrans, stripe, manual) if one is not None]) > 1:
        findings.append(Finding("ok", f"a click that names no provider is paid through {settings.default_provider}"))
    return findings


def _of_stripe(stripe: StripeSettings) -> list[Finding]:
    mode = {True: "live", False: "test", None: "unknown"}[stripe.live]
    findings = [Finding("ok", f"Stripe at {stripe.api_base}, with a key of mode {mode}")]
    if stripe.live is None:
        findings.append(
            Finding("warning", "STRIPE_SECRET_KEY begins with none of sk_live_, rk_live_, sk_test_, rk_test_")
        )
    if not stripe.webhook_secrets:
        findings.append(Finding("error", "STRIPE_WEBHOOK_SECRET is not set: no event of Stripe could be verified"))
    if len(stripe.webhook_secrets) > 1:
        findings.append(Finding("warning", "STRIPE_WEBHOOK_SECRET holds several secrets; leave one after the rotation"))
    return findings


def _of_midtrans(midtrans: MidtransSettings, mode: Mode) -> list[Finding]:
    findings = [Finding("ok", f"Midtrans at {midtrans.snap_base} and {midtrans.api_base}")]
    if not midtrans.is_production and midtrans.server_key.startswith(_PRODUCTION_PREFIXES):
        findings.append(
            Finding(
                "warning",
                "MIDTRANS_SERVER_KEY looks like a production key, and MIDTRANS_IS_PRODUCTION is false: "
                "the sandbox will refuse it",
            )
        )
    if mode is Mode.PRODUCTION and midtrans.server_key.startswith(SANDBOX_PREFIXES):
        findings.append(Finding("warning", "MIDTRANS_SERVER_KEY is a sandbox key: its money is not real"))
    if midtrans.confirm is Confirm.SIGNATURE:
        findings.append(
            Finding("warning", "MIDTRANS_CONFIRM=signature trusts the status word, which Midtrans does not sign")
        )
    if midtrans.merchant_id is None:
        findings.append(
            Finding("warning", "MIDTRANS_MERCHANT_ID is not set: a notification's merchant is not compared")
        )
    if midtrans.previous_key is not None:
        findings.append(Finding("warning", "MIDTRANS_SERVER_KEY_PREVIOUS still verifies; unset it after the rotation"))
    return findings


def _of_the_database(settings: Settings) -> list[Finding]:
    try:
        revision = asyncio.run(current_revision(settings.database_url))
        if trouble := schema_trouble(revision):
            return [Finding("error", trouble)]
        return [
            Finding("ok", f"the database answers, its schema is at {revision}"),
            *_of_its_writing(settings),
            *asyncio.run(_of_what_is_stored(settings)),
        ]
    except StorageError as error:
        return [Finding("error", reason(error, settings.database_url))]


def _of_its_writing(settings: Settings) -> list[Finding]:
    """All that is asked otherwise is answered by a database that only reads as well."""
    if not asyncio.run(is_read_only(settings.database_url)):
        return []
    why = "its file may only be read" if settings.is_sqlite else "a standby, or default_transaction_read_only is on"
    return [Finding("error", f"the database is read-only ({why}): no notification could be stored")]


async def _of_what_is_stored(settings: Settings) -> list[Finding]:
    """What waits, oldest first told; and whether orders, ledgers and stock agree."""
    store = SqlStore(settings.database_url)
    try:
        watch, now = Watch(store), SystemClock().now()
        backlog, broken = await watch.backlog(now), await watch.broken()
    finally:
        await store.close()
    return [*_of_the_backlog(backlog, now), *_of_the_invariants(broken)]


def _of_the_backlog(backlog: Backlog, now: datetime) -> Iterator[Finding]:
    for name, waiting in backlog.waiting.items():
        if waiting.count:
            late = waiting.age_s(now) > _LATE_AFTER.get(name, _LATE).total_seconds()
            age = timedelta(seconds=int(waiting.age_s(now)))
            yield Finding("warning" if late else "ok", f"{name}: {waiting.count} {what_is(name)}, the oldest for {age}")
    for kind, count in sorted(backlog.open_cases.items()):
        yield Finding("warning", f"{count} open cases of {kind}: `payments review`")


def _of_the_invariants(broken: Mapping[str, Broken]) -> Iterator[Finding]:
    for name, found in broken.items():
        told = INVARIANTS[name][0]
        if found.count:
            some = ", ".join(found.examples)
            yield Finding("error", f"{name} does not hold ({told}): {found.count} of them, for example {some}")
        else:
            yield Finding("ok", f"{name}: {told}")
