"""The pages that Sphinx makes of a tiny book, under this book's own configuration."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
import pytest
import yaml
from bs4 import BeautifulSoup, Tag
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from flatter_lib import evidence
from flatter_lib.claims import record
from flatter_lib.publish import build as builder
from flatter_lib.publish import hygiene, twins
from flatter_lib.publish.extension import fields, mathml, reading
from flatter_lib.publish.project import Project
from flatter_lib.values import glue

from .conftest import displayed, write

HERE = Path(__file__).parents[2]
TOC = """\
format: jb-book
root: book/index
parts:
  - caption: Chapters
    numbered: true
    chapters:
      - file: book/chapters/falling
      - file: book/chapters/rolling
  - caption: Back matter
    chapters:
      - file: book/claims
      - file: book/reproduce
"""
INDEX = """# Tiny

{cite:p}`galilei1638`; no formula here.

```{verdict-counts}
```
```{records-table}
```
"""
REPRODUCE = "# Reproduce\n\n```{execution-table}\n```\n\n```{machines-table}\n```\n"
BIBLIOGRAPHY = """\
@book{galilei1638, title = {Two New {Sciences}}, author = {Galilei, Galileo}, publisher = {Elsevier}, year = {1638}}
"""
CLAIMS = r"""
- {id: fall, paper: galilei1638, place: Day 3, statement: "Depth grows as $t^2$.", measured: "The exponent of $t$.",
   expect: {equals: 2, tolerance: 0.1}, caveat: "In air, and $v$ was small."}
- {id: weight, paper: galilei1638, place: Day 1, statement: "Weight is irrelevant.", measured: "The slope.",
   expect: {at_most: 0.01}}
- {id: vacuum, paper: galilei1638, place: Day 1, statement: "So it is in a vacuum.", untested: "No pump; $p > 0$ here."}
"""
OUR_CLAIMS = """
- {id: roll, paper: this book, place: Guess 1, statement: "Balls roll slower than cubes slide.", measured: "A ratio.",
   expect: {at_least: 1}}
"""
PROVENANCE = {
    "inputs": {"hash": "0"},
    "parameters": {"eta": 0.01, "label": "<b>"},
    "seconds": 63.1,
    "executed": "2026-11-22T01:02:03Z",
    "commit": "0123456789abcdef0123456789abcdef01234567",
    "modified": True,
    "versions": {"python": "3.11.7", "torch": "2.14.1"},
    "device": "cpu",
    "machine": "x86_64, 2 cores",
    "threads": 1,
}
FOLDED = """## Why it falls

It is heavy.

```{in-full}
```

The rest of the matter.

