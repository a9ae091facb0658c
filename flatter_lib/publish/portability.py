"""Chapters and unit tests executed again as on another machine, and the table of what came of it on all of them.

The machines are the instruction sets of :mod:`flatter_lib.publish.machines`. For the table a chapter is executed on
each with one thread and with two; one that loads data also with a copy of them that lies elsewhere.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from rich.console import Console

from flatter_lib import fingerprint, machine
from flatter_lib.files import replace_json
from flatter_lib.publish import commands, datasets, freshness, machines, provenance
from flatter_lib.publish.commands import Command
from flatter_lib.publish.environment import environment
from flatter_lib.publish.machines import Variant
from flatter_lib.publish.project import Chapter, Project
from flatter_lib.vision import data

#: Seconds that a cell, the start of a kernel and one test may take on the slowest machine.
CELL, START, TEST = 900, 120, 300
#: Seconds for all that one command executes, on two cores.
LIMIT = 7200
UNIT_TESTS = "unit tests"
_PROBLEM = re.compile(r"^Cell \d+: (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Again:
    """Chapters, or else the unit tests, on one machine.

    Attributes:
        variant: the instruction set.
        chapters: which chapters; none for the unit tests.
        threads: how many threads each numerical library gets.
        copy: which copy of the data, in words; empty for what loads none.
        variables: what makes it that copy.
    """

    variant: Variant
    chapters: Sequence[Chapter] = ()
    threads: int = 1
    copy: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)

    def command(self, project: Project, report: Path | None = None) -> Command:
        """The command that executes them, in two processes, and compares.

        Args:
            project: the checkout.
            report: where to write what came of each test or cell, as JUnit's XML.
        """
        # A worker that dies is not replaced: the others would wait for ever for the rest of its file.
        options = ["-n", "2", "--dist", "loadfile", "--max-worker-restart=0", "-q", "-rfEs"]
        options += [f"--junitxml={report}"] if report else []
        if self.chapters:
            options += ["-p", "flatter_lib.publish.hold", "-p", "no:cacheprovider", "--color=no"]
            options += ["--nbval", "--nbval-current-env", "-o", "filterwarnings=default"]
            options += [f"--nbval-cell-timeout={CELL}", f"--nbval-kernel-startup-timeout={START}"]
            options += ["--rootdir", str(project.root), *(str(c.twin) for c in self.chapters)]
        else:
            # What does not even hear the signal of --timeout is ended with its process, and its place is shown.
            options += [f"--timeout={TEST}", "-o", f"faulthandler_timeout={1.2 * TEST:g}"]
            options += ["-o", "faulthandler_exit_on_timeout=true"]
        settings = environment(self.threads, {**self.variant.environment, **self.variables})
        label = f"{len(self.chapters)} chapters" if self.chapters else UNIT_TESTS
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        label = ", ".join(filter(None, (label, self.variant.name, threads, self.copy)))
        return Command(
            label, [sys.executable, "-m", "pytest", *options], project.root, LIMIT, settings
        )

    def key(self, name: str) -> str:
        """What the result of a chapter, or of the unit tests, is kept under."""
        return f"{name}, {self.variant.isa}, {self.threads}, {self.copy}"


def run(project: Project, console: Console) -> bool:
    """Execute what is not known, and write the table after each machine; whether all agree.

    What agreed is kept in ``_build/machines.json``, and is not executed again for as long as the notebook, its values,
    the library modules and the records under it and this processor stay the same.
    """
    store = project.build / "machines.json"
    known = provenance.read(store)
    good = True
    for again in every(project):
        marks = {c.slug: _mark(project, c) for c in again.chapters} or {UNIT_TESTS: _mark(project)}
        keys = {name: again.key(name) for name in marks}
        known |= {keys[n]: {} for n in marks if known.get(keys[n], {}).get("mark") != marks[n]}
        left = [n for n in marks if known[keys[n]].get("differs") != []]
        if left:
            found = _executed(project, console, again, left)
            for name in left:
                row = {"name": name, "isa": again.variant.isa, "threads": again.threads}
                row |= {"data": again.copy, "mark": marks[name], **found[name]}
                known[keys[name]] = row
            replace_json(store, known)
            _write(project, known)
        good &= all(known[key]["differs"] == [] for key in keys.values())
    return good


def every(project: Project) -> Iterator[Again]:
    """The unit tests and every chapter, on every machine."""
    by_copy: dict[tuple[str, str], list[Chapter]] = {}
    for chapter in project.chapters():
        for copy, root in _copies(project, chapter).items():
            by_copy.setdefault((copy, root), []).append(chapter)
    for variant in machines.available():
        yield Again(variant)
        for (copy, root), chapters in by_copy.items():
            variables = {"FLATTER_DATA": root} if root else {}
            yield Again(variant, chapters, 1, copy, variables)
            yield Again(variant, chapters, 2, copy, variables)


def findings(report: Path) -> dict[str, dict[str, Any]]:
    """What a JUnit report says of each notebook or file: ``seconds``, and what ``differs``, one line each."""
    found: dict[str, dict[str, Any]] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        name = case.get("classname", "").removesuffix(".ipynb").rpartition(".")[2]
        row = found.setdefault(name, {"seconds": 0.0, "differs": []})
        row["seconds"] += float(case.get("time", 0))
        said = [
            each.get("value") for each in case.iter("property") if each.get("name") == "differs"
        ]
        for problem in (*case.iter("failure"), *case.iter("error")):
            text = problem.text or ""
            cell = _PROBLEM.search(text)
            said = said or [cell[1] if cell else problem.get("message", "").partition("\n")[0]]
        row["differs"] += [f"{case.get('name')}: {line}" for line in said]
    return found


def _executed(
    project: Project, console: Console, again: Again, names: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Seconds and findings of these chapters, or of the unit tests."""
    chosen = [chapter for chapter in again.chapters if chapter.slug in names]
    again = Again(again.variant, chosen, again.threads, again.copy, again.variables)
    with tempfile.TemporaryDirectory(prefix="flatter-") as folder:
        report = Path(folder) / "report.xml"
        good = commands.run([again.command(project, report)], console)
        found = findings(report) if report.is_file() else {}
    if not chosen:
        lines = [f"{name}: {line}" for name, row in found.items() for line in row["differs"]]
        seconds = sum(row["seconds"] for row in found.values())
        found = {UNIT_TESTS: {"seconds": seconds, "differs": lines}} if good or lines else {}
    lost = {"seconds": 0, "differs": ["nothing was executed"]}
    return {
        n: {**found.get(n, lost), "seconds": round(found.get(n, lost)["seconds"])} for n in names
    }


