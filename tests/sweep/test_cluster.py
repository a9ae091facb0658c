"""What each fault gives on a cluster: a real Dask scheduler with its workers, on loopback."""

from __future__ import annotations

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
