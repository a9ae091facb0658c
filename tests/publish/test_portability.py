"""Executed again: how every cell ended is told in a line, and the table says what did not agree."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nbformat
import psutil  # type: ignore[import-untyped]
import pytest
from rich.console import Console

from flatter_lib import machine
from flatter_lib.publish import commands, datasets, machines, portability
from flatter_lib.publish.commands import Command
from flatter_lib.publish.machines import Variant
from flatter_lib.publish.portability import Again
from flatter_lib.publish.project import Project
from flatter_lib.vision import data
from flatter_lib.vision.data import Dataset, Place
from flatter_lib.vision.data.digits import Digits

NATIVE = Variant("native", "as it is", "new")
OLD = Variant("old", "an old machine", "old", {"ATEN_CPU_CAPABILITY": "default"})
PID = "import os, pathlib; pathlib.Path(f'{os.getpid()}.pid').touch()"
#: What each notebook does in its second cell, what is published for it, and what is found.
CELLS = {
    "sound": ("print(os.environ['ATEN_CPU_CAPABILITY'], 6 * 7)", "default 42\n", []),
    "words": ("print('said')", "published\n", ["Cell 1: Cell outputs differ"]),
    "error": ("1 / 0", "", ["Cell 1: Cell execution caused an exception"]),
    "dead": ("os.kill(os.getpid(), 9)", "", ["Cell 1: The kernel died: was there enough memory?"]),
    "stuck": (
        "import signal, time\nsignal.signal(2, signal.SIG_IGN)\ntime.sleep(600)",
        "",
        [
            "Cell 1: Timeout of 6 seconds exceeded while executing cell. "
            "Failed to interrupt kernel in 5 seconds, so failing without traceback."
        ],
    ),
    "lost": ("pass", "", ["Cell 1: fig-a: x: is not among the published values"]),
}


def test_how_every_cell_ended_is_told_in_a_line(
    console: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project(tmp_path)
    project.executed.mkdir(parents=True)
    for name, (code, printed, _) in CELLS.items():
        outputs = [nbformat.v4.new_output("stream", text=printed)] if printed else []
        if name == "lost":
            mark = {"flatter": {"values": ["fig-a: x"]}}
            outputs = [nbformat.v4.new_output("display_data", metadata=mark)]
        cells = [
            nbformat.v4.new_code_cell(PID, execution_count=1),
            nbformat.v4.new_code_cell(code, execution_count=2, outputs=outputs),
        ]
        chapter = project.chapter_paths(name)
        nbformat.write(nbformat.v4.new_notebook(cells=cells), chapter.twin)
        chapter.values.write_text("{}")
    monkeypatch.setattr(portability, "CELL", 6)
    monkeypatch.setenv("PYTEST_ADDOPTS", "--no-such-option")
    again = Again(OLD, [project.chapter_paths(name) for name in CELLS], threads=2)
    assert not commands.run([again.command(project, tmp_path / "report.xml")], console)
    found = portability.findings(tmp_path / "report.xml")
    assert {name: row["differs"] for name, row in found.items()} == {
        name: cell[2] for name, cell in CELLS.items()
    }
    assert found["stuck"]["seconds"] > 6
    kernels = [int(path.stem) for path in project.executed.glob("*.pid")]
    assert len(kernels) == len(CELLS)
    assert not any(map(psutil.pid_exists, kernels))


@pytest.fixture
def book(pretend: Callable[..., None], project: Project) -> Project:
    """A book whose chapter was published, as far as its files tell."""
    pretend(project, project.chapter("toy"))
    return project


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Stands for executing: what was executed, what came of it, and what it does not come to the end of."""
    state: dict[str, Any] = {"ran": [], "differs": {}, "stop": None, "lost": None}

    def run(given: Sequence[Command], console: Console) -> bool:
        (command,) = given
        state["ran"].append(command.label)
        (report,) = [a.partition("=")[2] for a in command.arguments if "--junitxml" in a]
        name = "toy.ipynb" if "chapters" in command.label else "tests.test_a"
        said = state["differs"].get(command.label, "")
        failure = f"<failure>Cell 3: {said}</failure>" if said else ""
        case = f'<testcase classname="book.{name}" name="it" time="7.4">{failure}</testcase>'
        if command.label != state["lost"]:
            Path(report).parent.mkdir(parents=True, exist_ok=True)
            Path(report).write_text(f"<testsuites>{case}</testsuites>")
        if command.label == state["stop"]:
            raise KeyboardInterrupt
        return not said

    monkeypatch.setattr(machines, "available", lambda: (NATIVE, OLD))
    monkeypatch.setattr(commands, "run", run)
    return state


