"""The flat region of matrix sensing against a constrained search over the factors."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from flatter_lib.valleys.flattest import flattest
from flatter_lib.valleys.sensing import MatrixSensing


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
        problem = MatrixSensing(rows=10, columns=10, rank=rank, measurements=measurements, width=6)
        found = flattest(problem)
        assert np.linalg.norm(found.matrix - problem.truth.numpy()) < 1e-8
        assert found.trace - found.bound < 1e-7


def test_few_iterations_are_not_passed_off_as_a_solution():
    problem = MatrixSensing(rows=4, columns=3, rank=1, measurements=7)
    with pytest.raises(RuntimeError, match="not found in 3 iterations"):
        flattest(problem, iterations=3)
