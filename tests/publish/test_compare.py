"""Comparison: values within their tolerance, verdicts and words exactly, pictures not at all."""

from __future__ import annotations

import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from flatter_lib.claims import verdict
from flatter_lib.publish.compare import text_differences, values_differences
from flatter_lib.values import IN_DISTRIBUTION, PRINTED, Estimate, Tolerance, Value, estimate
from flatter_lib.values import number_of as number


def row(low: float, high: float, holds: Tolerance = PRINTED) -> dict[str, Value]:
    value = estimate("a", Estimate((low + high) / 2, low, high), holds)
    return {"claim a": value | {"role": "claim"}}


def judged(value: Value) -> str:
    found = number(value)
    assert isinstance(found, Estimate)
    return verdict({"at_most": 1.0}, found.value, found.low, found.high)


def test_values_that_come_and_go_are_named() -> None:
    one, other = row(0.5, 0.7), {"claim b": row(0.5, 0.7)["claim a"]}
    assert values_differences(one, one) == []
    assert values_differences(one, other) == [
        "claim a: is gone",
        "claim b: is not among the published values",
    ]


@pytest.mark.parametrize(
    ("holds", "now", "lines"),
    [
        (PRINTED, (0.8004, 0.9996), []),
        (PRINTED, (0.8004, 1.0003), ["its verdict, reproduced as published, is undecided"]),
        (PRINTED, (0.82, 0.98), ["2 of 3 numbers beyond"]),
        (IN_DISTRIBUTION, (0.9, 1.2), []),
        (IN_DISTRIBUTION, (1.1, 1.2), ["do not overlap"]),
    ],
)
def test_a_row_whose_verdict_turns_differs(
    holds: Tolerance, now: tuple[float, float], lines: list[str]
) -> None:
    found = values_differences(row(0.8, 0.9998, holds), row(*now, holds), judged)
    assert len(found) == len(lines)
    assert all(line in text for line, text in zip(lines, found, strict=True))


def said(text: str) -> NotebookNode:
    return new_output("stream", name="stdout", text=text)


def data(mark: object = None, **kinds: str) -> NotebookNode:
    shown = {kind.replace("__", "/"): text for kind, text in kinds.items()}
    return new_output("display_data", shown, metadata={"flatter": mark} if mark else {})


def differences(old: list[NotebookNode], new: list[NotebookNode]) -> list[str]:
    """Between two notebooks with a text and a cell for each of these outputs."""
    cells = [
        [new_markdown_cell(f"{len(some)}"), *(new_code_cell("f()", outputs=[o]) for o in some)]
        for some in (old, new)
    ]
    return [*text_differences(*(new_notebook(cells=some) for some in cells))]


@pytest.mark.parametrize("kind", ["image__svg+xml", "image__png"])
def test_pictures_play_no_part(kind: str) -> None:
    old, new = (data(**{kind: picture, "text__plain": "<figure>"}) for picture in "ab")
    assert differences([old], [new]) == []


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        (said("one\ntwo\n"), said("one\nto\n"), [" one", "-two", "+to"]),
        (said(""), new_output("error", ename="ValueError", evalue="no"), ["+ValueError: no"]),
        (data(text__html="<b>"), data(text__html="<i>"), ["-<b>", "+<i>"]),
        (said(""), new_output("execute_result", {"text/plain": "3"}), ["+3"]),
        (data({"values": []}, text__plain="1"), data({"values": [3]}, text__plain="2"), ["-1", "+2"]),
    ],
)  # fmt: skip
def test_words_of_every_kind_are_compared_cell_by_cell(
    old: NotebookNode, new: NotebookNode, lines: list[str]
) -> None:
    head, names, place, *rest = differences([said("same"), old], [said("same"), new])
    assert (head, names, place[:2]) == ("--- cell 2, published", "+++ cell 2, now", "@@")
    assert rest == lines
    assert differences([old], [old]) == []


def test_another_number_of_cells_is_said() -> None:
    assert differences([said("a"), said("")], [said("a")]) == ["2 code cells published, 1 now"]
