"""The checks that close what a warning-free build leaves open.

Sphinx is content with a twin older than its source, a figure without a description, a page that loads a font from
somewhere, a path of the author's machine in an output. Each check here closes one such hole, reports all that it
finds and says what to do about it. None reads a clock or the time of a file. What can be asked of the text as Sphinx
understands it, the book's Sphinx extension asks during the build.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from flatter_lib.publish.checks import built, links, notebooks, outputs, pairs, published, traces
from flatter_lib.publish.checks.finding import Finding
from flatter_lib.publish.project import Project

__all__ = ["AFTER_BUILD", "BEFORE_BUILD", "Finding", "after_build", "before_build"]

#: What is checked of the sources and the executed twins.
BEFORE_BUILD: tuple[Callable[[Project], list[Finding]], ...] = (
    notebooks.readable,
    pairs.one_to_one,
    pairs.fresh,
    pairs.tidy,
    pairs.equal,
    outputs.done,
    outputs.figures,
    outputs.glued,
    published.values,
    published.bare_numbers,
    traces.outputs,
    traces.files,
    links.documents,
)
#: What is checked of the built pages.
AFTER_BUILD: tuple[Callable[[built.Site], list[Finding]], ...] = (
    built.local,
    built.links,
    built.images,
    built.small_words,
    built.mathematics,
)


def before_build(project: Project) -> list[Finding]:
    """Everything that is wrong with the book's sources and twins; empty for a healthy book.

    Raises:
        BookError: if the table of contents is missing or is not YAML.
    """
    return [finding for check in BEFORE_BUILD for finding in check(project)]


def after_build(html: Path) -> list[Finding]:
    """Everything that is wrong with the built pages in a folder; empty for a healthy book."""
    site = built.read(html)
    return [finding for check in AFTER_BUILD for finding in check(site)]
