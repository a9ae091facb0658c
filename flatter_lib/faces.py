"""Faces of packages: names to import from a package, each loaded from its module when it is first asked for.

A face is an ``__init__`` that says under ``TYPE_CHECKING`` where its names live, so that type checkers, this module and
`flatter_lib.fingerprint` read the same lines, and that imports nothing else::

    if TYPE_CHECKING:
        from flatter_lib.valleys.sensing import MatrixSensing
    else:
        __getattr__, __dir__ = faces.lazy(__name__)

    __all__ = ["MatrixSensing"]
"""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path


def homes(tree: ast.AST) -> dict[str, str]:
    r"""The names of a face, each with the module that it lives in; of other code, nothing.

    Args:
        tree: the ``__init__``.

    Examples:
        >>> homes(ast.parse("if TYPE_CHECKING:\n    from house.cellar import wine, beer"))
        {'wine': 'house.cellar', 'beer': 'house.cellar'}
    """
    return {
        alias.name: node.module
        for block in ast.walk(tree)
        if is_for_types(block)
        for node in ast.walk(block)
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }


def is_for_types(node: ast.AST) -> bool:
    """Whether a statement is an ``if TYPE_CHECKING``."""
    return isinstance(node, ast.If) and ast.unparse(node.test).split(".")[-1] == "TYPE_CHECKING"


def lazy(package: str) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """What a face asks for a name that it has not loaded, and what it says when it is asked for its names (PEP 562).

    Args:
        package: dotted name of the package, which is being imported.

    Returns:
        Its ``__getattr__``, which raises `AttributeError` for other names, and `ModuleNotFoundError`, with what to
        install, where the module of a name needs a package that is not there; and its ``__dir__``.
    """
    module = sys.modules[package]

    @cache
    def found() -> dict[str, str]:
        return homes(ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8")))

    def get(name: str) -> object:
        if name not in found():
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            value: object = getattr(importlib.import_module(found()[name]), name)
        except ModuleNotFoundError as error:
            missing = str(error.name).partition(".")[0]
            if missing == "flatter_lib":
                raise
            raise ModuleNotFoundError(
                f"{package}.{name} needs {missing}: python -m pip install 'flatter-lib[lab]'",
                name=error.name,
            ) from error
        setattr(module, name, value)
        return value

    def names() -> list[str]:
        return sorted(found())

    return get, names
