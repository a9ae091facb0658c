"""Whether a chapter's executed twin still says what its source would say, decided by content alone.

A twin is stale when its own code, its parameters, its text, the measurements that it reads or what its claims allow are
no longer those that it was executed with: then it says something else than its source. When the library changed under
it, it is only unverified: a hash cannot know whether the change changes a value. Executing it again knows, and acquits
or convicts. File times play no part; comments and docstrings of the library do not count.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flatter_lib import evidence, fingerprint
from flatter_lib.fingerprint import digest
from flatter_lib.publish import ledger, provenance, sources
from flatter_lib.publish.project import BookError, Chapter, Project

PACKAGE = "flatter_lib"
#: How what it says of the modules that draw begins: pictures are not compared.
FIGURES = "`figures"
#: So many reasons are said.
_REASONS = 3


@dataclass(frozen=True)
class State:
    """How a twin stands to its source.

    Attributes:
        reasons: why it is stale, each in a few words; empty if it is not.
        text_only: whether all that changed is text and page settings, so that no cell needs to run again.
        unverified: the library modules that changed since it was executed or verified.
    """

    reasons: tuple[str, ...] = ()
    text_only: bool = False
    unverified: tuple[str, ...] = ()

    @property
    def fresh(self) -> bool:
        """Whether nothing changed."""
        return not self.reasons and not self.unverified

    @property
    def acquittable(self) -> bool:
        """Whether the same words and values verify it: only the library changed, and not what draws the pictures."""
        drawn = any(said.startswith(FIGURES) for said in self.unverified)
        return bool(self.unverified) and not self.reasons and not drawn

    def __str__(self) -> str:
        if self.fresh:
            return "fresh"
        every = [*self.reasons, *self.unverified]
        more = [f"and {len(every) - _REASONS} more"] if len(every) > _REASONS else []
        return f"{'stale' if self.reasons else 'unverified'}: {'; '.join(every[:_REASONS] + more)}"


def inputs(project: Project, chapter: Chapter) -> dict[str, Any]:
    """Hashes of all that the chapter's outputs and verdicts are computed from.

    Raises:
        BookError: if the source, its claims, or a library module that it uses, cannot be read.
    """
    notebook = sources.read(chapter)
    cells = sources.code_cells(notebook)
    try:
        parameters = {p.name: p.default for p in sources.parameters(notebook)}
    except BookError as error:
        raise BookError(f"{chapter.slug}: {error}") from None
    text = [[cell.cell_type, cell.source, dict(cell.metadata)] for cell in notebook.cells]
    names = notebook.metadata.get("flatter", {}).get("records", [])
    return {
        "code": digest([[cell.source, cell.metadata.get("tags", [])] for cell in cells]),
        "text": digest([notebook.metadata.get("flatter", {}), text]),
        "parameters": parameters,
        "modules": modules(project, (cell.source for cell in cells)),
        # A record that was made again and came out the same is the same.
        "records": {name: evidence.digest(project.results / name) for name in sorted(names)},
        "claims": ledger.bands(project, chapter),
    }


def state(project: Project, chapter: Chapter) -> State:
    """Whether the chapter's twin is fresh, and if not, why."""
    if not chapter.twin.exists():
        return State(("never executed",))
    stored = provenance.stored(chapter).get("inputs")
    parts = ("modules", "records", "claims")
    if not isinstance(stored, dict) or not all(isinstance(stored.get(p), dict) for p in parts):
        return State(("its provenance is missing or damaged",))
    if not chapter.values.exists():
        return State(("its published values are missing",))
    now = inputs(project, chapter)
    reasons = [
        f"its {part} changed" for part in ("code", "parameters") if now[part] != stored.get(part)
    ]
    reasons += _changed(stored["records"], now["records"])
    reasons += [f"the band of {said}" for said in _changed(stored["claims"], now["claims"])]
    unverified = tuple(_changed(stored["modules"], now["modules"]))
    if not reasons and now["text"] != stored.get("text"):
        return State(("its text changed",), text_only=not unverified, unverified=unverified)
    return State(tuple(reasons), unverified=unverified)


def modules(project: Project, code: Iterable[str]) -> dict[str, str]:
    """The library modules that pieces of code use, directly or through others, each with the hash of its content.

    Raises:
        BookError: if one of them is not Python.
    """
    packages = {PACKAGE: project.library}
    used = [name for piece in code for name in fingerprint.imported(packages, _cell(piece))]
    try:
        return fingerprint.closure(packages, used)
    except SyntaxError as error:
        place = f"{Path(str(error.filename)).relative_to(project.root)}, line {error.lineno}"
        raise BookError(f"{place}: not Python: {error.msg}") from None


def _cell(code: str) -> ast.Module:
    """A cell as Python; a cell that is none uses no module, and its kernel will say what is wrong with it."""
    from IPython.core.inputtransformer2 import TransformerManager

    try:
        return ast.parse(str(TransformerManager().transform_cell(code)))
    except SyntaxError:
        return ast.Module([], [])


def _changed(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What differs, each by its name."""
    found = []
    for name in sorted({*before, *now}):
        if before.get(name) != now.get(name):
            how = "is gone" if name not in now else "changed" if name in before else "was added"
            found.append(f"`{name.removeprefix(f'{PACKAGE}.')}` {how}")
    return found
