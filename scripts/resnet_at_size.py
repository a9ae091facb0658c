"""The residual network at a size that convinces: runs that no laptop makes while a reader waits, here or on a GPU.

    PYTHONPATH=. FLATTER_DATA=FOLDER python scripts/resnet_at_size.py gpu --store FOLDER --processes 3

It makes the runs of a profile of `flatter_lib.experiments.resnet_cifar10.PROFILES` that have no record in the store,
and keeps each when it is finished: stopped at any moment, by a key, by ``timeout -s INT`` or by a kill, and started
again, it makes what is left. Phase 1 is made once for each seed and kept under ``--starts``. CIFAR-10 must lie in the
folder ``cifar10`` of FLATTER_DATA. Needed are torch, numpy, scipy, pillow, rich and threadpoolctl, and this checkout.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from functools import partial
from pathlib import Path

from rich.console import Console

from flatter_lib.evidence.experiment import Experiment
from flatter_lib.evidence.local import local
from flatter_lib.evidence.progress import Meter
from flatter_lib.evidence.store import Store
from flatter_lib.evidence.sweep import Report, sweep
from flatter_lib.experiments import resnet_cifar10

BUILD = Path(__file__).parents[1] / "_build"


def run(profile: str, store: Path, processes: int) -> Report:
    """Make what is missing."""
    experiment = Experiment("resnet_cifar10", resnet_cifar10)
    meter = Meter(Console(stderr=True), profile)
    return sweep(
        experiment, profile, Store(store, experiment.name), partial(local, processes), meter
    )


def main() -> int:
    """Read the command line; 0 if all is recorded, 1 if runs failed, 130 if it was stopped."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("profile", choices=resnet_cifar10.PROFILES)
    parser.add_argument("--store", type=Path, default=BUILD / "sweeps")
    parser.add_argument("--starts", type=Path, default=BUILD / "starts")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    os.environ[resnet_cifar10.STARTS] = str(given.starts.resolve())
    # The first is ignored in what a shell runs beside itself.
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, signal.default_int_handler)
    try:
        report = run(given.profile, given.store, given.processes)
    except KeyboardInterrupt:
        print("stopped: finished runs are kept; start it again for the rest", file=sys.stderr)
        return 130
    print(f"{report.total - len(report.failures)} of {report.total} recorded in {given.store}")
    for failed, message in report.failures.items():
        print(f"failed: {failed}: {message}", file=sys.stderr)
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
