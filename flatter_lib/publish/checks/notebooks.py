"""The executed twins as the checks read them: as they lie there, with nothing mended on the way."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from flatter_lib.publish.checks.finding import Finding
from flatter_lib.publish.project import Chapter, Project


@dataclass(frozen=True)
class Twin:
    """A chapter's executed twin, and what findings call it and its cells."""

    project: Project
    chapter: Chapter
    notebook: NotebookNode

    @property
    def name(self) -> str:
        """Its file."""
        return relative(self.project, self.chapter.twin)

    @property
    def again(self) -> str:
        """What executes it again."""
        return f"flatter run {self.chapter.slug}"

    def cells(self) -> Iterator[tuple[NotebookNode, str]]:
        """Every cell by the name that readers can count: its place among the code cells, or among the texts."""
        numbers: Counter[str] = Counter()
        for cell in self.notebook.cells:
            kind = "code cell" if cell.cell_type == "code" else "text cell"
            numbers[kind] += 1
            yield cell, f"{self.name}, {kind} {numbers[kind]}"

    def outputs(self) -> Iterator[tuple[NotebookNode, str]]:
        """Every output, and where its cell is."""
        for cell, where in self.cells():
            yield from ((output, where) for output in cell.get("outputs", []))


def of_each(check: Callable[[Twin], Iterable[Finding]]) -> Callable[[Project], list[Finding]]:
    """A check of one twin as a check of all; :func:`readable` reports those that are no notebooks."""

    @functools.wraps(check)
    def of_all(project: Project) -> list[Finding]:
        return [finding for twin in executed(project) for finding in check(twin)]

    return of_all


def chapters(project: Project) -> list[Chapter]:
    """Every chapter that has a source, a twin or a line in the table of contents."""
    known = dict.fromkeys(project.chapters())
    strays = sorted(
        {path.stem for path in project.executed.glob("*.ipynb")} - {c.slug for c in known}
    )
    return [*known, *(project.chapter_paths(slug) for slug in strays)]


def executed(project: Project) -> Iterator[Twin]:
    """Every twin that is a notebook."""
    for chapter, found in _found(project):
        if isinstance(found, NotebookNode):
            yield Twin(project, chapter, found)


def readable(project: Project) -> list[Finding]:
    """Every twin is a well-formed notebook."""
    return [
        Finding(
            relative(project, chapter.twin),
            f"is not a notebook: {found}",
            f"execute it again: flatter run {chapter.slug}",
        )
        for chapter, found in _found(project)
        if isinstance(found, str)
    ]


def relative(project: Project, path: Path) -> str:
    """The path from the folder of the checkout."""
    return path.relative_to(project.root).as_posix()


def _found(project: Project) -> Iterator[tuple[Chapter, NotebookNode | str]]:
    """Every twin that there is, or what is wrong with it."""
    for chapter in chapters(project):
        if chapter.twin.is_file():
            yield chapter, _parsed(chapter.twin.read_bytes())


@functools.lru_cache(maxsize=64)
def _parsed(content: bytes) -> NotebookNode | str:
    """A notebook, which the checks read one after another, or what is wrong with it."""
    try:
        notebook: NotebookNode = nbformat.v4.reads_json(content.decode())
        first = next(nbformat.validator.iter_validate(notebook, version=4), None)
    except Exception as error:  # whatever a reader of broken files raises is the finding
        return f"{type(error).__name__}: {error}"
    return notebook if first is None else str(first.message)
