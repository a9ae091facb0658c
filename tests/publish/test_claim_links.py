"""Below a cell that measured much, the last rows fold; formulas keep the marks around them."""

from __future__ import annotations

import pytest
from docutils import nodes
from sphinx.application import Sphinx

from flatter_lib.publish.extension import typography
from flatter_lib.publish.extension.claim_links import badge, folded


def row(verdict: str) -> nodes.paragraph:
    return nodes.paragraph("", "", badge(verdict), classes=["claim-shown"])


@pytest.mark.parametrize("count", [1, 4, 5])
def test_few_rows_stay_open(count: int) -> None:
    rows: list[nodes.Node] = [row("reproduced") for _ in range(count)]
    assert list(folded(rows)) == rows


def test_rows_beyond_the_fourth_fold_in_each_run_and_say_their_verdicts() -> None:
    one, two = [row("reproduced") for _ in range(6)], [row("undecided") for _ in range(2)]
    picture = nodes.image()
    made = list(folded([*one, *two, picture, row("undecided")]))
    assert [type(node).__name__ for node in made] == [
        *["paragraph"] * 4,
        "raw",
        *["paragraph"] * 4,
        "raw",
        "image",
        "paragraph",
    ]
    assert "and 4 more rows: 2 reproduced, 2 undecided</summary>" in made[4].astext()
    assert made[9].astext() == "</details>"


def test_marks_before_and_after_a_formula_stay_with_it() -> None:
    formula = nodes.math(text="x")
    line = nodes.paragraph("", "", nodes.Text("so (\u201c"), formula, nodes.Text("), and"))
    typography._join(Sphinx.__new__(Sphinx), line)
    assert [child.astext() for child in line.children] == ["so ", "(\u201cx),", " and"]
