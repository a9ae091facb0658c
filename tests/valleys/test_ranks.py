from itertools import pairwise
from math import inf

import mpmath
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from flatter_lib.valleys.factorization import MatrixLoss, balanced, flow, product
from flatter_lib.valleys.greedy import greedy_low_rank
from flatter_lib.valleys.ranks import descent_exponent, exact_flow, plateau, plateau_exponent

from ..refusals import refuses

ONE = MatrixLoss.observed(np.eye(2))
SIGMA = np.array([1.0, 0.7, 0.3, 0.0, -0.2])


def start(width=4, size=1e-3, seed=0):
    return size * np.random.default_rng(seed).standard_normal((len(SIGMA), width))


def high_precision(sigma, U, t):
    with mpmath.workdps(600):
        rows, width = U.shape
        grown = [mpmath.expm1(2 * mpmath.mpf(s) * t) / s if s else 2 * mpmath.mpf(t) for s in sigma]
        inner = mpmath.eye(width)
        for i in range(width):
            for j in range(width):
                inner[i, j] += sum(
                    grown[k] * mpmath.mpf(U[k, i]) * mpmath.mpf(U[k, j]) for k in range(rows)
                )
        A = mpmath.diag([mpmath.exp(mpmath.mpf(s) * t) for s in sigma]) * mpmath.matrix(U.tolist())
        return np.array((A * mpmath.inverse(inner) * A.T).tolist(), dtype=float)


@pytest.mark.parametrize("width", [2, 5])
def test_exact_flow_solves_the_equation(width):
    U, t = start(width, size=0.1), np.array([0.5, 4.0, 20.0])
    Z = np.diag(SIGMA)

    def velocity(_, u):
        u = u.reshape(U.shape)
        return ((Z - u @ u.T) @ u).ravel()

    found = solve_ivp(velocity, (0, 20), U.ravel(), t_eval=t, rtol=1e-11, atol=1e-13)
    expected = [u.reshape(U.shape) @ u.reshape(U.shape).T for u in found.y.T]
    assert exact_flow(SIGMA, U, t) == pytest.approx(np.array(expected), abs=1e-8)


@pytest.mark.parametrize("t", [1.0, 30.0, 90.0, 300.0])
def test_exact_flow_keeps_its_accuracy_for_tiny_starts(t):
    U = start(size=1e-12)
    assert exact_flow(SIGMA, U, t) == pytest.approx(high_precision(SIGMA, U, t), abs=1e-14)


def test_aligned_modes_are_logistic():
    size, t = 1e-4, np.linspace(1, 40, 7)
    W = exact_flow(SIGMA[:3], size * np.eye(3), t)
    for i, s in enumerate(SIGMA[:3]):
        assert W[:, i, i] == pytest.approx(s / (1 + (s / size**2 - 1) * np.exp(-2 * s * t)))


def test_plateau_is_the_minimum_on_a_grid():
    U = start(size=1e-5)
    for rank in (1, 2):
        best = np.diag(np.where(np.arange(5) < rank, SIGMA, 0))
        t = np.linspace(5, 60, 20001)
        distances = np.linalg.norm(exact_flow(SIGMA, U, t) - best, axis=(1, 2))
        time, distance = plateau(SIGMA, U, rank)
        assert distance == pytest.approx(distances.min(), rel=1e-5)
        assert time == pytest.approx(t[distances.argmin()], abs=0.05)


def test_plateau_exponent_is_the_slope_of_random_starts():
    sizes = np.array([1e-8, 1e-11])
    for rank in (1, 2):
        near = [plateau(SIGMA, start(size=size), rank)[1] for size in sizes]
        [slope] = np.diff(np.log(near)) / np.diff(np.log(sizes))
        assert slope == pytest.approx(plateau_exponent(*SIGMA[rank - 1 : rank + 1]), rel=0.01)


