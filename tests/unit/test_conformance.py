"""The suites of `payments_core.testing` bite: adapters broken on purpose fail where they are broken.

Each runs as at a stranger's: in a project of its own without any configuration of pytest, beside its honest twin.
"""

import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from payments_core import GatewayTraits
from payments_core.testing.machine import PaymentMachine
from unit.broken import TwoPagesGateway
from unit.world import World

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]
EXAMPLE = (ROOT / "examples" / "test_own_order_book.py").read_text()
PAGE = (ROOT / "docs" / "how-to" / "prove-an-adapter.md").read_text()
LOOP = ("-o", "asyncio_default_fixture_loop_scope=function")
"""pytest-asyncio asks every project to say this."""


def run(pytester: pytest.Pytester, path: Path) -> tuple[set[str], set[str]]:
    """Names of the tests in this file that passed and that failed; none was skipped."""
    passed, skipped, failed = pytester.inline_run(path, *LOOP).listoutcomes()
    assert not skipped
    names = [{re.sub(r".*::|\[.*", "", report.nodeid) for report in reports} for reports in (passed, failed)]
    return names[0] - names[1], names[1]


@pytest.mark.parametrize(
    ("honest", "broken", "caught_by"),
    [
        (
            "TestHonestStore",
            "TestForgetfulStore",
            {"test_a_stale_write_changes_nothing", "test_a_payment_cannot_be_made_twice"},
        ),
        (
            "TestHonestStore",
            "TestColumnlessStore",
            {"test_no_field_of_a_payment_is_lost"},
        ),
        (
            "TestHonestOrders",
            "TestGenerousOrders",
            {
                "test_stock_is_released_once",
                "test_many_releases_at_once_release_once",
                "test_consumed_stock_comes_back_when_a_person_decided_so",
            },
        ),
        (
            "TestHonestGateway",
            "TestTwoPagesGateway",
            {"test_opening_again_leaves_one_page_that_can_be_paid"},
        ),
        (
            "TestHonestGateway",
            "TestHopefulGateway",
            {"test_no_answer_is_never_taken_for_one"},
        ),
    ],
    ids=[
        "a store without the version check",
        "a store without a column",
        "an order book that releases twice",
        "a gateway with a second page",
        "a gateway that answers without an answer",
    ],
)
def test_a_broken_adapter_fails_where_it_is_broken(
    pytester: pytest.Pytester, honest: str, broken: str, caught_by: set[str]
) -> None:
    """Where its twin passes everything, and nowhere else."""
    files = {f"test_{name}": f"from unit.broken import {name}" for name in (honest, broken)}
    pytester.makepyfile(**files)
    passed, failed = run(pytester, pytester.path / f"test_{honest}.py")
    assert failed == set()
    assert caught_by < passed
    assert run(pytester, pytester.path / f"test_{broken}.py") == (passed - caught_by, caught_by)


@pytest.mark.parametrize(
    ("short", "not_proved"),
    [
        (
            "TestShortWire",
            {
                "test_a_page_asks_for_what_is_owed": "asked_for",
                "test_an_amount_is_said_to_the_unit_or_refused": "asked_for",
                "test_a_word_nobody_knows_is_unknown_in_a_notification": "says",
                "test_a_word_nobody_knows_is_unknown_in_a_reading": "says",
                "test_a_call_whose_answer_is_held_ends_within_its_time": "give the Wire this method",
            },
        ),
        ("TestStoreAlone", {"test_the_payment_of_an_order_is_found": "give a `shop` fixture"}),
        ("TestShortKeeper", {"test_an_order_is_what_its_buyer_owes": "bill"}),
    ],
)
def test_what_a_test_module_does_not_say_is_skipped_with_what_to_add(
    pytester: pytest.Pytester, short: str, not_proved: dict[str, str]
) -> None:
    """A module that was written before a contract asked for more keeps running, and is told what it does not prove."""
    pytester.makepyfile(**{f"test_{short}": f"from unit.broken import {short}"})
    passed, skipped, failed = pytester.inline_run(pytester.path / f"test_{short}.py", *LOOP).listoutcomes()
    assert (passed != [], failed) == (True, [])
    reasons = {report.nodeid.rpartition("::")[2]: str(report.longrepr) for report in skipped}
    assert set(reasons) == set(not_proved)
    assert all(not_proved[name] in reason for name, reason in reasons.items())


class TwoPagesMachine(PaymentMachine):
    @asynccontextmanager
    async def opened(self, traits: GatewayTraits) -> AsyncIterator[World]:
        yield World(traits=traits, gateway=TwoPagesGateway(traits=traits))


def test_the_machine_finds_a_second_page() -> None:
    """No test says "lose an answer, then click": the machine comes upon it."""
    quick = settings(max_examples=200, phases=[Phase.generate], deadline=None, database=None, derandomize=True)
    with pytest.raises(AssertionError, match="<= 1"):
        run_state_machine_as_test(TwoPagesMachine, settings=quick)


# ── for a stranger ────────────────────────────────────────────────────────────────────────────────────────────────────
def test_the_example_proves_its_order_book(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_own_order_book=EXAMPLE)
    passed, failed = run(pytester, pytester.path / "test_own_order_book.py")
    assert failed == set()
    assert len(passed) > 10


def test_the_page_says_which_tests_catch_the_mistake_it_names(pytester: pytest.Pytester) -> None:
    """The reader who tries it sees what the page promised."""
    promised = re.search(r"^Take `AND \{held\}` out of `_move`, (.*)$", PAGE, re.MULTILINE)
    assert promised is not None
    careless = EXAMPLE.replace(" AND {held}", "")
    assert careless != EXAMPLE
    pytester.makepyfile(test_careless=careless)
    _, failed = run(pytester, pytester.path / "test_careless.py")
    assert failed == set(re.findall(r"`(test_\w+)`", promised.group(1)))


def test_the_page_shows_the_example() -> None:
    assert f"```python\n{EXAMPLE}```\n" in PAGE


def test_a_failed_assertion_shows_its_values(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process of its own, where nobody but the module under test has loaded the contracts."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    pytester.makepyfile('pytest_plugins = ["payments_core.testing"]\nfrom unit.broken import TestGenerousOrders')
    found = pytester.runpytest_subprocess("-k", "test_stock_is_released_once", "-W", "error", *LOOP)
    found.assert_outcomes(failed=1)
    found.stdout.fnmatch_lines("E *{'o-1': <StockMove.RELEASED: 'released'>}")


@pytest.mark.parametrize("package", ["payments_core", "payments_core_app.cli"])
def test_nothing_that_serves_loads_what_is_for_tests(package: str) -> None:
    """Both are installed here, so only an import could load them."""
    code = f"import sys, {package}; print(*{{'hypothesis', 'pytest', 'payments_core.testing'}} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == ""
