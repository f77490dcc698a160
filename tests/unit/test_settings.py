"""The environment, read: what is wrong is named, and a secret never is."""

import pytest

from payments_core_app.commands.doctor import _of_the_gateways
from payments_core_app.settings import Mode, Settings, SettingsError
from payments_core_sqlalchemy.shares import Allowance

PRODUCTION = {
    "PAYMENTS_JWT_SECRET": "s" * 40,
    "PAYMENTS_PUBLIC_URL": "https://pay.shop.example",
    "MIDTRANS_SERVER_KEY": "Mid-server-0123456789",
    "MIDTRANS_IS_PRODUCTION": "true",
}


def problems(**changes: str) -> list[str]:
    with pytest.raises(SettingsError) as refused:
        Settings.read({**PRODUCTION, **changes})
    return refused.value.problems


def test_good_settings_have_no_refusal() -> None:
    settings = Settings.read(PRODUCTION)
    assert settings.mode is Mode.PRODUCTION
    assert settings.refusals() == []
    assert "s" * 40 not in repr(settings)
    assert "Mid-server-0123456789" not in repr(settings)


@pytest.mark.parametrize(
    "name",
    [
        "PAYMENTS_JWT_SECRET",
        "PAYMENTS_HISTORY_KEY",
        "MIDTRANS_SERVER_KEY",
        "MIDTRANS_SERVER_KEY_PREVIOUS",
        "MIDTRANS_CLIENT_KEY",
        "STRIPE_SECRET_KEY",
        "STRIPE_WEBHOOK_SECRET",
    ],
)
def test_a_key_made_by_the_demo_is_refused_wherever_it_stands(name: str) -> None:
    settings = Settings.read({**PRODUCTION, name: f"Mid-DEMO-{'x' * 40}"})
    assert "a key was made by the demo; make your own" in settings.refusals()
    assert Settings.read(PRODUCTION).refusals() == []


LIVE = {"STRIPE_SECRET_KEY": f"sk_live_{'x' * 24}", "STRIPE_WEBHOOK_SECRET": "whsec_one, whsec_two"}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"STRIPE_SECRET_KEY": "sk_test_x"}, "STRIPE_SECRET_KEY is a test key"),
        ({"STRIPE_SECRET_KEY": "rk_test_x"}, "STRIPE_SECRET_KEY is a test key"),
        ({"STRIPE_API_URL": "https://elsewhere.example"}, "a live key with an overridden host"),
        ({"STRIPE_API_URL": "http://127.1:9002"}, "on loopback"),
        ({"STRIPE_WEBHOOK_SECRET": ""}, "STRIPE_WEBHOOK_SECRET is not set"),
    ],
)
def test_production_refuses_a_stripe_that_must_not_serve(changes: dict[str, str], why: str) -> None:
    """Its key says itself whether its money is real."""
    assert Settings.read({**PRODUCTION, **LIVE}).refusals() == []
    assert any(why in refusal for refusal in Settings.read({**PRODUCTION, **LIVE, **changes}).refusals())


def test_stripe_is_what_its_settings_say() -> None:
    stripe = Settings.read({**LIVE, "STRIPE_TIMEOUT_SECONDS": "7", "FRONTEND_URL": "https://shop.example/"}).stripe
    assert stripe is not None
    assert stripe.webhook_secrets == ("whsec_one", "whsec_two")
    assert (stripe.timeout.total_seconds(), stripe.frontend_url) == (7.0, "https://shop.example")
    assert "sk_live" not in repr(stripe)
    assert "whsec" not in repr(stripe)


def test_a_click_goes_to_midtrans_where_it_has_keys_and_to_stripe_else() -> None:
    assert Settings.read({**PRODUCTION, **LIVE}).default_provider == "midtrans"
    assert Settings.read(LIVE).default_provider == "stripe"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+asyncpg://pay:p@ss:w0rd-hush@db:5432/x",
        "postgresql+asyncpg://pay:hush@db:54:32/x",
        "postgresql+asyncpg://pay:hush@[::1/x",
        "postgresql+asyncpg://pay:hush@db",
        "sqlite+aiosqlite:///",
        "postgresql+asyncpg://pay:hush@db:99999/x",
        "postgresql+asyncpg://pay:hush@db..example/x",
        "postgresql+asyncpg://pay:hush@/x?host=one:1&host=two",
        "postgresql+asyncpg://pay:hush@db/x?user=hush&user=hush",
        "postgresql+asyncpg://pay:hush@db/x?prepared_statement_cache_size=hush",
        "postgresql+asyncpg://pay:hush@db/x?ssl=hush",
        "postgresql+asyncpg://pay:hush@db/x?target_session_attrs=hush",
        "postgresql+asyncpg://pay:hush@db/x?hush=1",
        "mysql://root:hush@db/x",
        "hush",
    ],
)
def test_a_database_url_that_cannot_be_read_is_named_and_not_shown(url: str) -> None:
    """The usual mistake is an @ in the password; the usual message shows a part of it."""
    (problem,) = problems(PAYMENTS_DATABASE_URL=url)
    assert problem.startswith("PAYMENTS_DATABASE_URL")
    assert "hush" not in problem


