import numpy as np
import pytest
import torch

from flatter_lib.valleys import MatrixSensing

from ..refusals import refuses


def test_the_planted_matrix_has_the_singular_values_asked_for():
    problem = MatrixSensing(7, 5, 3, 10, singular_values=(3.0, 2.0, 0.5), seed=4)
    values = torch.linalg.svdvals(problem.truth)
    assert values.numpy() == pytest.approx([3.0, 2.0, 0.5, 0.0, 0.0], abs=1e-12)
    assert torch.linalg.svdvals(MatrixSensing(7, 5, 3, 10).truth).numpy() == pytest.approx(
        [1.0, 1.0, 1.0, 0.0, 0.0], abs=1e-12
    )


def test_outputs_are_inner_products():
    problem = MatrixSensing(4, 3, 1, 6, width=2)
    w = torch.arange(14, dtype=torch.float64)
    U, V = w[:8].reshape(4, 2), w[8:].reshape(3, 2)
    expected = [float((A * (U @ V.T)).sum()) for A in problem.sensing]
    assert problem.outputs(w).flatten().tolist() == pytest.approx(expected)
    truth = problem.truth
    assert problem.targets.flatten().tolist() == pytest.approx(
        [float((A * truth).sum()) for A in problem.sensing]
    )
    error = torch.linalg.norm(U @ V.T - truth) / torch.linalg.norm(truth)
    assert float(problem.test_error(w)) == pytest.approx(float(error))


def test_the_mean_of_the_trace_over_measurements_is_that_of_the_factors():
    # n = 20,000 measurements: the trace is a mean of as many independent terms.
    problem = MatrixSensing(4, 3, 1, 20_000, width=2)
    w = torch.from_numpy(np.random.default_rng(0).standard_normal(14))
    U, V = problem.factors(w)
    expected = 4 * float(V.square().sum()) + 3 * float(U.square().sum())
    assert float(problem.trace(w)) == pytest.approx(expected, rel=0.03)


def test_the_start_is_as_far_from_flat_as_said():
    problem = MatrixSensing(20, 20, 5, 60)
    balanced = 2 * 20 * 5.0  # 2 rows times the nuclear norm of the truth, which interpolates
    ratios = [
        float(problem.trace(problem.start_on_manifold(np.random.default_rng(seed)))) / balanced
        for seed in range(3)
    ]
    assert min(ratios) > 1.6
    assert max(ratios) < 2.4


def test_bad_arguments():
    good = {"rows": 6, "columns": 4, "rank": 2, "measurements": 9}
    refuses(MatrixSensing, good, rows=0, columns=0, measurements=-3, rank=5, width=1, seed=None)
    refuses(MatrixSensing, good, singular_values=(1.0,))
    refuses(MatrixSensing, good, singular_values=(1.0, 0.0))


def test_a_start_where_there_are_too_few_parameters():
    problem = MatrixSensing(4, 4, 2, 40, width=2, seed=1)
    # 40 measurements of 16 numbers: the truth alone interpolates, and a few steps do not find it.
    wrong = torch.ones_like(problem.targets)
    object.__setattr__(problem, "targets", wrong)
    with pytest.raises(RuntimeError, match="no interpolating point found"):
        problem.start_on_manifold(np.random.default_rng(0))
