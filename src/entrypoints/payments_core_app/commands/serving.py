"""Commands that serve: the API, the worker, the sweep, the migration, the simulator."""

import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from typing import Any

import rich_click as click
import uvicorn
from uvicorn.supervisors import Multiprocess

from payments_core.errors import StorageError
from payments_core_app.asgi import SWEEP_VARIABLE
from payments_core_app.commands.common import (
    EXIT_REFUSED,
    as_json,
    at_work,
    fail,
    is_free,
    print_json,
    refuse_another_schema,
    run,
    settings_or_exit,
)
from payments_core_app.container import Container
from payments_core_app.listeners import Listeners, can_be_dealt_out
from payments_core_app.settings import LOOPBACK, Mode
from payments_core_app.single import OneAtATime, TakenError, one_server
from payments_core_app.worker import SweepLoop, attend_to_all
from payments_core_sqlalchemy import NewerSchema, head_revision
from payments_core_sqlalchemy import migrate as migrate_database
from payments_core_sqlalchemy.diagnosis import reason

__all__ = ["migrate", "serve", "simulator", "sweep", "worker"]

_GRACE_S = 20
"""Requests under way may take a gateway's time-out; a rolling restart waits for them."""
_APPLICATION = "payments_core_app.asgi:create"
_BACKLOG = 4096
_AT_ONCE = 16
_PROGRESS_S = 5.0


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535))
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Server processes.")
@click.option("--no-worker", is_flag=True, help="Leave due work to `payments worker`.")
def serve(host: str, port: int, workers: int, *, no_worker: bool) -> None:
    """Serve the HTTP API, and attend to due work inside it."""
    settings = settings_or_exit(serving=True)
    if settings.mode is Mode.DEMO and host not in LOOPBACK:
        fail("the demo gives its tokens to whoever asks, so it listens on loopback only", EXIT_REFUSED)
    if not is_free(host, port):
        fail(f"port {port} of {host} cannot be listened on; choose another with --port or --host", EXIT_REFUSED)
    if settings.is_sqlite and workers > 1:
        fail(
            "SQLite has one writer, so one serving process: use --workers 1, or PostgreSQL "
            "(PAYMENTS_DATABASE_URL=postgresql+asyncpg://...)",
            EXIT_REFUSED,
        )
    os.environ[SWEEP_VARIABLE] = "no" if no_worker else "yes"
    with _alone(settings.database_url), _shared_metrics(workers):
        if away := refuse_another_schema(settings.database_url):
            click.echo(f"payments: {reason(away, settings.database_url)}; serving 503 until it is back", err=True)
        how: dict[str, Any] = {
            "factory": True,
            "host": host,
            "port": port,
            "workers": workers,
            "loop": "auto",
            "http": "httptools",
            "access_log": False,
            "log_config": None,  # its lines go where ours go
            "log_level": "warning",
            "server_header": False,
            "backlog": _BACKLOG,
            "timeout_keep_alive": 30,
            "timeout_graceful_shutdown": _GRACE_S,
        }
        if workers > 1 and can_be_dealt_out:
            Multiprocess(uvicorn.Config(_APPLICATION, **how), sockets=Listeners(host, port)).run()
        else:
            uvicorn.run(_APPLICATION, **how)


def _alone(database_url: str) -> OneAtATime:
    try:
        return one_server(database_url).acquire()
    except TakenError as error:
        fail(str(error), EXIT_REFUSED)


class _shared_metrics:  # noqa: N801 - a context manager, read as a verb
    """Several processes count into one folder, which is theirs alone and goes with them."""

    def __init__(self, workers: int) -> None:
        self._folder = tempfile.mkdtemp(prefix="payments-metrics-") if workers > 1 else None

    def __enter__(self) -> None:
        if self._folder is not None:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = self._folder

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


@click.command()
def worker() -> None:
    """Attend to due work, without serving; on as many machines as you like (PostgreSQL)."""
    settings = settings_or_exit(serving=True)
    with _alone(settings.database_url):
        run(_sweep_until_stopped, settings, patient=True)


async def _sweep_until_stopped(container: Container) -> None:
    service, background, care = container.service(), container.background(), container.care()
    await care.begin()
    background.begin(service.perform)
    loop = SweepLoop(service.sweep, _AT_ONCE, container.housekeeping())
    running = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        running.add_signal_handler(name, loop.stop)
    click.echo("payments worker: sweeping; stop it with Ctrl-C", err=True)
    await loop.run_until_stopped()
    await background.drain()
    await care.end()


@click.command()
@click.option("--once", is_flag=True, help="Attend to what is due now, then end.")
@as_json
def sweep(*, once: bool, as_json: bool) -> None:
    """Attend once to all due work: pages to finish, poll or close, hints to ask about, deadlines. See also `worker`."""
    if not once:
        raise click.UsageError("say --once; what sweeps until it is stopped is `payments worker`")
    settings = settings_or_exit(serving=True)
    done = run(_sweep_once, settings)
    if as_json:
        print_json(done)
    else:
        told = ", ".join(f"{kind}: {count}" for kind, count in done["done"].items()) or "nothing was due"
        click.echo(f"{told}; postponed: {sum(done['postponed'].values())}")


async def _sweep_once(container: Container) -> dict[str, Any]:
    """All that was due, and the errands it led to."""
    told_at = time.monotonic()

    def told(rows: int) -> None:
        nonlocal told_at
        if time.monotonic() - told_at > _PROGRESS_S:
            told_at = time.monotonic()
            click.echo(f"payments sweep: {rows} rows so far", err=True)

    async with at_work(container):
        report = await attend_to_all(container.service().sweep, _AT_ONCE, told=told)
    return {"done": dict(report.done), "postponed": dict(report.postponed)}


@click.command()
def migrate() -> None:
    """Bring the database to this version's schema."""
    settings = settings_or_exit()
    try:
        migrate_database(settings.database_url)
    except NewerSchema as error:
        fail(error.detail, EXIT_REFUSED)
    except StorageError as error:
        fail(f"the migration failed: {reason(error, settings.database_url)}")
    click.echo(f"the schema is at {head_revision()}")


@click.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def simulator(arguments: tuple[str, ...]) -> None:
    """Simulate Midtrans, or Stripe with --gateway stripe: the wire, a page to pay on, faults. Needs no settings."""
    # Its options are its own: it knows nothing of us, and one list of them cannot disagree with another.
    from payments_core_simulator.__main__ import main  # noqa: PLC0415 - only here is it wanted

    sys.exit(main(arguments, prog="payments simulator"))
