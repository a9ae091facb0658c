from dataclasses import replace

import numpy as np
import pytest
import torch

from flatter_lib.ensemble import noise_stream
from flatter_lib.experiments.matrix_sensing import (
    A_MATRIX,
    ERROR_LEVEL,
    LANDSCAPE,
    LARGEST,
    LEVELS,
    RESAMPLES,
    SECOND,
    Configuration,
    larger,
    law,
    resampled_runs,
    run_many,
)
from flatter_lib.heavy_ball import drift_prefactor
from flatter_lib.valleys.flattest import flattest
from flatter_lib.valleys.sensing import MatrixSensing

from .paths import times

SMALL = Configuration(0.03, 0.06, 0.8, 300, 3, 5, rank=1, measurements=14, size=5, width=3)


def paths(c):
    """Tr H and test error of each run at every step, by torch.optim.SGD and autograd, one run at a time."""
    problem = c.problem
    A, truth = problem.sensing, problem.truth
    traces, errors = np.empty((2, c.runs, c.steps + 1))
    for j in range(c.runs):
        w = problem.start_on_manifold(np.random.default_rng(j)).clone().requires_grad_()
        optimizer = torch.optim.SGD([w], lr=c.lr, momentum=1 - c.memory)
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
    cells = [SMALL, replace(SMALL, memory=1.0)]
    flat = flattest(SMALL.problem).trace
    reached = 0
    for c, measured in zip(cells, run_many(cells), strict=True):
        traces, errors = paths(c)
        excess = (traces - flat) / (traces[:, :1] - flat)
        for i, level in enumerate(LEVELS):
            own = np.array([times(x, level) for x in excess])
            np.testing.assert_array_equal(measured["first_passage"][i], own[:, 0])
            np.testing.assert_array_equal(measured["settling"][i], own[:, 1])
            reached += np.isfinite(own).sum()
        own = np.array([times(x, ERROR_LEVEL) for x in errors])
        np.testing.assert_array_equal(measured["error_first_passage"], own[:, 0])
        np.testing.assert_array_equal(measured["error_settling"], own[:, 1])
        late = slice(226, None)
        np.testing.assert_allclose(measured["late_excess"], excess[:, late].mean(1), rtol=2e-3)
        np.testing.assert_allclose(measured["late_error"], errors[:, late].mean(1), rtol=2e-3)
        for j, first in enumerate(measured["first_passage"][0]):
            at = -1 if np.isnan(first) else int(first)
            expected = np.nan if np.isnan(first) else errors[j, at]
            assert measured["error_at_arrival"][j] == pytest.approx(expected, rel=1e-3, nan_ok=True)
        drawn = [excess.mean(0), *(excess[chosen].mean(0) for chosen in resampled_runs(3))]
        own = np.array([times(x, LEVELS[0]) for x in drawn])
        np.testing.assert_array_equal(measured["mean_first_passage"], own[:, 0])
        np.testing.assert_array_equal(measured["mean_settling"], own[:, 1])
        steps, mean, error = np.array(measured["curve"])
        at = steps.astype(int)
        np.testing.assert_allclose(mean, excess.mean(0)[at], rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(error, errors.mean(0)[at], rtol=1e-3)
        assert len(measured["mean_settling"]) == RESAMPLES + 1
        assert measured["diverged"] == 0
    assert reached > 6


def test_runs_that_diverge_never_arrive():
    measured = run_many([replace(SMALL, lr=3.0, memory=1.0, steps=50)])[0]
    assert measured["diverged"] == 3
    assert np.isnan(measured["settling"]).all()
    assert np.isnan(measured["error_at_arrival"]).all()


def test_kappa_is_the_ratio_of_the_two_times():
    # Tr H is on average 10 (|U|^2 + |V|^2), so U decays by the drift times 20 a step, and |U|^2 twice as fast.
    for cell in [SECOND.cell(0.02, 3.0, 0.3), *law(2 / 3, 2.0)]:
        drift = drift_prefactor(
            cell.lr, 1 - cell.memory, cell.strength**2 / (10 * cell.landscape.slow)
        )
        assert cell.kappa == pytest.approx(2 * 20 * drift / cell.memory)
        assert cell.steps > 20 / cell.memory + 3 / (2 * 20 * drift)


def test_a_law_keeps_all_digits_of_its_constant():
    at_middle = (LANDSCAPE.lrs[2] * LANDSCAPE.strength) ** 2 / (5 * 0.7)
    for cell in law(0.8, 0.7):
        exact = at_middle ** (1 / 3) * (cell.lr / LANDSCAPE.lrs[2]) ** 0.8
        assert cell.memory == float(f"{exact:.4g}")


def test_the_seed_of_a_cell_names_its_planted_matrix() -> None:
    assert SMALL.problem.seed == 0
    other = replace(SMALL, seed=2 * A_MATRIX + 5).problem
    expected = MatrixSensing(rows=5, columns=5, rank=1, measurements=14, width=3, seed=2)
    torch.testing.assert_close(other.truth, expected.truth, rtol=0, atol=0)
    torch.testing.assert_close(other.sensing, expected.sensing, rtol=0, atol=0)
    assert (other.truth - SMALL.problem.truth).norm() > 0.5


def test_larger_matrices_are_scanned_over_one_grid_of_momenta() -> None:
    cells = larger(3, runs=8)
    assert {c.problem.seed for c in cells} == {3}
    groups: dict[tuple[float, float, int, int], list[float]] = {}
    for c in cells:
        groups.setdefault((c.lr, c.strength, c.steps, c.seed), []).append(c.memory)
    scans = [memories for memories in groups.values() if memories != [1.0]]
    assert len({tuple(memories) for memories in scans}) == 1
    assert len({seed for *_, seed in groups}) == len(groups)
    assert len({(lr, eps, m) for (lr, eps, *_), ms in groups.items() for m in ms}) == len(cells)


def test_the_largest_step_keeps_eta_h_below_1_where_larger_runs_start() -> None:
    problem = larger(1, runs=1)[0].problem
    A, sharpest = problem.sensing, []
    for j in range(8):
        U, V = problem.factors(problem.start_on_manifold(np.random.default_rng(j)))
        J = torch.cat([(A @ V).flatten(1), (A.mT @ U).flatten(1)], dim=1)
        sharpest.append(torch.linalg.matrix_norm(J, 2) ** 2 / len(A))
    assert 0.8 < LARGEST * max(sharpest) <= 1
