"""The executed twin of a chapter, reduced to what it computed.

papermill and Jupyter add run ids, clocks and random cell ids; without them two executions of one source differ in
nothing but what they computed. The numbers behind the figures move from the outputs to a small table beside it.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import nbformat
from nbformat import NotebookNode

from flatter_lib.publish import sources
from flatter_lib.publish.project import BookError, Chapter

#: Cell metadata that only says how or when a cell was run.
RUN_METADATA = ("execution", "papermill")
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}

Tables = dict[str, dict[str, Any]]


def read(chapter: Chapter) -> NotebookNode:
    """A chapter's published twin.

    Raises:
        BookError: if there is none, or it is no notebook.
    """
    if not chapter.twin.exists():
        raise BookError(f"{chapter.slug} was never executed: flatter run {chapter.slug}")
    try:
        twin = nbformat.read(chapter.twin, as_version=4)
        nbformat.validate(twin)
    except Exception as error:
        raise BookError(
            f"{chapter.slug}: its executed notebook is damaged: flatter run {chapter.slug}"
        ) from error
    return twin


def published_tables(chapter: Chapter) -> Tables:
    """The numbers behind the figures of a chapter's published twin.

    Raises:
        BookError: if they are missing or damaged.
    """
    try:
        tables = json.loads(chapter.figures.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        tables = None
    if not isinstance(tables, dict):
        raise BookError(
            f"{chapter.slug}: the numbers behind its figures are missing or damaged: flatter run {chapter.slug}"
        )
    return tables


def clean(executed: NotebookNode) -> tuple[NotebookNode, Tables]:
    """The notebook without marks of its run, and the tables of its figures.

    Returns:
        The cleaned copy, and figure name -> ``{"rtol", "atol", "columns"}``.
    """
    twin = copy.deepcopy(executed)
    metadata = {
        "kernelspec": dict(KERNEL),
        "language_info": {"name": "python", "pygments_lexer": "ipython3"},
    }
    if "flatter" in executed.metadata:
        metadata["flatter"] = copy.deepcopy(dict(executed.metadata["flatter"]))
    twin.metadata = nbformat.from_dict(metadata)
    twin.nbformat, twin.nbformat_minor = 4, 5
    tables: Tables = {}
    seen: Counter[str] = Counter()
    count = 0
    for cell in twin.cells:
        cell.metadata = nbformat.from_dict(kept_metadata(cell))
        cell.id = _stable_id(cell, seen)
        if cell.cell_type != "code":
            continue
        count += 1
        cell.execution_count = count if cell.execution_count is not None else None
        cell.outputs = _coalesced(cell.outputs)
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = cell.execution_count
        tables |= _taken(cell)
    return twin, tables


def weave(source: NotebookNode, twin: NotebookNode) -> NotebookNode:
    """A source's text around a twin's outputs, for a source whose code cells are those of the twin."""
    woven = copy.deepcopy(source)
    for new, old in zip(sources.code_cells(woven), sources.code_cells(twin), strict=True):
        new.outputs, new.execution_count = copy.deepcopy(old.outputs), old.execution_count
    return clean(woven)[0]


def tables(notebook: NotebookNode) -> Tables:
    """The tables of figures that still travel in the outputs of a notebook just executed."""
    return clean(notebook)[1]


def tables_of(cell: NotebookNode, outputs: list[Any]) -> Tables:
    """The tables in the outputs of one cell, under the names that the cell's metadata gives its figures."""
    found = [marks["figure"] for _, marks in _marks(outputs) if "figure" in marks]
    name = figure_name(cell)
    return {name or f"unnamed-{i}": dict(table) for i, table in enumerate(found)}


def claims_of(cell: NotebookNode) -> list[dict[str, Any]]:
    """The claim rows that a cell's outputs carry."""
    return [
        dict(marks["claim"]) for _, marks in _marks(cell.get("outputs", [])) if "claim" in marks
    ]


def figure_name(cell: NotebookNode) -> str:
    """The name that a cell's metadata gives its figure (``mystnb: figure: name``), or an empty text."""
    return str(cell.metadata.get("mystnb", {}).get("figure", {}).get("name", ""))


def kept_metadata(cell: NotebookNode) -> dict[str, Any]:
    """A cell's metadata without what only says how or when it was run."""
    kept = {
        k: v
        for k, v in cell.metadata.items()
        if k not in RUN_METADATA and not (k == "tags" and not v)
    }
    return copy.deepcopy(kept)


def _taken(cell: NotebookNode) -> Tables:
    found = tables_of(cell, cell.outputs)
    for output, marks in _marks(cell.outputs):
        if "figure" in marks:
            del output.metadata["flatter"]
    return found


def _marks(outputs: list[Any]) -> Iterator[tuple[Any, Mapping[str, Any]]]:
    for output in outputs:
        yield output, output.get("metadata", {}).get("flatter", {})


def _stable_id(cell: NotebookNode, seen: Counter[str]) -> str:
    mark = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:10]
    seen[mark] += 1
    return mark if seen[mark] == 1 else f"{mark}-{seen[mark]}"


def _coalesced(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Outputs with neighbouring pieces of one stream joined: how a stream was cut is an accident of timing."""
    joined: list[NotebookNode] = []
    for output in outputs:
        last = joined[-1] if joined else None
        if output.output_type == "stream" and last and last.get("name") == output.name:
            last.text += output.text
        else:
            joined.append(output)
    return joined
