"""What a worker does: make one run, or some that go together, on one thread, and give back their records."""

from __future__ import annotations

import functools
import os
import sys
import time
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from flatter_lib import machine
from flatter_lib.evidence.experiment import Experiment, SweepError, find, measured
from flatter_lib.evidence.record import Record, plain, unplain

#: Threads that each numerical library gets: workers are as many as there are cores, or cards.
THREADS = 1
PACKAGES = ("flatter-lib", "numpy", "scipy", "numba", "torch", "torchvision")
VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


class Task(NamedTuple):
    """Runs to make in one pass.

    Attributes:
        experiment: the experiment's name.
        cells: the fields of each configuration.
        source: the hash of the code that must be run.
        commit: the commit of the checkout that the sweep was started in.
        attempt: 1, or 2 if the first attempt failed.
    """

    experiment: str
    cells: tuple[Mapping[str, Any], ...]
    source: str
    commit: str
    attempt: int = 1

    def record(self, cell: Mapping[str, Any], **known: Any) -> Record:
        """The record of one of the runs, with what is known of it."""
        code = {"commit": self.commit, "source": self.source}
        return Record(self.experiment, dict(cell), attempt=self.attempt, code=code, **known)


def attempt(task: Task) -> list[Record]:
    """Make runs; one that fails has a record too. Runs that fail together are made one by one.

    Returns:
        A record of each, with its share of the seconds.

    Raises:
        SweepError: if the experiment is not to be had here, or in another version, so that no run can be made.
    """
    try:
        experiment, source = _prepared(task.experiment)
    except SweepError as missing:
        raise SweepError(f"a worker cannot begin: {missing}") from None
    if source != task.source:
        raise SweepError(
            "a worker runs other code than this process: it was edited since this began, or that worker has "
            "another version of it; finished runs are kept, start again with one version everywhere"
        )
    error: Mapping[str, str] = {}
    start = time.perf_counter()
    try:
        module = experiment.module
        configurations = [module.Configuration(**cell) for cell in task.cells]
        # What a record cannot hold is the runs' own failure.
        found = [unplain(plain(dict(each))) for each in measured(module, configurations)]
        if len(found) != len(configurations):
            raise ValueError(f"run_many: {len(found)} measurements of {len(configurations)}")
    except (Exception, SystemExit) as raised:
        if len(task.cells) > 1:
            alone = (task._replace(cells=(cell,)) for cell in task.cells)
            return [record for each in alone for record in attempt(each)]
        found, error = [{}], _described(raised)
    share = round((time.perf_counter() - start) / len(task.cells), 6)
    finished = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return [
        task.record(
            cell,
            measurements=measurements,
            error=error,
            seed=cell.get("seed"),
            device=_device(cell.get("device", "cpu")),
            dtype=cell.get("dtype", "float64"),
            threads=THREADS,
            seconds=share,
            finished=finished,
            machine=machine.describe(),
            versions=machine.versions(PACKAGES),
        )
        for cell, measurements in zip(task.cells, found, strict=True)
    ]


@functools.cache
def _prepared(name: str) -> tuple[Experiment, str]:
    """The experiment, imported with one thread for each numerical library, and the hash of its code."""
    os.environ.update(dict.fromkeys(VARIABLES, str(THREADS)))
    experiment = find(name)
    import threadpoolctl  # type: ignore[import-untyped]

    for library in ("torch", "numba"):
        if library in sys.modules:
            sys.modules[library].set_num_threads(THREADS)
    # Last, because numba starts as many threads of OpenMP as it was given when it was imported.
    threadpoolctl.threadpool_limits(THREADS)
    return experiment, experiment.source()


@functools.cache
def _device(name: str) -> str:
    """A device's name, for a card with its model."""
    if not name.startswith("cuda"):
        return name
    import torch

    return f"{name} ({torch.cuda.get_device_name(name)})" if torch.cuda.is_available() else name


def _described(raised: BaseException) -> dict[str, str]:
    """A traceback without the folders of the machine it happened on."""
    lines = traceback.TracebackException.from_exception(raised)
    lines.stack = traceback.StackSummary.from_list(list(lines.stack)[1:])
    text = "".join(lines.format())
    folders = {str(Path(folder).resolve()) for folder in sys.path if folder} | set(sys.path)
    for folder in sorted(folders - {"", "/"}, key=len, reverse=True):
        text = text.replace(f"{folder}{os.sep}", "")
    text = text.replace(str(Path.home()), "~")
    return {"message": text.strip().splitlines()[-1], "traceback": text}
