"""What finished pages get: previews of what links lead to, what the search finds, the index, the numbers of figures."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pydata_sphinx_theme  # type: ignore[import-untyped]
import pytest
from bs4 import BeautifulSoup
from fontTools.ttLib import TTFont
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from flatter_lib.publish.extension import downloads, figure_data, finds, lean, previews, terms
from flatter_lib.publish.extension.finished import Pages
from flatter_lib.publish.project import Project

from .conftest import Book, write

# ruff: noqa: E501
sphinx_theme = Path(pydata_sphinx_theme.__file__).parent
GLOSSARY = """<html><title>Glossary &#8212; B</title><body><article><h1>Glossary</h1><dl>
<dt id="term-drop">drop<a class="headerlink" href="#term-drop">#</a></dt><dd><p>Small; see
<a class="reference internal" href="#term-sea">sea</a>, <a class="reference internal" href="chapters/a.html">A</a>.</p></dd>
<dt id="term-sea">sea<a class="headerlink" href="#term-sea">#</a></dt><dd><p>Large.</p></dd></dl></article></body></html>"""
CHAPTER = """<html><title>1. A &#8212; B</title><body><article><section id="a"><h1>1. A<a class="headerlink"></a></h1>
<section id="b"><h2>B<a class="headerlink"></a></h2>
<a class="reference internal" href="../glossary.html#term-drop">drop</a>
<a class="reference internal" href="#equation-e">(1)</a><a class="reference internal" href="b.html#equation-f">(2)</a>
<a class="reference internal" href="b.html#thm">Theorem</a><a class="reference internal" href="b.html#c">C</a>
<a class="reference internal" href="../claims.html#ledger-fall">fall</a>
<a class="reference internal" href="../references.html#id3" title="X">X</a><a class="reference internal" href="gone.html#x">g</a>
<div tabindex="0" class="math" id="equation-e"><span class="eqno">(1)</span><math alttext="\\eta^{2/3}"></math></div>
</section></section></article></body></html>"""
OTHER = """<html><title>2. B &#8212; B</title><body><section id="c"><p>Words.</p>
<div class="math notranslate" tabindex="0" id="equation-f"><span class="eqno">(2)</span><math alttext="a"></math></div>
<div class="proof theorem admonition" id="thm"><p class="admonition-title">Theorem 1 <em>(Of a)</em></p>
<div><p id="inner">It is.</p></div></div></section></body></html>"""
REFERENCES = """<html><title>References &#8212; B</title><body><div class="citation" id="id3"><p>X, 1638.</p></div></body></html>"""
CLAIMS = """<html><title>Claims &#8212; B</title><body><table><tr class="row-odd" id="ledger-fall"><td><p>It <em>falls</em>.</p>
<p class="place">Section 1</p></td><td><p>The time.</p><p class="value"><strong>0.45, exact</strong></p><p class="allowed">1</p></td>
<td><p><span class="verdict">reproduced</span></p></td></tr></table></body></html>"""


@pytest.fixture
def pages(tmp_path: Path) -> Pages:
    files = {"glossary.html": GLOSSARY, "chapters/a.html": CHAPTER, "chapters/b.html": OTHER}
    files = {
        f"html/book/{n}": t
        for n, t in {**files, "references.html": REFERENCES, "claims.html": CLAIMS}.items()
    }
    write(tmp_path, files)
    return Pages.read(tmp_path / "html")


def test_a_part_ends_where_it_ends(pages: Pages) -> None:
    part = pages.part("book/chapters/b.html", "thm")
    assert part.startswith('<div class="proof')
    assert part.endswith('<p id="inner">It is.</p></div></div>')
    assert pages.part("book/chapters/b.html", "nowhere") == pages.part("gone.html", "thm") == ""


