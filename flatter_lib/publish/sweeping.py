"""The commands that make records and look at them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from flatter_lib.publish.console import messages, output
from flatter_lib.publish.project import BookError, FailedError, Project

if TYPE_CHECKING:
    from flatter_lib.sweep.driver import Plan, Report
    from flatter_lib.sweep.pools import Pool
    from flatter_lib.sweep.progress import Display

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
    from flatter_lib.results.store import Store
    from flatter_lib.sweep import driver, experiment
    from flatter_lib.sweep.progress import Display

    out, err = output(), messages()
    with _errors():
        found = experiment.find(name)
        records = Store(_folder(store, profile), name)
        display = Display(err)
        pool = _pool(workers, scheduler, display)
        if dry_run:
            _list(out, driver.plan(found, profile, records, renew), workers)
            return
        report = driver.sweep(found, profile, records, pool, display, renew)
    _say(out, err, report, records.path)
    if report.failures:
        raise typer.Exit(1)


def results(
    name: Annotated[str, typer.Argument(help="An experiment; all of them without.")] = "",
    store: StoreFolder = None,
) -> None:
    """List the experiments, and of each profile how many runs have a record."""
    from rich.table import Table

    from flatter_lib.results.records import few
    from flatter_lib.results.store import Store
    from flatter_lib.sweep import driver, experiment
    from flatter_lib.sweep.progress import duration

    out = output()
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
    out.print(table)
    for line in problems:
        messages().print(f"  {line}", markup=False)


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    """What stops a sweep, as the command line says it."""
    from flatter_lib.sweep.experiment import SweepError, UnknownError

    try:
        yield
    except UnknownError as error:
        raise BookError(str(error)) from None
    except SweepError as error:
        raise FailedError(str(error)) from error


def _folder(store: Path | None, profile: str) -> Path:
    """Where the records of a profile are; those of smoke are for trying, and never published."""
    if store is not None:
        return store
    project = Project.find()
    return project.build / "sweeps" if profile == "smoke" else project.results


def _pool(
    workers: int, scheduler: str, display: Display
) -> Callable[[], AbstractContextManager[Pool]]:
    if scheduler:
        if not re.fullmatch(r"tcp://.+:\d+", scheduler):
            raise BookError(
                f"--scheduler {scheduler}: write it as `dask scheduler` says it, tcp://HOST:PORT"
            )
        try:
            from flatter_lib.sweep.cluster import cluster
        except ImportError:
            raise BookError(
                "--scheduler needs Dask: python -m pip install 'dask[distributed]' in this environment"
            ) from None
        return lambda: cluster(scheduler, display.say)
    from flatter_lib.sweep.pools import local

    return lambda: local(workers)


def _list(out: Console, todo: Plan, workers: int) -> None:
    from flatter_lib.results.record import configuration_of
    from flatter_lib.results.records import few
    from flatter_lib.sweep.progress import duration

    for line in few(todo.damaged):
        out.print(f"  not read: {line}", markup=False, soft_wrap=True)
    for key, cost in todo.waiting.items():
        fields = configuration_of(todo.wanted[key])
        said = ", ".join(f"{name}={value}" for name, value in fields.items())
        out.print(f"  {said}  ({duration(cost)})", markup=False, soft_wrap=True)
    failed = f", {todo.failed} of them failed before" if todo.failed else ""
    stale = f"; {todo.stale} records are by other code (--renew)" if todo.stale else ""
    time = f"about {duration(todo.cost / workers)} on {workers} workers" if todo.waiting else ""
    out.print(
        f"{todo.experiment.name}: {len(todo.wanted)} configurations, {len(todo.waiting)} to run{failed}"
        f"{f', {time}' if time else ''}{stale}",
        soft_wrap=True,
    )


def _say(out: Console, err: Console, report: Report, path: Path) -> None:
    for key, message in report.failures.items():
        err.print(f"  failed: {key}: {message}", markup=False)
    kept = report.total - len(report.failures)
    failed = f", {len(report.failures)} failed" if report.failures else ""
    out.print(
        f"{path.stem}: {report.made} runs made{failed}; {kept} of {report.total} recorded in",
        end=" ",
    )
    out.print(str(path), markup=False, soft_wrap=True)
