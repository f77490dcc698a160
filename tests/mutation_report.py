"""The last run of `make mutation` as a page: how many mutants of each file were killed, and why the others live.

python tests/mutation_report.py > docs/reference/mutation.md
"""

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import attrs
from mutmut.mutation.data import MutantLineSpans
from mutmut.stats import status_by_exit_code

CORE = Path("src/payments_core")
HEAD = Path(__file__).with_name("mutation_report.md")
"""What a person wrote: the head of the page, and after it the reasons, each with the survivors it is about."""
REASON = re.compile(r"^\*\*(?P<title>.+?)\*\*(?P<text>.*)\n\n(?P<patterns>(?:    .+\n)+)", re.MULTILINE)
KILLED = ("killed", "timeout")
"""A mutant that runs without end is stopped, which is noticed too."""
MOST = 8
"""More of one kind than a reader wants to see."""


@attrs.frozen
class Mutant:
    """One change of one function, and what became of it."""

    file: str
    name: str
    status: str

    @property
    def change(self) -> str:
        """What stood there, and what stands there in the mutant."""
        path = CORE / self.file
        function = self.name.rpartition(".")[2]
        names = (function.partition("__mutmut_")[0] + "__mutmut_orig", function)
        was, now = MutantLineSpans.load(path).read_function_sources(names)  # type: ignore[union-attr]
        old, new = was.replace(names[0], "").splitlines(), now.replace(names[1], "").splitlines()
        while old and new and old[0] == new[0]:
            old, new = old[1:], new[1:]
        while old and new and old[-1] == new[-1]:
            old, new = old[:-1], new[:-1]
        return " ⟶ ".join(" ".join(line.strip() for line in lines) or "nothing" for lines in (old, new))

    @property
    def function(self) -> str:
        """Where it is."""
        return re.sub(r"^x_?ǁ?|ǁ", ".", self.name.rpartition(".")[2].partition("__mutmut_")[0]).strip(".")


def mutants() -> Iterator[Mutant]:
    """Every mutant of the last run."""
    for path in sorted(Path("mutants", CORE).rglob("*.meta")):
        file = str(path.relative_to(Path("mutants", CORE)))[: -len(".meta")]
        for name, code in json.loads(path.read_text())["exit_code_by_key"].items():
            yield Mutant(file, name, status_by_exit_code[code])


def table(found: list[Mutant]) -> Iterator[str]:
    """A row a file, and the sum; tests are asked for what the types let through."""
    yield "| File | Mutants | Refused by types | Killed by tests | Survived | Not tried | Killed of those tried |"
    yield "|---|---|---|---|---|---|---|"
    files = sorted({mutant.file for mutant in found})
    for name, group in [*((f, [m for m in found if m.file == f]) for f in files), ("**all**", found)]:
        count = Counter(mutant.status for mutant in group)
        types, untried = count["caught by type check"], count["not checked"]
        killed = sum(count[status] for status in KILLED)
        tried = len(group) - types - untried
        score = f"{100 * killed / tried:.1f} %" if tried else ""
        yield f"| {name} | {len(group)} | {types} | {killed} | {tried - killed} | {untried} | {score} |"


def what_was_tried(found: list[Mutant]) -> str:
    """How many of the mutants that the types let through, and whether a file has none."""
    passed = [mutant for mutant in found if mutant.status != "caught by type check"]
    tried = [mutant for mutant in passed if mutant.status != "not checked"]
    if len(tried) == len(passed):
        return f"All {len(passed)} mutants that the types let through were tried."
    missing = sorted({mutant.file for mutant in passed} - {mutant.file for mutant in tried})
    none = f" Of {', '.join(f'`{file}`' for file in missing)} none." if missing else " Some of every file."
    share = f"{len(tried)} of the {len(passed)} mutants that the types let through were tried"
    return f"**Not all of them were tried.** {share}, in an order by chance.{none}"


def page(found: list[Mutant]) -> Iterator[str]:
    """The whole page."""
    written = HEAD.read_text()
    yield written[: written.index("**")].rstrip()
    yield from ("", what_was_tried(found), "", *table(found), "", "## Why the others live", "")
    left = [m for m in found if m.status not in (*KILLED, "caught by type check", "not checked")]
    for reason in REASON.finditer(written):
        patterns = [line.strip() for line in reason["patterns"].splitlines()]
        told = [
            m for m in left if any(re.search(pattern, f"{m.file} {m.function}: {m.change}") for pattern in patterns)
        ]
        left = [m for m in left if m not in told]
        if told:
            yield from (f"**{reason['title']}** ({len(told)}){reason['text']}", "", *listed(told), "")
    if left:
        yield from (f"**Rules no test states yet** ({len(left)}).", "", *listed(left, len(left)))


def listed(group: list[Mutant], most: int = MOST) -> Iterator[str]:
    """Some of them, and where the rest is."""
    for mutant in group[:most]:
        yield f"- `{mutant.file}` `{mutant.function}`: `{mutant.change.replace('`', chr(39))}`"
    rest = Counter(mutant.file for mutant in group[most:])
    if rest:
        yield "- and of the same kind: " + ", ".join(f"{count} in `{file}`" for file, count in sorted(rest.items()))


if __name__ == "__main__":
    everything = [*mutants()]
    sys.stdout.write("\n".join(page(everything)).rstrip() + "\n")
