"""The page of claims as it is built: the papers in their order, checks apart, and what the ledger has part by part."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup, Tag
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from flatter_lib.claims import line
from flatter_lib.publish import build, twins
from flatter_lib.publish.project import Project
from flatter_lib.values import PRINTED, Estimate, estimate

HERE = Project.find(Path(__file__).parent).root
FILES = {
    "_toc.yml": """\
format: jb-book
root: book/index
chapters:
  - file: book/chapters/falling
  - file: book/claims
""",
    "book/index.md": "# Tiny\n\n```{verdict-counts}\n```\n\n```{ledger-rows}\nfall\n```\n",
    "book/claims.md": "# Claims\n\n```{ledger}\n```\n\n## Parts\n\n```{coverage}\n```\n\n```{bibliography}\n```\n",
    "book/references.bib": """\
@book{galilei1638, title = {Two {Sciences}}, author = {Galilei, G.}, publisher = {E}, year = {1638}}
""",
    "book/source/falling.md": "# Falling things\n",
    "book/coverage.yml": """\
- paper: galilei1638
  known: As far as $t$ goes.
  central: [weight]
  parts:
    - {part: Section 1, about: On $x$.}
    - {part: Section 2, about: On falling.}
""",
    "book/claims/falling.yml": """\
- {id: clock, paper: this book, place: here, statement: The clock runs., measured: A ratio.,
   expect: {equals: 1, tolerance: 0.1}, check: true}
- {id: fall, paper: galilei1638, place: Section 2, statement: Depth grows., measured: The exponent.,
   expect: {equals: 2, tolerance: 0.1}, universal: true, since: "0123abc", before_records: true,
   changed: [{commit: "0123abd", was: {equals: 2, tolerance: 0.2}, because: "Rivals are nearer."}]}
- {id: speed, paper: galilei1638, place: Section 1, statement: Speed grows., measured: The exponent.,
   expect: {equals: 2, tolerance: 0.1}, repeats: fall, universal: true}
- {id: weight, paper: galilei1638, place: Section 2, statement: Weight is irrelevant., measured: The slope.,
   expect: {at_most: 0.01}, reading: "In $y$ only."}
- {id: later, paper: later work, place: arXiv 1, statement: It swings., untested: No string.}
- {id: hunch, paper: this book, place: here, statement: All falls., untested: No time.}
""",
}
ROWS = {"clock": 1.0, "fall": 2.01, "speed": 2.01, "weight": 0.5}


def write(root: Path, **change: str) -> None:
    for name, text in (FILES | change).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    shutil.copytree(HERE / "book/_static", root / "book/_static")
    shutil.copy(HERE / "_config.yml", root)
    cells = [new_markdown_cell("# Falling things\n\nThey fall.")]
    for name, value in ROWS.items():
        row = estimate(name, Estimate(value, value - 0.03, value + 0.03), PRINTED)
        row["where"] = {"runs": 8, "scale": "laptop"}
        mark = {"flatter": {"role": "claim", "values": [row]}}
        shown = new_output("display_data", {"text/plain": line(row)}, metadata=mark)
        cells.append(new_code_cell(f"record({name!r})", execution_count=1, outputs=[shown]))
    twin, values = twins.clean(new_notebook(cells=cells))
    (root / "book/chapters").mkdir()
    nbformat.write(twin, root / "book/chapters/falling.ipynb")
    (root / "book/chapters/falling.values.json").write_text(json.dumps(values))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages of the tiny book."""
    write(root := tmp_path_factory.mktemp("book"))
    done = build.build(Project(root), root / "out")
    assert not done.problems
    return done.html


@pytest.fixture(scope="module")
def page(built: Path) -> BeautifulSoup:
    """The page of claims."""
    return BeautifulSoup((built / "book/claims.html").read_text(), "html.parser")


def words(tag: Tag | None) -> str:
    assert tag is not None
    return " ".join(tag.get_text(" ").split())


def test_a_part_without_a_claim_is_complained_of(tmp_path: Path) -> None:
    parts = FILES["book/coverage.yml"] + "    - {part: Section 3, about: On pendula.}\n"
    write(tmp_path, **{"book/coverage.yml": parts})
    (problem,) = build.build(Project(tmp_path), tmp_path / "out").problems
    assert "coverage.yml: galilei1638, Section 3: no claim is about it" in problem


