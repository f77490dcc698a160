"""`payments confirm-transfer`: an operator found a buyer's transfer on the bank statement."""

import getpass

import msgspec
import rich_click as click

from payments_core_app.commands.common import as_json, print_json, run, settings_or_exit
from payments_core_app.container import Container
from payments_core_app.describe import payment_answer
from payments_core_app.transfers import Confirmed, confirm_transfer

__all__ = ["confirm"]


@click.command("confirm-transfer")
@click.argument("reference")
@click.argument("amount")
@click.option("--bank-reference", required=True, help="The bank's own name of the booking; each counts once.")
@click.option("--by", default=getpass.getuser, show_default="your user name", help="Who says so.")
@as_json
def confirm(reference: str, amount: str, bank_reference: str, by: str, *, as_json: bool) -> None:
    """Say that a transfer of AMOUNT (in major units) with this REFERENCE arrived on our account.

    It is taken in like a notification of any gateway: another amount than asked for pays nothing and opens a case.
    """

    async def work(container: Container) -> Confirmed:
        service, background = container.service(), container.background()
        background.begin(service.perform)
        said = await confirm_transfer(container, reference, amount, bank_reference, actor=f"operator:{by}")
        await background.finish()
        return said

    said = run(work, settings_or_exit())
    told = payment_answer(said.payment)
    if as_json:
        print_json({"verdict": said.verdict.value, "reason": said.reason, **msgspec.to_builtins(told)})
        return
    cases = [case.kind for case in told.cases if case.open]
    waiting = f"; needs a person: {', '.join(cases)}" if cases else ""
    click.echo(f"{said.verdict.value}: payment {told.payment_id} of order {told.order_id} is {told.status}{waiting}")