def _write(project: Project, known: Mapping[str, Mapping[str, Any]]) -> None:
    table = {
        "commit": fingerprint.commit(project.root),
        "processor": machine.model(),
        "machines": {variant.isa: variant.title for variant in machines.available()},
        "runs": [{k: v for k, v in row.items() if k != "mark"} for row in known.values() if row],
    }
    replace_json(project.book / "machines.json", table)


def _copies(project: Project, chapter: Chapter) -> dict[str, str]:
    """Copies of the data that a chapter loads, in words, each with its data root; empty is the usual one."""
    names = datasets.needed([chapter])
    if not names:
        return {"": ""}
    root = project.build / "machines-data"
    moved = [_move(name, root) for name in names]
    return {"data as found": ""} | ({"data elsewhere": str(root)} if all(moved) else {})


def _move(name: str, root: Path) -> bool:
    """Copy a data set to another kind of place below a folder; whether it has one."""
    dataset = next(one for one in data.catalogue() if one.name == name)
    here = data.status(dataset)
    if not isinstance(here, data.Location):
        return False
    layout = next(place.layout for place in dataset.places if place.label == here.label)
    for place in dataset.places:
        folder = root / place.folder
        if place.label != here.label and place.layout == layout and root in folder.parents:
            shutil.copytree(here.folder, folder, dirs_exist_ok=True)
            return True
    return False


def _mark(project: Project, chapter: Chapter | None = None) -> str:
    """A hash of all that the result of a chapter, or of the unit tests, follows from."""
    if chapter:
        inputs = freshness.inputs(project, chapter)
        paths, used = [chapter.twin, chapter.values], [inputs["modules"], inputs["records"]]
    else:
        folders = (project.library, project.root / "tests")
        paths, used = [path for f in folders for path in sorted(f.rglob("*.py"))], []
    texts = [path.read_text(encoding="utf-8") for path in paths]
    return fingerprint.digest([texts, used, machine.model()])
