"""The command line, ``flatter``: run chapters, publish the book, check it.

Exit status: 0 done, 1 something failed or differs, 2 wrong input, 130 or 143 interrupted.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from flatter_lib.publish import sweeping
from flatter_lib.publish.console import messages, output
from flatter_lib.publish.project import BookError, Chapter, Project

if TYPE_CHECKING:
    from flatter_lib.publish.freshness import State

app = typer.Typer(
    name="flatter",
    help="Flatter, Faster, the book: run its chapters, publish it, check it.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
)
data_app = typer.Typer(help="List the data sets and where each was found; get one.")
app.add_typer(data_app, name="data")

_INTERRUPTS = (signal.SIGINT, signal.SIGTERM)

out, err = output(), messages()
#: So many reasons why a chapter is stale are named in a list of chapters.
_REASONS = 3

ChapterName = Annotated[
    str, typer.Argument(help="A chapter's name, as `flatter chapters` lists it.")
]


def main() -> None:
    """Run the command line with the exit status it promises."""
    for number in _INTERRUPTS:
        signal.signal(number, _ended)
    if root := os.environ.get("FLATTER_DATA"):
        # Chapters run in a folder of their own, where a relative path would mean another place.
        os.environ["FLATTER_DATA"] = str(Path(root).expanduser().resolve())
    try:
        app(standalone_mode=True)
    except BookError as error:
        err.print(f"flatter: {error}", markup=False)
        sys.exit(_status_of(error))
    except SystemExit as ended:
        if ended.code in [128 + number for number in _INTERRUPTS]:
            err.print("flatter: interrupted; nothing half-written is left")
        raise


@app.command()
def chapters() -> None:
    """List the chapters: when and how long each was executed, and whether it is fresh."""
    from rich.markup import escape

    from flatter_lib.publish import freshness

    project = Project.find()
    found = project.chapters()
    width = max((len(chapter.slug) for chapter in found), default=0)
    for chapter in found:
        provenance = _provenance(chapter)
        try:
            state = _state_text(freshness.state(project, chapter))
        except BookError as error:
            state = f"[red]cannot be read[/]: {escape(str(error))}"
        when = str(provenance.get("executed", "never")).replace("T", " ").removesuffix("Z")
        seconds = f"{provenance['seconds']:.0f} s" if "seconds" in provenance else ""
        out.print(f"{chapter.slug:{width}}  {when:19} {seconds:>6}  {state}", soft_wrap=True)


@app.command()
def run(
    chapter: ChapterName,
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "--parameter", "-p", metavar="NAME=VALUE", help="A parameter's value; may be repeated."
        ),
    ] = None,
    settings: Annotated[
        Path | None, typer.Option("--set", metavar="FILE.yml", help="Parameters from a YAML file.")
    ] = None,
    profile: Annotated[
        str, typer.Option(help="smoke, laptop (what the book publishes) or paper.")
    ] = "laptop",
    output: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE.ipynb", help="Where to write the executed notebook."),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads for each numerical library.")] = 1,
) -> None:
    """Execute a chapter.

    As published, it refreshes the book's own notebook; with parameters or a profile of yours it writes a notebook of
    yours, under _build/runs unless you say where, and leaves the book alone.
    """
    from flatter_lib.publish import execute, sources

    project = Project.find()
    found = project.chapter(chapter)
    changed = sources.settings(sources.read(found), profile, _given(parameter or [], settings))
    target = _own_target(project, found, changed, profile, output)
    execution = execute.execute(
        project, found, changed, threads=threads, progress=sys.stderr.isatty()
    )
    seconds = f"{execution.provenance['seconds']:.0f} s"
    if target is None:
        execute.publish(found, execution)
        out.print(f"{found.slug}: executed in {seconds}, published notebook refreshed")
    else:
        execute.keep(target, execution)
        out.print(f"{found.slug}: executed in {seconds}, written to", end=" ")
        out.print(str(target), soft_wrap=True)


@app.command()
def diff(
    chapter: ChapterName,
    accept: Annotated[bool, typer.Option("--accept", help="Publish the new outputs.")] = False,
) -> None:
    """Execute a chapter and show what changed against the published outputs: texts, and numbers behind figures."""
    from flatter_lib.publish import compare, execute, twins

    project = Project.find()
    found = project.chapter(chapter)
    published, tables = twins.read(found), twins.published_tables(found)
    execution = execute.execute(project, found, progress=sys.stderr.isatty())
    differences = [*compare.text_differences(published, execution.twin)]
    differences += compare.tables_differences(tables, execution.tables)
    for line in differences:
        out.print(line, markup=False, style=_diff_style(line), soft_wrap=True)
    if accept:
        execute.publish(found, execution)
        out.print(
            f"{found.slug}: {len(differences)} lines of difference accepted, published notebook refreshed"
        )
    elif differences:
        out.print(f"if the change is meant: flatter diff {found.slug} --accept")
        raise typer.Exit(1)
    else:
        out.print(f"{found.slug}: the same as published")


@app.command()
def book(
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Execute every chapter, fresh or not.")
    ] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Chapters executed at once.")] = 2,
) -> None:
    """Execute the chapters that are not fresh, and build the pages into _build/html."""
    from flatter_lib.publish import build, execute, freshness, hygiene, pool

    project = Project.find()
    stale = []
    for chapter in project.chapters():
        state = freshness.state(project, chapter)
        if fresh or not (state.fresh or state.text_only):
            stale.append(chapter)
            out.print(f"  to execute: {chapter.slug} ({', '.join(state.reasons) or 'asked for'})")
        elif state.text_only:
            execute.publish_text(project, chapter)
            out.print(f"  fresh:      {chapter.slug} (its text changed, and is renewed)")
        else:
            out.print(f"  fresh:      {chapter.slug}")
    _need_data(project, stale)
    tasks = [pool.Task(c.slug, pool.flatter("run", c.slug), execute.last_seconds(c)) for c in stale]
    failed = [outcome for outcome in pool.run_all(tasks, out, jobs) if outcome.status != 0]
    for outcome in failed:
        err.print(outcome.output.strip(), markup=False)
    if failed:
        raise typer.Exit(1)
    _stop_if([str(finding) for finding in hygiene.before_build(project)])
    with out.status("building the pages"):
        built = build.build(project, project.build / "pages")
    _stop_if(
        built.problems or [str(finding) for finding in hygiene.after_build(project, built.html)]
    )
    build.install(built, project.html)
    out.print("the book: open", end=" ")
    out.print(str((project.html / "index.html").relative_to(project.root)), soft_wrap=True)


@app.command()
def check(
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="A stage: style, hygiene, unit, nbval, pages; or threads, which is not run otherwise."
        ),
    ] = None,
) -> None:
    """Run every check: style, hygiene, unit tests, every chapter re-executed, the warning-free build."""
    from flatter_lib.publish import check as checks

    project = Project.find()
    known = [stage.name for stage in (*checks.STAGES, checks.THREADS)]
    for name in only or []:
        if name not in known:
            raise BookError(f"--only {name}: the stages are {', '.join(known)}")
    if not only or {"unit", "nbval", "threads"} & set(only):
        _need_data(project, project.chapters())
    if not checks.run(project, out, only or ()):
        raise typer.Exit(1)


@app.command()
def claims() -> None:
    """List the claims that the book tests, with what was measured and the verdict computed from it."""
    from rich.table import Column, Table

    from flatter_lib.publish import ledger

    project = Project.find()
    table = Table(Column("claim", overflow="fold"), "paper", "measured", "verdict", "chapter")
    for entry in ledger.entries(project):
        row = entry.row
        interval = (
            ""
            if row is None or row.low is None or row.high is None
            else f" [{row.low:.3g}, {row.high:.3g}]"
        )
        measured = "" if row is None else f"{row.value:.3g}{interval or ' (exact)'}"
        table.add_row(
            entry.claim.id,
            entry.claim.paper,
            measured.replace("[", r"\["),
            entry.verdict,
            row.chapter if row else "",
        )
    out.print(table)
    for problem in ledger.problems(project):
        err.print(f"  {problem}", markup=False)


app.command()(sweeping.sweep)
app.command()(sweeping.results)


@app.command()
def doctor() -> None:
    """Check what the book needs of this machine, and say how to mend what is missing."""
    from flatter_lib.publish import doctor as doctors

    project = Project.find()
    marks = {"ok": "[green]ok[/]     ", "note": "[yellow]note[/]   ", "missing": "[red]missing[/]"}
    diagnoses = doctors.examine(project)
    for diagnosis in diagnoses:
        out.print(f"  {marks[diagnosis.state]} {diagnosis.subject}: ", end="")
        out.print(diagnosis.text, markup=False, soft_wrap=True)
    if any(diagnosis.state == "missing" for diagnosis in diagnoses):
        raise typer.Exit(1)


@data_app.callback(invoke_without_command=True)
def data(context: typer.Context) -> None:
    """List the data sets: what each is, and where it was found."""
    if context.invoked_subcommand is None:
        from flatter_lib.publish import datasets

        datasets.listing(out)


@data_app.command("get")
def data_get(
    name: Annotated[str, typer.Argument(help="A data set's name, as `flatter data` lists it.")],
) -> None:
    """Find a data set, or fetch it: source and size are said first."""
    from flatter_lib.publish import datasets

    datasets.get(name, out)


def _given(pairs: list[str], file: Path | None) -> dict[str, Any]:
    import yaml

    values: dict[str, Any] = {}
    if file is not None:
        try:
            content = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise BookError(
                f"--set {file}: cannot be read as YAML: {' '.join(str(error).split())}"
            ) from None
        if not isinstance(content, dict):
            raise BookError(f"--set {file}: write one `name: value` a line")
        values |= {str(name): value for name, value in content.items()}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise BookError(f"-p {pair}: write -p NAME=VALUE")
        values[name.strip()] = value
    return values


def _own_target(
    project: Project, chapter: Chapter, changed: dict[str, Any], profile: str, output: Path | None
) -> Path | None:
    """Where a run of one's own goes, or None if it is the published one."""
    from flatter_lib.publish import execute

    if output is not None:
        if output.suffix != ".ipynb":
            raise BookError(f"--out {output}: an executed notebook's name ends in .ipynb")
        if project.executed in output.resolve().parents:
            raise BookError(
                f"--out {output}: book/chapters holds the published notebooks; choose another folder"
            )
        return output
    if not changed and profile == "laptop":
        return None
    return project.build / "runs" / execute.own_name(chapter, changed, profile)


