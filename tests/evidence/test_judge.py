"""Records measured again: what passes, what does not, which ones are drawn, what is kept of it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest

from flatter_lib.evidence import Record
from flatter_lib.evidence.judge import LEVEL, Rule, complaints, judge, sign_test
from flatter_lib.evidence.record import encode
from flatter_lib.evidence.verify import entry, sample, verifications

Floats = NDArray[np.float64]
SHARE = {"rtol": 1e-3, "share": 0.8}
#: Times of 40 runs in each of 30 records; some never came.
TIMES = np.random.default_rng(0).lognormal(5, 1, size=(30, 40)).round()
TIMES[TIMES > 600] = np.inf
GENERATOR = np.random.default_rng(1)
EVEN = np.arange(len(TIMES))[:, None] % 2 == 0
FEW = GENERATOR.random(TIMES.shape) < 0.1


def records(values: Any, name: str = "time") -> list[Record]:
    code = {"source": "new", "commit": "c"}
    return [
        Record("valley", {"seed": i}, {name: np.asarray(v).tolist()}, code=code)
        for i, v in enumerate(values)
    ]


def verdict(old: Any, new: Any, rule: dict[str, Any] | None = None) -> Any:
    pairs = zip(records(old), records(new), strict=True)
    return judge(pairs, {} if rule is None else {"time": rule})["time"]


def scattered(times: Floats) -> Floats:
    """A tenth of the runs end elsewhere, earlier or later, or never: rounding in chaotic motion."""
    other = times * np.exp(0.3 * GENERATOR.standard_normal(times.shape))
    return np.where(FEW, np.where(GENERATOR.random(times.shape) < 0.02, np.inf, other), times)


@pytest.mark.parametrize(
    ("change", "exactly", "mostly"),
    [
        (lambda t: t, True, True),
        (lambda t: t * (1 + 1e-13 * GENERATOR.standard_normal(t.shape)), True, True),
        (scattered, False, True),
        (lambda t: t * 1.03, False, False),
        (lambda t: np.where(FEW, t * 1.03, t), False, False),  # few, but all later
        (lambda t: np.where(FEW, math.nan, t), False, False),  # few, but all never
        (lambda t: np.where(FEW, np.where(EVEN, math.nan, t * 1.03), t), False, False),
        (lambda t: t[:, ::-1], False, False),  # other random numbers, the same law
        (lambda t: t * math.nan, False, False),
    ],
    ids=[
        "same",
        "rounding",
        "chaos",
        "biased",
        "few biased",
        "few lost",
        "lost or late",
        "other draws",
        "broken",
    ],
)
def test_what_passes(change: Callable[[Floats], Floats], exactly: bool, mostly: bool) -> None:
    changed = change(TIMES)
    assert verdict(TIMES, changed).passed is exactly
    assert verdict(TIMES, changed, SHARE).passed is mostly


@pytest.mark.parametrize(
    ("old", "new", "equal"),
    [
        ([math.inf, -math.inf, math.nan], [math.inf, -math.inf, math.nan], 1.0),
        ([math.inf, math.nan, 1.0, 0.0], [-math.inf, 1.0, math.inf, 1e-300], 0.0),
        ([1.0, 2.0], [1.0], 0.5),
        ([], [], 1.0),
        ([], [1.0], 0.0),
        (["a", 1.0], ["b", 1.0], 0.5),
        ([True, None], [True, None], 1.0),
        (["1.0"], [1.0], 0.0),
    ],
)
def test_what_is_equal(old: list[Any], new: list[Any], equal: float) -> None:
    found = judge([(Record("valley", {}, {"x": old}), Record("valley", {}, {"x": new}))], {})["x"]
    assert (found.equal, found.passed) == (equal, equal == 1)
    assert not math.isnan(found.worst)


def test_structure_and_texts_are_held_whatever_the_share() -> None:
    old = Record("valley", {}, {"data": {"digest": "a", "source": "here"}, "x": [0.0] * 9})
    new = replace(old, measurements={"data": {"digest": "b", "source": "there"}, "x": [0.0] * 8})
    held = {"data": {"share": 0.1}, "data.source": None, "x": {"share": 0.1}}
    found = judge([(old, new)], held)
    assert {name: v.passed for name, v in found.items()} == {"data.digest": False, "x": False}
    assert not judge([(old, replace(old, measurements={}))], {"x": {"share": 0.1}})["x"].passed


def test_entries_of_a_record_count_once() -> None:
    """64 rows of one record that lean to one side together are one accident; in 64 records they are none."""
    old, late = np.ones((64, 64)), np.where(np.arange(64) < 20, 1.5, 1.0)
    half: dict[str, Any] = SHARE | {"share": 0.5}
    assert verdict(old[None], (old * late)[None], half).p == 1
    assert verdict(old, old * late, half).p < LEVEL
    pairs = [
        (replace(a, configuration=(c := {"seed": i % 4, "i": i})), replace(b, configuration=c))
        for i, (a, b) in enumerate(zip(records(old), records(old * late), strict=True))
    ]
    assert judge(pairs, {"time": half | {"common": "seed"}})["time"].p == 2 * 0.5**4


@pytest.mark.parametrize(("more", "fewer"), [(0, 0), (3, 3), (12, 2), (2000, 1500)])
def test_sign_test_against_the_binomial_law(more: int, fewer: int) -> None:
    expected = binomtest(more, more + fewer).pvalue if more else 1.0
    assert sign_test([2.0] * more + [-1] * fewer + [0] * 5) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(
    ("fresh", "passed"), [(101.49, True), (101.51, False), (98.51, True), (98.49, False)]
)
def test_entries_are_equal_up_to_both_tolerances(fresh: float, passed: bool) -> None:
    pair = (Record("valley", {}, {"time": 100.0}), Record("valley", {}, {"time": fresh}))
    assert judge([pair], {"time": {"rtol": 1e-2, "atol": 0.5}})["time"].passed is passed


@pytest.mark.parametrize("wrong", [{"rtol": -1}, {"atol": math.nan}, {"share": 0}, {"share": 1.1}])
def test_a_rule_that_is_none(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}: must be in"):
        Rule(**wrong)


def test_a_sample_is_drawn_by_the_code_from_all_kinds_within_the_budget() -> None:
    runs = [
        Record("valley", {"lr": 0.1 * i, "noise": f"{i % 3}", "seed": i % 2}, seconds=float(i % 25))
        for i in range(100)
    ]
    short = {r.key for r in runs if r.seconds <= 5}
    drawn = sample(runs, "a", 300.0, workers=2)
    assert [r.key for r in drawn] == [r.key for r in sample(runs[::-1], "a", 300.0, workers=2)]
    assert len({r.key for r in drawn}) == len(drawn)
    assert 250 < sum(r.seconds for r in drawn) <= 300
    assert short < {r.key for r in drawn}
    assert len({r.configuration["noise"] for r in drawn if r.seconds > 5}) == 3
    other = sample(runs, "b", 300.0, workers=2)
    assert {r.key for r in drawn} != {r.key for r in other}
    assert {r.key for r in sample(runs, "a", 1e9)} == {r.key for r in runs}
    # Short ones alone are too many: half of the time is left to others.
    few = sample(runs, "a", 80.0)
    assert 30 < sum(r.seconds for r in few if r.seconds <= 5) <= 40
    assert sum(r.seconds for r in few) <= 80
    # What others leave of their half goes to short ones again.
    many = [Record("valley", {"seed": i}, seconds=6.0 if i == 0 else 1.0) for i in range(200)]
    assert sum(r.seconds for r in sample(many, "a", 100.0)) == 100


def test_what_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "valley.jsonl"
    old, new = records(TIMES), records(TIMES * 1.5)
    path.write_text("".join(f"{encode(r)}\n" for r in old))
    failed = replace(old[0], measurements={}, error={"message": "ValueError: no", "traceback": ""})
    assert verifications(path) == []
    kept = []
    for fresh in (old, new, [failed, *old[1:]]):
        verdicts = judge(zip(old, fresh, strict=True), {})
        kept.append(entry(path, len(old), fresh, verdicts))
        assert bool(complaints(verdicts, fresh)) is not kept[-1]["passed"]
    assert [e["passed"] for e in kept] == [True, False, False]
    assert kept[2]["measurements"]["time"]["passed"]
    assert kept[2]["failures"] == {old[0].key: "ValueError: no"}
    (line,) = complaints(judge(zip(old, new, strict=True), {}), new)
    assert line.startswith("time: ")
    assert "held to rtol 1e-09" in line
    assert "in the record and" in line
    assert "seed=" in line

    (tmp_path / "valley.verified.json").write_text(json.dumps(kept, allow_nan=False))
    assert verifications(path) == kept
    for broken in ("[{", "{}", "[1]"):
        (tmp_path / "valley.verified.json").write_text(broken)
        with pytest.raises(ValueError, match=r"valley\.verified\.json .*: take it back from git"):
            verifications(path)
