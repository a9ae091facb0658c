r"""Mathematics that stands when the page does: TeX becomes MathML at build time, which every browser draws by itself.

MathML needs a font with a table of how formulas are set. ``book/_static/stix-two-math.woff`` is one: the glyphs of STIX
Two Math 2.11 (OFL 1.1) that a book like this needs. A formula that wants others is a warning, and so is TeX that cannot
be read.
"""

from __future__ import annotations

import functools
import re
from html import escape, unescape
from pathlib import Path
from typing import Any

from docutils import nodes
from math_core import LatexError, LatexToMathML
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number
from sphinx.writers.html5 import HTML5Translator

logger = logging.getLogger(__name__)
FONT = Path("book/_static/stix-two-math.woff")
_CONVERTER = LatexToMathML(allow_unreliable_rendering=True, fancy_error=False)
#: A bracket of given size that bears an exponent: by itself Chromium leaves it small.
_BRACKET = re.compile(r"(<m(?:sup|sub|subsup)>)(<mo [^>]*minsize[^>]*>[^<]*</mo>)")
#: A prime is raised in the font, and would be twice as an exponent.
_PRIME = re.compile(r"<msup>(<mi>[^<]*</mi>)<mo>([′″‴])</mo></msup>")


def setup(app: Sphinx) -> None:
    """Write formulas as MathML, and look at each when its page has been read."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    app.connect("doctree-read", _check)
    app.connect("html-page-context", _load_font_first)


def mathml(tex: str, *, display: bool = False) -> str:
    r"""A formula as a browser draws it, with its TeX for those who ask for it.

    Args:
        tex: without dollars.
        display: whether it stands alone.

    Raises:
        LatexError: if it cannot be read.

    Examples:
        >>> mathml(r"\beta^2")
        '<math alttext="\\beta^2"><msup><mi>β</mi><mn>2</mn></msup></math>'
    """
    text = tex.strip()
    if "\\\\" in text and "\\begin" not in text:
        text = f"\\begin{{aligned}}{text}\\end{{aligned}}"
    made = _CONVERTER.convert_with_local_state(text, displaystyle=display)
    made = _BRACKET.sub(r"\1<mrow>\2</mrow>", made)
    made = _PRIME.sub(r'\1<mo lspace="0" rspace="0">\2</mo>', made)
    return made.replace("<math", f'<math alttext="{escape(" ".join(text.split()))}"', 1)


def lacking(made: str, font: Path) -> str:
    """The characters of a formula that a font does not have."""
    words = unescape(
        re.sub(r"<[^>]*>|\s|\ufe00", "", made)
    )  # the last one only chooses between shapes
    return "".join(sorted(set(words) - _glyphs(font)))


@functools.cache
def _glyphs(font: Path) -> frozenset[str]:
    from fontTools.ttLib import TTFont

    return frozenset(map(chr, TTFont(font).getBestCmap()))


def _inline(self: HTML5Translator, node: nodes.math) -> None:
    self.body.append(self.starttag(node, "span", "", CLASS="math notranslate nohighlight"))
    self.body.append(_or_tex(node) + "</span>")
    raise nodes.SkipNode


def _block(self: HTML5Translator, node: nodes.math_block) -> None:
    self.body.append(self.starttag(node, "div", CLASS="math notranslate nohighlight"))
    if node["number"]:
        self.body.append(f'<span class="eqno">({get_node_equation_number(self, node)})')
        self.add_permalink_ref(node, "Link to this equation")
        self.body.append("</span>")
    self.body.append(_or_tex(node, display=True) + "</div>\n")
    raise nodes.SkipNode


def _or_tex(node: nodes.Element, *, display: bool = False) -> str:
    """A formula; its TeX if it cannot be read, of which the page has been warned."""
    try:
        return mathml(node.astext(), display=display)
    except LatexError:
        return escape(node.astext())


def _load_font_first(
    app: Sphinx, name: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Have the font come before formulas are drawn, so that nothing moves; files may not be asked for early."""
    if "<math" in context.get("body", ""):
        font = context["pathto"](f"_static/{FONT.name}", resource=True)
        context["metatags"] += (
            '\n<script>if (location.protocol !== "file:") document.head.append('
            'Object.assign(document.createElement("link"), '
            f'{{ rel: "preload", as: "font", type: "font/woff", crossOrigin: "", href: "{font}" }}));</script>'
        )


def _check(app: Sphinx, doctree: nodes.document) -> None:
    font = Path(app.srcdir, FONT)
    for kind in (nodes.math, nodes.math_block):
        for node in doctree.findall(kind):
            try:
                made = mathml(node.astext(), display=kind is nodes.math_block)
            except LatexError as error:
                logger.warning(f"formula {node.astext()!r} cannot be read: {error}", location=node)
                continue
            if gone := lacking(made, font):
                logger.warning(
                    f"formula {node.astext()!r}: {FONT} lacks {gone!r}: make the font anew with it",
                    location=node,
                )
