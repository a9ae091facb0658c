"""Whether a chapter's executed twin still says what its source would say, decided by content alone.

A twin is fresh when the hashes of everything that it was computed from equal those stored when it was executed: the
code of its source, its parameters, its text, the library modules that it uses (directly or through others) and the
records that it reads. File times play no part; comments and docstrings of the library do not count.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from flatter_lib.publish import sources
from flatter_lib.publish.project import BookError, Chapter, Project

PACKAGE = "flatter_lib"
#: A line of IPython's own, which the parser does not know.
_MAGIC = re.compile(r"^([ \t]*)[%!].*$", re.MULTILINE)


@dataclass(frozen=True)
class State:
    """How a twin stands to its source.

    Attributes:
        reasons: why it is not fresh, each in a few words; empty for a fresh one.
        text_only: whether all that changed is text and page settings, so that no cell needs to run again.
    """

    reasons: tuple[str, ...]
    text_only: bool = False

    @property
    def fresh(self) -> bool:
        """Whether nothing changed."""
        return not self.reasons


def inputs(project: Project, chapter: Chapter) -> dict[str, Any]:
    """Hashes of all that the chapter's outputs are computed from, and ``hash``, of them all.

    Raises:
        BookError: if the source, or a library module that it uses, cannot be read.
    """
    notebook = sources.read(chapter)
    cells = sources.code_cells(notebook)
    try:
        parameters = {p.name: p.default for p in sources.parameters(notebook)}
    except BookError as error:
        raise BookError(f"{chapter.slug}: {error}") from None
    text = [[cell.cell_type, cell.source, dict(cell.metadata)] for cell in notebook.cells]
    found: dict[str, Any] = {
        "code": _digest([[cell.source, cell.metadata.get("tags", [])] for cell in cells]),
        "text": _digest([notebook.metadata.get("flatter", {}), text]),
        "parameters": parameters,
        "modules": modules(project, (cell.source for cell in cells)),
        "records": records(project, notebook),
    }
    return {"hash": _digest(found), **found}


def state(project: Project, chapter: Chapter) -> State:
    """Whether the chapter's twin is fresh, and if not, why."""
    if not chapter.twin.exists():
        return State(("never executed",))
    stored = _stored(chapter)
    if stored is None:
        return State(("its provenance is missing or damaged",))
    if not chapter.figures.exists():
        return State(("the numbers behind its figures are missing",))
    now = inputs(project, chapter)
    if now["hash"] == stored.get("hash"):
        return State(())
    reasons = [
        f"its {part} changed" for part in ("code", "parameters") if now[part] != stored.get(part)
    ]
    reasons += _changed(stored.get("modules", {}), now["modules"], f"{PACKAGE}.")
    reasons += _changed(stored.get("records", {}), now["records"], "")
    if reasons:
        return State(tuple(reasons))
    if now["text"] != stored.get("text"):
        return State(("its text changed",), text_only=True)
    return State(("its provenance was edited",))


def modules(project: Project, code: Iterable[str]) -> dict[str, str]:
    """The library modules that pieces of code use, directly or through others, each with the hash of its content.

    Raises:
        BookError: if one of them is not Python.
    """
    waiting = [name for piece in code for name in _imported(project, _cell(piece), "")]
    found: dict[str, str] = {}
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        path = _path(project, name)
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except SyntaxError as error:
            place = f"{path.relative_to(project.root)}, line {error.lineno}"
            raise BookError(f"{place}: not Python: {error.msg}") from None
        found[name] = _digest(_nodes(_normalised(tree)))
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        waiting += [n for n in _imported(project, tree, package) if n not in found]
    return dict(sorted(found.items()))


def records(project: Project, notebook: NotebookNode) -> dict[str, str]:
    """The record files that the source's front matter names (``flatter: records: [...]``), each with its hash."""
    names = notebook.metadata.get("flatter", {}).get("records", [])
    return {name: _file_digest(project.results / name) for name in sorted(names)}


def _stored(chapter: Chapter) -> dict[str, Any] | None:
    """The inputs that the twin was executed with, or None where the provenance does not say."""
    try:
        stored = json.loads(chapter.provenance.read_text(encoding="utf-8"))["inputs"]
        whole = all(isinstance(stored[part], dict) for part in ("modules", "records"))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return dict(stored) if whole else None


def _imported(project: Project, tree: ast.AST, package: str) -> Iterator[str]:
    for node in _running(tree):
        if isinstance(node, ast.Import):
            candidates = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, *([base] if base else [])])
            candidates = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in candidates:
            parts = name.split(".")
            if parts[0] == PACKAGE:
                prefixes = (".".join(parts[: i + 1]) for i in range(len(parts)))
                yield from (p for p in prefixes if _path(project, p).is_file())


def _running(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes except those that only a type checker sees."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and ast.unparse(child.test) in (
            "TYPE_CHECKING",
            "typing.TYPE_CHECKING",
        ):
            for node in child.orelse:
                yield node
                yield from _running(node)
            continue
        yield child
        yield from _running(child)


def _path(project: Project, name: str) -> Path:
    base = project.library.parent.joinpath(*name.split("."))
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")


def _cell(code: str) -> ast.Module:
    """A cell as Python; a cell that is none uses no module, and its kernel will say what is wrong with it."""
    for text in (code, _MAGIC.sub(r"\1pass", code)):
        try:
            return ast.parse(text)
        except SyntaxError:
            continue
    return ast.Module([], [])


def _normalised(tree: ast.Module) -> ast.Module:
    """The tree without docstrings, and without the empty pieces that Python 3.12 puts into some f-strings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            node.values = [v for v in node.values if not isinstance(v, ast.Constant) or v.value]
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
            and isinstance(node.body[0].value, ast.Constant)
            and isinstance(node.body[0].value.value, str)
        ):
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


def _changed(before: dict[str, str], now: dict[str, str], prefix: str) -> list[str]:
    short = {name: name.removeprefix(prefix) for name in {*before, *now}}
    return [
        f"`{short[name]}` {'changed' if name in before and name in now else 'was added' if name in now else 'is gone'}"
        for name in sorted(short)
        if before.get(name) != now.get(name)
    ]


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[
        :16
    ]


def _file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.is_file() else "missing"
