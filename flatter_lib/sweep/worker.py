"""What a worker does: make one run, on one thread, and give back its record as a line."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import sys
import time
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from flatter_lib import machine
from flatter_lib.results.record import Record, encode, plain
from flatter_lib.sweep.experiment import Experiment, SweepError, find

#: Threads that each numerical library gets: workers are as many as there are cores, or cards.
THREADS = 1
PACKAGES = ("flatter-lib", "numpy", "scipy", "numba", "torch", "torchvision")
VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


class Task(NamedTuple):
    """A run to make.

    Attributes:
        key: its record's key.
        experiment: the experiment's name.
        fields: the configuration's fields.
        attempt: 1, or 2 if the first attempt failed.
        commit: the commit of the checkout that the sweep was started in.
    """

    key: str
    experiment: str
    fields: Mapping[str, Any]
    attempt: int
    commit: str


class Outcome(NamedTuple):
    """A run that was made.

    Attributes:
        key: its record's key.
        line: its record, encoded.
        error: the last line of its traceback; empty if it did not fail.
        source: the hash of the code that it ran.
    """

    key: str
    line: str
    error: str
    source: str


def attempt(task: Task) -> Outcome:
    """Make a run; one that fails is an outcome too.

    Raises:
        SweepError: if the experiment is not to be had here, so that no run of it can be made.
    """
    try:
        experiment, source = _prepared(task.experiment)
    except SweepError as missing:
        raise SweepError(f"a worker cannot begin: {missing}") from None
    start = time.perf_counter()
    measurements: Mapping[str, Any] = {}
    error: Mapping[str, str] = {}
    try:
        measurements = dict(experiment.run(experiment.type(**task.fields)))
        plain(measurements)  # what a record cannot hold is the run's own failure
    except (Exception, SystemExit) as raised:
        measurements, error = {}, _described(raised)
    record = Record(
        experiment=task.experiment,
        configuration=dict(task.fields),
        measurements=measurements,
        error=error,
        attempt=task.attempt,
        seed=task.fields.get("seed"),
        device=_device(task.fields.get("device", "cpu")),
        dtype=task.fields.get("dtype", "float64"),
        threads=THREADS,
        seconds=round(time.perf_counter() - start, 6),
        finished=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        machine=machine.describe(),
        versions=_versions(),
        code={"commit": task.commit, "source": source},
    )
    return Outcome(task.key, encode(record), error.get("message", ""), source)


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
def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


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
