"""Workers of this machine: processes, each with a pipe, over which it gets a task and gives back the records."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from multiprocessing import connection, resource_tracker
from typing import Any, Protocol

from flatter_lib.evidence.experiment import SweepError
from flatter_lib.evidence.record import Record
from flatter_lib.evidence.worker import Task, attempt

_SPAWNED = multiprocessing.get_context("spawn")  # nothing of this process is theirs


class Pool(Protocol):
    """Workers, here or elsewhere."""

    @property
    def workers(self) -> int:
        """How many tasks are made at once."""

    def outcomes(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, list[Record] | None]]:
        """Make tasks, taking one when a worker is about to be free, and give their records as they come.

        None stands for the records of a task whose worker died.

        Raises:
            SweepError: if no run can be made any more.
        """


class Local:
    """Processes that are started when there is work for them, and that are replaced when they die.

    Args:
        workers: how many.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._pipes: list[Any] = []
        self._processes: list[Any] = []

    def outcomes(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, list[Record] | None]]:
        """See :class:`Pool`."""
        waiting = iter(tasks)
        # Of each worker the task that it makes, and one that waits there, so that it need not wait itself.
        given: dict[Any, list[Task]] = {pipe: [] for pipe in self._pipes}

        def hand_out() -> None:
            free = 2 * self.workers - sum(map(len, given.values()))
            for task in itertools.islice(waiting, free):
                if len(given) < self.workers and all(given.values()):
                    given[self._begun()] = []
                pipe = min(given, key=lambda pipe: len(given[pipe]))
                with contextlib.suppress(OSError):  # one that died meanwhile is noticed below
                    pipe.send(task)
                given[pipe].append(task)

        hand_out()
        while any(given.values()):
            ready: list[Any] = connection.wait([pipe for pipe, own in given.items() if own])
            for pipe in ready:
                task, made = given[pipe].pop(0), None
                try:
                    made = pipe.recv()
                except (EOFError, OSError):
                    self._pipes.remove(pipe)
                    waiting = itertools.chain(given.pop(pipe), waiting)
                hand_out()
                if isinstance(made, Exception):
                    raise made
                yield task, made

    def end(self) -> None:
        """End all processes, whatever they are at."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.join()

    def _begun(self) -> Any:
        """The pipe to a new process, which a terminal does not interrupt: its driver answers for it."""
        ours, theirs = _SPAWNED.Pipe()
        process = _SPAWNED.Process(target=_serve, args=(theirs,), daemon=True)
        resource_tracker.ensure_running()  # starting it later would let interrupts through again
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process.start()
        except OSError as error:
            raise SweepError(f"workers cannot be started: {error}") from error
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        self._processes.append(process)
        self._pipes.append(ours)
        return ours


@contextlib.contextmanager
def local(workers: int) -> Iterator[Pool]:
    """Processes of this machine, which end with the sweep, and when its process is gone.

    Args:
        workers: how many.
    """
    pool = Local(workers)
    try:
        yield pool
    finally:
        pool.end()


def _serve(pipe: Any) -> None:
    """Make tasks until the driver is gone."""
    threading.Thread(target=_end_with_driver, daemon=True).start()
    with contextlib.suppress(EOFError, OSError):
        while True:
            task = pipe.recv()
            try:
                made: object = attempt(task)
            except Exception as error:
                made = error  # no run can be made
            pipe.send(made)


def _end_with_driver() -> None:
    driver = multiprocessing.parent_process()
    if driver is not None:
        connection.wait([driver.sentinel])
        os.kill(os.getpid(), signal.SIGKILL)
