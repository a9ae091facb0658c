"""Heavy ball in one mode: closed forms against exact arithmetic, matrices, PyTorch and simulation."""

from collections.abc import Callable
from fractions import Fraction

import mpmath  # type: ignore[import-untyped]
import numpy as np
import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from flatter_lib import heavy_ball
from flatter_lib.heavy_ball import (
    calibrate,
    characteristic_roots,
    critical_momentum,
    drift_prefactor,
    effective_lr,
    is_stable,
    relaxation_time,
    scaled_momentum,
    stationary_variance,
)

EPS = np.finfo(np.float64).eps

# All of the domain, and densely what is hard there: momentum near 1 and near 0, steps near 0, near both double roots
# and near the stability edge. Every value drawn is a float64 that is then taken as exact.
momenta = st.one_of(
    st.just(0.0),
    st.floats(1e-40, 1.0, exclude_max=True),
    st.floats(-15.0, -1.0).map(lambda power: 1.0 - 10.0**power),
    st.floats(-30.0, -1.0).map(lambda power: 10.0**power),
)
distances = st.one_of(st.just(0.0), st.floats(-15.0, 0.0).map(lambda power: 10.0**power))


@st.composite
def modes(draw: st.DrawFn) -> tuple[float, float, float]:
    """(lr, momentum, curvature) with 0 < lr * curvature, inside or a little outside the stable range."""
    momentum = draw(momenta)
    place = draw(st.sampled_from(["anywhere", "small", "slow border", "fast border", "edge"]))
    if place == "anywhere":
        step = draw(st.floats(1e-3, 4.5))
    elif place == "small":
        step = 10.0 ** draw(st.floats(-18.0, -3.0))
    else:
        at = {
            "slow border": (1 - np.sqrt(momentum)) ** 2,
            "fast border": (1 + np.sqrt(momentum)) ** 2,
            "edge": 2 * (1 + momentum),
        }[place]
        step = at * (1 + draw(st.sampled_from([-1, 1])) * draw(distances))
    assume(step > 1e-40)
    curvature = 10.0 ** draw(st.floats(-3.0, 3.0))
    return float(step / curvature), float(momentum), float(curvature)


def exact(*values: float) -> list[Fraction]:
    return [Fraction(value) for value in values]


def companion(lr: float, momentum: float, curvature: float) -> np.ndarray:
    """The update of (weight, momentum) without noise."""
    return np.array([[1 - lr * curvature, -lr * momentum], [curvature, momentum]])


def exact_stationary_moment(lr: float, beta: float, h: float, noise: float) -> Fraction:
    """E w^2 from the three linear equations of the stationary second moments, solved in rational arithmetic."""
    eta, b, k, s = exact(lr, beta, h, noise)
    m = [[1 - eta * k, -eta * b], [k, b]]
    g = [-eta, Fraction(1)]
    pairs = [(0, 0), (0, 1), (1, 1)]

    def image(i: int, j: int, p: int, q: int) -> Fraction:
        """How much of the moment (p, q) goes into the moment (i, j) in one step."""
        term = m[i][p] * m[j][q]
        return term if p == q else term + m[i][q] * m[j][p]

    rows = [
        [Fraction(int((i, j) == (p, q))) - image(i, j, p, q) for p, q in pairs] + [s * g[i] * g[j]]
        for i, j in pairs
    ]
    for column in range(3):
        pivot = next(r for r in range(column, 3) if rows[r][column] != 0)
        rows[column], rows[pivot] = rows[pivot], rows[column]
        rows[column] = [value / rows[column][column] for value in rows[column]]
        for r in range(3):
            if r != column:
                factor = rows[r][column]
                rows[r] = [x - factor * y for x, y in zip(rows[r], rows[column], strict=True)]
    return rows[0][3]


def exact_roots(lr: float, momentum: float, curvature: float) -> tuple[mpmath.mpc, mpmath.mpc]:
    """Both roots to 120 digits, the one of larger modulus first."""
    with mpmath.workdps(120):
        beta = mpmath.mpf(momentum)
        p = (1 + beta - mpmath.mpf(lr) * mpmath.mpf(curvature)) / 2
        q = mpmath.sqrt(mpmath.mpc(p * p - beta))
        first, second = p + q, p - q
        return (first, second) if abs(first) >= abs(second) else (second, first)


