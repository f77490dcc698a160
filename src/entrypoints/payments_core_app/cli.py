"""The `payments` command line: one file a command group, gathered here."""

import rich_click as click

from payments_core_app.commands.demo import demo
from payments_core_app.commands.doctor import doctor
from payments_core_app.commands.serving import migrate, serve, simulator, sweep, worker
from payments_core_app.commands.tools import review, show, stock, token
from payments_core_app.commands.transfers import confirm
from payments_core_app.commands.verify import verify

__all__ = ["cli"]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="payments-core", prog_name="payments")
def cli() -> None:
    """A shop's order gets paid exactly once. Settings come from the environment; `doctor` says what is missing."""


for command in (serve, worker, sweep, migrate, simulator, demo, token, stock, show, review, confirm, verify, doctor):
    cli.add_command(command)
