"""Choosing records and stacking their measurements."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flatter_lib import results
from flatter_lib.results import Record, Records, StaleError, load, recompute
from flatter_lib.results.record import configuration_of, encode


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
    path.write_text("\n".join([lines[0], lines[1][:-9], lines[2].replace("fine", "wine")]))
    with pytest.raises(
        ValueError, match=r"line 2 is cut off, or no JSON; valley\.jsonl, line 3 was"
    ):
        load(path)
    with pytest.raises(
        ValueError, match=r"other\.jsonl: no such records here: `flatter sweep other`"
    ):
        load(tmp_path / "other.jsonl")


def test_the_face_of_the_package() -> None:
    assert sorted(results.__all__) == ["Record", "Records", "StaleError", "load", "recompute"]


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
    off = np.array(measured(c)["trace"]) * (1 + 1e-5)
    wrong: list[dict[str, Any]] = [
        {"trace": off},
        {"trace": [*off, 1.0]},
        {"trace": 1.0},
        {"loss": math.nan},
        {"loss": 0.4001},
        {"note": "another"},
        {"more": 1.0},
    ]
    for changed in wrong:
        with pytest.raises(StaleError, match=r"valley \(lr=0.2, momentum=0.9, seed=2\): .*--renew"):
            recompute(runs, c, Experiment(**changed), rtol=1e-6)
    with pytest.raises(
        StaleError, match=r"loss is 0.4 in the record and 0.5 now, beyond rtol 1e-06"
    ):
        recompute(runs, c, Experiment(loss=0.5), rtol=1e-6)
    nan = Records([replace(runs[5], measurements={"x": math.nan, "y": [math.inf]})])
    again = type("Nan", (), {"run": staticmethod(lambda _: {"x": math.nan, "y": [math.inf]})})
    assert recompute(nan, c, again, rtol=0.0).ok
    with pytest.raises(ValueError, match="1 of 1 configurations have no record"):
        recompute(runs, Configuration(9.0, 0.0, 0), Experiment(), rtol=1.0)
