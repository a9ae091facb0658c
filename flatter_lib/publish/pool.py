"""Several commands at once, each with a line that says how it went and how long it took; all of them end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

#: Seconds that a command has for tidying up once it was told to end.
GRACE = 15.0


@dataclass(frozen=True)
class Task:
    """A command to run.

    Attributes:
        label: what people call it.
        command: the program and its arguments.
        expected: seconds that it took the last time, or None; shown as time left, and the longest starts first.
        environment: the whole environment, or None for this process's own.
        limit: seconds after which it is ended, with all that it started; None for none.
        folder: where it runs, or None for where this process does.
    """

    label: str
    command: Sequence[str]
    expected: float | None = None
    environment: Mapping[str, str] | None = None
    limit: float | None = None
    folder: Path | None = None


@dataclass(frozen=True)
class Outcome:
    """How a command ended; ``late`` if it was ended at its limit."""

    task: Task
    status: int
    output: str
    seconds: float
    late: bool = False

    @property
    def line(self) -> str:
        """One line: a mark, the label, the time."""
        mark = "[green]done[/]  " if self.status == 0 else "[red]failed[/]"
        why = f", ended at its limit of {self.task.limit:g} s" if self.late else ""
        return f"  {mark} {self.task.label}  {self.seconds:.0f} s{why}"


@dataclass
class _Running:
    task: Task
    process: subprocess.Popen[str]
    output: IO[str]
    start: float = field(default_factory=time.monotonic)

    def late(self) -> bool:
        limit = self.task.limit
        return limit is not None and time.monotonic() - self.start > limit

    def status_line(self) -> str:
        spent = time.monotonic() - self.start
        left = (
            ""
            if self.task.expected is None
            else f", about {max(self.task.expected - spent, 0):.0f} s left"
        )
        return f"  running {self.task.label}  {spent:.0f} s{left}"


def run_all(
    tasks: Sequence[Task],
    console: Console,
    jobs: int = 2,
    ended: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Run the tasks, at most ``jobs`` at once, and print a line as each ends.

    Interrupted, it ends the commands that it started and passes the interrupt on.

    Args:
        tasks: what to run.
        console: where to say so.
        jobs: how many run at once.
        ended: is handed each outcome when it is there.

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
                for job in [job for job in running if job.process.poll() is not None or job.late()]:
                    late = job.process.poll() is None
                    if late:
                        end(job.process)
                    running.remove(job)
                    outcome = outcomes[job.task.label] = _finished(job, late)
                    live.console.print(outcome.line, highlight=False)
                    if ended:
                        ended(outcome)
                live.update(_status(running, waiting, jobs))
    except BaseException:
        end(*(job.process for job in running))
        for job in running:
            job.output.close()
        raise
    return [outcomes[task.label] for task in tasks]


def show(task: Task, console: Console) -> int:
    """Run one task whose output is seen as it comes, and return its status; late or interrupted, it is ended."""
    process = subprocess.Popen(
        task.command,
        stdin=subprocess.DEVNULL,
        env=task.environment,
        cwd=task.folder,
        process_group=0,
    )
    try:
        return process.wait(task.limit)
    except subprocess.TimeoutExpired as late:
        end(process)
        console.print(Outcome(task, 1, "", late.timeout, late=True).line, highlight=False)
        return 1
    except BaseException:
        end(process)
        raise


def end(*processes: subprocess.Popen[Any]) -> None:
    """End processes that this one started, each with all that it started: told first, then killed.

    Each leads a process group of its own (``process_group=0``).
    """
    import psutil  # type: ignore[import-untyped]

    families = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            families += psutil.Process(process.pid).children(recursive=True)
        process.terminate()
    until = time.monotonic() + GRACE
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(until - time.monotonic(), 0))
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    for member in families:
        # Kernels are in groups of their own.
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    for process in processes:
        process.wait()


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
        env=task.environment,
        cwd=task.folder,
        process_group=0,
    )
    return _Running(task, process, output)


def _finished(job: _Running, late: bool) -> Outcome:
    with job.output as output:
        output.seek(0)
        text = output.read()
    seconds = time.monotonic() - job.start
    return Outcome(job.task, job.process.returncode or int(late), text, seconds, late)


def _status(running: Sequence[_Running], waiting: Sequence[Task], jobs: int) -> Table:
    table = Table.grid()
    if waiting:
        left = sum(task.expected or 0 for task in waiting) / jobs
        table.add_row(f"  {len(waiting)} more to come, about {left / 60:.0f} min")
    for job in running:
        table.add_row(job.status_line())
    return table
