"""What the text refers to by name exists, and what exists is referred to: citations, glued values, claims."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from nbformat import NotebookNode
from pybtex.database.input.bibtex import Parser
from pybtex.exceptions import PybtexError

from flatter_lib.publish import ledger
from flatter_lib.publish.checks import markdown
from flatter_lib.publish.checks.finding import Finding
from flatter_lib.publish.checks.markdown import Role
from flatter_lib.publish.checks.notebooks import chapters, executed, readable, relative
from flatter_lib.publish.project import BookError, Project

_CITES = re.compile(r"(foot)?(full)?cite(:\w+)?")
#: What a claim names as its paper when it is a hypothesis of the book.
OURS = "this book"


def citations(project: Project) -> list[Finding]:
    """Every bibliography entry is cited, by the text or by a claim, and every citation has its entry."""
    entries: dict[str, str] = {}
    found = []
    for path in sorted(project.book.rglob("*.bib")):
        where = relative(project, path)
        try:
            entries |= {str(key): where for key in Parser().parse_file(str(path)).entries}
        except PybtexError as error:
            found.append(Finding(where, f"is not BibTeX: {error}", "mend it"))
    cited = list(_cited(project))
    for where, key in cited:
        if key not in entries:
            what = f"cites {key}, which no bibliography file holds"
            found.append(Finding(where, what, "mend the key, or add the entry"))
    for key in sorted(set(entries) - {key for _, key in cited}):
        found.append(
            Finding(entries[key], f"{key} is cited nowhere", "cite it, or remove the entry")
        )
    return found


def glued(project: Project) -> list[Finding]:
    """Every glued value that the text shows is defined once by the chapter that it names, and every one is shown."""
    defined = {chapter.slug: Counter(_names(twin)) for chapter, twin in executed(project)}
    waiting = {chapter.slug for chapter in chapters(project)} - set(defined)
    used: set[tuple[str, str]] = set()
    found = []
    for where, path, role in _roles(project, "glue"):
        slug, name = _glue_target(project, path, role)
        used.add((slug, name))
        if slug in waiting:
            continue  # without a twin that can be read, as other checks say
        if slug not in defined:
            found.append(
                Finding(
                    where, f"shows {name}, which belongs to no chapter", "write chapter.ipynb::name"
                )
            )
        elif name not in defined[slug]:
            what = f"shows {name}, which no cell of {slug} glues"
            cure = f'glue("{name}", ...) in a cell, then: flatter run {slug}'
            found.append(Finding(where, what, cure))
    for slug, names in defined.items():
        where = relative(project, project.chapter_paths(slug).twin)
        for name, times in names.items():
            if times > 1:
                found.append(Finding(where, f"glues {name} {times} times", "keep one"))
            if (slug, name) not in used:
                cure = "show it with {glue:text}, or do not glue it"
                found.append(Finding(where, f"glues {name}, which no text shows", cure))
    return found


def claims(project: Project) -> list[Finding]:
    """Claims and recorded rows are one to one, as :func:`flatter_lib.publish.ledger.problems` says."""
    if readable(project):
        return []
    cure = "`flatter claims` shows the ledger as it stands"
    return [Finding(*_placed(project, problem), cure) for problem in ledger.problems(project)]


def _placed(project: Project, problem: str) -> tuple[str, str]:
    """Where a problem of the ledger is, and the rest of its line."""
    head, _, rest = problem.partition(": ")
    if (project.claims / head).is_file():
        return relative(project, project.claims / head), rest
    twin = project.chapter_paths(head).twin
    return (
        (relative(project, twin), rest)
        if twin.is_file()
        else (relative(project, project.claims), problem)
    )


def _cited(project: Project) -> Iterator[tuple[str, str]]:
    for where, _, role in _roles(project, "cite"):
        for key in re.sub(r"\{[^}]*\}", "", role.content).split(","):
            yield where, key.strip()
    for claim in _claims(project):
        where = f"{relative(project, project.claims / claim.file)}, claim {claim.id}"
        if claim.paper != OURS:
            yield where, claim.paper


def _roles(project: Project, kind: str) -> Iterator[tuple[str, Path, Role]]:
    """Every citation or glue role of the book's text, with where it stands and its file."""
    for path in markdown.texts(project):
        yield from _roles_of(project, path, path.read_text(encoding="utf-8"), kind)
    for claim in _claims(project):
        path = project.claims / claim.file
        text = "\n\n".join((claim.statement, claim.measured, claim.caveat, claim.untested))
        for _, _, role in _roles_of(project, path, text, kind):
            yield f"{relative(project, path)}, claim {claim.id}", path, role


def _roles_of(
    project: Project, path: Path, text: str, kind: str
) -> Iterator[tuple[str, Path, Role]]:
    for piece in markdown.pieces(text):
        if not isinstance(piece, Role):
            continue
        is_kind = _CITES.fullmatch(piece.name) if kind == "cite" else piece.name.startswith("glue")
        if is_kind:
            yield f"{relative(project, path)}, line {piece.line}", path, piece


def _claims(project: Project) -> list[ledger.Claim]:
    try:
        return ledger.claims(project)
    except BookError:
        return []  # the check of the ledger reports it


def _glue_target(project: Project, path: Path, role: Role) -> tuple[str, str]:
    """The chapter and the name that a role shows: ``name``, ``document::name``; for a text, ``name:format`` too."""
    document, _, name = role.content.rpartition("::")
    if role.name == "glue:text":
        name = name.partition(":")[0]
    if document:
        return Path(document).stem, name
    return (path.stem if path.parent == project.source else ""), name


def _names(twin: NotebookNode) -> Iterator[str]:
    for cell in twin.cells:
        for output in cell.get("outputs", []):
            if "scrapbook" in output.get("metadata", {}):
                yield output.metadata.scrapbook.name
