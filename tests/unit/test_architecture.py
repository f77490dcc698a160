"""The shape of the code, checked: arrows point inward, names are exported on purpose, pages tell the truth."""

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

import payments_core
from payments_core_app.http.errors import CODES

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))


def test_importing_the_package_loads_nothing_before_it_is_asked_for() -> None:
    """A command that wants one name does not wait for a hundred classes; and `status` stays the function."""
    script = """
import sys, payments_core
print(*sorted({"attr", "asyncio", "logging", "decimal"} & {*sys.modules}))
import payments_core.decide
from payments_core import status
print(callable(status))
print(sorted({*payments_core.__all__} - {*dir(payments_core)}))
"""
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert said.stdout.splitlines() == ["", "True", "[]"]


def test_the_public_names_are_the_exported_ones() -> None:
    assert len(payments_core.__all__) == len(set(payments_core.__all__))
    assert not [name for name in payments_core.__all__ if name.startswith("_")]
    for name in payments_core.__all__:
        assert getattr(payments_core, name) is not None


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_nobody_imports_by_the_name_of_a_folder(path: Path) -> None:
    """With src on the path, `adapters.x` would import as a second copy of every class."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not {name.split(".")[0] for name in names} & {"adapters", "entrypoints", "src"}


SPEAKS_OUR_ERRORS = [path for path in SOURCES if "payments_core_simulator" not in path.parts]


@pytest.mark.parametrize("path", SPEAKS_OUR_ERRORS, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_error_code_is_documented(path: Path) -> None:
    used = set(re.findall(r'\bcode(?:=| = )"([a-z_]+)"', path.read_text()))
    internal = {"error", "invalid_input", "conflict", "busy", "notification_refused", "storage_error"}
    assert used - internal <= set(CODES)


def test_the_core_keeps_no_clock_and_no_chance() -> None:
    """Time and identity are arguments; only `system.py` knows the machine's."""
    for path in (ROOT / "src" / "payments_core").rglob("*.py"):
        if path.name == "system.py":
            continue
        source = path.read_text()
        assert not re.search(r"\b(datetime\.now|time\.time|random\.|secrets\.|uuid)", source), path


def test_printed_pages_are_what_the_code_says() -> None:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    for name, page in generate.PAGES.items():
        assert (ROOT / "docs" / name).read_text() == page(), f"docs/{name} is old: make docs"
