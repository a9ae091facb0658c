"""What a twin shows are its values: every number that it prints is one, and is printed as the value says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from string import Formatter

from nbformat import NotebookNode

from flatter_lib.claims import line
from flatter_lib.publish import compare, twins
from flatter_lib.publish.checks.finding import Finding
from flatter_lib.publish.checks.notebooks import Twin, of_each, relative
from flatter_lib.publish.project import BookError
from flatter_lib.values import in_prose, written

#: A number that depends on rounding. Whole numbers may be words: how many, which.
_FLOAT = re.compile(
    r"(?i)(?<![\d.])[-+]?\d[\d,]*(?:\.?\d*e[-+]?\d+|\.\d+|\.(?!\w))"
    r"|(?<![\w.])[-+]?\.\d+(?:e[-+]?\d+)?|\bnan\b"
)


@of_each
def values(twin: Twin) -> Iterator[Finding]:
    """Values and outputs are one to one, and an output shows what its values say."""
    cure = f"execute the chapter again: {twin.again}"
    beside = relative(twin.project, twin.chapter.values)
    try:
        kept = twins.published_values(twin.chapter)
    except BookError as error:
        what, _, _ = str(error).rpartition(": ")
        yield Finding(beside, what, cure)
        return
    shown: set[str] = set()
    for output, where in twin.outputs():
        names = twins.names_of(output)
        shown |= set(names)
        yield from (Finding(where, what, cure) for what in _problems(output, names, kept))
        if not names and any(kind in compare.PICTURES for kind in output.get("data", {})):
            what = "shows a picture without the numbers behind it"
            yield Finding(where, what, "end its cell in figures.show(...)")
    for name in sorted(set(kept) - shown):
        yield Finding(beside, f"has {name}, which no cell shows", cure)


@of_each
def bare_numbers(twin: Twin) -> Iterator[Finding]:
    """No cell prints a number past its values: its digits would be compared with those of another processor.

    Nor in their words, unless the chapter's own code says that number: a setting, or the number of a section.
    """
    cure = "say(text(...)), glue(...) or record(...) of flatter_lib.values publish a number with its tolerance"
    try:
        kept = twins.published_values(twin.chapter)
    except BookError:
        kept = {}
    code = "\n".join(cell.source for cell in twin.notebook.cells if cell.cell_type == "code")
    for output, where in twin.outputs():
        for number in _bare(output, kept, code):
            yield Finding(where, f"prints a bare number, {number}", cure)


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


def _bare(output: NotebookNode, kept: twins.Values, code: str) -> Iterator[str]:
    """The first number of an output that is none of its values and that the code does not say."""
    words = compare.words_of(output)
    for name in twins.names_of(output):
        said = str(kept.get(name, {}).get("words", ""))
        words += [literal for literal, *_ in Formatter().parse(said)]
    for number in (match.group() for text in words for match in _FLOAT.finditer(text)):
        coded = re.search(rf"(?<![\d.]){re.escape(number)}(?![\w.])", code)
        if not coded or number.lower() == "nan":
            yield number
            return
