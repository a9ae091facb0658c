"""The executed twins as the checks read them: as they lie there, with nothing mended on the way."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from flatter_lib.publish.checks.finding import Finding
from flatter_lib.publish.project import Chapter, Project


def chapters(project: Project) -> list[Chapter]:
    """Every chapter that has a source, a twin or a line in the table of contents."""
    known = dict.fromkeys(project.chapters())
    strays = sorted(
        {path.stem for path in project.executed.glob("*.ipynb")} - {c.slug for c in known}
    )
    return [*known, *(project.chapter_paths(slug) for slug in strays)]


def executed(project: Project) -> Iterator[tuple[Chapter, NotebookNode]]:
    """Every chapter whose twin is a notebook, with it; :func:`readable` reports the others."""
    for chapter, twin in _twins(project):
        if isinstance(twin, NotebookNode):
            yield chapter, twin


def cells(project: Project) -> Iterator[tuple[Chapter, NotebookNode, str]]:
    """Every cell of these twins: its chapter, the cell, and where it is."""
    for chapter, twin in executed(project):
        for index, cell in enumerate(twin.cells):
            yield chapter, cell, cell_at(project, chapter, twin, index)


def readable(project: Project) -> list[Finding]:
    """Every twin is a well-formed notebook."""
    return [
        Finding(
            relative(project, chapter.twin),
            f"is not a notebook: {damage}",
            f"execute it again: flatter run {chapter.slug}",
        )
        for chapter, damage in _twins(project)
        if isinstance(damage, str)
    ]


def relative(project: Project, path: Path) -> str:
    """The path from the folder of the checkout."""
    return path.relative_to(project.root).as_posix()


def cell_at(project: Project, chapter: Chapter, notebook: NotebookNode, index: int) -> str:
    """A cell by the name that readers can count: its place among the code cells, or among the texts."""
    kind = notebook.cells[index].cell_type
    number = sum(cell.cell_type == kind for cell in notebook.cells[: index + 1])
    name = "code cell" if kind == "code" else "text cell"
    return f"{relative(project, chapter.twin)}, {name} {number}"


def _twins(project: Project) -> Iterator[tuple[Chapter, NotebookNode | str]]:
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
