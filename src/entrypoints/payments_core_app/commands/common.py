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

from payments_core.errors import PaymentsError
from payments_core_app.container import Container
from payments_core_app.logs import configure
from payments_core_app.settings import Mode, Settings, SettingsError
from payments_core_midtrans import MidtransGateway
from payments_core_sqlalchemy import SqlStore

__all__ = ["EXIT_REFUSED", "EXIT_TROUBLE", "as_json", "container_of", "fail", "run", "settings_or_exit"]

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
    for reason in reasons:
        click.echo(f"payments: {reason}", err=True)
    click.echo("payments: nothing was started; `payments doctor` shows every setting", err=True)
    sys.exit(EXIT_REFUSED)


def fail(reason: str, code: int = EXIT_TROUBLE) -> NoReturn:
    """Say what went wrong, and end."""
    click.echo(f"payments: {reason}", err=True)
    sys.exit(code)


def run(work: Callable[[Container], Awaitable[Result]], settings: Settings) -> Result:
    """The result of this work over a container of its own; an error of ours ends the command with its reason."""

    async def inside() -> Result:
        async with container_of(settings) as container:
            return await work(container)

    try:
        return asyncio.run(inside())
    except PaymentsError as error:
        fail(f"{error.detail} ({error.code})")


@asynccontextmanager
async def container_of(settings: Settings) -> AsyncIterator[Container]:
    """A container that is closed at the end."""
    container = Container(settings=settings)
    try:
        yield container
    finally:
        for gateway in container.gateways().values():
            if isinstance(gateway, MidtransGateway):
                await gateway.close()
        store = container.store()
        if isinstance(store, SqlStore):
            await store.close()


def print_json(value: Any) -> None:  # noqa: ANN401 - JSON of any shape
    """One JSON document on standard output."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))
