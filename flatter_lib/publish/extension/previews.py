"""What a link to an equation, a statement, a term, a reference or a row leads to is shown beside the link.

Of a row of the ledger that is its statement, what was measured, the value with its interval, and the verdict.

What stands on another page travels with the page, in a ``template``: pages that are opened from files may not read each
other. ``book/_static/preview.js`` shows it.
"""

from __future__ import annotations

import posixpath
import re

from sphinx.application import Sphinx

from flatter_lib.publish.extension.finished import Pages, when_written

#: What can be seen in advance, by how its element begins.
_SHOWN = re.compile(
    r'<dt id="term-|<tr[^>]* id="ledger-|'
    r'<div[^>]* class="(?:math|proof|citation)\b|<div class="(?:math|proof|citation)\b'
)
_NAMED = re.compile(r' (?:id|tabindex)="[^"]*"|<a class="headerlink".*?</a>')
_CELL = re.compile(r"<td\b[^>]*>(.*?)</td>", re.DOTALL)
_FIRST, _VALUE = (
    re.compile(r"<p>.*?</p>", re.DOTALL),
    re.compile(r'<p class="value">.*?</p>', re.DOTALL),
)
_ADDRESS = re.compile(r' (href|src)="(?![a-z]+:)([^"]*)"')


def setup(app: Sphinx) -> None:
    """Put what they show in advance into the pages when all are written."""
    when_written(app, lambda _, pages: add(pages))


def add(pages: Pages) -> None:
    """Put into each page what its links to other pages show in advance."""
    for name in pages.texts:
        made = [
            f'<template data-preview="{link}">{shown}</template>'
            for link, there, anchor in pages.links(name)
            if there != name and (shown := _preview(pages, name, there, anchor))
        ]
        pages.put(name, "previews", "\n".join(made), "</body>")


def row(part: str) -> str:
    """A row of the ledger in short.

    Examples:
        >>> row('<tr><td><p>It falls.</p><p class="place">1</p></td><td></td><td><p>untested</p></td></tr>')
        '<div class="ledger-row"><p>It falls.</p><p>untested</p></div>'
    """
    claim, measured, verdict = _CELL.findall(part)
    found = _FIRST.match(claim), _FIRST.match(measured), _VALUE.search(measured)
    return f'<div class="ledger-row">{"".join(each[0] for each in found if each)}{verdict}</div>'


def _preview(pages: Pages, name: str, there: str, anchor: str) -> str:
    """What a part of another page looks like on this one; empty if it is not shown in advance."""
    part = pages.part(there, anchor)
    if not _SHOWN.match(part):
        return ""
    if part.startswith("<dt"):
        text = pages.texts[there]
        end = text.index(part) + len(part)
        part = f"<dl>{part}{text[end : text.index('</dd>', end)]}</dd></dl>"
    elif part.startswith("<tr"):
        part = row(part)
    base = posixpath.dirname(there)

    def moved(found: re.Match[str]) -> str:
        address = (
            found[2]
            if found[2] and found[2][0] != "#"
            else f"{posixpath.basename(there)}{found[2]}"
        )
        here = posixpath.relpath(posixpath.join(base, address), posixpath.dirname(name))
        return f' {found[1]}="{here}"'

    return _ADDRESS.sub(moved, _NAMED.sub("", part))
