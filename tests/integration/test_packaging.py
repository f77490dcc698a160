"""What a stranger installs: our names only, the core with attrs and nothing else."""

import json
import os
import re
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = {
    "payments_core",
    "payments_core_app",
    "payments_core_manual",
    "payments_core_memory",
    "payments_core_midtrans",
    "payments_core_simulator",
    "payments_core_sqlalchemy",
    "payments_core_stripe",
}


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """What the command printed."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=clean, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built once."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The interpreter of an empty environment into which only the bare wheel was installed."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=True)
    interpreter = folder / "bin" / "python"
    run(interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel)
    return interpreter  # type: ignore[return-value]


def test_every_top_level_name_in_the_wheel_is_ours(wheel: Path) -> None:
    """An installed package called `adapters` breaks other people's programs."""
    names = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in names if not name.endswith(".dist-info")} == OURS


def test_every_package_says_that_it_is_typed(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"{package}/py.typed" for package in OURS} <= names


def test_the_wheel_brings_pages_migrations_and_the_licence(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in ("pages/shop.html", "pages/shop.js", "migrations/versions/0001_initial.py", "LICENSE"):
        assert any(name.endswith(wanted) for name in names), wanted


def test_the_bare_wheel_brings_attrs_and_nothing_else(python: Path) -> None:
    installed = json.loads(run(python, "-m", "pip", "list", "--format", "json"))
    assert {package["name"] for package in installed} - {"pip", "setuptools"} == {"attrs", "payments-core"}


def test_the_core_imports_the_standard_library_and_attrs(python: Path) -> None:
    code = (
        "import sys; before = set(sys.modules); from payments_core import *; "
        "new = {name.split('.')[0] for name in set(sys.modules) - before}; "
        "print(sorted(new - set(sys.stdlib_module_names)))"
    )
    assert run(python, "-c", code).strip() == "['attr', 'attrs', 'payments_core']"


def test_what_is_for_tests_is_an_extra_that_nobody_loads_unasked(wheel: Path) -> None:
    """A pytest plugin that is an entry point is loaded into every test run of everybody who installed it."""
    archive = zipfile.ZipFile(wheel)
    assert "payments_core/testing/machine.py" in archive.namelist()
    texts = {name.split("/")[-1]: archive.read(name).decode() for name in archive.namelist() if ".dist-info/" in name}
    wanted = set(re.findall(r"^Requires-Dist: ([a-z-]+).* extra == .testing.", texts["METADATA"], re.MULTILINE))
    assert wanted == {"hypothesis", "pytest", "pytest-asyncio"}
    assert "pytest11" not in texts["entry_points.txt"]


def test_testing_says_which_extra_is_missing(python: Path) -> None:
    code = "import payments_core.testing.stores"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode != 0
    assert 'install "payments-core[testing]"' in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("example", ["embed.py", "sync.py"])
def test_the_examples_run_with_the_bare_wheel(python: Path, tmp_path: Path, example: str) -> None:
    printed = run(python, ROOT / "examples" / example, cwd=tmp_path)
    assert printed.splitlines()[-1] == "o-1: success, 100000 IDR"


def test_the_command_says_which_extra_is_missing(python: Path) -> None:
    done = subprocess.run([python.parent / "payments"], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode != 0
    assert "payments-core[app]" in done.stderr
    assert "Traceback" not in done.stderr
