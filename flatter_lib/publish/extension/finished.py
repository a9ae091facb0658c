"""Finished pages, read again to be completed: what a page shows of others is known only when all are written.

A page is text here, and a part of it is found by its ``id``. What is put in stands between marks, so that a page that a
second build left alone gets it anew.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path

from sphinx.application import Sphinx

_LINK = re.compile(r'<a class="reference internal"[^>]*? href="([^"#]*)#([^"]+)"')
#: A term of the glossary: its ``id``, and its words.
TERM = re.compile(r'<dt id="(term-[^"]+)">(.*?)<a class="headerlink"')
_TAG = re.compile(r"<(/?)(\w+)[^>]*>")


@dataclass
class Pages:
    """The pages in a folder of a build, as text by their names from there."""

    folder: Path
    texts: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> Pages:
        """Every page of the book."""
        names = [*(folder / "book").rglob("*.html"), folder / "search.html"]
        texts = {
            path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8")
            for path in sorted(names)
            if path.is_file()
        }
        return cls(folder, texts)

    def own(self, name: str) -> str:
        """A page without what it shows of others."""
        return re.sub(r"<template\b.*?</template>", "", self.texts[name], flags=re.DOTALL)

    def links(self, name: str) -> list[tuple[str, str, str]]:
        """A page's links to parts of pages: as written, the page that is meant, and the part's ``id``."""
        base = (self.folder / name).parent
        found = []
        for file, anchor in dict.fromkeys(_LINK.findall(self.own(name))):
            target = (base / file).resolve() if file else self.folder / name
            if target.is_relative_to(self.folder):
                there = target.relative_to(self.folder).as_posix()
                found.append((f"{file}#{anchor}", there, anchor))
        return found

    def part(self, name: str, anchor: str) -> str:
        """The element of a page that has an ``id``; empty if none has.

        Examples:
            >>> text = '<p>a</p><div class="b" id="c"><div>d</div></div><p>e</p>'
            >>> Pages(Path(), {"f": text}).part("f", "c")
            '<div class="b" id="c"><div>d</div></div>'
        """
        text = self.texts.get(name, "")
        begin = re.search(rf'<(\w+)[^>]* id="{re.escape(anchor)}"[^>]*>', text)
        if begin is None:
            return ""
        depth = 0
        for tag in _TAG.finditer(text, begin.start()):
            if tag[2] == begin[1]:
                depth += -1 if tag[1] else 1
                if depth == 0:
                    return text[begin.start() : tag.end()]
        return ""

    def put(self, name: str, mark: str, content: str, before: str) -> None:
        """Put something into a page, in place of what stands there under the same mark."""
        text = re.sub(rf"<!--{mark}-->.*?<!--/{mark}-->", "", self.texts[name], flags=re.DOTALL)
        place = text.rindex(before)
        marked = f"<!--{mark}-->{content}<!--/{mark}-->" if content else ""
        self.texts[name] = text[:place] + marked + text[place:]

    def write(self) -> None:
        """Write the pages that changed."""
        for name, text in self.texts.items():
            path = self.folder / name
            if path.read_text(encoding="utf-8") != text:
                path.write_text(text, encoding="utf-8")


def plain(html: str) -> str:
    """The words of a piece of a page."""
    return " ".join(unescape(re.sub(r"<[^>]*>", "", html)).split())


def when_written(
    app: Sphinx, complete: Callable[[Sphinx, Pages], None], *, early: bool = False
) -> None:
    """Have pages completed when all are written; early what others then look at."""

    def finished(app: Sphinx, error: Exception | None) -> None:
        if error is None and app.builder.name == "html":
            pages = Pages.read(Path(app.outdir))
            complete(app, pages)
            pages.write()

    # After the leftovers of a former build are gone.
    app.connect("build-finished", finished, priority=800 if early else 900)
