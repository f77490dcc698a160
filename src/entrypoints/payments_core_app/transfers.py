"""An operator's word that a transfer arrived, signed and taken in like every other notification of a gateway."""

import attrs

from payments_core.decide import Verdict
from payments_core.errors import Conflict, InvalidInput, NotFound
from payments_core.identity import read_provider_order_id
from payments_core.money import Money
from payments_core.payment import Attempt, Payment
from payments_core.ports import Foreign, ShopStore
from payments_core_app.container import Container
from payments_core_manual import HEADER, ManualGateway, Transfer, signature_of

__all__ = ["Confirmed", "confirm_transfer", "manual_page"]


@attrs.frozen
class Confirmed:
    """What became of it: the payment afterwards, and why if the money did not simply pay."""

    payment: Payment
    verdict: Verdict
    reason: str


async def confirm_transfer(
    container: Container, reference: str, amount: str, bank_reference: str, *, actor: str
) -> Confirmed:
    """The transfer is stored, and applied under the same laws as every other news of money.

    Errors: InvalidInput when bank transfers are off or the amount cannot be read; NotFound for a reference of nobody;
    Conflict when this booking was confirmed before, for whatever order; StorageError when it has to be said again.
    """
    settings, service, store = container.settings(), container.service(), container.store()
    if settings.manual is None:
        raise InvalidInput("PAYMENTS_MANUAL_BANK_DETAILS is not set", code="gateway_not_configured")
    payment, _ = await manual_page(store, reference)
    transfer = Transfer(
        provider_order_id=reference,
        amount=Money.parse(amount, payment.amount.currency),
        bank_reference=bank_reference.strip(),
        confirmed_by=actor,
        received_at=container.clock().now(),
    )
    body = transfer.to_bytes()
    signed = {HEADER: signature_of(body, settings.manual.secrets[0])}
    accepted = await service.receive(ManualGateway.name, body, signed)
    if isinstance(accepted, Foreign):
        raise InvalidInput(f"this is no transfer: {accepted.kind}")
    if accepted.verdict is Verdict.DUPLICATE:
        why = f"this booking was confirmed before ({accepted.reason}); nothing was counted twice"
        raise Conflict(why, code="already_confirmed")
    payment, _ = await manual_page(store, reference)
    return Confirmed(payment, accepted.verdict, accepted.reason)


async def manual_page(store: ShopStore, reference: str) -> tuple[Payment, Attempt]:
    """The payment this reference is of, and its page. Errors: NotFound."""
    named = read_provider_order_id(reference)
    if named is not None:
        async with store.reading() as uow:
            payment = (await uow.payments.load([named.payment_id])).get(named.payment_id)
        for attempt in payment.attempts if payment else ():
            if payment is not None and attempt.number == named.attempt and attempt.provider == ManualGateway.name:
                return payment, attempt
    raise NotFound("no bank transfer has this reference", code="no_payment")
