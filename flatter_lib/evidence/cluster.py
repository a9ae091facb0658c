"""Workers elsewhere: those of a Dask scheduler.

A run whose worker dies is made again by the cluster as often as its scheduler allows; after that it is given back as
not made.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from queue import Empty, SimpleQueue
from typing import Any

from distributed import Client
from distributed.scheduler import KilledWorker

from flatter_lib.evidence.experiment import SweepError
from flatter_lib.evidence.local import Pool
from flatter_lib.evidence.progress import duration
from flatter_lib.evidence.record import Record
from flatter_lib.evidence.worker import Task, attempt

#: Seconds in which a scheduler must answer, and in which a worker must join where there is none.
ANSWER, JOIN = 10, 600
#: Seconds between two looks at the cluster.
LOOK = 0.5


class Cluster:
    """The workers of a scheduler.

    Args:
        client: who is connected to it.
        address: where it is.
        say: says a line.
    """

    def __init__(self, client: Any, address: str, say: Callable[[str], None]) -> None:
        self.client, self.address, self.say = client, address, say
        self.start = f"start some with `dask worker {address} --nworkers 1 --nthreads 1`"
        self.workers = 0
        self._without: float | None = None  # since when there is no worker

    def outcomes(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, list[Record] | None]]:
        """See :class:`~flatter_lib.evidence.local.Pool`."""
        try:
            yield from self._made(iter(tasks))
        except (SweepError, GeneratorExit):
            raise
        except (OSError, CancelledError) as error:
            raise lost(self.address, "is gone") from error
        except Exception as error:
            raise SweepError(f"the cluster cannot make the runs: {error!r}") from error

    def _made(self, tasks: Iterator[Task]) -> Iterator[tuple[Task, list[Record] | None]]:
        """The outcomes of tasks, of which there is one under way and one waiting for each worker."""
        done: SimpleQueue[Any] = SimpleQueue()
        flying: dict[Any, Task] = {}
        while True:
            self._look()
            free = 2 * max(self.workers, 1) - len(flying)
            for task in itertools.islice(tasks, max(free, 0)):
                future = self.client.submit(attempt, task, pure=False)
                future.add_done_callback(done.put)
                flying[future] = task
            if not flying:
                return
            with contextlib.suppress(Empty):
                future = done.get(timeout=LOOK)
                try:
                    records = future.result(timeout=ANSWER)
                except KilledWorker:
                    records = None
                except TimeoutError:  # lost with its worker, and made again
                    future.add_done_callback(done.put)
                    continue
                yield flying.pop(future), records

    def _look(self) -> None:
        """See which workers there are, and say so when the last is gone and when another comes.

        Raises:
            SweepError: if the scheduler is silent, no worker has come for long, or one makes several runs at once.
        """
        try:
            threads = self.client.nthreads(callback_timeout=ANSWER)
        except TimeoutError as error:
            raise lost(self.address, "does not answer") from error
        self.workers, now = len(threads), time.monotonic()
        if max(threads.values(), default=1) > 1:
            raise SweepError(
                f"a worker of {self.address} makes several runs in one process: start it with `--nthreads 1`"
            )
        if threads and self._without is not None:
            self._without = None
            self.say(f"a worker has joined {self.address}: the sweep goes on")
        elif not threads and self._without is None:
            self._without = now
            self.say(
                f"no worker is at {self.address}: waiting {duration(JOIN)} for one; {self.start}, or end this with "
                "Ctrl-C: finished runs are kept"
            )
        elif self._without is not None and now - self._without > JOIN:
            raise SweepError(
                f"no worker has joined the scheduler at {self.address} in {duration(JOIN)}: finished runs are kept; "
                f"{self.start}, then this again"
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
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # what goes wrong is said in a line, not in hundreds
    try:
        client: Any = Client(address, timeout=ANSWER, set_as_default=False)  # type: ignore[no-untyped-call]
        try:
            yield Cluster(client, address, say)
        finally:
            with contextlib.suppress(TimeoutError, OSError):
                client.close(timeout=1)  # without waiting for runs under way
    except (OSError, ValueError) as error:
        raise lost(address, "cannot be reached") from error
    finally:
        logging.disable(before)


def lost(address: str, what: str) -> SweepError:
    """What became of a scheduler."""
    return SweepError(
        f"the scheduler at {address} {what}: finished runs are kept; start it and its workers, then this again"
    )