@pytest.mark.parametrize("orthogonal", [False, True])
def test_descent_exponent_is_that_of_gradient_descent(orthogonal):
    sigma, lr, sizes = np.array([2.0, 1.7]), 0.15, np.array([1e-40, 1e-70])
    draws = np.random.default_rng(0).standard_normal((2, 2))
    U = sizes[:, None, None] * (np.linalg.qr(draws)[0] if orthogonal else draws)
    near = np.full(2, inf)
    for _ in range(900):
        W = U @ U.swapaxes(1, 2)
        near = np.minimum(near, np.linalg.norm(W - np.diag([2.0, 0.0]), axis=(1, 2)))
        U = U + lr * (sigma[:, None] * U - W @ U)
    [slope] = np.diff(np.log(near)) / np.diff(np.log(sizes))
    assert slope == pytest.approx(descent_exponent(*sigma, lr, orthogonal=orthogonal), rel=0.01)


def test_descent_exponent_becomes_that_of_the_flow():
    for orthogonal in (False, True):
        near = descent_exponent([1.0, 1.0], [0.3, 0.0], 1e-7, orthogonal=orthogonal)
        assert near == pytest.approx(plateau_exponent([1.0, 1.0], [0.3, 0.0]), rel=1e-5)
    assert descent_exponent(1.0, 1.0, 0.1) == 0


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_flow_descends_the_loss_by_autograd(depth):
    import torch

    rng = np.random.default_rng(0)
    loss = MatrixLoss.completion(rng.standard_normal((3, 3)), rng.random((3, 3)) < 0.7)
    factors = rng.standard_normal((depth, 3, 3))
    w = [torch.tensor(f, requires_grad=True) for f in factors]
    error = torch.linalg.multi_dot(w) - torch.tensor(loss.truth)
    mask = torch.tensor(np.diag(loss.quadratic).reshape(3, 3))
    value = (mask * error**2).sum() / 2
    value.backward()
    assert loss.value(product(factors)) == pytest.approx(value.item())
    path = flow(loss, factors, 1e-6, rtol=1e-10)
    velocity = (path.factors(path.t[-1]) - factors) / path.t[-1]
    assert velocity == pytest.approx(-np.stack([x.grad.numpy() for x in w]), rel=1e-3, abs=1e-3)


def test_flow_at_depth_two_is_the_exact_flow_even_where_it_is_tiny():
    U = start(size=1e-7)
    loss = MatrixLoss.observed(np.diag(SIGMA))
    path = flow(loss, balanced(U @ U.T, 2), 60.0, rtol=1e-10)
    for t in (3.0, 20.0, 45.0):
        expected = exact_flow(SIGMA, U, t)
        assert np.diag(path.product(t))[:3] == pytest.approx(np.diag(expected)[:3], rel=1e-5)
    time, distance = path.closest(np.diag([1.0, 0, 0, 0, 0]))
    assert (time, distance) == pytest.approx(plateau(SIGMA, U, 1), rel=1e-3)


def test_narrow_factors_stay_narrow_and_symmetric():
    truth = np.diag([1.0, 0.5, 0.2, 0.0])
    loss = MatrixLoss.sensing(truth, 30, np.random.default_rng(0))
    path = flow(loss, balanced(1e-3 * np.eye(4), 3, width=2), 500.0)
    W = path.product(path.t[-1])
    assert np.linalg.matrix_rank(W) == 2
    assert np.abs(W - W.T).max() < 1e-13
    assert path.products[-1] == pytest.approx(W)


def test_balanced_factors_are_balanced():
    G = np.random.default_rng(0).standard_normal((4, 4))
    for depth in (2, 3, 5):
        factors = balanced(G @ G.T, depth)
        assert product(factors) == pytest.approx(G @ G.T)
        for left, right in pairwise(factors):
            assert left.T @ left == pytest.approx(right @ right.T, abs=1e-12)


def test_events_end_the_flow():
    loss = MatrixLoss.observed(np.diag([1.0, 0.5]))
    path = flow(loss, balanced(1e-4 * np.eye(2), 2), 1e3, loss_below=0.2)
    assert loss.value(path.products[-1]) == pytest.approx(0.2, rel=1e-6)
    path = flow(loss, balanced(1e-4 * np.diag([1.0, 0.0]), 2), 1e3, gradient_below=1e-6)
    assert path.products[-1] == pytest.approx(np.diag([1.0, 0.0]), abs=1e-5)
    assert 10 < path.t[-1] < 100


