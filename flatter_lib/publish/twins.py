"""The executed twin of a chapter, reduced to what it computed.

papermill and Jupyter add run ids, clocks and random cell ids; without them two executions of one source differ in
nothing but what they computed. The values in its outputs move to a file beside it, and the outputs keep their names.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import nbformat
import numpy as np
from nbformat import NotebookNode

from flatter_lib.claims import line
from flatter_lib.publish import sources
from flatter_lib.publish.project import BookError, Chapter
from flatter_lib.values import IN_DISTRIBUTION, Value, differences, written

#: Cell metadata that only says how or when a cell was run.
RUN_METADATA = ("execution", "papermill")
#: What every twin says of its kernel and language, whoever's made it.
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"file_extension": ".py", "name": "python", "pygments_lexer": "ipython3"},
    "jupytext": {"default_lexer": sources.LEXER},
}
CLAIM = "claim "

#: The values of a chapter by their names: ``fig-x: column``, ``claim id``, a glued name, ``line of CELL, 1``.
Values = dict[str, Value]


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


def published_values(chapter: Chapter) -> Values:
    """The values of a chapter's published twin.

    Raises:
        BookError: if they are missing or damaged.
    """
    try:
        values = json.loads(chapter.values.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        values = None
    what = "its published values are missing or damaged"
    if isinstance(values, dict):
        damaged = [name for name, value in values.items() if not _is_value(value)]
        if not damaged:
            return values
        what = f"{damaged[0]!r} of its published values is damaged"
    raise BookError(f"{chapter.slug}: {what}: flatter run {chapter.slug}")


def clean(executed: NotebookNode) -> tuple[NotebookNode, Values]:
    """The notebook without marks of its run, and its values."""
    twin = copy.deepcopy(executed)
    ours = {name: value for name, value in executed.metadata.items() if name == "flatter"}
    twin.metadata = nbformat.from_dict(copy.deepcopy(METADATA | ours))
    twin.nbformat, twin.nbformat_minor = 4, 5
    values: Values = {}
    seen: Counter[str] = Counter()
    count = 0
    for cell in twin.cells:
        for name in RUN_METADATA if cell.metadata.get("tags") else (*RUN_METADATA, "tags"):
            cell.metadata.pop(name, None)
        cell.id = _stable_id(cell, seen)
        if cell.cell_type != "code":
            continue
        count += 1
        cell.execution_count = count if cell.execution_count is not None else None
        cell.outputs = _coalesced(cell.outputs)
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = cell.execution_count
        values |= _taken(cell, values)
    return twin, values


def weave(source: NotebookNode, twin: NotebookNode) -> NotebookNode:
    """A source's text around a twin's outputs, for a source whose code cells are those of the twin."""
    woven = copy.deepcopy(source)
    for new, old in zip(sources.code_cells(woven), sources.code_cells(twin), strict=True):
        new.outputs, new.execution_count = copy.deepcopy(old.outputs), old.execution_count
    return clean(woven)[0]


def values_of(cell: NotebookNode, outputs: list[Any]) -> Values:
    """The values in the outputs of one cell just executed, by their names."""
    return dict(pair for pairs in _named(cell, outputs) for pair in pairs)


def names_of(output: Any) -> list[str]:
    """The names of the values that an output of a cleaned twin shows."""
    return [name for name in _mark(output).get("values", []) if isinstance(name, str)]


def has_values(output: Any) -> bool:
    """Whether an output, of a kernel or of a cleaned twin, shows values."""
    return any(isinstance(value, str | Mapping) for value in _mark(output).get("values", []))


def claims_of(cell: NotebookNode) -> list[str]:
    """The ids of the claims that a cell of a cleaned twin measured."""
    names = [name for output in cell.get("outputs", []) for name in names_of(output)]
    return [name.removeprefix(CLAIM) for name in names if name.startswith(CLAIM)]


def figure_name(cell: NotebookNode) -> str:
    """The name that a cell's metadata gives its figure (``mystnb: figure: name``), or an empty text."""
    return str(cell.metadata.get("mystnb", {}).get("figure", {}).get("name", ""))


def _taken(cell: NotebookNode, others: Values) -> Values:
    """The values of a cell, taken out of its outputs; a name that another cell has is not that one's value."""
    found = [
        [
            (f"{name}, again in {cell.id}" if name in others else name, value)
            for name, value in pairs
        ]
        for pairs in _named(cell, cell.outputs)
    ]
    for output, pairs in zip(cell.outputs, found, strict=True):
        if pairs:
            output.metadata.flatter = nbformat.from_dict({"values": [name for name, _ in pairs]})
    return dict(pair for pairs in found for pair in pairs)


def _named(cell: NotebookNode, outputs: list[Any]) -> Iterator[list[tuple[str, Value]]]:
    """For each output of a cell the values that it carries, each with its name in the chapter."""
    taken: Counter[str] = Counter()
    for output in outputs:
        mark = _mark(output)
        role = str(mark.get("role", ""))
        pairs = []
        for value in mark.get("values", []):
            if isinstance(value, str):
                continue
            own = str(value.get("name", ""))
            name = {
                "figure": f"{figure_name(cell) or 'unnamed'}: {own}",
                "claim": f"{CLAIM}{own}",
                "line": f"line of {cell.get('id', '')}",
            }.get(role, own)
            taken[name] += 1
            if taken[name] > 1 or role == "line":
                name = f"{name}, {taken[name]}"
            pairs.append((name, {**value, "role": role}))
        yield pairs


def _mark(output: Any) -> Mapping[str, Any]:
    mark = output.get("metadata", {}).get("flatter", {})
    return mark if isinstance(mark, Mapping) else {}


def _is_value(value: Any) -> bool:
    """Whether all that read a value can: it shows what its role shows, and agrees with itself."""
    try:
        if value["role"] == "figure":
            numbers = np.array(value["numbers"], np.float64)
            if value["kind"] == IN_DISTRIBUTION.kind:
                middle, low, high = numbers.T
                if not np.all((low <= middle) & (middle <= high)):
                    return False
        else:
            (line if value["role"] == "claim" else written)(value)
        return isinstance(value["numbers"], list) and not differences("", value, value)
    except Exception:
        return False


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