ON_ONE = ("unit tests, {}, 1 thread", "1 chapters, {}, 1 thread", "1 chapters, {}, 2 threads")
LABELS = [label.format(variant) for variant in ("native", "old") for label in ON_ONE]


def table(book: Project) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((book.book / "machines.json").read_text())
    return found


def test_the_table_says_what_came_of_every_execution(
    book: Project, console: Console, made: dict[str, Any]
) -> None:
    made |= {"differs": {LABELS[3]: "no", LABELS[5]: "it differs"}, "lost": LABELS[1]}
    assert not portability.run(book, console)
    assert made["ran"] == LABELS
    found = table(book)
    assert found["machines"] == {"new": "as it is", "old": "an old machine"}
    assert found["processor"] == machine.model()
    rows = [tuple(row[key] for key in ("name", "isa", "threads")) for row in found["runs"]]
    assert rows[:3] == [("unit tests", "new", 1), ("toy", "new", 1), ("toy", "new", 2)]
    assert [row["seconds"] for row in found["runs"]] == [7.4, 0, 7.4, 7.4, 7.4, 7.4]
    lost = "was not executed to its end"
    differs = [[], [lost], [], ["it: no"], [], ["it: it differs"]]
    assert [row["differs"] for row in found["runs"]] == differs


def test_what_agreed_is_not_executed_again_until_something_changed(
    book: Project, console: Console, made: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    made |= {"stop": LABELS[4], "differs": {LABELS[1]: "it differs"}}
    with pytest.raises(KeyboardInterrupt):
        portability.run(book, console)
    assert len(table(book)["runs"]) == 4
    made |= {"stop": None, "differs": {}, "ran": []}
    assert portability.run(book, console)
    assert made["ran"] == [LABELS[1], *LABELS[4:]]
    assert len(table(book)["runs"]) == len(LABELS)
    chapter = book.chapter("toy")
    for path in (chapter.twin, chapter.values, book.library / "claims.py", None):
        made["ran"] = []
        if path:
            path.write_text(path.read_text() + "\n")
        else:
            monkeypatch.setattr(machine, "model", lambda: "another")
        assert portability.run(book, console)
        assert made["ran"] == LABELS


@pytest.mark.parametrize(
    ("places", "copied"), [(("a", "b"), "b"), (("b", "a"), "b"), (("a",), None), ((), None)]
)
def test_data_are_also_loaded_from_elsewhere(
    book: Project,
    made: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    places: tuple[str, ...],
    copied: str | None,
) -> None:
    layout = Digits()
    lie = tuple(Place(f"in {name}", name, layout) for name in places)
    tiny = Dataset("tiny", "Tiny", "small", "none", "", lie, ())
    here = tmp_path / "here"
    here.mkdir()
    (here / "images").write_text("1")
    found = data.Location("tiny", "in a", here) if places else data.DataError("missing")
    monkeypatch.setattr(datasets, "needed", lambda chapters: ["tiny"])
    monkeypatch.setattr(data, "catalogue", lambda: (tiny,))
    monkeypatch.setattr(data, "status", lambda dataset: found)
    root = book.build / "machines-data"
    copies = [(a.copy, dict(a.variables)) for a in portability.every(book) if a.chapters]
    elsewhere = [("data elsewhere", {"FLATTER_DATA": str(root)})] * (2 if copied else 0)
    assert copies == [*[("data as found", {})] * 2, *elsewhere] * 2
    assert [path.read_text() for path in root.rglob("images")] == (["1"] if copied else [])
    assert (root / str(copied)).exists() == bool(copied)