# --- effective step and the scaling rule -------------------------------------------------------------------------


def test_effective_step_is_the_speed_under_a_constant_gradient() -> None:
    weight = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=0.03, momentum=0.8)
    for _ in range(300):
        before = weight.item()
        weight.grad = torch.ones_like(weight)
        optimizer.step()
    assert before - weight.item() == pytest.approx(effective_lr(0.03, 0.8), rel=1e-12)


def test_scaled_momentum_follows_its_power_law() -> None:
    lr = np.geomspace(1e-6, 1e-2, 9)
    for prefactor, exponent in [(1.0, 2 / 3), (0.3, 0.5), (2.0, 1.2), (0.1, 0.0)]:
        beta = scaled_momentum(lr, prefactor, exponent)
        np.testing.assert_allclose((1 - beta) / lr**exponent, prefactor, rtol=1e-8)


def test_scaled_momentum_may_be_zero_but_not_one() -> None:
    assert scaled_momentum(1.0) == 0.0
    with pytest.raises(ValueError, match=r"^lr: 1 - prefactor .* lr=1e-30"):
        scaled_momentum([0.1, 1e-30])


# --- stability ---------------------------------------------------------------------------------------------------


@settings(deadline=None, derandomize=True)
@given(modes())
def test_stable_exactly_within_the_stated_range(mode: tuple[float, float, float]) -> None:
    eta, beta, h = exact(*mode)
    gap = 2 * (1 + beta) - eta * h
    assume(abs(gap) > Fraction(8 * EPS))
    assert is_stable(*mode) == (gap > 0)


@settings(deadline=None, derandomize=True)
@given(modes())
def test_stable_means_spectral_radius_below_one(mode: tuple[float, float, float]) -> None:
    eta, beta, h = exact(*mode)
    assume(abs(2 * (1 + beta) - eta * h) > Fraction(8 * EPS))
    with mpmath.workdps(120):
        radius = max(abs(root) for root in exact_roots(*mode))
        assert is_stable(*mode) == (radius < 1)


@pytest.mark.parametrize("setting", [(0.0, 0.9, 1.0), (0.1, 0.9, 0.0), (4.0, 1.0 - 2**-53, 1.0)])
def test_flat_modes_and_the_edge_itself_are_not_stable(
    setting: tuple[float, float, float],
) -> None:
    assert not is_stable(*setting)
    assert relaxation_time(*setting) == np.inf
    assert stationary_variance(*setting, 1.0) == np.inf


# --- roots -------------------------------------------------------------------------------------------------------


@settings(deadline=None, derandomize=True, max_examples=200)
@given(modes())
def test_roots_are_as_exact_as_a_rounded_step_allows(mode: tuple[float, float, float]) -> None:
    lr, momentum, curvature = mode
    first, second = characteristic_roots(*mode)
    larger, smaller = exact_roots(*mode)
    assert abs(first) >= abs(second) * (1 - EPS)
    assert first.imag >= 0
    with mpmath.workdps(60):
        # The product lr * curvature and the place of the double root are rounded once each; that moves the squared
        # half-difference of the roots by at most `shift`, and the roots accordingly.
        step = mpmath.mpf(lr) * mpmath.mpf(curvature)
        root = mpmath.sqrt(mpmath.mpf(momentum))
        slow, fast = (1 - root) ** 2, (1 + root) ** 2
        shift = 4 * EPS * ((step + slow) * abs(fast - step) + (step + fast) * abs(step - slow)) / 4
        shift += (4 * EPS) ** 2 * (step + slow) * (step + fast)
        half = abs(larger - smaller) / 2
        moved = shift / max(half, mpmath.sqrt(shift))
        if first.imag > 0 and larger.imag != 0:
            assert abs(abs(larger.imag) - first.imag) <= moved + 8 * EPS * first.imag
        else:
            assert abs(larger - mpmath.mpc(first)) <= 2 * moved + 8 * EPS * (abs(larger) + step)


