"""What a run did and what it came to, as a table a person reads."""

from collections import Counter
from collections.abc import Mapping

import attrs

from chaos.books import Ledger, Stored
from chaos.people import Deed
from chaos.plan import Plan

_VIOLATIONS_SHOWN = 50


@attrs.define
class Outcome:
    """Everything there is to say about a run."""

    plan: Plan
    kills: Counter[str] = attrs.field(factory=Counter)
    requests: Counter[str] = attrs.field(factory=Counter)
    answers: Counter[str] = attrs.field(factory=Counter)
    faults: Counter[str] = attrs.field(factory=Counter)
    receipts: Counter[str] = attrs.field(factory=Counter)
    deeds: Mapping[str, Deed] = attrs.field(factory=dict)
    ledger: Ledger | None = None
    stored: Stored | None = None
    storm_s: float = 0.0
    together: list[tuple[float, int]] = attrs.field(factory=list)
    """Product seconds after the last fault, and how many things had not come together then."""
    told_again: int = 0
    ended_s: float = 0.0
    verify: str = ""
    violations: list[str] = attrs.field(factory=list)

    def lines(self) -> list[str]:
        """The table, and every violation with its order."""
        assert self.ledger is not None
        assert self.stored is not None
        told, plan, orders = self.ledger.notifications, self.plan, self.stored.orders.values()
        ends = Counter(one.payment_status or one.status for one in orders)
        cases = Counter(kind for one in orders for kind, _ in one.open_cases)
        rows = [
            ("database", plan.database),
            ("gateway", plan.gateway),
            ("seed", plan.seed),
            ("payments", f"{len(self.deeds)} orders, {plan.clients} at a time"),
            ("kill -9", f"{self.kills.total()}: {_listed(self.kills)}"),
            ("storm", f"{self.storm_s:.0f} s"),
            ("gateway calls", f"{sum(self.ledger.calls.values())}: {_listed(self.ledger.calls)}"),
            ("gateway faults", f"{self.faults.total()}: {_listed(self.faults)}"),
            ("notifications", _listed(told)),
            ("webhook answers", _listed(self.answers)),
            ("acknowledged", f"{self.receipts.total()} deliveries of {len(self.receipts)} notifications"),
            ("verdicts", _listed(Counter(self.stored.verdicts.values()))),
            ("client requests", _listed(self.requests)),
            ("clients gave up", sum(bool(deed.gave_up) for deed in self.deeds.values())),
            ("payments ended", _listed(ends)),
            ("open cases", _listed(cases)),
            ("told once more", self._told_again()),
            ("came together", self._together()),
            ("every order ended", f"{self.ended_s:.0f} s of product time after the last fault"),
            ("payments verify", self.verify),
            ("violations", len(self.violations)),
        ]
        shown = [f"  {violation}" for violation in self.violations[:_VIOLATIONS_SHOWN]]
        return [*(f"{name:<18} {value}" for name, value in rows), *shown]

    def _told_again(self) -> str:
        return f"{self.told_again} transactions whose last notification was dropped, and which are polled no more"

    def _together(self) -> str:
        """How long after the last fault both sides said the same."""
        seconds, _ = self.together[-1]
        early = next((many for after, many in self.together if after >= 60), 0)
        return f"{seconds:.0f} s of product time after the last fault; {early} things were open after 60 s"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {many}" for name, many in sorted(counts.items(), key=lambda one: -one[1])) or "none"
