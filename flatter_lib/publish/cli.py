"""The command line, ``flatter``: run chapters, publish the book, check it.

Exit status: 0 done, 1 something failed or differs, 2 wrong input, 130 or 143 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flatter_lib.publish import sweeping
from flatter_lib.publish.console import messages, output
from flatter_lib.publish.project import BookError, Chapter, FailedError, Project

if TYPE_CHECKING:
    from nbformat import NotebookNode

    from flatter_lib.publish.execute import Execution
    from flatter_lib.publish.twins import Values

app = typer.Typer(
    name="flatter",
    help="Flatter, Faster, the book: run its chapters, publish it, check it.",
    no_args_is_help=True,
)
data_app = typer.Typer(help="List the data sets and where each was found; get one.")
app.add_typer(data_app, name="data")
app.command()(sweeping.sweep)
app.command()(sweeping.results)
app.command()(sweeping.verify)

out, err = output(), messages()
#: Seconds that `flatter book` gives a chapter.
CHAPTER = 1200


def _slugs(incomplete: str) -> list[str]:
    """The chapters that a shell may complete a name to."""
    try:
        return [c.slug for c in Project.find().chapters() if c.slug.startswith(incomplete)]
    except BookError:
        return []


ChapterName = Annotated[
    str,
    typer.Argument(help="A chapter's name, as `flatter chapters` lists it.", autocompletion=_slugs),
]


def main() -> None:
    """Run the command line with the exit status it promises."""
    try:
        for name in ("FLATTER_DATA", "FLATTER_CACHE"):
            if root := os.environ.get(name):
                # Chapters run in a folder of their own, where a relative path would mean another place.
                try:
                    os.environ[name] = str(Path(root).expanduser().absolute())
                except RuntimeError as error:
                    raise BookError(f"{name}={root} names no folder: {error}") from None
        app(standalone_mode=True)
    except (BookError, OSError) as error:  # a full disk, a folder that is another's
        err.print(f"flatter: {error}", markup=False)
        sys.exit(2 if isinstance(error, BookError) and not isinstance(error, FailedError) else 1)


@app.command()
def chapters() -> None:
    """List the chapters: when and how long each was executed, and whether it is fresh."""
    from flatter_lib.publish import freshness, provenance

    project = Project.find()
    found = project.chapters()
    width = max((len(chapter.slug) for chapter in found), default=0)
    for chapter in found:
        try:
            state = str(freshness.state(project, chapter))
        except BookError as error:
            state = f"cannot be read: {error}"
        made = provenance.stored(chapter)
        when = str(made.get("executed", "never")).replace("T", " ").removesuffix("Z")
        took = f"{provenance.seconds(chapter):.0f} s" if made else ""
        out.print(f"{chapter.slug:{width}}  {when:19} {took:>6}  ", markup=False, end="")
        out.print(state, markup=False, soft_wrap=True, style="" if state == "fresh" else "yellow")


@app.command()
def run(
    chapter: ChapterName,
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-p", metavar="NAME=VALUE", help="A value; may be repeated."),
    ] = None,
    settings: Annotated[
        Path | None, typer.Option("--set", metavar="FILE.yml", help="Parameters from a YAML file.")
    ] = None,
    profile: Annotated[
        str | None, typer.Option(help="smoke, laptop (what the book publishes) or paper.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.ipynb", help="Where to write it.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a notebook of yours.")] = False,
) -> None:
    """Execute a chapter.

    As published, it refreshes the book's own notebook, or keeps it if only the library changed and it still holds;
    with parameters or a profile it writes a notebook of yours, under _build/runs unless you say where, and leaves the
    book alone. It replaces none of yours unless you say so.
    """
    from flatter_lib.publish import execute, sources

    project = Project.find()
    found = project.chapter(chapter)
    named = "laptop" if profile is None else profile
    given = (sources.given(settings) if settings else {}) | _typed(parameter or [])
    changed = sources.settings(sources.read(found), named, given)
    target = found.twin
    if output is not None:
        target = _checked(project, found, output, force)
    elif parameter or settings or profile is not None:
        target = project.build / "runs" / execute.own_name(found, changed, named)
    execute.ready(target)
    execution = execute.execute(project, found, changed, progress=_watched())
    if target != found.twin:
        what = f"written to {execute.keep(found, target, execution, force=force)}"
    elif _holds(project, found, execution):
        execute.acquit(found, execution)
        what = "the same as published and so verified"
    else:
        execute.publish(found, execution)
        what = "published notebook refreshed"
    _say(f"{found.slug}: executed in {execution.provenance['seconds']:.0f} s, {what}")


@app.command()
def diff(
    chapter: ChapterName,
    accept: Annotated[bool, typer.Option("--accept", help="Publish the new outputs.")] = False,
) -> None:
    """Execute a chapter and show what changed against the published: words, and values beyond tolerance.

    If nothing did, a chapter that was unverified, because the library changed under it, is verified.
    """
    from flatter_lib.publish import execute, freshness, twins

    project = Project.find()
    found = project.chapter(chapter)
    state = freshness.state(project, found)
    published = twins.read(found), twins.published_values(found)
    execution = execute.execute(project, found, progress=_watched())
    differences = _differences(project, *published, execution)
    for line in differences:
        out.print(line, markup=False, soft_wrap=True)
    if accept:
        execute.publish(found, execution)
        count = len(differences)
        _say(f"{found.slug}: {count} lines of difference accepted, published notebook refreshed")
    elif differences:
        _say(f"if the change is meant: flatter diff {found.slug} --accept")
        raise typer.Exit(1)
    elif state.acquittable:
        execute.acquit(found, execution)
        _say(f"{found.slug}: the same as published, and so verified under today's library")
    else:
        _say(f"{found.slug}: the same as published")


@app.command("format")
def format_sources() -> None:
    """Write the chapters' sources as JupyterLab would save them, so that saving one there changes nothing else."""
    from flatter_lib.files import replace_text
    from flatter_lib.publish import sources

    for chapter in Project.find().chapters():
        sources.read(chapter)
        before = chapter.source.read_text(encoding="utf-8")
        if (tidied := sources.tidy(before)) != before:
            replace_text(chapter.source, tidied)
            _say(f"{chapter.slug}: source tidied")