def test_papers_come_in_order_central_claims_first_checks_last(page: BeautifulSoup) -> None:
    heads = [words(head).removesuffix(" #") for head in page.select("article h2, article h3")]
    assert heads == [
        "Two Sciences",
        "Later claims on the same questions",
        "Hypotheses of this book",
        "Checks, and what could hardly have come out otherwise",
        "Parts",
        "Part by part: Two Sciences",
    ]
    rows = [
        [row["id"] for row in table.select("tbody tr")] for table in page.select("table.ledger")
    ]
    assert rows == [
        ["ledger-weight", "ledger-speed", "ledger-fall"],
        ["ledger-later"],
        ["ledger-hunch"],
        ["ledger-clock"],
    ]


def test_what_is_counted_and_what_is_not(page: BeautifulSoup) -> None:
    counts = [words(item) for item in page.select("ul.verdict-counts li")]
    assert counts == ["1 held where tried", "1 contradicted under our reading", "2 not tested here"]
    assert "Not counted: 1 checks, which come last, and 1 rows" in words(
        page.select_one("p.uncounted")
    )


def test_a_row_has_its_name_and_leads_to_itself(page: BeautifulSoup) -> None:
    for row in page.select("table.ledger tbody tr"):
        link = row.select_one(".claim-id a")
        assert link is not None
        assert (f"#{row['id']}", row["id"]) == (link["href"], f"ledger-{words(link)}")


def test_a_row_says_its_reading_what_it_repeats_and_its_history(page: BeautifulSoup) -> None:
    assert "Our reading. In" in words(page.find(id="ledger-weight"))
    repeats = page.select_one("#ledger-speed .repeats a")
    assert repeats is not None
    assert repeats["href"] == "#ledger-fall"
    history = page.select_one("#ledger-fall .band details")
    assert words(history) == (
        "The band: first written before its records, changed once First in commit 0123abc. "
        "It was 2 ± 0.2 (as in commit 0123abd). Rivals are nearer."
    )
    assert page.select_one("#ledger-weight details") is None


def test_parts_have_their_rows_by_verdict(page: BeautifulSoup) -> None:
    table = page.select_one("table.coverage")
    assert table is not None
    rows = [[words(cell) for cell in row.select("td")] for row in table.select("tbody tr")]
    assert rows == [
        ["Section 1 On x .", "held where tried : speed"],
        [
            "Section 2 On falling.",
            "held where tried : fall ; contradicted under our reading : weight",
        ],
    ]
    assert {link["href"] for link in table.select("a")} == {
        "#ledger-speed",
        "#ledger-fall",
        "#ledger-weight",
    }


def test_the_ledger_lies_beside_the_pages_for_other_programs(
    page: BeautifulSoup, built: Path
) -> None:
    rows = json.loads((built / "_static/ledger.json").read_text())
    with (built / "_static/ledger.csv").open() as file:
        assert [row["id"] for row in csv.DictReader(file)] == [row["id"] for row in rows]
    fall = next(row for row in rows if row["id"] == "fall")
    assert (fall["value"], fall["where"]["runs"]) == (2.01, 8)
    links = [link["href"] for link in page.select(".ledger-data a")]
    assert links == ["../_static/ledger.json", "../_static/ledger.csv"]


def test_some_rows_can_stand_on_another_page(built: Path) -> None:
    front = BeautifulSoup((built / "book/index.html").read_text(), "html.parser")
    (row,) = front.select("table.ledger tbody tr")
    assert "2.010, 95 % interval" in words(row)
    assert row.select_one("a")["href"] == "claims.html#ledger-fall"  # type: ignore[index]


def test_a_cell_shows_what_it_measured_as_verdict_value_and_link(built: Path) -> None:
    chapter = BeautifulSoup((built / "book/chapters/falling.html").read_text(), "html.parser")
    shown = [(words(p), p.select_one("a")["href"]) for p in chapter.select("p.claim-shown")]  # type: ignore[index]
    assert (
        "held where tried 2.010 [1.980, 2.040] 8 runs, laptop scale; fall",
        "../claims.html#ledger-fall",
    ) in shown
    assert len(shown) == len(ROWS)
    assert "claim fall:" not in chapter.text
    assert chapter.select_one("meta[name=description]")["content"] == "They fall."  # type: ignore[index]


def test_a_row_that_there_is_not_is_complained_of(tmp_path: Path) -> None:
    write(tmp_path, **{"book/index.md": "# Tiny\n\n```{ledger-rows}\nfall flight\n```\n"})
    problems = build.build(Project(tmp_path), tmp_path / "out").problems
    assert any("the ledger has no flight" in problem for problem in problems)
