"""What README and docs show runs, and what they point to is there."""

import re
import runpy
from pathlib import Path

import pytest

from payments_core_app.cli import cli

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[object]:
    """Every fenced block of this language, with its page."""
    found = [(page, code) for page in PAGES for kind, code in FENCE.findall(page.read_text()) if kind == language]
    return [pytest.param(page, code, id=f"{page.relative_to(ROOT)}-{n}") for n, (page, code) in enumerate(found)]


@pytest.mark.parametrize(("page", "code"), blocks("python"))
def test_python_in_the_docs_runs(page: Path, code: str, tmp_path: Path) -> None:
    snippet = tmp_path / "snippet.py"
    snippet.write_text(code)
    runpy.run_path(str(snippet), run_name="__main__")
    assert page.exists()


@pytest.mark.parametrize(("page", "code"), blocks("console"))
def test_commands_in_the_docs_exist(page: Path, code: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\$ make ([a-z-]+)", code)) <= targets, page
    assert set(re.findall(r"(?:\$ |\$\()payments ([a-z]+)", code)) <= set(cli.commands), page


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{page.name} points to {target}"


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) < 200


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_pages_keep_to_plain_words(page: Path) -> None:
    loud = {"robust", "comprehensive", "seamless", "powerful", "blazing", "enterprise", "production-grade"}
    assert not loud & set(re.findall(r"[a-z-]+", page.read_text().lower())), page


def test_every_test_the_guarantees_name_exists() -> None:
    """A promise without a test is not promised."""
    page = ROOT / "docs" / "guarantees.md"
    names = {
        name
        for folder in (ROOT / "tests", ROOT / "src" / "payments_core" / "testing")
        for path in folder.rglob("*.py")
        for name in re.findall(r"^\s*(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    named = set(re.findall(r"`(test_\w+)`", page.read_text()))
    assert named
    assert named <= names, sorted(named - names)
