"""What a sweep adds to its runs: handing them out, taking their records in, keeping them.

Run it with ``python benchmarks/sweep.py --help``. Nothing here is a test: it prints times. The runs are the smallest
that mean something, a few milliseconds of :mod:`flatter_lib.experiments.stationary_law`, one seed each.
"""

from __future__ import annotations

import argparse
import io
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from flatter_lib.evidence.cluster import Pool, local
from flatter_lib.evidence.experiment import Experiment, find
from flatter_lib.evidence.progress import Display
from flatter_lib.evidence.record import Record
from flatter_lib.evidence.store import Store
from flatter_lib.evidence.sweep import sweep


def many(count: int) -> Experiment:
    """The experiment with so many small runs."""
    experiment = find("stationary_law")
    first = experiment.profiles["smoke"][-1]
    runs = [replace(first, seed=seed, chains=16, looks=1) for seed in range(count)]
    return replace(experiment, profiles={"smoke": runs})


@contextmanager
def kept(pool: Pool) -> Iterator[Pool]:
    """Workers that were started before and stay."""
    yield pool


class Watched(Store):
    """A store that knows how long it took."""

    spent = 0.0

    def put(self, record: Record) -> None:
        """Keep a record."""
        begin = time.perf_counter()
        super().put(record)
        self.spent += time.perf_counter() - begin

    def _gather(self) -> None:
        begin = time.perf_counter()
        super()._gather()
        self.spent += time.perf_counter() - begin


def measured(count: int, pool: Pool, folder: Path) -> tuple[float, float, float, float]:
    """Seconds of a sweep, of its store, of its runs themselves, and of the driver's processor."""
    store = Watched(folder, "stationary_law")
    quiet = Display(Console(file=io.StringIO()))
    begin, processor = time.perf_counter(), time.process_time()
    report = sweep(many(count), "smoke", store, lambda: kept(pool), quiet)
    seconds, processor = time.perf_counter() - begin, time.process_time() - processor
    records = store.read().records.values()
    if report.made != count or len(records) != count:
        raise SystemExit(f"{count} runs asked for, {report.made} made, {len(records)} recorded")
    return seconds, store.spent, sum(record.seconds for record in records), processor


def main() -> None:
    """Print the overheads."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--runs", type=int, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--store", type=Path, help="on which disk (default: a temporary folder)")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=options.store))
    try:
        with local(options.workers) as pool:
            begin = time.perf_counter()
            measured(options.workers, pool, folder / "start")
            print(
                f"starting {options.workers} workers, once: {time.perf_counter() - begin:.2f} s\n"
            )
            print(
                "   runs   wall time   runs themselves   overhead a run   of it store   of it processor"
            )
            for count in options.runs:
                wall, store, runs, processor = measured(count, pool, folder / str(count))
                # What the workers' time is not spent on.
                overhead = (wall * options.workers - runs) / options.workers / count
                print(
                    f"{count:7d}{wall:10.2f} s{runs / count * 1e3:15.2f} ms"
                    f"{overhead * 1e3:14.2f} ms{store / count * 1e3:11.2f} ms{processor / count * 1e3:15.2f} ms"
                )
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
