"""The checks that close what a warning-free build leaves open.

Sphinx is content with a twin older than its source, a figure without a description, a page that loads a font from
somewhere, a path of the author's machine in an output. Each check here closes one such hole, reports all that it
finds and says what to do about it. None reads a clock or the time of a file.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from flatter_lib.publish.checks import (
    notebooks,
    outputs,
    pages,
    pairs,
    prose,
    published,
    references,
    traces,
)
from flatter_lib.publish.checks.finding import Finding
from flatter_lib.publish.project import Project

__all__ = ["AFTER_BUILD", "BEFORE_BUILD", "Finding", "after_build", "before_build"]

#: What is checked of the sources and the executed twins.
BEFORE_BUILD: tuple[Callable[[Project], list[Finding]], ...] = (
    notebooks.readable,
    pairs.one_to_one,
    pairs.fresh,
    pairs.tidy,
    pairs.equal_cells,
    pairs.clean,
    outputs.in_order,
    outputs.figures,
    published.values,
    published.bare_numbers,
    traces.outputs,
    traces.files,
    references.citations,
    references.glued,
    references.claims,
    prose.whole_directives,
    prose.typed_numbers,
)
#: What is checked of the built pages.
AFTER_BUILD: tuple[Callable[[Project, Path], list[Finding]], ...] = (
    pages.local,
    pages.links,
    pages.images,
    pages.in_contents,
    pages.mathematics,
)


def before_build(project: Project) -> list[Finding]:
    """Everything that is wrong with the book's sources and twins; empty for a healthy book.

    Raises:
        BookError: if the table of contents is missing or is not YAML.
    """
    return [finding for check in BEFORE_BUILD for finding in check(project)]


def after_build(project: Project, html: Path) -> list[Finding]:
    """Everything that is wrong with the built pages in a folder; empty for a healthy book.

    Raises:
        BookError: if the table of contents is missing or is not YAML.
    """
    return [finding for check in AFTER_BUILD for finding in check(project, html)]
