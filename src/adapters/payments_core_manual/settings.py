"""What the manual gateway is told."""

from datetime import timedelta
from functools import cached_property

import attrs

from payments_core.policy import GatewayTraits
from payments_core.states import CaseKind, Confirm

__all__ = ["ManualSettings"]


@attrs.frozen(kw_only=True)
class ManualSettings:
    """Where a buyer sends the money, and the keys that prove an operator's word.

    `secrets`: the first signs, all verify, so that one can be rolled. `page_base` is where our page is reached.
    """

    bank_details: str
    secrets: tuple[str, ...] = attrs.field(repr=False)
    page_base: str

    @cached_property
    def traits(self) -> GatewayTraits:
        """The signature covers everything said, nothing goes back by itself, and what was said stays said."""
        return GatewayTraits(
            confirm=Confirm.SIGNATURE,
            signed=frozenset({CaseKind.AMOUNT_MISMATCH, CaseKind.CURRENCY_MISMATCH}),
            status_lag=timedelta(0),
            replaces_pages=False,
            refunds={},
        )
