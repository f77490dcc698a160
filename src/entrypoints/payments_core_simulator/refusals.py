"""Why the simulated gateway says no, in our words; the wire words of each product are in `wire_errors.py`."""

from enum import Enum, auto


class Why(Enum):
    """The closed set of reasons."""

    # A request that cannot be understood or breaks a rule of its product.
    INVALID = auto()
    TOO_LARGE = auto()
    # Core: no such transaction, or none that answers to this id.
    UNKNOWN_TRANSACTION = auto()
    STATE = auto()
    REFUND_AMOUNT = auto()
    REFUND_KEY_USED = auto()
    # Snap.
    ORDER_TAKEN = auto()
    ORDER_PAID = auto()
    TOKEN_UNKNOWN = auto()
    TOKEN_CANCELLED = auto()
    ON_PROGRESS = auto()
    # The buyer (control endpoints and pay page).
    PAGE_UNKNOWN = auto()
    PAGE_DEAD = auto()
    NONSENSE = auto()
    # Our own bound is reached, not one of the gateway's.
    FULL = auto()


class Refusal(Exception):
    """Nothing was changed, and this is why."""

    def __init__(self, why: Why, *messages: str) -> None:
        super().__init__(why.name, *messages)
        self.why = why
        self.messages = messages or (why.name.lower().replace("_", " "),)