def test_roots_reproduce_a_trajectory_without_noise() -> None:
    lr, momentum, curvature = 0.3, 0.7, 1.3
    r, s = characteristic_roots(lr, momentum, curvature)
    weight, speed = 1.0, 0.0
    for k in range(1, 30):
        speed = momentum * speed + curvature * weight
        weight -= lr * speed
        # Theorem 1 of Zhang et al. (2019), its deterministic factor
        closed = ((r ** (k + 1) - s ** (k + 1)) - momentum * (r**k - s**k)) / (r - s)
        assert closed.imag == pytest.approx(0.0, abs=1e-14)
        assert weight == pytest.approx(closed.real, abs=1e-13)


# --- damping and relaxation --------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1e-12, 1e-4, 0.3, 0.99, 1.01, 2.0, 3.9])
def test_critical_momentum_divides_real_from_complex_roots(step: float) -> None:
    border = critical_momentum(step / 3, 3.0)
    width = 1e-6 * min(border, 1 - border)
    below, above = characteristic_roots(step / 3, [border - width, border + width], 3.0)
    assert np.all(below.imag == 0)
    assert np.all(above.imag != 0)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(modes())
@example((1.0, 0.0, 1.0))
@example((1.0 - EPS / 2, 0.0, 1.0))
def test_relaxation_time_is_exact_to_a_rounding_of_the_step(
    mode: tuple[float, float, float],
) -> None:
    time = relaxation_time(*mode)
    assert time >= 0
    assert np.isinf(time) == (not is_stable(*mode))
    assume(bool(is_stable(*mode)))

    def twin(step: mpmath.mpf) -> mpmath.mpf:
        p = (1 + beta - step) / 2
        q = mpmath.sqrt(mpmath.mpc(p * p - beta))
        radius = max(abs(p + q), abs(p - q))
        if radius == 0:
            return mpmath.mpf(0)
        return -1 / mpmath.log(radius) if radius < 1 else mpmath.inf

    with mpmath.workdps(120):
        beta = mpmath.mpf(mode[1])
        step = mpmath.mpf(mode[0]) * mpmath.mpf(mode[2])
        times = [twin(step * (1 + k * mpmath.mpf(EPS))) for k in (-8, 0, 8)]
        # At a double root, where the modulus is sqrt(beta), the time has an extremum inside the perturbed interval.
        for sign in (-1, 1):
            if abs((1 + sign * mpmath.sqrt(beta)) ** 2 / step - 1) < 8 * EPS:
                times.append(-2 / mpmath.log(beta) if beta > 0 else mpmath.mpf(0))
        assert min(times) * (1 - 8 * EPS) <= time <= max(times) * (1 + 8 * EPS)


def test_second_moments_relax_in_half_the_amplitudes_time() -> None:
    for setting in [(0.1, 0.5, 1.0), (0.1, 0.98, 1.0), (0.5, 0.3, 3.5)]:
        matrix = companion(*setting)
        radius = np.abs(np.linalg.eigvals(np.kron(matrix, matrix))).max()
        assert -1 / np.log(radius) == pytest.approx(relaxation_time(*setting) / 2, rel=1e-9)


# --- stationary law ----------------------------------------------------------------------------------------------


@settings(deadline=None, derandomize=True, max_examples=200)
@given(modes(), st.floats(1e-6, 1e6))
def test_stationary_variance_solves_the_moment_equations(
    mode: tuple[float, float, float], noise: float
) -> None:
    eta, beta, h = exact(*mode)
    gap = 2 * (1 + beta) - eta * h
    variance = stationary_variance(*mode, noise)
    assume(abs(gap) > Fraction(8 * EPS))
    if gap < 0:
        assert variance == np.inf
    else:
        reference = exact_stationary_moment(*mode, noise)
        condition = 1 + (2 * (1 + beta) + eta * h) / gap  # of the distance to the edge
        assert abs(Fraction(float(variance)) / reference - 1) <= Fraction(4 * EPS) * condition


