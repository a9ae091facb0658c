"""The exact risk against many-digit arithmetic, plain iteration, simulation and algebra."""

import itertools

import mpmath  # type: ignore[import-untyped]
import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from flatter_lib.nqm import NoisyQuadratic, risk
from flatter_lib.nqm.reference import sampled_risk, second_moment

from ..refusals import refuses

EPS = float(np.finfo(np.float64).eps)

powers_of_ten = st.floats(-15.0, 0.0).map(lambda power: 10.0**power)
near_one = st.floats(-12.0, -1.0).map(lambda power: 1.0 - 10.0**power)
coefficients = st.one_of(st.just(0.0), st.floats(0.0, 0.99), near_one)
momenta = st.one_of(coefficients, st.floats(-15.0, -1.0).map(lambda power: 10.0**power))
counts = st.one_of(st.integers(0, 30), st.floats(0.0, 9.0).map(lambda power: int(10.0**power)))


@st.composite
def modes(draw: st.DrawFn) -> tuple[float, float, float, float]:
    """(lr, momentum, averaging, curvature), densely where roots meet each other, the unit circle, 0 or averaging."""
    momentum, averaging = draw(momenta), draw(coefficients)
    root = np.sqrt(momentum)
    at = draw(
        st.sampled_from(
            [
                1.0,
                (1 - root) ** 2,
                (1 + root) ** 2,
                2 * (1 + momentum),
                1 - averaging,
                1 + averaging,
                "anywhere",
                "small",
            ]
        )
    )
    if at == "anywhere":
        step = draw(st.floats(1e-3, 5.0))
    elif at == "small":
        step = draw(powers_of_ten)
    else:
        step = float(at) * (1 + draw(st.sampled_from([-1, 0, 1])) * draw(powers_of_ten))
    assume(step > 1e-20)
    # A power of two, so that lr times curvature is the step to the last bit.
    curvature = 2.0 ** draw(st.integers(-8, 4))
    return step / curvature, momentum, averaging, curvature


def exact_second_moment(
    curvature: float,
    noise: float,
    initial: float,
    steps: int,
    lr: float,
    momentum: float,
    averaging: float,
) -> mpmath.mpf:
    """Powers of the 3x3 matrix of (weight, buffer, average), in 45 digits."""
    with mpmath.workdps(45):
        h, c, start, a, b, g = map(mpmath.mpf, (curvature, noise, initial, lr, momentum, averaging))
        matrix = mpmath.matrix(
            [[1 - a * h, -a * b, 0], [h, b, 0], [(1 - g) * (1 - a * h), -(1 - g) * a * b, g]]
        )
        kick = mpmath.matrix([-a, 1, -(1 - g) * a])
        covariance, state = mpmath.zeros(3, 3), mpmath.matrix([1, 0, 1])
        spread = c * kick * kick.T
        while steps:
            if steps & 1:
                covariance = spread + matrix * covariance * matrix.T
                state = matrix * state
            spread = spread + matrix * spread * matrix.T
            matrix = matrix * matrix
            steps >>= 1
        return start * state[2] ** 2 + covariance[2, 2]


def angle_of_a_step(step: float, momentum: float) -> float:
    """By how much the phase of an underdamped weight turns in one step; 0 if it is not underdamped."""
    if momentum == 0 or not (1 - np.sqrt(momentum)) ** 2 < step < (1 + np.sqrt(momentum)) ** 2:
        return 0.0
    return float(np.arccos(np.clip((1 + momentum - step) / (2 * np.sqrt(momentum)), -1, 1)))


