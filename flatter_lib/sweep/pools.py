"""Where runs are made: processes of this machine, through joblib, or the workers of a cluster.

Either pool takes tasks one after the other and gives outcomes as they come; here many tiny runs travel in one message.
When a worker dies, :class:`WorkersDiedError` says so; what had been handed out and not come back must be handed out
again.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from flatter_lib.sweep.worker import THREADS, Outcome, Task, attempt

#: Seconds between two looks whether the driver is still there.
LOOK = 0.5


class WorkersDiedError(Exception):
    """A worker ended in the middle of a run."""


class Pool(Protocol):
    """Workers."""

    @property
    def workers(self) -> int:
        """How many runs are made at once."""

    def outcomes(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """Make runs, and give their outcomes as they come.

        Raises:
            WorkersDiedError: if a worker died.
            SweepError: if no run can be made any more.
        """


class Local:
    """Processes of this machine.

    Args:
        workers: how many.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def outcomes(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """See :class:`Pool`. One dead process takes the others with it; the next call starts new ones."""
        from joblib import Parallel, delayed, parallel_config  # type: ignore[import-untyped]
        from joblib.externals.loky.process_executor import (  # type: ignore[import-untyped]
            BrokenProcessPool,
        )

        # A single process joblib would not start at all, but make the runs in this one, which a run could then kill:
        # two processes get one task at a time instead.
        with parallel_config(
            "loky", inner_max_num_threads=THREADS, initializer=_serve, initargs=(os.getpid(),)
        ):
            parallel = Parallel(
                n_jobs=max(self.workers, 2),
                pre_dispatch=1 if self.workers == 1 else 2 * self.workers,
                return_as="generator_unordered",
                max_nbytes=None,
            )
        try:
            yield from drained(parallel, (delayed(attempt)(task) for task in tasks))
        except BrokenProcessPool as error:
            raise WorkersDiedError("a worker process was killed") from error


@contextlib.contextmanager
def local(workers: int) -> Iterator[Pool]:
    """Processes of this machine, ended at the end."""
    # Before anything is started: an import that was interrupted cannot be finished below.
    from joblib.externals.loky import get_reusable_executor  # type: ignore[import-untyped]

    try:
        yield Local(workers)
    finally:
        get_reusable_executor(reuse=True).shutdown(wait=True, kill_workers=True)


def _serve(driver: int) -> None:
    """Begin as a worker of a process, and end when it is gone, in the middle of a run or waiting for one."""

    def leave_with_it() -> None:
        while os.getppid() == driver:
            time.sleep(LOOK)
        os._exit(1)

    threading.Thread(target=leave_with_it, daemon=True).start()


def drained(parallel: Any, calls: Iterable[Any]) -> Iterator[Any]:
    """What calls return, as they do; left early, it ends those that are under way.

    joblib warns of results that nobody waited for and of a worker that was replaced: neither is news to a sweep.
    """
    results = None
    try:
        with _quiet(), _without_interrupts():
            results = parallel(calls)
        while True:
            with _quiet():
                result = next(results, None)
            if result is None:
                return
            yield result
    finally:
        if results is not None:
            with _quiet():
                results.close()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Processes that are started meanwhile are not interrupted by a terminal: their driver answers for them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