def test_the_recursion_is_torch_sgd() -> None:
    lr, momentum, curvature = 0.2, 0.9, 1.7
    noise = np.random.default_rng(0).standard_normal(500)
    weight = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=lr, momentum=momentum)
    state = np.array([1.0, 0.0])
    for xi in noise:
        loss = 0.5 * curvature * weight**2 + float(xi) * weight
        (weight.grad,) = torch.autograd.grad(loss, weight)
        optimizer.step()
        state = companion(lr, momentum, curvature) @ state + xi * np.array([-lr, 1.0])
        assert weight.item() == pytest.approx(state[0], abs=1e-12)


def test_transverse_variance_forgets_the_curvature_to_leading_order() -> None:
    curvature = np.array([0.1, 1.0, 10.0])
    variance = stationary_variance(1e-6, 0.9, curvature, 0.5 * curvature)
    np.testing.assert_allclose(variance, 1e-6 * 0.5 / (2 * 0.1), rtol=1e-5)


def test_no_noise_no_variance_but_only_where_there_is_a_stationary_law() -> None:
    np.testing.assert_array_equal(
        stationary_variance(0.1, 0.5, [0.0, 1.0, 31.0], 0.0), [np.inf, 0.0, np.inf]
    )


# --- drift -------------------------------------------------------------------------------------------------------


def test_drift_is_half_the_effective_step_times_the_transverse_variance() -> None:
    lr, momentum, a = 1e-7, 0.7, 0.3
    variance = stationary_variance(lr, momentum, 2.0, a * 2.0)
    assert drift_prefactor(lr, momentum, a) == pytest.approx(
        effective_lr(lr, momentum) * variance / 2, rel=1e-6
    )


@pytest.mark.parametrize(("lr", "momentum"), [(0.02, 0.0), (0.006, 0.7)])
def test_drift_in_the_scalar_valley(lr: float, momentum: float) -> None:
    # L = (u v - 1)^2 / 2 with label noise eps xi: noise covariance eps^2 H on the manifold, Tr H = u^2 + v^2, and
    # the drift of D = u^2 - v^2 is -4 D times the factor. At zero momentum D (1 - lr^2 E residual^2) is exact.
    eps, runs, steps = 0.5, 4000, 1000
    generator = np.random.default_rng(5)
    w = np.repeat([[1.5], [1 / 1.5]], runs, axis=1)
    speed = np.zeros_like(w)
    start = w[0, 0] ** 2 - w[1, 0] ** 2
    for _ in range(steps):
        residual = w[0] * w[1] - 1 + eps * generator.standard_normal(runs)
        speed = momentum * speed + residual * w[::-1]
        w = w - lr * speed
    difference = np.mean(w[0] ** 2 - w[1] ** 2)
    predicted = 4 * drift_prefactor(lr, momentum, eps**2) * steps
    assert predicted > 0.09
    # corrections to leading order: eta_eff h / 2 and the few steps before the variance is stationary
    assert -np.log(difference / start) == pytest.approx(predicted, rel=0.05)


