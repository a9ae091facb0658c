"""Making all runs of an experiment that have no record yet, whatever happens to those who make them.

Every record is written before the next outcome is taken, so that an end at any moment costs the runs in flight and
nothing else. A run that raises is made once more at the end; if it raises again its failure is its record, and the
next sweep tries it anew. When a worker dies, what was in flight is handed out again. A run that was in flight when
workers died twice is made alone, and if a worker dies of it again that is its record: one poisonous configuration
stops nobody else.
"""

from __future__ import annotations

import dataclasses
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from flatter_lib.results.record import Record, configuration_of, encode
from flatter_lib.results.records import few
from flatter_lib.results.store import Store
from flatter_lib.sweep.experiment import Experiment, SweepError
from flatter_lib.sweep.pools import Pool, WorkersDiedError
from flatter_lib.sweep.progress import Display, Meter
from flatter_lib.sweep.worker import Outcome, Task

ATTEMPTS = 2
#: A run that was in flight at so many deaths of workers is made alone from then on.
SUSPECT = 2
#: So many deaths in a row, without a run finished in between, are not the fault of runs.
HOPELESS = 20


@dataclass(frozen=True)
class Plan:
    """What a sweep has before it.

    Attributes:
        experiment: the experiment.
        wanted: key -> configuration, all of the profile.
        waiting: key -> estimated seconds on one core, of those to run, the longest first.
        failed: how many of these failed the last time.
        stale: how many records of the profile were made by other code.
        damaged: of each line that cannot be read, where it is and why.
    """

    experiment: Experiment
    wanted: dict[str, Any]
    waiting: dict[str, float]
    failed: int
    stale: int
    damaged: list[str]

    @property
    def cost(self) -> float:
        """Estimated seconds on one core of all that is to run."""
        return sum(self.waiting.values())


@dataclass
class Report:
    """How a sweep ended.

    Attributes:
        total: configurations of the profile.
        made: runs that were made and finished.
        failures: key -> the last line of its traceback, of those that failed.
    """

    total: int
    made: int = 0
    failures: dict[str, str] = field(default_factory=dict)


def plan(experiment: Experiment, profile: str, store: Store, renew: bool = False) -> Plan:
    """What there is to do, without doing it.

    Args:
        experiment: the experiment.
        profile: smoke, laptop or paper.
        store: where its records are.
        renew: whether to run again what was measured with other code than today's.

    Raises:
        SweepError: if the profile or the records cannot be read.
    """
    wanted = experiment.configurations(profile)
    try:
        lines = store.read()
    except OSError as error:
        raise SweepError(f"{store.path} cannot be read: {error.strerror}") from None
    records = {key: record for key, record in lines.records.items() if key in wanted}
    source = experiment.source()
    stale = {key for key, record in records.items() if record.code.get("source") != source}
    failed = {key for key, record in records.items() if not record.ok}
    again = failed | (stale if renew else set())
    costs = {k: experiment.cost(c) for k, c in wanted.items() if k not in records or k in again}
    waiting = dict(sorted(costs.items(), key=lambda item: item[1], reverse=True))
    return Plan(experiment, wanted, waiting, len(failed), len(stale - failed), lines.damaged)


def sweep(
    experiment: Experiment,
    profile: str,
    store: Store,
    workers: Callable[[], AbstractContextManager[Pool]],
    display: Display,
    renew: bool = False,
) -> Report:
    """Make the runs of a profile that have no record.

    Args:
        experiment: the experiment.
        profile: smoke, laptop or paper.
        store: where records are kept.
        workers: starts the workers, or finds them.
        display: where to say how far it is.
        renew: whether to run again what was measured with other code than today's.

    Returns:
        How it ended; every run that is not among its failures has a record.

    Raises:
        SweepError: if it cannot go on; what was finished is kept.
    """
    try:
        with store.working() as alone:
            todo = plan(experiment, profile, store, renew)
            for line in few(todo.damaged):
                display.say(f"{line}: kept, not read, and measured again if the profile has it")
            if not todo.waiting:
                return Report(len(todo.wanted))
            with workers() as pool:
                return _Sweep(todo, store, pool, display, alone).run()
    except OSError as error:
        raise SweepError(
            f"{store.path.parent}: {error.strerror or error}: finished runs are kept; mend that and start it again"
        ) from error


