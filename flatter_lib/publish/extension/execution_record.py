"""How each chapter was executed: at the end of its page, and for all chapters in ``{execution-table}``."""

from __future__ import annotations

import shutil
from html import escape
from itertools import starmap
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from flatter_lib import machine
from flatter_lib.publish.extension.markup import Cell, link, table, text
from flatter_lib.publish.project import Chapter, Project
from flatter_lib.publish.provenance import stored

CHAPTERS = "book/chapters/"
_DOWNLOAD = '<li><a class="reference download internal" href="{}" download>{}</a></li>'
_PARAMETER = "<div><dt><code>{}</code></dt><dd><code>{}</code></dd></div>"
#: What :func:`flatter_lib.publish.provenance.describe` wrote; empty for a chapter that was never executed.
Record = dict[str, Any]


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
        records = {chapter: stored(chapter) for chapter in chapters}
        header = ("Chapter", "Executed", "Took", "Commit", "Device", "Threads")
        rows = [self._cells(chapter, made) for chapter, made in records.items()]
        with_versions: dict[str, list[str]] = {}
        for chapter, made in records.items():
            if made:
                with_versions.setdefault(_versions(made), []).append(chapter.title)
        lines = [f"{'; '.join(titles)}: {found}." for found, titles in with_versions.items()]
        if len(with_versions) == 1:
            lines = [f"Every chapter was executed with {next(iter(with_versions))}."]
        return [table(header, rows, name="execution-table"), *map(text, lines)]

    def _cells(self, chapter: Chapter, made: Record) -> list[Cell]:
        title = link(self.env.docname, f"/{CHAPTERS}{chapter.slug}", chapter.title)
        if not made:
            return [title, "not yet", *"––––"]
        commit = [
            nodes.literal(text=_commit(made)),
            *["with uncommitted changes"] * made["modified"],
        ]
        took = duration(made["seconds"])
        return [title, _when(made), took, commit, _device(made), str(made["threads"])]


def duration(seconds: float) -> str:
    """How long an execution took, in words.

    Examples:
        >>> duration(63.12), duration(8.04), duration(4000)
        ('63 s', '8.0 s', '67 min')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"


def _when(made: Record) -> str:
    day, _, clock = str(made["executed"]).partition("T")
    return f"{day}, {clock[:5]} UTC"


def _commit(made: Record) -> str:
    """The commit, shortened; words where there was none."""
    name = str(made["commit"])
    return name if " " in name else name[:10]


def _device(made: Record) -> str:
    return f"{made['device']} ({machine.short(str(made['machine']))})"


def _versions(made: Record) -> str:
    return ", ".join(f"{name} {version}" for name, version in made["versions"].items())


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
    made = stored(chapter) if chapter else {}
    if chapter and made and "body" in context:
        notebook = context["pathto"](f"_sources/{CHAPTERS}{chapter.twin.name}", resource=True)
        context["body"] += _page_end(chapter, made, notebook)


def _page_end(chapter: Chapter, made: Record, notebook: str) -> str:
    name = _commit(made)
    changes = " with uncommitted changes" if made["modified"] else ""
    on = escape(name) if " " in name else f"on commit <code>{escape(name)}</code>{changes}"
    threads = "one thread" if made["threads"] == 1 else f"{escape(str(made['threads']))} threads"
    links = (
        (escape(notebook), "notebook, as executed"),
        (chapter.values.name, "its values, with their tolerances (JSON)"),
        (chapter.provenance.name, "this record (JSON)"),
    )
    parameters = [(escape(n), escape(repr(value))) for n, value in made["parameters"].items()]
    return (
        '<footer class="provenance" aria-label="How this page was made">'
        f"<p>Executed {_when(made)} in {duration(made['seconds'])}, {on}, on {escape(_device(made))}, with {threads}. "
        "The page shows that execution and nothing else.</p>"
        f"<ul>{''.join(starmap(_DOWNLOAD.format, links))}</ul>"
        f"<details><summary>Versions and parameters</summary><p>{escape(_versions(made))}</p>"
        f"<dl>{''.join(starmap(_PARAMETER.format, parameters))}</dl></details></footer>"
    )


def _copy_side_files(app: Sphinx, error: Exception | None) -> None:
    target = Path(app.outdir) / CHAPTERS
    if error is not None or not target.is_dir():
        return
    for chapter in Project(Path(app.srcdir)).chapters():
        for side in (chapter.provenance, chapter.values):
            if side.exists():
                shutil.copyfile(side, target / side.name)