@given(
    mode=modes(),
    steps=counts,
    noise=st.one_of(st.just(0.0), st.floats(1e-6, 1e3)),
    initial=st.one_of(st.just(0.0), st.floats(1e-3, 1e3)),
)
@settings(max_examples=150, deadline=None)
@example(mode=(1.0, 0.0, 0.0, 1.0), steps=5, noise=1.0, initial=1.0)
@example(mode=(2.0, 0.0, 0.0, 1.0), steps=10**9, noise=1.0, initial=1.0)
@example(mode=(0.25, 0.25, 0.0, 1.0), steps=1000, noise=1.0, initial=1.0)
@example(mode=(0.25, 0.0, 0.75, 1.0), steps=1000, noise=1.0, initial=1.0)
@example(mode=(1e-14, 1 - 1e-7, 0.0, 1.0), steps=10**9, noise=1.0, initial=1.0)
@example(mode=(1e-3, 0.0, 1 - 1e-7, 1.0), steps=10**9, noise=1.0, initial=1.0)
@example(mode=(1.0, 1 - 1e-8, 0.0, 1.0), steps=10**9, noise=1.0, initial=0.0)
@example(mode=(1e-9, 1 - 1e-8, 1 - 1e-8, 1.0), steps=10**9, noise=1.0, initial=1.0)
def test_risk_has_the_digits_of_exact_arithmetic(
    mode: tuple[float, float, float, float], steps: int, noise: float, initial: float
) -> None:
    lr, momentum, averaging, curvature = mode
    found = risk(
        NoisyQuadratic([curvature], [noise], 1, initial), steps, lr, 1.0, momentum, averaging
    )
    arguments = (steps, lr, momentum, averaging)
    start = exact_second_moment(curvature, 0.0, initial, *arguments) * curvature / 2
    spread = exact_second_moment(curvature, noise, 0.0, *arguments) * curvature / 2
    assert not np.isnan(found)
    if start + spread > mpmath.mpf(10) ** 300:
        assert found > 1e290
        return
    wanted = float(start + spread)
    angle = angle_of_a_step(lr * curvature, momentum)
    # Where the weight swings, a rounding error of its phase counts against the whole swing, not against what is left
    # of it near a zero; everywhere else the digits are those of the risk, however small that is.
    swing = curvature / 2 * initial * momentum**steps if angle else 0.0
    phase = 4 * EPS * (100 + steps * angle)
    slack = swing * phase**2 + 2 * phase * np.sqrt(swing) * np.sqrt(float(start))
    # Decayed and grown risks are powers with large exponents.
    stretch = abs(np.log(wanted)) if wanted > 0 else 0.0
    # A noise remembered for many swings adds up with the rounding error of their phase.
    swings = angle * min(steps, 1.0 / (1.0 - momentum))
    rtol = 1e-11 + 3e-13 * stretch + EPS * swings
    np.testing.assert_allclose(found, wanted, rtol=rtol, atol=slack + 1e-280)


def test_every_step_of_many_modes_is_that_of_the_recursion() -> None:
    model = NoisyQuadratic([1.0, 0.3, 0.02], [0.5, 2.0, 0.1], [1.0, 2.5, 7.0], [1.0, 0.1, 3.0])
    for lr, beta, gamma in itertools.product((0.1, 1.7, 2.1), (0.0, 0.5, 0.95), (0.0, 0.4, 0.99)):
        wanted = [
            sum(
                0.5 * m * h * second_moment(h, c / 4.0, start, steps, lr, beta, gamma)
                for h, c, m, start in zip(
                    model.curvature, model.noise, model.multiplicity, model.initial, strict=True
                )
            )
            for steps in range(40)
        ]
        np.testing.assert_allclose(
            risk(model, np.arange(40), lr, 4.0, beta, gamma), wanted, rtol=1e-11
        )


@pytest.mark.parametrize(
    ("lr", "momentum", "averaging", "power"),
    [(0.4, 0.0, 0.0, 0.0), (0.4, 0.7, 0.0, 0.5), (1.2, 0.0, 0.8, 0.25), (0.3, 0.5, 0.6, 0.75)],
)
def test_simulated_runs_have_this_risk_on_average(
    lr: float, momentum: float, averaging: float, power: float
) -> None:
    model = NoisyQuadratic([1.0, 0.2], [1.0, 0.5], [1, 3], [1.0, 2.0])
    for steps in (1, 7, 40):
        losses = sampled_risk(
            model,
            steps,
            lr,
            2.0,
            momentum,
            averaging,
            power,
            runs=20_000,
            generator=np.random.default_rng(steps),
        )
        error = losses.std() / np.sqrt(losses.size)
        wanted = risk(model, steps, lr, 2.0, momentum, averaging, power)
        assert abs(losses.mean() - wanted) < 4.5 * error
        assert error < 0.02 * wanted


def test_plain_sgd_is_equation_4() -> None:
    h, c, lr, batch, steps = 0.7, 0.3, 1.1, 5.0, 13
    decay = (1 - lr * h) ** (2 * steps)
    wanted = decay * h / 2 + lr * c / (2 * batch * (2 - lr * h)) * (1 - decay)
    assert risk(NoisyQuadratic([h], [c]), steps, lr, batch) == pytest.approx(wanted, rel=1e-14)


