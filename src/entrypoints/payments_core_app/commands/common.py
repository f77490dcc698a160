"""What commands share: settings or a clear refusal, a container for a while, output for people and machines."""

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NoReturn, TypeVar

import rich_click as click

from payments_core.errors import PaymentsError, StorageError
from payments_core_app.container import Container, close_gateways
from payments_core_app.logs import configure
from payments_core_app.settings import Mode, Settings, SettingsError
from payments_core_sqlalchemy import SqlStore, current_revision, head_revision, newer_schema
from payments_core_sqlalchemy.diagnosis import reason

__all__ = [
    "EXIT_REFUSED",
    "EXIT_TROUBLE",
    "as_json",
    "at_work",
    "container_of",
    "fail",
    "refuse_another_schema",
    "run",
    "say",
    "schema_trouble",
    "settings_or_exit",
]

EXIT_TROUBLE, EXIT_REFUSED = 1, 2
"""1: it was tried and did not work. 2: it was not tried, because something has to be put right first."""

Result = TypeVar("Result")

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")


def settings_or_exit(*, serving: bool = False) -> Settings:
    """The settings of this environment; `serving` commands also refuse what must not serve."""
    try:
        settings = Settings.read(os.environ)
    except SettingsError as error:
        refuse(error.problems)
    if serving and (refusals := settings.refusals()):
        refuse(refusals)
    configure(pretty=settings.mode is not Mode.PRODUCTION)
    return settings


def is_free(host: str, port: int) -> bool:
    """Whether this address can be listened on now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError:
            return False
    return True


def refuse(reasons: list[str]) -> NoReturn:
    """Say every reason, and end before anything was done."""
    for why in reasons:
        click.echo(f"payments: {why}", err=True)
    click.echo("payments: nothing was started; `payments doctor` shows every setting", err=True)
    sys.exit(EXIT_REFUSED)


def fail(why: str, code: int = EXIT_TROUBLE) -> NoReturn:
    """Say what went wrong, and end."""
    click.echo(f"payments: {why}", err=True)
    sys.exit(code)


def schema_trouble(revision: str | None) -> str | None:
    """Why this version cannot work with a schema at this revision, and what to do; None when it can."""
    if revision == head_revision():
        return None
    older = f"the schema is at {revision or 'nothing'}, this version needs {head_revision()}: run `payments migrate`"
    return newer_schema(revision) or older


def refuse_another_schema(database_url: str) -> StorageError | None:
    """End when the schema is not this version's. Of a database that does not answer nobody can tell: its error."""
    try:
        revision = asyncio.run(current_revision(database_url))
    except StorageError as error:
        return error
    if trouble := schema_trouble(revision):
        fail(trouble, EXIT_REFUSED)
    return None


def run(work: Callable[[Container], Awaitable[Result]], settings: Settings, *, patient: bool = False) -> Result:
    """The result of this work over a container of its own; an error of ours ends the command with its reason.

    The schema is this version's; `patient` work begins also while the database is away, and waits for it itself.
    """
    away = refuse_another_schema(settings.database_url)
    if away is not None and not patient:
        fail(f"{reason(away, settings.database_url)} ({away.code})")

    async def inside() -> Result:
        async with container_of(settings) as container:
            return await work(container)

    try:
        return asyncio.run(inside())
    except StorageError as error:
        fail(f"{reason(error, settings.database_url)} ({error.code})")
    except PaymentsError as error:
        fail(f"{error.detail} ({error.code})")


@asynccontextmanager
async def container_of(settings: Settings) -> AsyncIterator[Container]:
    """A container that is closed at the end."""
    container = Container(settings=settings)
    try:
        yield container
    finally:
        await close_gateways(container.gateways())
        store = container.store()
        if isinstance(store, SqlStore):
            await store.close()


@asynccontextmanager
async def at_work(container: Container) -> AsyncIterator[None]:
    """Gateways may be called, and errands are done as they come; none is left undone at the end."""
    service, background, care = container.service(), container.background(), container.care()
    await care.begin()
    background.begin(service.perform)
    try:
        yield
        await background.finish()
    finally:
        await background.drain()
        await care.end()


def say(line: str) -> None:
    """One line for a person. Others wrote parts of it: what would steer the terminal is shown as Python writes it."""
    click.echo("".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in line))


def print_json(value: Any) -> None:  # noqa: ANN401 - JSON of any shape
    """One JSON document on standard output."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))
