"""A healthy little book and its built pages, for tests that break one thing in it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat import NotebookNode

from flatter_lib import values
from flatter_lib.publish import freshness, hygiene, sources, twins
from flatter_lib.publish.files import replace_json, replace_text
from flatter_lib.publish.hygiene import Finding
from flatter_lib.publish.project import Chapter, Project
from flatter_lib.values import PRINTED, Estimate, Tolerance

SLUG = "falling-water"

TOC = """\
format: jb-book
root: book/index
parts:
  - caption: Chapters
    chapters:
      - file: book/chapters/falling-water
  - caption: Back matter
    chapters:
      - file: book/references
"""

INDEX = "# A little book\n\nAfter {cite:p}`galilei1638`. Read {doc}`chapters/falling-water`.\n"
REFERENCES = "# References\n\n```{bibliography}\n```\n"
BIBLIOGRAPHY = """\
@book{galilei1638,
  title = {Discorsi e dimostrazioni matematiche},
  author = {Galilei, Galileo},
  publisher = {Elsevier},
  year = {1638}
}

@book{newton1687,
  title = {Philosophiae Naturalis Principia Mathematica},
  author = {Newton, Isaac},
  publisher = {Royal Society},
  year = {1687}
}
"""

SOURCE = """\
---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3
  language: python
  name: python3
flatter:
  profiles:
    smoke: {drops: 2}
  records: [drops.json]
---

# Falling water

