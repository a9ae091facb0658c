"""The book on paper: pages in their order behind their contents, numbered, with links that lead within it."""

from __future__ import annotations

from pathlib import Path

import pytest

from flatter_lib.publish import pdf
from flatter_lib.publish.project import Project

pytestmark = pytest.mark.skipif(bool(pdf.missing()), reason=f"needs {pdf.missing()}")

PAGE = """<!DOCTYPE html><html lang="en"><head><title>{} \u2014 A book</title></head>
<body><h1>{}</h1>{}</body></html>"""


def test_the_book_on_paper(tmp_path: Path) -> None:
    from pypdf import PdfReader

    toc = "root: book/index\nchapters:\n- file: book/two\n- file: book/gone\n- file: book/one\n"
    (tmp_path / "_toc.yml").write_text(toc)
    (tmp_path / "book").mkdir()
    folder = tmp_path / "html/book"
    folder.mkdir(parents=True)
    long = "<p style='break-after: page'>Some.</p><p>More.</p>"
    links = '<a href="one.html#x">to one</a> <a href="https://example.org/">away</a>'
    for name, body in {"index": links, "two": long, "one": "<p>End.</p>"}.items():
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
        "one End. 5",
    ]
    assert [item.title for item in read.outline] == ["Contents", "index", "two", "one"]
    actions = [note.get_object()["/A"] for note in read.pages[1]["/Annots"]]
    assert [action["/S"] for action in actions] == ["/GoTo", "/URI"]
    assert read.get_page_number(actions[0]["/D"][0].get_object()) == 4
