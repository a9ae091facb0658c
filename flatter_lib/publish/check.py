"""Every check there is, in stages: each reports all that it finds, and each ends: its commands have limits."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from rich.console import Console

from flatter_lib.fingerprint import git
from flatter_lib.publish import build, commands, hygiene, machines, portability, provenance
from flatter_lib.publish.checks import browser
from flatter_lib.publish.commands import Command
from flatter_lib.publish.portability import Again
from flatter_lib.publish.project import Chapter, Project

#: Seconds that a tool of style may take.
STYLE = 900


class Stage(NamedTuple):
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
    """Run the stages in order, or those named, and say at the end which failed, and what is left in the tree."""
    before = _tree(project)
    chosen = [stage for stage in (*STAGES, MACHINES) if stage.name in only] if only else STAGES
    failed = []
    for number, stage in enumerate(chosen, start=1):
        console.rule(f"[bold]{number}/{len(chosen)} {stage.title}", align="left")
        if not stage.run(project, console):
            failed.append(stage.name)
    if left := sorted(_tree(project) - before):
        failed.append("tree")
        console.rule("[bold]Left in the tree, where git sees it", align="left")
        _report(console, left)
    console.print(
        f"[red]failed: {', '.join(failed)}[/]" if failed else "[green]all checks passed[/]"
    )
    return not failed


def _tree(project: Project) -> set[str]:
    """What git would say that is changed or unknown, a line each; nothing where git is not."""
    said = git(project.root, "status", "--porcelain", "--untracked-files=all")
    return {line.strip() for line in said.splitlines()}


def _style(project: Project, console: Console) -> bool:
    tools = ("ruff check . --quiet", "ruff format --check --quiet .", "mypy")
    made = [
        Command(tool, [sys.executable, "-m", *tool.split()], project.root, STYLE) for tool in tools
    ]
    return commands.run(made, console)


def _hygiene(project: Project, console: Console) -> bool:
    return _report(console, hygiene.before_build(project))


def _unit(project: Project, console: Console) -> bool:
    return commands.run([Again(machines.available()[0]).command(project)], console)


def _nbval(project: Project, console: Console) -> bool:
    chosen: dict[str, list[Chapter]] = {}
    for chapter in project.chapters():
        published = provenance.stored(chapter).get("isa")
        chosen.setdefault(machines.other_than(published).name, []).append(chapter)
    made = []
    for variant in machines.available():
        if chapters := chosen.get(variant.name):
            console.print(f"  {len(chapters)} chapters as on {variant.title}", highlight=False)
            made.append(Again(variant, chapters).command(project))
    return commands.run(made, console)


def _pages(project: Project, console: Console) -> bool:
    built = build.build(project, project.build / "check", clean=True)
    return _report(console, built.problems or hygiene.after_build(built.html))


def _browser(project: Project, console: Console) -> bool:
    if lacks := browser.missing():
        console.print(f"  not tried, for want of {lacks}", highlight=False)
        return True
    pages = project.build / "check/_build/html"
    if not any(pages.rglob("*.html")):
        console.print(
            "  no pages were built: flatter check --only pages --only browser", highlight=False
        )
        return False
    return _report(console, browser.opened(pages))


def _report(console: Console, findings: Sequence[object]) -> bool:
    for finding in findings:
        console.print(f"  {finding}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"  {len(findings) or 'nothing'} found", highlight=False)
    return not findings


STAGES = (
    Stage("style", "Style and types", _style),
    Stage("hygiene", "The book's sources and executed twins", _hygiene),
    Stage("unit", "Unit tests and doctests", _unit),
    Stage("nbval", "Every chapter re-executed as on another machine, and compared", _nbval),
    Stage("pages", "The book built without a warning, and its pages", _pages),
    Stage("browser", "The pages that were built last, in a browser", _browser),
)
MACHINES = Stage(
    "machines",
    "Every chapter and the unit tests on every machine that this one can stand for",
    portability.run,
)
