"""What differs between two executions of a chapter: words exactly, values within the tolerance that they claim."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from typing import Any

from nbformat import NotebookNode

from flatter_lib import values
from flatter_lib.figures.output import ON_PHONE
from flatter_lib.publish import sources, twins
from flatter_lib.publish.twins import Values, figure_name
from flatter_lib.values import IN_DISTRIBUTION, Value

#: Kinds of output that are pictures: their numbers are compared instead.
PICTURES = ("image/svg+xml", "image/png", "image/jpeg", ON_PHONE)


def values_differences(
    published: Values, fresh: Values, verdict: Callable[[Value], str] | None = None
) -> list[str]:
    """How the values of a chapter differ from the published ones, one line each that does.

    Args:
        published: the values beside the twin.
        fresh: those of the new execution.
        verdict: says what a row of the ledger amounts to; a turned verdict differs, however close the numbers. In
            distribution it may turn, since intervals that overlap cannot lie inside and outside of the same band.
    """
    found = []
    for name in dict.fromkeys([*published, *fresh]):
        old, new = published.get(name), fresh.get(name)
        lines = values.differences(name, old, new)
        if old and new and not lines and verdict and old["role"] == new["role"] == "claim":
            before, after = verdict(old), verdict(new)
            if before != after and old["kind"] != IN_DISTRIBUTION.kind:
                lines = [f"{name}: its verdict, {before} as published, is {after}"]
        found += lines
    return found


def words_of(output: Any) -> list[str]:
    """The words of an output that must be the same: all that it shows, but for its values and pictures."""
    if twins.has_values(output):
        return []
    if output["output_type"] == "stream":
        return str(output["text"]).splitlines()
    if output["output_type"] == "error":
        return [f"{output['ename']}: {output['evalue']}"]
    kinds = sorted(output["data"].items())
    return [line for kind, text in kinds if kind not in PICTURES for line in str(text).splitlines()]


def text_differences(published: NotebookNode, fresh: NotebookNode) -> Iterator[str]:
    """The words of two notebooks as lines of a unified diff, cell by cell."""
    old, new = sources.code_cells(published), sources.code_cells(fresh)
    if len(old) != len(new):
        yield f"{len(old)} code cells published, {len(new)} now"
    for number, (before, after) in enumerate(zip(old, new, strict=False), start=1):
        label = f"cell {number}" + (f" ({figure_name(after)})" if figure_name(after) else "")
        was, now = ([line for o in c.outputs for line in words_of(o)] for c in (before, after))
        yield from difflib.unified_diff(
            was, now, f"{label}, published", f"{label}, now", lineterm=""
        )