class _Sweep:
    """One sweep while it goes."""

    def __init__(self, todo: Plan, store: Store, pool: Pool, display: Display, alone: bool) -> None:
        self.plan, self.store, self.pool, self.display, self.alone = (
            todo,
            store,
            pool,
            display,
            alone,
        )
        self.source = todo.experiment.source()
        self.commit = todo.experiment.commit()
        self.report = Report(len(todo.wanted))
        self.flying: set[str] = set()
        self.deaths: Counter[str] = Counter()
        done = len(todo.wanted) - len(todo.waiting)
        self.meter = Meter(
            todo.experiment.name, len(todo.wanted), done, todo.cost, self.pool.workers
        )

    def run(self) -> Report:
        """Make all runs, and once more those that failed."""
        waiting = list(self.plan.waiting)
        if not self.alone:
            # Whoever came first goes from the longest to the shortest: meet it as rarely as can be.
            random.SystemRandom().shuffle(waiting)
        with self.display.showing(self.meter):
            for attempt in range(1, ATTEMPTS + 1):
                self._make(waiting, attempt)
                waiting = [k for k in self.report.failures if self.deaths[k] <= SUSPECT]
        return self.report

    def _make(self, keys: list[str], attempt: int) -> None:
        left = dict.fromkeys(keys)
        in_a_row = 0
        while left:
            together = [key for key in left if self.deaths[key] < SUSPECT]
            now = together or list(left)[:1]
            self.flying.clear()
            try:
                for outcome in self.pool.outcomes(self._handed_out(now, attempt, left)):
                    self._keep(outcome)
                    left.pop(outcome.key, None)
                    in_a_row = 0
            except WorkersDiedError as died:
                in_a_row += 1
                if in_a_row > HOPELESS:
                    raise SweepError(
                        f"{died}, {in_a_row} times without a run finished: is there enough memory? "
                        "Finished runs are kept; mend that and start it again"
                    ) from None
                self.deaths.update(self.flying & set(left))
                if not together:
                    self._keep(self._killed(now[0], attempt, died))
                    left.pop(now[0])
                    in_a_row = 0

    def _handed_out(self, keys: list[str], attempt: int, left: dict[str, None]) -> Iterator[Task]:
        """The tasks, each when a worker is about to be free; without those that somebody else did meanwhile."""
        for key in keys:
            record = self.store.get(key)
            if record is not None and record.ok and record.code.get("source") == self.source:
                left.pop(key, None)
                self.meter.finished(self.plan.waiting[key])
                continue
            self.flying.add(key)
            self.meter.running, self.meter.workers = len(self.flying), max(self.pool.workers, 1)
            configuration = self.plan.wanted[key]
            fields = {
                f.name: getattr(configuration, f.name) for f in dataclasses.fields(configuration)
            }
            yield Task(key, self.plan.experiment.name, fields, attempt, self.commit)

    def _keep(self, outcome: Outcome) -> None:
        if outcome.source != self.source:
            raise SweepError(
                "a worker runs other code than this process: it was edited since the sweep began, or that worker has "
                "another version of it; finished runs are kept, start again with one version everywhere"
            )
        self.store.put(outcome.key, outcome.line)
        self.flying.discard(outcome.key)
        if outcome.error:
            self.report.failures[outcome.key] = outcome.error
        else:
            self.report.failures.pop(outcome.key, None)
            self.report.made += 1
            self.meter.finished(self.plan.waiting[outcome.key])
        self.meter.failed, self.meter.running = len(self.report.failures), len(self.flying)
        self.display.update(self.meter)

    def _killed(self, key: str, attempt: int, died: WorkersDiedError) -> Outcome:
        """The record of a run that workers die of."""
        message = f"{died} while it made this run alone: is there enough memory?"
        record = Record(
            experiment=self.plan.experiment.name,
            configuration=configuration_of(self.plan.wanted[key]),
            error={"message": message, "traceback": ""},
            attempt=attempt,
            code={"commit": self.commit, "source": self.source},
        )
        return Outcome(key, encode(record), message, self.source)
