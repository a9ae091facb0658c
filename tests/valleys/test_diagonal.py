import numpy as np
import pytest
import torch

from flatter_lib.valleys import DiagonalNetwork

from ..refusals import refuses


def test_the_truth_is_sparse_and_interpolates():
    problem = DiagonalNetwork(inputs=30, sparsity=4, measurements=10)
    assert sorted(problem.truth.tolist()) == [0.0] * 26 + [1.0] * 4
    assert float(problem.loss(problem.truth)) < 1e-28
    assert float(problem.test_error(problem.truth)) == 0.0
    assert float(problem.test_error(problem.ones)) == pytest.approx(26**0.5 / 2)


def test_noise_of_the_public_setting_has_the_covariance_that_is_said():
    # The loss there is half of ours; a step of .01 there is .005 here, where a gradient is twice as large.
    problem = DiagonalNetwork(inputs=6, sparsity=2, measurements=4)
    v = torch.from_numpy(np.random.default_rng(0).uniform(0.5, 1.5, 6))
    n, x = 4, problem.samples
    single = 2 * x * v  # gradient noise of one index, twice -delta z x v
    public = single.T @ single / n
    every = (2 * x * v) / n  # of independent noise on every target, a label each
    ours = n * every.T @ every  # eps^2 = n delta^2
    torch.testing.assert_close(ours, public)
    gauss_newton = (2 * x * v).T @ (2 * x * v) / n
    torch.testing.assert_close(public, gauss_newton)


def test_bad_arguments():
    refuses(DiagonalNetwork, {}, inputs=0, sparsity=101, measurements=1.5, seed=None)
    refuses(DiagonalNetwork, {"inputs": 4}, sparsity=5)
