"""What each fault gives on a cluster: a real Dask scheduler with its workers, on loopback."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.evidence.conftest import Laboratory

RUNS = list(range(12))


def test_a_killed_worker(laboratory: Laboratory) -> None:
    cluster = laboratory.cluster(workers=2)
    laboratory.hold(5, 6)
    sweep = laboratory.begin()
    laboratory.until(lambda: laboratory.started(5))
    (worker,) = laboratory.started(5)
    assert worker in cluster.workers
    laboratory.kill(worker)
    laboratory.until(lambda: len(laboratory.started(5) + laboratory.started(6)) >= 2)
    laboratory.release()
    status, said, complained = laboratory.finish(sweep)
    assert (status, complained) == (0, "")
    assert "12 runs made; 12 of 12 recorded" in said
    assert laboratory.gathered() == RUNS
    assert all(record.ok for record in laboratory.kept().values())


def test_a_killed_scheduler(laboratory: Laboratory) -> None:
    cluster = laboratory.cluster(workers=2)
    laboratory.hold(8)
    sweep = laboratory.begin()
    laboratory.until(lambda: laboratory.store.exists() and len(laboratory.kept()) >= 3)
    laboratory.until(lambda: laboratory.started(8))
    gone = laboratory.address
    laboratory.kill(cluster.scheduler)
    status, said, complained = laboratory.finish(sweep)
    assert (status, said) == (1, "")
    assert complained == (
        f"flatter: the scheduler at {gone} is gone: finished runs are kept; "
        "start it and its workers, then this again\n"
    )
    finished = laboratory.gathered()
    assert 3 <= len(finished) < 12
    before = [len(laboratory.started(n)) for n in RUNS]
    laboratory.release()
    laboratory.cluster(workers=2)
    status, said, complained = laboratory.finish(laboratory.begin())
    assert (status, complained, laboratory.gathered()) == (0, "", RUNS)
    assert f"{12 - len(finished)} runs made; 12 of 12 recorded" in said
    assert [len(laboratory.started(n)) for n in finished] == [before[n] for n in finished]


def test_a_killed_driver_and_a_single_worker(laboratory: Laboratory) -> None:
    cluster = laboratory.cluster(workers=1)
    laboratory.hold(8)
    sweep = laboratory.begin()
    laboratory.until(lambda: laboratory.store.exists() and len(laboratory.kept()) >= 3)
    laboratory.until(lambda: laboratory.started(8))
    laboratory.kill(sweep.pid)
    sweep.wait()
    finished = sorted(laboratory.kept())
    laboratory.release()
    status, said, complained = laboratory.finish(laboratory.begin())
    assert (status, complained, laboratory.gathered()) == (0, "", RUNS)
    assert f"{12 - len(finished)} runs made; 12 of 12 recorded" in said
    assert {worker for n in RUNS for worker in laboratory.started(n)} == set(cluster.workers)


def test_a_run_that_the_cluster_gives_up(
    laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "0")
    laboratory.cluster(workers=2)
    laboratory.tell(5, "kill once")
    status, _, complained = laboratory.finish(laboratory.begin())
    assert (status, complained, laboratory.gathered()) == (0, "", RUNS)
    assert len(laboratory.started(5)) == 2


def test_a_cluster_without_workers(laboratory: Laboratory) -> None:
    (worker,) = laboratory.cluster(workers=1).workers
    laboratory.hold(5)
    sweep = laboratory.begin()
    laboratory.until(lambda: laboratory.started(5))
    laboratory.kill(worker)
    assert sweep.stderr is not None
    start = f"`dask worker {laboratory.address} --nworkers 1 --nthreads 1`"
    assert sweep.stderr.readline() == (
        f"no worker is at {laboratory.address}: waiting 10 min for one; start some with {start}, "
        "or end this with Ctrl-C: finished runs are kept\n"
    )
    laboratory.release()
    laboratory.join()
    status, said, complained = laboratory.finish(sweep)
    assert (status, laboratory.gathered()) == (0, RUNS)
    assert complained == f"a worker has joined {laboratory.address}: the sweep goes on\n"
    assert "12 runs made; 12 of 12 recorded" in said


@pytest.mark.parametrize(("workers", "waits"), [(0, "JOIN"), (1, "LEFT")])
def test_a_sweep_waits_for_workers_so_long(
    laboratory: Laboratory, workers: int, waits: str
) -> None:
    cluster = laboratory.cluster(workers)
    laboratory.hold(5)
    sweep = laboratory.begin(first=f"from flatter_lib.evidence import cluster; cluster.{waits} = 2")
    if workers:
        laboratory.until(lambda: laboratory.started(5))
        laboratory.kill(cluster.workers[0])
    status, said, complained = laboratory.finish(sweep)
    assert (status, said) == (1, "")
    first, last = complained.splitlines()
    assert "waiting 2 s for one; start some with `dask worker" in first
    assert last == (
        f"flatter: no worker has joined the scheduler at {laboratory.address} in 2 s: finished runs are kept; "
        f"start some with `dask worker {laboratory.address} --nworkers 1 --nthreads 1`, then this again"
    )
    if workers:
        assert len(laboratory.gathered()) >= 3


def test_a_worker_that_makes_several_runs_at_once_is_refused(laboratory: Laboratory) -> None:
    laboratory.cluster(workers=1)
    laboratory.hold(5)
    sweep = laboratory.begin()
    laboratory.until(lambda: laboratory.started(5))
    laboratory.join(threads=2)
    status, _, complained = laboratory.finish(sweep)
    assert (status, complained) == (
        1,
        f"flatter: a worker of {laboratory.address} makes several runs in one process: start it with "
        "`--nthreads 1`\n",
    )


def test_a_scheduler_that_falls_silent(laboratory: Laboratory) -> None:
    cluster = laboratory.cluster(workers=1)
    laboratory.hold(*RUNS)
    sweep = laboratory.begin(first="from flatter_lib.evidence import cluster; cluster.ANSWER = 3")
    laboratory.until(lambda: any(map(laboratory.started, RUNS)))
    os.kill(cluster.scheduler, signal.SIGSTOP)
    status, _, complained = laboratory.finish(sweep)
    assert (status, complained.count("\n")) == (1, 1)
    assert f"the scheduler at {laboratory.address} does not answer: finished runs are" in complained
