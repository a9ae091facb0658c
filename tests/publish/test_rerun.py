"""A published chapter executed again always ends, and says in which cell and why."""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO
from pathlib import Path

import nbformat
import psutil  # type: ignore[import-untyped]
import pytest
from rich.console import Console

from flatter_lib.publish import pool, rerun
from flatter_lib.publish.machines import Variant
from flatter_lib.publish.pool import Outcome, Task
from flatter_lib.publish.project import Chapter, Project

OTHER = Variant("other", "another machine", "old", {"ATEN_CPU_CAPABILITY": "default"})
PID = "import os, pathlib; pathlib.Path(f'{os.getpid()}.pid').touch()"
#: What each notebook does in its second cell, and what is published for it.
CELLS = {
    "sound": ("print(6 * 7)", "42\n"),
    "words": ("print('said')", "published\n"),
    "error": ("1 / 0", ""),
    "dead": ("os.kill(os.getpid(), 9)", ""),
    "stuck": ("import signal, time\nsignal.signal(2, signal.SIG_IGN)\ntime.sleep(600)", ""),
    "told": ("import time\nos.kill(os.getppid(), 15)\ntime.sleep(600)", ""),
}
FOUND = {
    "sound": [],
    "words": ["cell 1: mismatch 'stdout': 'published\\n' == 'said\\n'"],
    "error": ["cell 1: ZeroDivisionError: division by zero"],
    "dead": ["the kernel died in cell 1"],
    "stuck": [
        "cell 1: Timeout of 3 seconds exceeded while executing cell. "
        "Failed to interrupt kernel in 5 seconds, so failing without traceback."
    ],
    "told": ["told to stop in cell 1"],
}


def publish(folder: Path, code: str, printed: str) -> Chapter:
    outputs = [nbformat.v4.new_output("stream", name="stdout", text=printed)] if printed else []
    cells = [
        nbformat.v4.new_code_cell(PID, execution_count=1),
        nbformat.v4.new_code_cell(code, execution_count=2, outputs=outputs),
    ]
    folder.mkdir()
    twin = folder / "toy.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), twin)
    return Chapter("toy", folder / "toy.md", twin)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Outcome]:
    folder = tmp_path_factory.mktemp("again")
    project = Project(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rerun, "CELL", 3)
        patch.setattr(pool, "JOBS", 3)
        tasks = [
            rerun.task(project, publish(folder / name, *cell), OTHER, label=name)
            for name, cell in CELLS.items()
        ]
        made = pool.run_all(tasks, Console(file=StringIO()))
    return {outcome.task.label: outcome for outcome in made}


@pytest.mark.parametrize("name", CELLS)
def test_every_end_is_told_in_a_line(outcomes: Mapping[str, Outcome], name: str) -> None:
    assert rerun.findings(outcomes[name]) == FOUND[name], outcomes[name].output


def test_no_kernel_outlives_its_run(outcomes: Mapping[str, Outcome]) -> None:
    for outcome in outcomes.values():
        (pid,) = Path(outcome.task.command[-1]).parent.glob("*.pid")
        assert not psutil.pid_exists(int(pid.stem)), outcome.task.label


def test_a_task_computes_as_its_variant(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", "--no-such-option")
    monkeypatch.setenv("PYTHONSTARTUP", "mine.py")
    chapter = Chapter("toy", tmp_path / "toy.md", tmp_path / "toy.ipynb")
    task = rerun.task(Project(tmp_path), chapter, OTHER, threads=2, more={"FLATTER_DATA": "/x"})
    assert task.environment is not None
    expected = {"ATEN_CPU_CAPABILITY": "default", "OMP_NUM_THREADS": "2", "FLATTER_DATA": "/x"}
    assert {name: task.environment.get(name) for name in expected} == expected
    assert not {"PYTEST_ADDOPTS", "PYTHONSTARTUP"} & set(task.environment)
    assert task.limit == rerun.CHAPTER


@pytest.mark.parametrize(
    ("output", "late", "found"),
    [
        (
            "\n____ ERROR at setup of a/toy.ipynb::Cell 0 ____\nx.py:3: in f\n    f()\nE   RuntimeError: no kernel\n",
            False,
            "cell 0: RuntimeError: no kernel",
        ),
        (
            "ERROR: file not found: toy.ipynb\n",
            False,
            "nothing was executed: ERROR: file not found: toy.ipynb",
        ),
        ("", False, "nothing was executed: no output"),
        ("FAILED a.py::test_b - assert 1 == 2\n1 failed\n", False, "a.py::test_b - assert 1 == 2"),
        ("", True, "not done after 9 s"),
    ],
)
def test_what_nbval_does_not_report(output: str, late: bool, found: str) -> None:
    task = Task("toy", [], limit=9)
    assert rerun.findings(Outcome(task, 1, output, 1.0, late)) == [found]
