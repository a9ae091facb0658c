"""Source and twin: one of each, each in the table of contents once, and the twin what the source would give."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from nbformat import NotebookNode

from flatter_lib.publish import freshness, sources, twins
from flatter_lib.publish.checks.finding import Finding
from flatter_lib.publish.checks.notebooks import cell_at, chapters, executed, relative
from flatter_lib.publish.project import BookError, Chapter, Project


def one_to_one(project: Project) -> list[Finding]:
    """Every source has a twin and the reverse, with nothing left over, and each is in ``_toc.yml`` exactly once."""
    found = []
    named = Counter(project.toc_files())
    for chapter in chapters(project):
        page = relative(project, chapter.twin.with_suffix(""))
        if not chapter.source.is_file():
            cure = f"write it, or remove {chapter.slug} from book/chapters and _toc.yml"
            found.append(Finding(relative(project, chapter.source), "is missing", cure))
        if not chapter.twin.is_file():
            cure = f"execute it: flatter run {chapter.slug}"
            found.append(Finding(relative(project, chapter.twin), "was never executed", cure))
        if named[page] != 1:
            times = f"{named[page]} times" if named[page] else "not"
            found.append(Finding("_toc.yml", f"{page} is {times} in it", "name it exactly once"))
    for page, count in named.items():
        if count > 1 and not page.startswith("book/chapters/"):
            what = f"{page} is {count} times in it"
            found.append(Finding("_toc.yml", what, "name it exactly once"))
    return [*found, *_left_over(project)]


def fresh(project: Project) -> list[Finding]:
    """Every twin was executed from what its source, parameters and records are now.

    The library may have changed since: whether that changes anything, executing the chapter again will say.
    """
    found = []
    for chapter in _whole(project):
        try:
            reasons = freshness.state(project, chapter).reasons
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


def equal_cells(project: Project) -> list[Finding]:
    """A twin's cells are its source's: kind, text and metadata, in order."""
    found = []
    for chapter, twin in executed(project):
        try:
            source = sources.read(chapter)
        except BookError:
            continue
        cure = f"edit the source only, then: flatter run {chapter.slug}"
        where = relative(project, chapter.twin)
        if len(source.cells) != len(twin.cells):
            what = f"has {len(twin.cells)} cells, its source {len(source.cells)}"
            found.append(Finding(where, what, cure))
        if source.metadata.get("flatter", {}) != twin.metadata.get("flatter", {}):
            what = (
                "profiles or records (`flatter:`) are not those in the front matter of its source"
            )
            found.append(Finding(where, what, cure))
        for index, (ours, theirs) in enumerate(zip(source.cells, twin.cells, strict=False)):
            if differing := [part for part, a, b in _parts(ours, theirs) if a != b]:
                what = f"its {' and '.join(differing)} differ from the source's"
                found.append(Finding(cell_at(project, chapter, twin, index), what, cure))
    return found


def clean(project: Project) -> list[Finding]:
    """A twin holds no mark of its run: cleaning it again changes nothing but, at most, the count of executions."""
    return [
        finding for chapter, twin in executed(project) for finding in _marks(project, chapter, twin)
    ]


def _marks(project: Project, chapter: Chapter, twin: NotebookNode) -> Iterator[Finding]:
    cleaned, _ = twins.clean(twin)
    cure = f"let `flatter run {chapter.slug}` write it"
    if twin.metadata != cleaned.metadata or twin.nbformat_minor != cleaned.nbformat_minor:
        what = "its own metadata are not those of a published twin"
        yield Finding(relative(project, chapter.twin), what, cure)
    for index, (ours, plain) in enumerate(zip(twin.cells, cleaned.cells, strict=True)):
        where = cell_at(project, chapter, twin, index)
        if ours.id != plain.id:
            yield Finding(where, f"its id {ours.id} is not the stable one, {plain.id}", cure)
        if ours.metadata != plain.metadata:
            kept = ", ".join(sorted(set(ours.metadata) - set(plain.metadata)))
            yield Finding(where, f"its metadata hold marks of a run ({kept})", cure)
        if _counted_alike(ours) != _counted_alike(plain):
            held = bool(twins.values_of(ours, ours.outputs))
            what = "its values are still in its output" if held else "its outputs are not cleaned"
            yield Finding(where, what, cure)


def _counted_alike(cell: NotebookNode) -> list[dict[str, object]]:
    """The outputs without the count of executions, which is a check of its own."""
    return [{k: v for k, v in o.items() if k != "execution_count"} for o in cell.get("outputs", [])]


def _parts(ours: NotebookNode, theirs: NotebookNode) -> Iterator[tuple[str, object, object]]:
    yield "kind", ours.cell_type, theirs.cell_type
    yield "text", ours.source, theirs.source
    yield "metadata", twins.kept_metadata(ours), twins.kept_metadata(theirs)


def _left_over(project: Project) -> Iterator[Finding]:
    expected = {
        path
        for chapter in chapters(project)
        for path in (chapter.twin, chapter.provenance, chapter.values)
    }
    for path in sorted(project.executed.glob("*")):
        if path.is_file() and not path.name.startswith(".") and path not in expected:
            yield Finding(relative(project, path), "belongs to no chapter", "remove it")


def _whole(project: Project) -> list[Chapter]:
    return [c for c in chapters(project) if c.source.is_file() and c.twin.is_file()]
