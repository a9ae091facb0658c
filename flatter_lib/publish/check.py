"""Every check there is, in stages: each reports all that it finds, and the next starts only if it passed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console

from flatter_lib.publish import build, compare, execute, hygiene, pool
from flatter_lib.publish.project import Chapter, Project


@dataclass(frozen=True)
class Stage:
    """One stage of the checks.

    Attributes:
        name: what ``--only`` calls it.
        title: what is said when it starts.
        run: does it, printing what it finds, and returns whether it passed.
    """

    name: str
    title: str
    run: Callable[[Project, Console], bool]


def run(project: Project, console: Console, only: Sequence[str] = ()) -> bool:
    """Run the stages in order, or those named; stop at the first that fails."""
    chosen = [stage for stage in (*STAGES, THREADS) if stage.name in only] if only else list(STAGES)
    for number, stage in enumerate(chosen, start=1):
        console.rule(f"[bold]{number}/{len(chosen)} {stage.title}", align="left")
        if not stage.run(project, console):
            left = [later.name for later in chosen[number:]]
            console.print(
                f"[red]{stage.name} failed[/]" + (f"; not run: {', '.join(left)}" if left else "")
            )
            return False
    console.print("[green]all checks passed[/]")
    return True


def _style(project: Project, console: Console) -> bool:
    commands = (
        ("ruff", "check", ".", "--quiet"),
        ("ruff", "format", "--check", "--quiet", "."),
        ("mypy",),
    )
    passed = [_shell(project, console, *command) for command in commands]
    return all(passed)


def _hygiene(project: Project, console: Console) -> bool:
    return _report(console, [str(finding) for finding in hygiene.before_build(project)])


def _unit(project: Project, console: Console) -> bool:
    return _shell(project, console, "pytest", "-q", "-n", "2", "--dist", "loadfile")


def _nbval(project: Project, console: Console) -> bool:
    environment = os.environ | dict.fromkeys(execute.THREAD_VARIABLES, "1")
    tasks = [_nbval_task(project, chapter, environment) for chapter in project.chapters()]
    outcomes = pool.run_all(tasks, console)
    for outcome in outcomes:
        if outcome.status != 0:
            console.print(outcome.output, markup=False, highlight=False)
            console.print(f"  if the change is meant: flatter diff {outcome.task.label} --accept")
    return all(outcome.status == 0 for outcome in outcomes)


def _nbval_task(project: Project, chapter: Chapter, environment: dict[str, str]) -> pool.Task:
    options = ["-p", "flatter_lib.publish.hold", "-p", "no:cacheprovider", "-q", "--color=no"]
    options += ["--nbval", "--nbval-current-env", "-o", "filterwarnings=default", "--no-header"]
    command = [
        sys.executable,
        "-m",
        "pytest",
        *options,
        "--rootdir",
        str(project.root),
        str(chapter.twin),
    ]
    return pool.Task(chapter.slug, command, execute.last_seconds(chapter), environment)


def _pages(project: Project, console: Console) -> bool:
    built = build.build(project, project.build / "check", clean=True)
    if built.problems:
        return _report(console, list(built.problems))
    return _report(console, [str(finding) for finding in hygiene.after_build(project, built.html)])


def _threads(project: Project, console: Console) -> bool:
    found: list[str] = []
    for chapter in project.chapters():
        console.print(f"  {chapter.slug}: one thread, then two ...", highlight=False)
        one, two = (execute.execute(project, chapter, threads=threads) for threads in (1, 2))
        found += [
            f"{chapter.slug}: {line}" for line in compare.text_differences(one.twin, two.twin)
        ]
        found += [
            f"{chapter.slug}: {line}" for line in compare.tables_differences(one.tables, two.tables)
        ]
    return _report(console, found)


def _shell(project: Project, console: Console, tool: str, *arguments: str) -> bool:
    console.print(f"  {' '.join((tool, *arguments))}", highlight=False)
    return (
        subprocess.run(
            [sys.executable, "-m", tool, *arguments],
            cwd=project.root,
            check=False,
            # Tests run side by side, a core for each.
            env=os.environ | dict.fromkeys(execute.THREAD_VARIABLES, "1"),
        ).returncode
        == 0
    )


def _report(console: Console, findings: list[str]) -> bool:
    for finding in findings:
        console.print(f"  {finding}", markup=False, highlight=False, soft_wrap=True)
    console.print(
        "  nothing found" if not findings else f"  {len(findings)} found", highlight=False
    )
    return not findings


STAGES = (
    Stage("style", "Style and types", _style),
    Stage("hygiene", "The book's sources and executed twins", _hygiene),
    Stage("unit", "Unit tests and doctests", _unit),
    Stage("nbval", "Every chapter re-executed and compared", _nbval),
    Stage("pages", "The book built without a warning, and its pages", _pages),
)
THREADS = Stage("threads", "Every chapter with one thread and with two", _threads)
