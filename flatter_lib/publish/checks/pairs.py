"""Source and twin: one of each, and the twin what publishing its source would give.

Whether each is in the table of contents once, Sphinx says.
"""

from __future__ import annotations

from flatter_lib.publish import freshness, sources, twins
from flatter_lib.publish.checks.finding import Finding
from flatter_lib.publish.checks.notebooks import cell_at, chapters, executed, relative
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


def fresh(project: Project) -> list[Finding]:
    """Every twin was executed from what its source, parameters and records are now.

    The library may have changed since: whether that changes anything, executing the chapter again will say.
    """
    found = []
    for chapter, _ in executed(project):
        try:
            reasons = freshness.state(project, chapter).reasons if chapter.source.is_file() else ()
        except BookError as error:
            where = relative(project, chapter.source)
            found.append(Finding(where, f"cannot be compared with its twin: {error}", "mend it"))
            continue
        if reasons:
            cure = f"execute it again: flatter run {chapter.slug}"
            where = relative(project, chapter.twin)
            found.append(Finding(where, f"is not fresh: {', '.join(reasons)}", cure))
    return found


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


def equal(project: Project) -> list[Finding]:
    """A twin is what publishing gives for its source and these outputs: unedited, in order, with no mark of its run."""
    found = []
    for chapter, twin in executed(project):
        try:
            source = sources.read(chapter)
        except BookError:
            continue
        cure = f"edit the source only, and let `flatter run {chapter.slug}` write the twin"
        where = relative(project, chapter.twin)
        kinds = [[cell.cell_type for cell in notebook.cells] for notebook in (twin, source)]
        if kinds[0] != kinds[1]:
            found.append(Finding(where, "its cells are not those of its source", cure))
            continue
        published = twins.weave(source, twin)
        if twin | {"cells": []} != published | {"cells": []}:
            what = (
                "differs in metadata or front matter (`flatter:`) from what its source would give"
            )
            found.append(Finding(where, what, cure))
        for index, (ours, theirs) in enumerate(zip(twin.cells, published.cells, strict=True)):
            parts = [part for part in {**theirs, **ours} if ours.get(part) != theirs.get(part)]
            if parts:
                what = f"differs in {' and '.join(parts)} from what its source would give"
                found.append(Finding(cell_at(project, chapter, twin, index), what, cure))
    return found
