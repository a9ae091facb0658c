"""What each fault gives on a cluster: a real Dask scheduler with its workers, on loopback."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.sweep.conftest import Laboratory

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


def test_a_lost_scheduler_is_noticed_though_no_result_tells(laboratory: Laboratory) -> None:
    cluster = laboratory.cluster(workers=1)
    laboratory.hold(*RUNS)
    deaf = (
        "import sys; from flatter_lib.sweep import cluster\n"
        "async def nothing(self): pass\n"
        "cluster._Backend._collect = nothing\n"
        "from flatter_lib.publish.cli import main; main()"
    )
    command = [sys.executable, "-c", deaf, "sweep", "laboratory.runs", "--profile", "smoke"]
    command += ["--store", str(laboratory.store), "--scheduler", laboratory.address]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    sweep = laboratory.process(command, **pipes)
    laboratory.until(lambda: any(map(laboratory.started, RUNS)))
    laboratory.kill(cluster.scheduler)
    status, _, complained = laboratory.finish(sweep)
    assert (status, complained.count("\n")) == (1, 1)
    assert "is gone: finished runs are kept" in complained