@pytest.mark.parametrize("query", ["sslmode=require", "connect_timeout=5", "timeout=5", "application_name=shop"])
def test_a_database_url_says_which_names_its_query_may_have(query: str) -> None:
    """What every other client of PostgreSQL takes made the driver raise TypeError."""
    (problem,) = problems(PAYMENTS_DATABASE_URL=f"postgresql+asyncpg://pay@db/x?{query}")
    assert "target_session_attrs" in problem
    assert "ssl=require" in problem


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+asyncpg://pay:hush@db:5432/x?ssl=require",
        "postgresql+asyncpg://pay@/x?host=db1:5432&host=db2:5432&target_session_attrs=read-write",
        "postgresql+asyncpg://pay@/x?host=/var/run/postgresql",
        "postgresql+asyncpg://pay@[::1]/x?prepared_statement_cache_size=0",
        "sqlite+aiosqlite:////var/lib/payments.sqlite3",
    ],
)
def test_a_database_url_that_can_be_used_is_taken(url: str) -> None:
    assert Settings.read({**PRODUCTION, "PAYMENTS_DATABASE_URL": url}).database_url == url


def test_a_database_in_memory_is_refused_with_the_reason() -> None:
    (problem,) = problems(PAYMENTS_DATABASE_URL="sqlite+aiosqlite:///:memory:")
    assert "every connection has an empty database of its own" in problem
    assert problems(PAYMENTS_DATABASE_URL="sqlite+aiosqlite:///file:x?mode=memory&uri=true")


@pytest.mark.parametrize("url", ["http://[::1", "https://shop.example:99999", "https://shop.example:x"])
@pytest.mark.parametrize(
    "name",
    ["PAYMENTS_PUBLIC_URL", "FRONTEND_URL", "PAYMENTS_JWKS_URL", "MIDTRANS_SNAP_URL", "MIDTRANS_API_URL",
     "STRIPE_API_URL"],
)  # fmt: skip
def test_a_url_that_cannot_be_taken_apart_is_named(name: str, url: str) -> None:
    assert problems(**{name: url}) == [f"{name} is not a URL that begins with https:// or http://"]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "127.0.0.1.", "[::ffff:127.0.0.1]",
                                  "[::1]", "localhost", "api.localhost", "LOCALHOST", "[::]"])  # fmt: skip
def test_every_spelling_of_this_machine_is_loopback(host: str) -> None:
    settings = Settings.read({**PRODUCTION, "MIDTRANS_IS_PRODUCTION": "false", "MIDTRANS_API_URL": f"http://{host}:9"})
    assert any("loopback" in refusal for refusal in settings.refusals())


def test_another_host_is_not_loopback() -> None:
    settings = Settings.read({**PRODUCTION, "MIDTRANS_IS_PRODUCTION": "false", "MIDTRANS_API_URL": "http://10.0.0.7:9"})
    assert settings.refusals() == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MIDTRANS_THREADS", "0.5"),
        ("MIDTRANS_THREADS", "0"),
        ("MIDTRANS_THREADS", "5000"),
        ("MIDTRANS_TIMEOUT_SECONDS", "16"),
        ("MIDTRANS_TIMEOUT_SECONDS", "nan"),
        ("MIDTRANS_TIMEOUT_SECONDS", "-1"),
        ("MIDTRANS_CONFIRM", "never"),
        ("MIDTRANS_IS_PRODUCTION", "perhaps"),
        ("PAYMENTS_MODE", "prod"),
        ("PAYMENTS_EXPIRY_HOURS", "0.01"),
        ("PAYMENTS_EXPIRY_HOURS", "100"),
        ("PAYMENTS_LATE_PAYMENT", "keep"),
        ("PAYMENTS_PUBLIC_URL", "pay.shop.example"),
        ("MIDTRANS_SERVER_KEY", "with blank"),
        ("STRIPE_SECRET_KEY", "with blank"),
        ("STRIPE_SECRET_KEY", "pk_live_published"),
        ("STRIPE_API_URL", "api.stripe.com"),
        ("STRIPE_TIMEOUT_SECONDS", "16"),
    ],
)
def test_a_value_that_cannot_be_is_named(name: str, value: str) -> None:
    assert any(name in problem for problem in problems(**{name: value}))


