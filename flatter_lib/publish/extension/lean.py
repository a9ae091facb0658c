"""What the theme has pages load, and no page shows, is left out when all pages are written.

Its icons come as fonts with a style sheet, and again as a script of 1.5 MB that draws the same. Its style sheets are a
dozen files with rules for whatever a page may hold. Instead of them a page loads ``_static/book.css``: the rules that
some page has a use for, and a font of the icons that these rules show. The book's own style sheet is taken whole.
"""

from __future__ import annotations

import base64
import hashlib
import io
import posixpath
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from sphinx.application import Sphinx

from flatter_lib.publish.extension.finished import Pages, when_written

BOOK, OWN = "book.css", "flatter.css"
_SCRIPT = re.compile(
    r"\s*<(?:script|link)\b[^>]*fontawesome/[^>]*(?:\.js|\.woff2)[^>]*>(?:</script>)?"
)
_SHEET = re.compile(
    r'\s*<link\b(?=[^>]*\brel="stylesheet")[^>]*\bhref="(?:\.\./)*_static/([^"?]+)[^>]*>'
)
#: What ends a piece of a style sheet, and what may hold such a thing without ending it.
_PIECES = re.compile(r"/\*.*?\*/|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|[{};]", re.DOTALL)
_ASIDE = re.compile(r"\[[^\]]*\]|\((?:[^()]|\([^()]*\))*\)")
_NAME = re.compile(r"[.#]((?:\\.|[\w-])+)")
_WORDS = re.compile(r"[\w-]+")
_IMPORT = re.compile(r"@import\s+(?:url\()?[\"']([^\"']+)[\"']\)?\s*;")
_URL = re.compile(r"url\(\s*[\"']?(?!data:|#)([^\"')]+)[\"']?\s*\)")
#: The characters of the icons, as they are or escaped.
_ICON = re.compile(r"\\([ef][0-9a-f]{3})\b|([\ue000-\uf8ff])")


def setup(app: Sphinx) -> None:
    """Take it out of the pages when all are written."""
    when_written(app, lambda _, pages: thin(pages))


def thin(pages: Pages) -> None:
    """Take out the script of the icons and the orders to load their fonts, and put one style sheet for all."""
    sheets = dict.fromkeys(name for text in pages.texts.values() for name in _SHEET.findall(text))
    sheets.pop(BOOK, None)
    file = pages.folder / "_static" / BOOK
    if not sheets:  # a build that left every page alone: the sheet says of which it was made
        listed, _, _ = file.read_text(encoding="utf-8").partition("\n")
        sheets = dict.fromkeys(listed.split()[1:-1])
    made = f"/* {' '.join(sheets)} */\n{style(pages, [*sheets])}"
    file.write_text(made, encoding="utf-8")
    version = hashlib.sha256(made.encode()).hexdigest()[:8]
    for name, text in pages.texts.items():
        page = _SCRIPT.sub("", text)
        if first := _SHEET.search(page):
            up = "../" * name.count("/")
            one = f'\n<link href="{up}_static/{BOOK}?v={version}" rel="stylesheet" />'
            page = page[: first.start()] + one + _SHEET.sub("", page[first.start() :])
        pages.texts[name] = page


def style(pages: Pages, sheets: Collection[str]) -> str:
    """What pages need of some style sheets, in their order.

    Args:
        pages: all that load them.
        sheets: their names below ``_static``.
    """
    static = pages.folder / "_static"
    used = set()
    for text in pages.texts.values():
        for marked in re.findall(r'\b(?:class|id)="([^"]*)"', text):
            used.update(marked.split())
        for script in re.findall(r"<script\b[^>]*>(.+?)</script>", text, re.DOTALL):
            used.update(_WORDS.findall(script))
    for script in static.rglob("*.js"):
        if "vendor" not in script.parts and script.name != "finds.js":
            used.update(_WORDS.findall(script.read_text(encoding="utf-8")))
    made = "\n".join(
        text if name == OWN else "".join(needed(text, used))
        for sheet in sheets
        for name, text in _with_imported(static, sheet)
    )
    fonts = sorted(static.glob("vendor/fontawesome/*/webfonts/fa-solid-900.ttf"))
    shown = {int(code, 16) if code else ord(letter) for code, letter in _ICON.findall(made)}
    return made + icons(fonts[-1], shown) if fonts and shown else made


def _with_imported(static: Path, name: str) -> Iterator[tuple[str, str]]:
    """A style sheet after those that it imports: their names, and what stands in them, as seen from ``_static``."""
    text, folder = (static / name).read_text(encoding="utf-8"), posixpath.dirname(name)

    def there(address: str) -> str:
        return posixpath.normpath(posixpath.join(folder, address))

    for imported in _IMPORT.findall(text):
        yield from _with_imported(static, there(imported))
    yield name, _URL.sub(lambda found: f'url("{there(found[1])}")', _IMPORT.sub("", text))


def needed(css: str, used: Collection[str]) -> Iterator[str]:
    """The rules of a style sheet whose selectors name only classes and ids in use; of fonts, none of the icons'.

    Examples:
        >>> css = "@media print { .a, .b > p { color: red } .b { top: 0 } } a:not(.c) { left: 0 } .c { left: 1px }"
        >>> "".join(needed(css, {"a"}))
        '@media print{.a{color: red}}a:not(.c){left: 0}'
    """
    for head, body in _rules(css):
        if head.startswith(("@media", "@supports")):
            inner = "".join(needed(body, used))
            if inner:
                yield f"{head}{{{inner}}}"
        elif head.startswith("@"):
            if not (head == "@font-face" and "Awesome" in body):
                yield f"{head}{{{body}}}" if body else f"{head};"
        else:
            every = re.split(r",(?![^(]*\))", head)
            kept = [one.strip() for one in every if used_by(one, used)]
            if kept:
                yield f"{','.join(kept)}{{{body}}}"


def used_by(selector: str, used: Collection[str]) -> bool:
    """Whether a page may hold what a selector selects; what stands in brackets is not looked at."""
    names = _NAME.findall(_ASIDE.sub("", selector))
    return all(re.sub(r"\\(.)", r"\1", name) in used for name in names)


def _rules(css: str) -> Iterator[tuple[str, str]]:
    """The rules of a style sheet on its outermost level: what stands before the braces, and in them."""
    depth = start = opened = 0
    for piece in _PIECES.finditer(css):
        match piece[0]:
            case "{":
                opened = piece.end() if depth == 0 else opened
                depth += 1
            case "}":
                depth -= 1
                if depth == 0:
                    yield _bare(css[start : opened - 1]), _bare(css[opened : piece.start()])
                    start = piece.end()
            case ";" if depth == 0:
                yield _bare(css[start : piece.start()]), ""
                start = piece.end()


def _bare(css: str) -> str:
    """Without comments, and without space around it."""
    return re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL).strip()


def icons(font: Path, codes: Collection[int]) -> str:
    """A rule that brings a font with some of another one's characters."""
    from fontTools import subset

    options = subset.Options(
        hinting=False, layout_features=[], name_IDs=[], notdef_outline=True, flavor="woff"
    )
    file = io.BytesIO()
    with subset.load_font(str(font), options) as whole:
        part = subset.Subsetter(options)
        part.populate(unicodes=codes)
        part.subset(whole)
        subset.save_font(whole, file, options)
    data = base64.b64encode(file.getvalue()).decode()
    family = (
        'font-family:"Font Awesome 6 Free";font-style:normal;font-weight:900;font-display:block'
    )
    return f'\n@font-face{{{family};src:url("data:font/woff;base64,{data}") format("woff")}}\n'