:::{prf:proof}
Let go of it.
:::
"""
FILES = {
    "_toc.yml": TOC,
    "book/index.md": INDEX,
    "book/reproduce.md": REPRODUCE,
    "book/claims.md": "# Claims\n\n```{ledger}\n```\n\n```{bibliography}\n```\n",
    "book/references.bib": BIBLIOGRAPHY,
    "book/claims/falling.yml": CLAIMS,
    "book/claims/rolling.yml": OUR_CLAIMS,
    "book/chapters/falling.provenance.json": json.dumps(PROVENANCE),
}


def code(source: str, *outputs: Any, **metadata: Any) -> Any:
    shown = list(outputs)
    return new_code_cell(source, execution_count=1, metadata=metadata, outputs=shown)


def claim(
    name: str, value: float, *interval: float, tags: tuple[str, ...] = (), **where: Any
) -> Any:
    shown = displayed(record, name, value, *interval, **where)
    return code(f"record({name!r})", shown, tags=list(tags))


def write_chapter(
    root: Path, slug: str, *cells: Any, text: str = "It is $x$. So, **32**, $y$, $z$; then $y$ is."
) -> None:
    heading = f"# {slug.title()} things\n"
    notebook = new_notebook(cells=[new_markdown_cell(f"{heading}\n{text}"), *cells])
    twin, values = twins.clean(notebook)
    write(root, {f"book/source/{slug}.md": heading})
    write(root, {f"book/chapters/{slug}.values.json": json.dumps(values)})
    nbformat.write(twin, root / f"book/chapters/{slug}.ipynb")


def write_book(root: Path) -> None:
    """Two chapters, one of them with the record of its execution, and a ledger with every kind of row."""
    shutil.copytree(HERE / "book/_static", root / "book/_static")
    shutil.copy(HERE / "_config.yml", root)
    write(root, FILES)
    write_chapter(
        root,
        "falling",
        code("import math\n\nmath.pi"),
        claim("fall", 2.01, 1.98, 2.04, runs=40, scale="laptop"),
        new_markdown_cell(FOLDED),
        claim("weight", 0.5, 0.4, 0.6, runs=7, scale="laptop", tags=("hide-input",)),
        new_markdown_cell("## After\n\nOpen again."),
    )
    write_chapter(root, "rolling", claim("roll", 1.0, scale="closed form"))
    write_evidence(root)


def write_evidence(root: Path) -> None:
    """What was executed on other machines, and sets of records, all but one of them verified."""
    run = {"name": "falling", "isa": "avx2", "threads": 2, "data": "", "differs": [], "seconds": 9}
    there, tests = {"isa": "sse"}, {"name": "unit tests"}
    runs = [run, run | {"data": "elsewhere", "differs": ["x: is gone"]}, run | there]
    made = {"commit": "0" * 40, "processor": "A processor", "runs": [*runs, run | there | tests]}
    made["machines"] = {"avx2": "one", "sse": "another"}
    write(root, {"book/machines.json": json.dumps(made)})
    write(root, {f"book/results/{n}.jsonl": "" for n in ("drops", "balls", "feathers", "stones")})
    verified = {
        "source": "s",
        "commit": "abcdef0123456789",
        "machine": "Linux, A processor",
        "records": 9,
        "digest": evidence.digest(root / "book/results/drops.jsonl"),
        "keys": ["a", "b"],
        "failures": {},
        "measurements": {"t": {"rule": "r", "passed": True}},
        "passed": True,
    }
    for name, change in {
        "drops": {},
        "feathers": {"failures": {"a": "ValueError: no"}, "passed": False},
        "stones": {"digest": "another"},
    }.items():
        told = json.dumps([{}, verified | change])
        write(root, {f"book/results/{name}.verified.json": told})


@dataclass(frozen=True)
class Pages:
    """The pages of a book as one build left them."""

    html: Path
    problems: tuple[str, ...]

    def read(self, name: str) -> BeautifulSoup:
        return BeautifulSoup((self.html / name).read_text(encoding="utf-8"), "html.parser")

    def rows(self, table: str, page: str = "reproduce") -> list[str]:
        """What the rows of a table on a page say."""
        return [words(row) for row in self.read(f"book/{page}.html").select(f".{table} tbody tr")]


def build(root: Path) -> Pages:
    built = builder.build(Project(root), root / "out")
    return Pages(built.html, built.problems)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny book, which the fixtures below build twice in its place: Sphinx reads a moved book anew."""
    write_book(root := tmp_path_factory.mktemp("book"))
    return root


