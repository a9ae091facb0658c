"""``flatter sweep`` and ``flatter results``: what they say, and one line for every wrong input."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
import typer
from rich.console import Console

from flatter_lib.evidence import experiment
from flatter_lib.evidence.record import Record
from flatter_lib.evidence.store import Store
from flatter_lib.publish import sweeping
from flatter_lib.publish.project import BookError, FailedError

if TYPE_CHECKING:
    from tests.evidence.conftest import Laboratory


class Done(NamedTuple):
    """What was said, and to whom."""

    out: str
    err: str


@pytest.fixture
def here(laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The experiment can be found, and its records are kept in this folder."""
    for name, value in laboratory.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(laboratory.root)
    importlib.invalidate_caches()
    monkeypatch.setattr(sweeping, "Console", lambda **given: Console(**given, width=300))
    yield laboratory.store
    for name in ("laboratory.runs", "laboratory"):
        sys.modules.pop(name, None)


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[[], Done]:
    return lambda: Done(*capsys.readouterr())


def test_a_dry_run_lists_and_touches_nothing(here: Path, said: Callable[[], Done]) -> None:
    sweeping.sweep("laboratory.runs", "smoke", dry_run=True, store=here, workers=4)
    lines = said().out.splitlines()
    assert lines[:2] == ["  number=0  (1 s)", "  number=1  (1 s)"]
    assert lines[-1] == "laboratory.runs: 12 configurations, 12 to run, about 3 s on 4 workers"
    assert len(lines) == 13
    assert not here.exists()


def put(folder: Path, number: int, **changed: object) -> None:
    store = Store(folder, "laboratory.runs")
    record = Record("laboratory.runs", {"number": number}, **changed)  # type: ignore[arg-type]
    with store.working():
        store.put(record)


def test_a_dry_run_knows_what_is_there(here: Path, said: Callable[[], Done]) -> None:
    put(here, 1)
    put(here, 2, error={"message": "no", "traceback": ""})
    with (here / "laboratory.runs.jsonl").open("a") as file:
        file.write("half")
    sweeping.sweep("laboratory.runs", "laptop", dry_run=True, store=here, workers=1)
    assert said().out.splitlines() == [
        "  not read: laboratory.runs.jsonl, line 3 is cut off, or no JSON",
        "  number=0  (1 s)",
        "  number=2  (1 s)",
        "laboratory.runs: 3 configurations, 2 to run, 1 of them failed before, about 2 s on 1 workers; "
        "1 records are by other code (--renew)",
    ]


def test_results_counts_records(here: Path, said: Callable[[], Done]) -> None:
    put(here, 1)
    put(here, 2, error={"message": "no", "traceback": ""})
    sweeping.results("laboratory.runs", here)
    rows = [" ".join(line.replace("│", " ").split()) for line in said().out.splitlines()]
    assert rows[3:6] == [
        "laboratory.runs smoke 1 of 12 1 1 11 s",
        "laptop 1 of 3 1 1 2 s",
        "paper 1 of 12 1 1 11 s",
    ]