def test_drift_in_a_valley_with_three_modes_is_that_of_the_trace() -> None:
    # L = sum_i h_i(z) x_i^2 / 2 around the line x = 0, gradient noise of variance a h_i in mode i.
    lr, momentum, a, runs, steps = 0.005, 0.8, 0.2, 2000, 400
    base, slope = np.array([[1.0], [2.0], [0.5]]), np.array([[1.0], [-0.4], [2.0]])
    generator = np.random.default_rng(6)
    x, z = np.zeros((3, runs)), np.zeros(runs)
    speed_x, speed_z = np.zeros_like(x), np.zeros_like(z)
    at = []
    for _ in range(steps):
        h = base + slope * z
        kick = np.sqrt(a * h) * generator.standard_normal(x.shape)
        speed_x = momentum * speed_x + h * x + kick
        speed_z = momentum * speed_z + (slope * x**2).sum(axis=0) / 2
        x = x - lr * speed_x
        z = z - lr * speed_z
        at.append(z.mean())
    per_step = (at[-1] - at[steps // 2 - 1]) / (steps - steps // 2)
    predicted = -drift_prefactor(lr, momentum, a) * slope.sum()
    assert per_step == pytest.approx(predicted, rel=0.05)


# --- the contract of every function ------------------------------------------------------------------------------

FUNCTIONS: dict[Callable[..., object], dict[str, float]] = {
    effective_lr: {"lr": 0.1, "momentum": 0.5},
    scaled_momentum: {"lr": 0.1, "prefactor": 1.0, "exponent": 0.5},
    calibrate: {"lr": 0.1, "momentum": 0.5, "exponent": 0.5},
    is_stable: {"lr": 0.1, "momentum": 0.5, "curvature": 1.0},
    characteristic_roots: {"lr": 0.1, "momentum": 0.5, "curvature": 1.0},
    critical_momentum: {"lr": 0.1, "curvature": 1.0},
    relaxation_time: {"lr": 0.1, "momentum": 0.5, "curvature": 1.0},
    stationary_variance: {"lr": 0.1, "momentum": 0.5, "curvature": 1.0, "noise_variance": 1.0},
    drift_prefactor: {"lr": 0.1, "momentum": 0.5, "noise_variance_per_curvature": 1.0},
}
BAD = {"momentum": [1.0], "exponent": []}
CASES = [
    pytest.param(
        function, arguments | {name: value}, name, id=f"{function.__name__}-{name}={value}"
    )
    for function, arguments in FUNCTIONS.items()
    for name in arguments
    for value in [*BAD.get(name, [-0.1]), [0.5, np.nan]]
]


def test_every_public_function_is_held_to_the_contract() -> None:
    public = {getattr(heavy_ball, name) for name in heavy_ball.__all__ if name.islower()}
    assert public == set(FUNCTIONS)


@pytest.mark.parametrize(("function", "arguments", "name"), CASES)
def test_bad_arguments_are_named(
    function: Callable[..., object], arguments: dict[str, object], name: str
) -> None:
    with pytest.raises(ValueError, match=f"^{name}: must be "):
        function(**arguments)


@pytest.mark.parametrize(("lr", "exponent"), [(1e-200, 2.0), (1e200, 2.0)])
def test_calibrate_refuses_a_prefactor_that_overflows(lr: float, exponent: float) -> None:
    with pytest.raises(ValueError, match=r"^lr: .* must be positive and finite"):
        calibrate(lr, 0.9, exponent)


@given(
    st.floats(1e-6, 10.0), st.floats(0.0, 1.0, exclude_max=True), st.sampled_from([0.5, 2 / 3, 1.0])
)
def test_the_rule_passes_through_the_pair_that_calibrated_it(
    lr: float, momentum: float, exponent: float
) -> None:
    prefactor = calibrate(lr, momentum, exponent)
    assume(prefactor * lr**exponent <= 1.0)  # it may round past a momentum of 0
    assert scaled_momentum(lr, prefactor, exponent) == pytest.approx(momentum, abs=4 * EPS)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_scalars_give_scalars_and_arrays_broadcast(function: Callable[..., np.ndarray]) -> None:
    arguments = FUNCTIONS[function]
    scalar = function(**arguments)
    tail = (2,) if function is characteristic_roots else ()
    assert scalar.shape == tail
    if not tail:
        assert isinstance(scalar, np.bool_ if function is is_stable else np.float64)
    shapes = [(3, 1), (4,), (2, 1, 1), (1,)]
    spread = {
        name: np.full(shape, value, dtype=np.float32 if value in (0.5, 1.0) else np.float64)
        for (name, value), shape in zip(arguments.items(), shapes, strict=False)
    }
    array = function(**spread)
    assert array.dtype == scalar.dtype
    assert array.shape == np.broadcast_shapes(*shapes[: len(arguments)]) + tail
    np.testing.assert_array_equal(array, np.broadcast_to(scalar, array.shape))


def test_extreme_steps_overflow_in_silence() -> None:
    setting = (1e200, 0.5, 1e200)
    assert not is_stable(*setting)
    assert stationary_variance(*setting, 1.0) == np.inf
    assert relaxation_time(*setting) == np.inf
    assert np.isinf(characteristic_roots(*setting)[0].real)
