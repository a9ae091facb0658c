"""The checks: all stages run whatever failed before, and what hangs in the unit tests is ended and named."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from rich.console import Console

from flatter_lib.publish import check, commands, machines, portability
from flatter_lib.publish.check import Stage
from flatter_lib.publish.checks import browser
from flatter_lib.publish.commands import Command
from flatter_lib.publish.machines import Variant
from flatter_lib.publish.project import Project


def test_every_stage_runs_and_those_that_failed_are_told(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = {"good": True, "bad": False, "last": True}
    stages = [Stage(n, f"Stage {n}", lambda *_, passed=p: passed) for n, p in passes.items()]
    monkeypatch.setattr(check, "STAGES", stages)
    monkeypatch.setattr(check, "MACHINES", Stage("machines", "Machines", lambda *_: False))
    monkeypatch.setattr(check, "_tree", lambda _: set())
    assert not check.run(Project(Path()), console)
    titles, last = (
        console.file.getvalue().splitlines()[:3],
        console.file.getvalue().splitlines()[-1],
    )
    assert [title.split(" ─")[0] for title in titles] == [
        "1/3 Stage good",
        "2/3 Stage bad",
        "3/3 Stage last",
    ]
    assert last == "failed: bad"
    assert check.run(Project(Path()), console, ["last", "good"])
    assert console.file.getvalue().endswith("all checks passed\n")
    assert not check.run(Project(Path()), console, ["machines"])


def test_what_is_left_in_the_tree_fails(
    console: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git = ["git", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "-q"], check=True)
    (tmp_path / ".gitignore").write_text("_build/\n")
    (tmp_path / "mine.txt").write_text("was there before")

    def leaves(name: str) -> Callable[[Project, Console], bool]:
        def run(project: Project, console: Console) -> bool:
            (project.root / name).parent.mkdir(exist_ok=True)
            (project.root / name).write_text("left")
            return True

        return run

    for name, passed in (("_build/a.txt", True), ("new/a.txt", False)):
        monkeypatch.setattr(check, "STAGES", [Stage("one", "One", leaves(name))])
        assert check.run(Project(tmp_path), console) == passed
    assert console.file.getvalue().splitlines()[-3:] == [
        "  ?? new/a.txt",
        "  1 found",
        "failed: tree",
    ]


def test_style_sees_every_python_file_that_git_knows() -> None:
    root = Project.find(Path(__file__).parent).root
    ruff = [sys.executable, "-m", "ruff", "check", "--show-files", "."]
    seen = subprocess.run(ruff, cwd=root, capture_output=True, text=True, check=True).stdout
    known = subprocess.run(
        ["git", "ls-files", "*.py"], cwd=root, capture_output=True, text=True, check=True
    ).stdout
    files = {str(root / name) for name in known.split() if (root / name).is_file()}
    assert files
    assert files <= set(seen.splitlines())


def test_without_pages_the_browser_says_what_to_do_and_fails(
    console: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browser, "missing", lambda: "")
    monkeypatch.setattr(check, "_tree", lambda _: set())
    assert not check.run(Project(tmp_path), console, ["browser"])
    _, said, last = console.file.getvalue().splitlines()
    assert said == "  no pages were built: flatter check --only pages --only browser"
    assert last == "failed: browser"


#: Tests that go wrong in a way that pytest does not report by itself, and what is said of them.
SUITES = {
    "worker that dies": (
        "import os\ndef test_one(): pass\ndef test_bad(): os.abort()\ndef test_more(): pass",
        ["worker 'gw", "crashed while running 'test_toy.py::test_bad'"],
    ),
    "test that hangs": (
        "import time\ndef test_bad(): time.sleep(600)",
        ["FAILED test_toy.py::test_bad", "Timeout (>2.0s) from pytest-timeout", "no data"],
    ),
    "test that cannot be interrupted": (
        "import signal, time\ndef test_bad():\n"
        "    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])\n    time.sleep(600)",
        ["crashed while running 'test_toy.py::test_bad'", 'test_toy.py", line 4 in test_bad'],
    ),
}


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
    skipped = "import pytest\n@pytest.mark.skip(reason='no data')\ndef test_{}(): pass\n"
    (tmp_path / "test_other.py").write_text("".join(map(skipped.format, range(3))))
    monkeypatch.setattr(portability, "TEST", 2)
    monkeypatch.setattr(portability, "DEAF", 5 if "interrupted" in name else 300)
    monkeypatch.setattr(portability, "LIMIT", 300)
    assert not check._unit(Project(tmp_path), console)
    printed = "".join(capfd.readouterr())
    assert [words for words in said if words not in printed] == [], printed


def test_chapters_run_again_as_on_another_machine_than_published(
    console: Console, published: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[Command] = []
    variants = [Variant("new", "this one", "new"), Variant("old", "an old one", "old", {"A": "b"})]
    monkeypatch.setattr(machines, "available", lambda: variants)

    def run(given: Sequence[Command], console: Console) -> bool:
        ran.extend(given)
        return False

    monkeypatch.setattr(commands, "run", run)
    for isa, title, variable in (("new", "an old one", "b"), ("old", "this one", None)):
        published.chapter("toy").provenance.write_text(f'{{"isa": "{isa}"}}')
        assert not check._nbval(published, console)
        assert (ran.pop().environment or {}).get("A") == variable
        assert console.file.getvalue().endswith(f"1 chapters as on {title}\n")
    assert ran == []
