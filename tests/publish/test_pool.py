"""Several commands at once: all come to their end, or are ended."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest
from rich.console import Console

from flatter_lib.publish import pool
from flatter_lib.publish.pool import Outcome, Task, run_all

#: How long a process may take to start on a busy machine, in seconds.
PATIENCE = 60


@pytest.fixture
def console() -> Console:
    return Console(file=StringIO(), width=100)


def text(console: Console) -> str:
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def shell(label: str, script: str, expected: float | None = None) -> Task:
    return Task(label, ["/bin/sh", "-c", script], expected)


def test_outcomes_come_in_the_order_of_the_tasks(console: Console) -> None:
    tasks = [
        shell("slow", "sleep 0.3; echo out; echo err >&2"),
        shell("wrong", "echo ä; exit 3"),
        shell("quick", "read answer || true"),  # nobody waits for an answer
    ]
    outcomes = run_all(tasks, console)
    assert [outcome.task for outcome in outcomes] == tasks
    assert [outcome.status for outcome in outcomes] == [0, 3, 0]
    assert [outcome.output for outcome in outcomes] == ["out\nerr\n", "ä\n", ""]
    assert outcomes[0].seconds >= 0.3
    lines = sorted(line.split() for line in text(console).splitlines() if line.strip())
    ends = [["done", "quick", "0", "s"], ["done", "slow", "0", "s"], ["failed", "wrong", "0", "s"]]
    assert lines == ends


def test_the_longest_starts_first_and_two_run_at_once(console: Console, tmp_path: Path) -> None:
    # Each says how many are there when it is: two for most of the time, and never a third.
    script = f"cd {tmp_path}; echo $$ >> log; touch $$; sleep 0.2; ls | wc -l; rm $$; echo $$"
    tasks = [shell(str(i), script, expected) for i, expected in enumerate((3, None, 0.5, 90, None))]
    outcomes = [outcome.output.split() for outcome in run_all(tasks, console)]
    assert max(int(count) for count, _ in outcomes) == 2 + 1  # and the log
    started = (tmp_path / "log").read_text().split()
    order = sorted(range(5), key=lambda i: started.index(outcomes[i][1]))
    assert (set(order[:2]), 2 in order[2:4]) == ({3, 0}, True)  # two start at once


def test_long_outputs_and_odd_bytes_are_kept(console: Console) -> None:
    (outcome,) = run_all([shell("long", "head -c 300000 /dev/zero; printf '\\377end'")], console)
    assert len(outcome.output) == 300_004
    assert outcome.output.endswith("\ufffdend")


def test_a_command_at_its_limit_is_ended_with_all_that_it_started(
    console: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two of its children have left: one leads a session of its own, the other's parent is gone.
    child = tmp_path / "child.py"
    child.write_text(
        "import os, pathlib, sys, time\nif sys.argv[1:]: os.setsid()\n"
        "pathlib.Path(__file__).with_name(str(os.getpid())).touch()\ntime.sleep(600)"
    )
    start = f"'{sys.executable}' '{child}'"
    script = f"trap '' TERM; {start} apart & ({start} &) ; exec {start}"
    monkeypatch.setattr(pool, "GRACE", 0.5)
    monkeypatch.setattr(pool._Running, "late", lambda _: len(list(tmp_path.iterdir())) == 4)
    task = Task("stuck", ["/bin/sh", "-c", script], limit=9)
    seen: list[Outcome] = []
    (outcome,) = run_all([task], console, ended=seen.append)
    assert outcome.late
    assert outcome.status != 0
    assert seen == [outcome]
    child.unlink()
    deadline = time.monotonic() + PATIENCE
    while any(alive(int(path.name)) for path in tmp_path.iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert text(console).rstrip().endswith("s, ended at its limit of 9 s")


@pytest.mark.parametrize(("limit", "late"), [(None, False), (100.0, False), (30.0, True)])
def test_the_limit_counts_from_the_start(limit: float | None, late: bool) -> None:
    process = subprocess.Popen(["true"], text=True)
    process.wait()
    task = Task("toy", [], limit=limit)
    assert pool._Running(task, process, StringIO(), time.monotonic() - 40).late() == late


def test_a_command_whose_output_is_seen_has_its_status(
    console: Console, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    script = ["/bin/sh", "-c", "pwd; echo $SAID; exit 3"]
    task = Task("toy", script, environment={"SAID": "here"}, folder=tmp_path)
    assert pool.show(task, console) == 3
    (outcome,) = run_all([task], console)
    assert capfd.readouterr().out == outcome.output == f"{tmp_path}\nhere\n"


def test_a_command_whose_output_is_seen_is_ended_at_its_limit(console: Console) -> None:
    assert pool.show(Task("toy", ["sleep", "600"], limit=0.1), console) == 1
    assert text(console) == "  failed toy  0 s, ended at its limit of 0.1 s\n"


DRIVER = """
import signal, sys
from rich.console import Console
from flatter_lib.publish.pool import Task, run_all
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
child = "import os, pathlib, time; pathlib.Path('{folder}', str(os.getpid())).touch(); time.sleep(600)"
run_all([Task(str(i), [sys.executable, "-c", child]) for i in range(3)], Console())
"""


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A process that runs three long commands, two at once, and the process ids of those two."""
    script = DRIVER.replace("{folder}", str(tmp_path))
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        deadline = time.monotonic() + PATIENCE
        while len(list(tmp_path.iterdir())) < 2:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield process, [int(path.name) for path in tmp_path.iterdir()]
        process.kill()


def alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_ends_what_it_started(
    driver: tuple[subprocess.Popen[str], list[int]], tmp_path: Path, number: signal.Signals
) -> None:
    process, children = driver
    assert all(alive(child) for child in children)
    process.send_signal(number)
    _, complained = process.communicate(timeout=PATIENCE)
    assert process.returncode in (143, -signal.SIGINT, 130)
    assert "ResourceWarning" not in complained
    assert not any(alive(child) for child in children)
    assert len(list(tmp_path.iterdir())) == 2  # the third was never started
