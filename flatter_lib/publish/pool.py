"""Several commands at once, each with a line that says how it went and how long it took."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO

from rich.console import Console
from rich.live import Live
from rich.table import Table


@dataclass(frozen=True)
class Task:
    """A command to run.

    Attributes:
        label: what people call it.
        command: the program and its arguments.
        expected: seconds that it took the last time, or None; shown as time left, and the longest starts first.
        environment: the whole environment, or None for this process's own.
    """

    label: str
    command: Sequence[str]
    expected: float | None = None
    environment: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    task: Task
    status: int
    output: str
    seconds: float

    @property
    def line(self) -> str:
        """One line: a mark, the label, the time."""
        mark = "[green]done[/]  " if self.status == 0 else "[red]failed[/]"
        return f"  {mark} {self.task.label}  {self.seconds:.0f} s"


@dataclass
class _Running:
    task: Task
    process: subprocess.Popen[str]
    output: IO[str]
    start: float = field(default_factory=time.monotonic)

    def status_line(self) -> str:
        spent = time.monotonic() - self.start
        left = (
            ""
            if self.task.expected is None
            else f", about {max(self.task.expected - spent, 0):.0f} s left"
        )
        return f"  running {self.task.label}  {spent:.0f} s{left}"


def run_all(tasks: Sequence[Task], console: Console, jobs: int = 2) -> list[Outcome]:
    """Run the tasks, at most ``jobs`` at once, and print a line as each ends.

    Interrupted, it ends the commands that it started and passes the interrupt on.

    Returns:
        The outcomes, in the order of the tasks.
    """
    waiting = sorted(tasks, key=lambda task: task.expected or 0, reverse=True)
    running: list[_Running] = []
    outcomes: dict[str, Outcome] = {}
    try:
        with Live(console=console, refresh_per_second=4, transient=True) as live:
            while waiting or running:
                while waiting and len(running) < jobs:
                    running.append(_start(waiting.pop(0)))
                time.sleep(0.05)
                for job in [job for job in running if job.process.poll() is not None]:
                    running.remove(job)
                    outcome = _finished(job)
                    outcomes[job.task.label] = outcome
                    live.console.print(outcome.line, highlight=False)
                live.update(_status(running))
    except BaseException:
        for job in running:
            job.process.terminate()
        for job in running:
            job.process.wait()
            job.output.close()
        raise
    return [outcomes[task.label] for task in tasks]


def flatter(*arguments: str) -> list[str]:
    """The command that runs this package's own command line."""
    return [sys.executable, "-m", "flatter_lib", *arguments]


def _start(task: Task) -> _Running:
    output = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 (closed when it ends)
    process = subprocess.Popen(
        list(task.command),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
        env=None if task.environment is None else dict(task.environment),
    )
    return _Running(task, process, output)


def _finished(job: _Running) -> Outcome:
    with job.output as output:
        output.seek(0)
        text = output.read()
    return Outcome(job.task, job.process.returncode, text, time.monotonic() - job.start)


def _status(running: Sequence[_Running]) -> Table:
    table = Table.grid()
    for job in running:
        table.add_row(job.status_line())
    return table
