"""What each fault gives on a cluster: a real Dask scheduler with its workers, on loopback."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.evidence.conftest import Laboratory

RUNS = list(range(12))


@pytest.mark.parametrize("allowed", ["3", "0"])
def test_a_killed_worker(
    laboratory: Laboratory, allowed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cluster makes its run again, or gives it up, and then the sweep does."""
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", allowed)
    _, workers = laboratory.cluster(workers=2)
    laboratory.tell(5, "kill once")
    status, said, complained = laboratory.finish(laboratory.begin())
    assert (status, complained, laboratory.gathered()) == (0, "", RUNS)
    assert "12 runs made; 12 of 12 recorded" in said
    assert all(record.ok for record in laboratory.kept().values())
    assert {process for n in RUNS for process in laboratory.started(n)} <= set(workers)
    assert len(laboratory.started(5)) == 2
    assert laboratory.kept()[5].attempt == (2 if allowed == "0" else 1)


def test_a_killed_scheduler(laboratory: Laboratory) -> None:
    scheduler, _ = laboratory.cluster(workers=2)
    laboratory.hold(8)
    sweep = laboratory.begin()
    laboratory.until(lambda: laboratory.store.exists() and len(laboratory.kept()) >= 3)
    laboratory.until(lambda: laboratory.started(8))
    gone = laboratory.address
    laboratory.kill(scheduler)
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
    laboratory.cluster(workers=1)
    status, said, complained = laboratory.finish(laboratory.begin())
    assert (status, complained, laboratory.gathered()) == (0, "", RUNS)
    assert f"{12 - len(finished)} runs made; 12 of 12 recorded" in said
    assert [len(laboratory.started(n)) for n in finished] == [before[n] for n in finished]


def test_workers_are_waited_for_so_long_and_make_one_run_at_once(laboratory: Laboratory) -> None:
    laboratory.cluster(workers=0)
    start = f"start some with `dask worker {laboratory.address} --nworkers 1 --nthreads 1`"
    short = "from flatter_lib.evidence import cluster; cluster.JOIN = 2"
    status, said, complained = laboratory.finish(laboratory.begin(first=short))
    assert (status, said) == (1, "")
    assert complained.splitlines() == [
        f"no worker is at {laboratory.address}: waiting 2 s for one; {start}, or end this with Ctrl-C: "
        "finished runs are kept",
        f"flatter: no worker has joined the scheduler at {laboratory.address} in 2 s: finished runs are kept; "
        f"{start}, then this again",
    ]
    worker = laboratory.join()
    laboratory.hold(5)
    sweep = laboratory.begin()
    laboratory.until(lambda: laboratory.started(5))
    laboratory.kill(worker)
    assert sweep.stderr is not None
    assert "waiting 10 min for one" in sweep.stderr.readline()
    laboratory.release()
    laboratory.join()
    status, said, complained = laboratory.finish(sweep)
    assert (status, laboratory.gathered()) == (0, RUNS)
    assert complained == f"a worker has joined {laboratory.address}: the sweep goes on\n"
    laboratory.join(threads=2)
    (laboratory.store / "laboratory.runs.jsonl").unlink()
    assert laboratory.finish(laboratory.begin()) == (
        1,
        "",
        f"flatter: a worker of {laboratory.address} makes several runs in one process: start it with "
        "`--nthreads 1`\n",
    )


def test_a_scheduler_that_falls_silent(laboratory: Laboratory) -> None:
    scheduler, _ = laboratory.cluster(workers=1)
    laboratory.hold(*RUNS)
    sweep = laboratory.begin(first="from flatter_lib.evidence import cluster; cluster.ANSWER = 3")
    laboratory.until(lambda: any(map(laboratory.started, RUNS)))
    os.kill(scheduler, signal.SIGSTOP)
    status, _, complained = laboratory.finish(sweep)
    assert (status, complained.count("\n")) == (1, 1)
    assert f"the scheduler at {laboratory.address} does not answer: finished runs are" in complained
