"""Runs on a Dask cluster, through joblib's Dask backend."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from distributed import Client
from distributed.comm.core import CommClosedError
from distributed.scheduler import KilledWorker
from joblib import Parallel, delayed  # type: ignore[import-untyped]
from joblib._dask import DaskDistributedBackend  # type: ignore[import-untyped]

from flatter_lib.sweep.experiment import SweepError
from flatter_lib.sweep.pools import Pool, WorkersDiedError, drained
from flatter_lib.sweep.worker import Outcome, Task, attempt

#: Seconds in which a scheduler must answer, and the first worker join it.
ANSWER, JOIN = 10, 30
#: Seconds between two looks at the connection.
LOOK = 0.5


class Cluster:
    """The workers of a scheduler.

    Args:
        address: the scheduler's.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.workers = 1

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
            self.workers = self._joined(client)
            parallel = Parallel(backend=_Backend(client=client), return_as="generator_unordered")
            yield from drained(parallel, (delayed(attempt)(task) for task in tasks))
        except KilledWorker as error:
            raise WorkersDiedError("workers of the cluster were killed") from error
        except (SweepError, GeneratorExit):
            raise
        except Exception as error:
            if client.status != "running" or isinstance(error, CommClosedError):
                raise self._lost("is gone") from error
            raise SweepError(f"the cluster cannot make the runs: {error!r}") from error
        finally:
            client.close(timeout=1)

    def _joined(self, client: Any) -> int:
        """How many workers there are, once there is one."""
        with contextlib.suppress(TimeoutError):
            client.wait_for_workers(1, timeout=JOIN)
        threads = client.nthreads()
        if not threads:
            raise SweepError(
                f"no worker has joined the scheduler at {self.address}: start some with "
                f"`dask worker {self.address} --nworkers 1 --nthreads 1`"
            )
        if max(threads.values()) > 1:
            raise SweepError(
                f"a worker of {self.address} makes several runs in one process: start it with `--nthreads 1`"
            )
        return len(threads)

    def _lost(self, what: str) -> SweepError:
        return SweepError(
            f"the scheduler at {self.address} {what}: finished runs are kept; start it and its workers, then this again"
        )


@contextlib.contextmanager
def cluster(address: str) -> Iterator[Pool]:
    """The workers of a Dask scheduler, which stay when the sweep ends."""
    # What goes wrong is said in one line; Dask's own loggers would say it in hundreds.
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield Cluster(address)
    finally:
        logging.disable(before)


class _Backend(DaskDistributedBackend):  # type: ignore[misc]
    """joblib's backend, which would wait for ever where a cluster gives up a task or the scheduler dies.

    With a single worker joblib would make the runs in its own process, so that worker counts as two.
    """

    def effective_n_jobs(self, n_jobs: int) -> int:
        """How many tasks are handed out at once, by half."""
        return max(2, int(super().effective_n_jobs(n_jobs)))

    def start_call(self) -> None:
        """Begin to collect results, and to watch the connection."""
        super().start_call()
        self.client.loop.add_callback(self._watch)

    async def _watch(self) -> None:
        while self._continue:
            if self.client.status != "running":
                for callback in list(self._callbacks.values()):
                    callback(CommClosedError("the connection to the scheduler is lost"))
            await asyncio.sleep(LOOK)

    def submit(self, func: Any, callback: Callable[[Any], None]) -> Any:
        """Hand out a task; its callback gets the exception if the cluster gives it up."""
        future = super().submit(func, callback)

        def given_up(done: Any) -> None:
            if done.exception() is not None:
                callback(done.exception())

        future.add_done_callback(given_up)
        return future

    def retrieve_result_callback(self, out: Any) -> Any:
        """What a callback was given, raised if it is an exception."""
        if isinstance(out, BaseException):
            raise out
        return super().retrieve_result_callback(out)
