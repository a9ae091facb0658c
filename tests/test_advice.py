"""Advice on momentum: the formula against its minimum and an exact model, the regions, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from flatter_lib.advice import BOOK, Law, advise, region_of
from flatter_lib.nqm import NoisyQuadratic, risk, steps_to_target


@pytest.mark.parametrize("kind", ["noise", "slope"])
def test_the_best_momentum_is_the_least_of_the_formula(kind: str) -> None:
    """Against a minimiser that knows only the gains."""
    free = Law(border={"slope": math.inf, "noise": math.inf})

    def time(ln_memory: float) -> float:
        gain = advise(
            1e-4, 1 - np.exp(-ln_memory), 1.0, 1e5, carried_by=kind, law=free
        ).as_typed.value
        return -float(np.log(gain))

    found = minimize_scalar(time, bounds=(0.1, 8), method="bounded", options={"xatol": 1e-9})
    best = advise(1e-4, 0.0, 1.0, 1e5, carried_by=kind).momentum
    assert 1 - best == pytest.approx(np.exp(-found.x), rel=1e-5)


@pytest.mark.parametrize("batch", [1.0, 64.0, math.inf])
def test_the_best_step_of_plain_sgd(batch: float) -> None:
    """`tuned` without momentum is a ratio of two plain times, found here by trying steps in the formula's own terms."""
    rho = 0.1 / batch
    steps = np.geomspace(1e-3, 500, 200_001)
    room = 1 - rho * steps
    times = np.where(room > 0, 1000 * (1 - rho) / (steps * np.where(room > 0, room, 1)), np.inf)
    same = advise(0.1, 0.0, 1.0, 1000, carried_by="slope", at_rest=rho)
    assert same.as_typed.value == pytest.approx(1.0)
    for largest in (1.0, 2.0, 20.0):
        tuned = advise(
            0.1, 0.0, 1.0, 1000, carried_by="slope", at_rest=rho, largest_step=largest
        ).tuned
        assert tuned.value == pytest.approx(times[steps <= largest / 0.1].min() / 1000, rel=1e-4)


def test_against_the_exact_model() -> None:
    """The noisy quadratic model, where noise limits the step and where curvature does."""
    model = NoisyQuadratic.power_law(1000)
    for batch, lr, momentum, region in (
        (1.0, 2.0**-17, 0.9, "same"),
        (math.inf, 0.5, 0.9, "faster tuned"),
    ):
        plain = float(steps_to_target(model, 0.01, lr, batch))
        heavy = float(steps_to_target(model, 0.01, lr, batch, momentum))
        at_rest = float(risk(model, 2**50, lr, batch)) / 0.01
        found = advise(lr, momentum, 1.0, plain, carried_by="slope", at_rest=at_rest)
        assert found.region == region
        assert found.as_typed.low < plain / heavy < found.as_typed.high


@pytest.mark.parametrize(
    ("time", "plain", "tuned", "matched", "region"),
    [
        (math.inf, 1.0, 1.0, 1.0, "shaken"),
        (100, 1000, 126, math.inf, "faster tuned"),
        (100, 1000, 124, math.inf, "larger step"),
        (100, 1000, 50, 81, "same"),
        (100, 1000, 50, 79, "faster as typed"),
        (100, 124, 50, 79, "no gain"),
        (100, 124, 50, math.inf, "no gain"),
    ],
)
def test_each_region(time: float, plain: float, tuned: float, matched: float, region: str) -> None:
    assert region_of(time, plain, tuned, matched) == region


def test_what_shakes() -> None:
    """Beyond stability, beyond the border of kappa, and where noise at rest fills the goal."""
    T = 1e4
    beyond = 1 - (1 / (1.1 * BOOK.border["noise"] * T)) ** (1 / 3)
    within = 1 - (1 / (0.9 * BOOK.border["noise"] * T)) ** (1 / 3)
    assert advise(0.1, beyond, 1.0, T).region == "shaken"
    assert advise(0.1, within, 1.0, T).region != "shaken"
    assert advise(3.9, 0.9, 1.0, T, carried_by="slope").region == "shaken"
    assert advise(3.7, 0.9, 1.0, T, carried_by="slope").region != "shaken"
    for rho, lost in ((0.09, False), (0.11, True)):
        advice = advise(0.01, 0.9, 1.0, T, carried_by="slope", at_rest=rho)
        assert (advice.region == "shaken") is lost
        assert (advice.as_typed.value == 0) is lost


def test_where_plain_sgd_may_not_take_the_effective_step() -> None:
    """A slope on which noise limits plain SGD too, with the effective step just inside the rule and just outside."""
    for largest, region in ((1.01, "same"), (0.99, "larger step")):
        advice = advise(0.1, 0.9, 1.0, 1e5, carried_by="slope", at_rest=0.08, largest_step=largest)
        assert advice.region == region


def test_no_limit_on_the_step_leaves_nothing_to_win() -> None:
    advice = advise(0.1, 0.9, 1.0, 1e5, largest_step=math.inf)
    assert advice.tuned.value == 0
    assert advice.region == "same"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lr", 0.0),
        ("momentum", 1.0),
        ("curvature", -1.0),
        ("steps", math.inf),
        ("at_rest", 1.0),
        ("largest_step", 0.0),
        ("carried_by", "wind"),
    ],
)
def test_bad_input(name: str, value: object) -> None:
    good = {"lr": 0.1, "momentum": 0.9, "curvature": 1.0, "steps": 100.0}
    with pytest.raises(ValueError, match=f"^{name}: "):
        advise(**(good | {name: value}))  # type: ignore[arg-type]
