from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from flatter_lib.ensemble import noise_stream
from flatter_lib.experiments.matrix_sensing import (
    ERROR_LEVEL,
    GAMMAS,
    LAW_LRS,
    LEVELS,
    PROFILES,
    RESAMPLES,
    SCAN_LRS,
    TUNED_LRS,
    TUNED_STRENGTHS,
    Cell,
    Configuration,
    cost,
    flattest,
    law,
    resampled_runs,
    run,
    scan,
    tuned,
)
from flatter_lib.heavy_ball import drift_prefactor
from flatter_lib.valleys.sensing import MatrixSensing

from .paths import times

SMALL = Configuration(
    lr=(0.03, 0.03),
    memory=(0.06, 1.0),
    strength=0.8,
    steps=300,
    runs=3,
    seed=5,
    rank=1,
    measurements=14,
    size=5,
    width=3,
)


def paths(c, cell):
    """Tr H and test error of each run at every step, by torch.optim.SGD and autograd, one run at a time."""
    problem = c.problem
    A, truth = problem.sensing, problem.truth
    traces, errors = np.empty((2, c.runs, c.steps + 1))
    for j in range(c.runs):
        w = problem.start_on_manifold(np.random.default_rng(j)).clone().requires_grad_()
        optimizer = torch.optim.SGD([w], lr=c.lr[cell], momentum=1 - c.memory[cell])
        draws = noise_stream(c.seed + j).standard_normal((c.steps, c.measurements))
        for k in range(c.steps + 1):
            U, V = w[: c.size * c.width].view(c.size, -1), w[c.size * c.width :].view(c.size, -1)
            product = U @ V.T
            with torch.no_grad():
                by_factor = (A @ V).square().sum() + (A.mT @ U).square().sum()
                traces[j, k] = by_factor / c.measurements
                errors[j, k] = (product - truth).norm() / truth.norm()
            if k == c.steps:
                break
            f = (A * product).sum((1, 2))
            target = (A * truth).sum((1, 2)) + c.strength * torch.from_numpy(draws[k])
            optimizer.zero_grad()
            ((f - target).square().sum() / (2 * c.measurements)).backward()
            optimizer.step()
    return traces, errors


def test_a_cell_holds_the_times_of_its_runs_whole_paths():
    measured = run(SMALL)
    flat = flattest(SMALL.problem).trace
    reached = 0
    for cell in range(2):
        traces, errors = paths(SMALL, cell)
        excess = (traces - flat) / (traces[:, :1] - flat)
        for i, level in enumerate(LEVELS):
            own = np.array([times(x, level) for x in excess])
            np.testing.assert_array_equal(measured["first_passage"][cell][i], own[:, 0])
            np.testing.assert_array_equal(measured["settling"][cell][i], own[:, 1])
            reached += np.isfinite(own).sum()
        own = np.array([times(x, ERROR_LEVEL) for x in errors])
        np.testing.assert_array_equal(measured["error_first_passage"][cell], own[:, 0])
        np.testing.assert_array_equal(measured["error_settling"][cell], own[:, 1])
        late = slice(226, None)
        np.testing.assert_allclose(
            measured["late_excess"][cell], excess[:, late].mean(1), rtol=2e-3
        )
        np.testing.assert_allclose(measured["late_error"][cell], errors[:, late].mean(1), rtol=2e-3)
        for j, first in enumerate(measured["first_passage"][cell][0]):
            at = -1 if np.isnan(first) else int(first)
            expected = np.nan if np.isnan(first) else errors[j, at]
            assert measured["error_at_arrival"][cell][j] == pytest.approx(
                expected, rel=1e-3, nan_ok=True
            )
        drawn = [excess.mean(0), *(excess[chosen].mean(0) for chosen in resampled_runs(3))]
        own = np.array([times(x, LEVELS[0]) for x in drawn])
        np.testing.assert_array_equal(measured["mean_first_passage"][cell], own[:, 0])
        np.testing.assert_array_equal(measured["mean_settling"][cell], own[:, 1])
        steps, mean, error = np.array(measured["curve"][cell])
        at = steps.astype(int)
        np.testing.assert_allclose(mean, excess.mean(0)[at], rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(error, errors.mean(0)[at], rtol=1e-3)
    assert reached > 6
    assert len(measured["mean_settling"][0]) == RESAMPLES + 1
    assert measured["diverged"] == [0, 0]


def test_runs_that_diverge_never_arrive():
    measured = run(replace(SMALL, lr=(3.0,), memory=(1.0,), steps=50))
    assert measured["diverged"] == [3]
    assert np.isnan(measured["settling"]).all()
    assert np.isnan(measured["error_at_arrival"]).all()


def test_no_factors_that_interpolate_are_flatter_than_the_flattest():
    problem = MatrixSensing(rows=4, columns=3, rank=1, measurements=7, width=3)
    found = flattest(problem)
    residuals = problem.residuals(torch.from_numpy(np.zeros(problem.dimension)))
    assert residuals.abs().max() > 0.1
    start = problem.start_on_manifold(np.random.default_rng(0)).numpy()

    def gradient(function, w):
        w = torch.from_numpy(w).requires_grad_()
        return torch.autograd.functional.jacobian(function, w).numpy()

    best = minimize(
        lambda w: float(problem.trace(torch.from_numpy(w))),
        start,
        jac=lambda w: gradient(problem.trace, w),
        constraints={
            "type": "eq",
            "fun": lambda w: problem.residuals(torch.from_numpy(w)).numpy().ravel(),
            "jac": lambda w: gradient(lambda x: problem.residuals(x).ravel(), w),
        },
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-12},
    )
    assert best.success
    assert best.fun == pytest.approx(found.trace, rel=1e-5)
    assert 0 <= found.trace - found.bound < 1e-8 * found.trace
    met = (problem.sensing.numpy() * found.matrix).sum((1, 2))
    np.testing.assert_allclose(met, problem.targets.numpy().ravel(), atol=1e-8)


