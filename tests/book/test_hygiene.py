"""A healthy book has no findings; whether the one in this checkout has, the stage of that name says."""

from __future__ import annotations

from pathlib import Path

from flatter_lib.publish import hygiene, sources
from flatter_lib.publish.project import Project

from .conftest import Book, Site

CHECKOUT = Project.find(Path(__file__).parent)


def test_a_healthy_book_has_no_findings(book: Book, site: Site) -> None:
    assert book.reports() == site.reports() == {}


def test_all_that_is_wrong_is_reported_at_once(book: Book, site: Site) -> None:
    book.chapter.values.unlink()
    book.path("book/chapters/stray.txt").write_text("")
    site.add('<img src="../../_images/fall.svg">')
    site.add('<a href="#nowhere">x</a>')
    assert {finding.where for finding in hygiene.before_build(book.project)} == {
        "book/chapters/falling-water.values.json",
        "book/chapters/falling-water.ipynb",  # stale: its published values are missing
        "book/chapters/stray.txt",
    }
    assert len(hygiene.after_build(site.html)) == 2


def test_a_notebook_without_the_library_says_how_to_get_it() -> None:
    # The traceback of a ModuleNotFoundError shows the line that failed.
    for chapter in CHECKOUT.chapters():
        code = "\n".join(cell.source for cell in sources.code_cells(sources.read(chapter)))
        first = next(line for line in code.splitlines() if line.startswith("from flatter_lib"))
        assert "pip install -e .[book]" in first, f"{chapter.slug}: {first}"
