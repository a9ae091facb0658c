"""The book on paper: Chromium prints the built pages in their order, and one PDF is made of them.

Drawings are still pictures there, in the light colours, and what is folded is open, but for code. The sheets leave out
how the numbers were made: hidden cells, the code of folded sections, the record of an execution, the library's pages. A
row of the ledger is its name, its value and its verdict. Needed are Chromium and the packages playwright and pypdf.
"""

from __future__ import annotations

import html
import importlib.util
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from bs4 import BeautifulSoup

from flatter_lib.files import replace
from flatter_lib.publish.checks import browser
from flatter_lib.publish.project import Project

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from pypdf import PdfReader, PdfWriter

#: Of a sheet, in the browser's words.
SHEET = {"format": "A4", "print_background": True}
MARGIN = {"top": "15mm", "bottom": "18mm", "left": "16mm", "right": "16mm"}
#: Pages that are no part of the book on paper, by how their names begin.
ELSEWHERE = ("book/library-", "book/terms")
#: What the sheets leave out of a page.
LEFT_OUT = """
@media print {
  html { font-size: 12px !important; }
  body { line-height: 1.45 !important; }
  .bd-main .bd-content .bd-article h1 { display: block !important; margin-top: 0 !important; }
  .bd-main .bd-content .cell_output img { max-width: 82% !important; }
  .bd-main .bd-content :is(pre, table) { break-inside: auto !important; }
  #jb-print-docs-body, details.hide, details.in-full .cell_input, .provenance, .reading-time, .figure-data,
  .toggle-button, .headerlink, .copybtn, .ledger-data, tr[id^=ledger-] td:first-child > :not(.claim-id),
  tr[id^=ledger-] td:nth-child(2) > :not(.value) { display: none !important; }
  tr[id^=ledger-] td { padding-block: 0.1rem !important; }
  tr[id^=ledger-] .value { white-space: nowrap; }
  tr[id^=ledger-] p, tr[id^=ledger-] td > * { margin: 0 !important; }
}
"""
_STYLE = "<style>body { font: 11pt sans-serif } a { color: inherit; text-decoration: none }</style>"
_ENTRY = '<p style="display: flex; margin: .35em 0"><a href="{}" style="flex: 1">{}</a><span>{}</span></p>'
_NUMBER = (
    '<div style="break-after: page; height: 285mm; position: relative; text-align: center">'
    '<span style="position: absolute; bottom: 0; left: 0; right: 0">{}</span></div>'
)


class Part(NamedTuple):
    """A page of the book as it is printed: its address, its title, its sheets."""

    address: str
    title: str
    sheets: PdfReader


def missing() -> str:
    """What this machine lacks to print the book; empty if nothing."""
    lacks = [browser.missing()] if browser.missing() else []
    return ", ".join(lacks + ["pypdf"] * (importlib.util.find_spec("pypdf") is None))


def make(project: Project, folder: Path, target: Path) -> int:
    """Print the pages in a folder.

    Args:
        project: the checkout, whose table of contents has their order.
        folder: where the pages were built.
        target: the PDF.

    Returns:
        The number of sheets.
    """
    with browser.served(folder) as home, browser.started() as program:
        context = program.new_context(reduced_motion="reduce", color_scheme="light")
        page = context.new_page()
        parts = []
        for name in project.toc_files():
            path = folder / f"{name}.html"
            if path.is_file() and not name.startswith(ELSEWHERE):
                page.goto(f"{home}/{name}.html")
                page.add_style_tag(content=LEFT_OUT)
                parts.append(Part(page.url, title(path), _printed(page, MARGIN)))
        contents = _contents(page, parts)
        made = _bound(parts, contents)
        _number(page, made)
        context.close()
    file = io.BytesIO()
    made.write(file)
    replace(target, file.getvalue())
    return len(made.pages)


def title(path: Path) -> str:
    """How a page is called."""
    head = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser").title
    return head.get_text().partition(" — ")[0].strip() if head else path.stem


def _printed(page: Page, margin: Mapping[str, str]) -> PdfReader:
    from pypdf import PdfReader

    return PdfReader(io.BytesIO(page.pdf(**SHEET, margin=dict(margin))))  # type: ignore[arg-type]


def _contents(page: Page, parts: Sequence[Part]) -> PdfReader:
    """The sheets of contents; they are made twice, since their own number moves all others."""
    sheets = 1
    while True:
        place, lines = sheets + 1, []
        for part in parts:
            lines.append(_ENTRY.format(part.address, html.escape(part.title), place))
            place += len(part.sheets.pages)
        page.set_content(f"<title>Contents</title>{_STYLE}<h1>Contents</h1>{''.join(lines)}")
        made = _printed(page, MARGIN)
        if len(made.pages) == sheets:
            return made
        sheets = len(made.pages)


def _bound(parts: Sequence[Part], contents: PdfReader) -> PdfWriter:
    """All sheets in order, with an outline; a link to another page of the book leads to its first sheet."""
    from pypdf import PdfWriter

    made = PdfWriter()
    made.append(contents, outline_item="Contents", import_outline=False)
    first = {}
    for part in parts:
        first[part.address] = len(made.pages)
        made.append(part.sheets, outline_item=part.title, import_outline=False)
    _lead(made, first)
    return made


def _lead(made: PdfWriter, first: Mapping[str, int]) -> None:
    from pypdf.generic import ArrayObject, DictionaryObject, NameObject

    for sheet in made.pages:
        for note in sheet.get("/Annots", ()):
            action = note.get_object().get("/A", {})
            number = first.get(urlsplit(str(action.get("/URI", "")))._replace(fragment="").geturl())
            if number is not None:
                goal = ArrayObject([made.pages[number].indirect_reference, NameObject("/Fit")])
                note.get_object()[NameObject("/A")] = DictionaryObject(
                    {NameObject("/S"): NameObject("/GoTo"), NameObject("/D"): goal}
                )


def _number(page: Page, made: PdfWriter) -> None:
    """Put its number under each sheet."""
    page.set_content(_STYLE + "".join(map(_NUMBER.format, range(1, len(made.pages) + 1))))
    numbers = _printed(page, dict.fromkeys(MARGIN, "0")).pages
    for sheet, number in zip(made.pages, numbers, strict=False):
        sheet.merge_page(number)
        sheet.compress_content_streams()
    made.compress_identical_objects()