def test_arguments_broadcast_and_keep_their_order() -> None:
    model = NoisyQuadratic.power_law(dimension=20)
    steps = np.array([0, 7, 3])[:, None, None, None]
    lr = np.array([0.1, 1.0])[:, None, None]
    batch, momentum = np.array([[1.0], [8.0]]), np.array([0.0, 0.3, 0.9])
    power = np.array([0.0, 0.5, 0.0])
    found = risk(model, steps, lr, batch, momentum, averaging=0.2, preconditioning=power)
    assert found.shape == (3, 2, 2, 3)
    for index in np.ndindex(found.shape):
        one = risk(
            model,
            steps[index[0], 0, 0, 0],
            lr[index[1], 0, 0],
            batch[index[2], 0],
            momentum[index[3]],
            0.2,
            power[index[3]],
        )
        assert np.ndim(one) == 0
        assert found[index] == one


def test_a_risk_does_not_depend_on_what_is_asked_beside_it() -> None:
    model = NoisyQuadratic.power_law(dimension=1000)
    steps = np.array([10**6, 3, 3, 12345, 0])
    np.testing.assert_array_equal(
        risk(model, steps, 0.1, 4.0, 0.9), [risk(model, t, 0.1, 4.0, 0.9) for t in steps]
    )
    assert risk(model, [], 0.1, 4.0).shape == (0,)


def test_no_steps_leave_the_initial_risk_and_no_batch_noise_without_end() -> None:
    model = NoisyQuadratic([1.0, 0.25], [1.0, 9.0], [2, 4], [1.0, 3.0])
    np.testing.assert_allclose(risk(model, 0, [0.1, 3.0], 1.0, 0.5, 0.5), 2.5, rtol=1e-15)
    calm = NoisyQuadratic([1.0, 0.25], 0.0, [2, 4], [1.0, 3.0])
    assert risk(model, 9, 0.3, np.inf) == risk(calm, 9, 0.3, 1.0)


@pytest.mark.parametrize("averaging", [0.0, 0.5, 1 - 1e-9])
@pytest.mark.parametrize("momentum", [0.0, 0.5, 1 - 1e-9])
def test_unstable_settings_grow_without_a_gap_up_to_infinity(
    momentum: float, averaging: float
) -> None:
    model = NoisyQuadratic([1.0, 1e-3], [1.0, 0.0])
    # Even numbers: averaged, the weight's two signs are not equally large.
    steps = 2 * np.unique(np.geomspace(1, 2**52, 400).astype(np.int64))
    for lr in (2.001 * (1 + momentum), 10.0, 1e30, 1e200):
        values = risk(model, steps, lr, 1.0, momentum, averaging)
        assert not np.isnan(values).any()
        # A long average hides the growth at first.
        growing = values[(values > 1.0) & np.isfinite(values)]
        assert (np.diff(growing) > 0).all()
        infinite = np.flatnonzero(np.isinf(values))
        assert infinite.size
        assert np.isinf(values[infinite[0] :]).all()


def test_infinity_stands_for_nothing_below_the_largest_float() -> None:
    model = NoisyQuadratic([1.0], [0.0])
    # 2 ** (2 t) / 2 for lr = 3.
    np.testing.assert_allclose(risk(model, [512, 513], 3.0, 1.0), [2.0**1023, np.inf])


def test_where_there_is_neither_start_nor_noise_nothing_grows() -> None:
    nothing = NoisyQuadratic([1.0, 2.0], 0.0, 1, 0.0)
    np.testing.assert_array_equal(risk(nothing, [0, 10**9], 100.0, 1.0, 0.5, 0.5), 0.0)


def test_a_simulation_checks_its_arguments_and_leaves_flat_modes_alone() -> None:
    model, generator = NoisyQuadratic([1.0, 0.0], [1.0, 0.0]), np.random.default_rng(0)
    assert np.isfinite(
        sampled_risk(model, 2, 0.1, 1.0, preconditioning=0.5, runs=2, generator=generator)
    ).all()
    good = {"model": model, "steps": 2, "lr": 0.1, "batch_size": 1.0, "generator": generator}
    good["runs"] = 2
    refuses(sampled_risk, good, steps=-1, lr=-0.1, batch_size=-1.0, runs=0)


def test_bad_arguments() -> None:
    good = {"model": NoisyQuadratic([1.0], [1.0]), "steps": 1, "lr": 0.1, "batch_size": 1.0}
    refuses(risk, good, steps=1.5, lr=-0.1, batch_size=0, momentum=1.0, averaging=-0.1)
    refuses(risk, good, steps=np.inf, preconditioning=1.1)
    with pytest.raises(ValueError, match=r"lr \(2,\).*momentum \(3,\)"):
        risk(**{**good, "lr": [0.1, 0.2], "momentum": [0.1, 0.2, 0.3]})
