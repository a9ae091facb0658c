"""An experiment whose runs do as they are told, sweeps of it as processes of their own, and a small cluster."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pytest

from flatter_lib.evidence.record import Record
from flatter_lib.evidence.records import read
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


class Cluster(NamedTuple):
    """The processes of a scheduler and its workers."""

    scheduler: int
    workers: list[int]


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
    def environment(self) -> dict[str, str]:
        ours = {
            "LABORATORY": str(self.root / "told"),
            "LABORATORY_RUNS": str(self.runs),
            "PYTHONPATH": os.pathsep.join(
                [str(self.root), *filter(None, [os.environ.get("PYTHONPATH")])]
            ),
        }
        return os.environ | ours

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
        """Start a sweep of the smoke profile, in a process that does something first."""
        command = [sys.executable, "-m", "flatter_lib"]
        if first:
            command[1:] = ["-c", f"{first}; from flatter_lib.__main__ import main; main()"]
        command += [
            "sweep",
            "laboratory.runs",
            "--profile",
            "smoke",
            "--store",
            str(self.store),
            *arguments,
        ]
        if self.address:
            command += ["--scheduler", self.address]
        return self.process(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)

    def process(self, command: list[str], **options: object) -> subprocess.Popen[str]:
        """Start something that is ended when the test is."""
        started = subprocess.Popen(  # type: ignore[call-overload]
            command, env=self.environment, cwd=self.root, text=True, **options
        )
        self.processes.append(started)
        return started

    def cluster(self, workers: int = 2) -> Cluster:
        """Start a Dask scheduler on loopback and its workers; sweeps go there from now on."""
        folder = self.root / f"cluster-{len(self.processes)}"
        folder.mkdir()
        file = folder / "scheduler.json"
        loopback = ["--host", "127.0.0.1", "--no-dashboard"]
        place = ["--port", "0", "--scheduler-file", str(file)]
        scheduler = self._dask(folder / "scheduler.log", "dask_scheduler", *loopback, *place)
        self.until(lambda: file.exists() and file.read_text().endswith("}"))
        self.address = json.loads(file.read_text())["address"]
        return Cluster(scheduler, self.join(workers))

    def join(self, workers: int = 1, threads: int = 1) -> list[int]:
        """Start workers of the cluster."""
        folder = self.root / f"workers-{len(self.processes)}"
        folder.mkdir()
        options = ["--host", "127.0.0.1", "--no-dashboard", "--no-nanny"]
        options += ["--nthreads", str(threads), "--local-directory", str(folder)]
        logs = [folder / f"{number}.log" for number in range(workers)]
        started = [self._dask(log, "dask_worker", self.address, *options) for log in logs]
        self.until(lambda: all("Registered to" in log.read_text() for log in logs))
        return started

    def _dask(self, log: Path, program: str, *arguments: str) -> int:
        command = [sys.executable, "-m", f"distributed.cli.{program}", *arguments]
        with log.open("w") as file:
            return self.process(command, stdout=file, stderr=subprocess.STDOUT).pid

    def finish(self, sweep: subprocess.Popen[str]) -> tuple[int, str, str]:
        """How a sweep ends: status, what it says, what it says of errors."""
        said, complained = sweep.communicate(timeout=DEADLINE)
        return sweep.returncode, said, complained

    def kept(self) -> dict[int, Record]:
        """The records, gathered or not, by the number of their run."""
        lines = Store(self.store, "laboratory.runs").read()
        assert lines.damaged == []
        return {record.configuration["number"]: record for record in lines.records.values()}

    def gathered(self) -> list[int]:
        """The runs of all lines of the file that is committed, which must be whole."""
        path = self.store / "laboratory.runs.jsonl"
        assert read(path).damaged == []
        lines = path.read_text().splitlines()
        return [json.loads(line)["configuration"]["number"] for line in lines]


@pytest.fixture
def laboratory(tmp_path: Path) -> Iterator[Laboratory]:
    (tmp_path / "told").mkdir()
    (tmp_path / "laboratory").mkdir()
    (tmp_path / "laboratory" / "__init__.py").touch()
    (tmp_path / "laboratory" / "runs.py").write_text(EXPERIMENT)
    laboratory = Laboratory(tmp_path)
    yield laboratory
    laboratory.release()
    for process in laboratory.processes:
        process.kill()
    for process in laboratory.processes:
        process.communicate()
