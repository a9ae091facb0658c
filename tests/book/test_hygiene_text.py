"""Each hole in what the text says and refers to, made in a healthy book, is found by the check that is for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.book.conftest import Book

SLUG = "falling-water"
SOURCE = f"book/source/{SLUG}.md"
TWIN = f"book/chapters/{SLUG}.ipynb"
CLAIMS = "book/claims/falling-water.yml"
QUESTION = "How long does a drop fall?"


def only(book: Book, check: str) -> list[str]:
    """What one check reports, when it is the only one that reports anything; each line says what to do."""
    reports = book.reports()
    assert set(reports) == {check}, reports
    assert all(finding.cure for finding in reports[check])
    return [f"{finding.where}: {finding.what}" for finding in reports[check]]


def line_of(book: Book, text: str) -> int:
    """The line of the source that a text begins on."""
    source = book.chapter.source.read_text()
    return source[: source.index(text)].count("\n") + 1


# Citations


def test_a_bibliography_entry_that_nobody_cites(book: Book) -> None:
    book.path("book/references.bib").write_text(
        book.path("book/references.bib").read_text()
        + "@misc{kepler1609, title = {Astronomia nova}}\n"
    )
    assert only(book, "references.citations") == [
        "book/references.bib: kepler1609 is cited nowhere"
    ]


def test_citations_without_an_entry(book: Book) -> None:
    citations = [
        "{cite}`kepler1609`",
        "{cite:p}`galilei1638,kepler1609`",
        "{cite:t}`galilei1638, {see}kepler1609{page 3}`",
        "{footcite}`kepler1609`",
        "{footcite:t}`kepler1609`",
    ]
    book.path("book/index.md").write_text("\n".join(["# Book", *citations]))
    assert only(book, "references.citations") == [
        f"book/index.md, line {number}: cites kepler1609, which no bibliography file holds"
        for number in range(2, 7)
    ]


@pytest.mark.parametrize(
    ("old", "new", "stands"),
    [
        ("Free fall, {cite}`galilei1638`", "Free fall, {cite}`kepler1609`", ":::{prf"),
        ("The height falls", "{cite}`kepler1609`: the height falls", "{cite}`kepler1609`"),
        (
            "Height against time, as {cite}`newton1687`",
            "As {cite}`kepler1609`",
            "```{code-cell} ipython3\n---",
        ),
    ],
    ids=["directive's title", "directive's body", "caption"],
)
def test_citations_are_found_where_they_stand(book: Book, old: str, new: str, stands: str) -> None:
    book.edit_source(old, new)
    where = f"{SOURCE}, line {line_of(book, stands)}"
    assert only(book, "references.citations") == [
        f"{where}: cites kepler1609, which no bibliography file holds"
    ]


def test_a_citation_in_a_listing_is_none(book: Book) -> None:
    book.replace("book/index.md", "Read", "Write `` {cite}`kepler1609` ``. Read")
    assert book.reports() == {}


@pytest.mark.parametrize(
    ("old", "new", "claim"),
    [
        ("paper: newton1687", "paper: kepler1609", "free-fall"),
        ("{cite}`galilei1638`", "{cite}`kepler1609`", "free-fall"),
        ("paper: this book", "paper: kepler1609", "free-rise"),
    ],
)
def test_a_claim_that_cites_what_is_not_there(book: Book, old: str, new: str, claim: str) -> None:
    book.replace(CLAIMS, old, new)
    line = f"{CLAIMS}, claim {claim}: cites kepler1609, which no bibliography file holds"
    assert only(book, "references.citations") == [line]


def test_a_bibliography_with_an_entry_twice(book: Book) -> None:
    text = book.path("book/references.bib").read_text()
    book.path("book/references.bib").write_text(text + "@misc{newton1687, title = {Opticks}}\n")
    [first, *_] = only(book, "references.citations")
    assert first.startswith("book/references.bib: is not BibTeX: ")


# Glued values


def test_a_glued_value_that_no_cell_defines(book: Book) -> None:
    book.edit_source("{glue:text}`fall-time`", "{glue:text}`fall-tme`")
    assert only(book, "references.glued") == [
        f"{SOURCE}, line {line_of(book, 'The height')}: shows fall-tme, which no cell of {SLUG} glues",
        f"{TWIN}: glues fall-time, which no text shows",
    ]


def test_glued_values_shown_on_another_page(book: Book) -> None:
    shown = [
        "{glue:text}`chapters/falling-water.ipynb::fall-time:s`",
        "{glue}`chapters/falling-water.ipynb::fall-time`",
        "```{glue:md} chapters/falling-water.ipynb::fall-time\n```",
    ]
    book.path("book/index.md").write_text("\n".join(["# Book", *shown]))
    assert book.reports() == {}
    book.replace("book/index.md", "fall-time", "rise-time")
    assert only(book, "references.glued") == [
        f"book/index.md, line {number}: shows rise-time, which no cell of {SLUG} glues"
        for number in (2, 3, 4)
    ]


def test_a_glued_value_of_no_chapter(book: Book) -> None:
    book.path("book/index.md").write_text("# Book\n\n{glue:text}`fall-time`\n")
    line = "book/index.md, line 3: shows fall-time, which belongs to no chapter"
    assert only(book, "references.glued") == [line]


def test_a_value_glued_twice(book: Book) -> None:
    book.edit_twin(lambda cells: cells[1].outputs.append(cells[3].outputs[0]))
    assert only(book, "references.glued") == [f"{TWIN}: glues fall-time 2 times"]


def test_a_format_belongs_to_the_role_and_not_to_the_name(book: Book) -> None:
    book.edit_source("{glue:text}`fall-time`", "{glue:text}`fall-time:s`")
    assert book.reports() == {}


# Claims


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (
            "- id: free-fall",
            "- id: free-fell",
            f"{CLAIMS}: claim free-fell has no row: record it in a chapter, or say why not with `untested:`",
        ),
        (
            "- id: free-fall",
            "- id: free-fell",
            f"{TWIN}: records the claim free-fall, which no file in book/claims states: add it there",
        ),
        ("  place: Section 1\n", "", f"{CLAIMS}: claim free-fall lacks place"),
    ],
)
def test_a_ledger_that_does_not_close(book: Book, old: str, new: str, line: str) -> None:
    book.replace(CLAIMS, old, new)
    reports = [f"{f.where}: {f.what}" for f in book.reports()["references.claims"]]
    assert line in reports


def test_a_claim_recorded_twice(book: Book) -> None:
    book.edit_values(lambda values: values.update(again=values["claim free-fall"]))
    [line] = [f"{f.where}: {f.what}" for f in book.reports()["references.claims"]]
    assert line.startswith("book/claims: claim free-fall is recorded 2 times")


# Prose


TYPED = {
    "0.452": "It took 0.452 on average.",
    "0.667": "An exponent of 0.667, as foretold.",
    "-1.07": "The slope was -1.07 in the end.",
    "0.0123": "Between\n0.0123 and more.",
    "12.5": "> It is 12.5 % of all.",
    "3.14": "| a | b |\n|---|---|\n| 1 | 3.14 |",
    "1.23e-4": "- a list\n  with 1.23e-4 in it",
    "0.453": ":::{note}\nIt was 0.453.\n:::",
    "0.455": "With 0.455 of it, nobody saw more.",
    "0.454": "As seen [^here].\n\n[^here]: It was 0.454.",
}


def test_measured_numbers_typed_into_the_prose(book: Book) -> None:
    book.edit_source(QUESTION, "\n\n".join([QUESTION, *TYPED.values(), ""]))
    found = [line.partition(": ")[2] for line in only(book, "prose.typed_numbers")]
    assert sorted(found) == sorted(
        f"the number {number} is typed into the prose" for number in TYPED
    )


def test_a_typed_number_is_placed_by_its_line(book: Book) -> None:
    book.edit_source(QUESTION, f"{QUESTION}\nNobody knows,\nperhaps 0.452.")
    [line] = only(book, "prose.typed_numbers")
    assert line.startswith(f"{SOURCE}, line 21: ")


def test_a_typed_number_in_a_caption(book: Book) -> None:
    book.edit_source("Height against time", "Height, at most 0.452, against time")
    [line] = only(book, "prose.typed_numbers")
    number = line_of(book, "```{code-cell} ipython3\n---")
    assert line.startswith(f"{SOURCE}, line {number}: the number 0.452")


REASONABLE = [
    "Formulas, $0.452$, $$x = 0.452$$ and `0.452`, and {math}`0.452`, are left alone.",
    "\\begin{align} x &= 0.452 \\end{align}",
    "So is [0.452](https://example.org/0.452), and <https://example.org/0.452>.",
    "Momentum 0.9, 0.99 and 0.999; steps of 0.5 and 0.05; 60,000 images of 28x28.",
    "A pace of 0.125 is a parameter: it stands in the code.",
    "Section 3.21, Eq. 12.25, Theorem 4.12, § 10.11 and PyTorch 2.14 are labels; so is 2.14.1.",
    "On 2026-11-22, see arXiv:2210.16400 and arXiv 1907.04164.",
    "% a comment on 0.452",
    "```{math}\n0.452\n```",
    "```python\nx = 0.452\n```",
]


def test_reasonable_prose(book: Book) -> None:
    book.edit_source(QUESTION, "\n\n".join([QUESTION, *REASONABLE, ""]))
    assert book.reports() == {}


def test_a_directive_that_swallows_a_cell(book: Book) -> None:
    # Backticks in the first line of a fence of backticks: it opens nothing, its end opens a listing.
    book.edit_source(":::{prf:theorem}", "```{prf:theorem}")
    book.edit_source("the start.\n:::", "the start.\n```")
    [finding] = book.reports()["prose.whole_directives"]
    number = line_of(book, "the start.\n```") + 1
    assert finding.where == f"{SOURCE}, line {number}"
