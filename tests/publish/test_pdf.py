"""The book on paper: pages in their order behind their contents, numbered, with links that lead within it.

What says how numbers were made is left out, and with it most of a row of the ledger.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from flatter_lib.publish import pdf
from flatter_lib.publish.project import Project

pytestmark = pytest.mark.skipif(bool(pdf.missing()), reason=f"needs {pdf.missing()}")

PAGE = """<!DOCTYPE html><html lang="en"><head><title>{} \u2014 A book</title></head>
<body><h1>{}</h1>{}</body></html>"""
END = """<div class="cell"><div class="cell_input">Shown.</div></div>
<details class="hide"><summary>Show</summary>Hidden.</details>
<details class="in-full" open><summary>In full.</summary><div class="cell_input">Folded.</div></details>
<table><tr id="ledger-a-row"><td><p>It falls.</p><p class="claim-id">a-row</p></td>
<td><p>The time.</p><p class="value">0.5</p></td><td><p>held</p></td></tr></table><p class="provenance">Made.</p>"""


def test_the_book_on_paper(tmp_path: Path) -> None:
    from pypdf import PdfReader

    toc = "root: book/index\nchapters:\n" + "".join(
        f"- file: book/{name}\n" for name in ("two", "gone", "library-theory", "one")
    )
    (tmp_path / "_toc.yml").write_text(toc)
    (tmp_path / "book").mkdir()
    folder = tmp_path / "html/book"
    folder.mkdir(parents=True)
    long = "<p style='break-after: page'>Some.</p><p>More.</p>"
    links = '<a href="one.html#x">to one</a> <a href="https://example.org/">away</a>'
    pages = {"index": links, "two": long, "one": END, "library-theory": "<p>API</p>"}
    for name, body in pages.items():
        (folder / f"{name}.html").write_text(PAGE.format(name, name, body))
    target = tmp_path / "book.pdf"
    assert pdf.make(Project(tmp_path), tmp_path / "html", target) == 5
    read = PdfReader(target)
    texts = [" ".join(sheet.extract_text().split()) for sheet in read.pages]
    assert texts == [
        "Contents index 2 two 3 one 5 1",
        "index to one away 2",
        "two Some. 3",
        "More. 4",
        "one Shown. In full. a-row 0.5 held 5",
    ]
    assert [item.title for item in read.outline] == ["Contents", "index", "two", "one"]
    actions = [note.get_object()["/A"] for note in read.pages[1]["/Annots"]]
    assert [action["/S"] for action in actions] == ["/GoTo", "/URI"]
    assert read.get_page_number(actions[0]["/D"][0].get_object()) == 4
