"""``{terms-index}``: an alphabetical index, from the glossary's terms to the sections and rows that use them.

A section uses a term where it links to it (``{term}``), a row of the ledger where its statement has the word.
"""

from __future__ import annotations

import posixpath
import re
from html import escape
from pathlib import Path
from typing import NamedTuple

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from flatter_lib.publish import ledger
from flatter_lib.publish.extension.claim_links import row_id
from flatter_lib.publish.extension.finished import TERM, Pages, plain, when_written
from flatter_lib.publish.project import BookError, Project

_MARK = '<div class="terms-index"></div>'
_PARTS = re.compile(
    r'<section[^>]* id="(?P<section>[^"]+)"|<h1>(?P<head>.*?)<a class="headerlink"|'
    r'href="[^"]*glossary\.html#(?P<term>term-[^"]+)"',
    re.DOTALL,
)


class Place(NamedTuple):
    """Where a term is used: the page, the part of it, and how the two are called."""

    page: str
    anchor: str
    title: str


def setup(app: Sphinx) -> None:
    """Register the directive, and fill its place when all pages are written."""
    app.add_directive("terms-index", TermsIndex)
    when_written(app, lambda app, pages: fill(pages, Project(Path(app.srcdir))), early=True)


class TermsIndex(SphinxDirective):
    """The place of the index."""

    def run(self) -> list[nodes.Node]:
        """Leave a mark."""
        return [nodes.raw("", _MARK, format="html")]


def fill(pages: Pages, project: Project) -> None:
    """Put the index where its mark is."""
    for name, text in pages.texts.items():
        if _MARK in text:
            made = _index(pages, project, posixpath.dirname(name))
            pages.put(name, "terms", made, _MARK)


def uses(name: str, text: str) -> dict[str, Place]:
    """The first section of a page that links to each term, called by the page's title.

    Examples:
        >>> page = '<section id="a"><h1>A<a class="headerlink"></a></h1><a href="glossary.html#term-b">b</a>'
        >>> uses("c.html", page)
        {'term-b': Place(page='c.html', anchor='a', title='A')}
    """
    found: dict[str, Place] = {}
    section, title = "", ""
    for part in _PARTS.finditer(text, max(text.find("<article"), 0)):
        if part["section"]:
            section = part["section"]
        elif part["head"] is not None:
            title = title or plain(part["head"])
        else:
            found.setdefault(part["term"], Place(name, section, title))
    return found


def _index(pages: Pages, project: Project, here: str) -> str:
    glossary = next((n for n in pages.texts if posixpath.basename(n) == "glossary.html"), "")
    used: dict[str, list[Place]] = {}
    for file in project.toc_files():
        name = f"{file}.html"
        if name in (glossary, "book/claims.html") or name not in pages.texts:
            continue
        for term, place in uses(name, pages.own(name)).items():
            used.setdefault(term, []).append(place)
    try:
        claims = ledger.claims(project)
    except BookError:  # it is said where a page shows the ledger
        claims = []
    lines = []
    for anchor, html in sorted(
        TERM.findall(pages.texts.get(glossary, "")), key=lambda t: t[1].lower()
    ):
        word = re.compile(rf"\b{re.escape(plain(html))}s?\b", re.IGNORECASE)
        rows = [
            Place("book/claims.html", row_id(claim.id), claim.id)
            for claim in claims
            if word.search(claim.statement)
        ]
        term = _link(here, Place(glossary, anchor, plain(html)))
        places = ", ".join(_link(here, place) for place in used.get(anchor, []))
        ledger_rows = ", ".join(_link(here, place) for place in rows)
        said = f"{len(rows)} row" + "s" * (len(rows) > 1)
        folded = f"<details><summary>{said}</summary>{ledger_rows}</details>" if rows else ""
        lines.append(f"<dt>{term}</dt><dd>{places}{folded}</dd>")
    return f'<dl class="terms">{"".join(lines)}</dl>'


def _link(here: str, place: Place) -> str:
    address = f"{posixpath.relpath(place.page, here)}#{place.anchor}"
    return f'<a class="reference internal" href="{address}">{escape(place.title)}</a>'
