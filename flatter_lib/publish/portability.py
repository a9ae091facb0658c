"""Chapters and unit tests executed again as on another machine, and the table of what came of it on all of them.

The machines are the instruction sets of :mod:`flatter_lib.publish.machines`. For the table a chapter is executed on
each with one thread and with two; one that loads data also with a copy of them that lies elsewhere.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from rich.console import Console

from flatter_lib import fingerprint, machine
from flatter_lib.files import replace_json
from flatter_lib.publish import commands, datasets, machines
from flatter_lib.publish.commands import Command
from flatter_lib.publish.environment import environment
from flatter_lib.publish.machines import Variant
from flatter_lib.publish.project import Chapter, Project
from flatter_lib.vision import data

#: Seconds that a cell, the start of a kernel and one test may take on the slowest machine.
CELL, START, TEST = 900, 120, 300
#: Seconds after which a test that does not even hear that its time is over is ended with its process.
DEAF = 360
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
            options += [f"--timeout={TEST}", "-o", f"faulthandler_timeout={DEAF}"]
            options += ["-o", "faulthandler_exit_on_timeout=true"]
        settings = environment(self.threads, {**self.variant.environment, **self.variables})
        command = [sys.executable, "-m", "pytest", *options]
        return Command(self.label, command, project.root, LIMIT, settings)

    @property
    def label(self) -> str:
        """What people call it."""
        what = f"{len(self.chapters)} chapters" if self.chapters else UNIT_TESTS
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return ", ".join(filter(None, (what, self.variant.name, threads, self.copy)))


def run(project: Project, console: Console) -> bool:
    """Execute the unit tests and every chapter on every machine, and write the table after each; whether all agree.

    Stopped and started again it goes on: what agreed is kept in ``_build/machines``, and is not executed again for as
    long as the library, the tests, the chapters, the records and this processor stay the same.
    """
    mark = _mark(project)
    rows: list[dict[str, Any]] = []
    for again in every(project):
        report = project.build / "machines" / mark / f"{again.label}.xml"
        if not report.exists() or any(row["differs"] for row in findings(report).values()):
            report.unlink(missing_ok=True)
            part = report.with_suffix(".part")  # an interrupted pytest, too, writes what it knows
            commands.run([again.command(project, part)], console)
            if part.exists():
                part.replace(report)
        found = findings(report) if report.exists() else {}
        for name in [chapter.slug for chapter in again.chapters] or [UNIT_TESTS]:
            row = found.get(name, {"seconds": 0.0, "differs": ["was not executed to its end"]})
            row |= {"name": name, "isa": again.variant.isa, "threads": again.threads}
            rows.append(row | {"data": again.copy})
        table = {
            "commit": fingerprint.commit(project.root),
            "processor": machine.model(),
            "machines": {variant.isa: variant.title for variant in machines.available()},
            "runs": rows,
        }
        replace_json(project.book / "machines.json", table)
    return not any(row["differs"] for row in rows)


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
    """What a JUnit report says of each chapter, or of the unit tests: ``seconds``, and what ``differs`` in lines."""
    found: dict[str, dict[str, Any]] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        stem, notebook, _ = case.get("classname", "").rpartition(".ipynb")
        name = stem.rpartition(".")[2] if notebook else UNIT_TESTS
        row = found.setdefault(name, {"seconds": 0.0, "differs": []})
        row["seconds"] = round(row["seconds"] + float(case.get("time", 0)), 1)
        said = [
            each.get("value") for each in case.iter("property") if each.get("name") == "differs"
        ]
        for problem in (*case.iter("failure"), *case.iter("error")):
            cell = _PROBLEM.search(problem.text or "")
            said = said or [cell[1] if cell else problem.get("message", "").partition("\n")[0]]
        row["differs"] += [f"{case.get('name')}: {line}" for line in said]
    return found


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


def _mark(project: Project) -> str:
    """A hash of all that the results follow from."""
    found = hashlib.sha256(machine.model().encode())
    for folder in (project.library, project.root / "tests", project.executed, project.results):
        for path in sorted(folder.rglob("*.*")):
            if path.suffix in (".py", ".ipynb", ".json", ".jsonl"):
                found.update(f"{path}".encode() + path.read_bytes())
    return found.hexdigest()[:16]
