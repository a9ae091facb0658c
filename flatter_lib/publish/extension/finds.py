"""What the search of pages leaves out is found: formulas, numbered statements, terms, and the ledger's rows by name.

``_static/finds.js`` lists them with the words and the TeX by which they are found, and shows on the page of the search
those that hold what was asked for (``book/explorables/find.js``).
"""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path

from sphinx.application import Sphinx

from flatter_lib.publish import ledger
from flatter_lib.publish.extension.claim_links import row_id
from flatter_lib.publish.extension.finished import TERM, Pages, plain, when_written
from flatter_lib.publish.project import BookError, Project

_EQUATION = re.compile(
    r'<div[^>]* class="math[^"]*"[^>]* id="(equation-[^"]+)"[^>]*>(.*?)</div>', re.DOTALL
)
_NUMBER = re.compile(r'class="eqno">(\([^<]*\))')
_TEX = re.compile(r'alttext="([^"]*)"')
_STATEMENT = re.compile(
    r'<div class="proof[^"]*" id="([^"]+)">\s*<p class="admonition-title">(.*?)</p>', re.DOTALL
)
_TITLE = re.compile(r"<title>(.*?) &#8212;", re.DOTALL)

SCRIPT = Path("book/explorables/find.js")
#: What is searched is loaded when something is asked for.
_INDEX = re.compile(r'\s*<script src="searchindex\.js"[^>]*></script>')
LOADER = """<script>
if (new URLSearchParams(location.search).get("q")) for (const src of ["searchindex.js", "_static/finds.js"])
  document.body.append(Object.assign(document.createElement("script"), { src }));
</script>"""
#: What is found: how it is called, where it is, and by which words.
Find = tuple[str, str, str]


def setup(app: Sphinx) -> None:
    """List what is found when all pages are written, and load the list where it is searched."""
    when_written(app, _complete)


def listed(pages: Pages) -> list[Find]:
    """The equations, statements and terms of the pages."""
    found: list[Find] = []
    for name, text in pages.texts.items():
        title = plain(match[1]) if (match := _TITLE.search(text)) else name
        for anchor, inside in _EQUATION.findall(text):
            tex = unescape(" ".join(_TEX.findall(inside)))
            number = "".join(_NUMBER.findall(inside))
            found.append((f"Equation {number}, {title}", f"{name}#{anchor}", f"{anchor} {tex}"))
        for anchor, head in _STATEMENT.findall(text):
            found.append((f"{plain(head)}, {title}", f"{name}#{anchor}", anchor))
        for anchor, term in TERM.findall(text):
            found.append((f"{plain(term)}, {title}", f"{name}#{anchor}", ""))
    return found


def rows(project: Project) -> list[Find]:
    """The rows of the ledger."""
    try:
        claims = ledger.claims(project)
    except BookError:  # it is said where a page shows the ledger
        return []
    return [(c.statement, f"book/claims.html#{row_id(c.id)}", f"{c.id} {c.place}") for c in claims]


def _complete(app: Sphinx, pages: Pages) -> None:
    found = [*listed(pages), *rows(Project(Path(app.srcdir)))]
    script = Path(app.srcdir, SCRIPT)
    if "search.html" in pages.texts and script.is_file():
        data = json.dumps(found, ensure_ascii=False, indent=0)
        text = f"window.finds = {data};\n{script.read_text(encoding='utf-8')}"
        (pages.folder / "_static/finds.js").write_text(text, encoding="utf-8")
        pages.texts["search.html"] = _INDEX.sub("", pages.texts["search.html"])
        pages.put("search.html", "finds", LOADER, "</body>")
