"""Re-executing a chapter fails where a value, which nbval does not look at, would come out otherwise.

A notebook is executed with the command that the checks use: some of its cells show what is published, or are within
tolerance; each of the others breaks its promise in another way.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import nbformat
import pytest
from matplotlib.figure import Figure
from nbformat import NotebookNode, v4

from flatter_lib import claims, figures
from flatter_lib.publish import twins
from flatter_lib.values import IN_DISTRIBUTION, Estimate, say, text

from .conftest import displayed, write

SHOW = """\
from flatter_lib import claims, figures
from flatter_lib.values import IN_DISTRIBUTION, Estimate, glue, say, text
from matplotlib.figure import Figure

def show(numbers):
    figures.show(Figure(), {"height": numbers}, rtol=1e-3)
"""
CLAIMS = """\
- id: fall
  paper: this book
  place: here
  statement: it falls
  measured: how fast
  expect: {at_most: 0.5}
"""


def cell(source: str, shown: NotebookNode, name: str = "") -> NotebookNode:
    """A published cell that showed something else than its code would show now."""
    metadata = {"mystnb": {"figure": {"name": name}}} if name else {}
    return v4.new_code_cell(source, outputs=[shown], metadata=metadata, execution_count=1)


def figure(name: str, numbers: list[float]) -> NotebookNode:
    """A cell that draws the numbers 1, 2, 3."""
    shown = displayed(figures.show, Figure(), {"height": numbers}, rtol=1e-3)
    shown.data["image/svg+xml"] = "<svg>elsewhere</svg>"
    return cell("show([1, 2, 3])", shown, name)


def line(number: float) -> NotebookNode:
    shown = displayed(say, text("pace {:.2f}", number))
    return cell("say(text('pace {:.2f}', 0.5))", shown)


def claim(number: float, low: float, high: float, name: str = "fall") -> NotebookNode:
    shown = displayed(claims.record, name, number, low, high, runs=3, scale="laptop")
    return cell(f"claims.record({name!r}, 0.45, 0.41, 0.4999, runs=3, scale='laptop')", shown)


def chaos(low: float, high: float) -> NotebookNode:
    shown = text("{:.1f}", Estimate((low + high) / 2, low, high))
    source = "say(text('{:.1f}', Estimate(0.45, 0.4, 0.5)), holds=IN_DISTRIBUTION)"
    return cell(source, displayed(say, shown, holds=IN_DISTRIBUTION))


def publish(folder: Path, name: str, cells: list[NotebookNode]) -> Path:
    """A published notebook with its values."""
    first = v4.new_code_cell(SHOW, execution_count=1)
    notebook, values = twins.clean(v4.new_notebook(cells=[first, *cells]))
    path = folder / "book" / "chapters" / f"{name}.ipynb"
    nbformat.write(notebook, path)
    path.with_suffix(".values.json").write_text(json.dumps(values))
    return path


def execute(path: Path) -> tuple[int, list[str]]:
    """Re-execute a notebook as the checks do: the exit status, and for each cell what failed in it (or nothing)."""
    report = path.with_suffix(".xml")
    command = [sys.executable, "-m", "pytest", "-p", "flatter_lib.publish.hold"]
    command += ["-p", "no:cacheprovider", "--nbval", "--nbval-current-env", "-q", "--color=no"]
    command += [f"--junitxml={report}", path.name]
    settings = os.environ | {"MPLBACKEND": "svg"}
    settings.pop("PYTEST_ADDOPTS", None)
    done = subprocess.run(
        command, cwd=path.parent, env=settings, capture_output=True, text=True, check=False
    )
    assert report.exists(), done.stdout + done.stderr
    cases = ElementTree.parse(report).getroot().iter("testcase")
    return done.returncode, [case.findtext("failure", "") for case in cases]


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What fails in each cell of a notebook, by the cell's name; nothing where all is as published."""
    folder = tmp_path_factory.mktemp("held")
    bands = {f"book/claims/{n}.yml": CLAIMS.replace("fall", n) for n in ("fall", "rise")}
    toc = {"_toc.yml": "format: jb-book\nroot: book/index\n"}
    write(folder, {"pytest.ini": "[pytest]\n", **toc, **bands, "book/chapters/README": ""})
    cells = {
        "curve": figure("fig-curve", [1.0, 2.1, 3.0]),
        "missing": figure("fig-missing", [1.0, 2.0, 3.0]),
        "gone": figure("fig-gone", [1.0, 2.0, 3.0]),
        "line": line(0.51),
        "verdict": claim(0.45, 0.41, 0.5003, "rise"),
        "chaos": chaos(0.6, 0.7),
        "printed": cell("print('three')", v4.new_output("stream", text="four\n")),
        "the same": figure("fig-same", [1.0, 2.0, 3.0]),
        "near": figure("fig-near", [1.0, 2.0 * (1 + 5e-4), 3.0]),
        "digits": line(0.504),
        "interval": claim(0.4503, 0.4104, 0.4995),
        "overlap": chaos(0.45, 0.6),
    }
    path = publish(folder, "chapter", list(cells.values()))
    beside = path.with_suffix(".values.json")
    values: dict[str, Any] = json.loads(beside.read_text())
    del values["fig-missing: height"]
    beside.write_text(json.dumps(values))
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[1 + list(cells).index("gone")].source = "pass"
    nbformat.write(notebook, path)
    status, failures = execute(path)
    assert status == 1
    assert failures[0] == ""
    return dict(zip(cells, failures[1:], strict=True))


@pytest.mark.parametrize("cell", ["the same", "near", "digits", "interval", "overlap"])
def test_what_is_as_published_passes(held: dict[str, str], cell: str) -> None:
    assert held[cell] == ""


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        (
            "curve",
            "fig-curve: height: 1 of 3 numbers beyond rtol 0.001; the worst, 2.1 published, is 2",
        ),
        ("missing", "fig-missing: height: is not among the published values"),
        ("gone", "fig-gone: height: is gone"),
        ("line", "1 of 1 numbers beyond 0.005; the worst, 0.51 published, is 0.5"),
        ("verdict", "claim rise: its verdict, undecided as published, is reproduced"),
        ("chaos", "the interval 0.65 [0.6, 0.7] published and 0.45 [0.4, 0.5] now do not overlap"),
        ("printed", "four"),
    ],
)
def test_a_broken_promise_fails_and_is_named(held: dict[str, str], cell: str, said: str) -> None:
    assert said in held[cell]
    if cell not in ("missing", "printed"):
        assert "flatter diff CHAPTER --accept" in held[cell]
