"""The command that measures a sample of the records again under today's code, and keeps what became of it."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flatter_lib.publish.console import messages, output
from flatter_lib.publish.files import replace_json
from flatter_lib.publish.project import BookError, FailedError, Project
from flatter_lib.publish.sweeping import StoreFolder

if TYPE_CHECKING:
    from flatter_lib.results.record import Record
    from flatter_lib.sweep.experiment import Experiment

WORKERS = 2


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
    from flatter_lib.sweep import experiment

    folder = Project.find().results if store is None else store
    names = [name] if name else [n for n in experiment.names() if (folder / f"{n}.jsonl").is_file()]
    if not names:
        raise BookError(f"{folder}: holds no records; `flatter sweep` makes them")
    try:
        held = [_held(experiment.find(n), folder / f"{n}.jsonl", seconds, dry_run) for n in names]
    except experiment.UnknownError as error:
        raise BookError(str(error)) from None
    except (experiment.SweepError, ValueError) as error:
        raise FailedError(str(error)) from error
    if not all(held):
        raise typer.Exit(1)


def _held(found: Experiment, path: Path, seconds: float, dry_run: bool) -> bool:
    """Verify the records of an experiment, keep how that went and say it."""
    from flatter_lib import results
    from flatter_lib.results import verify as rules
    from flatter_lib.sweep.progress import duration

    out, err = output(), messages()
    records, kept = results.load(path), rules.verifications(path)
    drawn = rules.sample(records, found.source(), seconds * WORKERS, WORKERS)
    if dry_run:
        for record in drawn:
            took = duration(record.seconds)
            out.print(f"  {rules.said(record)}  ({took})", markup=False, soft_wrap=True)
        time_needed = duration(sum(record.seconds for record in drawn) / WORKERS)
        out.print(f"{found.name}: {len(drawn)} of {len(records)} records, about {time_needed}")
        return True
    if not drawn:
        raise FailedError(
            f"{found.name}: no run is as short as --seconds {seconds:g}; give it more"
        )
    if not os.access(path.parent, os.W_OK):
        raise FailedError(f"{path.parent}: cannot be written; mend that and start again")
    fresh = list(_made_again(found, drawn, seconds))
    recorded = {record.key: record for record in drawn}
    held = getattr(importlib.import_module(found.module), "HELD", {})
    verdicts = rules.judge([(recorded[again.key], again) for again in fresh], held)
    entry = rules.entry(path, len(records), fresh, verdicts)
    replace_json(rules.beside(path), [*kept, entry])
    for line in rules.complaints(verdicts, fresh):
        err.print(f"  {found.name}: {line}", markup=False)
    outcome = (
        "hold"
        if entry["passed"]
        else f"do not hold: if today's code is right, `flatter sweep {found.name} --renew` measures them again"
    )
    out.print(
        f"{found.name}: {len(fresh)} of {len(records)} records measured again; they {outcome}",
        soft_wrap=True,
    )
    return bool(entry["passed"])


def _made_again(found: Experiment, drawn: Sequence[Record], seconds: float) -> Iterator[Record]:
    """Make runs in their order, as many as are begun in the time."""
    from flatter_lib.results.record import decode
    from flatter_lib.sweep import pools
    from flatter_lib.sweep.progress import Display, Meter
    from flatter_lib.sweep.worker import Task

    commit, source, start = found.commit(), found.source(), time.monotonic()
    took = {record.key: record.seconds for record in drawn}
    meter, display = (
        Meter(found.name, len(drawn), 0, sum(took.values()), WORKERS),
        Display(messages()),
    )

    def tasks() -> Iterator[Task]:
        for number, record in enumerate(drawn):
            if number and time.monotonic() - start > seconds:
                return
            meter.running += 1
            fields = {
                n: tuple(v) if isinstance(v, list) else v for n, v in record.configuration.items()
            }
            yield Task(record.key, found.name, fields, 1, commit)

    try:
        with pools.local(WORKERS) as pool, display.showing(meter):
            for outcome in pool.outcomes(tasks()):
                if outcome.source != source:
                    raise FailedError(
                        f"{found.name}: its code was edited meanwhile; nothing is kept, start again"
                    )
                meter.running -= 1
                meter.finished(took[outcome.key])
                display.update(meter)
                yield decode(outcome.line)
    except pools.WorkersDiedError as died:
        raise FailedError(
            f"{found.name}: {died}: is there enough memory? Nothing is kept"
        ) from None
