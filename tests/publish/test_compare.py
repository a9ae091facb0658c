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


@pytest.mark.parametrize(
    "kind",
    [
        "image__svg+xml",
        "image__png",
    ],
)
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


@pytest.mark.parametrize("mark", [{}, {"values": []}, {"role": "line", "values": [3]}])
def test_a_mark_without_values_hides_no_output(mark: dict[str, object]) -> None:
    old, new = (data(text__plain=text) for text in ("one", "two"))
    old.metadata.flatter = new.metadata.flatter = mark
    assert "+two" in differences([cell(old)], [cell(new)])


def test_another_number_of_cells_is_said() -> None:
    found = differences([cell(said("a")), cell()], [cell(said("b"))])
    assert found[0] == "2 code cells published, 1 now"
    assert "+b" in found