def _need_data(project: Project, needing: list[Chapter]) -> None:
    from flatter_lib.publish import datasets

    for name in datasets.needed(needing):
        datasets.get(name, out)


def _provenance(chapter: Chapter) -> dict[str, Any]:
    import json

    try:
        found = json.loads(chapter.provenance.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _state_text(state: State) -> str:
    if state.fresh:
        return "[green]fresh[/]"
    named, others = state.reasons[:_REASONS], len(state.reasons) - _REASONS
    more = f"; and {others} more" if others > 0 else ""
    return f"[yellow]stale[/]: {'; '.join(named)}{more}"


def _diff_style(line: str) -> str:
    return {"+": "green", "-": "red"}.get(line[:1], "")


def _stop_if(problems: tuple[str, ...] | list[str]) -> None:
    for problem in problems:
        err.print(f"  {problem}", markup=False)
    if problems:
        err.print(f"flatter: {len(problems)} found; the book in _build/html is as it was")
        raise typer.Exit(1)


def _status_of(error: BookError) -> int:
    from flatter_lib.publish.project import FailedError

    return 1 if isinstance(error, FailedError) else 2


def _ended(signal_number: int, frame: object) -> NoReturn:
    for number in _INTERRUPTS:  # tidying up is not interrupted again
        signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + signal_number)
