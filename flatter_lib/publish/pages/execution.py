"""How each chapter was executed: at the end of its page, and for all chapters in ``{execution-table}``."""

from __future__ import annotations

import json
import shutil
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

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
        """Make the table."""
        header = ("Chapter", "Executed", "Took", "Commit", "Device", "Threads", "Versions")
        chapters = Project(Path(self.env.srcdir)).chapters()
        rows = [TableRow(self._cells(chapter)) for chapter in chapters]
        return [table(header, rows, classes=["execution-table"])]

    def _cells(self, chapter: Chapter) -> list[list[nodes.Node]]:
        # A side file that is not there yet counts as changed, so the page is read again until it is.
        self.env.note_dependency(str(chapter.provenance))
        title = nodes.paragraph(
            "", "", link(self.env.docname, f"/{CHAPTERS}{chapter.slug}", chapter.title)
        )
        made = read(chapter)
        if made is None:
            return [[title], [text("not yet")], *([text("")] for _ in range(5))]
        return [
            [title],
            [text(when(made))],
            [text(duration(made))],
            [nodes.paragraph("", "", nodes.literal(text=commit(made))), *_modified(made)],
            [text(device(made))],
            [text(str(made.get("threads", "")))],
            [text(versions(made))],
        ]


def read(chapter: Chapter) -> dict[str, Any] | None:
    """The provenance of a chapter's twin; None if there is none."""
    try:
        made: dict[str, Any] = json.loads(chapter.provenance.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return made


def when(made: dict[str, Any]) -> str:
    """When a twin was executed, for people.

    Examples:
        >>> when({"executed": "2026-11-22T01:02:03Z"})
        '2026-11-22, 01:02 UTC'
    """
    day, _, clock = str(made.get("executed", "")).partition("T")
    return f"{day}, {clock[:5]} UTC"


def duration(made: dict[str, Any]) -> str:
    """How long it took.

    Examples:
        >>> duration({"seconds": 63.12}), duration({"seconds": 8.04}), duration({"seconds": 4000})
        ('63 s', '8.0 s', '67 min')
    """
    seconds = float(made.get("seconds", 0))
    if seconds < 10:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"


def commit(made: dict[str, Any]) -> str:
    """The commit that a twin was executed on, shortened; words where there was none.

    Examples:
        >>> commit({"commit": "0123456789abcdef0123456789abcdef01234567"})
        '0123456789'
        >>> commit({"commit": "not under version control"})
        'not under version control'
    """
    name = str(made.get("commit", ""))
    return name if " " in name else name[:10]


def device(made: dict[str, Any]) -> str:
    """What it ran on.

    Examples:
        >>> device({"device": "cpu", "machine": "Linux x86_64, 2 cores"})
        'cpu (Linux x86_64, 2 cores)'
    """
    machine = made.get("machine")
    return f"{made.get('device', 'cpu')} ({machine})" if machine else str(made.get("device", "cpu"))


def versions(made: dict[str, Any]) -> str:
    """The versions of Python and the packages.

    Examples:
        >>> versions({"versions": {"python": "3.11.7", "torch": "2.14.1"}})
        'python 3.11.7, torch 2.14.1'
    """
    return ", ".join(f"{name} {version}" for name, version in made.get("versions", {}).items())


def _modified(made: dict[str, Any]) -> list[nodes.Node]:
    return [text("with uncommitted changes", "modified")] if made.get("modified") else []


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
    made = read(chapter) if chapter else None
    if chapter and made and "body" in context:
        notebook = context["pathto"](f"_sources/{CHAPTERS}{chapter.twin.name}", resource=True)
        context["body"] += page_end(chapter, made, notebook)


def page_end(chapter: Chapter, made: dict[str, Any], notebook: str) -> str:
    """The end of a chapter's page, in HTML.

    Args:
        chapter: the chapter.
        made: its provenance.
        notebook: where its notebook can be downloaded.
    """
    changed = ", with uncommitted changes," if made.get("modified") else ""
    count = made.get("threads", 1)
    threads = "one thread" if count == 1 else f"{escape(str(count))} threads"
    links = {
        notebook: "the notebook, as executed",
        chapter.figures.name: "the numbers behind the figures",
        chapter.provenance.name: "this record",
    }
    if not chapter.figures.exists():
        del links[chapter.figures.name]
    listed = "".join(
        f'<li><a class="reference download internal" download href="{escape(href)}">{words}</a></li>'
        for href, words in links.items()
    )
    settings = "".join(
        f"<tr><th scope='row'><code>{escape(name)}</code></th><td><code>{escape(repr(value))}</code></td></tr>"
        for name, value in made.get("parameters", {}).items()
    )
    table_ = f"<table class='table'><tbody>{settings}</tbody></table>" if settings else ""
    return (
        '<footer class="provenance" aria-label="How this page was made">'
        f"<p>Executed {escape(when(made))} in {escape(duration(made))} on commit "
        f"<code>{escape(commit(made))}</code>{changed} on {escape(device(made))} with {threads}.</p>"
        f"<details><summary>Versions and parameters</summary><p>{escape(versions(made))}</p>{table_}</details>"
        f"<p>Download:</p><ul>{listed}</ul></footer>"
    )


def _copy_side_files(app: Sphinx, error: Exception | None) -> None:
    if error is not None or app.builder.format != "html":
        return
    target = Path(app.outdir) / CHAPTERS
    for chapter in Project(Path(app.srcdir)).chapters():
        for side in (chapter.provenance, chapter.figures):
            if side.exists() and target.is_dir():
                shutil.copyfile(side, target / side.name)