def test_what_other_pages_hold_travels_with_a_page(pages: Pages) -> None:
    previews.add(pages)
    page = BeautifulSoup(pages.texts["book/chapters/a.html"], "html.parser")
    kept = {tag["data-preview"]: tag for tag in page.select("template")}
    # Not what stands on this page, not a section, not what is gone.
    wanted = [
        "../glossary.html#term-drop",
        "b.html#equation-f",
        "b.html#thm",
        "../claims.html#ledger-fall",
        "../references.html#id3",
    ]
    assert sorted(kept) == sorted(wanted)
    term = kept["../glossary.html#term-drop"]
    assert [a["href"] for a in term.select("a")] == ["../glossary.html#term-sea", "a.html"]
    assert "Large" not in term.get_text()
    row = kept["../claims.html#ledger-fall"]
    assert row.get_text("|", strip=True) == "It|falls|.|The time.|0.45, exact|reproduced"
    assert not any(tag.select("[id], [tabindex], .headerlink") for tag in kept.values())
    before = dict(pages.texts)
    previews.add(pages)  # by a second build
    assert pages.texts == before


def test_formulas_statements_terms_and_rows_are_found(pages: Pages, book: Book) -> None:
    assert finds.listed(pages) == [
        ("Equation (1), 1. A", "book/chapters/a.html#equation-e", r"equation-e \eta^{2/3}"),
        ("Equation (2), 2. B", "book/chapters/b.html#equation-f", "equation-f a"),
        ("Theorem 1 (Of a), 2. B", "book/chapters/b.html#thm", "thm"),
        ("drop, Glossary", "book/glossary.html#term-drop", ""),
        ("sea, Glossary", "book/glossary.html#term-sea", ""),
    ]
    statement = "a drop falls one metre in $0.45$ s"
    row = (statement, "book/claims.html#ledger-free-fall", "free-fall Section 1")
    assert finds.rows(book.project) == [row]


def test_the_index_has_each_term_with_chapters_and_rows(pages: Pages, book: Book) -> None:
    write(
        book.project.root, {"_toc.yml": "root: book/glossary\nchapters:\n- file: book/chapters/a\n"}
    )
    pages.texts["book/terms.html"] = f"<body>{terms._MARK}</body>"
    for _ in range(2):
        terms.fill(pages, Project(book.project.root))
    page = BeautifulSoup(pages.texts["book/terms.html"], "html.parser")
    assert [dt.get_text() for dt in page.select("dt")] == ["drop", "sea"]
    drop, sea = page.select("dd")
    assert [(a["href"], a.get_text()) for a in drop.select("a")] == [
        ("chapters/a.html#b", "1. A"),
        ("claims.html#ledger-free-fall", "free-fall"),
    ]
    assert sea.get_text() == ""


def test_one_style_sheet_has_the_rules_that_a_page_uses_and_the_icons_that_they_show(
    tmp_path: Path,
) -> None:
    base, link = (
        "vendor/fontawesome/6.5.2",
        '<link href="{}_static/{}?digest=1" rel="stylesheet" />',
    )
    (theme,) = sphinx_theme.rglob(f"static/{base}/webfonts/fa-solid-900.ttf")
    static = tmp_path / "html/_static"
    write(
        static,
        {
            "all.css": '@import "more.css"; .gone, .seen > p { color: red } .gone { top: 0 }',
            "more.css": "#here, .made { left: 0 } @media print { .gone { top: 0 } p { top: 1px } }",
            f"{base}/css/all.min.css": "@font-face{font-family:'Font Awesome 6 Free'} .seen:before{content:\"\\f002\"}",
            "flatter.css": ".gone { bottom: 0 }",
            "a.js": 'x.className = "made"',
        },
    )
    (static / base / "webfonts").mkdir()
    (static / base / "webfonts" / theme.name).write_bytes(theme.read_bytes())
    names = ("all.css", f"{base}/css/all.min.css", "flatter.css")
    font = f'<link rel="preload" as="font" href="../_static/{base}/webfonts/fa-solid-900.woff2" />'
    script = f'<script src="../_static/{base}/js/all.min.js?digest=1"></script>'
    sheets = "".join(link.format("../", name) for name in names)
    page = f'<head>{sheets}\n{font}\n{script}<script>1</script></head><p class="seen" id="here">'
    write(tmp_path / "html", {"book/a.html": page})
    for _ in range(2):  # the second build finds the page as the first one left it
        pages = Pages.read(tmp_path / "html")
        pages.texts["search.html"] = page.replace("../", "")
        lean.thin(pages)
    made = (static / "book.css").read_text()
    write(tmp_path / "html", pages.texts)
    lean.thin(Pages.read(tmp_path / "html"))  # and one finds all as they were left
    assert (static / "book.css").read_text() == made
    rules, _, face = made.partition("\n@font-face")
    assert rules.split("\n")[1:] == [
        "#here,.made{left: 0}@media print{p{top: 1px}}",
        ".seen > p{color: red}",
        '.seen:before{content:"\\f002"}',
        ".gone { bottom: 0 }",
    ]
    assert len(face) < 2000
    data = re.search(r"base64,([^\"]+)", face)
    assert data is not None
    assert set(TTFont(io.BytesIO(base64.b64decode(data[1]))).getBestCmap()) == {0xF002}
    found = re.fullmatch(
        r'<head>\n<link href="\.\./_static/book\.css\?v=(\w+)" rel="stylesheet" /><script>1</script></head>.*',
        pages.texts["book/a.html"],
    )
    assert found
    assert f'href="_static/book.css?v={found[1]}"' in pages.texts["search.html"]