@pytest.fixture(scope="module")
def pages(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Pages:
    """The pages as first built."""
    built = build(root)
    assert not built.problems
    kept = tmp_path_factory.mktemp("first") / "html"
    shutil.copytree(built.html, kept)
    return Pages(kept, ())


@pytest.fixture(scope="module")
def rebuilt(root: Path, pages: Pages) -> Pages:
    """The same book, after a chapter was executed again and another one for the first time."""
    chapters = root / "book/chapters"
    again = PROVENANCE | {"seconds": 12.3, "modified": False}
    (chapters / "falling.provenance.json").write_text(json.dumps(again))
    (chapters / "rolling.provenance.json").write_text(json.dumps(again | {"threads": 2}))
    write_chapter(root, "rolling", claim("roll", 0.5, scale="closed form"))
    (root / "out/_build/html/book/chapters/flying.html").write_text("a chapter of the former build")
    built = build(root)
    assert not built.problems
    return built


def ledger_row(pages: Pages, name: str) -> Tag:
    row = pages.read("book/claims.html").find(id=f"ledger-{name}")
    assert isinstance(row, Tag)
    return row


def words(tag: Tag | None) -> str:
    assert tag is not None
    return " ".join(tag.get_text(" ").split())


@pytest.mark.parametrize(
    ("name", "verdict", "measured"),
    [
        ("fall", "reproduced with a caveat", "2.010, 95 % interval 1.980 to 2.040"),
        ("weight", "contradicted", "0.50, 95 % interval 0.40 to 0.60"),
        ("roll", "reproduced", "1, exact"),
        ("vacuum", "not tested here", None),
    ],
)
def test_a_row_says_what_was_measured_and_what_follows(
    pages: Pages, name: str, verdict: str, measured: str | None
) -> None:
    row = ledger_row(pages, name)
    badge = row.find(class_="verdict")
    assert words(badge) == verdict
    assert f"verdict-{verdict.replace(' ', '-')}" in badge["class"]
    value = row.find(class_="value")
    assert (words(value) if measured else value) == measured


def test_a_row_holds_statement_place_band_sample_and_caveat_with_formulas(pages: Pages) -> None:
    row = ledger_row(pages, "fall")
    text = words(row)
    for part in ("Depth grows as", "Day 3", "2 ± 0.1", "40 runs, laptop scale", "In air, and"):
        assert part in text
    assert [math["alttext"] for math in row.find_all("math")] == ["t^2", "t", "v"]
    assert "No pump;" in words(ledger_row(pages, "vacuum"))


def test_the_rest_of_a_section_is_folded_with_its_cells_and_so_are_proofs(pages: Pages) -> None:
    page = pages.read("book/chapters/falling.html")
    rest, proof = page.select("details.in-full")
    assert words(rest.summary) == "In full, 1 min"
    assert proof.parent in (rest, *rest.descendants)
    assert (words(proof.summary), words(proof.find("div"))) == ("Proof", "Let go of it.")
    assert rest.find(id="claim-weight")
    assert not rest.find(id="claim-fall")
    assert "It is heavy. In full, 1 min The rest of the matter." in words(
        rest.find_parent("section")
    )
    assert "Open again." not in words(rest)
    assert rest.find_parent("section").find(string="After") is None


def test_imports_are_folded(pages: Pages) -> None:
    (first, *_) = pages.read("book/chapters/falling.html").select("details.hide")
    assert "Show the imports" in words(first.summary)
    assert "math.pi" in first.get_text()


def test_claims_are_grouped_by_paper_with_our_own_last(pages: Pages) -> None:
    page = pages.read("book/claims.html")
    heads = [h.find(string=True, recursive=False) for h in page.select("article h2")]
    assert heads == ["Two New Sciences", "Hypotheses of this book"]
    sections = [table.find_parent("section") for table in page.select("table.ledger")]
    rows = [[row["id"] for row in section.select("tbody tr")] for section in sections]
    assert rows == [["ledger-fall", "ledger-weight", "ledger-vacuum"], ["ledger-roll"]]
    assert "Galilei" in words(sections[0].find("p"))


@pytest.mark.parametrize("page", ["book/claims.html", "book/index.html"])
def test_verdicts_are_counted(pages: Pages, page: str) -> None:
    counts = [words(item) for item in pages.read(page).select("ul.verdict-counts li")]
    assert counts == [
        "1 reproduced",
        "1 reproduced with a caveat",
        "1 contradicted",
        "1 not tested here",
    ]


@pytest.mark.parametrize("name", ["fall", "weight", "roll"])
def test_a_row_leads_to_the_cell_that_measured_it(pages: Pages, name: str) -> None:
    address = ledger_row(pages, name).select_one(".where a")["href"]
    path, anchor = address.split("#")
    assert anchor == f"claim-{name}"
    cell = pages.read(f"book/{path}").find(id=anchor)
    assert isinstance(cell, Tag)
    assert "cell" in cell["class"]
    assert f"record('{name}')" in cell.get_text()


def test_a_chapter_ends_with_how_it_was_executed(pages: Pages) -> None:
    end = pages.read("book/chapters/falling.html").select_one("article footer.provenance")
    text = words(end)
    for part in (
        "2026-11-22, 01:02 UTC",
        "63 s",
        "0123456789",
        "with uncommitted changes",
        "cpu (x86_64, 2 cores)",
        "one thread",
        "torch 2.14.1",
        "eta 0.01",
        "label '<b>'",
    ):
        assert part in text
    links = [link["href"] for link in end.select("a")]
    assert len(links) == 3
    for link in links:
        assert (pages.html / "book/chapters" / link).resolve().is_file()
    assert (
        json.loads((pages.html / "book/chapters/falling.provenance.json").read_text()) == PROVENANCE
    )


def test_the_table_has_every_chapter_executed_or_not(pages: Pages) -> None:
    falling, rolling = pages.rows("execution-table")
    assert falling.startswith(
        "Falling things 2026-11-22, 01:02 UTC 63 s 0123456789 with uncommitted"
    )
    assert rolling.startswith("Rolling things not yet")
    assert pages.read("book/chapters/rolling.html").select_one("footer.provenance") is None


def test_a_second_build_shows_a_new_execution(rebuilt: Pages) -> None:
    falling = words(rebuilt.read("book/chapters/falling.html").select_one("footer.provenance"))
    assert "12 s" in falling
    assert "uncommitted" not in falling
    rolling = words(rebuilt.read("book/chapters/rolling.html").select_one("footer.provenance"))
    assert "2 threads" in rolling
    assert [row.split()[5:7] for row in rebuilt.rows("execution-table")] == [["12", "s"]] * 2


def test_a_second_build_shows_a_new_measurement(rebuilt: Pages) -> None:
    row = words(ledger_row(rebuilt, "roll"))
    assert "0.5, exact" in row
    assert "contradicted" in row
    assert "2 contradicted" in words(rebuilt.read("book/index.html").select_one(".verdict-counts"))


def test_a_second_build_leaves_no_page_of_a_former_book(rebuilt: Pages) -> None:
    names = {path.name for path in (rebuilt.html / "book").rglob("*.html")}
    assert names == {f"{n}.html" for n in ("index", "claims", "reproduce", "falling", "rolling")}


def test_built_pages_have_no_findings(pages: Pages) -> None:
    assert hygiene.after_build(pages.html) == []
    assert "thebe" not in (pages.html / "book/chapters/falling.html").read_text().lower()


def test_formulas_are_drawn_by_the_browser(pages: Pages) -> None:
    page = pages.read("book/chapters/falling.html")
    assert words(page.select_one("span.math math mi")) == "x"
    assert page.select_one("span.math math")["alttext"] == "x"
    assert page.select("script[src*=mathjax]") == []
    assert (pages.html / "_static/stix-two-math.woff").is_file()
    assert 'href: "../../_static/stix-two-math.woff"' in str(page.head)
    assert "stix-two-math" not in str(pages.read("book/reproduce.html").head)


@pytest.mark.parametrize(
    ("tex", "part"),
    [
        (r"\beta^2", "<msup><mi>β</mi><mn>2</mn></msup>"),
        (r"a \\ b", "<mtable"),  # lines are lines without an environment, too
        (r"\Big)^2", "<msup><mrow><mo"),
        (r"a < b", 'alttext="a &lt; b"'),
        (r"D''", '<mi>D</mi><mo lspace="0" rspace="0">″</mo>'),
    ],
)
def test_tex_becomes_mathml(tex: str, part: str) -> None:
    assert part in mathml.mathml(tex)


def test_what_the_font_lacks_is_said() -> None:
    assert mathml.lacking("<math><mi>β</mi><mi>字</mi></math>", HERE / mathml.FONT) == "字"


def test_a_formula_keeps_the_mark_that_follows_it(pages: Pages) -> None:
    page = pages.read("book/chapters/falling.html")
    joined = [words(tag) for tag in page.select("p .unbroken")]
    assert joined == ["x .", "y ,", "z ;"]
    # Texts that are equal, such as the commas, are not taken for each other.
    assert words(page.select_one("h1 + p")) == "1 minute to read"
    assert words(page.select_one("h1 + p + p")) == "It is x . So, 32 , y , z ; then y is."


def test_pages_say_their_language_and_let_the_keyboard_skip_the_menu(pages: Pages) -> None:
    page = pages.read("book/claims.html")
    assert page.html["lang"] == "en"
    assert page.select_one(".skip-link a")["href"] == "#main-content"
    for link in page.select("article a[href]"):
        assert link.get_text(strip=True)


BUTTONS = re.compile(r"mybinder\.org|colab\.research|source-repository-button|source-issues-button")


def test_no_button_needs_a_repository_while_none_is_named(pages: Pages) -> None:
    for path in [*pages.html.glob("book/**/*.html"), pages.html / "search.html"]:
        assert not BUTTONS.search(path.read_text(encoding="utf-8"))


def test_buttons_appear_with_the_address(tmp_path: Path) -> None:
    write_book(root := tmp_path)
    config = yaml.safe_load((root / "_config.yml").read_text())
    config["repository"]["url"] = "https://github.com/someone/somewhere"
    write(root, {"_config.yml": yaml.safe_dump(config)})
    built = build(root)
    assert not built.problems
    page = str(built.read("book/chapters/falling.html"))
    path = "book/chapters/falling.ipynb"
    assert f"https://mybinder.org/v2/gh/someone/somewhere/main?urlpath=lab/tree/{path}" in page
    assert f"https://colab.research.google.com/github/someone/somewhere/blob/main/{path}" in page
    assert "source-repository-button" in page
    assert "source-issues-button" in page


def test_the_evidence_says_what_agreed_where_and_what_was_measured_again(pages: Pages) -> None:
    head = pages.read("book/reproduce.html").select_one("table.evidence-table thead")
    assert words(head) == "Executed avx2, 2 threads sse, 2 threads"
    assert pages.rows("evidence-table") == [
        "Falling things 1 values differ agrees",
        "unit tests not run agrees",
    ]
    assert pages.rows("evidence-table", "index") == [
        "balls not verified yet – – – –",
        "drops 9 2 abcdef0123 Linux, A processor all 1 measurements hold",
        "feathers 9 2 abcdef0123 Linux, A processor 1 of 1 measurements hold, 1 runs fail",
        "stones 9 2 abcdef0123 Linux, A processor all 1 measurements hold; the records have changed since",
    ]


TYPED = {
    "0.452": "It took 0.452 on average.",
    "0.667": "An exponent of **0.667**, as foretold.",
    "-1.07": "The slope was -1.07 in the end.",
    "0.0123": "Between\n0.0123 and more.",
    "12.5": "> It is 12.5 % of all.",
    "3.14": "| a | b |\n|---|---|\n| 1 | 3.14 |",
    "1.23e-4": "- a list\n  with 1.23e-4 in it",
    "0.453": ":::{note}\nIt was 0.453.\n:::",
    "0.454": "As seen [^here].\n\n[^here]: It was 0.454.",
    "0.457": ":::{prf:theorem} Of 0.457\n:label: fall\n\nFree.\n:::",
}
REASONABLE = [
    "Formulas, $0.462$, $$x = 0.462$$ and `0.462`, and {math}`0.462`, are left alone.",
    "\\begin{align} x &= 0.462 \\end{align}",
    "So is [0.462](https://example.org/0.462), and <https://example.org/0.462>.",
    "Momentum 0.9, 0.99 and 0.999; steps of 0.5 and 0.05; 60,000 images of 28x28.",
    "A pace of 0.125 is a parameter: it stands in the code.",
    "Section 3.21, Eq. 12.25, Theorem 4.12, § 10.11 and PyTorch 2.14 are labels; so is 2.14.1.",
    "On 2026-11-22, see arXiv:2210.16400 and arXiv 1907.04164.",
    "% a comment on 0.462",
    "```{math}\n0.462\n```",
    "```python\nx = 0.462\n```",
    "It was {glue:text}`depth`, and {glue:text}`depth:s` again; `` {cite}`kepler1616` `` is a listing.",
]
MISTAKEN = [
    r"$\nosuchcommand{x}$ and $字$.",
    "{glue:text}`dpth` {cite:t}`galilei1638, kepler1609` [there](gone.md) [then](#nowhere)",
    ":::{note} After {cite}`kepler1610`\nAs {cite}`kepler1611` has it.\n:::",
    # Backticks in the first line of a fence of backticks: it opens nothing, its end opens a listing.
    "```{note} by {cite}`galilei1638`\nText.\n```\n\n```{code-cell}\n1 + 1\n```",
]


def write_broken(root: Path) -> None:
    """The tiny book with everything wrong that a build must not let pass."""
    write_book(root)
    glued = displayed(glue, "depth", "{:.3f}", 0.463)
    del glued.metadata["flatter"]  # as by myst-nb's own
    drawn = new_output(
        "display_data", {"image/svg+xml": "<svg xmlns='http://www.w3.org/2000/svg'/>"}
    )
    figure = {"name": "fig-fall", "caption": "At most 0.455, as {cite}`kepler1612` has it."}
    write_chapter(
        root,
        "falling",
        code("pace = 0.125", glued, glued),
        code("draw()", drawn, mystnb={"figure": figure, "image": {"alt": "Nothing"}}),
        claim("fall", 2.01, 1.98, 2.04, tags=("remove-cell",), runs=40, scale="laptop"),
        claim("rise", 1.0, scale="closed form"),
        text="\n\n".join([*TYPED.values(), *REASONABLE, *MISTAKEN]),
    )
    claims = OUR_CLAIMS.replace("this book", "kepler1613")
    elsewhere = "{glue:text}`depth` {glue:text}`chapters/falling.ipynb::height:s`"
    files = {
        "_toc.yml": f"{TOC}      - file: book/glossary\n",
        "book/references.bib": BIBLIOGRAPHY + "@misc{newton1687, title = {Opticks}}\n" * 2,
        "book/claims/rolling.yml": claims.replace("Balls", "{cite}`kepler1614`: balls"),
        "book/index.md": f"{INDEX}\n{elsewhere}\n",
        "book/draft.md": "# Draft\n",
    }
    write(root, files)


@pytest.fixture(scope="module")
def problems(tmp_path_factory: pytest.TempPathFactory) -> str:
    """All that a build of the broken book complains about, a line each."""
    write_broken(root := tmp_path_factory.mktemp("broken"))
    return "\n".join(build(root).problems)


@pytest.mark.parametrize(
    "line",
    [
        *(
            f'falling.ipynb:.*could not find bibtex key "kepler{year}"'
            for year in range(1609, 1613)
        ),
        *(f'claims.md:.*could not find bibtex key "kepler{year}"' for year in (1613, 1614)),
        "repeated bibliography entry: newton1687",
        "the bibliography's newton1687 is cited nowhere",
        "falling.ipynb:.*No key 'dpth' found in glue data",
        "falling.ipynb:.*glue key 'depth' duplicate",
        "index.md:.*No key 'depth' found in glue data",
        "index.md:.*Glue reference 'height' not found in doc 'book/chapters/falling'",
        "falling.ipynb:.*gone.md",
        "falling.ipynb:.*nowhere",
        "falling.ipynb:.*a listing swallows a directive",
        "falling.ipynb:.*formula .* cannot be read",
        "falling.ipynb:.*lacks '字'",
        "book/draft.md: WARNING: document isn't included in any toctree",
        "toctree contains reference to nonexisting document 'book/glossary'",
        "claims.md:.*claim weight has no row",
        "claims.md:.*falling: records the claim rise, which no file in book/claims states",
        "undefined label: 'claim-fall'",
    ],
)
def test_what_is_broken_fails_the_build(problems: str, line: str) -> None:
    assert re.search(line, problems), problems


def test_measured_numbers_typed_into_the_prose_fail_the_build(problems: str) -> None:
    found = re.findall(r"falling.ipynb:.*the number (\S+) is typed into the prose", problems)
    assert sorted(found) == sorted([*TYPED, "0.455"])  # the last one in a caption
    assert "kepler1616" not in problems


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("_toc.yml", f"{TOC}      - file: book/claims\n", "multiple times: 'book/claims'"),
        ("book/references.bib", "@misc{newton1687, title=", "premature end of file"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str, text: str, line: str) -> None:
    write_book(tmp_path)
    (tmp_path / name).write_text(text)
    assert line in "\n".join(build(tmp_path).problems)


def test_a_drawing_says_how_large_it_is(tmp_path: Path) -> None:
    sizes = {
        '<svg width="90pt" height="45.5pt">': ' width="120" height="61"',
        '<svg height="45pt" version="1" width="90pt">': ' width="120" height="60"',
        '<svg viewBox="0 0 1 1">': "",
    }
    for k, (text, wanted) in enumerate(sizes.items()):
        file = tmp_path / f"{k}.svg"
        file.write_text(text)
        assert reading.pixels(file) == wanted
    assert reading.pixels(None) == ""


def test_a_field_of_a_named_tuple_is_described_once() -> None:
    class Weighed(NamedTuple):
        kilograms: float

    assert fields.placed(Weighed.kilograms)
    assert not fields.placed(Weighed._asdict)
    assert not fields.placed(None)
