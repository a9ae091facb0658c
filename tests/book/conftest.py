"""A healthy little book and its built pages, for tests that break one thing in it."""

from __future__ import annotations

import copy
import functools
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import nbformat
import pytest
from matplotlib.figure import Figure
from nbformat import NotebookNode

from flatter_lib import claims, figures
from flatter_lib.files import replace_json, replace_text
from flatter_lib.publish import freshness, hygiene, sources, twins
from flatter_lib.publish.checks import built
from flatter_lib.publish.checks.finding import Finding
from flatter_lib.publish.project import Chapter, Project
from flatter_lib.values import glue

from ..publish.conftest import HEADER

SLUG = "falling-water"

TOC = """\
format: jb-book
root: book/index
parts:
  - caption: Chapters
    chapters:
      - file: book/chapters/falling-water
"""

INDEX = "# A little book\n\nRead {doc}`chapters/falling-water`.\n"

FRONT = HEADER.replace("smoke: {runs: 2}", "smoke: {drops: 2}\n  records: [drops.json]")

SOURCE = (
    FRONT
    + """
# Falling water

How long does a drop fall? It takes {glue:text}`fall-time`.

```{code-cell} ipython3
:tags: [parameters]

drops: int = 3  # how many drops
pace: float = 0.125  # metres between them
```

```{code-cell} ipython3
from flatter_lib import figures
from myst_nb import glue
```

```{code-cell} ipython3
---
mystnb:
  image:
    alt: A parabola that opens downwards, with three drops marked on it.
  figure:
    name: fig-fall
    caption: |
      Height against time, as Newton has it.
---
figures.show(draw(drops), {"time": [0, 1, 2], "height": [1, 0.5, 0]})
```

```{code-cell} ipython3
glue("fall-time", "{:.2f}", 0.45)
claims.record("free-fall", 0.45, 0.44, 0.46, runs=3, scale="laptop")
print("drops", drops)
```
"""
)

CLAIMS = """\
- id: free-fall
  paper: this book
  place: Section 1
  statement: a drop falls one metre in $0.45$ s
  measured: the time of fall
  expect: {equals: 0.45, tolerance: 0.02}
"""

SVG = '<svg xmlns="http://www.w3.org/2000/svg" id="figure_1"><path d="M 0 0 L 12:30:45 1.2 s"/></svg>\n'
COLUMNS = {"time": [0.0, 1.0, 2.0], "height": [1.0, 0.5, 0.0]}


def write(root: Path, files: Mapping[str, str]) -> None:
    """Files in a folder, by their names from there."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")


def displayed(show: Callable[..., object], *args: Any, **settings: Any) -> NotebookNode:
    """What a kernel sends for what a call shows."""
    with (
        mock.patch("IPython.core.getipython.get_ipython"),
        mock.patch("IPython.display.display") as display,
    ):
        show(*args, **settings)
    (data,), sent = display.call_args
    return nbformat.v4.new_output("display_data", data, metadata=sent["metadata"])


@functools.cache
def outputs() -> list[list[NotebookNode]]:
    """What the kernel would answer to each code cell of the chapter."""
    figure = displayed(figures.show, Figure(), COLUMNS)
    figure.data["image/svg+xml"] = SVG
    glued = displayed(glue, "fall-time", "{:.2f}", 0.45)
    row = displayed(claims.record, "free-fall", 0.45, 0.44, 0.46, runs=3, scale="laptop")
    return [[], [], [figure], [glued, row, nbformat.v4.new_output("stream", text="drops 3\n")]]


@dataclass(frozen=True)
class Book:
    """A book in a folder of its own, and ways to break it."""

    project: Project

    @property
    def chapter(self) -> Chapter:
        """Its only chapter."""
        return self.project.chapter_paths(SLUG)

    def path(self, name: str) -> Path:
        """A file of the book."""
        return self.project.root / name

    def execute(self) -> None:
        """Make the chapter's twin, as a kernel and publishing would."""
        notebook = sources.read(self.chapter)
        for cell, shown in zip(sources.code_cells(notebook), outputs(), strict=False):
            cell.outputs, cell.execution_count = copy.deepcopy(shown), 1
        twin, published = twins.clean(notebook)
        replace_json(self.chapter.values, published)
        replace_text(self.chapter.twin, nbformat.writes(twin) + "\n")
        self.stamp()

    def stamp(self) -> None:
        """Make the twin pass for fresh."""
        inputs = freshness.inputs(self.project, self.chapter)
        replace_json(
            self.chapter.provenance, {"inputs": inputs, "executed": "2026-11-22T00:00:00Z"}
        )

    def tidy(self) -> None:
        """Write the chapter's source as JupyterLab would."""
        text = self.chapter.source.read_text(encoding="utf-8")
        self.chapter.source.write_text(sources.tidy(text), encoding="utf-8")

    def reports(self, *only: str) -> dict[str, list[str]]:
        """The lines of each check of sources and twins, by ``module.check``; silent ones are left out."""
        checks = [c for c in hygiene.BEFORE_BUILD if not only or name_of(c) in only]
        return _lines({check: check(self.project) for check in checks})