def test_the_search_loads_what_it_searches_when_something_is_asked(
    pages: Pages, book: Book
) -> None:
    index = '<script src="searchindex.js" defer="defer"></script>'
    pages.texts["search.html"] = f"<head>{index}</head><body></body>"
    write(pages.folder, {"_static/a.css": ""})
    write(book.project.root, {"book/explorables/find.js": "1"})
    app = SimpleNamespace(srcdir=book.project.root)
    finds._complete(app, pages)  # type: ignore[arg-type]
    text = pages.texts["search.html"]
    assert index not in text
    assert finds.LOADER in text


def test_a_notebook_that_is_downloaded_shows_its_numbers() -> None:
    glued = new_output(
        "display_data",
        data={"application/papermill.record/text/plain": "'0.98 [0.97, 0.99]'"},
        metadata={"scrapbook": {"name": "a-b", "mime_prefix": "application/papermill.record/"}},
    )
    printed = new_output("stream", text="1")
    prose = new_markdown_cell("It is {glue:text}`a-b`, {glue:text}`gone` and `{x}`.")
    made = downloads.readable(
        new_notebook(cells=[prose, new_code_cell("", outputs=[printed, glued])])
    )
    assert made.cells[1].source == "It is 0.98 [0.97, 0.99], {glue:text}`gone` and `{x}`."
    assert "pip install" in made.cells[0].source
    nbformat.validate(made)


def test_a_figure_offers_itself_and_its_numbers() -> None:
    figure = '<figure id="fig-a"><img src="../../_images/1.svg" /><figcaption><p>A.</p></figcaption></figure>'
    table = '<figure id="fig-t"><table></table><figcaption><p>T.</p></figcaption></figure>'
    photograph = figure.replace("fig-a", "fig-b").replace("svg", "png")
    body = figure_data.completed(figure + table + photograph, {"fig-a": ' width="340"'})
    page = BeautifulSoup(body, "html.parser")
    (source,) = page.select("#fig-a picture > source:has(+ img)")
    assert (source["srcset"], source["width"]) == ("fig-a.phone.svg", "340")
    links = page.select("figcaption a")
    numbers = ["fig-a.csv", "fig-b.csv"]
    files = ["../../_images/1.svg", "../../_images/1.png"]
    assert [a["href"] for a in links] == [files[0], numbers[0], files[1], numbers[1]]
    assert figure_data.written({"x": [1, 2], "y, low": [0.5]}) == 'x,"y, low"\n1,0.5\n2,\n'


def test_every_figure_of_this_book_has_its_numbers() -> None:
    project = Project.find(Path(__file__).parent)
    for chapter in project.chapters():
        values = json.loads(chapter.values.read_text(encoding="utf-8"))
        for figure in {key.partition(": ")[0] for key in values if key.startswith("fig-")}:
            assert len(figure_data.columns(values, figure)) > 1, figure