def test_the_published_problems_are_solved_by_the_planted_matrix():
    for rank, measurements in ((1, 50), (2, 60)):
        problem = Configuration((), (), 0.0, 0, 0, 0, rank, measurements).problem
        found = flattest(problem)
        assert np.linalg.norm(found.matrix - problem.truth.numpy()) < 1e-8
        assert found.trace - found.bound < 1e-7


def test_few_iterations_are_not_passed_off_as_a_solution():
    problem = MatrixSensing(rows=4, columns=3, rank=1, measurements=7)
    with pytest.raises(RuntimeError, match="not found in 3 iterations"):
        flattest(problem, iterations=3)


@pytest.mark.parametrize("gamma", GAMMAS)
def test_a_law_has_its_exponent_and_its_kappa_in_the_middle(gamma):
    cells = law(gamma, 0.7)
    lr, memory = (np.array([getattr(cell, name) for cell in cells]) for name in ("lr", "memory"))
    assert tuple(lr) == LAW_LRS
    assert np.polyfit(np.log(lr), np.log(memory), 1)[0] == pytest.approx(gamma, abs=1e-3)
    kappa = np.exp(np.mean([np.log(cell.kappa) for cell in cells]))
    assert kappa == pytest.approx(0.7, rel=2e-3)


def test_kappa_is_the_ratio_of_the_two_times():
    # Tr H is on average 10 (|U|^2 + |V|^2), so U decays by the drift times 20 a step, and |U|^2 twice as fast.
    for cell in [Cell(0.02, 0.01, 0.3, 25), *law(2 / 3, 2.0)]:
        drift = drift_prefactor(cell.lr, 1 - cell.memory, cell.strength**2 / cell.measurements)
        assert cell.kappa == pytest.approx(2 * 20 * drift / cell.memory)
        assert cell.steps > 20 / cell.memory + 3 / (2 * 20 * drift)


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_has_each_cell_once_with_noise_of_its_own(profile):
    configurations = PROFILES[profile]
    cells = [
        (lr, memory, c.strength, c.measurements)
        for c in configurations
        for lr, memory in zip(c.lr, c.memory, strict=True)
    ]
    assert len(set(cells)) == len(cells)
    assert len({c.seed for c in configurations}) == len(configurations)
    if profile == "smoke":
        return
    assert min(np.diff(sorted(c.seed for c in configurations))) >= 1000
    wanted = [cell for lr in SCAN_LRS for cell in scan(lr)]
    wanted += [cell for gamma in GAMMAS for cell in law(gamma, 2.0)]
    wanted += [cell for strength in TUNED_STRENGTHS for part in tuned(strength) for cell in part]
    assert {tuple(cell) for cell in wanted} <= set(cells)
    assert {cell[0] for cell in cells if cell[1] == 1.0} == set(TUNED_LRS)


def test_the_published_profile_stays_within_its_time():
    assert sum(map(cost, PROFILES["laptop"])) < 25 * 60
