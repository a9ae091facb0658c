"""How each chapter was executed: at the end of its page, and for all chapters in ``{execution-table}``."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from flatter_lib.publish.pages import provenance
from flatter_lib.publish.pages.markup import TableRow, link, table, text
from flatter_lib.publish.project import Chapter, Project

CHAPTERS = "book/chapters/"


def setup(app: Sphinx) -> None:
    """Register the table and the end of each chapter's page."""
    app.add_directive("execution-table", ExecutionTable)
    app.connect("source-read", _depend_on_provenance)
    app.connect("html-page-context", _end_page)
    app.connect("build-finished", _copy_side_files)


class ExecutionTable(SphinxDirective):
    """``{execution-table}``: every chapter with when, where and with what it was executed."""

    def run(self) -> list[nodes.Node]:
        """Make the table, and below it the versions, once for all chapters that share them."""
        chapters = Project(Path(self.env.srcdir)).chapters()
        for chapter in chapters:
            # A record that is not there yet counts as changed, so the page is read again until it is.
            self.env.note_dependency(str(chapter.provenance))
        records = {chapter: provenance.read(chapter) for chapter in chapters}
        header = ("Chapter", "Executed", "Took", "Commit", "Device", "Threads")
        rows = [TableRow(self._cells(chapter, made)) for chapter, made in records.items()]
        return [table(header, rows, classes=["execution-table"]), *_versions(records)]

    def _cells(self, chapter: Chapter, made: provenance.Record | None) -> list[list[nodes.Node]]:
        target = f"/{CHAPTERS}{chapter.slug}"
        title = nodes.paragraph("", "", link(self.env.docname, target, chapter.title))
        if made is None:
            return [[title], [text("not yet")], *([text("–")] for _ in range(4))]
        on = [nodes.paragraph("", "", nodes.literal(text=provenance.commit(made)))]
        if made.get("modified"):
            on.append(text("with uncommitted changes"))
        return [
            [title],
            [text(provenance.when(made))],
            [text(provenance.duration(made))],
            on,
            [text(provenance.device(made))],
            [text(str(made.get("threads", "")))],
        ]


def _versions(records: dict[Chapter, provenance.Record | None]) -> list[nodes.Node]:
    chapters_with: dict[str, list[str]] = {}
    for chapter, made in records.items():
        if made is not None:
            chapters_with.setdefault(provenance.versions(made), []).append(chapter.title)
    if len(chapters_with) == 1:
        return [text(f"Every chapter was executed with {next(iter(chapters_with))}.")]
    return [text(f"{'; '.join(names)}: {found}.") for found, names in chapters_with.items()]


def _chapter(app: Sphinx, docname: str) -> Chapter | None:
    if not docname.startswith(CHAPTERS):
        return None
    return Project(Path(app.srcdir)).chapter_paths(docname.removeprefix(CHAPTERS))


def _depend_on_provenance(app: Sphinx, docname: str, content: list[str]) -> None:
    if chapter := _chapter(app, docname):
        app.env.note_dependency(str(chapter.provenance))


def _end_page(
    app: Sphinx,
    pagename: str,
    template: str,
    context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    chapter = _chapter(app, pagename)
    made = provenance.read(chapter) if chapter else None
    if chapter and made and "body" in context:
        notebook = context["pathto"](f"_sources/{CHAPTERS}{chapter.twin.name}", resource=True)
        context["body"] += provenance.page_end(chapter, made, notebook)


def _copy_side_files(app: Sphinx, error: Exception | None) -> None:
    target = Path(app.outdir) / CHAPTERS
    if error is not None or not target.is_dir():
        return
    for chapter in Project(Path(app.srcdir)).chapters():
        for side in (chapter.provenance, chapter.values):
            if side.exists():
                shutil.copyfile(side, target / side.name)
