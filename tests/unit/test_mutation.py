"""What `tests/mutation.py` adds to mutmut still does what it should; the mutation test itself takes too long for CI."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytest.importorskip("mutmut")
ROOT = Path(__file__).parents[2]

CODE = '''
import attrs

@attrs.frozen
class Charge:
    taken: int
    given: int

    @property
    def left(self) -> int:
        """What is left."""
        return self.taken - self.given

    async def later(self, by: int) -> int:
        return self.taken + by

    def say(self) -> list[str]:
        return ["word", "a text"]
'''

ASKS = f"""
import sys
sys.path.insert(0, {str(ROOT / "tests")!r})
import mutation
mutation.mutate_properties()
mutation.leave_texts_alone()
from mutmut.mutation.file_mutation import mutate_file_contents
made = mutate_file_contents("charge.py", {CODE!r})
print(sorted(made.mutant_names), file=sys.stderr)
print(made.code)
"""


def asked(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: mutmut changes how processes are started."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120, cwd=ROOT, env=environment
    )


def test_properties_coroutines_and_words_are_mutated_and_texts_are_not() -> None:
    made = asked(ASKS)
    names = ast.literal_eval(made.stderr)
    assert names == [
        "xǁChargeǁlater__mutmut_1",
        "xǁChargeǁleft__mutmut_1",
        *(f"xǁChargeǁsay__mutmut_{n}" for n in (1, 2)),
    ]
    look = "import asyncio; charge = Charge(7, 2); print(charge.left, asyncio.run(charge.later(2)))"
    program = f"__name__ = 'charge'\n{made.stdout}\n{look}\n"
    assert asked(program).stdout.split() == ["5", "9"]
    assert asked(program, MUTANT_UNDER_TEST="charge.xǁChargeǁleft__mutmut_1").stdout.split() == ["9", "9"]
    assert asked(program, MUTANT_UNDER_TEST="charge.xǁChargeǁlater__mutmut_1").stdout.split() == ["5", "5"]


def test_every_judge_of_the_mutants_is_there() -> None:
    chosen = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mutmut"]
    judges = chosen["pytest_add_cli_args_test_selection"]
    assert len(judges) > 20
    assert [judge for judge in judges if not (ROOT / judge).is_file()] == []
    assert [path for path in (*chosen["source_paths"], *chosen["also_copy"]) if not (ROOT / path).is_dir()] == []
