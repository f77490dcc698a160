"""Decides which faults hit the next call or notification; seeded, so that a plan plays the same way again."""

import random

import attrs

from .fault_rules import (
    AnyRule,
    BankRefusal,
    CallRule,
    Delay,
    Delivery,
    Drop,
    Duplicate,
    FaultPlan,
    Latency,
    NotificationRule,
    Outcome,
    Reorder,
    StatusLag,
)
from .refusals import Refusal, Why


@attrs.frozen
class Calls:
    """The calls of one gateway's API, and which of them a status lag or a bank's refusal can mean something for."""

    names: frozenset[str]
    lagging: frozenset[str] = frozenset()
    refusable: frozenset[str] = frozenset()

    def of(self, rule: CallRule) -> frozenset[str]:
        """Return the calls this rule is about."""
        named = self.names if rule.calls == "all" else frozenset(rule.calls)
        if isinstance(rule, StatusLag):
            return named & self.lagging
        return named & self.refusable if isinstance(rule, BankRefusal) else named

    def check(self, plan: FaultPlan) -> None:
        """Refuse a plan with a rule that could never fire at this gateway."""
        for number, rule in enumerate(plan.faults):
            if not isinstance(rule, CallRule):
                continue
            unknown = frozenset(() if rule.calls == "all" else rule.calls) - self.names
            if unknown:
                known = ", ".join(sorted(self.names))
                raise Refusal(Why.INVALID, f"$.faults[{number}].calls: no {', '.join(sorted(unknown))}; one of {known}")
            if rule.calls == "all" and not self.of(rule):
                raise Refusal(Why.INVALID, f"$.faults[{number}].kind: no call of this gateway has this fault")


@attrs.frozen
class CallFaults:
    """What happens to one call: waits and lags add up, and at most one outcome replaces the answer."""

    latency_s: float = 0.0
    lag_s: float = 0.0
    bank_refuses: bool = False
    outcome: Outcome | None = None


@attrs.frozen
class NotificationFaults:
    """What happens to one notification."""

    copies: int = 0
    delay_s: float = 0.0
    held_s: float = 0.0
    dropped: bool = False


@attrs.define
class _Armed:
    """A rule with its own stream of chances, so that one rule's draws do not shift another's."""

    rule: AnyRule
    chances: random.Random
    fired: int = 0

    def fires(self) -> bool:
        if self.rule.count is not None and self.fired >= self.rule.count:
            return False
        if self.rule.probability < 1.0 and self.chances.random() >= self.rule.probability:
            return False
        self.fired += 1
        return True


class Faults:
    """The plan in effect."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self.replace(FaultPlan())

    def replace(self, plan: FaultPlan) -> None:
        """Put this plan in the place of the one before; its counts begin anew."""
        self._calls.check(plan)
        self._plan = plan
        self._armed = [
            _Armed(rule, random.Random(f"{plan.seed}:{number}"))  # noqa: S311 - a replayable chance, not a secret
            for number, rule in enumerate(plan.faults)
        ]

    @property
    def delivery(self) -> Delivery:
        """Return how notifications are retried."""
        return self._plan.delivery

    @property
    def seed(self) -> int:
        """Return the seed of the plan."""
        return self._plan.seed

    def report(self) -> dict[str, object]:
        """Return the plan and how often each rule fired."""
        fired = [one.fired for one in self._armed]
        return {"seed": self._plan.seed, "faults": self._plan.faults, "delivery": self._plan.delivery, "fired": fired}

    def draw_call(self, call: str) -> CallFaults:
        """Return the faults of the call that comes now."""
        drawn = CallFaults()
        for armed in self._armed:
            rule = armed.rule
            if isinstance(rule, CallRule) and call in self._calls.of(rule):
                drawn = _add_call_fault(drawn, rule, armed)
        return drawn

    def draw_notification(self, status: str) -> NotificationFaults:
        """Return the faults of the notification that goes out now."""
        drawn = NotificationFaults()
        for armed in self._armed:
            rule = armed.rule
            named = isinstance(rule, NotificationRule) and (not rule.statuses or status in rule.statuses)
            if named and armed.fires():
                drawn = _add_notification_fault(drawn, rule)
        return drawn


def _add_call_fault(drawn: CallFaults, rule: CallRule, armed: _Armed) -> CallFaults:
    if isinstance(rule, Outcome) and drawn.outcome is not None:
        # An answer is replaced once; the later rule keeps its count for another call.
        return drawn
    if not armed.fires():
        return drawn
    match rule:
        case Latency():
            return attrs.evolve(drawn, latency_s=drawn.latency_s + rule.ms / 1000)
        case StatusLag():
            return attrs.evolve(drawn, lag_s=drawn.lag_s + rule.seconds)
        case BankRefusal():
            return attrs.evolve(drawn, bank_refuses=True)
        case Outcome():
            return attrs.evolve(drawn, outcome=rule)
        case _:
            return drawn


def _add_notification_fault(drawn: NotificationFaults, rule: AnyRule) -> NotificationFaults:
    match rule:
        case Duplicate():
            return attrs.evolve(drawn, copies=drawn.copies + rule.copies)
        case Delay():
            return attrs.evolve(drawn, delay_s=drawn.delay_s + rule.ms / 1000)
        case Reorder():
            return attrs.evolve(drawn, held_s=max(drawn.held_s, rule.within_ms / 1000))
        case Drop():
            return attrs.evolve(drawn, dropped=True)
        case _:
            return drawn
