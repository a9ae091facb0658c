"""What each fault gives on this machine: the sweep goes on, or ends in one line and loses nothing that was finished."""

from __future__ import annotations

import os
import resource
import signal
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from tests.evidence.conftest import Laboratory

RUNS = list(range(12))


def lives(process: int) -> bool:
    """Whether a process goes on; one that nobody has buried does not."""
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_killed_worker_and_a_run_that_kills_whoever_makes_it(laboratory: Laboratory) -> None:
    laboratory.tell(3, "kill")
    laboratory.hold(5)
    sweep = laboratory.begin()
    laboratory.until(lambda: laboratory.started(5))
    (worker,) = laboratory.started(5)
    assert worker != sweep.pid
    laboratory.kill(worker)
    laboratory.until(lambda: len(laboratory.started(5)) == 2)
    laboratory.release()
    status, said, complained = laboratory.finish(sweep)
    assert status == 1
    assert complained == (
        f"  failed: {laboratory.kept()[3].key}: a worker was killed while it made this run: "
        "is there enough memory?\n"
    )
    assert "11 runs made, 1 failed; 11 of 12 recorded" in said
    assert laboratory.gathered() == RUNS
    assert [n for n, record in laboratory.kept().items() if not record.ok] == [3]
    assert [len(laboratory.started(n)) for n in RUNS] == [1, 1, 1, 2, 1, 2, *[1] * 6]


def test_a_killed_driver(laboratory: Laboratory) -> None:
    laboratory.hold(*range(6, 12))
    sweep = laboratory.begin()
    laboratory.until(lambda: laboratory.store.exists() and len(laboratory.kept()) >= 3)
    laboratory.until(lambda: any(laboratory.started(n) for n in range(6, 12)))
    laboratory.kill(sweep.pid)
    sweep.wait()
    finished = sorted(laboratory.kept())
    workers = {worker for n in RUNS for worker in laboratory.started(n)}
    laboratory.until(lambda: not any(map(lives, workers)))
    before = [len(laboratory.started(n)) for n in RUNS]
    assert not (laboratory.store / "laboratory.runs.jsonl").exists()
    laboratory.release()
    status, said, complained = laboratory.finish(laboratory.begin())
    assert (status, complained, laboratory.gathered()) == (0, "", RUNS)
    assert f"{12 - len(finished)} runs made; 12 of 12 recorded" in said
    assert [len(laboratory.started(n)) for n in finished] == [before[n] for n in finished]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_driver(laboratory: Laboratory, number: signal.Signals) -> None:
    laboratory.hold(*range(6, 12))
    sweep = laboratory.begin(start_new_session=True)
    laboratory.until(lambda: laboratory.store.exists() and len(laboratory.kept()) >= 3)
    os.killpg(sweep.pid, number)  # a terminal interrupts the workers too
    status, said, complained = laboratory.finish(sweep)
    assert (status, said) == (128 + number, "")
    assert complained == "flatter: interrupted; nothing half-written is left\n"
    assert len(laboratory.gathered()) >= 3
    assert sorted(laboratory.gathered()) == sorted(laboratory.kept())


def test_an_interrupt_while_workers_start(laboratory: Laboratory) -> None:
    (laboratory.root / "sitecustomize.py").write_text(
        "import os, sys, time\n"
        "if any('spawn_main' in word for word in sys.orig_argv):\n"
        "    open(os.path.join(os.environ['LABORATORY'], 'begun'), 'w').close()\n"
        "    time.sleep(2)\n"
    )
    sweep = laboratory.begin(start_new_session=True)
    laboratory.until((laboratory.root / "told" / "begun").exists)

    def interrupted() -> bool:
        if sweep.poll() is None:
            os.killpg(sweep.pid, signal.SIGINT)
        return sweep.poll() is not None

    laboratory.until(interrupted)
    ended = laboratory.finish(sweep)
    assert ended == (130, "", "flatter: interrupted; nothing half-written is left\n")


def _small_files(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_no_room_for_a_record_and_none_for_the_file_of_all(laboratory: Laboratory) -> None:
    laboratory.tell(9, "10000")
    sweep = laboratory.begin(preexec_fn=lambda: _small_files(20_000))
    status, said, complained = laboratory.finish(sweep)
    assert (status, said) == (1, "")
    assert complained == (
        f"flatter: {laboratory.store}: File too large: finished runs are kept; mend that and start it again\n"
    )
    finished = sorted(laboratory.kept())
    assert len(finished) >= 3
    assert 9 not in finished
    assert not list((laboratory.store / ".laboratory.runs").glob("*.part"))

    laboratory.tell(9, "1")
    gathered = laboratory.store / "laboratory.runs.jsonl"
    whole = gathered.read_bytes()
    status, said, complained = laboratory.finish(
        laboratory.begin(preexec_fn=lambda: _small_files(len(whole)))
    )
    assert (status, said, complained.count("\n")) == (1, "", 1)
    assert "File too large: finished runs are kept" in complained
    assert gathered.read_bytes() == whole
    assert sorted(laboratory.kept()) == RUNS
    status, said, complained = laboratory.finish(laboratory.begin())
    assert (status, complained, laboratory.gathered()) == (0, "", RUNS)
    assert "0 runs made; 12 of 12 recorded" in said


def test_two_drivers_on_one_store(laboratory: Laboratory) -> None:
    laboratory.runs = 40
    laboratory.hold(20, 21, 22)
    sweeps = [laboratory.begin(), laboratory.begin()]
    laboratory.until(lambda: laboratory.store.exists() and len(laboratory.kept()) >= 3)
    laboratory.release()
    for sweep in sweeps:
        status, said, complained = laboratory.finish(sweep)
        assert (status, complained) == (0, "")
        assert "40 of 40 recorded" in said
    assert laboratory.gathered() == list(range(40))
    loose = sorted(path.name for path in (laboratory.store / ".laboratory.runs").iterdir())
    assert loose == [".gitignore", "lock"]
