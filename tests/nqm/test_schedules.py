"""Schedules against single steps, differences of the risk, and brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flatter_lib.nqm import (
    NoisyQuadratic,
    Schedule,
    bayes_risk,
    risk,
    steps_to_target,
    tune,
    tune_schedule,
)
from flatter_lib.nqm.exact import Modes
from flatter_lib.nqm.pieces import risks_of_pieces

from ..refusals import refuses


@given(
    steps=st.integers(0, 60),
    rates=st.lists(
        st.one_of(st.floats(0.0, 2.5), st.sampled_from([0.0, 0.5, 1.0, 2.0])), min_size=1
    ),
    power=st.sampled_from([0.0, 0.5]),
)
@settings(max_examples=100, deadline=None)
def test_pieces_are_single_steps_of_equation_3(
    steps: int, rates: list[float], power: float
) -> None:
    model = NoisyQuadratic([1.0, 0.5, 0.01], [1.0, 0.3, 2.0], [1, 2, 5], [1.0, 2.0, 0.5])
    schedule = Schedule(steps, rates)
    assert schedule.lengths.sum() == steps
    assert np.ptp(schedule.lengths) <= 1
    h, second = model.curvature, model.initial.copy()
    wanted = []
    for length, rate in zip(schedule.lengths, rates, strict=True):
        wanted.append(0.5 * np.sum(model.multiplicity * h * second))
        for _ in range(length):
            step = rate * h**-power
            second = (1 - step * h) ** 2 * second + step**2 * model.noise / 4.0
    wanted.append(0.5 * np.sum(model.multiplicity * h * second))
    np.testing.assert_allclose(schedule.risk(model, 4.0, power), wanted, rtol=1e-11)


@pytest.mark.parametrize("lr", [1e-12, 1e-3, 1.0, 2.0, 2.0 + 1e-9])
def test_one_rate_is_plain_sgd(lr: float) -> None:
    model = NoisyQuadratic.power_law(dimension=20)
    steps = 10**6 if lr <= 2.0 else 1000
    schedule = Schedule(steps, [lr] * 8)
    ends = np.concatenate([[0], np.cumsum(schedule.lengths)])
    np.testing.assert_allclose(schedule.risk(model, 3.0), risk(model, ends, lr, 3.0), rtol=1e-11)


def test_what_overflows_is_infinite() -> None:
    model = NoisyQuadratic([1.0], [1.0])
    risks = Schedule(4000, [0.1, 1e3, 0.1, 0.1]).risk(model, 1.0)
    assert np.isfinite(risks[:2]).all()
    np.testing.assert_array_equal(risks[2:], np.inf)


@given(
    rates=st.lists(
        st.one_of(st.floats(1e-6, 2.1), st.sampled_from([0.5, 1.0, 2.0])), min_size=1, max_size=5
    ),
    longest=st.sampled_from([1, 2, 7, 300]),
)
@settings(max_examples=60, deadline=None)
def test_gradient_is_that_of_the_risk(rates: list[float], longest: int) -> None:
    modes = Modes(NoisyQuadratic([1.0, 0.5, 0.01], [1.0, 0.3, 2.0], 1, [1.0, 2.0, 0.5]))
    lengths = np.arange(longest, longest + len(rates), dtype=np.int64)
    at = np.array(rates)
    _, gradient, by_momentum = risks_of_pieces(modes, 4.0, lengths, at, 0.0)
    assert np.isnan(by_momentum)
    for k in range(at.size):
        width = 1e-7 * np.eye(at.size)[k]
        ends = (at + width, at - width)
        values = [risks_of_pieces(modes, 4.0, lengths, end, 0.0)[0][-1] for end in ends]
        slope = (values[0] - values[1]) / 2e-7
        assert gradient[k] == pytest.approx(
            slope, rel=2e-4, abs=1e-7 * max(1.0, values[0] * longest)
        )


@pytest.mark.parametrize("power", [0.0, 0.5])
@pytest.mark.parametrize("batch", [1.0, 2.0**8, 2.0**16])
def test_schedules_lie_between_constant_rates_and_what_the_data_tell(
    batch: float, power: float
) -> None:
    model = NoisyQuadratic.power_law(nodes=40)
    best = tune_schedule(model, 0.01, batch, preconditioning=power)
    alone = tune(model, 0.01, batch, preconditioning=power)
    assert best.steps <= alone.steps
    assert best.risk(model, batch, power)[-1] <= 0.01 * (1 + 1e-12)
    assert bayes_risk(model, best.steps, batch) <= 0.01
    assert best.rates.size == min(50, best.steps)
    assert best.rates.max() <= 2.0 / model.preconditioned(power).curvature.max()
    if batch == 1.0:
        # Where noise rules, a schedule wins by a factor.
        assert best.steps < 0.6 * alone.steps


def test_one_piece_is_a_constant_rate() -> None:
    model = NoisyQuadratic.power_law(dimension=50)
    best, alone = tune_schedule(model, 0.02, 64.0, pieces=1), tune(model, 0.02, 64.0)
    assert best.steps == alone.steps
    assert best.rates[0] == pytest.approx(alone.lr, rel=1e-3)


def test_two_pieces_are_no_worse_than_brute_force() -> None:
    model = NoisyQuadratic([1.0, 0.05], [1.0, 0.05], [1, 10])
    target = 0.02
    best = tune_schedule(model, target, 4.0, pieces=2)
    assert best.risk(model, 4.0)[-1] <= target * (1 + 1e-12)
    rates = np.geomspace(1e-3, 2.0, 60)
    for steps in (best.steps - 1, best.steps - 2, best.steps // 2):
        values = [
            Schedule(steps, [first, second]).risk(model, 4.0)[-1]
            for first in rates
            for second in rates
        ]
        assert min(values) > target


def test_no_schedule_nearby_reaches_the_target_a_step_earlier() -> None:
    model = NoisyQuadratic.power_law(dimension=50)
    for batch in (1.0, 64.0, 4096.0):
        best = tune_schedule(model, 0.02, batch, pieces=10)
        near = np.exp(0.1 * np.random.default_rng(0).standard_normal((500, best.rates.size)))
        rates = np.minimum(best.rates * near, 2.0)
        shorter = [Schedule(best.steps - 1, rate).risk(model, batch)[-1] for rate in rates]
        assert min(shorter) > 0.02
        same = [Schedule(best.steps, rate).risk(model, batch)[-1] for rate in rates]
        assert min(same) >= best.risk(model, batch)[-1] * (1 - 1e-7)


def test_there_are_never_more_pieces_than_steps() -> None:
    model = NoisyQuadratic([1.0, 0.6], 0.0)
    best = tune_schedule(model, 1e-6, 1.0)
    # One step for each of the two modes.
    assert best.steps == 2
    np.testing.assert_allclose(np.sort(1 / best.rates), [0.6, 1.0], atol=1e-2)
    assert tune_schedule(model, 1.0, 1.0).steps == 0
    for steps, few in ((2, model), (1, NoisyQuadratic([1.0], 0.0))):
        assert tune_schedule(few, 1e-6, 1.0, optimizer="momentum").steps == steps


def test_schedules_of_small_steps_reach_where_constant_steps_do() -> None:
    model = NoisyQuadratic.power_law(dimension=50)
    best = tune_schedule(model, 0.02, 64.0)
    assert steps_to_target(model, 0.02, best.rates.mean(), 64.0) > best.steps


@given(
    steps=st.integers(0, 60),
    rates=st.lists(st.one_of(st.floats(0.0, 2.5), st.just(1.0)), min_size=1, max_size=6),
    momentum=st.floats(0.01, 0.99),
    power=st.sampled_from([0.0, 0.5]),
)
@settings(max_examples=60, deadline=None)
def test_pieces_with_momentum_are_single_steps_of_equation_5(
    steps: int, rates: list[float], momentum: float, power: float
) -> None:
    model = NoisyQuadratic([1.0, 0.5, 0.01], [1.0, 0.3, 2.0], [1, 2, 5], [1.0, 2.0, 0.5])
    schedule = Schedule(steps, rates, momentum)
    h, scale = model.curvature, model.curvature**-power
    ww, wm, mm = model.initial.copy(), np.zeros(3), np.zeros(3)
    wanted = [0.5 * np.sum(model.multiplicity * h * ww)]
    for length, rate in zip(schedule.lengths, rates, strict=True):
        for _ in range(length):
            # m' = momentum m + h^-p (h w + noise), then w' = w - rate m'.
            g = scale * h
            new_mm = momentum**2 * mm + 2 * momentum * g * wm + g**2 * ww
            new_mm = new_mm + scale**2 * model.noise / 4.0
            new_wm = momentum * wm + g * ww
            ww = ww - 2 * rate * new_wm + rate**2 * new_mm
            wm, mm = new_wm - rate * new_mm, new_mm
        wanted.append(0.5 * np.sum(model.multiplicity * h * ww))
    np.testing.assert_allclose(schedule.risk(model, 4.0, power), wanted, rtol=1e-9)


def test_one_rate_with_momentum_is_heavy_ball() -> None:
    model = NoisyQuadratic.power_law(dimension=20)
    for lr, momentum in ((1e-3, 0.999), (0.1, 0.9), (2.0, 0.5)):
        schedule = Schedule(10**5, [lr] * 7, momentum)
        ends = np.concatenate([[0], np.cumsum(schedule.lengths)])
        wanted = risk(model, ends, lr, 3.0, momentum)
        np.testing.assert_allclose(schedule.risk(model, 3.0), wanted, rtol=1e-9)


@given(
    rates=st.lists(st.floats(1e-3, 2.0), min_size=1, max_size=4),
    momentum=st.floats(0.05, 0.95),
    longest=st.sampled_from([1, 2, 7, 60]),
)
@settings(max_examples=60, deadline=None)
def test_gradient_with_momentum_is_that_of_the_risk(
    rates: list[float], momentum: float, longest: int
) -> None:
    modes = Modes(NoisyQuadratic([1.0, 0.5, 0.01], [1.0, 0.3, 2.0], 1, [1.0, 2.0, 0.5]))
    lengths = np.arange(longest, longest + len(rates), dtype=np.int64)

    def last(rates: np.ndarray, momentum: float) -> float:
        return float(risks_of_pieces(modes, 4.0, lengths, rates, momentum)[0][-1])

    at, width = np.array(rates), 1e-6
    value, by_rates, by_momentum = risks_of_pieces(modes, 4.0, lengths, at, momentum)
    for k in range(at.size):
        step = width * np.eye(at.size)[k]
        slope = (last(at + step, momentum) - last(at - step, momentum)) / (2 * width)
        assert by_rates[k] == pytest.approx(slope, rel=1e-4, abs=1e-6 * longest * value.max())
    slope = (last(at, momentum + width) - last(at, momentum - width)) / (2 * width)
    assert by_momentum == pytest.approx(slope, rel=1e-4, abs=1e-6 * longest * value.max())


@pytest.mark.parametrize("batch", [16.0, 2.0**10, 2.0**18])
def test_a_schedule_with_momentum_is_no_slower_than_either_alone(batch: float) -> None:
    model = NoisyQuadratic.power_law(nodes=30)
    both = tune_schedule(model, 0.02, batch, pieces=4, optimizer="momentum")
    assert both.risk(model, batch)[-1] <= 0.02 * (1 + 1e-9)
    assert bayes_risk(model, both.steps, batch) <= 0.02
    assert both.rates.max() <= 2 * (1 + both.momentum) / model.curvature.max()
    assert both.steps <= tune_schedule(model, 0.02, batch, pieces=4).steps
    assert both.steps <= tune(model, 0.02, batch, "momentum").steps
    if batch > 2.0**9:
        assert both.momentum > 0.5


def test_bad_arguments() -> None:
    refuses(Schedule, {"steps": 1, "rates": [0.1]}, steps=[1, 2], rates=[], momentum=1.0)
    refuses(Schedule, {"steps": 1}, rates=[-0.1])
    good = {"model": NoisyQuadratic([1.0], [1.0]), "target": 0.1, "batch_size": 1.0}
    refuses(tune_schedule, good, pieces=0, target=-1.0, batch_size=0.0, preconditioning=2.0)
    refuses(tune_schedule, good, optimizer="ema")


def test_a_long_memory_is_looked_for_too() -> None:
    # From little momentum alone the search ends at 916,922 steps.
    model = NoisyQuadratic.power_law(nodes=100)
    found = tune_schedule(model, 0.01, 1.0, pieces=6, optimizer="momentum")
    assert found.steps < 916_000