def test_results_lists_the_others_if_one_experiment_is_broken(
    here: Path, said: Callable[[], Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiment, "names", lambda: ["laboratory.runs", "stationary_law"])
    (here.parent / "laboratory" / "runs.py").write_text("1 / 0")
    sweeping.results(store=here)
    done = said()
    assert "stationary_law" in done.out
    assert done.err == (
        "  laboratory.runs cannot be imported: ZeroDivisionError: division by zero\n"
    )
    with pytest.raises(BookError, match="no experiment 'nothing'"):
        sweeping.results("nothing", here)


def test_failures_are_listed_with_status_1(
    here: Path, laboratory: Laboratory, said: Callable[[], Done]
) -> None:
    laboratory.tell(2, "raise")
    with pytest.raises(typer.Exit) as ended:
        sweeping.sweep("laboratory.runs", "laptop", store=here)
    key = laboratory.kept()[2].key
    assert ended.value.exit_code == 1
    assert said() == Done(
        f"laboratory.runs: 2 runs made, 1 failed; 2 of 3 recorded in {here}/laboratory.runs.jsonl\n",
        f"  failed: {key}: RuntimeError: run 2 was told to fail\n",
    )


def test_wrong_input(here: Path) -> None:
    with pytest.raises(BookError, match="no experiment 'laboratory'; did you mean"):
        sweeping.sweep("laboratory", store=here)
    with pytest.raises(BookError, match="no profile 'big'; there are smoke, laptop, paper"):
        sweeping.sweep("laboratory.runs", "big", store=here)
    for address in ("here", "foo://x:1", "tls://127.0.0.1:1", "tcp://x"):
        for dry_run in (False, True):
            with pytest.raises(BookError, match=f"--scheduler {address}: write it as `dask sched"):
                sweeping.sweep("laboratory.runs", scheduler=address, dry_run=dry_run, store=here)
    (here.parent / "laboratory" / "runs.py").write_text("1 / 0")
    sys.modules.pop("laboratory.runs")
    with pytest.raises(FailedError, match=r"laboratory\.runs cannot be imported: ZeroDivisionErr"):
        sweeping.sweep("laboratory.runs", store=here)


@pytest.mark.parametrize("missing", ["distributed", "threadpoolctl"])
def test_an_installation_without_what_a_sweep_needs(laboratory: Laboratory, missing: str) -> None:
    (laboratory.root / "sitecustomize.py").write_text(
        "import sys\n"
        "class Without:\n"
        "    def find_spec(name, path=None, target=None):\n"
        f"        if name == {missing!r}:\n"
        "            raise ModuleNotFoundError('gone', name=name)\n"
        "sys.meta_path.insert(0, Without)\n"
    )
    status, said, complained = laboratory.finish(laboratory.begin())
    assert (status, said, complained.count("\n")) == (2, "", 1)
    assert complained.startswith(f"flatter: {missing} is not installed, which this command needs")


def test_brackets_in_paths_are_no_markup(
    here: Path, laboratory: Laboratory, said: Callable[[], Done]
) -> None:
    folder = here / "[red]a[" / "b]"
    laboratory.tell(2, "raise")
    with pytest.raises(typer.Exit):
        sweeping.sweep("laboratory.runs", "laptop", store=folder)
    assert f"recorded in {folder}/laboratory.runs.jsonl" in said().out
    (folder / "laboratory.runs.jsonl").write_text("[/b]")
    sweeping.sweep("laboratory.runs", "laptop", dry_run=True, store=folder)
    sweeping.results("laboratory.runs", folder)
    assert "  laboratory.runs.jsonl, line 1 is cut off" in said().err
    with pytest.raises(FailedError, match=r"/\[/red\]: .*: finished runs are kept"):
        sweeping.sweep("laboratory.runs", "laptop", store=Path("/proc/[/red]"))


def test_a_scheduler_that_does_not_answer(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flatter_lib.evidence.cluster.ANSWER", 0.5)
    with pytest.raises(FailedError, match=r"the scheduler at tcp://127\.0\.0\.1:1 cannot be reach"):
        sweeping.sweep("laboratory.runs", "smoke", scheduler="tcp://127.0.0.1:1", store=here)


def test_records_for_trying_are_not_published(
    here: Path, laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    (laboratory.root / "_toc.yml").touch()
    (laboratory.root / "book").mkdir()
    monkeypatch.chdir(laboratory.root)
    folders = [sweeping._folder(None, profile) for profile in ("smoke", "laptop", "paper")]
    results = laboratory.root / "book" / "results"
    assert folders == [laboratory.root / "_build" / "sweeps", results, results]


def test_the_command_line_waits_for_no_library_that_sweeps() -> None:
    code = "import sys, flatter_lib.publish.cli; print({'joblib', 'distributed', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
