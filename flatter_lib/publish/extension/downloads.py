"""A notebook that is downloaded shows the numbers that its page shows, and says what it needs.

In the twin a number of the prose is the name of what a cell glued; only the book's own pages know how to look it up.
"""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell
from sphinx.application import Sphinx

from flatter_lib.publish.extension.execution_record import CHAPTERS
from flatter_lib.publish.project import Project

_GLUED = re.compile(r"\{glue:text\}`([^`]+)`")


def setup(app: Sphinx) -> None:
    """Write them when all pages are written, in place of the twins that Sphinx copies."""
    app.connect("build-finished", _write)


def readable(twin: NotebookNode) -> NotebookNode:
    """A twin with its numbers in place, after a cell that says what it needs.

    Args:
        twin: which is changed.
    """
    numbers = dict(_glued(twin))
    for cell in twin.cells:
        if cell.cell_type == "markdown":
            cell.source = _GLUED.sub(lambda found: numbers.get(found[1], found[0]), cell.source)
    twin.cells.insert(0, new_markdown_cell(needs(twin), id="what-it-needs"))
    return twin


def needs(twin: NotebookNode) -> str:
    """What one needs to run a chapter's notebook.

    Examples:
        >>> needs(NotebookNode(metadata={"flatter": {"data": ["digits"], "records": ["drops.jsonl"]}})).splitlines()[-1]
        'It reads `book/results/drops.jsonl` and the data set digits (`flatter data`).'
    """
    settings = twin.metadata.get("flatter", {})
    files = [f"`book/results/{name}`" for name in settings.get("records", ())]
    sets = [f"the data set {name} (`flatter data`)" for name in settings.get("data", ())]
    reads = f"\nIt reads {' and '.join(files + sets)}." if files or sets else ""
    return (
        "This chapter was executed, and is shown as it came out. To run it, install the library in the book's\n"
        "checkout, `pip install -e '.[book]'` (Python 3.11 or newer), and open it in the folder `book/chapters`."
        + reads
    )


def _glued(twin: NotebookNode) -> list[tuple[str, str]]:
    """What cells glued, by its names, as a page shows it."""
    found = []
    for cell in twin.cells:
        for output in cell.get("outputs", ()):
            mark = output.get("metadata", {}).get("scrapbook")
            if mark:
                shown = output["data"][f"{mark['mime_prefix']}text/plain"]
                found.append((mark["name"], shown.strip("'\"")))
    return found


def _write(app: Sphinx, error: Exception | None) -> None:
    folder = Path(app.outdir) / "_sources" / CHAPTERS
    if error is None and folder.is_dir():
        for chapter in Project(Path(app.srcdir)).chapters():
            if (target := folder / chapter.twin.name).is_file():
                nbformat.write(readable(nbformat.read(chapter.twin, as_version=4)), target)
