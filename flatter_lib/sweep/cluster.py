"""Runs on a Dask cluster, through joblib's Dask backend."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from distributed import Client
from distributed.scheduler import KilledWorker
from joblib import Parallel, delayed  # type: ignore[import-untyped]
from joblib._dask import DaskDistributedBackend  # type: ignore[import-untyped]

from flatter_lib.sweep.experiment import SweepError
from flatter_lib.sweep.pools import Pool, WorkersDiedError, quiet
from flatter_lib.sweep.worker import Outcome, Task, attempt

#: Seconds in which a scheduler must answer.
PATIENCE = 10


class _Backend(DaskDistributedBackend):  # type: ignore[misc] # joblib has no types
    """joblib's backend, mended in two places.

    With a single worker joblib makes the runs in its own process instead; and of a task that the cluster gives up it
    never tells the caller, who waits for ever.
    """

    def effective_n_jobs(self, n_jobs: int) -> int:
        return max(2, int(super().effective_n_jobs(n_jobs)))

    def submit(self, func: Any, callback: Callable[[Any], None] | None = None) -> Any:
        future = super().submit(func, callback)

        def lost(done: Any) -> None:
            if callback is not None and done.exception() is not None:
                callback(done.exception())

        future.add_done_callback(lost)
        return future

    def retrieve_result_callback(self, out: Any) -> Any:
        if isinstance(out, BaseException):
            raise out
        return super().retrieve_result_callback(out)


class Cluster:
    """The workers of a scheduler.

    Args:
        address: the scheduler's.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.workers = 1

    def outcomes(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """See :class:`flatter_lib.sweep.pools.Pool`."""
        try:
            client: Any = Client(  # type: ignore[no-untyped-call]
                self.address, timeout=PATIENCE, set_as_default=False
            )
        except OSError:
            raise self._gone("cannot be reached") from None
        try:
            threads = client.nthreads()
            if not threads:
                raise SweepError(
                    f"the scheduler at {self.address} has no workers: start some with `dask worker {self.address} "
                    "--nworkers 1 --nthreads 1`"
                )
            if max(threads.values()) > 1:
                raise SweepError(
                    f"a worker of {self.address} makes several runs in one process: start it with --nthreads 1"
                )
            self.workers = len(threads)
            yield from self._outcomes(client, tasks)
        finally:
            client.close(timeout=1)

    def _outcomes(self, client: Any, tasks: Iterable[Task]) -> Iterator[Outcome]:
        results = None
        try:
            parallel = Parallel(backend=_Backend(client=client), return_as="generator_unordered")
            with quiet():
                results = parallel(delayed(attempt)(task) for task in tasks)
            while True:
                with quiet():
                    outcome = next(results, None)
                if outcome is None:
                    return
                yield outcome
        except KilledWorker as error:
            raise WorkersDiedError("workers of the cluster were killed") from error
        except SweepError:
            raise
        except Exception as error:
            if client.status != "running":
                raise self._gone("is gone") from error
            raise SweepError(f"the cluster cannot make the runs: {error!r}") from error
        finally:
            if results is not None:
                with quiet():
                    results.close()

    def _gone(self, what: str) -> SweepError:
        return SweepError(
            f"the scheduler at {self.address} {what}: finished runs are kept; start it and its workers, and this again"
        )


@contextlib.contextmanager
def cluster(address: str) -> Iterator[Pool]:
    """The workers of a Dask scheduler, which stay when the sweep ends."""
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    yield Cluster(address)