def test_everything_wrong_is_named_at_once() -> None:
    assert len(problems(PAYMENTS_MODE="x", MIDTRANS_CONFIRM="y", MIDTRANS_THREADS="z")) == 3


@pytest.mark.parametrize(
    ("environment", "level", "what"),
    [
        ({}, "error", "no order can be paid"),
        (LIVE, "ok", "with a key of mode live"),
        (LIVE, "warning", "holds several secrets"),
        ({**LIVE, "STRIPE_WEBHOOK_SECRET": ""}, "error", "STRIPE_WEBHOOK_SECRET is not set"),
        ({"STRIPE_SECRET_KEY": "sk_other"}, "warning", "begins with none of"),
        ({**LIVE, "MIDTRANS_SERVER_KEY": "Mid-server-x"}, "ok", "is paid through midtrans"),
    ],
)
def test_doctor_says_how_the_gateways_stand(environment: dict[str, str], level: str, what: str) -> None:
    """And never a secret."""
    findings = _of_the_gateways(Settings.read(environment))
    assert any(finding.level == level and what in finding.what for finding in findings), findings
    assert not any("sk_live_" + "x" in finding.what or "whsec_one" in finding.what for finding in findings)


@pytest.mark.parametrize(
    "value",
    ["shop.example", "https://shop.example/finish", "https://shop.example?x", "https://me@shop.example", "https://[::1",
     "HTTPS://shop.example", "https://good.example, *"],
)  # fmt: skip
def test_a_return_origin_that_no_url_could_have_is_named(value: str) -> None:
    """It is compared as it is; one that never matches would be found out by a buyer."""
    (problem,) = problems(PAYMENTS_RETURN_ORIGINS=value)
    assert "PAYMENTS_RETURN_ORIGINS" in problem


def test_return_origins_are_taken_without_their_last_slash() -> None:
    said = {**PRODUCTION, "PAYMENTS_RETURN_ORIGINS": "https://shop.example/, http://127.0.0.1:3000"}
    assert Settings.read(said).return_origins == ("https://shop.example", "http://127.0.0.1:3000")


def test_a_number_that_may_be_zero_is_not_said_to_be_above_it() -> None:
    assert problems(PAYMENTS_DRAIN_SECONDS="-1") == ["PAYMENTS_DRAIN_SECONDS is a number from zero on, below a million"]
    assert problems(PAYMENTS_POLL_SECONDS="0") == ["PAYMENTS_POLL_SECONDS is a number above zero, below a million"]


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "many", "100001"])
def test_a_limit_of_calls_is_a_whole_number(value: str) -> None:
    assert "MIDTRANS_CALLS_IN_FLIGHT" in " ".join(problems(MIDTRANS_CALLS_IN_FLIGHT=value))
    assert "MIDTRANS_CALLS_PER_SECOND" in " ".join(problems(MIDTRANS_CALLS_PER_SECOND=value))


def test_stripe_is_asked_less_than_midtrans_unless_it_is_said() -> None:
    """Stripe publishes its limits and Midtrans does not: a wider one for the one is none for the other."""
    limits = Settings.read(PRODUCTION).gateway_limits
    assert limits == {"midtrans": Allowance(1024, 4000), "stripe": Allowance(256, 1000)}
    said = Settings.read({**PRODUCTION, "STRIPE_CALLS_IN_FLIGHT": "20", "STRIPE_CALLS_PER_SECOND": "100"})
    assert said.gateway_limits["stripe"] == Allowance(20, 100)


def test_metrics_are_on_until_they_are_turned_off() -> None:
    assert Settings.read(PRODUCTION).metrics
    assert not Settings.read({**PRODUCTION, "PAYMENTS_METRICS": "off"}).metrics
    assert problems(PAYMENTS_METRICS="perhaps") == ["PAYMENTS_METRICS is on or off"]
    assert problems(MIDTRANS_IS_PRODUCTION="perhaps") == ["MIDTRANS_IS_PRODUCTION is true or false"]
    assert "hush" not in repr(Settings.read({**PRODUCTION, "PAYMENTS_METRICS_TOKEN": "hush"}))
