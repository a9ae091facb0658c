"""A pytest plugin beside nbval: values are compared within their tolerance, words exactly, pictures not at all.

It is active wherever this library is installed with nbval, so that plain ``pytest --nbval book/chapters`` holds what
``flatter check`` holds. nbval executes the cells and compares what they show; here the outputs that carry values are
taken out of that comparison, and their values are compared with those in the file beside the notebook.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from flatter_lib.publish.twins import Values
    from flatter_lib.values import Value


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Before nbval runs a cell, take its comparison over."""
    if type(item).__module__ == "nbval.plugin" and hasattr(item, "compare_outputs"):
        cell: Any = item
        cell.compare_outputs = functools.partial(_agree, cell, cell.compare_outputs)
    return (yield)


def _agree(
    item: Any, by_nbval: Callable[[list[Any], list[Any]], bool], test: list[Any], ref: list[Any]
) -> bool:
    """Whether the outputs of a cell just run agree with the published ones."""
    from flatter_lib.publish import compare, twins

    names = [name for output in ref for name in twins.names_of(output)]
    published = _published(item) if names else {}
    if lost := [name for name in names if name not in published]:
        item.comparison_traceback = [f"{lost[0]}: is not among the published values"]
        return False
    differences = compare.values_differences(
        {name: published[name] for name in names},
        twins.values_of(item.cell, test),
        _verdict(item.parent),
    )
    if differences:
        cure = "if the change is meant: flatter diff CHAPTER --accept"
        item.comparison_traceback = [*differences, cure]
        return False
    return by_nbval(*([_words(o) for o in some] for some in (test, ref)))


def _words(output: Any) -> Any:
    """An output as nbval shall see it: its words only."""
    from nbformat import NotebookNode

    from flatter_lib.publish import compare

    if output["output_type"] not in ("display_data", "execute_result"):
        return output
    words = "\n".join(compare.words_of(output))
    return NotebookNode(output_type=output["output_type"], data={"text/plain": words})


def _published(item: Any) -> Values:
    from flatter_lib.publish import twins
    from flatter_lib.publish.project import BookError, Chapter

    path = item.parent.path
    try:
        return twins.published_values(Chapter(path.stem, path.with_suffix(".md"), path))
    except BookError as error:
        item.raise_cell_error(str(error))
        raise


def _verdict(notebook: Any) -> Callable[[Value], str] | None:
    """What a row of the ledger of the book that holds a notebook amounts to; None for a notebook outside a book."""
    from flatter_lib.publish import ledger
    from flatter_lib.publish.project import BookError, Project

    if not hasattr(notebook, "flatter_verdict"):
        try:
            notebook.flatter_verdict = ledger.verdicts(Project.find(notebook.path.parent))
        except BookError:
            notebook.flatter_verdict = None
    found: Callable[[Value], str] | None = notebook.flatter_verdict
    return found