@dataclass(frozen=True)
class Site:
    """Built pages: one with a drawing, a formula and links, and one that it leads to."""

    html: Path

    def add(self, html: str, before: str = "</article>") -> None:
        """Put a piece of HTML before the end of a part of the page."""
        text = (self.html / PAGE).read_text(encoding="utf-8")
        write(self.html, {PAGE: text.replace(before, html + before)})

    def reports(self) -> dict[str, list[str]]:
        """The lines of each check of the pages, by ``module.check``; silent ones are left out."""
        pages = built.read(self.html)
        return _lines({check: check(pages) for check in hygiene.AFTER_BUILD})


def _lines(findings: dict[Callable[..., object], list[Finding]]) -> dict[str, list[str]]:
    """Where and what, by the check; each finding also says what to do."""
    assert all(finding.cure for found in findings.values() for finding in found)
    return {
        name_of(check): [f"{f.where}: {f.what}" for f in found]
        for check, found in findings.items()
        if found
    }


def name_of(check: Callable[..., object]) -> str:
    """A check as ``module.check``."""
    return f"{check.__module__.rpartition('.')[2]}.{check.__name__}"


@pytest.fixture(scope="session")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a book in which nothing is wrong, to copy."""
    folder = tmp_path_factory.mktemp("healthy")
    files = {
        "_toc.yml": TOC,
        "README.md": "# A little book\n\nSee https://example.org/home/page, or `$HOME/book`.\n",
        "book/index.md": INDEX,
        f"book/source/{SLUG}.md": SOURCE,
        "book/claims/falling-water.yml": CLAIMS,
        "book/results/drops.json": "{}\n",
        "flatter_lib/__init__.py": "",
        "flatter_lib/figures.py": "WIDTH = 7\n",
    }
    write(folder, files)
    made = Book(Project(folder))
    made.tidy()
    made.execute()
    return folder


@pytest.fixture
def book(healthy: Path, tmp_path: Path) -> Book:
    """A book in which nothing is wrong yet."""
    shutil.copytree(healthy, tmp_path, dirs_exist_ok=True)
    return Book(Project(tmp_path))


PAGE = "book/chapters/falling-water.html"
PAGES = {
    "index.html": '<meta http-equiv="Refresh" content="0; url=book/index.html" />',
    "book/index.html": '<h1 id="a">A</h1><a href="chapters/falling-water.html#fig-fall">Fall</a>',
    PAGE: """\
<head><link rel="canonical" href="https://example.org/page.html" />
<link rel="preload" as="font" href="../../_static/font.woff2" />
<link rel="stylesheet" href="../../_static/style.css?v=12" />
<style>body { background: url("data:image/png;base64,AA//BB==") }</style>
<script src="../../_static/draw-all.js"></script>
<script>const home = "https://example.org/";</script></head>
<nav><a href="../index.html#top"><img src="../../_static/logo.svg" alt="" /></a></nav>
<article id="top-of-page"><span class="math notranslate"><math><mi>t</mi></math></span>
<figure id="fig-fall"><img alt="A parabola that opens downwards." src="../../_images/fall.svg" /></figure>
<a href="#fig-fall">Fig. 1</a>, <a href="../index.html?highlight=x">all</a>, <a href="https://example.org/x.js">
elsewhere</a>, <a href="mailto:galileo@example.org">a letter</a>, <a href="../../_sources/falling%20water.txt">
the source</a></article>
""",
    "_static/style.css": '@font-face { src: url("./font.woff2?v=1") } a { color: red }',
    "_static/draw-all.js": 'import { draw } from "./draw.js";',
    "_static/macros.html": '<script src="https://example.org/never-a-page.js"></script>',
    "_static/font.woff2": "",
    "_static/logo.svg": "",
    "_images/fall.svg": SVG,
    "_sources/falling water.txt": "",
}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Pages with nothing wrong in them."""
    write(tmp_path / "html", PAGES)
    return Site(tmp_path / "html")
