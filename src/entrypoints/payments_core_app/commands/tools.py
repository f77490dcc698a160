"""Commands for a person: make a token, set stock, show a payment."""

from datetime import timedelta
from typing import Any

import msgspec
import rich_click as click

from payments_core import Payment
from payments_core.errors import InvalidInput, NotFound
from payments_core.facts import Event
from payments_core.ports import PaymentFilter
from payments_core_app.commands.common import EXIT_REFUSED, as_json, fail, print_json, run, say, settings_or_exit
from payments_core_app.container import Container
from payments_core_app.describe import CaseAnswer, EventAnswer, PaymentAnswer, event_answer, payment_answer
from payments_core_app.http.bodies import Sku, StockBody
from payments_core_app.http.order_input import check_sku
from payments_core_app.tokens import SCOPES, Role, make_token

__all__ = ["review", "show", "stock", "token"]

_EVENTS_AT_ONCE, _REVIEW_MAX = 500, 10_000


@click.command()
@click.option("--sub", required=True, help="Whose token: a customer's id, or a service's name.")
@click.option("--role", type=click.Choice([role.value for role in Role]), help="Without it: a customer's token.")
@click.option("--scope", default="", help=f"Blank-separated, of: {' '.join(SCOPES)}.")
@click.option("--ttl", default=3600, show_default=True, type=click.IntRange(1, 31_536_000), help="Seconds.")
def token(sub: str, role: str | None, scope: str, ttl: int) -> None:
    """Print a token signed with PAYMENTS_JWT_SECRET."""
    unknown = sorted(set(scope.split()) - set(SCOPES))
    if unknown:
        fail(f"no such scope: {', '.join(unknown)}; there are: {', '.join(SCOPES)}", EXIT_REFUSED)
    if scope and role is None:
        fail("a customer's scope is ignored; say --role service or --role operator", EXIT_REFUSED)
    if not sub.strip():
        fail("--sub is empty: a token names somebody", EXIT_REFUSED)
    settings = settings_or_exit()
    try:
        made = make_token(settings, sub, role=Role(role) if role else None, scope=scope, ttl=timedelta(seconds=ttl))
    except ValueError as error:
        fail(str(error), EXIT_REFUSED)
    click.echo(made)


@click.group()
def stock() -> None:
    """Read and set the stock of the SQL order book."""


def _sku(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    """What the API takes in an order: stock of anything else could never be reserved."""
    try:
        return check_sku(msgspec.convert(value, Sku))
    except (msgspec.ValidationError, InvalidInput) as error:
        raise click.BadParameter(str(error)) from None


def _available(_ctx: click.Context, _param: click.Parameter, value: int) -> int:
    """What the API takes, which is what every database can store."""
    try:
        return msgspec.convert({"available": value}, StockBody).available
    except msgspec.ValidationError as error:
        raise click.BadParameter(str(error).partition(" - at ")[0]) from None


@stock.command("set")
@click.argument("sku", callback=_sku)
@click.argument("available", type=int, callback=_available)
def set_stock(sku: str, available: int) -> None:
    """Set how many units of SKU can still be reserved."""

    async def work(container: Container) -> None:
        async with container.store().transaction() as uow:
            await uow.orders.put_stock(sku, available)
            await uow.commit()

    run(work, settings_or_exit())
    click.echo(f"{sku}: {available} available")


@stock.command("get")
@click.argument("sku")
@as_json
def get_stock(sku: str, *, as_json: bool) -> None:
    """Print the units of SKU: what can still be reserved, and what orders have reserved."""

    async def work(container: Container) -> dict[str, Any]:
        async with container.store().reading() as uow:
            level = await uow.orders.stock(sku)
        if level is None:
            raise NotFound(f"no stock is known for {sku}", code="unknown_sku")
        return {"sku": sku, "available": level.available, "reserved": level.reserved}

    level = run(work, settings_or_exit())
    if as_json:
        print_json(level)
    else:
        click.echo(f"{sku}: {level['available']} available, {level['reserved']} reserved")


@click.command()
@click.argument("payment_id")
@as_json
def show(payment_id: str, *, as_json: bool) -> None:
    """Print everything known of PAYMENT_ID: pages, charges, refunds, cases, and its whole history."""

    async def work(container: Container) -> tuple[Payment, list[Event]]:
        async with container.store().reading() as uow:
            payment = (await uow.payments.load([payment_id])).get(payment_id)
            events = list[Event]()
            while page := await uow.payments.history(payment_id, after=len(events), limit=_EVENTS_AT_ONCE):
                events += page
        if payment is None:
            raise NotFound(f"no payment {payment_id}", code="no_payment")
        return payment, events

    payment, events = run(work, settings_or_exit())
    told = payment_answer(payment)
    history = [event_answer(event) for event in events]
    if as_json:
        print_json({**msgspec.to_builtins(told), "events": msgspec.to_builtins(history)})
    else:
        _print(told, history)


@click.command()
@as_json
def review(*, as_json: bool) -> None:
    """Print every payment with an open case: what needs a person, and the evidence."""

    async def work(container: Container) -> list[Payment]:
        found, before = list[Payment](), None
        async with container.store().reading() as uow:
            wanted = PaymentFilter(needs_review=True)
            while len(found) < _REVIEW_MAX and (page := await uow.payments.newest(wanted, before=before, limit=200)):
                found, before = [*found, *page], page[-1].payment_id
        return found

    payments = [payment_answer(payment) for payment in run(work, settings_or_exit())]
    if as_json:
        print_json(msgspec.to_builtins(payments))
        return
    for payment in payments:
        say(f"payment {payment.payment_id} of order {payment.order_id}: {payment.status}")
        for case in payment.cases:
            if case.open:
                _print_case(case)
    say(f"{len(payments)} payments need a person" if payments else "nothing needs a person")


def _print_case(case: CaseAnswer) -> None:
    decided = f"{case.decision} by {case.decided_by}: {case.note}" if case.decision else "open"
    evidence = ", ".join(f"{name}={value}" for name, value in case.evidence.items())
    about = f" of {case.transaction_id}" if case.transaction_id else ""
    say(f"  case {case.case_id} {case.kind}{about} ({decided}): {evidence}")


def _print(payment: PaymentAnswer, history: list[EventAnswer]) -> None:
    money = f"{payment.amount} {payment.currency}"
    say(f"payment {payment.payment_id} of order {payment.order_id}: {payment.status}, {money}")
    for page in payment.attempts:
        closing = f", closing: {page.closing}" if page.closing else ""
        proof = f", proof: {page.proof}" if page.proof else ""
        say(f"  page {page.provider_order_id}: {page.state}{closing}{proof}, ends {page.ends_at}")
    for charge in payment.charges:
        kept = ", keeps the order paid" if charge.transaction_id == payment.paid_by else ""
        good = "" if charge.good else ", not good"
        said = f"{charge.state} {charge.amount} {charge.currency} by {charge.method}"
        back = {"refunded": charge.refunded, "charged back": charge.charged_back}
        said += "".join(f", {amount} {what}" for what, amount in back.items() if amount != "0")
        say(f"  charge {charge.transaction_id}: {said}{kept}{good}")
    for refund in payment.refunds:
        why = f", refused: {refund.refused}" if refund.refused else ""
        say(f"  refund {refund.refund_id}: {refund.state} {refund.amount} {refund.currency} by {refund.by}{why}")
    for case in payment.cases:
        _print_case(case)
    for event in history:
        data = ", ".join(f"{name}={value}" for name, value in event.data.items())
        say(f"  {event.sequence:>4}  {event.at}  {event.type:<24} {event.actor:<20} {data}")
