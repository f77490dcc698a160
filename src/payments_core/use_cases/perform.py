"""Doing what a decision asked for. Every command may run late, twice, or not at all: its row is due on its own."""

from typing import assert_never

import attrs

from payments_core.commands import AskCharge, AskPage, CancelCharge, ClosePage, Command, SendRefund
from payments_core.use_cases.apply_reading import AskGateway
from payments_core.use_cases.close import ClosePages
from payments_core.use_cases.return_money import ReturnMoney

__all__ = ["Perform"]


@attrs.frozen
class Perform:
    """Carries out one command.

    Errors: GatewayUnavailable, GatewayTimeout, StorageError; the row that asked for it is due again.
    """

    ask: AskGateway
    closing: ClosePages
    returning: ReturnMoney

    async def __call__(self, command: Command) -> None:
        """The command is done, as far as it could be now."""
        match command:
            case AskCharge(payment_id, provider, attempt, transaction_id, number):
                await self.ask.charge(payment_id, provider, attempt, transaction_id, number)
            case AskPage(payment_id, number):
                payment = await self.ask.desk.look(payment_id)
                if payment is not None:
                    await self.ask.page(payment_id, payment.attempt(number))
            case ClosePage(payment_id, number):
                await self.closing.page(payment_id, number)
            case CancelCharge(payment_id, transaction_id):
                await self.closing.charge(payment_id, transaction_id)
            case SendRefund(payment_id, key):
                await self.returning.step(payment_id, key)
            case _:
                assert_never(command)
