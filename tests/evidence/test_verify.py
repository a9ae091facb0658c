"""Records measured again by the command: what it keeps, says and leaves alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from flatter_lib.evidence.record import Record, encode
from flatter_lib.evidence.store import Store

if TYPE_CHECKING:
    from tests.evidence.conftest import Laboratory


def begin(laboratory: Laboratory, *arguments: str) -> subprocess.Popen[str]:
    return laboratory.begin("verify", "laboratory.runs", *arguments)


def kept(laboratory: Laboratory) -> list[dict[str, Any]]:
    path = laboratory.store / "laboratory.runs.verified.json"
    found: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
    return found


@pytest.fixture
def measured(laboratory: Laboratory) -> Laboratory:
    """Its runs have records."""
    store = Store(laboratory.store, "laboratory.runs")
    with store.working():
        for n in range(12):
            store.put(Record("laboratory.runs", {"number": n}, {"square": n**2, "filling": []}))
    return laboratory


def test_every_verification_is_added_and_no_record_rewritten(measured: Laboratory) -> None:
    path = measured.store / "laboratory.runs.jsonl"
    status, said, complained = measured.finish(begin(measured, "--dry-run"))
    assert (status, complained, kept(measured)) == (0, "", [])
    assert said.endswith("laboratory.runs: 12 of 12 records, about 1 s\n")

    status, said, complained = measured.finish(begin(measured))
    assert (status, complained) == (0, "")
    assert said == "laboratory.runs: 12 of 12 records measured again; they hold\n"

    lines = path.read_text().splitlines()
    wrong = measured.kept()[4]
    lines[4] = encode(replace(wrong, measurements={**wrong.measurements, "square": 17}))
    path.write_text("\n".join(lines) + "\n")
    before = path.read_bytes()
    measured.tell(7, "raise")
    status, said, complained = measured.finish(begin(measured))
    assert (status, path.read_bytes()) == (1, before)
    assert "square: 90.91% of 11 entries equal, held to rtol 1e-09; farthest" in complained
    assert "17 in the record and 16 now, of number=4" in complained
    assert "number=7: fails now: RuntimeError: run 7 was told to fail" in complained
    assert "do not hold: if today's code is right, `flatter sweep laboratory.runs --renew`" in said
    assert [entry["passed"] for entry in kept(measured)] == [True, False]
    assert [len(entry["keys"]) for entry in kept(measured)] == [12, 12]


@pytest.mark.parametrize(
    ("end", "status", "says"),
    [
        (signal.SIGTERM, 143, "flatter: interrupted; nothing half-written is left"),
        (signal.SIGKILL, 1, "a worker was killed: is there enough memory? Nothing is kept"),
    ],
)
def test_what_ends_early_keeps_nothing(
    measured: Laboratory, end: signal.Signals, status: int, says: str
) -> None:
    measured.hold(5)
    process = begin(measured)
    measured.until(lambda: measured.started(5))
    os.kill(process.pid if end == signal.SIGTERM else measured.started(5)[0], end)
    ended, _, complained = measured.finish(process)
    assert (ended, kept(measured)) == (status, [])
    assert says in complained


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "no such records at"), ("[", "laboratory.runs.verified.json cannot be read")],
)
def test_what_cannot_begin_says_so_in_a_line(
    laboratory: Laboratory, content: str | None, says: str
) -> None:
    if content is not None:
        laboratory.store.mkdir()
        (laboratory.store / "laboratory.runs.jsonl").touch()
        (laboratory.store / "laboratory.runs.verified.json").write_text(content)
    status, said, complained = laboratory.finish(begin(laboratory))
    assert (status, said, len(complained.splitlines())) == (1, "", 1)
    assert says in complained


def test_missing_data_are_no_verdict_on_the_records(measured: Laboratory) -> None:
    measured.tell(7, "lost")
    status, said, complained = measured.finish(begin(measured))
    assert (status, said, kept(measured)) == (1, "", [])
    assert complained.endswith("laboratory.runs: the data are missing: get them; nothing is kept\n")
