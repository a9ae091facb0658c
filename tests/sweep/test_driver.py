"""What a sweep makes, keeps, tries again and refuses, with runs made one after the other in this process."""

from __future__ import annotations

import errno
import importlib
import io
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from rich.console import Console

from flatter_lib import machine
from flatter_lib.results import store as stores
from flatter_lib.results.store import Store
from flatter_lib.sweep import worker
from flatter_lib.sweep.driver import Report, plan, sweep
from flatter_lib.sweep.experiment import Experiment, SweepError, find
from flatter_lib.sweep.pools import WorkersDiedError
from flatter_lib.sweep.progress import Display
from flatter_lib.sweep.worker import Outcome, Task, attempt

if TYPE_CHECKING:
    from tests.sweep.conftest import Laboratory


@dataclass
class Here:
    """Makes runs in this process; before some of them, something happens."""

    before: Callable[[Task], None] = lambda _: None
    workers: int = 1
    tasks: list[Task] = field(default_factory=list)

    def outcomes(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        for task in tasks:
            self.tasks.append(task)
            self.before(task)
            yield attempt(task)

    @property
    def numbers(self) -> list[int]:
        return [task.fields["number"] for task in self.tasks]


@dataclass
class Bench:
    """The experiment, its store, and what is said while it is swept."""

    experiment: Experiment
    store: Store
    said: io.StringIO = field(default_factory=io.StringIO)

    def sweep(self, here: Here, profile: str = "smoke", renew: bool = False) -> Report:
        @contextmanager
        def workers() -> Iterator[Here]:
            yield here

        display = Display(Console(file=self.said, width=200))
        return sweep(self.experiment, profile, self.store, workers, display, renew)

    def lines(self) -> list[str]:
        return self.store.path.read_text().splitlines()


@pytest.fixture
def bench(laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    for name, value in laboratory.environment.items():
        monkeypatch.setenv(name, value)
    for name in worker.VARIABLES:
        monkeypatch.setenv(name, "1")  # what making runs here sets is put back
    monkeypatch.syspath_prepend(laboratory.root)
    importlib.invalidate_caches()
    worker._prepared.cache_clear()
    experiment = find("laboratory.runs")
    yield Bench(experiment, Store(laboratory.store, experiment.name))
    worker._prepared.cache_clear()
    for name in ("laboratory.runs", "laboratory"):
        del sys.modules[name]


def test_the_longest_first_and_each_once(bench: Bench) -> None:
    bench.experiment = replace(bench.experiment, cost=lambda c: float(c.number % 3))
    here = Here()
    assert bench.sweep(here, "paper") == Report(12, 12)
    assert here.numbers == [2, 5, 8, 11, 1, 4, 7, 10, 0, 3, 6, 9]
    assert len(bench.lines()) == 12


def test_profiles_share_what_they_have_in_common(bench: Bench) -> None:
    assert bench.sweep(Here(), "laptop").made == 3
    assert bench.sweep(Here(), "smoke") == Report(12, 9)
    assert len(bench.lines()) == 12


def test_a_record_says_what_it_was_measured_with(bench: Bench, laboratory: Laboratory) -> None:
    bench.sweep(Here())
    record = laboratory.kept()[7]
    assert (record.experiment, record.measurements["square"]) == ("laboratory.runs", 49)
    assert (record.seed, record.device, record.dtype, record.threads) == (None, "cpu", "float64", 1)
    assert set(record.versions) >= {"python", "numpy", "torch"}
    assert record.code["source"] == bench.experiment.source()
    assert record.seconds > 0
    assert record.machine == machine.describe()


def test_a_record_says_what_its_configuration_says(
    bench: Bench, laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = laboratory.root / "laboratory" / "runs.py"
    fields = 'number: int\n    seed: int = 5\n    dtype: str = "float32"\n    device: str = "meta"'
    path.write_text(path.read_text().replace("number: int", fields))
    importlib.reload(sys.modules["laboratory.runs"])
    worker._prepared.cache_clear()
    bench.experiment = find("laboratory.runs")
    bench.sweep(Here(), "laptop")
    record = laboratory.kept()[1]
    assert (record.seed, record.dtype, record.device) == (5, "float32", "meta")


def test_a_run_that_fails_is_made_once_more_at_the_end(
    bench: Bench, laboratory: Laboratory
) -> None:
    laboratory.tell(2, "raise once")
    here = Here()
    assert bench.sweep(here) == Report(12, 12)
    assert here.numbers == [*range(12), 2]
    assert {n: r.attempt for n, r in laboratory.kept().items() if r.attempt > 1} == {2: 2}


def test_a_failure_is_a_record_and_tried_anew_by_the_next_sweep(
    bench: Bench, laboratory: Laboratory
) -> None:
    laboratory.tell(2, "raise")
    report = bench.sweep(Here())
    record = laboratory.kept()[2]
    assert report == Report(12, 11, {record.key: "RuntimeError: run 2 was told to fail"})
    assert (record.ok, record.attempt, record.measurements) == (False, 2, {})
    assert record.error["traceback"].startswith("Traceback (most recent call last):\n")
    assert 'File "laboratory/runs.py", line ' in record.error["traceback"]
    assert str(laboratory.root) not in "".join(bench.lines())
    assert len(bench.lines()) == 12
    todo = plan(bench.experiment, "smoke", bench.store)
    assert (list(todo.waiting), todo.failed) == ([record.key], 1)
    (laboratory.root / "told" / "2.fault").unlink()
    here = Here()
    assert bench.sweep(here) == Report(12, 1)
    assert here.numbers == [2]
    assert laboratory.kept()[2].ok


@pytest.mark.parametrize(
    ("measured", "message"),
    [
        ({"weights": object}, "ValueError: <class 'object'>: a record holds numbers"),
        ({"note": "NaN"}, "ValueError: 'NaN': as a text it would be read back as a number"),
        (None, "TypeError: 'NoneType' object is not iterable"),
    ],
)
def test_what_a_record_cannot_hold_is_a_failure(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, measured: object, message: str
) -> None:
    monkeypatch.setattr(sys.modules["laboratory.runs"], "run", lambda _: measured)
    bench.experiment = find("laboratory.runs")
    report = bench.sweep(Here(), "laptop")
    assert report.made == 0
    assert [said.startswith(message) for said in report.failures.values()] == [True] * 3


def test_suspects_are_made_alone_and_the_guilty_one_is_recorded(
    bench: Bench, laboratory: Laboratory
) -> None:
    handed: list[list[int]] = []

    class Crowded(Here):
        """Four runs at once, all of which die of run 5."""

        def outcomes(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
            handed.append([])
            crowd: list[Task] = []
            for task in tasks:
                crowd.append(task)
                handed[-1].append(task.fields["number"])
                if task.fields["number"] == 5:
                    raise WorkersDiedError("somebody was killed")
                if len(crowd) == 4:
                    yield attempt(crowd.pop(0))
            yield from map(attempt, crowd)

    report = bench.sweep(Crowded())
    killed = laboratory.kept()[5]
    assert report.failures == {
        killed.key: "somebody was killed while it made this run alone: is there enough memory?"
    }
    assert (report.made, killed.ok, len(bench.lines())) == (11, False, 12)
    # In flight with it the first time were 2, 3 and 4, the second time too; then each goes alone.
    assert handed == [
        [0, 1, 2, 3, 4, 5],
        [2, 3, 4, 5],
        [6, 7, 8, 9, 10, 11],
        *[[2], [3], [4], [5]],
    ]


def test_workers_that_die_of_nothing_end_the_sweep(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Doomed(Here):
        def outcomes(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
            raise WorkersDiedError("nobody lives here")
            yield

    with pytest.raises(SweepError, match="nobody lives here, 21 times without a run finished"):
        bench.sweep(Doomed())


def test_what_somebody_else_finished_meanwhile_is_not_made_again(
    bench: Bench, laboratory: Laboratory
) -> None:
    other = Bench(bench.experiment, Store(laboratory.store, bench.experiment.name))
    theirs = Here()

    def join(task: Task) -> None:
        if task.fields["number"] == 3:
            assert other.sweep(theirs) == Report(12, 9)

    mine = Here(before=join)
    assert bench.sweep(mine).made == 4
    # The other goes through what is left in an order of its own; mine was at 3 when it came.
    assert mine.numbers == [0, 1, 2, 3]
    assert sorted(theirs.numbers) == list(range(3, 12))
    assert len(bench.lines()) == 12


def test_a_disk_that_is_full_ends_the_sweep_in_one_line(
    bench: Bench, laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = os.fsync
    monkeypatch.setattr(stores, "SYNC", -1.0)

    def fill(task: Task) -> None:
        if task.fields["number"] == 4:

            def full(handle: int) -> None:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

            monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(SweepError) as caught:
        bench.sweep(Here(before=fill))
    assert str(caught.value) == (
        f"{laboratory.store}: No space left on device: finished runs are kept; mend that and start it again"
    )
    monkeypatch.setattr(os, "fsync", synced)
    assert sorted(laboratory.kept()) == [0, 1, 2, 3]
    here = Here()
    assert bench.sweep(here) == Report(12, 8)
    assert len(bench.lines()) == 12


def test_a_store_that_cannot_be_made(bench: Bench, laboratory: Laboratory) -> None:
    laboratory.store.write_text("in the way")
    with pytest.raises(
        SweepError, match=r": (File exists|Not a directory): finished runs are kept"
    ):
        bench.sweep(Here())


def test_a_worker_with_other_code_is_refused(
    bench: Bench, laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def edit(task: Task) -> None:
        if task.fields["number"] == 3:
            path = laboratory.root / "laboratory" / "runs.py"
            path.write_text(path.read_text().replace("number**2", "number**3"))
            worker._prepared.cache_clear()

    with pytest.raises(SweepError, match="a worker runs other code than this process"):
        bench.sweep(Here(before=edit))
    assert sorted(laboratory.kept()) == [0, 1, 2]


def test_records_by_other_code_are_kept_unless_they_are_to_be_renewed(
    bench: Bench, laboratory: Laboratory
) -> None:
    bench.sweep(Here())
    path = laboratory.root / "laboratory" / "runs.py"
    path.write_text(path.read_text().replace("number**2", "number**2 + 0"))
    worker._prepared.cache_clear()
    assert plan(bench.experiment, "smoke", bench.store).stale == 12
    assert bench.sweep(Here()).made == 0
    assert bench.sweep(Here(), "laptop", renew=True).made == 3
    assert plan(bench.experiment, "smoke", bench.store).stale == 9
    # Comments and docstrings do not make a record stale.
    path.write_text(f"# A comment.\n{path.read_text().replace('Runs that do', 'They do')}")
    assert plan(bench.experiment, "smoke", bench.store).stale == 9
    assert len(bench.lines()) == 12


def test_how_far_it_is(
    bench: Bench, laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flatter_lib.sweep.progress.EVERY", -1.0)
    laboratory.tell(2, "raise")
    bench.sweep(Here())
    lines = bench.said.getvalue().splitlines()
    said = [line.partition(", about ")[0] for line in lines]
    assert said[0] == "laboratory.runs: 1 of 12 done, 0 running"
    assert said[2] == "laboratory.runs: 2 of 12 done, 0 running, 1 failed"
    assert said[-1] == "laboratory.runs: 11 of 12 done, 0 running, 1 failed"
    assert all(line.endswith(" left") for line in lines)


def test_numbers_that_json_does_not_have(
    bench: Bench, laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = {"x": math.nan, "y": np.array([math.inf, 1.0])}
    monkeypatch.setattr(sys.modules["laboratory.runs"], "run", lambda _: measured)
    bench.experiment = find("laboratory.runs")
    assert bench.sweep(Here(), "laptop") == Report(3, 3)
    record = laboratory.kept()[1]
    assert math.isnan(record["x"])
    np.testing.assert_array_equal(record["y"], [math.inf, 1.0])
