"""Several commands at once, each with a line that says how it went and how long it took; all of them end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from rich.console import Console

#: Seconds that a command has for tidying up once it was told to end.
GRACE = 15.0
#: Commands that run at once.
JOBS = 2


@dataclass(frozen=True)
class Task:
    """A command to run.

    Attributes:
        label: what people call it.
        command: the program and its arguments.
        expected: seconds that it took the last time, or None; the longest starts first.
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
    process: subprocess.Popen[Any]
    output: IO[str]
    start: float = field(default_factory=time.monotonic)

    def late(self) -> bool:
        limit = self.task.limit
        return limit is not None and time.monotonic() - self.start > limit

    def outcome(self) -> Outcome:
        """How it ended; a command that still runs is late, and ended."""
        late = self.process.poll() is None
        if late:
            end(self.process)
        with self.output as output:
            output.seek(0)
            text = output.read()
        seconds = time.monotonic() - self.start
        return Outcome(self.task, self.process.returncode or int(late), text, seconds, late)


def run_all(
    tasks: Sequence[Task], console: Console, ended: Callable[[Outcome], None] | None = None
) -> list[Outcome]:
    """Run the tasks, two at a time, and print a line as each ends.

    Interrupted, it ends the commands that it started and passes the interrupt on.

    Args:
        tasks: what to run.
        console: where to say so.
        ended: is handed each outcome when it is there.

    Returns:
        The outcomes, in the order of the tasks.
    """
    waiting = sorted(tasks, key=lambda task: task.expected or 0, reverse=True)
    running: list[_Running] = []
    outcomes: dict[str, Outcome] = {}
    try:
        with console.status("") as status:
            while waiting or running:
                while waiting and len(running) < JOBS:
                    output = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 (closed when it ends)
                    running.append(_Running(waiting[0], _start(waiting.pop(0), output), output))
                labels = ", ".join(job.task.label for job in running)
                status.update(f"running {labels}; {len(waiting)} more to come")
                time.sleep(0.05)
                for job in [job for job in running if job.process.poll() is not None or job.late()]:
                    outcome = outcomes[job.task.label] = job.outcome()
                    running.remove(job)
                    console.print(outcome.line, highlight=False)
                    if ended:
                        ended(outcome)
    except BaseException:
        end(*(job.process for job in running))
        for job in running:
            job.output.close()
        raise
    return [outcomes[task.label] for task in tasks]


def show(task: Task, console: Console) -> int:
    """Run one task whose output is seen as it comes, and return its status; late or interrupted, it is ended."""
    process = _start(task)
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


def _start(task: Task, output: IO[str] | None = None) -> subprocess.Popen[Any]:
    return subprocess.Popen(
        task.command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output and subprocess.STDOUT,
        env=task.environment,
        cwd=task.folder,
        process_group=0,
    )
