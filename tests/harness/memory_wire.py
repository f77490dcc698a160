"""The other side of the memory gateway, for the contract of gateways."""

from types import SimpleNamespace
from typing import Any

import attrs

from payments_core.money import Money
from payments_core.payment import Attempt
from payments_core.ports import PageOpened
from payments_core.states import Signal
from payments_core.testing.gateways import Wire
from payments_core_memory import MemoryGateway


class MemoryWire(Wire):
    """The memory gateway is its own other side."""

    def __init__(self, gateway: MemoryGateway) -> None:
        self._gateway = gateway

    def is_payable(self, page: PageOpened) -> bool:
        return any(known.token == page.token and not known.is_gone for known in self._gateway.pages.values())

    def buyer_tries(self, page: PageOpened, attempt: Attempt, outcome: Signal) -> str:  # noqa: ARG002 - the token says it
        return self._gateway.buyer_tries(page.token, outcome)

    def becomes(self, transaction_id: str, word: Signal) -> None:
        self._gateway.becomes(transaction_id, word)

    def notification(self, transaction_id: str) -> tuple[bytes, dict[str, str]]:
        return self._gateway.notification(transaction_id)

    def refuses_the_next_call(self) -> None:
        self._gateway.refused_calls = 1

    def loses_the_next_answer(self) -> None:
        self._gateway.lost_answers = 1

    def asked_for(self, page: PageOpened, attempt: Attempt) -> Money:  # noqa: ARG002 - the token says it
        return next(known.amount for known in self._gateway.pages.values() if known.token == page.token)

    def says(self, transaction_id: str, word: str) -> None:
        was = self._gateway.transactions[transaction_id]
        invented: Any = SimpleNamespace(value=word)
        self._gateway.transactions[transaction_id] = attrs.evolve(was, words=(*was.words, invented))

    def holds_the_next_answer(self) -> None:
        self.loses_the_next_answer()  # no time passes here: whoever gets no answer has waited for it already
