"""Trying records by measuring a sample of them again: "measured by code A, verified under code B"."""

from __future__ import annotations

import itertools
import json
import os
import random
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from flatter_lib.evidence.experiment import Experiment, SweepError
from flatter_lib.evidence.judge import Verdict, complaints, judge
from flatter_lib.evidence.local import local
from flatter_lib.evidence.progress import Meter
from flatter_lib.evidence.record import Record, plain
from flatter_lib.evidence.records import digest, load
from flatter_lib.evidence.sweep import batches
from flatter_lib.evidence.worker import Task
from flatter_lib.files import replace_json

#: Runs that took no more seconds are all measured again, if the budget allows.
SHORT = 5.0
#: A field of the configurations with no more values than this tells kinds of configuration apart.
KINDS = 4
#: Processes that measure again.
WORKERS = 2


def sample(records: Iterable[Record], seed: str, seconds: float, workers: int = 1) -> list[Record]:
    """Draw the runs to make again, in an order in which any beginning is a fair sample too.

    First short ones: all, or as many as half of the time holds if there are others. Then others, and with what is left
    the remaining short ones. Each draw goes round the kinds of configuration, one run of each at a time. A kind is
    what shares the values of the fields that have at most :data:`KINDS` of them, the seed left aside.

    Args:
        records: what there is.
        seed: of the draw; the hash of the code, so that other code gets another sample.
        seconds: budget on one core, by how long the runs took before.
        workers: no run takes more than the share that each of these has of what is left.

    Returns:
        The runs, each once.

    Examples:
        >>> runs = [Record("valley", {"noise": n % 2, "seed": n}, seconds=float(n)) for n in range(12)]
        >>> drawn = sample(runs, "a hash", 30.0)
        >>> sum(r.seconds for r in drawn) <= 30, sorted(r.seconds for r in drawn)[:6]
        (True, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    """
    everything = list(records)
    generator = random.Random(seed)
    values: dict[str, set[str]] = defaultdict(set)
    for record in everything:
        for name, value in record.configuration.items():
            values[name].add(repr(value))
    few = [name for name, found in values.items() if name != "seed" and len(found) <= KINDS]

    def drawn(runs: Iterable[Record]) -> list[Record]:
        kinds: dict[str, list[Record]] = defaultdict(list)
        for record in sorted(runs, key=lambda r: r.key):
            kinds[repr([record.configuration.get(name) for name in few])].append(record)
        for runs_of_it in kinds.values():
            generator.shuffle(runs_of_it)
        order = list(kinds.values())
        generator.shuffle(order)
        return [r for turn in itertools.zip_longest(*order) for r in turn if r is not None]

    short = drawn(r for r in everything if r.seconds <= SHORT)
    long = drawn(r for r in everything if r.seconds > SHORT)
    chosen: dict[str, Record] = {}
    left = seconds
    for runs, kept in ((short, seconds / 2 if long else 0.0), (long, 0.0), (short, 0.0)):
        for record in runs:
            if record.key not in chosen and record.seconds <= (left - kept) / workers:
                chosen[record.key] = record
                left -= record.seconds
    return list(chosen.values())


def verify(
    experiment: Experiment, path: Path, seconds: float, meter: Meter
) -> tuple[dict[str, Any], list[str]]:
    """Measure a sample of a file's records again, judge them, and add the verification to those that are kept.

    Args:
        experiment: the experiment.
        path: the file, in which nothing is changed.
        seconds: about how long it may take.
        meter: where to say how far it is.

    Returns:
        The verification as it is kept, and a line for all that does not hold.

    Raises:
        ValueError: if the records or the verifications cannot be read.
        SweepError: if it cannot be done; nothing is kept then.
    """
    records, kept = load(path), verifications(path)
    drawn = sample(records, experiment.source(), seconds * WORKERS, WORKERS)
    if not drawn:
        raise SweepError(
            f"{experiment.name}: no run is as short as --seconds {seconds:g}; give it more"
        )
    if not os.access(path.parent, os.W_OK):
        raise SweepError(f"{path.parent}: cannot be written; mend that and start again")
    recorded = {record.key: record for record in drawn}
    fresh = list(_made_again(experiment, recorded, seconds, meter))
    held = getattr(experiment.module, "HELD", {})
    verdicts = judge([(recorded[again.key], again) for again in fresh], held)
    made = entry(path, len(records), fresh, verdicts)
    replace_json(beside(path), [*kept, made])
    return made, complaints(verdicts, fresh)


def _made_again(
    experiment: Experiment, drawn: Mapping[str, Record], seconds: float, meter: Meter
) -> Iterator[Record]:
    """Make runs in their order, together what can be, as many as are begun in the time."""
    commit, source, start = experiment.commit(), experiment.source(), time.monotonic()
    cells = {key: record.configuration for key, record in drawn.items()}
    kind = experiment.module.Configuration
    alike = batches(experiment, {key: kind(**cell) for key, cell in cells.items()})
    cost = sum(record.seconds for record in drawn.values())

    def tasks() -> Iterator[Task]:
        for number, keys in enumerate(alike):
            if number and time.monotonic() - start > seconds:
                return
            meter.running += len(keys)
            together = tuple(cells[key] for key in keys)
            yield Task(experiment.name, together, source, commit)

    with local(WORKERS) as pool, meter.showing(len(drawn), 0, cost, WORKERS):
        for task, records in pool.outcomes(tasks()):
            if records is None:
                raise SweepError(
                    f"{experiment.name}: a worker was killed: is there enough memory? Nothing is kept"
                )
            meter.running -= len(task.cells)
            for record in records:
                missing = record.error.get("message", "").partition("DataError: ")[2]
                if missing:
                    raise SweepError(f"{experiment.name}: {missing}; nothing is kept")
                meter.finished(drawn[record.key].seconds)
                yield record
            meter.update()


def entry(
    path: Path, total: int, fresh: Sequence[Record], verdicts: Mapping[str, Verdict]
) -> dict[str, Any]:
    """A verification as it is kept, in what JSON has.

    Args:
        path: the file of records.
        total: how many it holds.
        fresh: runs that were made again, one at least; one that failed does not pass.
        verdicts: what became of each measurement.
    """
    first = fresh[0]
    failures = {record.key: record.error["message"] for record in fresh if not record.ok}
    return {
        "source": first.code["source"],
        "commit": first.code["commit"],
        "when": max(record.finished for record in fresh),
        "machine": first.machine,
        "versions": dict(first.versions),
        "records": total,
        "digest": digest(path),
        "keys": sorted(record.key for record in fresh),
        "failures": failures,
        "measurements": {
            name: plain(v._asdict() | {"rule": str(v.rule), "example": v.example[0].key})
            for name, v in verdicts.items()
        },
        "passed": not failures and all(v.passed for v in verdicts.values()),
    }


def beside(path: Path) -> Path:
    """Where the verifications of a file of records are: ``NAME.verified.json`` beside ``NAME.jsonl``."""
    return path.with_suffix(".verified.json")


def verifications(path: Path) -> list[dict[str, Any]]:
    """The verifications of a file of records, in order; none if it has not been verified.

    Raises:
        ValueError: if they cannot be read.
    """
    kept = beside(path)
    try:
        content = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else []
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{kept.name} cannot be read ({error}): take it back from git or remove it"
        ) from None
    if not isinstance(content, list) or not all(isinstance(e, dict) for e in content):
        raise ValueError(
            f"{kept.name} is no list of verifications: take it back from git or remove it"
        )
    return content
