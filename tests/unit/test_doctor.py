"""What the doctor warns of: settings that can be read, and will not do what was meant."""

from pathlib import Path

import pytest

from payments_core_app.commands.doctor import Finding, examine

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
