"""What workers are: processes of their own, with one thread for each numerical library."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from flatter_lib.evidence.experiment import SweepError, find
from flatter_lib.evidence.local import local
from flatter_lib.evidence.worker import Task

if TYPE_CHECKING:
    from tests.evidence.conftest import Laboratory

THREADS = """\
    import numba, numpy, threadpoolctl, torch

    numpy.ones((2, 2)) @ numpy.ones((2, 2))
    return {
        "process": os.getpid(),
        "libraries": [pool["num_threads"] for pool in threadpoolctl.threadpool_info()],
        "others": [torch.get_num_threads(), numba.get_num_threads()],
        "told": os.environ["NUMBA_NUM_THREADS"],
    }
"""


@pytest.mark.parametrize("early", ["", "import numba, torch\n"])
def test_processes_with_one_thread_each(
    here: Laboratory, early: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where libraries were imported with more."""
    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "2")
    head, _, rest = here.source.read_text().partition("    number, folder =")
    here.source.write_text(f"{early}{head}{THREADS}{rest[rest.index('def cost') :]}")
    source = find("laboratory.runs").source()
    tasks = [Task("laboratory.runs", ({"number": n},), source, "") for n in range(2)]
    with local(1) as pool:
        made = [records for _, records in pool.outcomes(tasks)]
    records = [record for each in made for record in each or ()]
    assert [record.configuration["number"] for record in records] == [0, 1]
    for record in records:
        assert record.error == {}
        assert record["process"] != os.getpid()
        assert set(record["libraries"]) == {1}
        assert list(record["others"]) == [1, 1]
        assert (record["told"], record.threads) == ("1", 1)


def test_workers_that_cannot_find_the_experiment() -> None:
    with local(1) as pool, pytest.raises(SweepError, match="a worker cannot begin: no experiment"):
        list(pool.outcomes([Task("nowhere.to_be_found", ({},), "", "")]))
