"""What Sphinx lets pass in a text: measured numbers typed by hand, swallowed directives, entries that nobody cites.

Each becomes a warning with its place and its cure, and warnings fail the build. What else the text refers to by name,
Sphinx and its extensions hold themselves: citations, glued values, links, the table of contents.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

from flatter_lib.publish import sources

logger = logging.getLogger(__name__)
#: A decimal of at least so many significant digits looks like a measurement.
DIGITS = 3
_DECIMAL = re.compile(r"(?<![\w.,/:-])[-\u2212]?(\d+\.\d+)(?:e[+-]?\d+)?(?![\w/]|[.,:-]\d)")
_ARXIV = re.compile(r"\d{4}\.\d{4,5}")
_NINES = re.compile(r"0\.9+")
_LABEL = re.compile(r"(?:\b[A-Z]\w*\.?|\u00a7)[\s\u00a0]*\Z")
#: Where a number is not prose: listings, formulas, links, and what Sphinx has yet to put there.
_NOT_PROSE = (
    nodes.FixedTextElement,
    nodes.literal,
    nodes.math,
    nodes.reference,
    addnodes.pending_xref,
)
_DIRECTIVE = re.compile(r"^(?:`{3,}|~{3,})\{", re.MULTILINE)


def setup(app: Sphinx) -> None:
    """Look at each page when it has been read, and at the bibliography when all have been."""
    app.connect("doctree-read", _warn_of_typed_numbers)
    app.connect("doctree-read", _warn_of_swallowed_directives)
    app.connect("env-check-consistency", _warn_of_uncited_entries)


def typed_numbers(text: str, settings: set[float]) -> Iterator[str]:
    """The numbers of a text that look measured.

    A number is taken for a measured one if it is a decimal of three or more significant digits. What reasonable prose
    holds besides is let pass: a setting; 0.999 and its like; an arXiv number; the number of a version, a section or
    an equation, that is, one of at least 1 after a capitalised word. So not every typed number is found, and where a
    found one was not measured, writing it as a formula says so.

    Args:
        text: a run of plain words.
        settings: the absolute values of numbers that the text may hold.

    Examples:
        >>> list(typed_numbers("It took 0.452 s with PyTorch 2.14, a momentum of 0.999 and a pace of 0.125.", {0.125}))
        ['0.452']
    """
    for match in _DECIMAL.finditer(text):
        digits = match.group(1)
        if len(digits.replace(".", "").lstrip("0")) < DIGITS:
            continue
        if _ARXIV.fullmatch(digits) or _NINES.fullmatch(digits) or float(digits) in settings:
            continue
        if float(digits) < 1 or not _LABEL.search(text[: match.start()]):
            yield match.group()


def _warn_of_typed_numbers(app: Sphinx, doctree: nodes.document) -> None:
    path = Path(app.env.doc2path(app.env.docname))
    if path.suffix != ".ipynb":
        return
    settings = _literals(path)
    for text in _words(doctree):
        for number in typed_numbers(text, settings):
            logger.warning(
                f"the number {number} is typed into the prose: if it was measured, glue it in its cell and write "
                "{glue:text}`name`; a setting or an exact number goes into $...$",
                location=text.parent,
            )


def _words(node: nodes.Element) -> Iterator[nodes.Text]:
    """The plain words below a node; what is glued was measured by a cell."""
    for child in node.children:
        if isinstance(child, nodes.Text):
            yield child
        elif not isinstance(child, _NOT_PROSE) and "pasted-text" not in child["classes"]:
            yield from _words(child)


def _literals(path: Path) -> set[float]:
    """The absolute values of all numbers that a notebook's code holds: its settings."""
    found: set[float] = set()
    for cell in sources.code_cells(nbformat.read(path, as_version=4)):
        try:
            tree = ast.parse(cell.source)
        except SyntaxError:
            continue
        values = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
        found |= {float(v) for v in values if isinstance(v, int | float) and math.isfinite(v)}
    return found


def _warn_of_swallowed_directives(app: Sphinx, doctree: nodes.document) -> None:
    """A fence of backticks with backticks in its first line opens nothing, and what was to end it opens a listing.

    That swallows all up to the next fence; a code cell in it would silently be missing from the twin.
    """
    for block in doctree.findall(nodes.literal_block):
        if _DIRECTIVE.search(block.astext()):
            logger.warning(
                "a listing swallows a directive: write the directive before it with ::: or ~~~ if its first line "
                "holds backticks",
                location=block,
            )


def _warn_of_uncited_entries(app: Sphinx, env: BuildEnvironment) -> None:
    domain = env.get_domain("cite")
    cited = {target.key for ref in domain.citation_refs for target in ref.targets}  # type: ignore[attr-defined]
    for key in sorted(set(domain.bibdata.data.entries) - cited):  # type: ignore[attr-defined]
        logger.warning(f"the bibliography's {key} is cited nowhere: cite it, or remove the entry")
