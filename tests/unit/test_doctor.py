"""What the doctor warns of: settings that can be read, and will not do what was meant."""

from pathlib import Path

import pytest

from payments_core_app.commands.doctor import Finding, examine
from payments_core_app.settings import Settings

PRODUCTION = {
    "PAYMENTS_MODE": "production",
    "PAYMENTS_JWT_SECRET": "s" * 40,
    "PAYMENTS_PUBLIC_URL": "https://pay.shop.example",
    "MIDTRANS_SERVER_KEY": "Mid-server-0123456789",
    "MIDTRANS_IS_PRODUCTION": "true",
}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {**PRODUCTION, "PAYMENTS_DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path / 'none.sqlite3'}"}


def warnings(environment: dict[str, str]) -> str:
    return "\n".join(finding.what for finding in examine(environment) if finding.level == "warning")


class Asked(dict[str, str]):
    """An environment that remembers which names were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.names = set[str]()

    def get(self, name: str, default: str = "") -> str:  # type: ignore[override]
        self.names.add(name)
        return default


def test_every_setting_that_is_read_is_known_to_the_doctor(environment: dict[str, str]) -> None:
    """A list of its own, because what is printed was looked at: a new setting may be a secret."""
    asked = Asked()
    Settings.read(asked)
    assert "PAYMENTS_DRAIN_SECONDS" in asked.names
    told = examine({**environment, **dict.fromkeys(asked.names - environment.keys(), "")})
    assert not [finding for finding in told if "no setting of ours" in finding.what]


def test_what_is_missing_is_said_once(environment: dict[str, str]) -> None:
    told = [finding.what for finding in examine({**environment, "STRIPE_SECRET_KEY": "sk_live_0123456789"})]
    assert len([what for what in told if "STRIPE_WEBHOOK_SECRET is not set" in what]) == 1


def test_a_key_that_looks_like_production_beside_the_sandbox_is_warned_of(environment: dict[str, str]) -> None:
    """The sandbox refuses it, and every click fails until somebody finds out why."""
    told = "looks like a production key"
    assert told not in warnings(environment)
    assert told in warnings({**environment, "MIDTRANS_IS_PRODUCTION": "false"})
    sandbox = {"MIDTRANS_IS_PRODUCTION": "false", "MIDTRANS_SERVER_KEY": "SB-Mid-server-0123456789"}
    assert told not in warnings({**environment, **sandbox})


def test_a_frontend_without_tls_is_warned_of(environment: dict[str, str]) -> None:
    told = "FRONTEND_URL is not https"
    assert told not in warnings(environment)
    assert told in warnings({**environment, "FRONTEND_URL": "http://shop.example"})


def test_the_token_of_the_metrics_is_not_printed(environment: dict[str, str]) -> None:
    findings = examine({**environment, "PAYMENTS_METRICS_TOKEN": "hush-hush"})
    assert Finding("ok", "PAYMENTS_METRICS_TOKEN is set") in findings
    assert "hush-hush" not in str(findings)


@pytest.mark.parametrize("key", ["SB-Mid-server-0123456789", "VT-server-0123456789"])
def test_play_money_in_production_is_told(environment: dict[str, str], key: str) -> None:
    """A staging may want it; an order that is paid with it is delivered for nothing."""
    sandbox = {**environment, "MIDTRANS_SERVER_KEY": key, "MIDTRANS_IS_PRODUCTION": "false"}
    told = "MIDTRANS_SERVER_KEY is a sandbox key: its money is not real"
    assert told in warnings(sandbox)
    assert told not in warnings({**sandbox, "PAYMENTS_MODE": "development"})
    assert told not in warnings(environment)


def test_published_keys_that_anybody_on_the_way_can_change_are_told(environment: dict[str, str]) -> None:
    assert "PAYMENTS_JWKS_URL is not https" in warnings({**environment, "PAYMENTS_JWKS_URL": "http://id.example/keys"})
    assert "JWKS" not in warnings({**environment, "PAYMENTS_JWKS_URL": "https://id.example/keys"})
