"""A chapter defines no function that another one defines: it is the library's, or it has a name of its own."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

from flatter_lib.publish import sources
from flatter_lib.publish.project import Project

BOOK = Project.find(Path(__file__).parent)


def repeated(notebooks: Mapping[str, NotebookNode]) -> dict[str, list[str]]:
    """The names that the cells of several notebooks define, each with these notebooks."""
    found: dict[str, list[str]] = {}
    for slug, notebook in notebooks.items():
        trees = [ast.parse(cell.source) for cell in sources.code_cells(notebook)]
        for name in dict.fromkeys(name for tree in trees for name in defined(tree)):
            found.setdefault(name, []).append(slug)
    return {name: slugs for name, slugs in found.items() if len(slugs) > 1}


def defined(node: ast.AST) -> Iterator[str]:
    """The functions and classes that some code defines, also inside of a function, without the classes' methods."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield child.name
        if not isinstance(child, ast.ClassDef):
            yield from defined(child)


def test_no_two_chapters_define_one_name() -> None:
    assert repeated({c.slug: sources.read(c) for c in BOOK.chapters()}) == {}


@pytest.mark.parametrize(
    ("other", "names"),
    [
        ("def times(cells):\n    return 2", ["times"]),
        ("class times:\n    pass", ["times"]),
        ("if True:\n    def found():\n        def times():\n            return 1", ["times"]),
        ("class Clock:\n    def times(self):\n        return 2", []),
        ("times = lambda cells: 2", []),
    ],
)
def test_a_name_that_two_chapters_define(other: str, names: list[str]) -> None:
    one = ["x = 1", "def times(cells):\n    return 1\n\n\ndef own():\n    return 1"]
    books = {"one": one, "other": [other], "third": ["def times_of():\n    return 1"]}
    notebooks = {
        slug: nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
        for slug, cells in books.items()
    }
    assert repeated(notebooks) == {name: ["one", "other"] for name in names}
