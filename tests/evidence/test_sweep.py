"""What a sweep makes, keeps, tries again and refuses, with runs made one after the other in this process."""

from __future__ import annotations

import importlib
import io
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from flatter_lib import machine
from flatter_lib.evidence import Record, worker
from flatter_lib.evidence.experiment import Experiment, SweepError, find
from flatter_lib.evidence.progress import Display
from flatter_lib.evidence.store import Store
from flatter_lib.evidence.sweep import Report, plan, sweep
from flatter_lib.evidence.worker import Task, attempt

if TYPE_CHECKING:
    from tests.evidence.conftest import Laboratory


Outcome = tuple[Task, list[Record] | None]


def numbers(task: Task) -> list[int]:
    return [cell["number"] for cell in task.cells]


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
            yield task, attempt(task)

    @property
    def numbers(self) -> list[int]:
        return [number for task in self.tasks for number in numbers(task)]


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


BATCHES = """

def batch(configuration):
    return configuration.number % 2


def run_many(configurations):
    numbers = [c.number for c in configurations]
    with (Path(os.environ["LABORATORY"]) / "together").open("a") as file:
        file.write(f"{numbers}\\n")
    return [run(c) for c in configurations]
"""


@pytest.fixture
def together(bench: Bench, laboratory: Laboratory) -> Bench:
    """Even runs can be made together, and odd ones."""
    path = laboratory.root / "laboratory" / "runs.py"
    path.write_text(path.read_text() + BATCHES)
    importlib.reload(sys.modules["laboratory.runs"])
    worker._prepared.cache_clear()
    bench.experiment = find("laboratory.runs")
    return bench


def test_runs_of_equal_keys_are_made_together_and_each_has_its_record(
    together: Bench, laboratory: Laboratory
) -> None:
    together.experiment = replace(together.experiment, together=4)
    here = Here()
    assert together.sweep(here) == Report(12, 12)
    assert [numbers(task) for task in here.tasks] == [
        *[[0, 2, 4, 6], [1, 3, 5, 7]],
        *[[8, 10], [9, 11]],
    ]
    kept = laboratory.kept()
    assert {n: record["square"] for n, record in kept.items()} == {n: n**2 for n in range(12)}
    assert len({kept[n].seconds for n in (0, 2, 4, 6)}) == 1
    assert len(together.lines()) == 12
    # What has a record is not made again with the others.
    (together.store.path).write_text("\n".join(together.lines()[3:]))
    here = Here()
    assert together.sweep(here) == Report(12, 3)
    assert [numbers(task) for task in here.tasks] == [[0, 2], [1]]


def test_runs_that_fail_together_are_made_one_by_one(
    together: Bench, laboratory: Laboratory
) -> None:
    laboratory.tell(4, "raise")
    report = together.sweep(Here())
    assert (report.made, list(report.failures)) == (11, [laboratory.kept()[4].key])
    assert [n for n, record in laboratory.kept().items() if not record.ok] == [4]


def test_a_batch_that_workers_die_of_is_made_one_by_one(together: Bench) -> None:
    class Small(Here):
        def outcomes(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
            for task in tasks:
                self.tasks.append(task)
                yield task, attempt(task) if len(task.cells) < 3 else None

    assert together.sweep(Small()) == Report(12, 12)


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


def test_what_workers_die_of_is_made_once_more_alone(bench: Bench, laboratory: Laboratory) -> None:
    handed: list[list[int]] = []

    class Crowded(Here):
        """Whoever makes run 5 dies of it, and the first time with whom makes run 4."""

        def outcomes(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
            handed.append([])
            for task in tasks:
                (number,) = numbers(task)
                handed[-1].append(number)
                dies = number == 5 or (number == 4 and len(handed) == 1)
                yield task, None if dies else attempt(task)

    laboratory.tell(2, "raise once")
    report = bench.sweep(Crowded())
    killed = laboratory.kept()[5]
    assert report.failures == {
        killed.key: "a worker was killed while it made this run: is there enough memory?"
    }
    assert (report.made, killed.ok, killed.attempt, len(bench.lines())) == (11, False, 2, 12)
    assert handed == [list(range(12)), [2], [4], [5]]


def test_what_somebody_else_finished_meanwhile_is_not_made_again(
    bench: Bench, laboratory: Laboratory
) -> None:
    other = Bench(bench.experiment, Store(laboratory.store, bench.experiment.name))
    theirs = Here()

    def join(task: Task) -> None:
        if numbers(task) == [3]:
            assert other.sweep(theirs) == Report(12, 9)

    mine = Here(before=join)
    assert bench.sweep(mine).made == 4
    # The other goes through what is left in an order of its own; mine was at 3 when it came.
    assert mine.numbers == [0, 1, 2, 3]
    assert sorted(theirs.numbers) == list(range(3, 12))
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
        if numbers(task) == [3]:
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
