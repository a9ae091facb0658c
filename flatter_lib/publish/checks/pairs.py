"""Source and twin: one of each, and the twin what publishing its source would give.

Whether each is in the table of contents once, Sphinx says.
"""

from __future__ import annotations

from collections.abc import Iterator

from flatter_lib.publish import freshness, sources, twins
from flatter_lib.publish.checks.finding import Finding
from flatter_lib.publish.checks.notebooks import Twin, chapters, of_each, relative
from flatter_lib.publish.project import BookError, Project


def one_to_one(project: Project) -> list[Finding]:
    """Every source has a twin and the reverse, with nothing left over beside the twins."""
    found = []
    known = chapters(project)
    for chapter in known:
        if not chapter.source.is_file():
            cure = f"write it, or remove {chapter.slug} from book/chapters and _toc.yml"
            found.append(Finding(relative(project, chapter.source), "is missing", cure))
        if not chapter.twin.is_file():
            cure = f"execute it: flatter run {chapter.slug}"
            found.append(Finding(relative(project, chapter.twin), "was never executed", cure))
    expected = {path for c in known for path in (c.twin, c.provenance, c.values)}
    for path in sorted(project.executed.glob("[!.]*")):
        if path.is_file() and path not in expected:
            found.append(Finding(relative(project, path), "belongs to no chapter", "remove it"))
    return found


@of_each
def fresh(twin: Twin) -> Iterator[Finding]:
    """Every twin was executed from what its source, parameters and records are now.

    The library may have changed since: whether that changes anything, executing the chapter again will say.
    """
    source = twin.chapter.source
    try:
        reasons = freshness.state(twin.project, twin.chapter).reasons if source.is_file() else ()
    except BookError as error:
        what = f"cannot be compared with its twin: {error}"
        yield Finding(relative(twin.project, source), what, "mend it")
        return
    if reasons:
        what = f"is not fresh: {', '.join(reasons)}"
        yield Finding(twin.name, what, f"execute it again: {twin.again}")


def tidy(project: Project) -> list[Finding]:
    """Every source stands as JupyterLab would save it: whoever edits it there changes only what they edit."""
    found = []
    for chapter in chapters(project):
        if chapter.source.is_file():
            text = chapter.source.read_text(encoding="utf-8")
            try:
                same = sources.tidy(text) == text
            except Exception:  # what cannot be read is the finding of another check
                continue
            if not same:
                what = "is not as JupyterLab would save it"
                found.append(Finding(relative(project, chapter.source), what, "flatter format"))
    return found


@of_each
def equal(twin: Twin) -> Iterator[Finding]:
    """A twin is what publishing gives for its source and these outputs: unedited, in order, with no mark of its run."""
    try:
        source = sources.read(twin.chapter)
    except BookError:
        return
    cure = f"edit the source only, and let `{twin.again}` write the twin"
    kinds = [[cell.cell_type for cell in made.cells] for made in (twin.notebook, source)]
    if kinds[0] != kinds[1]:
        yield Finding(twin.name, "its cells are not those of its source", cure)
        return
    published = twins.weave(source, twin.notebook)
    differs = "differs in {} from what its source would give"
    if twin.notebook | {"cells": []} != published | {"cells": []}:
        yield Finding(twin.name, differs.format("metadata or front matter (`flatter:`)"), cure)
    for (ours, where), theirs in zip(twin.cells(), published.cells, strict=True):
        parts = [part for part in {**theirs, **ours} if ours.get(part) != theirs.get(part)]
        if parts:
            yield Finding(where, differs.format(" and ".join(parts)), cure)
