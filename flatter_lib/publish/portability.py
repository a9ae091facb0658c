"""Every chapter and the unit tests on every machine that this one can stand for, and the table of what came of it.

The machines are the instruction sets of :mod:`flatter_lib.publish.machines`. A chapter is executed on each with one
thread and with two; one that loads data also with a copy of them that lies elsewhere.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from flatter_lib import fingerprint, machine
from flatter_lib.files import replace_json
from flatter_lib.publish import datasets, freshness, machines, pool, rerun
from flatter_lib.publish.machines import Variant
from flatter_lib.publish.project import Chapter, Project
from flatter_lib.vision import data

THREADS = (1, 2)


@dataclass(frozen=True)
class Run:
    """A chapter, or the unit tests, on one machine.

    Attributes:
        chapter: which chapter; None for the unit tests.
        variant: the instruction set.
        threads: how many threads each numerical library gets.
        copy: which copy of the data, in words; empty for what loads none.
        environment: what makes it that copy.
    """

    chapter: Chapter | None
    variant: Variant
    threads: int = 1
    copy: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The chapter's name."""
        return self.chapter.slug if self.chapter else "unit tests"

    @property
    def label(self) -> str:
        """What people call it, and its key in the store."""
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return ", ".join(filter(None, (self.name, self.variant.name, threads, self.copy)))

    def task(self, project: Project) -> pool.Task:
        """The command that makes it."""
        if self.chapter is None:
            return rerun.unit(project, self.variant, workers=1, label=self.label)
        return rerun.task(
            project, self.chapter, self.variant, self.threads, self.environment, self.label
        )


def run(project: Project, console: Console) -> bool:
    """Make the runs whose result is not known, two at a time, and write the table; whether all agree.

    Interrupted, it writes the table of those that were made.

    A result is kept as soon as it is there, in ``_build/machines.json``. What agreed is not made again for as long as
    the notebook, its values, the library modules and the records under it and this processor stay the same.
    """
    store = project.build / "machines.json"
    wanted = runs(project)
    marks = {one.name: _mark(project, one.chapter) for one in wanted if one.threads == 1}
    results = {
        label: result
        for label, result in _read(store).items()
        if result["mark"] in marks.values() and not result["differs"]
    }
    left = {one.label: one for one in wanted if one.label not in results}
    known = f", {len(wanted) - len(left)} of them known" if len(left) < len(wanted) else ""
    console.print(f"  {len(wanted)} executions{known}", highlight=False)

    def ended(outcome: pool.Outcome) -> None:
        label = outcome.task.label
        differs = rerun.findings(outcome)
        for line in differs:
            console.print(f"    {line}", markup=False, highlight=False, soft_wrap=True)
        results[label] = {
            "mark": marks[left[label].name],
            "seconds": round(outcome.seconds),
            "differs": differs,
        }
        replace_json(store, results)

    try:
        pool.run_all([one.task(project) for one in left.values()], console, ended=ended)
    finally:
        made = [one for one in wanted if one.label in results]
        rows = [
            {
                "name": one.name,
                "isa": one.variant.isa,
                "threads": one.threads,
                "data": one.copy,
                "differs": results[one.label]["differs"],
                "seconds": results[one.label]["seconds"],
            }
            for one in made
        ]
        table = {
            "commit": fingerprint.commit(project.root),
            "processor": machine.model(),
            "machines": {variant.isa: variant.title for variant in machines.available()},
            "runs": rows,
        }
        replace_json(project.book / "machines.json", table)
    return not any(results[one.label]["differs"] for one in wanted)


def runs(project: Project) -> list[Run]:
    """The unit tests and every chapter, on every machine."""
    found = [Run(None, variant) for variant in machines.available()]
    for chapter in project.chapters():
        for copy, environment in _copies(project, chapter).items():
            found += [
                Run(chapter, variant, threads, copy, environment)
                for variant in machines.available()
                for threads in THREADS
            ]
    return found


def _copies(project: Project, chapter: Chapter) -> dict[str, dict[str, str]]:
    """Copies of the data that a chapter loads, by what they are called, each with the variables that choose it."""
    names = datasets.needed([chapter])
    if not names:
        return {"": {}}
    root = project.build / "machines-data"
    moved = [_move(name, root) for name in names]
    found = {"data as found": dict[str, str]()}
    return found | ({"data elsewhere": {"FLATTER_DATA": str(root)}} if all(moved) else {})


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


def _mark(project: Project, chapter: Chapter | None) -> str:
    """A hash of all that the result of a run follows from."""
    used: list[Any] = []
    if chapter:
        paths = [chapter.twin, chapter.values]
        inputs = freshness.inputs(project, chapter)
        used = [chapter.slug, inputs["modules"], inputs["records"]]
    else:
        folders = (project.library, project.root / "tests")
        paths = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    texts = [path.read_text(encoding="utf-8") for path in paths]
    return fingerprint.digest([texts, used, machine.model()])


def _read(store: Path) -> dict[str, Any]:
    try:
        found = json.loads(store.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
