"""A small book of one chapter, as a folder of its own, in the states that the pipeline meets."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import nbformat
import pytest
from rich.console import Console

from flatter_lib.files import replace_json
from flatter_lib.publish import execute, freshness, sources, twins
from flatter_lib.publish.execute import Execution
from flatter_lib.publish.project import Chapter, Project

HEADER = """\
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
    smoke: {runs: 2}
---
"""

TOY = (
    HEADER
    + """\
# A toy chapter

Some text.

```{code-cell} ipython3
:tags: [parameters]

runs: int = 8  # how many runs
rate: float = 1e-3  # the step size
name: "str" = "a # b"  # what it is called
loud: bool = False
rates: list[float] = [0.1, 0.2]  # several # rates
```

```{code-cell} ipython3
import os
import matplotlib.pyplot as plt
from flatter_lib import claims, figures
figures.use_style()
```

```{code-cell} ipython3
---
mystnb:
  image:
    alt: A straight line that rises from the left to the right.
  figure:
    name: fig-toy
    caption: |
      A line.
---
figure, axes = plt.subplots()
axes.plot(rates, [runs * rate for rate in rates])
figures.show(figure, {"rate": rates, "height": [runs * rate for rate in rates]}, rtol=1e-4)
```

```{code-cell} ipython3
claims.record("toy", 1.0, scale="closed form")
print("runs", runs, flush=True)
print("threads", os.environ["OMP_NUM_THREADS"])
```
"""
)

CLAIMS = """\
- id: toy
  paper: this book
  place: the toy chapter
  statement: One is one.
  measured: one
  expect: {equals: 1.0, tolerance: 0.5}
"""

#: The chapter's library, of which only the hashes matter here: kernels import the installed one.
LIBRARY = {
    "__init__.py": '"""A library."""\n',
    "claims.py": "def record():\n    return 1\n",
    "figures.py": "def show():\n    return 2\n",
    "unrelated.py": "NUMBER = 3\n",
}


def make(root: Path) -> Project:
    """A checkout of a book whose one chapter, ``toy``, was never executed."""
    (root / "book" / "source").mkdir(parents=True)
    (root / "book" / "claims").mkdir()
    (root / "_toc.yml").write_text(
        "format: jb-book\nroot: book/index\nchapters:\n- file: book/chapters/toy\n"
    )
    (root / "book" / "source" / "toy.md").write_text(TOY)
    (root / "book" / "claims" / "toy.yml").write_text(CLAIMS)
    for name, text in LIBRARY.items():
        (root / "flatter_lib" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "flatter_lib" / name).write_text(text)
    return Project(root)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A book whose chapter was never executed."""
    return make(tmp_path / "checkout")


@pytest.fixture
def toy(project: Project) -> Chapter:
    """Its chapter."""
    return project.chapter("toy")


@pytest.fixture
def console() -> Console:
    """Where checks print to; ``console.file.getvalue()`` is what they said."""
    return Console(file=StringIO(), width=200)


@pytest.fixture
def edit() -> Callable[[Path, str, str], None]:
    """Replaces a piece of a file, which must be there exactly once."""

    def replace(path: Path, old: str, new: str) -> None:
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in {path.name}"
        path.write_text(text.replace(old, new), encoding="utf-8")

    return replace


@pytest.fixture
def pretend() -> Callable[[Project, Chapter], None]:
    """Puts the files of an execution beside a chapter, as publishing would, without running it."""

    def executed(project: Project, chapter: Chapter) -> None:
        bare, _ = twins.clean(sources.read(chapter))
        chapter.twin.parent.mkdir(exist_ok=True)
        nbformat.write(bare, chapter.twin)
        replace_json(chapter.values, {})
        replace_json(chapter.provenance, {"inputs": freshness.inputs(project, chapter)})

    return executed


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Execution]:
    """A book whose chapter a kernel really executed and that was published; nobody changes it."""
    project = make(tmp_path_factory.mktemp("shelf") / "checkout")
    chapter = project.chapter("toy")
    execution = execute.execute(project, chapter)
    execute.publish(chapter, execution)
    return project, execution


@pytest.fixture
def published(shelf: tuple[Project, Execution], tmp_path: Path) -> Project:
    """A copy of that book to change, where a path may trip who does not look."""
    root = tmp_path / "a book [b] é"
    shutil.copytree(shelf[0].root, root)
    return Project(root)
