"""What workers are: processes of their own, with one thread for each numerical library."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flatter_lib.evidence.cluster import local
from flatter_lib.evidence.experiment import SweepError, find
from flatter_lib.evidence.record import decode
from flatter_lib.evidence.worker import Task

EXPERIMENT = """\
import os
from collections import namedtuple
from dataclasses import dataclass

import numpy
import threadpoolctl


@dataclass(frozen=True)
class Configuration:
    number: int


PROFILES = {"smoke": [], "laptop": [], "paper": []}


def run(configuration):
    numpy.ones((2, 2)) @ numpy.ones((2, 2))
    return {
        "process": os.getpid(),
        "libraries": [pool["num_threads"] for pool in threadpoolctl.threadpool_info()],
        "heavy": heavy() if configuration.number == 0 else [1, 1],
        "told": os.environ["NUMBA_NUM_THREADS"],
    }


def heavy():
    import numba
    import torch

    return [torch.get_num_threads(), numba.get_num_threads()]


def cost(configuration):
    return 1.0
"""


@pytest.fixture
def threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of an experiment that measures how many threads it may use."""
    (tmp_path / "counting").mkdir()
    (tmp_path / "counting" / "threads.py").write_text(EXPERIMENT)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "2")
    importlib.invalidate_caches()
    yield "counting.threads"
    for name in ("counting.threads", "counting"):
        sys.modules.pop(name, None)


def tasks(name: str, numbers: range) -> list[Task]:
    return [Task(name, ({"number": n},), find(name).source(), "") for n in numbers]


@pytest.mark.parametrize(("workers", "numbers"), [(1, range(1, 3)), (2, range(4))])
def test_processes_with_one_thread_each(threads: str, workers: int, numbers: range) -> None:
    with local(workers) as pool:
        made = [records for _, records in pool.outcomes(tasks(threads, numbers))]
    records = [record for each in made for record in each or ()]
    assert sorted(record.configuration["number"] for record in records) == list(numbers)
    for record in records:
        assert record.error == {}
        assert record["process"] != os.getpid()
        assert len(record["libraries"]) >= 1
        assert set(record["libraries"]) == {1}
        assert list(record["heavy"]) == [1, 1]
        assert (record["told"], record.threads) == ("1", 1)


def test_a_worker_that_was_given_more_threads_takes_one(threads: str, tmp_path: Path) -> None:
    code = (
        "import numba, sys, torch\n"
        "from flatter_lib.evidence.record import encode\n"
        "from flatter_lib.evidence.worker import Task, _prepared, attempt\n"
        "source = _prepared(sys.argv[1])[1]\n"
        "print(encode(attempt(Task(sys.argv[1], ({'number': 0},), source, ''))[0]))"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", code, threads]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    record = decode(done.stdout.strip())
    assert set(record["libraries"]) == {1}
    assert (record["heavy"].tolist(), record["told"]) == ([1, 1], "1")


def test_workers_that_cannot_find_the_experiment() -> None:
    with local(2) as pool, pytest.raises(SweepError, match="a worker cannot begin: no experiment"):
        list(pool.outcomes([Task("nowhere.to_be_found", ({},), "", "")]))
