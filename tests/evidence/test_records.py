"""Choosing records and stacking their measurements."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flatter_lib.evidence import Record, Records, StaleError, digest, load, recompute
from flatter_lib.evidence.record import configuration_of, encode, hashed


@dataclass(frozen=True)
class Configuration:
    lr: float
    momentum: float
    seed: int


SETTINGS = [Configuration(lr, b, s) for lr in (0.2, 0.1) for b in (0.0, 0.9) for s in range(3)]


def measured(c: Configuration) -> dict[str, Any]:
    return {"trace": [c.lr, c.momentum, c.seed], "loss": c.lr * c.seed, "note": "fine"}


def record(c: Configuration) -> Record:
    return Record("valley", configuration_of(c), measured(c), seed=c.seed, seconds=1.5)


@pytest.fixture
def runs() -> Records:
    return Records(map(record, SETTINGS))


def test_stacking_against_a_loop(runs: Records) -> None:
    trace = runs.stack("trace", "momentum", "seed", "lr")
    assert trace.shape == (2, 3, 2, 3)
    for i, momentum in enumerate(runs.values("momentum")):
        for j, seed in enumerate(runs.values("seed")):
            for k, lr in enumerate(runs.values("lr")):
                np.testing.assert_array_equal(trace[i, j, k], [lr, momentum, seed])
    assert runs.where(lr=0.1, seed=2).stack("loss", "momentum").tolist() == [0.2, 0.2]


def test_stacking_needs_one_record_of_each_combination(runs: Records) -> None:
    with pytest.raises(ValueError, match=r"lr=0\.1, momentum=0\.0: 3 records, where one makes an"):
        runs.stack("loss", "lr", "momentum")
    with pytest.raises(ValueError, match=r"lr=0\.1, momentum=0\.0, seed=0: 0 records"):
        Records(r for r in runs if r.configuration != runs.one(
            lr=0.1, momentum=0.0, seed=0).configuration).stack("loss", "lr", "momentum", "seed")  # fmt: skip
    odd = [replace(r, measurements={"x": [0.0] * n}) for n, r in enumerate(runs.where(lr=0.1))]
    with pytest.raises(ValueError, match="x: the records hold different shapes of it"):
        Records(odd).stack("x", "momentum", "seed")


def test_choosing(runs: Records) -> None:
    assert len(runs.where(lr=0.1 * (1 + 1e-15))) == 6
    assert len(runs.where(lr=0.1 * (1 + 1e-9))) == 0
    assert len(runs.where(lr=np.array([0.1, 0.2]), seed=range(2))) == 8
    assert len(runs.where(momentum=0)) == 6
    assert [r.seed for r in runs.where(lr=0.2, momentum=0.9)] == [0, 1, 2]
    assert len(runs.where(lr={0.1, 0.2}, seed=np.int64(1))) == 4
    assert len(runs.where(lr=(lr for lr in (0.1, 0.2)), momentum=np.array([0.9]))) == 6
    others = Records(Record("valley", {"lr": lr}) for lr in (None, "auto", math.inf, 1e300, 0))
    assert [len(others.where(lr=lr)) for lr in (None, "auto", math.inf, "a", False)] == [
        1,
        1,
        1,
        0,
        1,
    ]
    assert isinstance(runs[:2], Records)
    with pytest.raises(ValueError, match="width: no configuration has it; they have lr, momentum,"):
        runs.where(width=3)
    with pytest.raises(ValueError, match=r"lr=0\.1: 6 records, where one was asked for"):
        runs.one(lr=0.1)


def test_those_of_given_configurations(runs: Records) -> None:
    wanted = [SETTINGS[7], SETTINGS[2]]
    assert [r.configuration for r in runs.of(wanted)] == [configuration_of(c) for c in wanted]
    with pytest.raises(
        ValueError,
        match=r"1 of 3 configurations have no record, the first of them lr=0\.3, momentum=0\.0, seed=0:",
    ):
        runs.of([*wanted, Configuration(0.3, 0.0, 0)])


def test_on_what_they_were_measured(runs: Records) -> None:
    named = [replace(r, machine="Linux x86_64, 2 cores") for r in runs]
    named[0] = replace(named[0], device="cuda (a card)", threads=2)
    named[1] = replace(named[1], machine="Linux x86_64, 2 cores, Some Processor, avx2")
    assert Records(named).measured_on() == (
        "11 runs on cpu (Linux x86_64, 2 cores), float64, 1 thread; "
        "1 run on cuda (a card) (Linux x86_64, 2 cores), float64, 2 threads"
    )
    assert runs.seconds == 18.0


def test_loading(tmp_path: Path, runs: Records) -> None:
    path = tmp_path / "valley.jsonl"
    failed = replace(runs[0], error={"message": "no", "traceback": ""}, measurements={})
    other = replace(failed, configuration={**failed.configuration, "seed": 99})
    lines = [encode(r) for r in [*runs, failed, other]]
    path.write_text("".join(f"{line}\n" for line in lines))
    assert sorted(r.key for r in load(path)) == sorted(r.key for r in runs)
    kept, cut, altered, *_ = lines
    content = {**json.loads(kept), "weather": "fine"}
    del content["checksum"]
    newer = json.dumps({**content, "checksum": hashed(content)})
    cure = r": restore or delete it \(if it is newer, update this library\); `flatter sweep valley` measures"
    for bad, said in (
        ([cut[:-9]], rf"valley\.jsonl, line 2 is cut off, or no JSON{cure}"),
        ([altered.replace("fine", "wine")], rf"line 2 was altered: its checksum is another{cure}"),
        ([newer], rf"line 2 is by a newer version: it has weather{cure}"),
        (map(str, range(7)), rf"line 6 is no record; and 2 lines more{cure}"),
    ):
        path.write_text("\n".join([kept, *bad]))
        with pytest.raises(ValueError, match=said):
            load(path)


def test_the_ends_of_lines_do_not_count(tmp_path: Path, runs: Records) -> None:
    path = tmp_path / "valley.jsonl"
    path.write_bytes("".join(f"{encode(r)}\r\n" for r in runs).encode() + b"\r\n")
    assert list(load(path)) == list(runs)


def test_records_are_found_from_any_folder(
    tmp_path: Path, runs: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "book" / "results" / "valley.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text(encode(runs[0]))
    (tmp_path / "book" / "chapters").mkdir()
    for folder in (".", "book", "book/chapters", "book/results"):
        monkeypatch.chdir(tmp_path / folder)
        assert len(load("../results/valley.jsonl")) == len(load("valley.jsonl")) == 1
        with pytest.raises(
            ValueError, match=r"other\.jsonl: no such records at .*: run this"
        ) as told:
            load("../results/other.jsonl")
        for place in (f"{folder}/../results", "book/results"):
            assert str(tmp_path / place / "other.jsonl") in str(told.value)
    # The nearest first; and from outside of every checkout, those of the library's own.
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "valley.jsonl").write_text("")
    monkeypatch.chdir(tmp_path / "book")
    assert len(load("../results/valley.jsonl")) == 0
    monkeypatch.chdir("/")
    assert len(load("../results/teacher_student.jsonl")) > 0
    with pytest.raises(
        ValueError, match=rf"other\.jsonl: no such records at {tmp_path}/other\.js\S* run"
    ):
        load(tmp_path / "other.jsonl")


def test_a_digest_is_of_what_was_measured(tmp_path: Path, runs: Records) -> None:
    def digested(*records: Record, end: str = "\n") -> str:
        path = tmp_path / "valley.jsonl"
        path.write_bytes("".join(f"{encode(r)}{end}" for r in records).encode())
        return digest(path)

    one, two = runs[0], replace(runs[1], measurements={"x": math.nan})
    failed = replace(runs[2], error={"message": "no", "traceback": ""}, measurements={})
    elsewhere = replace(one, seconds=9.0, machine="another", versions={"numpy": "3"}, code={})
    first = digested(one, two)
    assert len(first) == 16
    assert {digested(two, one), digested(elsewhere, two, failed, end="\r\n")} == {first}
    assert len({first, digested(one), digested(one, replace(two, measurements={"x": 1.0}))}) == 3
    assert digest(tmp_path / "none.jsonl") == "missing"


class Experiment:
    """Stands in for an experiment's module; its runs give what is asked for."""

    def __init__(self, **changed: Any) -> None:
        self.changed = changed

    def run(self, c: Configuration) -> dict[str, Any]:
        return {**measured(c), **self.changed}