@app.command()
def book(
    fresh: Annotated[bool, typer.Option("--fresh", help="Execute every chapter.")] = False,
) -> None:
    """Execute the chapters that are not fresh, and build the pages into _build/html.

    Where only the library changed and a chapter gives the same, its published notebook is kept and verified.
    """
    from flatter_lib.publish import build, commands, execute, freshness, hygiene, provenance

    project = Project.find()
    execute.ready(project.html / "index.html")
    to_execute = []
    for chapter in project.chapters():
        state = freshness.state(project, chapter)
        if state.text_only and not fresh:
            execute.publish_text(project, chapter)
        elif fresh or not state.fresh:
            to_execute.append(chapter)
        _say(f"  {chapter.slug}: {state}")
    _need_data(to_execute)
    to_execute.sort(key=provenance.seconds, reverse=True)
    command = [sys.executable, "-m", "flatter_lib", "run"]
    runs = [commands.Command(c.slug, [*command, c.slug], project.root, CHAPTER) for c in to_execute]
    if not commands.run(runs, out, at_once=2):
        raise typer.Exit(1)
    _stop_if(hygiene.before_build(project))
    with out.status("building the pages"):
        built = build.build(project, project.build / "pages")
    _stop_if(built.problems or hygiene.after_build(built.html))
    build.install(built, project.html)
    _say(f"the book: open {(project.html / 'index.html').relative_to(project.root)}")


@app.command()
def check(
    only: Annotated[
        list[str] | None,
        typer.Option(help="A stage: style, hygiene, unit, nbval, pages, browser; or machines."),
    ] = None,
) -> None:
    """Run every check: style, hygiene, unit tests, every chapter re-executed, the warning-free build."""
    from flatter_lib.publish import check as checks

    project = Project.find()
    known = [stage.name for stage in (*checks.STAGES, checks.MACHINES)]
    for name in only or []:
        if name not in known:
            raise BookError(f"--only {name}: the stages are {', '.join(known)}")
    if not only or {"unit", "nbval", "machines"} & set(only):
        _need_data(project.chapters())
    if not checks.run(project, out, only or ()):
        raise typer.Exit(1)


@app.command()
def claims(
    paper: Annotated[str, typer.Option(help="Only the claims of this paper, by its key.")] = "",
    verdict: Annotated[str, typer.Option(help="Only those with this verdict.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, with all numbers.")] = False,
) -> None:
    """List the claims that the book tests, with what was measured and the verdict computed from it."""
    from rich.markup import escape
    from rich.table import Column, Table

    from flatter_lib.publish import ledger

    project = Project.find()
    every = ledger.entries(project)
    for name, given, known in (
        ("--paper", paper, {entry.claim.paper for entry in every}),
        ("--verdict", verdict, {entry.verdict for entry in every}),
    ):
        if given and given not in known:
            raise BookError(f"{name} {given}: the ledger has {', '.join(sorted(known))}")
    chosen = [
        entry
        for entry in every
        if paper in ("", entry.claim.paper) and verdict in ("", entry.verdict)
    ]
    if as_json:
        out.print_json(data=[ledger.as_data(entry) for entry in chosen])
        return
    heads = ("claim", "paper", "measured", "verdict", "chapter")
    table = Table(*(Column(head, overflow="fold") for head in heads))
    for entry in chosen:
        row = entry.row
        measured, chapter = (row.written, row.chapter) if row else ("", "")
        texts = (entry.claim.id, entry.claim.paper, measured, entry.verdict, chapter)
        table.add_row(*map(escape, texts))
    out.print(table)
    for problem in ledger.problems(project):
        err.print(f"  {problem}", markup=False)


