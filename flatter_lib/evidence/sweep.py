"""Making all runs of an experiment that have no record yet, whatever happens to those who make them.

A record is a cell, not what was made together: configurations with equal ``batch`` keys go to one worker in one pass,
and each gets its own record. Every record is written before the next is taken, so that an end at any moment costs what
is in flight and nothing else. A run that raises is made once more at the end; if it raises again its failure is its
record, and the next sweep tries it anew. What was in flight in a worker that died is made once more too, one after the
other and each alone; if a worker dies of it again, that is its record: one poisonous configuration stops nobody else.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from flatter_lib.evidence.experiment import TOGETHER, Experiment, SweepError
from flatter_lib.evidence.local import Pool
from flatter_lib.evidence.progress import Meter
from flatter_lib.evidence.record import Record, configuration_of
from flatter_lib.evidence.records import few
from flatter_lib.evidence.store import Store
from flatter_lib.evidence.worker import Task

#: Runs of fewer estimated seconds are tiny.
TINY = 0.1


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
    cost = experiment.module.cost
    costs = {k: cost(c) for k, c in wanted.items() if k not in records or k in again}
    waiting = dict(sorted(costs.items(), key=lambda item: item[1], reverse=True))
    damaged = list(lines.unread.values())
    return Plan(experiment, wanted, waiting, len(failed), len(stale - failed), damaged)


def batches(experiment: Experiment, configurations: Mapping[str, Any]) -> list[list[str]]:
    """The keys of configurations, together what is made in one pass, each batch where its first one stands.

    Tiny runs, for which sending them to a worker would take longer than making them, travel together too.
    """
    module = experiment.module
    alike: dict[Hashable, list[str]] = defaultdict(list)
    for key, configuration in configurations.items():
        if hasattr(module, "batch"):
            alike[module.batch(configuration)].append(key)
        else:
            alike[None if module.cost(configuration) < TINY else key].append(key)
    size = getattr(module, "TOGETHER", TOGETHER)
    cut = [keys[i : i + size] for keys in alike.values() for i in range(0, len(keys), size)]
    place = {key: i for i, key in enumerate(configurations)}
    return sorted(cut, key=lambda keys: place[keys[0]])


def sweep(
    experiment: Experiment,
    profile: str,
    store: Store,
    workers: Callable[[], AbstractContextManager[Pool]],
    meter: Meter,
    renew: bool = False,
) -> Report:
    """Make the runs of a profile that have no record.

    Args:
        experiment: the experiment.
        profile: smoke, laptop or paper.
        store: where records are kept.
        workers: starts the workers, or finds them.
        meter: where to say how far it is.
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
                meter.say(f"{line}: kept, not read, and measured again if the profile has it")
            if not todo.waiting:
                return Report(len(todo.wanted))
            with workers() as pool:
                return _Sweep(todo, store, pool, meter).run(alone)
    except OSError as error:
        raise SweepError(
            f"{store.path.parent}: {error.strerror or error}: finished runs are kept; mend that and start it again"
        ) from error


class _Sweep:
    """One sweep while it goes."""

    def __init__(self, todo: Plan, store: Store, pool: Pool, meter: Meter) -> None:
        self.plan, self.store, self.pool, self.meter = todo, store, pool, meter
        self.source, self.commit = todo.experiment.source(), todo.experiment.commit()
        self.report = Report(len(todo.wanted))
        self.died: list[str] = []

    def run(self, alone: bool) -> Report:
        """Make all runs, and once more those that failed."""
        costs = self.plan.waiting
        waiting = batches(self.plan.experiment, {key: self.plan.wanted[key] for key in costs})
        waiting.sort(key=lambda keys: sum(costs[key] for key in keys), reverse=True)
        if not alone:
            # Whoever came first goes from the longest to the shortest: meet it as rarely as can be.
            random.SystemRandom().shuffle(waiting)
        total = len(self.plan.wanted)
        with self.meter.showing(total, total - len(costs), self.plan.cost, self.pool.workers):
            self._make(waiting, 1)
            self._make([[key] for key in self.report.failures], 2)
            for key in self.died:
                self._make([[key]], 2)
        return self.report

    def _make(self, waiting: Iterable[Sequence[str]], attempt: int) -> None:
        for task, records in self.pool.outcomes(self._tasks(waiting, attempt)):
            self.meter.running -= len(task.cells)
            if records is None and attempt == 1:
                self.died += [task.record(cell).key for cell in task.cells]
            elif records is None:
                message = "a worker was killed while it made this run: is there enough memory?"
                error = {"message": message, "traceback": ""}
                self._keep(task.record(task.cells[0], error=error))
            for record in records or ():
                self._keep(record)
            self.meter.update()

    def _tasks(self, waiting: Iterable[Sequence[str]], attempt: int) -> Iterator[Task]:
        """The tasks, each when a worker is about to be free; without what somebody else did meanwhile."""
        for batch in waiting:
            cells = []
            for key in batch:
                known = self.store.get(key)
                if known is not None and known.ok and known.code.get("source") == self.source:
                    self.meter.finished(self.plan.waiting[key])
                    self.report.failures.pop(key, None)
                else:
                    cells.append(configuration_of(self.plan.wanted[key]))
            if cells:
                self.meter.running += len(cells)
                self.meter.workers = max(self.pool.workers, 1)
                name = self.plan.experiment.name
                yield Task(name, tuple(cells), self.source, self.commit, attempt)

    def _keep(self, record: Record) -> None:
        self.store.put(record)
        if record.ok:
            self.report.failures.pop(record.key, None)
            self.report.made += 1
            self.meter.finished(self.plan.waiting[record.key])
        else:
            self.report.failures[record.key] = record.error["message"]
        self.meter.failed = len(self.report.failures)