def test_a_record_that_holds(runs: Records) -> None:
    c = SETTINGS[5]
    assert recompute(runs, c, Experiment(), rtol=0.0) is runs[5]
    close = np.array(measured(c)["trace"]) * (1 + 1e-7)
    assert recompute(runs, c, Experiment(trace=close), rtol=1e-6) is runs[5]
    assert recompute(runs, c, Experiment(loss=c.lr * c.seed + 1e-3), rtol=0, atol=2e-3).ok
    assert recompute(runs, c, Experiment(note="another"), rtol=0, measurements=["loss"]).ok


def test_a_record_that_does_not_hold(runs: Records) -> None:
    c = SETTINGS[5]
    for changed in ({"trace": [0.2, 0.9]}, {"loss": math.nan}, {"note": "other"}, {"more": 1.0}):
        with pytest.raises(StaleError, match=r"valley \(lr=0.2, momentum=0.9, seed=2\): .*--renew"):
            recompute(runs, c, Experiment(**changed), rtol=1e-6)
    with pytest.raises(
        StaleError, match=r"loss is 0.4 in the record and 0.5 now, beyond rtol 1e-06"
    ):
        recompute(runs, c, Experiment(loss=0.5), rtol=1e-6)
    other = type("Other", (), {"run": staticmethod(lambda _: {"z": 1.0})})
    with pytest.raises(StaleError, match=r"loss is 0\.4 in the record and 'nothing' now"):
        recompute(runs, c, other, rtol=1.0, measurements=["loss"])
    with pytest.raises(ValueError, match="1 of 1 configurations have no record"):
        recompute(runs, Configuration(9.0, 0.0, 0), Experiment(), rtol=1.0)
    for wrong in (math.nan, math.inf, -1.0):
        for name in ("rtol", "atol"):
            with pytest.raises(ValueError, match=rf"{name}: must be in \[0, inf\), got"):
                recompute(runs, c, Experiment(), **{"rtol": 0.0, name: wrong})
    with pytest.raises(ValueError, match="measurements: must be one of trace, loss, note, got 'x'"):
        recompute(runs, c, Experiment(), rtol=0.0, measurements=["x"])
