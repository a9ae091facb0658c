"""The checks: all stages run whatever failed before, and none can hang."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from flatter_lib.publish import check, machines, pool, rerun
from flatter_lib.publish.check import Stage
from flatter_lib.publish.pool import Outcome, Task
from flatter_lib.publish.project import Chapter, Project


@pytest.fixture
def console() -> Console:
    return Console(file=StringIO(), width=200)


def text(console: Console) -> str:
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def stage(name: str, act: Callable[[], bool], limit: float = 600) -> Stage:
    return Stage(name, f"Stage {name}", lambda project, console: act(), limit)


def hang() -> bool:
    os.kill(os.getpid(), signal.SIGALRM)  # as if the time were over
    try:
        time.sleep(600)
    except Exception:
        return True
    return True


def test_every_stage_runs_and_those_that_failed_are_told(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = (
        stage("good", lambda: True),
        stage("bad", lambda: False),
        stage("stuck", hang, limit=70),
        stage("last", lambda: True),
    )
    monkeypatch.setattr(check, "STAGES", stages)
    monkeypatch.setattr(check, "MACHINES", stage("machines", lambda: False))
    before = signal.getsignal(signal.SIGALRM)
    assert not check.run(Project(Path()), console)
    lines = [line.strip() for line in text(console).splitlines()]
    assert [line for line in lines if "─" not in line] == [
        "ended: not done after 70 s",
        "failed: bad, stuck",
    ]
    assert "4/4 Stage last" in text(console)
    assert signal.getsignal(signal.SIGALRM) == before
    assert check.run(Project(Path()), console, ["last", "good"])
    assert text(console).rstrip().endswith("all checks passed")
    assert not check.run(Project(Path()), console, ["machines"])


def test_a_stage_ends_when_its_time_is_over(console: Console) -> None:
    with pytest.raises(check._LateError), check._within(0.05):
        time.sleep(600)


def test_what_hangs_in_a_stage_is_ended_and_named_before_the_stage_is(tmp_path: Path) -> None:
    limits = {stage.name: stage.limit for stage in check.STAGES}
    chapter = Chapter("toy", tmp_path / "toy.md", tmp_path / "toy.ipynb")
    here, project = machines.available()[0], Project(tmp_path)
    assert (rerun.task(project, chapter, here).limit or limits["nbval"]) < limits["nbval"]
    assert (rerun.unit(project, here, workers=2).limit or limits["unit"]) < limits["unit"]
    assert rerun.START + rerun.CELL < rerun.CHAPTER


#: Tests that go wrong in a way that pytest does not report by itself, and what is said of them.
SUITES = {
    "worker that dies": (
        "import os\ndef test_one(): pass\ndef test_bad(): os.abort()\ndef test_more(): pass",
        ["worker 'gw", "crashed while running 'test_toy.py::test_bad'"],
    ),
    "test that hangs": (
        "import time\ndef test_bad(): time.sleep(600)",
        ["FAILED test_toy.py::test_bad", "Timeout (>2.0s) from pytest-timeout"],
    ),
    "test that cannot be interrupted": (
        "import signal, time\ndef test_bad():\n"
        "    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])\n    time.sleep(600)",
        ["told to stop in ", "test_toy.py::test_bad"],
    ),
}

#: The controller of that last one ends the stage as soon as it knows that the test runs.
CONFTEST = """
import os, pytest, signal
@pytest.hookimpl(trylast=True)
def pytest_runtest_logstart(nodeid):
    if nodeid.endswith("test_bad") and "PYTEST_XDIST_WORKER" not in os.environ:
        os.kill(int(os.environ["CHECK"]), signal.SIGALRM)
"""


@pytest.mark.parametrize("name", SUITES)
def test_the_unit_tests_end(
    name: str,
    console: Console,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    code, said = SUITES[name]
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_toy.py").write_text(code)
    if "interrupted" in name:
        (tmp_path / "conftest.py").write_text(CONFTEST)
    skipped = "import pytest\n@pytest.mark.skip(reason='no data')\ndef test_{}(): pass\n"
    for other in ("test_other.py", "test_third.py"):
        (tmp_path / other).write_text("".join(map(skipped.format, range(3))))
    monkeypatch.setattr(rerun, "TEST", 2 if name == "test that hangs" else rerun.TEST)
    monkeypatch.setenv("CHECK", str(os.getpid()))
    unit = next(stage for stage in check.STAGES if stage.name == "unit")
    monkeypatch.setattr(check, "STAGES", [replace(unit, limit=240)])
    assert not check.run(Project(tmp_path), console)
    printed = "".join(capfd.readouterr())
    assert [words for words in said if words not in printed] == [], printed
    assert ("no data" in printed) or "interrupted" in name
    assert ("ended: not done after" in text(console)) == ("interrupted" in name)


def test_chapters_run_again_as_on_another_machine_than_published(
    console: Console, published: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[Task] = []
    asked: list[str | None] = []
    other = machines.Variant("old", "an old machine", "old", {"ATEN_CPU_CAPABILITY": "default"})

    def run_all(tasks: Sequence[Task], console: Console) -> list[Outcome]:
        ran.extend(tasks)
        return [Outcome(task, 1, "no [such] thing", 1.0) for task in tasks]

    def other_than(isa: str | None) -> machines.Variant:
        asked.append(isa)
        return other

    monkeypatch.setattr(pool, "run_all", run_all)
    monkeypatch.setattr(machines, "other_than", other_than)
    monkeypatch.setattr(
        Chapter, "provenance", property(lambda chapter: chapter.twin.with_suffix(".isa.json"))
    )
    published.chapter("toy").provenance.write_text('{"isa": "new"}')
    assert not check._nbval(published, console)
    (task,) = ran
    assert asked == ["new"]
    assert (task.environment or {})["ATEN_CPU_CAPABILITY"] == "default"
    assert "1 chapters as on an old machine" in text(console)
    assert "toy, nothing was executed: no [such] thing" in text(console)
