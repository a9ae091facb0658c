"""An experiment whose runs do as they are told, sweeps of it as processes of their own, and a small cluster."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from flatter_lib.evidence import worker
from flatter_lib.evidence.record import Record
from flatter_lib.evidence.store import Store

#: Seconds after which something that should happen is given up: far more than it takes on a busy machine.
DEADLINE = 120.0

EXPERIMENT = '''\
"""Runs that do as the files of a folder tell them."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Configuration:
    number: int


RUNS = [Configuration(n) for n in range(int(os.environ.get("LABORATORY_RUNS", "12")))]
PROFILES = {"smoke": RUNS, "laptop": RUNS[:3], "paper": RUNS * 2}


def run(configuration):
    number, folder = configuration.number, Path(os.environ["LABORATORY"])
    with (folder / f"{number}.started").open("a") as file:
        file.write(f"{os.getpid()}\\n")
    while (folder / f"{number}.wait").exists():
        time.sleep(0.01)
    fault = folder / f"{number}.fault"
    told = fault.read_text() if fault.exists() else ""
    if "once" in told:
        fault.unlink()
    if "kill" in told:
        os.kill(os.getpid(), signal.SIGKILL)
    if "lost" in told:
        from flatter_lib.vision.data import DataError

        raise DataError("the data are missing: get them")
    if "raise" in told:
        raise RuntimeError(f"run {number} was told to fail")
    return {"square": number**2, "filling": [0.5] * int(told or 0)}


def cost(configuration):
    return 1.0 - 1e-4 * configuration.number
'''


@dataclass
class Laboratory:
    """The experiment ``laboratory.runs``, the folder that its runs look into, and where its records go."""

    root: Path
    runs: int = 12
    address: str = ""
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def store(self) -> Path:
        return self.root / "store"

    @property
    def source(self) -> Path:
        return self.root / "laboratory" / "runs.py"

    @property
    def environment(self) -> dict[str, str]:
        paths = [str(self.root), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {
            "LABORATORY": str(self.root / "told"),
            "LABORATORY_RUNS": str(self.runs),
            "PYTHONPATH": os.pathsep.join(paths),
        }

    def tell(self, number: int, what: str) -> None:
        """Have a run raise or kill its worker, always or once; or write so many numbers."""
        (self.root / "told" / f"{number}.fault").write_text(what)

    def hold(self, *numbers: int) -> None:
        """Have runs wait when they have begun."""
        for number in numbers:
            (self.root / "told" / f"{number}.wait").touch()

    def release(self) -> None:
        """Let them all go on."""
        for path in (self.root / "told").glob("*.wait"):
            path.unlink()

    def started(self, number: int) -> list[int]:
        """The processes in which a run was begun."""
        path = self.root / "told" / f"{number}.started"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    @staticmethod
    def until(holds: Callable[[], object]) -> None:
        """Wait until something holds, and fail if it does not in a long time."""
        deadline = time.monotonic() + DEADLINE
        while not holds():
            assert time.monotonic() < deadline, "it did not happen"
            time.sleep(0.02)

    @staticmethod
    def kill(process: int) -> None:
        """End a process that a run was begun in, or that the test started, without a chance to tidy up."""
        os.kill(process, signal.SIGKILL)

    def begin(self, *arguments: str, first: str = "", **options: object) -> subprocess.Popen[str]:
        """Start a command, a sweep of the smoke profile if it is not said which, after something else."""
        python = ["-c", f"{first}; from flatter_lib.__main__ import main; main()"]
        command = [sys.executable, *(python if first else ["-m", "flatter_lib"])]
        command += arguments or ["sweep", "laboratory.runs", "--profile", "smoke"]
        command += ["--store", str(self.store)]
        if self.address:
            command += ["--scheduler", self.address]
        return self.process(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)

    def process(self, command: list[str], **options: object) -> subprocess.Popen[str]:
        """Start something that is ended when the test is."""
        started = subprocess.Popen(  # type: ignore[call-overload]
            command, env=os.environ | self.environment, cwd=self.root, text=True, **options
        )
        self.processes.append(started)
        return started

    def finish(self, command: subprocess.Popen[str]) -> tuple[int, str, str]:
        """How a command ends: status, what it says, what it says of errors."""
        said, complained = command.communicate(timeout=DEADLINE)
        return command.returncode, said, complained

    def cluster(self, workers: int) -> tuple[int, list[int]]:
        """Start a Dask scheduler on loopback and its workers; sweeps go there from now on."""
        file = self.root / f"scheduler-{len(self.processes)}.json"
        place = ["--port", "0", "--scheduler-file", str(file)]
        scheduler = self._dask("dask_scheduler", *place)[0]
        self.until(lambda: file.exists() and file.read_text().endswith("}"))
        self.address = json.loads(file.read_text())["address"]
        return scheduler, [self.join() for _ in range(workers)]

    def join(self, threads: int = 1) -> int:
        """Start a worker of the cluster."""
        options = ["--no-nanny", "--nthreads", str(threads), "--local-directory", str(self.root)]
        process, log = self._dask("dask_worker", self.address, *options)
        self.until(lambda: "Registered to" in log.read_text())
        return process

    def _dask(self, program: str, *arguments: str) -> tuple[int, Path]:
        log = self.root / f"{program}-{len(self.processes)}.log"
        command = [sys.executable, "-m", f"distributed.cli.{program}", *arguments]
        command += ["--host", "127.0.0.1", "--no-dashboard"]
        with log.open("w") as file:
            return self.process(command, stdout=file, stderr=subprocess.STDOUT).pid, log

    def kept(self) -> dict[int, Record]:
        """The records, gathered or not, by the number of their run."""
        lines = Store(self.store, "laboratory.runs").read()
        assert lines.unread == {}
        return {record.configuration["number"]: record for record in lines.records.values()}

    def gathered(self) -> list[int]:
        """The runs of all lines of the file that is committed."""
        lines = (self.store / "laboratory.runs.jsonl").read_text().splitlines()
        return [json.loads(line)["configuration"]["number"] for line in lines]


@pytest.fixture
def laboratory(tmp_path: Path) -> Iterator[Laboratory]:
    laboratory = Laboratory(tmp_path)
    (tmp_path / "told").mkdir()
    laboratory.source.parent.mkdir()
    (laboratory.source.parent / "__init__.py").touch()
    laboratory.source.write_text(EXPERIMENT)
    yield laboratory
    laboratory.release()
    for process in laboratory.processes:
        process.kill()
    for process in laboratory.processes:
        process.communicate()


@pytest.fixture
def here(laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Laboratory]:
    """The laboratory, whose experiment can be found and run in this process too."""
    for name, value in laboratory.environment.items():
        monkeypatch.setenv(name, value)
    for name in worker.VARIABLES:
        monkeypatch.setenv(name, "1")  # what making runs here sets is put back
    monkeypatch.syspath_prepend(laboratory.root)
    importlib.invalidate_caches()
    worker._prepared.cache_clear()
    yield laboratory
    worker._prepared.cache_clear()
    for name in ("laboratory.runs", "laboratory"):
        sys.modules.pop(name, None)
