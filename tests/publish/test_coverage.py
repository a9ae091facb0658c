"""What the ledger has on each part of the papers: every part is covered, by claims that say so in their place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from flatter_lib.publish import coverage, ledger
from flatter_lib.publish.ledger import Claim
from flatter_lib.publish.project import BookError, Project

BOOK = Project.find(Path(__file__).parent)
#: Every numbered thing of the noisy quadratic paper.
SECTIONS = (
    "1",
    "2",
    "3",
    *(f"3.{n}" for n in range(1, 8)),
    "3.7.1",
    "3.7.2",
    "4",
    *(f"4.{n}" for n in range(1, 5)),
    "5",
)
APPENDICES = (*"ABCD", *(f"E.{n}" for n in range(1, 8)), *(f"F.{n}" for n in range(1, 5)))
NUMBERED = [
    *(f"Section {n}" for n in SECTIONS),
    *(f"Figure {n}" for n in range(1, 16)),
    *(f"Equation {n}" for n in range(1, 50)),
    *("Theorem 1", "Theorem 2", "Table 1"),
    *(f"Appendix {n}" for n in APPENDICES),
]


def claim(name: str, place: str = "", paper: str = "galilei1638", file: str = "toy.yml") -> Claim:
    return Claim(name, paper, place, "Said.", file=file)


def write(project: Project, *parts: dict[str, Any], **more: Any) -> None:
    parts = tuple({"about": "Said."} | part for part in parts)
    papers = [{"paper": "galilei1638", "known": "All.", "parts": list(parts)} | more]
    (project.book / "coverage.yml").write_text(yaml.safe_dump(papers), encoding="utf-8")


CLAIMS = [
    claim("fall", "Section 1.2, equation (4)"),
    claim("roll", "Sections 1 and 1.2"),
    claim("swing", "Abstract", file="pendulum.yml"),
    claim("ours", "Section 1.2", paper="this book"),
]


@pytest.mark.parametrize(
    ("part", "held"),
    [
        ({"part": "Section 1.2"}, ["fall", "roll"]),
        ({"part": "Section 1"}, ["roll"]),
        ({"part": "Section 1.2.1"}, []),
        ({"part": "Equations 3 to 5"}, ["fall"]),
        ({"part": "Equations 5 to 40"}, []),
        ({"part": "Abstract"}, ["swing"]),
        ({"part": "Abstract: of falling"}, []),
        ({"part": "Abstract: of pendula", "chapters": ["pendulum"]}, ["swing"]),
        ({"part": "Section 9", "claims": ["ours"]}, ["ours"]),
        ({"part": "Section 1", "claims": ["ours", "roll"]}, ["ours", "roll"]),
    ],
)
def test_what_a_part_holds(project: Project, part: dict[str, Any], held: list[str]) -> None:
    write(project, part)
    (paper,) = coverage.papers(project, CLAIMS)
    assert [c.id for c in paper.parts[0].claims] == held
    missing = coverage.problems([paper])
    name = part["part"]
    cure = "state its claim, or say in not-tested-here.yml why not"
    assert missing == (
        [] if held else [f"coverage.yml: galilei1638, {name}: no claim is about it: {cure}"]
    )


def test_claims_stand_in_the_order_of_the_parts_behind_the_central_ones(project: Project) -> None:
    write(
        project,
        {"part": "Abstract"},
        {"part": "Section 1"},
        {"part": "Equation 4"},
        central=["fall"],
    )
    (paper,) = coverage.papers(project, CLAIMS)
    order = paper.order()
    assert sorted(order, key=lambda name: order[name]) == ["fall", "swing", "roll"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"claims": ["gone"]}, "coverage.yml: the claim gone is in no file of book/claims"),
        ({"clams": []}, "coverage.yml: Abstract has an unknown key clams"),
    ],
)
def test_what_is_wrong_with_the_list_is_said(
    project: Project, change: dict[str, Any], said: str
) -> None:
    write(project, {"part": "Abstract"} | change)
    with pytest.raises(BookError, match=f"^{said}$"):
        coverage.papers(project, CLAIMS)


@pytest.mark.parametrize("text", ["- paper: [", "3", "- {paper: a, parts: []}"])
def test_a_list_that_is_none_is_named(project: Project, text: str) -> None:
    (project.book / "coverage.yml").write_text(text)
    with pytest.raises(BookError, match=r"^coverage\.yml: "):
        coverage.papers(project, CLAIMS)


def test_a_book_without_a_list_covers_nothing(project: Project) -> None:
    assert coverage.papers(project, CLAIMS) == []


@pytest.fixture(scope="module")
def papers() -> list[coverage.Paper]:
    """The papers of the book itself."""
    return coverage.papers(BOOK, ledger.claims(BOOK))


def test_every_part_of_the_papers_is_covered(papers: list[coverage.Paper]) -> None:
    assert coverage.problems(papers) == []
    assert {paper.key for paper in papers} >= {
        "cowsik2022flatter",
        "zhang2019which",
        "wang2023marginal",
    }


def test_every_claim_of_these_papers_is_about_some_part(papers: list[coverage.Paper]) -> None:
    for paper in papers:
        held = {c.id for part in paper.parts for c in part.claims}
        strays = [c.id for c in ledger.claims(BOOK) if c.paper == paper.key and c.id not in held]
        assert strays == [], paper.key


def test_no_number_of_the_noisy_quadratic_paper_is_left_out(papers: list[coverage.Paper]) -> None:
    (paper,) = (paper for paper in papers if paper.key == "zhang2019which")
    named = set().union(
        *(coverage.places(part.name) for part in paper.parts if ":" not in part.name)
    )
    assert [name for name in NUMBERED if name not in named] == []


def test_a_missing_number_is_noticed(papers: list[coverage.Paper]) -> None:
    (paper,) = (paper for paper in papers if paper.key == "zhang2019which")
    named = set().union(*(coverage.places(p.name) for p in paper.parts if p.name != "Table 1"))
    assert [name for name in NUMBERED if name not in named] == ["Table 1"]
