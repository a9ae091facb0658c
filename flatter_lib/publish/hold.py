"""A pytest plugin beside nbval: what nbval cannot see is held too.

nbval compares the text outputs of a re-executed chapter with the published ones, and never a picture. With
``-p flatter_lib.publish.hold`` the numbers behind each figure, which travel in the output of its cell, are compared
with the table beside the published notebook, within the tolerance stated there.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any

import pytest
from nbval.plugin import IPyNbCell, IPyNbFile

from flatter_lib.publish import compare, twins


def pytest_collectstart(collector: Any) -> None:
    """Leave pictures to their numbers: an SVG is text, but its last digits are not a result."""
    if isinstance(collector, IPyNbFile):
        collector.skip_compare = (*collector.skip_compare, *compare.PICTURES)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """After nbval has run a cell and compared its texts, compare the numbers behind its figure."""
    result = yield
    if isinstance(item, IPyNbCell):
        fresh = twins.tables_of(item.cell, item.test_outputs or [])
        published = _published(item)
        name = twins.figure_name(item.cell)
        expected = {name: published[name]} if name in published else {}
        if differences := compare.tables_differences(expected, fresh):
            item.raise_cell_error(
                "\n".join([*differences, "if the change is meant: flatter diff CHAPTER --accept"])
            )
    return result


def _published(item: Any) -> twins.Tables:
    table = item.parent.path.with_suffix(".figures.json")
    try:
        tables: twins.Tables = json.loads(table.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        item.raise_cell_error(
            f"{table.name} is missing or damaged: execute the chapter again with flatter run"
        )
    return tables
