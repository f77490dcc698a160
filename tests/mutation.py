"""`make mutation`: mutmut over the core, with four things changed (ADR 0013).

- *Properties are mutated too.* mutmut leaves every decorated function alone, and half of what this core says about a
  payment is properties: `has_money`, `is_payable`, `left_minor`.
- *Texts are left alone.* A string with a blank in it is read by a person, and a test that repeats it says nothing.
- *Tests are collected once.* mutmut starts pytest anew for each mutant; here the mutant is a fork of a process that has
  collected already, and asks the tests first that killed its neighbours.
- *Mutants are tried in any order.* A run that was stopped has then tried a sample, and goes on where it was.
"""

import resource
import signal
from collections.abc import Iterable, Sequence
from hashlib import sha256
from itertools import zip_longest
from pathlib import Path
from time import process_time
from typing import Any

import libcst as cst
import libcst.matchers as m
import pytest
from _pytest.config import _prepareconfig
from mutmut import __main__ as mutmut
from mutmut.configuration import config
from mutmut.mutation import file_mutation, trampoline
from mutmut.mutation.mutators import operator_string
from mutmut.runners.harness import PytestRunner
from mutmut.utils.file_utils import change_cwd
from mutmut.utils.format_utils import mangled_name_from_mutant_name
from mutmut.workers import isolation

PROPERTY = m.FunctionDef(decorators=[m.Decorator(decorator=m.Name("property"))])
KILLERS = Path("mutants/killers.txt").absolute()
"""Which test killed a mutant of which function, a line each."""
ONE_LOOP = [f"-oasyncio_default_{what}_loop_scope=session" for what in ("test", "fixture")]
"""A loop for each test takes longer than most of them."""
CPU_SECONDS_MAX = 30
"""Of one mutant; the tests need six."""
WALL_SECONDS_MAX = 120
"""Of one that waits for what never comes, which takes no CPU; long enough not to take a busy machine for it."""
Nodes = Sequence[Any]


def mutate_properties() -> None:
    """From here on mutmut mutates the body of a property as it does that of any method."""
    skip = file_mutation.MutationVisitor._skip_node_and_children
    arrange = file_mutation.function_trampoline_arrangement

    def skip_all_but_properties(visitor: Any, node: cst.CSTNode) -> bool:
        return not m.matches(node, PROPERTY) and skip(visitor, node)

    def arrange_under_the_decorator(
        function: cst.FunctionDef, mutants: Iterable[Any], class_name: str | None
    ) -> tuple[Nodes, Nodes, Nodes, Sequence[str]]:
        if not m.matches(function, PROPERTY):
            return arrange(function, mutants, class_name)
        declared, (trampoline, *copies), filled, names = arrange(
            function.with_changes(decorators=[]), mutants, class_name
        )
        assert isinstance(trampoline, cst.FunctionDef)
        trampoline = trampoline.with_changes(decorators=[*function.decorators, *trampoline.decorators])
        return declared, [trampoline, *copies], filled, names

    file_mutation.MutationVisitor._skip_node_and_children = skip_all_but_properties  # type: ignore[method-assign]
    file_mutation.function_trampoline_arrangement = arrange_under_the_decorator


def leave_texts_alone() -> None:
    """From here on a string is mutated when it is a word, as codes, keys and states are."""

    def words(node: cst.BaseString) -> Iterable[cst.BaseString]:
        is_text = isinstance(node, cst.SimpleString) and " " in node.value
        return () if is_text else operator_string(node)

    file_mutation.mutation_operators = [
        (kind, words if operator is operator_string else operator)
        for kind, operator in file_mutation.mutation_operators
    ]


def try_them_in_any_order() -> None:
    """From here on a run that was stopped has tried some of every function, the same ones every time."""
    mutmut.estimated_worst_case_time = lambda name: int(sha256(name.encode()).hexdigest(), 16)


class Collected:
    """A pytest session that has collected its tests; a fork of this process runs them, until one fails."""

    def __init__(self, args: list[str]) -> None:
        self.failed = False
        self.config = _prepareconfig(args, plugins=[self])
        session = pytest.Session.from_config(self.config)
        self.config._do_configure()
        self.config.hook.pytest_sessionstart(session=session)
        self.config.hook.pytest_collection(session=session)
        self.items = {item.nodeid: item for item in session.items}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Every phase of every test ends here."""
        self.failed |= report.failed

    def first_to_fail(self, names: Sequence[str]) -> str | None:
        """The first of these tests that fails."""
        self.config.pluginmanager.unregister(name="terminalreporter")
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # asyncio would take it over and give it back, for every test
        for name, following in zip_longest(names, names[1:]):
            self.config.hook.pytest_runtest_protocol(item=self.items[name], nextitem=self.items.get(following))
            if self.failed:
                return name
        return None


class CollectOnce(PytestRunner):
    """mutmut's runner, whose mutants are forks of a process that has collected the tests."""

    collected: Collected | None = None

    def run_forced_fail(self) -> int:
        """1, once the tests have passed in a fork without a mutant, and failed in one where every function fails."""
        with change_cwd("mutants"):
            chosen = config().pytest_add_cli_args_test_selection
            collected = Collected(["-s", "-q", "--rootdir=.", *ONE_LOOP, *config().pytest_add_cli_args, *chosen])
            names = [*collected.items]
            fails = isolation.run_in_fork_with_result(collected.first_to_fail, names)
            trampoline.set_mutant_under_test("")
            wrong = isolation.run_in_fork_with_result(collected.first_to_fail, names)
        if wrong is not None:
            raise SystemExit(f"{wrong} fails without any mutant")
        self.collected = collected
        return 0 if fails is None else 1

    def run_tests(self, *, mutant_name: str | None, tests: Iterable[str]) -> int:
        """1 when a test failed."""
        if mutant_name is None or self.collected is None:
            return 0  # the clean run: `run_forced_fail` does it, where the mutants run
        spent = int(process_time())
        resource.setrlimit(resource.RLIMIT_CPU, (spent + CPU_SECONDS_MAX, spent + CPU_SECONDS_MAX + 1))
        signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGXCPU))
        signal.alarm(WALL_SECONDS_MAX)
        trampoline.get_mutant_under_test = lambda: mutant_name
        function = mangled_name_from_mutant_name(mutant_name)
        with change_cwd("mutants"):
            killer = self.collected.first_to_fail(by_what_they_killed(function, tests))
        if killer is None:
            return 0
        with KILLERS.open("a") as lines:
            lines.write(f"{function}\t{killer}\n")
        return 1


def by_what_they_killed(function: str, tests: Iterable[str]) -> list[str]:
    """The tests that killed a mutant of this function first, then those that killed one in its file."""
    known = [line.split("\t") for line in KILLERS.read_text().splitlines()] if KILLERS.exists() else []
    of_it = {test for name, test in known if name == function}
    near = {test for name, test in known if name.rpartition(".")[0] == function.rpartition(".")[0]}
    return sorted(tests, key=lambda test: (test not in of_it, test not in near))


if __name__ == "__main__":
    mutate_properties()
    leave_texts_alone()
    try_them_in_any_order()
    isolation.PytestRunner = CollectOnce  # type: ignore[misc]
    mutmut.cli()
