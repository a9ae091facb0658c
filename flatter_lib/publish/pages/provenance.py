"""The record of how a chapter was executed, in words: its parts, and the end of the chapter's page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from typing import Any

from flatter_lib import machine
from flatter_lib.publish.project import Chapter

Record = dict[str, Any]


def read(chapter: Chapter) -> Record | None:
    """The record beside a chapter's twin; None if there is none."""
    try:
        made: Record = json.loads(chapter.provenance.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return made


def when(made: Record) -> str:
    """When a twin was executed.

    Examples:
        >>> when({"executed": "2026-11-22T01:02:03Z"})
        '2026-11-22, 01:02 UTC'
    """
    day, _, clock = str(made["executed"]).partition("T")
    return f"{day}, {clock[:5]} UTC"


def duration(made: Record) -> str:
    """How long it took.

    Examples:
        >>> duration({"seconds": 63.12}), duration({"seconds": 8.04}), duration({"seconds": 4000})
        ('63 s', '8.0 s', '67 min')
    """
    seconds = float(made["seconds"])
    if seconds < 10:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"


def commit(made: Record) -> str:
    """The commit that a twin was executed on, shortened; words where there was none.

    Examples:
        >>> commit({"commit": "0123456789abcdef0123456789abcdef01234567"})
        '0123456789'
        >>> commit({"commit": "not under version control"})
        'not under version control'
    """
    name = str(made["commit"])
    return name if " " in name else name[:10]


def device(made: Record) -> str:
    """What it ran on.

    Examples:
        >>> device({"device": "cpu", "machine": "Linux x86_64, 2 cores"})
        'cpu (Linux x86_64, 2 cores)'
    """
    return f"{made['device']} ({machine.short(str(made['machine']))})"


def versions(made: Record) -> str:
    """The versions of Python and the packages.

    Examples:
        >>> versions({"versions": {"python": "3.11.7", "torch": "2.14.1"}})
        'python 3.11.7, torch 2.14.1'
    """
    return ", ".join(f"{name} {version}" for name, version in made["versions"].items())


def page_end(chapter: Chapter, made: Record, notebook: str) -> str:
    """The end of a chapter's page, in HTML.

    Args:
        chapter: the chapter.
        made: its record.
        notebook: where its notebook can be downloaded, seen from its page.
    """
    name = commit(made)
    changes = " with uncommitted changes" if made["modified"] else ""
    on = escape(name) if " " in name else f"on commit <code>{escape(name)}</code>{changes}"
    threads = "one thread" if made["threads"] == 1 else f"{escape(str(made['threads']))} threads"
    return (
        '<footer class="provenance" aria-label="How this page was made">'
        f"<p>Executed {when(made)} in {duration(made)}, {on}, on {escape(device(made))}, with {threads}. "
        "The page shows that execution and nothing else.</p>"
        f"<ul>{''.join(_downloads(chapter, notebook))}</ul>"
        f"<details><summary>Versions and parameters</summary><p>{escape(versions(made))}</p>"
        f"<dl>{''.join(_parameters(made))}</dl></details></footer>"
    )


def _downloads(chapter: Chapter, notebook: str) -> Iterator[str]:
    links = [(notebook, "notebook, as executed"), (chapter.provenance.name, "this record (JSON)")]
    if chapter.values.exists():
        links.insert(1, (chapter.values.name, "its values, with their tolerances (JSON)"))
    for href, words in links:
        yield f'<li><a class="reference download internal" href="{escape(href)}" download>{words}</a></li>'


def _parameters(made: Record) -> Iterator[str]:
    for name, value in made["parameters"].items():
        yield f"<div><dt><code>{escape(name)}</code></dt><dd><code>{escape(repr(value))}</code></dd></div>"
