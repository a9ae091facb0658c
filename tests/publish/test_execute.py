"""Execution: what a kernel really does to a small chapter, and what is left when it does not come to its end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil  # type: ignore[import-untyped]
import pytest

from flatter_lib.publish import execute, freshness, sources, twins
from flatter_lib.publish.execute import Execution
from flatter_lib.publish.project import Chapter, FailedError, Project

#: How long a kernel may take to start on a busy machine, in seconds.
PATIENCE = 120

SHORT = """\
# A short chapter

```{{code-cell}} ipython3
import os
print(os.getcwd() == os.path.realpath("../chapters"))
```

```{{code-cell}} ipython3

{cell}
```

```{{code-cell}} ipython3
print("never")
```
"""

SLOW = """\
import pathlib, time
pathlib.Path("../../started").write_text(str(os.getpid()))
time.sleep(600)"""


def shorten(chapter: Chapter, cell: str) -> None:
    """Makes a chapter one of three cells, the second of which is given."""
    header, _, _ = chapter.source.read_text().partition("# A toy chapter")
    chapter.source.write_text(header + SHORT.format(cell=cell))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_an_execution_holds_outputs_numbers_and_claims_and_is_published(
    shelf: tuple[Project, Execution],
) -> None:
    project, execution = shelf
    _, _, figure, last = sources.code_cells(execution.twin)
    (picture,) = figure.outputs
    assert picture.data["image/svg+xml"].startswith("<?xml")
    assert picture.data["text/plain"] == "<figure: rate (2), height (2)>"
    assert picture.metadata == {"flatter": {"values": ["fig-toy: rate", "fig-toy: height"]}}
    assert {name: value["numbers"] for name, value in execution.values.items()} == {
        "fig-toy: rate": [0.1, 0.2],
        "fig-toy: height": [0.8, 1.6],
        "claim toy": [1.0],
    }
    assert execution.values["fig-toy: height"]["rtol"] == 1e-4
    claim, printed = last.outputs
    assert claim.data["text/plain"] == "claim toy: 1 (exact, scale=closed form)"
    assert twins.claims_of(last) == ["toy"]
    assert printed.text == "runs 8\nthreads 1\n"
    nbformat.validate(execution.twin)
    chapter = project.chapter("toy")
    assert nbformat.read(chapter.twin, as_version=4) == execution.twin
    assert json.loads(chapter.values.read_text()) == execution.values
    assert {*project.executed.iterdir()} == {*chapter.files}
    assert not project.build.exists()


def test_two_executions_differ_in_nothing(shelf: tuple[Project, Execution]) -> None:
    project, first = shelf
    second = execute.execute(project, project.chapter("toy"))
    assert nbformat.writes(second.twin) == nbformat.writes(first.twin)
    assert second.values == first.values
    assert second.provenance["inputs"] == first.provenance["inputs"]


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("raise ValueError('no\\n way')", "raised ValueError: no way"),
        ("raise SystemExit", "ended itself (SystemExit): a chapter runs to its end"),
        ("x = = 3", "raised SyntaxError"),
        ("os._exit(1)  # as the system does to a process that takes too much memory", "ended its kernel"),
    ],
)  # fmt: skip
def test_a_chapter_that_fails_is_kept_aside_and_its_twin_untouched(
    published: Project, cell: str, said: str
) -> None:
    chapter = published.chapter("toy")
    shorten(chapter, cell)
    before, environment = contents(published.root), dict(os.environ)
    with pytest.raises(FailedError) as failed:
        execute.execute(published, chapter)
    message = str(failed.value)
    assert message.startswith(f"toy: cell 2 (`{cell[:70]}`) {said}")
    assert "kept as _build/failed/toy.ipynb, the published twin is untouched" in message
    assert "\n" not in message
    # Nothing else was written, and this process's own environment is as it was.
    after = contents(published.root)
    kept = nbformat.reads(after.pop("_build/failed/toy.ipynb").decode(), as_version=4)
    assert after == before
    assert dict(os.environ) == environment
    # What ran before is in what is kept, and ran in the twins' folder.
    texts = [output.get("text") for c in sources.code_cells(kept) for output in c.outputs]
    assert "True\n" in texts
    assert "never\n" not in texts


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


def flatter(project: Project, *arguments: str, folder: Path) -> subprocess.Popen[str]:
    """The command line in a process of its own, with a folder of its own for what is temporary."""
    return subprocess.Popen(
        [sys.executable, "-m", "flatter_lib", *arguments],
        cwd=project.book,
        env=os.environ | {"TMPDIR": str(folder), "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_run_of_ones_own_never_touches_the_published_twin(
    published: Project, temporary: Path, tmp_path: Path
) -> None:
    before = contents(published.root)
    target = tmp_path / "own [b] é" / "{runs} {0} {.ipynb"  # papermill would fill in the braces
    given = ["-p", "runs=3", "-p", "rates=[1, 2, 3]", "--out", str(target)]
    with flatter(published, "run", "toy", *given, folder=temporary) as process:
        said, complained = process.communicate(timeout=PATIENCE)
    assert (process.returncode, complained) == (0, "")
    assert str(target) in said
    assert contents(published.root) == before
    assert list(temporary.iterdir()) == []
    own = nbformat.read(target, as_version=4)
    assert "runs 3\nthreads 1\n" in [o.get("text") for o in sources.code_cells(own)[-1].outputs]
    stored = json.loads(target.with_suffix(".provenance.json").read_text())
    assert (stored["parameters"]["runs"], stored["parameters"]["rates"]) == (3, [1.0, 2.0, 3.0])
    assert (stored["parameters"]["rate"], stored["threads"]) == (1e-3, 1)


def test_what_a_kernel_logs_of_its_own_end_is_not_the_commands_complaint(
    published: Project, temporary: Path
) -> None:
    late = "import logging; logging.getLogger('tornado.general').error('not a socket')"
    shorten(published.chapter("toy"), late)
    with flatter(published, "run", "toy", folder=temporary) as process:
        _, complained = process.communicate(timeout=PATIENCE)
    assert (process.returncode, complained) == (0, "")


def begun(process: subprocess.Popen[str]) -> bool:
    """Whether a process has its own way with SIGTERM: that is, whether the command has begun."""
    status = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    (caught,) = [line.split()[1] for line in status if line.startswith("SigCgt")]
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.parametrize(
    ("number", "status", "executing"),
    [(signal.SIGINT, 130, False), (signal.SIGINT, 130, True), (signal.SIGTERM, 143, True)],
)
def test_an_interrupted_run_leaves_nothing(
    published: Project, temporary: Path, number: signal.Signals, status: int, executing: bool
) -> None:
    shorten(published.chapter("toy"), SLOW)
    before = contents(published.root)
    started = published.root / "started"
    with flatter(published, "run", "toy", folder=temporary) as process:
        deadline = time.monotonic() + PATIENCE
        while not (started.exists() and started.read_text() if executing else begun(process)):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.001)
        while process.poll() is None:  # as an impatient person does
            process.send_signal(number)
            time.sleep(0.02)
        said = process.communicate(timeout=PATIENCE)
    assert said == ("", "flatter: interrupted; nothing half-written is left\n")
    assert process.returncode == status
    if executing:
        assert not psutil.pid_exists(int(started.read_text()))
        started.unlink()
    assert contents(published.root) == before
    assert list(temporary.iterdir()) == []


def test_a_break_between_the_files_of_a_twin_shows_as_stale(
    published: Project, shelf: tuple[Project, Execution]
) -> None:
    chapter = published.chapter("toy")
    chapter.provenance.unlink()
    chapter.provenance.mkdir()
    chapter.twin.unlink()
    with pytest.raises(OSError, match="directory"):
        execute.publish(chapter, shelf[1])
    assert chapter.twin.exists()
    assert not freshness.state(published, chapter).fresh
    assert not [path for path in published.executed.iterdir() if path.name.startswith(".")]


def test_names_are_safe(toy: Chapter) -> None:
    for value in ("a/b", "a b", "a\\b", "../a", "{a}", "x" * 300, "", "a\nb", "é"):
        name = execute.own_name(toy, {"name": value}, "laptop")
        assert re.fullmatch(r"toy--laptop--name=[\w.,=-]{0,70}\.ipynb", name, re.ASCII)
    assert execute.own_name(toy, {}, "laptop") == "toy--laptop.ipynb"
