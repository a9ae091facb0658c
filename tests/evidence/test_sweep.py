"""What a sweep makes, keeps, tries again, refuses and says, with runs made one after the other in this process."""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from flatter_lib import machine
from flatter_lib.evidence import progress, worker
from flatter_lib.evidence.experiment import Experiment, SweepError, find
from flatter_lib.evidence.progress import Meter
from flatter_lib.evidence.record import Record
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
    """Makes runs in this process; before some of them, something happens, of which a worker may die."""

    before: Callable[[Task], object] = lambda _: None
    workers: int = 1
    tasks: list[Task] = field(default_factory=list)

    def outcomes(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        for task in tasks:
            self.tasks.append(task)
            yield task, None if self.before(task) == "dies" else attempt(task)

    @property
    def numbers(self) -> list[int]:
        return [number for task in self.tasks for number in numbers(task)]


@dataclass
class Bench:
    """The experiment, its store, and what is said while it is swept."""

    laboratory: Laboratory
    said: io.StringIO = field(default_factory=io.StringIO)

    @property
    def experiment(self) -> Experiment:
        return find("laboratory.runs")

    @property
    def store(self) -> Store:
        return Store(self.laboratory.store, "laboratory.runs")

    def write(self, old: str, new: str) -> None:
        """Edit the experiment, and have the edited one run."""
        text = self.laboratory.source.read_text()
        assert old in text
        self.laboratory.source.write_text(text.replace(old, new))
        importlib.reload(self.experiment.module)
        worker._prepared.cache_clear()

    def sweep(self, here: Here, profile: str = "smoke", renew: bool = False) -> Report:
        @contextmanager
        def workers() -> Iterator[Here]:
            yield here

        meter = Meter(Console(file=self.said, width=200), "a sweep")
        return sweep(self.experiment, profile, self.store, workers, meter, renew)

    def lines(self) -> list[str]:
        return self.store.path.read_text().splitlines()


@pytest.fixture
def bench(here: Laboratory) -> Bench:
    return Bench(here)


def test_the_longest_first_and_each_once(bench: Bench) -> None:
    bench.write("1.0 - 1e-4 * configuration.number", "float(configuration.number % 3)")
    here = Here()
    assert bench.sweep(here, "laptop").made == 3
    assert bench.sweep(here, "paper") == Report(12, 9)
    assert here.numbers == [2, 1, 0, 5, 8, 11, 4, 7, 10, 3, 6, 9]
    assert len(bench.lines()) == 12


BATCHES = """
TOGETHER = 4


def batch(configuration):
    return configuration.number % 2


def run_many(configurations):
    return [run(c) for c in configurations]
"""


@pytest.fixture
def together(bench: Bench) -> Bench:
    """Even runs can be made together, and odd ones."""
    bench.write("def cost", f"{BATCHES}\n\ndef cost")
    return bench


def test_runs_of_equal_keys_are_made_together_and_each_has_its_record(together: Bench) -> None:
    here = Here()
    assert together.sweep(here) == Report(12, 12)
    batches = [[0, 2, 4, 6], [1, 3, 5, 7], [8, 10], [9, 11]]
    assert [numbers(task) for task in here.tasks] == batches
    kept = together.laboratory.kept()
    assert {n: record["square"] for n, record in kept.items()} == {n: n**2 for n in range(12)}
    assert len({kept[n].seconds for n in (0, 2, 4, 6)}) == 1
    # What has a record is not made again with the others.
    together.store.path.write_text("\n".join(together.lines()[3:]))
    here = Here()
    assert together.sweep(here) == Report(12, 3)
    assert [numbers(task) for task in here.tasks] == [[0, 2], [1]]


def test_runs_that_fail_or_die_together_are_made_one_by_one(together: Bench) -> None:
    together.laboratory.tell(4, "raise")
    report = together.sweep(Here(lambda task: "dies" if len(task.cells) == 2 else ""))
    kept = together.laboratory.kept()
    assert (report.made, list(report.failures)) == (11, [kept[4].key])
    assert [n for n, record in kept.items() if not record.ok] == [4]


def test_a_record_says_what_it_was_measured_with(bench: Bench) -> None:
    fields = 'number: int\n    seed: int = 5\n    dtype: str = "float32"\n    device: str = "meta"'
    bench.sweep(Here(), "laptop")
    record = bench.laboratory.kept()[2]
    assert (record.experiment, record["square"], record.machine) == (
        "laboratory.runs",
        4,
        machine.describe(),
    )
    assert (record.seed, record.device, record.dtype, record.threads) == (None, "cpu", "float64", 1)
    assert set(record.versions) >= {"python", "numpy", "torch"}
    assert record.code["source"] == bench.experiment.source()
    assert record.seconds > 0
    bench.write("number: int", fields)
    bench.sweep(Here(), "laptop")
    record = bench.laboratory.kept()[1]
    assert (record.seed, record.dtype, record.device) == (5, "float32", "meta")


def test_a_failure_is_tried_again_at_the_end_and_by_the_next_sweep(bench: Bench) -> None:
    bench.laboratory.tell(1, "raise once")
    bench.laboratory.tell(2, "raise")
    here = Here()
    report = bench.sweep(here)
    assert here.numbers == [*range(12), 1, 2]
    kept = bench.laboratory.kept()
    record = kept[2]
    assert report == Report(12, 11, {record.key: "RuntimeError: run 2 was told to fail"})
    assert {n: r.attempt for n, r in kept.items() if r.attempt > 1} == {1: 2, 2: 2}
    assert (record.ok, record.measurements, len(bench.lines())) == (False, {}, 12)
    assert record.error["traceback"].startswith("Traceback (most recent call last):\n")
    assert 'File "laboratory/runs.py", line ' in record.error["traceback"]
    assert str(bench.laboratory.root) not in "".join(bench.lines())
    todo = plan(bench.experiment, "smoke", bench.store)
    assert (list(todo.waiting), todo.failed) == ([record.key], 1)
    (bench.laboratory.root / "told" / "2.fault").unlink()
    here = Here()
    assert bench.sweep(here) == Report(12, 1)
    assert here.numbers == [2]
    assert bench.laboratory.kept()[2].ok


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
    monkeypatch.setattr(bench.experiment.module, "run", lambda _: measured)
    report = bench.sweep(Here(), "laptop")
    assert report.made == 0
    assert [said.startswith(message) for said in report.failures.values()] == [True] * 3


def test_what_workers_die_of_is_made_once_more_alone(bench: Bench) -> None:
    """Whoever makes run 5 dies of it, and the first time who makes run 4."""
    bench.laboratory.tell(2, "raise once")
    here = Here(
        lambda task: (
            "dies"
            if numbers(task) == [5] or (here.numbers.count(4) == 1 and numbers(task) == [4])
            else ""
        )
    )
    report = bench.sweep(here)
    killed = bench.laboratory.kept()[5]
    assert report.failures == {
        killed.key: "a worker was killed while it made this run: is there enough memory?"
    }
    assert (report.made, killed.ok, killed.attempt, len(bench.lines())) == (11, False, 2, 12)
    assert here.numbers == [*range(12), 2, 4, 5]


def test_what_somebody_else_finished_meanwhile_is_not_made_again(bench: Bench) -> None:
    other, theirs = Bench(bench.laboratory), Here()

    def join(task: Task) -> None:
        if numbers(task) == [3]:
            assert other.sweep(theirs) == Report(12, 9)

    mine = Here(join)
    assert bench.sweep(mine).made == 4
    # The other goes through what is left in an order of its own; mine was at 3 when it came.
    assert mine.numbers == [0, 1, 2, 3]
    assert sorted(theirs.numbers) == list(range(3, 12))
    assert len(bench.lines()) == 12


def test_a_store_that_cannot_be_made(bench: Bench) -> None:
    bench.laboratory.store.write_text("in the way")
    with pytest.raises(SweepError, match=r": (File exists|Not a directory): finished runs are"):
        bench.sweep(Here())


def test_a_worker_with_other_code_is_refused(bench: Bench) -> None:
    def edit(task: Task) -> None:
        if numbers(task) == [3]:
            bench.write("number**2", "number**3")

    with pytest.raises(SweepError, match="a worker runs other code than this process"):
        bench.sweep(Here(edit))
    assert sorted(bench.laboratory.kept()) == [0, 1, 2]


def test_records_by_other_code_are_kept_unless_they_are_to_be_renewed(bench: Bench) -> None:
    bench.sweep(Here())
    bench.write("number**2", "number**2 + 0")
    assert plan(bench.experiment, "smoke", bench.store).stale == 12
    assert bench.sweep(Here()).made == 0
    assert bench.sweep(Here(), "laptop", renew=True).made == 3
    # Comments and docstrings do not make a record stale.
    bench.write("Runs that do", "They do")
    assert plan(bench.experiment, "smoke", bench.store).stale == 9
    assert len(bench.lines()) == 12


def test_lines_that_cannot_be_read_are_named_kept_and_measured_again(bench: Bench) -> None:
    bench.sweep(Here())
    lines = bench.store.path.read_text().splitlines(keepends=True)
    lines[2] = lines[2].replace('"square": 4', '"square": 5')
    lines[-1] = lines[-1][:200] + "\n"
    bench.store.path.write_text("".join(lines))
    (bench.store.loose / "0123456789abcdef.json").write_text("half")
    here = Here()
    assert bench.sweep(here) == Report(12, 2)
    assert here.numbers == [2, 11]
    rest = ": kept, not read, and measured again if the profile has it"
    assert bench.said.getvalue().splitlines() == [
        f"laboratory.runs.jsonl, line 3 was altered: its checksum is another{rest}",
        f"laboratory.runs.jsonl, line 12 is cut off, or no JSON{rest}",
        f"0123456789abcdef.json, line 1 is cut off, or no JSON{rest}",
    ]
    assert bench.lines()[12:] == [lines[2].strip(), lines[-1].strip("\n"), "half"]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, to be set."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_time_left_goes_by_the_pace_so_far(clock: list[float]) -> None:
    said = io.StringIO()
    meter = Meter(Console(file=said, width=200), "a [sweep]")
    with meter.showing(total=10, done=2, cost=80.0, workers=2):
        assert meter.seconds_left == 40.0  # nothing known: the estimates, on two workers
        clock[0] += 30.0
        assert meter.seconds_left == 10.0
        meter.finished(10.0)  # three seconds for one of the estimate
        assert meter.seconds_left == 70.0 * 3
        meter.update()
        clock[0] += 30.0
        assert meter.seconds_left == 70.0 * 3 - 30.0
        meter.finished(30.0)  # 60 seconds for 40
        assert meter.seconds_left == 40.0 * 1.5
        clock[0] += 1e6
        meter.running, meter.failed = 7, 1
        meter.update()
        meter.update()
    assert said.getvalue() == "a [sweep]: 4 of 10 done, 2 running, 1 failed, about 1 s left\n"


def test_a_line_that_changes_on_a_terminal() -> None:
    said = io.StringIO()
    meter = Meter(Console(file=said, width=120, force_terminal=True), "a [sweep]")
    with meter.showing(3, 0, 0.0, 0):
        meter.finished(0.0)
        meter.update()
        meter.say("a [line]")
    assert "a [sweep]: 1 of 3 done, 0 running" in said.getvalue()
    assert "a [line]" in said.getvalue()
