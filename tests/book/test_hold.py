"""Re-executing a chapter fails where a picture, which nbval does not look at, would show something else.

Two notebooks are executed with the command that the checks use: in one all is as published, or within tolerance;
in the other each figure breaks its promise in another way.
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
from nbformat import NotebookNode

from flatter_lib.publish import twins

SHOW = """\
from flatter_lib import figures
from matplotlib.figure import Figure

def show(numbers):
    figures.show(Figure(), {"height": numbers}, rtol=1e-3)
"""


def figure(name: str, numbers: list[float], text: str = "<figure: height (3)>") -> NotebookNode:
    """A published cell that draws the numbers 1, 2, 3, whatever was published for it."""
    shown = nbformat.v4.new_output(
        "display_data",
        data={"image/svg+xml": "<svg>as it was drawn elsewhere</svg>", "text/plain": text},
        metadata={
            "flatter": {"figure": {"rtol": 1e-3, "atol": 0.0, "columns": {"height": numbers}}}
        },
    )
    return nbformat.v4.new_code_cell(
        "show([1, 2, 3])",
        metadata={"mystnb": {"figure": {"name": name}}},
        outputs=[shown],
        execution_count=1,
    )


def publish(folder: Path, name: str, cells: list[NotebookNode]) -> Path:
    """A published notebook with the numbers behind its figures."""
    first = nbformat.v4.new_code_cell(SHOW, execution_count=1)
    notebook, tables = twins.clean(nbformat.v4.new_notebook(cells=[first, *cells]))
    path = folder / f"{name}.ipynb"
    nbformat.write(notebook, path)
    path.with_suffix(".figures.json").write_text(json.dumps(tables))
    return path


def execute(path: Path) -> tuple[int, list[str]]:
    """Re-execute a notebook as the checks do: the exit status, and for each cell what failed in it (or nothing)."""
    report = path.with_suffix(".xml")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "flatter_lib.publish.hold",
        "-p",
        "no:cacheprovider",
    ]
    command += [
        "--nbval",
        "--nbval-current-env",
        "-q",
        "--color=no",
        f"--junitxml={report}",
        path.name,
    ]
    settings = os.environ | {"MPLBACKEND": "svg"}
    settings.pop("PYTEST_ADDOPTS", None)
    done = subprocess.run(
        command, cwd=path.parent, env=settings, capture_output=True, text=True, check=False
    )
    assert report.exists(), done.stdout + done.stderr
    cases = ElementTree.parse(report).getroot().iter("testcase")
    return done.returncode, [case.findtext("failure", "") for case in cases]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("held")
    (made / "pytest.ini").write_text("[pytest]\n")
    return made


@pytest.fixture(scope="module")
def broken(folder: Path) -> dict[str, str]:
    """What fails in each cell of a notebook in which every figure is broken, by the figure's name."""
    names = ("fig-curve", "fig-text", "fig-missing", "fig-gone", "fig-shape")
    cells = [
        figure("fig-curve", [1.0, 2.1, 3.0]),
        figure("fig-text", [1.0, 2.0, 3.0], "<figure: height (4)>"),
        figure("fig-missing", [1.0, 2.0, 3.0]),
        figure("fig-gone", [1.0, 2.0, 3.0]),
        figure("fig-shape", [1.0, 2.0]),
    ]
    path = publish(folder, "broken", cells)
    table = path.with_suffix(".figures.json")
    tables: dict[str, Any] = json.loads(table.read_text())
    del tables["fig-missing"]
    table.write_text(json.dumps(tables))
    notebook = nbformat.read(path, as_version=4)
    gone = notebook.cells[4]
    gone.source, gone.outputs = "pass", []
    nbformat.write(notebook, path)
    status, failures = execute(path)
    assert status == 1
    assert failures[0] == ""
    return dict(zip(names, failures[1:], strict=True))


def test_what_is_as_published_passes(folder: Path) -> None:
    cells = [
        figure("fig-same", [1.0, 2.0, 3.0]),
        figure("fig-near", [1.0, 2.0 * (1 + 5e-4), 3.0]),
    ]
    assert execute(publish(folder, "sound", cells)) == (0, ["", "", ""])


def test_a_changed_curve_fails_and_is_named(broken: dict[str, str]) -> None:
    line = (
        "figure fig-curve: height: 1 of 3 numbers beyond rtol 0.001; the worst, 2.1 published, is 2"
    )
    assert line in broken["fig-curve"]
    assert "flatter diff CHAPTER --accept" in broken["fig-curve"]


def test_a_changed_text_fails(broken: dict[str, str]) -> None:
    assert "<figure: height (4)>" in broken["fig-text"]


def test_a_figure_without_published_numbers_fails(broken: dict[str, str]) -> None:
    assert "figure fig-missing: not in the published numbers" in broken["fig-missing"]


def test_a_figure_that_is_no_longer_drawn_fails(broken: dict[str, str]) -> None:
    assert "figure fig-gone: no longer drawn" in broken["fig-gone"]


def test_another_number_of_points_fails(broken: dict[str, str]) -> None:
    line = "figure fig-shape: height: shape (2,) published, (3,) now"
    assert line in broken["fig-shape"]
