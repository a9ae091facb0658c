"""Every check there is, in stages: each reports all that it finds, and each ends, within a time that it states."""

from __future__ import annotations

import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console

from flatter_lib.publish import build, hygiene, machines, pool, portability, provenance, rerun
from flatter_lib.publish.project import Project


@dataclass(frozen=True)
class Stage:
    """One stage of the checks.

    Attributes:
        name: what ``--only`` calls it.
        title: what is said when it starts.
        run: does it, printing what it finds, and returns whether it passed.
        limit: seconds after which it is ended, and has failed; more than any command in it may take.
    """

    name: str
    title: str
    run: Callable[[Project, Console], bool]
    limit: float = 1800


class _LateError(BaseException):
    """A stage is at its limit; nothing that it does may take this for an error of its own."""


def run(project: Project, console: Console, only: Sequence[str] = ()) -> bool:
    """Run the stages in order, or those named, and say at the end which failed."""
    chosen = [stage for stage in (*STAGES, MACHINES) if stage.name in only] if only else STAGES
    failed = []
    for number, stage in enumerate(chosen, start=1):
        console.rule(f"[bold]{number}/{len(chosen)} {stage.title}", align="left")
        try:
            with _within(stage.limit):
                passed = stage.run(project, console)
        except _LateError:
            console.print(f"  ended: not done after {stage.limit:g} s", highlight=False)
            passed = False
        failed += [] if passed else [stage.name]
    console.print(
        f"[red]failed: {', '.join(failed)}[/]" if failed else "[green]all checks passed[/]"
    )
    return not failed


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    """Ends what runs inside once the time is over."""

    def late(*_: object) -> None:
        raise _LateError

    handler = signal.signal(signal.SIGALRM, late)
    timer = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *timer)
        signal.signal(signal.SIGALRM, handler)


def _style(project: Project, console: Console) -> bool:
    commands = (
        ("ruff", "check", ".", "--quiet"),
        ("ruff", "format", "--check", "--quiet", "."),
        ("mypy",),
    )
    passed = []
    for command in commands:
        console.print(f"  {' '.join(command)}", highlight=False)
        task = pool.Task(command[0], [sys.executable, "-m", *command], folder=project.root)
        passed.append(pool.show(task, console) == 0)
    return all(passed)


def _hygiene(project: Project, console: Console) -> bool:
    return _report(console, hygiene.before_build(project))


def _unit(project: Project, console: Console) -> bool:
    task = rerun.unit(project, machines.available()[0], workers=2)
    console.print(f"  pytest {' '.join(task.command[3:])}", highlight=False, soft_wrap=True)
    return pool.show(task, console) == 0


def _nbval(project: Project, console: Console) -> bool:
    chapters = project.chapters()
    variants = {c.slug: machines.other_than(provenance.stored(c).get("isa")) for c in chapters}
    for title, count in Counter(variant.title for variant in variants.values()).items():
        console.print(f"  {count} chapters as on {title}", highlight=False)
    tasks = [rerun.task(project, chapter, variants[chapter.slug]) for chapter in chapters]
    failed = [outcome for outcome in pool.run_all(tasks, console) if outcome.status != 0]
    for outcome in failed:
        console.print(outcome.output, markup=False, highlight=False)
    for outcome in failed:
        for line in rerun.findings(outcome):
            text = f"  {outcome.task.label}, {line}"
            console.print(text, markup=False, highlight=False, soft_wrap=True)
        console.print(f"  if the change is meant: flatter diff {outcome.task.label} --accept")
    return not failed


def _pages(project: Project, console: Console) -> bool:
    built = build.build(project, project.build / "check", clean=True)
    return _report(console, built.problems or hygiene.after_build(built.html))


def _report(console: Console, findings: Sequence[object]) -> bool:
    for finding in findings:
        console.print(f"  {finding}", markup=False, highlight=False, soft_wrap=True)
    console.print(
        "  nothing found" if not findings else f"  {len(findings)} found", highlight=False
    )
    return not findings


STAGES = (
    Stage("style", "Style and types", _style),
    Stage("hygiene", "The book's sources and executed twins", _hygiene),
    Stage("unit", "Unit tests and doctests", _unit, limit=3600),
    Stage("nbval", "Every chapter re-executed as on another machine, and compared", _nbval, 3600),
    Stage("pages", "The book built without a warning, and its pages", _pages),
)
MACHINES = Stage(
    "machines",
    "Every chapter and the unit tests on every machine that this one can stand for",
    portability.run,
    limit=8 * 3600,
)
