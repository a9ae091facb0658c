"""Where runs are made: the workers of a Dask scheduler, which is one elsewhere or one of this machine's own.

A run whose worker dies is made again by the cluster as often as its scheduler allows; after that it is given back as
not made. Our own scheduler allows no death, so that the sweep can say who died.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from multiprocessing import resource_tracker
from queue import Empty, SimpleQueue
from typing import Any, Protocol

import dask.config
from distributed import Client, LocalCluster
from distributed.scheduler import KilledWorker

from flatter_lib.evidence.experiment import SweepError
from flatter_lib.evidence.progress import duration
from flatter_lib.evidence.record import Record
from flatter_lib.evidence.worker import Task, attempt

#: Seconds in which a scheduler must answer, its first worker join, and another when the last is gone.
ANSWER, JOIN, LEFT = 10, 30, 600
#: Seconds between two looks at the cluster.
LOOK = 0.5
#: What a scheduler of our own does otherwise: a worker that dies loses its run, and one that computes for long without
#: a pause, in which it could give a sign of life, is not dead.
OURS = {"distributed.scheduler.allowed-failures": 0, "distributed.scheduler.worker-ttl": None}


class Pool(Protocol):
    """Workers."""

    @property
    def workers(self) -> int:
        """How many tasks are made at once."""

    def outcomes(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, list[Record] | None]]:
        """Make tasks, taking one when a worker is about to be free, and give their records as they come.

        None stands for the records of a task whose workers died.

        Raises:
            SweepError: if no run can be made any more.
        """


class Cluster:
    """The workers of a scheduler.

    Args:
        client: who is connected to it.
        where: what to call it.
        start: how to start workers; empty if they are started for us.
        say: says a line.
    """

    def __init__(self, client: Any, where: str, start: str, say: Callable[[str], None]) -> None:
        self.client, self.where, self.start, self.say = client, where, start, say
        self.workers = 0
        self._without = math.inf  # since when there is no worker

    def outcomes(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, list[Record] | None]]:
        """See :class:`Pool`."""
        try:
            yield from self._made(iter(tasks))
        except (SweepError, GeneratorExit, ModuleNotFoundError):
            raise
        except (OSError, CancelledError) as error:
            raise lost(self.where, "is gone") from error
        except Exception as error:
            raise SweepError(f"the cluster cannot make the runs: {error!r}") from error

    def _made(self, tasks: Iterator[Task]) -> Iterator[tuple[Task, list[Record] | None]]:
        """The outcomes of tasks, of which there is one under way and one waiting for each worker."""
        done: SimpleQueue[Any] = SimpleQueue()
        flying: dict[Any, Task] = {}
        looked = -math.inf
        while True:
            if time.monotonic() - looked > LOOK:
                self._look()
                looked = time.monotonic()
            free = 2 * max(self.workers, 1) - len(flying)
            for task in itertools.islice(tasks, max(free, 0)):
                future = self.client.submit(attempt, task, pure=False)
                future.add_done_callback(done.put)
                flying[future] = task
            if not flying:
                return
            try:
                future = done.get(timeout=LOOK)
            except Empty:
                continue
            try:
                records = future.result(timeout=ANSWER)
            except KilledWorker:
                records = None
            except TimeoutError:  # lost with its worker, and made again
                future.add_done_callback(done.put)
                continue
            if self._without < math.inf:  # a quick sweep may be done before the next look
                self._look()
            yield flying.pop(future), records

    def _look(self) -> None:
        """See which workers there are, and say so when the last is gone and when another comes.

        Raises:
            SweepError: if the scheduler is silent, no worker has come for long, or one makes several runs at once.
        """
        try:
            threads = self.client.nthreads(callback_timeout=ANSWER)
        except TimeoutError as error:
            raise lost(self.where, "does not answer") from error
        if not threads:
            self._wait()
            return
        if self._without < math.inf:
            self._without = math.inf
            if self.start:
                self.say(f"a worker has joined {self.where}: the sweep goes on")
        if max(threads.values()) > 1:
            raise SweepError(
                f"a worker of {self.where} makes several runs in one process: start it with `--nthreads 1`"
            )
        self.workers = len(threads)

    def _wait(self) -> None:
        limit = LEFT if self.workers and self.start else JOIN
        if self._without == math.inf:
            self._without = time.monotonic()
            if self.start:
                self.say(
                    f"no worker is at {self.where}: waiting {duration(limit)} for one; {self.start}, or end this with "
                    "Ctrl-C: finished runs are kept"
                )
        if time.monotonic() - self._without > limit:
            raise SweepError(
                f"no worker has joined the scheduler at {self.where} in {duration(limit)}: finished runs are kept; "
                f"{self.start or 'see whether there is enough memory'}, then this again"
            )


@contextlib.contextmanager
def remote(address: str, say: Callable[[str], None]) -> Iterator[Pool]:
    """The workers of a scheduler elsewhere, which stay when the sweep ends.

    Args:
        address: the scheduler's.
        say: says a line.

    Raises:
        SweepError: if it does not answer.
    """
    start = f"start some with `dask worker {address} --nworkers 1 --nthreads 1`"
    with _silent():
        try:
            client: Any = Client(address, timeout=ANSWER, set_as_default=False)  # type: ignore[no-untyped-call]
        except (OSError, ValueError) as error:
            raise lost(address, "cannot be reached") from error
        try:
            yield Cluster(client, address, start, say)
        finally:
            _end(client)


@contextlib.contextmanager
def local(workers: int) -> Iterator[Pool]:
    """Processes of this machine, which end with the sweep, and when its process is gone.

    Args:
        workers: how many.

    Raises:
        SweepError: if they cannot be started.
    """
    with _silent(), dask.config.set(OURS), contextlib.ExitStack() as stack:
        stack.callback(_kill, {child.pid for child in multiprocessing.active_children()})
        try:
            with _uninterrupted():
                cluster: Any = LocalCluster(  # type: ignore[no-untyped-call]
                    n_workers=workers,
                    threads_per_worker=1,
                    memory_limit=0,
                    scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
                    silence_logs=logging.CRITICAL,
                )
                stack.callback(_end, cluster)
                client: Any = Client(cluster, set_as_default=False)  # type: ignore[no-untyped-call]
                stack.callback(_end, client)
        except (OSError, RuntimeError, TimeoutError) as error:
            raise SweepError(f"workers cannot be started: {error}") from error
        yield Cluster(client, "this machine", "", lambda _: None)


def lost(where: str, what: str) -> SweepError:
    """What became of a scheduler."""
    return SweepError(
        f"the scheduler at {where} {what}: finished runs are kept; start it and its workers, then this again"
    )


def _end(connected: Any) -> None:
    """Close a client or a cluster, without waiting for runs under way."""
    with contextlib.suppress(TimeoutError, OSError):
        connected.close(timeout=1)


def _kill(others: set[int | None]) -> None:
    """End what is left of our processes, though it may have been told to ignore every other signal."""
    for child in multiprocessing.active_children():
        if child.pid not in others:
            child.kill()


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """What goes wrong is said in one line; Dask's own loggers would say it in hundreds."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Threads that are started meanwhile, and their processes, are never interrupted by a terminal.

    Their driver answers for them: to it, an interrupt comes afterwards.
    """
    resource_tracker.ensure_running()  # starting it from one of these threads would let interrupts through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
