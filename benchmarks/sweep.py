"""What a sweep adds to its runs: handing them out, taking their records in, keeping them.

Run it with ``python benchmarks/sweep.py --help``. Nothing here is a test: it prints times. The runs are the smallest
that mean something, a few milliseconds of :mod:`flatter_lib.experiments.stationary_law`, one seed each.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

from rich.console import Console

from flatter_lib.evidence.experiment import Experiment
from flatter_lib.evidence.local import Pool, local
from flatter_lib.evidence.progress import Meter
from flatter_lib.evidence.store import Store
from flatter_lib.evidence.sweep import sweep
from flatter_lib.experiments import stationary_law

NAME = "stationary_law"


def many(count: int) -> Experiment:
    """The experiment with so many small runs."""
    first = stationary_law.PROFILES["smoke"][-1]
    runs = [replace(first, seed=seed, chains=16, looks=1) for seed in range(count)]
    given = vars(stationary_law) | {"PROFILES": {"smoke": runs}}
    return Experiment(NAME, SimpleNamespace(**given))


def measured(count: int, pool: Pool, folder: Path) -> tuple[float, float, float]:
    """Seconds of a sweep, of its runs themselves, and of the driver's processor."""
    store, quiet = Store(folder, NAME), Meter(Console(file=io.StringIO()), NAME)
    begin, processor = time.perf_counter(), time.process_time()
    report = sweep(many(count), "smoke", store, lambda: nullcontext(pool), quiet)
    seconds, processor = time.perf_counter() - begin, time.process_time() - processor
    records = store.read().records.values()
    if report.made != count or len(records) != count:
        raise SystemExit(f"{count} runs asked for, {report.made} made, {len(records)} recorded")
    return seconds, sum(record.seconds for record in records), processor


def main() -> None:
    """Print the overheads."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--runs", type=int, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--store", type=Path, help="on which disk (default: a temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.store) as folder, local(options.workers) as pool:
        begin = time.perf_counter()
        measured(options.workers, pool, Path(folder, "start"))
        print(f"starting {options.workers} workers, once: {time.perf_counter() - begin:.2f} s\n")
        print("   runs   wall time   runs themselves   overhead a run   of it processor")
        for count in options.runs:
            wall, runs, processor = measured(count, pool, Path(folder, str(count)))
            # What the workers' time is not spent on.
            overhead = (wall * options.workers - runs) / options.workers / count
            print(
                f"{count:7d}{wall:10.2f} s{runs / count * 1e3:15.2f} ms"
                f"{overhead * 1e3:14.2f} ms{processor / count * 1e3:15.2f} ms"
            )


if __name__ == "__main__":
    main()
