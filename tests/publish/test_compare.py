"""Comparison: numbers behind figures within the published tolerance, texts exactly, pictures not at all."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from flatter_lib.publish.compare import (
    table_differences,
    tables_differences,
    text_differences,
)


def table(rtol: float = 1e-6, atol: float = 0.0, **columns: Any) -> dict[str, Any]:
    return {"rtol": rtol, "atol": atol, "columns": columns}


@pytest.mark.parametrize(
    ("rtol", "atol", "old", "new", "same"),
    [
        (1e-3, 0.0, 1.0, 1.0009, True),
        (1e-3, 0.0, 1.0, 1.0011, False),
        (1e-3, 0.0, -1.0, -1.0009, True),
        (1e-3, 0.0, -1.0, 1.0, False),
        (1e-3, 0.0, 1e-30, 1.0009e-30, True),
        (1e-3, 0.0, 1e-30, 1.002e-30, False),
        (0.1, 0.0, 10.0, 11.05, False),  # the tolerance is of the published number
        (0.1, 0.0, 11.05, 10.0, True),
        (1e-3, 0.0, 0.0, 1e-300, False),
        (0.0, 0.5, 1.0, 1.49, True),
        (0.0, 0.5, 1.0, 1.51, False),
        (0.1, 0.5, 10.0, 11.4, True),
        (0.0, 0.0, 2.0, 2.0, True),
        (1e-3, 0.0, "nan", "nan", True),
        (1e-3, 0.0, "nan", 1.0, False),
        (1e-3, 0.0, 1.0, "nan", False),
        (1e-3, 0.0, "inf", "inf", True),
        (1e-3, 0.0, "-inf", "-inf", True),
        (1e-3, 0.0, "inf", "-inf", False),
        (1e-3, 0.0, "inf", 1.0, False),
        (1e-3, 0.0, 1.0, "inf", False),
        (1e-3, 0.0, 0.0, 1e300, False),
    ],
)
def test_a_number_is_held_within_the_tolerance(
    rtol: float, atol: float, old: Any, new: Any, same: bool
) -> None:
    found = table_differences(
        "fig-a", table(rtol, atol, x=[0.5, old]), table(rtol, atol, x=[0.5, new])
    )
    assert found == [] if same else len(found) == 1
    if not same:
        assert found[0].startswith(f"figure fig-a: x: 1 of 2 numbers beyond rtol {rtol:g}")


def test_agreement_is_that_of_a_plain_loop() -> None:
    rng = np.random.default_rng(5)
    specials = [math.nan, math.inf, -math.inf, 0.0]
    for _ in range(300):
        rtol, atol = 10.0 ** rng.uniform(-6, 0), rng.choice([0.0, 1e-3])
        old = float(rng.choice([*specials, rng.normal()]))
        new = float(rng.choice([*specials, old * (1 + rtol * rng.uniform(-2, 2))]))
        agree = (
            old == new
            or (math.isnan(old) and math.isnan(new))
            or (math.isfinite(old) and abs(new - old) <= atol + rtol * abs(old))
        )
        found = table_differences("f", table(rtol, atol, x=[old]), table(rtol, atol, x=[new]))
        assert (not found) == agree, (old, new, rtol, atol)


def test_the_worst_difference_is_shown() -> None:
    old, new = [[1.0, 2.0], [4.0, 8.0]], [[1.5, 2.0], [8.0, 8.8]]
    (line,) = table_differences("fig-a", table(1e-3, y=old), table(1e-3, y=new))
    assert line == (
        "figure fig-a: y: 3 of 4 numbers beyond rtol 0.001; the worst, 4 published, is 8"
    )
    (line,) = table_differences("f", table(y=[1.0, 2.0]), table(y=[9.0, "nan"]))
    assert line.endswith("the worst, 2 published, is nan")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ([1.0, 2.0], [1.0], "shape (2,) published, (1,) now"),
        ([1.0], [[1.0]], "shape (1,) published, (1, 1) now"),
        ([[1.0, 2.0]], [[1.0], [2.0]], "shape (1, 2) published, (2, 1) now"),
        ([], [1.0], "shape (0,) published, (1,) now"),
    ],
)
def test_another_shape_differs(old: Any, new: Any, said: str) -> None:
    assert table_differences("fig-a", table(x=old), table(x=new)) == [f"figure fig-a: x: {said}"]


def test_no_numbers_agree_with_none() -> None:
    assert table_differences("fig-a", table(x=[]), table(x=[])) == []


def test_columns_and_figures_that_come_and_go_are_named() -> None:
    assert table_differences("fig-a", table(x=[1.0], y=[1.0]), table(x=[1.0], z=[1.0])) == [
        "figure fig-a: y is gone",
        "figure fig-a: z is new",
    ]
    published, now = {"fig-a": table(x=[1.0])}, {"fig-b": table(x=[1.0])}
    assert tables_differences(published, now) == [
        "figure fig-a: no longer drawn",
        "figure fig-b: not in the published numbers",
    ]
    assert tables_differences(published, published) == []
    assert tables_differences({}, {}) == []


def test_another_tolerance_is_said_and_the_published_one_holds() -> None:
    published, now = table(1e-6, x=[1.0]), table(1.0, x=[1.1])
    assert [line.split(":")[1] for line in table_differences("f", published, now)] == [
        " its tolerance changed",
        " x",
    ]
    assert table_differences("f", table(atol=0.0, x=[1.0]), table(atol=1.0, x=[1.0])) == [
        "figure f: its tolerance changed"
    ]


def cell(*outputs: NotebookNode, name: str = "") -> NotebookNode:
    metadata = {"mystnb": {"figure": {"name": name}}} if name else {}
    return new_code_cell("f()", outputs=list(outputs), metadata=metadata)


def said(text: str) -> NotebookNode:
    return new_output("stream", name="stdout", text=text)


def data(**kinds: str) -> NotebookNode:
    return new_output("display_data", {k.replace("__", "/"): v for k, v in kinds.items()})


def differences(old: list[NotebookNode], new: list[NotebookNode]) -> list[str]:
    return [*text_differences(new_notebook(cells=old), new_notebook(cells=new))]


def test_texts_are_compared_cell_by_cell() -> None:
    same = cell(said("one\ntwo\n"))
    text = new_markdown_cell("Words.")
    assert differences([same, cell(said("a\nb\n"))], [text, same, cell(said("a\nc\n"))]) == [
        "--- cell 2, published",
        "+++ cell 2, now",
        "@@ -1,2 +1,2 @@",
        " a",
        "-b",
        "+c",
    ]
    assert differences([same], [same]) == []


@pytest.mark.parametrize("kind", ["image__svg+xml", "image__png", "image__jpeg"])
def test_pictures_play_no_part(kind: str) -> None:
    old, new = ({kind: picture, "text__plain": "<figure>"} for picture in "ab")
    assert differences([cell(data(**old))], [cell(data(**new))]) == []
    new["text__plain"] = "<another>"
    assert "+<another>" in differences([cell(data(**old))], [cell(data(**new))])


def test_every_other_kind_of_output_is_compared() -> None:
    error = new_output("error", ename="ValueError", evalue="no", traceback=[])
    assert "+ValueError: no" in differences([cell()], [cell(error)])
    assert "-<b>" in differences([cell(data(text__html="<b>"))], [cell(data(text__html="<i>"))])
    result = new_output("execute_result", {"text/plain": "3"}, execution_count=1)
    assert "+3" in differences([cell()], [cell(result)])


def test_a_figure_cell_is_called_by_its_name() -> None:
    first, *_ = differences([cell(said("a"), name="fig-a")], [cell(said("b"), name="fig-a")])
    assert first == "--- cell 1 (fig-a), published"


def test_another_number_of_cells_is_said() -> None:
    found = differences([cell(said("a")), cell()], [cell(said("b"))])
    assert found[0] == "2 code cells published, 1 now"
    assert "+b" in found


def test_every_line_of_a_difference_is_one_line() -> None:
    lines = differences([cell(said("a\nb\nc"))], [cell(said("a\r\nb\nd"))])
    assert all(not re.search(r"[\r\n]", line) for line in lines)
