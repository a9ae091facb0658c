"""The commands that make records, look at them, and measure them again."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flatter_lib.publish.console import messages, output
from flatter_lib.publish.project import BookError, FailedError, Project

if TYPE_CHECKING:
    from flatter_lib.evidence.experiment import Experiment
    from flatter_lib.evidence.sweep import Plan, Report

ExperimentName = Annotated[
    str, typer.Argument(help="An experiment's name, as `flatter results` lists it.")
]
Profile = Annotated[
    str, typer.Option(help="smoke, laptop (what the book publishes) or paper (on GPUs).")
]
StoreFolder = Annotated[
    Path | None,
    typer.Option(
        "--store",
        metavar="FOLDER",
        help="Where records are kept: book/results, or for smoke _build/sweeps, unless you say.",
    ),
]


def sweep(
    name: ExperimentName,
    profile: Profile = "laptop",
    workers: Annotated[int, typer.Option(min=1, help="Processes of this machine.")] = 2,
    scheduler: Annotated[
        str, typer.Option(metavar="tcp://HOST:PORT", help="A Dask cluster to run on instead.")
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List what would run and how long, and run nothing.")
    ] = False,
    renew: Annotated[
        bool, typer.Option("--renew", help="Run again what other code than today's measured.")
    ] = False,
    store: StoreFolder = None,
) -> None:
    """Make the runs of an experiment that have no record, here or on a cluster.

    Killed at any moment and started again, it repeats only what was in flight. Runs that failed are tried again.
    """
    from flatter_lib.evidence import experiment
    from flatter_lib.evidence import sweep as driver
    from flatter_lib.evidence.local import local
    from flatter_lib.evidence.progress import Meter
    from flatter_lib.evidence.store import Store

    if scheduler and not re.fullmatch(r"tcp://.+:\d+", scheduler):
        raise BookError(
            f"--scheduler {scheduler}: write it as `dask scheduler` says it, tcp://HOST:PORT"
        )
    with _errors():
        found = experiment.find(name)
        records = Store(_folder(store, profile), name)
        if dry_run:
            _list(driver.plan(found, profile, records, renew), workers)
            return
        meter = Meter(messages(), name)
        pool = partial(local, workers)
        if scheduler:
            from flatter_lib.evidence.cluster import remote

            pool = partial(remote, scheduler, meter.say)
        report = driver.sweep(found, profile, records, pool, meter, renew)
    _say(report, records.path)
    if report.failures:
        raise typer.Exit(1)


def results(
    name: Annotated[str, typer.Argument(help="An experiment; all of them without.")] = "",
    store: StoreFolder = None,
) -> None:
    """List the experiments, and of each profile how many runs have a record."""
    from rich.table import Table

    from flatter_lib.evidence import experiment
    from flatter_lib.evidence import sweep as driver
    from flatter_lib.evidence.progress import duration
    from flatter_lib.evidence.records import few
    from flatter_lib.evidence.store import Store

    table = Table("experiment", "profile", "recorded", "failed", "other code", "left, one core")
    problems: dict[str, None] = {}
    for each in [name] if name else experiment.names():
        try:
            found = experiment.find(each)
            for profile in experiment.PROFILES:
                todo = driver.plan(found, profile, Store(_folder(store, profile), each))
                problems |= dict.fromkeys(few(todo.damaged))
                table.add_row(
                    each if profile == "smoke" else "",
                    profile,
                    f"{len(todo.wanted) - len(todo.waiting)} of {len(todo.wanted)}",
                    str(todo.failed or ""),
                    str(todo.stale or ""),
                    duration(todo.cost) if todo.waiting else "",
                )
        except experiment.UnknownError as error:
            raise BookError(str(error)) from None
        except experiment.SweepError as error:
            problems[str(error)] = None
    output().print(table)
    for line in problems:
        messages().print(f"  {line}", markup=False)


def verify(
    name: Annotated[str, typer.Argument(help="An experiment; all that have records without.")] = "",
    seconds: Annotated[
        float, typer.Option(min=1, help="About how long each experiment may take, on two workers.")
    ] = 300.0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List what would be measured again, and how long.")
    ] = False,
    store: StoreFolder = None,
) -> None:
    """Measure a sample of the records again under today's code, and say whether they hold.

    No record is rewritten; each verification is added to NAME.verified.json beside them, failed ones too. Interrupted,
    it keeps nothing of the experiment that it was at.
    """
    from flatter_lib.evidence import experiment

    folder = Project.find().results if store is None else store
    names = [name] if name else [n for n in experiment.names() if (folder / f"{n}.jsonl").is_file()]
    if not names:
        raise BookError(f"{folder}: holds no records; `flatter sweep` makes them")
    with _errors():
        tried = _drawn if dry_run else _held
        held = [tried(experiment.find(n), folder / f"{n}.jsonl", seconds) for n in names]
    if not all(held):
        raise typer.Exit(1)


def _drawn(found: Experiment, path: Path, seconds: float) -> bool:
    """List what would be measured again."""
    from flatter_lib.evidence import load, verify
    from flatter_lib.evidence.progress import duration
    from flatter_lib.evidence.record import said

    out, records = output(), load(path)
    drawn = verify.sample(records, found.source(), seconds * verify.WORKERS, verify.WORKERS)
    for record in drawn:
        line = f"  {said(record.configuration)}  ({duration(record.seconds)})"
        out.print(line, markup=False, soft_wrap=True)
    needed = duration(sum(record.seconds for record in drawn) / verify.WORKERS)
    out.print(f"{found.name}: {len(drawn)} of {len(records)} records, about {needed}")
    return True


def _held(found: Experiment, path: Path, seconds: float) -> bool:
    """Verify the records of an experiment, and say how that went."""
    from flatter_lib.evidence import verify
    from flatter_lib.evidence.progress import Meter

    made, wrong = verify.verify(found, path, seconds, Meter(messages(), found.name))
    for line in wrong:
        messages().print(f"  {found.name}: {line}", markup=False)
    outcome = (
        "hold"
        if made["passed"]
        else f"do not hold: if today's code is right, `flatter sweep {found.name} --renew` measures them again"
    )
    output().print(
        f"{found.name}: {len(made['keys'])} of {made['records']} records measured again; they {outcome}",
        soft_wrap=True,
    )
    return bool(made["passed"])


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    """What stops a command, as the command line says it."""
    from flatter_lib.evidence.experiment import SweepError, UnknownError

    try:
        yield
    except UnknownError as error:
        raise BookError(str(error)) from None
    except (SweepError, ValueError) as error:
        raise FailedError(str(error)) from error


def _folder(store: Path | None, profile: str) -> Path:
    """Where the records of a profile are; those of smoke are for trying, and never published."""
    if store is not None:
        return store
    project = Project.find()
    return project.build / "sweeps" if profile == "smoke" else project.results


def _list(todo: Plan, workers: int) -> None:
    from flatter_lib.evidence.progress import duration
    from flatter_lib.evidence.record import configuration_of, said
    from flatter_lib.evidence.records import few

    out = output()
    for line in few(todo.damaged):
        out.print(f"  not read: {line}", markup=False, soft_wrap=True)
    for key, cost in todo.waiting.items():
        fields = said(configuration_of(todo.wanted[key]))
        out.print(f"  {fields}  ({duration(cost)})", markup=False, soft_wrap=True)
    failed = f", {todo.failed} of them failed before" if todo.failed else ""
    stale = f"; {todo.stale} records are by other code (--renew)" if todo.stale else ""
    time = f"about {duration(todo.cost / workers)} on {workers} workers" if todo.waiting else ""
    out.print(
        f"{todo.experiment.name}: {len(todo.wanted)} configurations, {len(todo.waiting)} to run{failed}"
        f"{f', {time}' if time else ''}{stale}",
        soft_wrap=True,
    )


def _say(report: Report, path: Path) -> None:
    for key, message in report.failures.items():
        messages().print(f"  failed: {key}: {message}", markup=False)
    kept = report.total - len(report.failures)
    failed = f", {len(report.failures)} failed" if report.failures else ""
    made = f"{path.stem}: {report.made} runs made{failed}; {kept} of {report.total} recorded in"
    output().print(made, path, markup=False, soft_wrap=True)
