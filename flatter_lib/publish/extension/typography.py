"""A formula and the punctuation mark after it stay on one line: browsers may break a line after a formula."""

from __future__ import annotations

import re

from docutils import nodes
from sphinx.application import Sphinx

_CLOSING = re.compile(r"[.,;:!?)\]\u2019\u201d]+")


def setup(app: Sphinx) -> None:
    """Join them when a page has been read."""
    app.connect("doctree-read", _join)


def _join(app: Sphinx, doctree: nodes.document) -> None:
    for formula in list(doctree.findall(nodes.math)):
        following = formula.next_node(descend=False, siblings=True)
        mark = _CLOSING.match(following) if isinstance(following, nodes.Text) else None
        if mark:
            joined = nodes.inline("", classes=["unbroken"])
            formula.replace_self(joined)
            joined += [formula, nodes.Text(mark.group())]
            around = following.parent
            # By identity: to docutils, two texts that say the same are equal.
            place = next(i for i, child in enumerate(around.children) if child is following)
            around[place] = nodes.Text(following[mark.end() :])
