"""A pytest plugin beside nbval: values are compared within their tolerance, words exactly, pictures not at all.

It is active wherever this library is installed with nbval, so that plain ``pytest --nbval book/chapters`` holds what
``flatter check`` holds. nbval executes the cells and compares what they show; here the outputs that carry values are
taken out of that comparison, and their values are compared with those in the file beside the notebook. What differs is
also a property of the cell's report, ``differs``. A kernel that died is noticed within a second.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from flatter_lib.publish.twins import Values
    from flatter_lib.values import Value


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Before nbval runs a cell, take over how it waits and compares."""
    if type(item).__module__ == "nbval.plugin" and hasattr(item, "compare_outputs"):
        cell: Any = item
        cell.compare_outputs = functools.partial(_agree, cell, cell.compare_outputs)
        cell.parent.kernel.await_reply = functools.partial(_await_reply, cell)
    return (yield)


def _agree(
    cell: Any, by_nbval: Callable[[list[Any], list[Any]], bool], test: list[Any], ref: list[Any]
) -> bool:
    """Whether the outputs of a cell just run agree with the published ones."""
    from flatter_lib.publish import compare, twins

    names = [name for output in ref for name in twins.names_of(output)]
    published = _published(cell) if names else {}
    if lost := [name for name in names if name not in published]:
        differences = [f"{lost[0]}: is not among the published values"]
    else:
        differences = compare.values_differences(
            {name: published[name] for name in names},
            twins.values_of(cell.cell, test),
            _verdict(cell.parent),
        )
    if differences:
        cell.user_properties += [("differs", line) for line in differences]
        cure = "if the change is meant: flatter diff CHAPTER --accept"
        cell.comparison_traceback = [*differences, cure]
        return False
    return by_nbval(*([_words(o) for o in some] for some in (test, ref)))


def _await_reply(cell: Any, msg_id: str, timeout: float) -> None:
    """Wait for the kernel's reply second by second: nbval waits for a dead kernel as long as for a busy one."""
    from queue import Empty

    kernel, end = cell.parent.kernel, time.monotonic() + timeout
    while True:
        try:
            type(kernel).await_reply(kernel, msg_id, max(min(1, end - time.monotonic()), 0))
            return
        except Empty:
            if not kernel.is_alive():
                cell.parent.timed_out = True  # so that nbval leaves the later cells alone
                cell.raise_cell_error("The kernel died: was there enough memory?")
            if time.monotonic() >= end:
                raise


def _words(output: Any) -> Any:
    """An output as nbval shall see it: its words only."""
    from nbformat import NotebookNode

    from flatter_lib.publish import compare

    if output["output_type"] not in ("display_data", "execute_result"):
        return output
    words = "\n".join(compare.words_of(output))
    return NotebookNode(output_type=output["output_type"], data={"text/plain": words})


def _published(cell: Any) -> Values:
    from flatter_lib.publish import twins
    from flatter_lib.publish.project import BookError, Chapter

    path = cell.parent.path
    try:
        return twins.published_values(Chapter(path.stem, path.with_suffix(".md"), path))
    except BookError as error:
        cell.raise_cell_error(str(error))
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
