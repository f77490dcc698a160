"""What the routes of every simulated gateway share: its clock, its faults, its deliveries and its count of calls."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime

import attrs
from litestar.handlers import HTTPRouteHandler

from .clock import Clock
from .fault_rules import FaultPlan
from .faults import Calls, Faults
from .notifier import Notifier, PostalHabits
from .replies import Reply


def http_url(_: object, attribute: "attrs.Attribute[str]", value: str) -> None:
    """Refuse a setting that is neither empty nor an http or https URL."""
    if value and not value.startswith(("http://", "https://")):
        raise ValueError(f"{attribute.name} must be an http or https URL")


class Stage(ABC):
    """One simulated gateway. All of it lives in one event loop, so one call is one step."""

    def __init__(self, calls: Calls, habits: PostalHabits, notification_speed_up: float) -> None:
        self.clock = Clock()
        self.faults = Faults(calls)
        self.notifier = Notifier(self.faults, habits, notification_speed_up)
        # Calls of the gateway's API as they arrived, the refused ones included.
        self.calls: Counter[str] = Counter()

    def plan_faults(self, plan: FaultPlan) -> None:
        """Put this plan in the place of the one before."""
        self.faults.replace(plan)
        self.notifier.reseed()

    def reset(self) -> None:
        """Return to the state of the start: no data, no faults, no clock moved, the switches as started."""
        self.clock.reset()
        self.plan_faults(FaultPlan())
        self.notifier.reset()
        self.calls.clear()

    @abstractmethod
    def now(self) -> datetime:
        """Return the time, after everything the clock does by itself has been done and told."""

    @abstractmethod
    def report(self) -> dict[str, object]:
        """Return the ledger as `/_sim/ledger` shows it: what really happened."""

    @abstractmethod
    def throw_switches(self, body: bytes) -> dict[str, object]:
        """Change the switches the body names, and return all of them without the keys."""


@attrs.frozen
class SimulatedGateway:
    """A stage with its doors. `levers` stand under `/_sim/`; `http_error` words a path or verb that is not ours."""

    stage: Stage
    routes: Sequence[HTTPRouteHandler]
    levers: Sequence[HTTPRouteHandler]
    http_error: Callable[[str, int], Reply]
