"""Commands that the checks and ``flatter book`` start: what they say is seen as they say it, and all of them end."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

#: Seconds that a command has for tidying up once it was told to end.
GRACE = 15.0


@dataclass(frozen=True)
class Command:
    """A command to run.

    Attributes:
        label: what people call it.
        arguments: the program and its arguments.
        folder: where it runs.
        limit: seconds after which it is ended, with all that it started.
        environment: all of its variables, or None for this process's own.
    """

    label: str
    arguments: Sequence[str]
    folder: Path
    limit: float
    environment: Mapping[str, str] | None = None


def run(commands: Sequence[Command], console: Console, at_once: int = 1) -> bool:
    """Run commands in their order, with a line as each ends; whether all succeeded within their limits.

    Interrupted, it ends those that run, and passes the interrupt on.
    """
    waiting = list(commands)
    running: dict[subprocess.Popen[bytes], tuple[Command, float]] = {}
    succeeded = True
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                process = _started(waiting[0])
                running[process] = (waiting.pop(0), time.monotonic())
            time.sleep(0.05)
            for process, (command, start) in list(running.items()):
                seconds = time.monotonic() - start
                late = process.poll() is None
                if late and seconds < command.limit:
                    continue
                if late:
                    end(process)
                del running[process]
                good = process.returncode == 0 and not late
                succeeded &= good
                mark = "[green]done[/]  " if good else "[red]failed[/]"
                why = f", ended at its limit of {command.limit:g} s" if late else ""
                console.print(f"  {mark} {command.label}  {seconds:.0f} s{why}", highlight=False)
    finally:
        end(*running)
    return succeeded


def end(*processes: subprocess.Popen[Any]) -> None:
    """End processes that this one started, each with all that it started itself: told first, then killed."""
    import psutil  # type: ignore[import-untyped]

    family = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            family += psutil.Process(process.pid).children(recursive=True)
        process.terminate()
    until = time.monotonic() + GRACE
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(until - time.monotonic(), 0))
        process.kill()
        process.wait()
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()


def _started(command: Command) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command.arguments,
        stdin=subprocess.DEVNULL,  # nobody is asked anything
        env=command.environment,
        cwd=command.folder,
    )