@app.command()
def pdf() -> None:
    """Print the pages in _build/html as one PDF, with contents and page numbers: _build/book.pdf."""
    from flatter_lib.publish import pdf as printer

    project = Project.find()
    if not project.html.is_dir():
        raise BookError("no pages in _build/html: `flatter book` builds them")
    if lacks := printer.missing():
        raise BookError(f"printing needs {lacks}")
    target = project.build / "book.pdf"
    with out.status("printing the pages"):
        sheets = printer.make(project, project.html, target)
    _say(f"{sheets} sheets: {target.relative_to(project.root)}")


@app.command()
def links(
    try_: Annotated[bool, typer.Option("--try", help="Ask each host for its page.")] = False,
) -> None:
    """List the addresses on other hosts that the built pages and the documents lead to; ask for them if told to."""
    from flatter_lib.publish.checks import links as checked

    project = Project.find()
    if not project.html.is_dir():
        raise BookError("no pages in _build/html: `flatter book` builds them")
    found = checked.external(project, project.html)
    if not try_:
        for address, places in found.items():
            _say(f"{address}  in {', '.join(places)}")
        return
    bad = [(address, said) for address, said in checked.tried(list(found)) if said]
    for address, said in bad:
        _say(f"{address}: {said}; in {', '.join(found[address])}")
    _say(f"{len(found) - len(bad)} of {len(found)} addresses answer")
    if bad:
        raise typer.Exit(1)


@app.command()
def doctor() -> None:
    """Check what the book needs of this machine, and say how to mend what is missing."""
    from flatter_lib.publish import doctor as doctors

    missing = False
    for subject, problem, fine, needed in doctors.examine(Project.find()):
        state = ("missing" if needed else "note") if problem else "ok"
        missing |= state == "missing"
        _say(f"  {state:7} {subject}: {problem or fine}")
    if missing:
        raise typer.Exit(1)


@data_app.callback(invoke_without_command=True)
def data(context: typer.Context) -> None:
    """List the data sets: what each is, and where it was found."""
    if context.invoked_subcommand is None:
        from flatter_lib.publish import datasets

        for line in datasets.listing():
            _say(line)


@data_app.command("get")
def data_get(
    name: Annotated[str, typer.Argument(help="A data set's name, as `flatter data` lists it.")],
) -> None:
    """Find a data set, or fetch it: source and size are said first."""
    from flatter_lib.publish import datasets

    datasets.get(name, out)


def _typed(pairs: list[str]) -> dict[str, str]:
    """What was typed after ``-p``."""
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise BookError(f"-p {pair}: write -p NAME=VALUE")
        if name.strip() in found:
            raise BookError(f"-p {pair}: {name.strip()} is given twice: keep one")
        found[name.strip()] = value
    return found


def _differences(
    project: Project, twin: NotebookNode, values: Values, execution: Execution
) -> list[str]:
    from flatter_lib.publish import compare, ledger

    found = compare.values_differences(values, execution.values, ledger.verdicts(project))
    return [*compare.text_differences(twin, execution.twin), *found]


def _holds(project: Project, chapter: Chapter, execution: Execution) -> bool:
    """Whether only the library changed since the twin was published, and it gave the same."""
    from flatter_lib.publish import freshness, twins

    try:
        if not freshness.state(project, chapter).acquittable:
            return False
        published = twins.read(chapter), twins.published_values(chapter)
    except BookError:
        return False
    return not _differences(project, *published, execution)


def _checked(project: Project, chapter: Chapter, target: Path, force: bool) -> Path:
    """Where a run of one's own may go: a notebook, not one of the book's, and none that is there already."""
    if target.suffix != ".ipynb":
        raise BookError(f"--out {target}: an executed notebook's name ends in .ipynb")
    if project.executed.resolve() in target.resolve().parents:
        raise BookError(f"--out {target}: book/chapters is for published notebooks; choose another")
    there = [path.name for path in chapter.at(target).files if path.is_file()]
    if there and not force:
        raise BookError(f"--out {target}: {there[0]} is there already; --force replaces it")
    return target


def _watched() -> bool:
    """Whether somebody looks: a run that `flatter book` starts has no terminal to be asked at."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _say(text: str) -> None:
    """Print a line as it is: a path may hold what looks like markup."""
    out.print(text, markup=False, soft_wrap=True)


def _need_data(needing: Iterable[Chapter]) -> None:
    from flatter_lib.publish import datasets

    for name in datasets.needed(needing):
        datasets.get(name, out)


def _stop_if(problems: Sequence[object]) -> None:
    for problem in problems:
        err.print(f"  {problem}", markup=False)
    if problems:
        err.print(f"flatter: {len(problems)} found; the book in _build/html is as it was")
        raise typer.Exit(1)
