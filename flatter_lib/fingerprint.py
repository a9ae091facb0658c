"""What code a result was computed with: the modules that a piece of code stands on, each with the hash of its content.

Two modules have the same hash if they do the same: comments, docstrings and formatting do not count, and neither does
the version of Python that parses them.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from flatter_lib import faces


def closure(packages: Mapping[str, Path], modules: Iterable[str]) -> dict[str, str]:
    """The modules of some packages that modules use, directly or through others, and these themselves.

    Args:
        packages: name of a top-level package -> its folder. Others are not looked into.
        modules: dotted names to begin with.

    Returns:
        dotted name -> hash, sorted.

    Raises:
        SyntaxError: if one of them is not Python.
    """
    waiting = [name for module in modules for name in _prefixes(packages, module)]
    found: dict[str, str] = {}
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        path = _path(packages, name)
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
        found[name] = digest(_nodes(_normalised(tree)))
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        waiting += [n for n in imported(packages, tree, package) if n not in found]
    return dict(sorted(found.items()))


def imported(packages: Mapping[str, Path], tree: ast.AST, package: str = "") -> Iterator[str]:
    """The modules of some packages that a piece of code imports where it runs, with the packages that they are in.

    A name that is imported from a package's face stands for the module that it lives in, and a face that is imported by
    itself for all of its modules, since any of them may be asked for.

    Args:
        packages: see :func:`closure`.
        tree: the code.
        package: the package that it belongs to, which relative imports start from.
    """
    for node in _running(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _prefixes(packages, alias.name)
                yield from _homes(packages, alias.name).values()
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, *([base] if base else [])])
            yield from _prefixes(packages, base)
            homes = _homes(packages, base)
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield from _prefixes(packages, inner)
                yield from _homes(packages, inner).values()
                if alias.name == "*" or alias.name in homes:
                    yield from homes.values() if alias.name == "*" else [homes[alias.name]]


def commit(folder: Path) -> str:
    """The commit that a folder's checkout is at, with a ``+`` if its Python code was modified; empty without git."""
    head = git(folder, "rev-parse", "HEAD")
    return head + ("+" if head and git(folder, "status", "--porcelain", "--", "*.py") else "")


def git(folder: Path, *arguments: str) -> str:
    """What git says, whoever owns the checkout and however git is set up; empty if it fails. Changes nothing."""
    command = ["git", "--no-optional-locks", "-C", str(folder), "-c", "safe.directory=*"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    try:
        done = subprocess.run(
            [*command, *arguments],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
            env=environment,
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def digest(content: Any) -> str:
    """A short hash of what JSON can hold."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _prefixes(packages: Mapping[str, Path], name: str) -> Iterator[str]:
    parts = name.split(".")
    if parts[0] in packages:
        prefixes = (".".join(parts[: i + 1]) for i in range(len(parts)))
        yield from (prefix for prefix in prefixes if _path(packages, prefix).is_file())


def _homes(packages: Mapping[str, Path], name: str) -> dict[str, str]:
    """The names of a package's face, each with its module (`flatter_lib.faces`); empty for what is none."""
    if name.partition(".")[0] not in packages:
        return {}
    path = _path(packages, name)
    if path.name != "__init__.py" or not path.is_file():
        return {}
    return faces.homes(ast.parse(path.read_text(encoding="utf-8"), filename=str(path)))


def _path(packages: Mapping[str, Path], name: str) -> Path:
    head, *rest = name.split(".")
    base = packages[head].joinpath(*rest)
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")


def _running(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes except those that only a type checker sees."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and faces.is_for_types(child):
            for node in child.orelse:
                yield node
                yield from _running(node)
            continue
        yield child
        yield from _running(child)


def _normalised(tree: ast.Module) -> ast.Module:
    """The tree without docstrings, and without the empty pieces that Python 3.12 puts into some f-strings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            node.values = [v for v in node.values if not isinstance(v, ast.Constant) or v.value]
        documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            rest = node.body[1:]
            node.body[:] = rest if rest or isinstance(node, ast.Module) else [ast.Pass()]
    return tree


def _nodes(value: Any) -> Any:
    """A syntax tree as lists that are the same under every Python version; what a node leaves empty is left out."""
    if isinstance(value, ast.AST):
        fields = {
            name: _nodes(item) for name, item in ast.iter_fields(value) if item not in (None, [])
        }
        return [type(value).__name__, fields]
    return [_nodes(item) for item in value] if isinstance(value, list) else repr(value)
