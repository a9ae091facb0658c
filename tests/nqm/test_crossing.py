"""Steps to a target against the brute search through every step."""

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from flatter_lib.nqm import NoisyQuadratic, risk, steps_to_target

from ..refusals import refuses

LONGEST = 3000


def logarithmic(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(np.log(low), np.log(high)).map(lambda x: float(np.exp(x)))


@st.composite
def problems(draw: st.DrawFn) -> tuple[NoisyQuadratic, dict[str, float]]:
    count = draw(st.integers(1, 4))

    def of_each_mode(low: float, high: float) -> list[float]:
        return [draw(logarithmic(low, high)) for _ in range(count)]

    noisy = draw(st.booleans())
    model = NoisyQuadratic(
        of_each_mode(1e-3, 3.0),
        of_each_mode(1e-4, 10.0) if noisy else 0.0,
        of_each_mode(0.1, 3.0),
        of_each_mode(1e-2, 1e2),
    )
    coefficients = st.one_of(
        st.just(0.0), st.floats(0.0, 0.99), logarithmic(1e-4, 1.0).map(lambda x: 1.0 - x)
    )
    momentum, averaging = draw(coefficients), draw(coefficients)
    edge = 2 * (1 + momentum) / float(model.curvature.max())
    lr = draw(st.one_of(logarithmic(1e-2, 1.0), st.floats(0.0, 1.02).map(lambda x: x * edge)))
    setting = {
        "lr": lr,
        "batch_size": draw(logarithmic(0.1, 1e4)),
        "momentum": momentum,
        "averaging": averaging,
        "preconditioning": draw(st.sampled_from([0.0, 0.5])),
    }
    return model, setting


@given(problem=problems(), place=st.floats(0.0, 1.0), close=st.booleans())
@settings(max_examples=150, deadline=None)
@example(
    problem=(NoisyQuadratic([1.0], [0.0]), {"lr": 2.0, "batch_size": 1.0}), place=0.5, close=False
)
@example(
    problem=(NoisyQuadratic([1.0], [0.0]), {"lr": 0.0, "batch_size": 1.0}), place=0.5, close=True
)
@example(
    problem=(
        NoisyQuadratic([0.02664909733635549], [0.0]),
        {"lr": 1.0, "batch_size": 1.0, "momentum": 0.9969536592017613, "averaging": 0.0},
    ),
    place=0.0,
    close=True,
)
def test_no_step_before_reaches_the_target_and_this_one_does(
    problem: tuple[NoisyQuadratic, dict[str, float]], place: float, close: bool
) -> None:
    model, setting = problem
    curve = risk(model, np.arange(LONGEST), **setting)
    least, most = curve.min(), min(curve.max(), 1e9)
    if close:
        # As shallow a dip as can be told from rounding. Where an oscillating weight passes near zero, its error is in
        # proportion to how far it swings, not to where it is.
        assume(least > 1e-290)
        swing = np.sqrt(most / least)
        target = least * (1 + (1e-11 + LONGEST * np.finfo(float).eps * swing) * 10.0 ** (9 * place))
    else:
        # Below that the ratio overflows.
        target = 0.1 * least * (most / (0.1 * least)) ** place if least > 1e-290 else most * place
    assume(target > 0)
    found = steps_to_target(model, target, **setting)
    reached = np.flatnonzero(curve <= target)
    if reached.size:
        assert found == reached[0]
    else:
        assert found >= LONGEST
        if np.isfinite(found):
            assert risk(model, found, **setting) <= target < risk(model, found - 1, **setting)


def test_a_target_that_is_passed_and_left_again_is_found() -> None:
    # The stiff mode falls fast; the noise of the soft one then rises above the target for good.
    model = NoisyQuadratic([1.0, 1e-3], [0.0, 50.0], 1, [1.0, 0.0])
    curve = risk(model, np.arange(20_000), 0.5, 1.0)
    target = 1.0001 * curve.min()
    assert curve[-1] > 2 * target
    assert steps_to_target(model, target, 0.5, 1.0) == np.flatnonzero(curve <= target)[0]


def test_a_dip_of_an_underdamped_mode_is_found_at_its_first_depth() -> None:
    model = NoisyQuadratic([1.0, 0.9], [0.0, 0.0])
    setting = {"lr": 1e-3, "batch_size": 1.0, "momentum": 1 - 1e-5}
    curve = risk(model, np.arange(100_000), **setting)
    for target in (0.3, 1e-2, 1e-4):
        assert steps_to_target(model, target, **setting) == np.flatnonzero(curve <= target)[0]


@pytest.mark.parametrize("momentum", [0.0, 0.2])
@pytest.mark.parametrize("averaging", [0.3, 0.9, 0.99])
def test_every_new_low_of_an_average_of_alternating_weights_is_found(
    averaging: float, momentum: float
) -> None:
    model = NoisyQuadratic([1.0, 0.8], 0.0, [1.0, 0.3])
    for lr in (1.5, 1.9, 2.0 + 2 * momentum):
        setting = {"lr": lr, "batch_size": 1.0, "momentum": momentum, "averaging": averaging}
        curve = risk(model, np.arange(400), **setting)
        lows = np.flatnonzero(curve < np.minimum.accumulate(np.append(np.inf, curve[:-1])))
        lows = lows[curve[lows] > 1e-12]
        found = steps_to_target(model, curve[lows] * (1 + 1e-10), **setting)
        np.testing.assert_array_equal(found, lows)


@pytest.mark.parametrize("lr", [2.0 + 1e-9, 2.5, 1e9, 1e200])
@pytest.mark.parametrize("averaging", [0.0, 0.9])
def test_unstable_settings_never_arrive(lr: float, averaging: float) -> None:
    for noise in (0.0, 1.0):
        model = NoisyQuadratic([1.0], [noise])
        curve = risk(model, np.arange(1000), lr, 1.0, averaging=averaging)
        assert np.isinf(steps_to_target(model, 0.99 * curve.min(), lr, 1.0, averaging=averaging))


def test_targets_below_the_stationary_risk_are_never_reached() -> None:
    model = NoisyQuadratic.power_law(dimension=50)
    stationary = risk(model, 2**40, 0.1, 4.0, 0.5)
    assert np.isinf(steps_to_target(model, 0.999 * stationary, 0.1, 4.0, 0.5))
    found = steps_to_target(model, 1.001 * stationary, 0.1, 4.0, 0.5)
    assert risk(model, found, 0.1, 4.0, 0.5) <= 1.001 * stationary


def test_steps_are_counted_far() -> None:
    model = NoisyQuadratic([1.0], [1.0])
    found = steps_to_target(model, 0.05, 1e-12, 1.0)
    assert found == pytest.approx(np.log(10) / 2e-12, rel=1e-9)
    assert risk(model, found, 1e-12, 1.0) <= 0.05 < risk(model, found - 1, 1e-12, 1.0)
    assert steps_to_target(model, 0.5, 0.0, 1.0) == 0
    assert np.isinf(steps_to_target(model, 0.499, 0.0, 1.0))
    # More than 2**53 steps.
    assert np.isinf(steps_to_target(model, 0.05, 1e-20, 1.0))


def test_many_blocks_of_modes_give_the_step_of_the_risk() -> None:
    model = NoisyQuadratic.power_law(dimension=3000)
    for momentum in (0.0, 0.9, 0.999):
        found = steps_to_target(model, 0.5, 0.05, 256.0, momentum)
        values = risk(model, [found - 1, found], 0.05, 256.0, momentum)
        assert values[1] <= 0.5 < values[0]
        assert steps_to_target(model, values[1], 0.05, 256.0, momentum) == found


def test_arguments_broadcast_and_keep_their_order() -> None:
    model = NoisyQuadratic.power_law(dimension=10)
    target, lr = np.array([0.5, 0.1])[:, None], np.array([0.1, 3.0, 0.5])
    power = np.array([0.5, 0.0, 0.5])
    found = steps_to_target(model, target, lr, 64.0, preconditioning=power)
    assert found.shape == (2, 3)
    for i, j in np.ndindex(2, 3):
        one = steps_to_target(model, target[i, 0], lr[j], 64.0, preconditioning=power[j])
        assert np.ndim(one) == 0
        assert found[i, j] == one
    assert np.isinf(found[:, 1]).all()


def test_bad_arguments() -> None:
    good = {"model": NoisyQuadratic([1.0], [1.0]), "target": 0.1, "lr": 0.1, "batch_size": 1.0}
    refuses(steps_to_target, good, target=0.0, lr=-0.1, batch_size=-8, momentum=1.0, averaging=1.0)
