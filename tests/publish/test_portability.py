"""Every chapter on every machine: what agreed is not made again, and the table says what did not."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from flatter_lib import machine
from flatter_lib.publish import datasets, machines, pool, portability
from flatter_lib.publish.machines import Variant
from flatter_lib.publish.pool import Outcome, Task
from flatter_lib.publish.project import Project
from flatter_lib.vision import data
from flatter_lib.vision.data import Dataset, Place
from flatter_lib.vision.data.digits import Digits

NATIVE, OLD = (
    Variant("native", "as it is", "new"),
    Variant("old", "an old machine", "old", {"A": "b"}),
)
LABELS = ["unit tests, native, 1 thread", "unit tests, old, 1 thread"]
LABELS += [
    f"toy, {variant}, {threads}"
    for variant in ("native", "old")
    for threads in ("1 thread", "2 threads")
]


@pytest.fixture
def console() -> Console:
    return Console(file=StringIO(), width=200)


@pytest.fixture
def book(pretend: Callable[..., None], project: Project) -> Project:
    """A book whose chapter was published, as far as its files tell."""
    pretend(project, project.chapter("toy"))
    return project


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Stands for executing: which runs were made, the status of each, and after how many it is interrupted."""
    state: dict[str, Any] = {"runs": [], "status": {}, "stop": None}

    def run_all(
        tasks: Sequence[Task], console: Console, ended: Callable[[Outcome], None]
    ) -> list[Outcome]:
        for number, task in enumerate(tasks):
            if number == state["stop"]:
                raise KeyboardInterrupt
            state["runs"].append(task.label)
            ended(Outcome(task, state["status"].get(task.label, 0), "it differs", 7.4))
        return []

    monkeypatch.setattr(machines, "available", lambda: (NATIVE, OLD))
    monkeypatch.setattr(pool, "run_all", run_all)
    return state


def table(book: Project) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((book.book / "machines.json").read_text())
    return found


def test_the_table_says_what_came_of_every_run(
    book: Project, console: Console, made: dict[str, Any]
) -> None:
    made["status"] = {LABELS[5]: 1}
    assert not portability.run(book, console)
    assert made["runs"] == LABELS
    found = table(book)
    assert found["machines"] == {"new": "as it is", "old": "an old machine"}
    assert found["processor"] == machine.model()
    rows = [[row[name] for name in ("isa", "threads", "seconds")] for row in found["runs"]]
    assert rows[:2] == [["new", 1, 7], ["old", 1, 7]]
    assert rows[2:] == [["new", 1, 7], ["new", 2, 7], ["old", 1, 7], ["old", 2, 7]]
    assert [row["differs"] for row in found["runs"]] == [
        *([[]] * 5),
        ["nothing was executed: it differs"],
    ]


def test_what_agreed_is_not_made_again(
    book: Project, console: Console, made: dict[str, Any]
) -> None:
    made["stop"] = 5
    made["status"] = {LABELS[1]: 1}
    with pytest.raises(KeyboardInterrupt):
        portability.run(book, console)
    written = json.loads((book.book / "machines.json").read_text())
    assert 0 < len(written["runs"]) < len(LABELS)
    made |= {"stop": None, "status": {}, "runs": []}
    assert portability.run(book, console)
    assert made["runs"] == [LABELS[1], LABELS[5]]
    assert all(not row["differs"] for row in table(book)["runs"])


@pytest.mark.parametrize("changed", ["twin", "values", "library", "processor", "store"])
def test_what_changed_is_made_again(
    book: Project,
    console: Console,
    made: dict[str, Any],
    changed: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    portability.run(book, console)
    chapter = book.chapter("toy")
    paths = {"twin": chapter.twin, "values": chapter.values, "library": book.library / "claims.py"}
    if changed in paths:
        paths[changed].write_text(paths[changed].read_text() + "\nX = 1\n")
    elif changed == "processor":
        monkeypatch.setattr(machine, "model", lambda: "another")
    else:
        (book.build / "machines.json").write_text("[")
    made["runs"] = []
    portability.run(book, console)
    assert made["runs"] == (LABELS[2:] if changed in ("twin", "values") else LABELS)


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
    def place(name: str) -> Place:
        return Place(f"in {name}", name, layout)

    layout = Digits()
    tiny = Dataset("tiny", "Tiny", "small", "none", "", tuple(map(place, places)), ())
    here = tmp_path / "here"
    here.mkdir()
    (here / "images").write_text("1")
    found = data.Location("tiny", "in a", here) if places else data.DataError("missing")
    monkeypatch.setattr(datasets, "needed", lambda chapters: ["tiny"])
    monkeypatch.setattr(data, "catalogue", lambda: (tiny,))
    monkeypatch.setattr(data, "status", lambda dataset: found)
    root = book.build / "machines-data"
    copies = dict.fromkeys(
        (run.copy, tuple(run.environment.items())) for run in portability.runs(book) if run.chapter
    )
    expected = [("data as found", ())]
    if copied:
        expected += [("data elsewhere", (("FLATTER_DATA", str(root)),))]  # type: ignore[list-item]
    assert list(copies) == expected
    assert [path.read_text() for path in root.rglob("images")] == (["1"] if copied else [])
    assert (root / str(copied)).exists() == bool(copied)
