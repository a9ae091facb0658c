"""``flatter sweep`` and ``flatter results``: what they say, and one line for every wrong input."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import typer

from flatter_lib.evidence import experiment
from flatter_lib.evidence.record import Record
from flatter_lib.evidence.store import Store
from flatter_lib.publish import sweeping
from flatter_lib.publish.project import BookError, FailedError

if TYPE_CHECKING:
    from tests.evidence.conftest import Laboratory

Capture = pytest.CaptureFixture[str]


def put(laboratory: Laboratory, number: int, **changed: object) -> None:
    store = Store(laboratory.store, "laboratory.runs")
    with store.working():
        store.put(Record("laboratory.runs", {"number": number}, **changed))  # type: ignore[arg-type]


def test_a_dry_run_lists_and_touches_nothing(here: Laboratory, capsys: Capture) -> None:
    sweeping.sweep("laboratory.runs", "smoke", dry_run=True, store=here.store, workers=4)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["  number=0  (1 s)", "  number=1  (1 s)"]
    assert lines[12:] == ["laboratory.runs: 12 configurations, 12 to run, about 3 s on 4 workers"]
    assert not here.store.exists()


def test_what_is_there_is_listed_and_counted(here: Laboratory, capsys: Capture) -> None:
    put(here, 1)
    put(here, 2, error={"message": "no", "traceback": ""})
    with (here.store / "laboratory.runs.jsonl").open("a") as file:
        file.write("half")
    sweeping.sweep("laboratory.runs", "laptop", dry_run=True, store=here.store, workers=1)
    assert capsys.readouterr().out.splitlines() == [
        "  not read: laboratory.runs.jsonl, line 3 is cut off, or no JSON",
        "  number=0  (1 s)",
        "  number=2  (1 s)",
        "laboratory.runs: 3 configurations, 2 to run, 1 of them failed before, about 2 s on 1 workers; "
        "1 records are by other code (--renew)",
    ]
    sweeping.results("laboratory.runs", here.store)
    said = capsys.readouterr()
    rows = [" ".join(line.replace("│", " ").split()) for line in said.out.splitlines()]
    assert rows[3:6] == [
        "laboratory.runs smoke 1 of 12 1 1 11 s",
        "laptop 1 of 3 1 1 2 s",
        "paper 1 of 12 1 1 11 s",
    ]
    assert said.err == "  laboratory.runs.jsonl, line 3 is cut off, or no JSON\n"


def test_results_lists_the_others_if_one_experiment_is_broken(
    here: Laboratory, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiment, "names", lambda: ["laboratory.runs", "stationary_law"])
    here.source.write_text("1 / 0")
    sweeping.results(store=here.store)
    said = capsys.readouterr()
    assert "stationary_law" in said.out
    assert said.err == (
        "  laboratory.runs cannot be imported: ZeroDivisionError: division by zero\n"
    )
    with pytest.raises(BookError, match="no experiment 'nothing'"):
        sweeping.results("nothing", here.store)


def test_failures_are_listed_with_status_1_and_brackets_are_no_markup(
    here: Laboratory, capsys: Capture
) -> None:
    folder = here.root / "[red]a[" / "b]"
    here.tell(2, "raise")
    with pytest.raises(typer.Exit) as ended:
        sweeping.sweep("laboratory.runs", "laptop", store=folder)
    (key,) = (k for k, r in Store(folder, "laboratory.runs").read().records.items() if not r.ok)
    assert ended.value.exit_code == 1
    path = folder / "laboratory.runs.jsonl"
    said = capsys.readouterr()
    assert said.out == f"laboratory.runs: 2 runs made, 1 failed; 2 of 3 recorded in {path}\n"
    assert said.err == f"  failed: {key}: RuntimeError: run 2 was told to fail\n"
    with pytest.raises(FailedError, match=r"/\[/red\]: .*: finished runs are kept"):
        sweeping.sweep("laboratory.runs", "laptop", store=Path("/proc/[/red]"))


def test_wrong_input(here: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BookError, match="no experiment 'laboratory'; did you mean"):
        sweeping.sweep("laboratory", store=here.store)
    with pytest.raises(BookError, match="no profile 'big'; there are smoke, laptop, paper"):
        sweeping.sweep("laboratory.runs", "big", store=here.store)
    for address in ("here", "foo://x:1", "tls://127.0.0.1:1", "tcp://x"):
        with pytest.raises(BookError, match=f"--scheduler {address}: write it as `dask sched"):
            sweeping.sweep("laboratory.runs", scheduler=address, dry_run=True, store=here.store)
    monkeypatch.setattr("flatter_lib.evidence.cluster.ANSWER", 0.5)
    with pytest.raises(FailedError, match=r"the scheduler at tcp://127\.0\.0\.1:1 cannot be reach"):
        sweeping.sweep("laboratory.runs", scheduler="tcp://127.0.0.1:1", store=here.store)
    here.source.write_text("1 / 0")
    sys.modules.pop("laboratory.runs")
    with pytest.raises(FailedError, match=r"laboratory\.runs cannot be imported: ZeroDivisionErr"):
        sweeping.sweep("laboratory.runs", store=here.store)


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
    laboratory.address = "tcp://127.0.0.1:1" if missing == "distributed" else ""
    status, said, complained = laboratory.finish(laboratory.begin())
    assert (status, said, complained.count("\n")) == (2, "", 1)
    assert complained.startswith(f"flatter: {missing} is not installed, which this command needs")


def test_records_for_trying_are_not_published(
    here: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here.root / "_toc.yml").touch()
    (here.root / "book").mkdir()
    monkeypatch.chdir(here.root)
    folders = [sweeping._folder(None, profile) for profile in ("smoke", "laptop", "paper")]
    results = here.root / "book" / "results"
    assert folders == [here.root / "_build" / "sweeps", results, results]


def test_the_command_line_waits_for_no_library_that_sweeps() -> None:
    code = "import sys, flatter_lib.publish.cli; print({'distributed', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
