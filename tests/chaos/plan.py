"""What a run does: how many orders, how many kills, which faults, from one seed."""

import random
from typing import Any

import attrs

STORIES = {
    # What buyer, shop and operator do with an order, and how often.
    "pays": 30,
    "pays_after_declines": 12,
    "pays_a_virtual_account": 14,
    "tries_two_methods_at_once": 4,
    "clicks_many_times": 6,
    "gives_up": 4,
    "lets_it_expire": 5,
    "cancels": 5,
    "cancels_while_paying": 3,
    "pays_twice": 3,
    "is_refunded_in_parts": 6,
    "is_refunded_whole": 4,
    "is_voided": 2,
    "is_captured": 4,
    "is_reviewed": 3,
    "is_reversed": 2,
}
AT_STRIPE = {
    "pays_at_stripe": 24,
    "pays_at_stripe_after_declines": 12,
    "confirms_at_stripe": 8,
    "pays_at_stripe_by_bank": 10,
    "clicks_many_times_at_stripe": 6,
    "gives_up_at_stripe": 5,
    "stripe_expires_it": 4,
    "cancels_while_paying_at_stripe": 4,
    "is_refunded_at_stripe": 10,
    "is_refunded_and_it_comes_back": 4,
    "is_disputed": 5,
}
FROM_ONE_TO_THE_OTHER = {
    "leaves_midtrans_for_stripe": 10,
    "leaves_stripe_for_midtrans": 8,
    "has_both_open": 8,
}
GATEWAYS = {
    "midtrans": STORIES,
    "stripe": AT_STRIPE,
    "both": {**STORIES, **AT_STRIPE, **FROM_ONE_TO_THE_OTHER},
}
SKUS = tuple(f"book-{number}" for number in range(8))
STOCK = 1_000_000
UNIT_RUPIAH = 50_000
RATE = 5.0
"""Product seconds in a second. With `TIMEOUT_S` real seconds of patience with the gateway the lease of an opening,
which is that plus five product seconds, still outlasts the call; so does the lease of due work, 30 product seconds."""
TIMEOUT_S = 1.0
ENDING_RATE = 60.0
"""When nothing fails any more the hours until the last deadline pass in minutes."""
EXPIRY_HOURS = 0.5


@attrs.frozen(kw_only=True)
class Plan:
    """The parameters of a run; the same ones make the same stories and the same order of kills."""

    payments: int = 200
    kills: int = 20
    database: str = "postgresql"
    gateway: str = "midtrans"
    """Where people pay: `midtrans`, `stripe`, or `both`, from one to the other too."""
    seed: int = 1
    clients: int = 24
    minutes: float = 120.0
    """The storm ends after so long, also when less was done than planned; the report says how much."""
    patience_s: float = 600.0

    def stories(self) -> list[str]:
        """What happens with each order."""
        chance = random.Random(f"stories:{self.seed}")  # noqa: S311 - a replayable chance, not a secret
        stories = GATEWAYS[self.gateway]
        return chance.choices([*stories], [*stories.values()], k=self.payments)

    @property
    def gateways(self) -> tuple[str, ...]:
        """Those that are set up."""
        return ("midtrans", "stripe") if self.gateway == "both" else (self.gateway,)

    def kill_kinds(self) -> list[str]:
        """What is killed, in this order."""
        chance = random.Random(f"kills:{self.seed}")  # noqa: S311 - as above
        if self.database == "sqlite":  # the database is a library inside the one process
            return ["api"] * self.kills
        weights = [25, 15, 60] if self.database == "patroni" else [40, 25, 35]
        return chance.choices(["api", "worker", "database"], weights, k=self.kills)

    def faults(self, gateway: str) -> dict[str, Any]:
        """What the simulator of this gateway does wrong meanwhile.

        At Stripe there is no lag and no error inside 200, and a 500 is kept under its key: only those of creates may
        be one, since a refund that got one is not known to be refused before the key is forgotten, a day later.
        """
        rules: list[dict[str, Any]] = [
            {"kind": "notification_drop", "probability": 0.08},
            {"kind": "notification_duplicate", "copies": 2, "probability": 0.15},
            {"kind": "notification_delay", "ms": 1500, "probability": 0.1},
            {"kind": "notification_reorder", "within_ms": 2000, "probability": 0.1},
            {"kind": "latency", "ms": 200, "probability": 0.1},
            {"kind": "status_lag", "seconds": 2, "probability": 0.1},
            {"kind": "server_error", "probability": 0.03},
            {"kind": "server_error", "status": 500, "applied": True, "probability": 0.02},
            {"kind": "cut", "probability": 0.02},
            {"kind": "cut", "applied": True, "probability": 0.03},
            {"kind": "timeout", "hang_s": 3, "probability": 0.01},
            {"kind": "html", "probability": 0.02},
            {"kind": "empty_body", "applied": True, "probability": 0.01},
            {"kind": "error_in_200", "probability": 0.01},
            {"kind": "rate_limit", "probability": 0.02},
            {"kind": "bank_refusal", "calls": ["refund"], "probability": 0.02},
        ]
        if gateway == "stripe":
            only_midtrans = ("status_lag", "error_in_200", "bank_refusal")
            rules = [
                {**rule, "status": 502} if rule.get("status") == 500 else rule
                for rule in rules
                if rule["kind"] not in only_midtrans
            ]
            rules.append({"kind": "server_error", "status": 500, "calls": ["session_create"], "probability": 0.01})
            rules.append({"kind": "rate_limit", "code": "lock_timeout", "probability": 0.01})
        return {"seed": self.seed, "faults": rules, "delivery": {"speed_up": 300, "timeout_s": 5}}
