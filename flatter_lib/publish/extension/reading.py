"""What the theme's markup lacks for those who read a page.

An image says how large it is, so that nothing moves when it comes, and leads to itself, to be enlarged. A page has a
description, and a chapter says how long it takes to read. The list of references does not call itself a list, which to
a screen reader would have items.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

_IMAGE = re.compile(r'<img (alt="[^"]*") src="((?:\.\./)*_images/([^"]+\.svg))" ?/?>')
_SIZE = re.compile(
    r'<svg\b[^>]*?\bwidth="([\d.]+)pt"[^>]*?\bheight="([\d.]+)pt"|'
    r'<svg\b[^>]*?\bheight="([\d.]+)pt"[^>]*?\bwidth="([\d.]+)pt"',
    re.DOTALL,
)
#: Of a description.
MOST = 160
#: Words of prose that are read in a minute, of a text with formulas.
PACE = 180


def setup(app: Sphinx) -> None:
    """Mend a page when it is written."""
    app.connect("html-page-context", _mend)


def _mend(
    app: Sphinx, name: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    if "body" not in context or doctree is None:
        return
    sources = {made: Path(app.srcdir, source) for source, made in app.builder.images.items()}

    def sized(found: re.Match[str]) -> str:
        alt, address, made = found.groups()
        image = f'<img {alt} src="{address}"{pixels(sources.get(made))} />'
        return f'<a class="enlarge" href="{address}" title="the figure alone">{image}</a>'

    listed = '<div role="list" class="citation-list">'
    body = context["body"].replace(listed, '<div class="citation-list">')
    # A formula that is wider than the page is moved by hand, also by who has only a keyboard.
    body = body.replace('<div class="math ', '<div tabindex="0" class="math ')
    context["body"] = _IMAGE.sub(sized, body)
    if name.startswith("book/chapters/"):
        body = context["body"]
        needed = minutes([doctree])
        words = f"{needed} minute{'s' * (needed > 1)} to read"
        said = f'<p class="reading-time">{words}</p>'
        context["body"] = body.replace("</h1>", f"</h1>\n{said}", 1)
    words = _description(doctree)
    context["metatags"] += f'\n<meta name="description" content="{html.escape(words)}" />'


def pixels(source: Path | None) -> str:
    """Width and height of a drawing, as attributes; nothing where it does not say."""
    found = _SIZE.search(source.read_text(encoding="utf-8")[:2000]) if source else None
    if found is None:
        return ""
    width, height = found.group(1, 2) if found[1] else found.group(4, 3)
    return f' width="{float(width) * 4 / 3:.0f}" height="{float(height) * 4 / 3:.0f}"'


def minutes(prose: Iterable[nodes.Node]) -> int:
    """How long the prose in parts of a page takes to read, at least 1; what is folded in them is not counted.

    Examples:
        >>> minutes([nodes.section("", nodes.paragraph(text="word " * 450), nodes.paragraph("", "more", folded=True))])
        2
    """
    words = 0
    for part in prose:
        for paragraph in part.findall(nodes.paragraph):
            above: nodes.Node = paragraph
            while above is not part and not above.get("folded"):
                above = above.parent
            words += (
                0 if above is not part and above.get("folded") else len(paragraph.astext().split())
            )
    return max(1, round(words / PACE))


def _description(doctree: nodes.document) -> str:
    """The first paragraph of a page, cut between words."""
    first = next((p.astext() for p in doctree.findall(nodes.paragraph)), "")
    words = " ".join(first.split())
    return words if len(words) <= MOST else words[:MOST].rsplit(" ", 1)[0] + " …"
