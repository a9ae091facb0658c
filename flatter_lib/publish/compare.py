"""What differs between two executions of a chapter: texts exactly, numbers behind figures within tolerance."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from nbformat import NotebookNode

from flatter_lib.publish import sources
from flatter_lib.publish.twins import Tables, figure_name

#: Kinds of output that are pictures: their numbers are compared instead.
PICTURES = ("image/svg+xml", "image/png", "image/jpeg")


def table_differences(
    name: str, published: Mapping[str, Any] | None, fresh: Mapping[str, Any] | None
) -> list[str]:
    """How the numbers behind one figure differ from the published ones, beyond the published tolerance.

    Args:
        name: the figure's name.
        published: its table, ``{"rtol", "atol", "columns"}``, or None where the book has none.
        fresh: the table of the new execution, or None where it drew no such figure.

    Returns:
        One line a differing column; empty where all agree.
    """
    if published is None or fresh is None:
        return [
            f"figure {name}: {'not in the published numbers' if published is None else 'no longer drawn'}"
        ]
    tolerance = {key: published[key] for key in ("rtol", "atol")}
    found = []
    if any(fresh[key] != tolerance[key] for key in tolerance):
        found.append(f"figure {name}: its tolerance changed")
    old, new = published["columns"], fresh["columns"]
    for column in sorted({*old, *new}):
        if column not in old or column not in new:
            found.append(f"figure {name}: {column} {'is new' if column in new else 'is gone'}")
        else:
            found += _column_difference(
                f"figure {name}: {column}", old[column], new[column], **tolerance
            )
    return found


def tables_differences(published: Tables, fresh: Tables) -> list[str]:
    """The same for all figures of a chapter."""
    names = dict.fromkeys([*published, *fresh])
    return [
        line
        for name in names
        for line in table_differences(name, published.get(name), fresh.get(name))
    ]


def text_differences(published: NotebookNode, fresh: NotebookNode) -> Iterator[str]:
    """The text outputs of two notebooks as lines of a unified diff, cell by cell; pictures play no part."""
    old, new = sources.code_cells(published), sources.code_cells(fresh)
    if len(old) != len(new):
        yield f"{len(old)} code cells published, {len(new)} now"
    for number, (before, after) in enumerate(zip(old, new, strict=False), start=1):
        label = f"cell {number}" + (f" ({figure_name(after)})" if figure_name(after) else "")
        yield from difflib.unified_diff(
            _texts(before), _texts(after), f"{label}, published", f"{label}, now", lineterm=""
        )


def _texts(cell: NotebookNode) -> list[str]:
    texts = []
    for output in cell.outputs:
        if output.output_type == "stream":
            texts.append(output.text)
        elif output.output_type == "error":
            texts.append(f"{output.ename}: {output.evalue}")
        else:
            texts += [
                str(text) for kind, text in sorted(output.data.items()) if kind not in PICTURES
            ]
    return [line for text in texts for line in text.splitlines()]


def _column_difference(label: str, old: Any, new: Any, rtol: float, atol: float) -> list[str]:
    before, after = np.asarray(old, dtype=np.float64), np.asarray(new, dtype=np.float64)
    if before.shape != after.shape:
        return [f"{label}: shape {before.shape} published, {after.shape} now"]
    differs = ~np.isclose(after, before, rtol=rtol, atol=atol, equal_nan=True)
    if not differs.any():
        return []
    with np.errstate(all="ignore"):
        gap = np.abs(after - before) / np.maximum(np.abs(before), np.finfo(np.float64).tiny)
    worst = np.unravel_index(
        np.argmax(np.where(differs, np.nan_to_num(gap, nan=np.inf), -1)), before.shape
    )
    return [
        f"{label}: {int(differs.sum())} of {before.size} numbers beyond rtol {rtol:g}; "
        f"the worst, {before[worst]:.6g} published, is {after[worst]:.6g}"
    ]