def test_sensing_is_isotropic_on_average():
    G = np.random.default_rng(1).standard_normal((3, 3))
    loss = MatrixLoss.sensing(np.zeros((3, 3)), 200_000, np.random.default_rng(0))
    assert 2 * loss.value(G + G.T) == pytest.approx((np.abs(G + G.T) ** 2).sum(), rel=0.02)


@pytest.mark.parametrize("depth", [2, 3])
def test_greedy_end_points_are_stationary_and_found_by_the_flow(depth):
    rng = np.random.default_rng(1)
    V = np.linalg.qr(rng.standard_normal((5, 5)))[0][:, :2]
    truth = V * [1.0, 0.4] @ V.T
    loss = MatrixLoss.sensing(truth, 40, rng)
    stages = greedy_low_rank(loss, depth)
    assert [stage.rank for stage in stages] == [1, 2]
    assert stages[-1].product == pytest.approx(truth, abs=1e-5)
    first = stages[0].product
    assert np.linalg.matrix_rank(first, tol=1e-10) == 1
    assert np.abs(loss.gradient(first) @ first).max() < 1e-6
    assert np.linalg.norm(first - V[:, :1] @ V[:, :1].T) > 0.01  # not the truncated matrix
    near = [
        flow(loss, balanced(w * np.eye(5), depth), 1e4, loss_below=1e-6).closest(first)[1]
        for w in (1e-2, 1e-4, 1e-6)
    ]
    assert near[0] > 1.5 * near[1] > 2.25 * near[2]


@pytest.mark.parametrize(("depth", "learned"), [(2, [1.0, 0.0]), (3, [0.0, 0.5])])
def test_a_diagonal_start_can_mislead_depth_three_but_not_depth_two(depth, learned):
    loss = MatrixLoss.observed(np.diag([1.0, 0.5]))
    path = flow(loss, balanced(1e-9 * np.diag([1.0, 30.0]), depth), 1e5, loss_below=1e-3)
    wrong = [0.0, 0.5] if depth == 2 else [1.0, 0.0]
    assert path.closest(np.diag(learned))[1] < 0.2
    assert path.closest(np.diag(wrong))[1] > 0.4


def test_bad_arguments():
    I, path = np.eye(2), flow(ONE, np.ones((2, 2, 2)), 1.0)
    exact = {"eigenvalues": [1.0, 0.5], "start": I, "t": 1.0}
    refuses(exact_flow, exact, eigenvalues=[0.5, 1.0], start=np.eye(3), t=0.0)
    refuses(exact_flow, exact, eigenvalues=[], t=400.0)
    refuses(plateau, {"eigenvalues": [1.0, 0.5], "start": 1e-3 * I}, rank=2)
    refuses(descent_exponent, {"above": 1.0, "below": 0.5, "lr": 0.1}, above=np.inf, lr=-1.0)
    refuses(balanced, {"W": I, "depth": 2}, W=-I, depth=1, width=3)
    refuses(MatrixLoss, {"truth": I, "quadratic": np.eye(4)}, truth=np.ones((2, 3)), quadratic=I)
    refuses(MatrixLoss.completion, {"truth": I, "mask": I}, truth=np.eye(0), mask=0.5 * I)
    refuses(MatrixLoss.sensing, {"truth": I, "generator": None}, measurements=0)
    refuses(ONE.value, {}, W=np.ones(2))
    refuses(path.closest, {}, target=np.ones(2))
    refuses(path.factors, {}, t=2.0)
    going = {"loss": ONE, "factors": np.ones((2, 2, 2)), "time": 1.0}
    refuses(flow, going, factors=np.ones((2, 3, 3)), time=0.0, loss_below=np.nan, rtol=-1.0)
    refuses(greedy_low_rank, {"loss": ONE, "depth": 2}, depth=1, most=3)
    with pytest.raises(ValueError, match=r"^above, below: "):
        plateau_exponent(0.5, 1.0)
    with pytest.raises(ValueError, match=r"^lr: .* below 1/2"):
        descent_exponent(1.0, 0.5, 0.5)
    with pytest.raises(ValueError, match=r"^loss: its gradient must be symmetric"):
        greedy_low_rank(MatrixLoss.observed([[1.0, 1.0], [0.0, 1.0]]), 2)
