"""What a twin shows are its values: every number that it prints is one, and is printed as the value says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from string import Formatter

from nbformat import NotebookNode

from flatter_lib.claims import line
from flatter_lib.publish import compare, twins
from flatter_lib.publish.checks.finding import Finding
from flatter_lib.publish.checks.notebooks import cell_at, executed, relative
from flatter_lib.publish.project import BookError, Project
from flatter_lib.values import in_prose, written

#: A number that depends on rounding. Whole numbers may be words: how many, which.
_FLOAT = re.compile(
    r"(?i)(?<![\d.])[-+]?\d[\d,]*(?:\.?\d*e[-+]?\d+|\.\d+|\.(?!\w))"
    r"|(?<![\w.])[-+]?\.\d+(?:e[-+]?\d+)?|\bnan\b"
)


def values(project: Project) -> list[Finding]:
    """Values and outputs are one to one, and an output shows what its values say."""
    found = []
    for chapter, twin in executed(project):
        cure = f"execute the chapter again: flatter run {chapter.slug}"
        try:
            kept = twins.published_values(chapter)
        except BookError as error:
            what, _, _ = str(error).rpartition(": ")
            found.append(Finding(relative(project, chapter.values), what, cure))
            continue
        shown: set[str] = set()
        for index, cell in enumerate(twin.cells):
            where = cell_at(project, chapter, twin, index)
            for output in cell.get("outputs", []):
                names = twins.names_of(output)
                shown |= set(names)
                found += [Finding(where, what, cure) for what in _problems(output, names, kept)]
                if not names and any(kind in compare.PICTURES for kind in output.get("data", {})):
                    what = "shows a picture without the numbers behind it"
                    found.append(Finding(where, what, "end its cell in figures.show(...)"))
        lost = sorted(set(kept) - shown)
        where = relative(project, chapter.values)
        found += [Finding(where, f"has {name}, which no cell shows", cure) for name in lost]
    return found


def bare_numbers(project: Project) -> list[Finding]:
    """No cell prints a number past its values: its digits would be compared with those of another processor.

    Nor in their words, unless the chapter's own code says that number: a setting, or the number of a section.
    """
    cure = "say(text(...)), glue(...) or record(...) of flatter_lib.values publish a number with its tolerance"
    found = []
    for chapter, twin in executed(project):
        try:
            kept = twins.published_values(chapter)
        except BookError:
            kept = {}
        code = "\n".join(cell.source for cell in twin.cells if cell.cell_type == "code")
        for index, cell in enumerate(twin.cells):
            for number in _bare(cell, kept, code):
                where = cell_at(project, chapter, twin, index)
                found.append(Finding(where, f"prints a bare number, {number}", cure))
    return found


def _problems(output: NotebookNode, names: list[str], kept: twins.Values) -> Iterator[str]:
    if lost := [name for name in names if name not in kept]:
        yield f"shows {lost[0]}, which is not among the chapter's values"
        return
    for value in (kept[name] for name in names if kept[name]["role"] != "figure"):
        text = "\n".join(str(shown) for kind, shown in output.data.items() if "text" in kind)
        role = value["role"]
        said = line(value) if role == "claim" else written(value)
        agree = text == (repr(in_prose(said)) if role == "glue" else said)
        if role == "claim":  # a file of values does not keep the order of the circumstances
            agree = _pieces(text) == _pieces(said)
        if not agree:
            yield f"shows {text[:60]!r} where its value is {said[:60]!r}"


def _pieces(text: str) -> list[str]:
    return sorted(re.split(r", | \(|\)", text))


def _bare(cell: NotebookNode, kept: twins.Values, code: str) -> Iterator[str]:
    for output in cell.get("outputs", []):
        words = compare.words_of(output)
        for name in twins.names_of(output):
            said = str(kept.get(name, {}).get("words", ""))
            words += [literal for literal, *_ in Formatter().parse(said)]
        for number in (match.group() for text in words for match in _FLOAT.finditer(text)):
            coded = re.search(rf"(?<![\d.]){re.escape(number)}(?![\w.])", code)
            if not coded or number.lower() == "nan":
                yield number
                break
