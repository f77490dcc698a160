"""Planted bugs that only a gateway with Stripe's manners brings to light, and one of the delivery of facts."""

from datetime import datetime
from importlib import import_module
from typing import Any

import attrs
import pytest

from payments_core import decide, returns
from payments_core.observations import DisputeNews, Observation
from payments_core.payment import Attempt, Payment, Refund
from payments_core.ports import Delivery, PageClosing, PageReply
from payments_core.states import Signal
from payments_core.use_cases import deliver
from payments_core_stripe import StripeGateway
from unit.simulation.bugs import Bug

__all__ = ["BUGS_AT_STRIPE"]

BUGS_AT_STRIPE: list[Bug] = []

observe: Any = import_module("payments_core_stripe.observe")
reading: Any = import_module("payments_core_stripe.reading")


def bug(plant: Any) -> Any:
    """Adds it to the list."""
    BUGS_AT_STRIPE.append(Bug(plant.__name__, plant))
    return plant


@bug
def refund_that_came_back_still_counted(patch: pytest.MonkeyPatch) -> None:
    """The buyer's bank did not take it, and our books say that he has it."""
    come_back = returns._come_back

    def counted_for_ever(payment: Payment, refund: Refund, now: datetime, *, counted: bool = False) -> Payment:  # noqa: ARG001
        return come_back(payment, refund, now, counted=False)

    patch.setattr(returns, "_come_back", counted_for_ever)


@bug
def session_left_open_when_another_page_opens(patch: pytest.MonkeyPatch) -> None:
    """Who comes back to the first tab pays a second time."""

    async def believed(_self: StripeGateway, _attempt: Attempt) -> PageClosing:
        return PageClosing.GONE

    patch.setattr(StripeGateway, "close_page", believed)


@bug
def idempotency_key_of_each_try_its_own(patch: pytest.MonkeyPatch) -> None:
    """A create whose answer was lost makes a second session."""
    open_page = StripeGateway.open_page

    async def under_a_new_key(self: StripeGateway, attempt: Attempt) -> PageReply:
        request = (attempt.request or "").replace(":create", f":create:{attempt.sends}")
        return await open_page(self, attrs.evolve(attempt, request=request))

    patch.setattr(StripeGateway, "open_page", under_a_new_key)


@bug
def request_of_each_try_its_own(patch: pytest.MonkeyPatch) -> None:
    """`expires_at` counted from now, under the stored key: Stripe refuses it, and nobody learns of the session."""
    open_page = StripeGateway.open_page

    async def counted_anew(self: StripeGateway, attempt: Attempt) -> PageReply:
        request = (attempt.request or "").replace('"mode"', f'"sends":{attempt.sends},"mode"')
        return await open_page(self, attrs.evolve(attempt, request=request))

    patch.setattr(StripeGateway, "open_page", counted_anew)


@bug
def complete_taken_for_paid(patch: pytest.MonkeyPatch) -> None:
    """A session is complete, so the goods go out, days before the bank says no."""
    meaning = observe._session_meaning

    def paid(kind: str, session: Any) -> Any:
        return Signal.SETTLED if kind == "checkout.session.completed" else meaning(kind, session)

    patch.setattr(observe, "_session_meaning", paid)


@bug
def won_dispute_still_charged_back(patch: pytest.MonkeyPatch) -> None:
    """What was charged back only ever grows."""
    patch.setattr(reading, "_GONE", frozenset({*DisputeNews}))


@bug
def message_without_an_order_dropped(patch: pytest.MonkeyPatch) -> None:
    """A refund names the intent alone, so it is nobody's."""

    def nobodys(payment: Payment, message: Observation) -> Attempt | None:
        named = message.provider_order_id
        return payment.attempt_named(named) if named is not None else None

    patch.setattr(decide, "attempt_of", nobodys)


@bug
def fact_forgotten_before_it_was_taken(patch: pytest.MonkeyPatch) -> None:
    """Its row goes first, and the process dies before the subscriber has it."""
    offer = deliver.DeliverFacts._offer

    async def forgotten(self: deliver.DeliverFacts, delivery: Delivery, report: deliver.DeliveryReport) -> None:
        await self.outbox.delivered(delivery)
        await offer(self, delivery, report)

    patch.setattr(deliver.DeliverFacts, "_offer", forgotten)