How long does a drop fall? {cite:t}`newton1687` and {cite}`galilei1638` say $0.4515$ s for one metre.
Python 3.11 computed it with a pace of 0.125 ([a table](https://example.org/0.4567), arXiv 2210.16400).

```{code-cell} ipython3
:tags: [parameters]

drops: int = 3  # how many drops
pace: float = 0.125  # metres between them
```

```{code-cell} ipython3
from flatter_lib import figures
from myst_nb import glue
```

:::{prf:theorem} Free fall, {cite}`galilei1638`
:label: free-fall

The height falls by $g t^2 / 2$, {glue:text}`fall-time` after the start.
:::

```{code-cell} ipython3
---
mystnb:
  image:
    alt: A parabola that opens downwards, with three drops marked on it.
  figure:
    name: fig-fall
    caption: |
      Height against time, as {cite}`newton1687` has it.
---
figures.show(draw(drops), {"time": [0, 1, 2], "height": [1, 0.5, 0]})
```

```{code-cell} ipython3
glue("fall-time", "{:.2f}", 0.45)
claims.record("free-fall", 0.45, 0.44, 0.46, runs=3, scale="laptop")
print("drops", drops)
```
"""

CLAIMS = """\
- id: free-fall
  paper: newton1687
  place: Section 1
  statement: a drop falls one metre in $0.45$ s, as {cite}`galilei1638` found
  measured: the time of fall
  expect: {equals: 0.45, tolerance: 0.02}
- id: free-rise
  paper: this book
  place: Section 2
  statement: it would rise as fast
  untested: nobody has seen it
"""

SVG = '<svg xmlns="http://www.w3.org/2000/svg" id="figure_1"><path d="M 0 0 L 12:30:45 1.2 s"/></svg>\n'
COLUMNS = {"time": [0.0, 1.0, 2.0], "height": [1.0, 0.5, 0.0]}


def display(data: dict[str, str], **metadata: Any) -> NotebookNode:
    """What a kernel sends for a displayed object."""
    return nbformat.v4.new_output("display_data", data=data, metadata=metadata)


def stream(text: str, name: str = "stdout") -> NotebookNode:
    """What a kernel sends for printed text."""
    return nbformat.v4.new_output("stream", name=name, text=text)


def outputs() -> list[list[NotebookNode]]:
    """What the kernel would answer to each code cell of the chapter, as figures.show and claims.record shape it."""
    tolerance = Tolerance("figure", rtol=1e-6)
    figure = [values.column(name, numbers, tolerance) for name, numbers in COLUMNS.items()]
    prefix = "application/papermill.record/"
    row = values.estimate("free-fall", Estimate(0.45, 0.44, 0.46), PRINTED)
    row["where"] = {"runs": 3, "scale": "laptop"}
    glued = {"name": "fall-time", "words": "{:.2f}", "numbers": [0.45], "kind": "printed digits"}
    return [
        [],
        [],
        [
            display(
                {"image/svg+xml": SVG, "text/plain": "<figure: time (3), height (3)>"},
                flatter={"role": "figure", "values": figure},
            )
        ],
        [
            display(
                {f"{prefix}text/plain": "'0.45'"},
                scrapbook={"name": "fall-time", "mime_prefix": prefix},
                flatter={"role": "glue", "values": [glued | {"atol": [0.005]}]},
            ),
            display(
                {"text/plain": "claim free-fall: 0.450 [0.440, 0.460] (runs=3, scale=laptop)"},
                flatter={"role": "claim", "values": [row]},
            ),
            stream("drops 3\n"),
        ],
    ]


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

    def replace(self, name: str, old: str, new: str) -> None:
        """Change a text that stands in a file exactly once or more."""
        text = self.path(name).read_text(encoding="utf-8")
        assert old in text, f"{old!r} is not in {name}"
        self.path(name).write_text(text.replace(old, new), encoding="utf-8")

    def execute(self) -> None:
        """Make the chapter's twin, as a kernel and publishing would."""
        notebook = sources.read(self.chapter)
        for cell, shown in zip(sources.code_cells(notebook), outputs(), strict=False):
            cell.outputs, cell.execution_count = shown, 1
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

    def edit_source(self, old: str, new: str) -> None:
        """Change the chapter's source and execute it."""
        self.replace(f"book/source/{SLUG}.md", old, new)
        self.tidy()
        self.execute()

    def tidy(self) -> None:
        """Write the chapter's source as JupyterLab would."""
        text = self.chapter.source.read_text(encoding="utf-8")
        self.chapter.source.write_text(sources.tidy(text), encoding="utf-8")

    def edit_twin(
        self, change: Callable[[list[NotebookNode]], object], *, clean: bool = False
    ) -> None:
        """Change the code cells of the twin; ``clean``: and publish it as cleaned."""
        twin = nbformat.read(self.chapter.twin, as_version=4)
        change(sources.code_cells(twin))
        twin = twins.clean(twin)[0] if clean else twin
        replace_text(self.chapter.twin, nbformat.writes(twin) + "\n")

    def edit_values(self, change: Callable[[dict[str, Any]], object]) -> None:
        """Change the published values."""
        published = json.loads(self.chapter.values.read_text(encoding="utf-8"))
        change(published)
        replace_json(self.chapter.values, published)

    def reports(self) -> dict[str, list[Finding]]:
        """What each check of sources and twins has to say, by ``module.check``; silent ones are left out."""
        found = {_name(check): check(self.project) for check in hygiene.BEFORE_BUILD}
        return {name: findings for name, findings in found.items() if findings}


@dataclass(frozen=True)
class Site:
    """The built pages of a book."""

    project: Project
    html: Path

    def write(self, name: str, text: str) -> None:
        """Write a file among the pages."""
        path = self.html / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def add(
        self, html: str, name: str = f"book/chapters/{SLUG}.html", before: str = "</article>"
    ) -> None:
        """Put a piece of HTML before the end of the article, or of the head, of a page."""
        text = (self.html / name).read_text(encoding="utf-8")
        assert before in text
        self.write(name, text.replace(before, html + before))

    def reports(self) -> dict[str, list[Finding]]:
        """What each check of the pages has to say, by ``module.check``; silent ones are left out."""
        found = {_name(check): check(self.project, self.html) for check in hygiene.AFTER_BUILD}
        return {name: findings for name, findings in found.items() if findings}


def _name(check: Callable[..., object]) -> str:
    return f"{check.__module__.rpartition('.')[2]}.{check.__name__}"


@pytest.fixture(scope="session")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a book in which nothing is wrong, to copy."""
    folder = tmp_path_factory.mktemp("healthy")
    files = {
        "_toc.yml": TOC,
        "README.md": "# A little book\n\nSee https://example.org/home/page, or `$HOME/book`.\n",
        "book/index.md": INDEX,
        "book/references.md": REFERENCES,
        "book/references.bib": BIBLIOGRAPHY,
        f"book/source/{SLUG}.md": SOURCE,
        "book/claims/falling-water.yml": CLAIMS,
        "book/results/drops.json": "{}\n",
        "flatter_lib/__init__.py": "",
        "flatter_lib/figures.py": "WIDTH = 7\n",
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    made = Book(Project(folder))
    made.tidy()
    made.execute()
    return folder


@pytest.fixture
def book(healthy: Path, tmp_path: Path) -> Book:
    """A book in which nothing is wrong yet."""
    shutil.copytree(healthy, tmp_path, dirs_exist_ok=True)
    return Book(Project(tmp_path))


PAGE = """\
<!DOCTYPE html>
<html lang="en"><head>
<title>{title}</title>
<link rel="canonical" href="https://example.org/page.html" />
<link rel="preload" as="font" href="{up}_static/font.woff2" />
<link rel="stylesheet" href="{up}_static/style.css?v=12" />
<style>body {{ background: url("data:image/png;base64,AA//BB==") }}</style>
<script defer="defer" src="{up}_static/mathjax/tex-svg.js"></script>
<script>window.MathJax = {{"options": {{"processHtmlClass": "math"}}}}; const home = "https://example.org/";</script>
</head><body>
<nav><a href="{up}book/index.html"><img src="{up}_static/logo.svg" alt="" /></a></nav>
<article id="top-of-page">{body}</article>
</body></html>
"""

CHAPTER_PAGE = """
<h1 id="falling-water">Falling water<a class="headerlink" href="#falling-water">#</a></h1>
<span class="math notranslate nohighlight">\\(t\\)</span>
<figure id="fig-fall"><img alt="A parabola that opens downwards." src="../../_images/fall.svg" /></figure>
<p>See <a href="#fig-fall">Fig. 1</a>, <a href="../references.html#id1">Galilei</a>,
<a href="../references.html?highlight=x">all</a>, <a href="https://example.org/x.js">elsewhere</a>,
<a href="mailto:galileo@example.org">a letter</a>, <a href="../../_sources/falling%20water.txt">the source</a>.</p>
"""


@pytest.fixture
def site(book: Book) -> Site:
    """The pages of that book, as Sphinx would lay them out, with nothing wrong in them."""
    made = Site(book.project, book.project.html)
    home = '<h1 id="a">A</h1><a href="chapters/falling-water.html#fig-fall">Fall</a>'
    pages = {
        "book/index.html": home,
        f"book/chapters/{SLUG}.html": CHAPTER_PAGE,
        "book/references.html": '<h1 id="r">R</h1><p id="id1">Galilei</p>',
        "genindex.html": "<h1>Index</h1>",
        "search.html": "<h1>Search</h1>",
    }
    for name, body in pages.items():
        made.write(name, PAGE.format(title=name, up="../" * name.count("/"), body=body))
    made.write("index.html", '<meta http-equiv="Refresh" content="0; url=book/index.html" />\n')
    made.write(
        "_static/style.css", '@font-face { src: url("./font.woff2?v=1") } a { color: red }\n'
    )
    made.write("_static/mathjax/tex-svg.js", 'import { draw } from "./draw.js";\n')
    made.write(
        "_static/macros.html", '<script src="https://example.org/never-a-page.js"></script>\n'
    )
    for name in ("font.woff2", "logo.svg"):
        made.write(f"_static/{name}", "")
    made.write("_images/fall.svg", SVG)
    made.write("_sources/falling water.txt", SOURCE)
    return made
