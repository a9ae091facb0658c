"""What belongs together stays on one line, and names in code are broken where their parts end.

Browsers may break a line before and after a formula; the brackets, quotes and marks around it stay with it.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

_OPENING = re.compile(r"[(\[\u2018\u201c]+\Z")
_CLOSING = re.compile(r"[.,;:!?)\]\u2019\u201d]+")
_CODE = re.compile(r'(?<=<span class="pre">)[^<]+')
_LINK = re.compile(r'(<a class="reference[^>]*>)(\s+)')
#: A reference to an equation has brackets of its own.
_DOUBLED = re.compile(r"\((<a [^>]*>(?:<[^>]*>)*\([\w.]+\)(?:</\w+>)+)\)")


def setup(app: Sphinx) -> None:
    """Join formulas and marks when a page has been read; mend the rest when it is written."""
    app.connect("doctree-read", _join)
    app.connect("html-page-context", _mend)


def _join(app: Sphinx, doctree: nodes.document) -> None:
    for formula in list(doctree.findall(nodes.math)):
        around = formula.parent
        assert around is not None
        following = formula.next_node(descend=False, siblings=True)
        # By identity: to docutils, two texts that say the same are equal.
        place = next(i for i, child in enumerate(around.children) if child is formula)
        before = around.children[place - 1] if place else nodes.Text("")
        opening = _OPENING.search(before) if isinstance(before, nodes.Text) else None
        closing = _CLOSING.match(following) if isinstance(following, nodes.Text) else None
        joined = nodes.inline("", classes=["unbroken"])
        if opening:
            around[place - 1] = nodes.Text(before.astext()[: opening.start()])
            joined += nodes.Text(opening.group())
        if closing:
            around[place + 1] = nodes.Text(following[closing.end() :])
        if opening or closing:
            around[place] = joined
            joined += formula
        if closing:
            joined += nodes.Text(closing.group())


def mended(body: str) -> str:
    """A page whose links do not begin with a space, with single brackets, and with code that may be broken.

    Examples:
        >>> mended('to<a class="reference internal" href="#b"> Exercise</a>')
        'to <a class="reference internal" href="#b">Exercise</a>'
        >>> mended('so (<a class="reference" href="#c">(1.12)</a>).')
        'so <a class="reference" href="#c">(1.12)</a>.'
        >>> mended('<span class="pre">flatter_lib.nqm</span>')
        '<span class="pre">flatter_<wbr>lib.<wbr>nqm</span>'
    """
    body = _LINK.sub(r"\2\1", _DOUBLED.sub(r"\1", body))
    return _CODE.sub(lambda code: re.sub(r"(?<=\w)([._]+)(?=[^\W\d])", r"\1<wbr>", code[0]), body)


def _mend(
    app: Sphinx, name: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    if "body" in context:
        context["body"] = mended(context["body"])
