"""What the theme has pages load twice is loaded once.

Its icons come as fonts with a style sheet, and again as a script of 1.5 MB that draws the same. The fonts stay, and are
loaded by the pages that show one of their icons.
"""

from __future__ import annotations

import re

from sphinx.application import Sphinx

from flatter_lib.publish.extension.finished import Pages, when_written

_TWICE = re.compile(
    r"\s*<(?:script|link)\b[^>]*fontawesome/[^>]*(?:\.js|\.woff2)[^>]*>(?:</script>)?"
)


def setup(app: Sphinx) -> None:
    """Take it out of the pages when all are written."""
    when_written(app, lambda _, pages: thin(pages))


def thin(pages: Pages) -> None:
    """Take out the script of the icons, and the orders to load their fonts at once."""
    for name, text in pages.texts.items():
        pages.texts[name] = _TWICE.sub("", text)
