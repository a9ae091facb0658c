"""The prose of chapters: every directive is one, and what was measured comes from a cell, never from a hand."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterator

from flatter_lib.publish import sources
from flatter_lib.publish.checks import markdown
from flatter_lib.publish.checks.finding import Finding
from flatter_lib.publish.checks.notebooks import chapters, relative
from flatter_lib.publish.project import BookError, Chapter, Project

#: A decimal of at least so many significant digits looks like a measurement.
DIGITS = 3
_DECIMAL = re.compile(r"(?<![\w.,/:-])[-\u2212]?(\d+\.\d+)(?:e[+-]?\d+)?(?![\w/]|[.,:-]\d)")
_ARXIV = re.compile(r"\d{4}\.\d{4,5}")
_NINES = re.compile(r"0\.9+")
_LABEL = re.compile(r"(?:\b[A-Z]\w*\.?|\u00a7)[\s\u00a0]*\Z")


def whole_directives(project: Project) -> list[Finding]:
    """No listing swallows a directive: a code cell in it would silently be missing from the twin."""
    cure = "write the directive before it with ::: or ~~~ if its first line holds backticks"
    return [
        Finding(f"{relative(project, path)}, line {line}", "a listing swallows a directive", cure)
        for path in markdown.texts(project)
        for line in markdown.swallowed(path.read_text(encoding="utf-8"))
    ]


def typed_numbers(project: Project) -> list[Finding]:
    """No measured number is typed into the prose of a chapter.

    A number is taken for a measured one if it is a decimal of three or more significant digits in plain words:
    formulas, listings, roles and links do not count. What reasonable prose holds besides is let pass: a setting,
    that is, a number that the chapter's own code holds as a literal; 0.999 and its like; an arXiv number; the number
    of a version, a section or an equation, that is, one of at least 1 after a capitalised word. So the check does not
    find every typed number, and where it is wrong, writing the number as a formula says so.
    """
    return [
        Finding(
            f"{relative(project, chapter.source)}, line {line}",
            f"the number {number} is typed into the prose",
            "if it was measured, glue it in its cell and write {glue:text}`name`; "
            "a setting or an exact number goes into $...$",
        )
        for chapter in chapters(project)
        if chapter.source.is_file()
        for number, line in _typed(chapter)
    ]


def _typed(chapter: Chapter) -> Iterator[tuple[str, int]]:
    settings = _literals(chapter)
    for piece in markdown.pieces(chapter.source.read_text(encoding="utf-8")):
        if not isinstance(piece, markdown.Prose):
            continue
        for match in _DECIMAL.finditer(piece.text):
            digits = match.group(1)
            if len(digits.replace(".", "").lstrip("0")) < DIGITS:
                continue
            if _ARXIV.fullmatch(digits) or _NINES.fullmatch(digits) or float(digits) in settings:
                continue
            if float(digits) >= 1 and _LABEL.search(piece.text[: match.start()]):
                continue
            yield match.group(), piece.line


def _literals(chapter: Chapter) -> set[float]:
    """The absolute values of all numbers that the chapter's code holds."""
    try:
        cells = sources.code_cells(sources.read(chapter))
    except BookError:
        return set()
    found: set[float] = set()
    for cell in cells:
        try:
            tree = ast.parse(cell.source)
        except SyntaxError:
            continue
        found |= {
            float(node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant)
            and isinstance(node.value, int | float)
            and math.isfinite(node.value)
        }
    return found
