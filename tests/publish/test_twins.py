"""Twins: cleaning leaves nothing of a run but what it computed, and only that."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from flatter_lib.publish import twins
from flatter_lib.publish.project import BookError, Chapter
from flatter_lib.values import IN_DISTRIBUTION, PRINTED, Value, column, estimate, relative

FIGURE = column("x", [1.0], relative(1e-6))
CLAIM = estimate("toy", 1.0, PRINTED) | {"where": {"scale": "closed form"}}


def stream(text: str, name: str = "stdout") -> NotebookNode:
    return new_output("stream", name=name, text=text)


def shown(text: str, role: str, *values: Value) -> NotebookNode:
    mark = {"role": role, "values": list(values)}
    return new_output("display_data", {"text/plain": text}, metadata={"flatter": mark})


def notebook(*cells: NotebookNode, **metadata: Any) -> NotebookNode:
    return new_notebook(cells=list(cells), metadata=metadata)


def ran(source: str, *outputs: NotebookNode, **metadata: Any) -> NotebookNode:
    return new_code_cell(source, outputs=list(outputs), execution_count=7, metadata=metadata)


def figure_cell(name: str, *values: Value) -> NotebookNode:
    return ran("show()", shown("a figure", "figure", *values), mystnb={"figure": {"name": name}})


def test_what_a_run_leaves_in_the_notebook_is_gone() -> None:
    executed = notebook(
        new_markdown_cell("# Title", metadata={"papermill": {"duration": 1}}),
        ran("x = 1", tags=[], papermill={"duration": 0.1}, execution={"iopub.execute_input": "now"}),
        ran("f()", stream("a"), stream("b\n"), stream("warned\n", "stderr"), stream("c\n")),
        ran("1", new_output("execute_result", {"text/plain": "1"}, execution_count=9), tags=["hide-input"]),
        kernelspec={"name": "another", "display_name": "Mine", "language": "python"},
        language_info={"name": "python", "version": "3.11.0"},
        papermill={"start_time": "now"},
        flatter={"profiles": {"smoke": {"runs": 2}}},
    )  # fmt: skip
    before = copy.deepcopy(executed)
    twin, values = twins.clean(executed)
    assert (executed, values) == (before, {})
    assert twin.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"file_extension": ".py", "name": "python", "pygments_lexer": "ipython3"},
        "jupytext": {"default_lexer": "ipython3"},
        "flatter": {"profiles": {"smoke": {"runs": 2}}},
    }
    assert [cell.metadata for cell in twin.cells] == [{}, {}, {}, {"tags": ["hide-input"]}]
    assert [cell.get("execution_count") for cell in twin.cells] == [None, 1, 2, 3]
    assert twin.cells[3].outputs[0].execution_count == 3
    pieces = [("stdout", "ab\n"), ("stderr", "warned\n"), ("stdout", "c\n")]
    assert [(o.name, o.text) for o in twin.cells[2].outputs] == pieces
    assert [cell.source for cell in twin.cells] == [cell.source for cell in executed.cells]
    nbformat.validate(twin)
    with pytest.raises(ValueError, match="longer"):
        twins.weave(notebook(new_code_cell("x = 1")), executed)


def test_ids_follow_from_what_the_cells_say() -> None:
    def ids(*cells: NotebookNode) -> list[str]:
        return [cell.id for cell in twins.clean(notebook(*cells))[0].cells]

    first = ids(new_markdown_cell("x"), ran("x"), ran("x"), ran("y"), ran("x"))
    assert first == ids(new_markdown_cell("x"), ran("x"), ran("x"), ran("y"), ran("x"))
    assert len(set(first)) == 5  # the same words twice, and as text and as code
    assert first[2:] == [f"{first[1]}-2", first[3], f"{first[1]}-3"]
    assert ids(ran("y"), ran("x")) == [first[3], first[1]]  # no cell's id depends on another's
    assert all(re.fullmatch(r"[a-zA-Z0-9-_]{1,64}", mark) for mark in first)


def test_values_move_out_of_the_outputs_and_each_has_a_name_of_its_own() -> None:
    line = estimate("", 1.0, PRINTED)
    both = notebook(
        figure_cell("fig-a", FIGURE, column("y", [2.0], relative(1e-6))),
        figure_cell("fig-b", FIGURE),
        ran("show()", shown("a figure", "figure", FIGURE)),
        ran("claim()", shown("a claim", "claim", CLAIM), shown("again", "claim", CLAIM)),
        ran("line()", shown("1", "line", line), shown("1", "line", line)),
        ran("glue()", shown("1", "glue", line | {"name": "one"})),
        ran("glue(2)", shown("2", "glue", line | {"name": "one"})),
    )
    twin, values = twins.clean(both)
    lines = [f"line of {twin.cells[4].id}, {number}" for number in (1, 2)]
    again = f"one, again in {twin.cells[6].id}"
    figures = ["fig-a: x", "fig-a: y", "fig-b: x", "unnamed: x"]
    assert list(values) == [*figures, "claim toy", "claim toy, 2", *lines, "one", again]
    assert values["fig-a: x"] == FIGURE | {"role": "figure"}
    assert values["claim toy"] == CLAIM | {"role": "claim"}
    marks = [output.metadata.flatter for cell in twin.cells for output in cell.outputs]
    assert [name for mark in marks for name in mark["values"]] == list(values)
    assert twins.claims_of(twin.cells[3]) == ["toy", "toy, 2"]


@pytest.mark.parametrize("content", ["", "{}"])
def test_a_damaged_twin_is_refused_with_its_cure(toy: Chapter, content: str) -> None:
    with pytest.raises(BookError, match="toy was never executed: flatter run toy"):
        twins.read(toy)
    toy.twin.parent.mkdir()
    toy.twin.write_text(content)
    with pytest.raises(BookError, match="toy: its executed notebook is damaged: flatter run toy"):
        twins.read(toy)
    toy.values.write_text(content or "[]")
    if not content:
        with pytest.raises(BookError, match="published values are missing or damaged: flatter run"):
            twins.published_values(toy)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("fig-a: x", {"role": None}),
        ("fig-a: x", {"kind": None}),
        ("fig-a: x", {"numbers": [[1.0, 2.0], [3.0]]}),
        ("fig-b: x", {"numbers": [[1.0, 2.0, 3.0]]}),
        ("fig-b: x", {"numbers": [["nan", "nan", "nan"]]}),
        ("claim toy", {"where": None}),
        ("claim toy", {"numbers": ["nan"]}),
        ("claim toy", {"words": "{x}"}),
        ("claim toy", None),
    ],
)
def test_a_damaged_value_is_named(toy: Chapter, name: str, change: dict[str, Any] | None) -> None:
    rows = column("x", [[2.0, 1.0, 3.0]], IN_DISTRIBUTION)
    values: dict[str, Any] = {
        "fig-a: x": FIGURE | {"role": "figure"},
        "fig-b: x": rows | {"role": "figure"},
        "claim toy": CLAIM | {"role": "claim"},
    }
    toy.values.parent.mkdir()
    toy.values.write_text(json.dumps(values))
    assert twins.published_values(toy) == values
    damaged = None
    if change:
        damaged = {k: v for k, v in (values[name] | change).items() if v is not None}
    toy.values.write_text(json.dumps(values | {name: damaged}))
    said = rf"^toy: '{name}' of its published values is damaged: flatter run toy$"
    with pytest.raises(BookError, match=said):
        twins.published_values(toy)
