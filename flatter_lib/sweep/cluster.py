"""Runs on a Dask cluster."""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from queue import Empty, SimpleQueue
from typing import Any

from distributed import Client
from distributed.scheduler import KilledWorker

from flatter_lib.sweep.experiment import SweepError
from flatter_lib.sweep.pools import Pool, WorkersDiedError
from flatter_lib.sweep.progress import duration
from flatter_lib.sweep.worker import Outcome, Task, attempt

#: Seconds in which a scheduler must answer, its first worker join, and another when the last is gone.
ANSWER, JOIN, LEFT = 10, 30, 600
#: Seconds between two looks at the cluster.
LOOK = 0.5


class Cluster:
    """The workers of a scheduler.

    Args:
        address: the scheduler's.
        say: says a line.
    """

    def __init__(self, address: str, say: Callable[[str], None]) -> None:
        self.address, self.say = address, say
        self.workers = 0
        self._without = math.inf  # since when there is no worker

    def outcomes(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """See :class:`flatter_lib.sweep.pools.Pool`.

        The cluster makes a run again whose worker died, and gives it up when that has happened a few times.
        """
        try:
            client: Any = Client(  # type: ignore[no-untyped-call]
                self.address, timeout=ANSWER, set_as_default=False
            )
        except (OSError, ValueError) as error:
            raise self._lost("cannot be reached") from error
        try:
            yield from self._made(client, iter(tasks))
        except KilledWorker as error:
            raise WorkersDiedError("workers of the cluster were killed") from error
        except (SweepError, GeneratorExit):
            raise
        except (OSError, CancelledError) as error:
            raise self._lost("is gone") from error
        except Exception as error:
            raise SweepError(f"the cluster cannot make the runs: {error!r}") from error
        finally:
            client.close(timeout=1)

    def _made(self, client: Any, tasks: Iterator[Task]) -> Iterator[Outcome]:
        """The outcomes of tasks, of which there is one under way and one waiting for each worker."""
        done: SimpleQueue[Any] = SimpleQueue()
        flying: set[Any] = set()
        looked = -math.inf
        while True:
            if time.monotonic() - looked > LOOK:
                self._look(client)
                looked = time.monotonic()
            free = 2 * max(self.workers, 1) - len(flying)
            for task in itertools.islice(tasks, max(free, 0)):
                future = client.submit(attempt, task, pure=False)
                future.add_done_callback(done.put)
                flying.add(future)
            if not flying:
                return
            try:
                future = done.get(timeout=LOOK)
            except Empty:
                continue
            try:
                outcome = future.result(timeout=ANSWER)
            except TimeoutError:  # lost with its worker, and made again
                future.add_done_callback(done.put)
                continue
            flying.remove(future)
            if self._without < math.inf:  # a quick sweep may be done before the next look
                self._look(client)
            yield outcome

    def _look(self, client: Any) -> None:
        """See which workers there are, and say so when the last is gone and when another comes.

        Raises:
            SweepError: if the scheduler is silent, no worker has come for long, or one makes several runs at once.
        """
        try:
            threads = client.nthreads(callback_timeout=ANSWER)
        except TimeoutError as error:
            raise self._lost("does not answer") from error
        if not threads:
            self._wait()
            return
        if self._without < math.inf:
            self._without = math.inf
            self.say(f"a worker has joined {self.address}: the sweep goes on")
        if max(threads.values()) > 1:
            raise SweepError(
                f"a worker of {self.address} makes several runs in one process: start it with `--nthreads 1`"
            )
        self.workers = len(threads)

    def _wait(self) -> None:
        limit = LEFT if self.workers else JOIN
        start = f"start some with `dask worker {self.address} --nworkers 1 --nthreads 1`"
        if self._without == math.inf:
            self._without = time.monotonic()
            self.say(
                f"no worker is at {self.address}: waiting {duration(limit)} for one; {start}, or end this with Ctrl-C: "
                "finished runs are kept"
            )
        if time.monotonic() - self._without > limit:
            raise SweepError(
                f"no worker has joined the scheduler at {self.address} in {duration(limit)}: finished runs are kept; "
                f"{start}, then this again"
            )

    def _lost(self, what: str) -> SweepError:
        return SweepError(
            f"the scheduler at {self.address} {what}: finished runs are kept; start it and its workers, then this again"
        )


@contextlib.contextmanager
def cluster(address: str, say: Callable[[str], None]) -> Iterator[Pool]:
    """The workers of a Dask scheduler, which stay when the sweep ends."""
    # What goes wrong is said in one line; Dask's own loggers would say it in hundreds.
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield Cluster(address, say)
    finally:
        logging.disable(before)
