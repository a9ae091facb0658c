"""What every problem promises, against autograd: outputs, derivatives, Tr H, a start that interpolates."""

import functools

import numpy as np
import pytest
import torch
from torch.autograd.functional import hessian, jacobian

from flatter_lib.valleys.diagonal import DiagonalNetwork
from flatter_lib.valleys.problem import TILE, SharedProduct
from flatter_lib.valleys.sensing import MatrixSensing
from flatter_lib.valleys.teacher import TeacherStudent

from .problems import PROBLEMS

CPU = torch.device("cpu")
named = pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)


def points(problem, runs, seed=0):
    generator = np.random.default_rng(seed)
    return torch.from_numpy(generator.standard_normal((runs, problem.dimension)))


def flat_outputs(problem, w):
    return problem.outputs(w).flatten(-2)


@named
def test_outputs_and_loss_of_many_points_are_those_of_each(problem):
    w = points(problem, 6).reshape(2, 3, -1)
    n, m = problem.targets.shape
    assert problem.outputs(w).shape == (2, 3, n, m)
    for name in ("outputs", "residuals", "loss", "trace", "test_error"):
        many = getattr(problem, name)(w)
        each = torch.stack([getattr(problem, name)(v) for v in w.reshape(6, -1)])
        torch.testing.assert_close(many.reshape(each.shape), each, rtol=1e-11, atol=1e-11)
    r = problem.outputs(w[0, 0]) - problem.targets
    assert float(problem.loss(w[0, 0])) == pytest.approx(float((r**2).sum() / (2 * n)))


@named
def test_differential_is_that_of_autograd(problem):
    w, n = points(problem, 5), len(problem.targets)
    one = problem.differential(5, dtype=torch.float64, device=CPU)
    generator = torch.Generator().manual_seed(1)
    for rows in (None, torch.randint(n, (5, 4), generator=generator)):
        picked = torch.arange(n).expand(5, n) if rows is None else rows
        f = one.outputs(w, rows)
        expected = torch.stack([problem.outputs(w[i])[picked[i]].flatten() for i in range(5)])
        torch.testing.assert_close(f, expected, rtol=1e-12, atol=1e-12)
        c = torch.randn(f.shape, generator=generator, dtype=torch.float64)
        start = torch.randn(w.shape, generator=generator, dtype=torch.float64)
        into = start.clone()
        one.pull_back(c.clone(), into)
        for i in range(5):
            J = jacobian(problem.outputs, w[i])[picked[i]].flatten(0, 1)
            torch.testing.assert_close(into[i] - start[i], c[i] @ J, rtol=1e-10, atol=1e-10)


@named
def test_differential_where_the_caller_reuses_the_outputs_for_the_cotangent(problem):
    w = points(problem, 4)
    one = problem.differential(4, dtype=torch.float64, device=CPU)
    f = one.outputs(w, None)
    into = torch.zeros_like(w)
    one.pull_back(f.sub_(problem.targets.reshape(1, -1)), into)
    for i in range(4):
        v = w[i].clone().requires_grad_()
        (problem.loss(v) * len(problem.targets)).backward()
        torch.testing.assert_close(into[i], v.grad, rtol=1e-10, atol=1e-10)


@named
def test_a_run_that_diverged_leaves_the_others_alone(problem):
    w = points(problem, 5)
    ill = w.clone()
    ill[1], ill[3] = torch.nan, torch.inf
    results = []
    for at in (w, ill):
        one = problem.differential(5, dtype=torch.float64, device=CPU)
        into = torch.zeros_like(w)
        one.pull_back(one.outputs(at, None), into)
        results.append(into[[0, 2, 4]])
    assert torch.equal(*results)


@named
def test_bits_of_a_run_do_not_depend_on_how_many_whole_tiles_go_with_it(problem):
    w = points(problem, 2 * TILE + 3)
    whole = problem.differential(len(w), dtype=torch.float64, device=CPU)
    all_outputs = whole.outputs(w, None).clone()
    for first, last in ((0, TILE), (TILE, len(w)), (2 * TILE, len(w))):
        part = problem.differential(last - first, dtype=torch.float64, device=CPU)
        assert torch.equal(part.outputs(w[first:last], None), all_outputs[first:last])


def test_shared_products_are_cut_at_the_same_runs_however_many_there_are(monkeypatch):
    cut, product = [], torch.mm

    def recorded(rows, matrix, *, out):
        cut.append(len(rows))
        return product(rows, matrix, out=out)

    monkeypatch.setattr(torch, "mm", recorded)
    rows, matrix = torch.ones(2 * (2 * TILE + 3), 5), torch.ones(5, 4)
    out = torch.zeros(len(rows), 4)
    SharedProduct(rows, matrix, out, rows_per_run=2)()
    assert cut == [2 * TILE, 2 * TILE, 6]
    assert torch.equal(out, torch.full_like(out, 5.0))


@named
def test_trace_is_the_squared_norm_of_the_jacobian(problem):
    w = points(problem, 1)[0]
    J = jacobian(lambda v: flat_outputs(problem, v), w)
    n = len(problem.targets)
    assert float(problem.trace(w)) == pytest.approx(float(J.square().sum() / n), rel=1e-12)


@named
def test_start_is_a_minimum_and_there_the_trace_is_that_of_the_hessian(problem):
    w = problem.start_on_manifold(np.random.default_rng(3))
    assert w.shape == (problem.dimension,)
    assert w.dtype == torch.float64
    assert float(problem.residuals(w).abs().max()) < 1e-11
    v = w.clone().requires_grad_()
    problem.loss(v).backward()
    assert float(v.grad.abs().max()) < 1e-10
    H = hessian(problem.loss, w)
    assert float(problem.trace(w)) == pytest.approx(float(H.trace()), rel=1e-9)
    assert float(torch.linalg.eigvalsh(H)[0]) > -1e-9


@pytest.mark.parametrize(
    "problem", [PROBLEMS["sensing"], PROBLEMS["relu"]], ids=["sensing", "relu"]
)
def test_trace_is_that_of_the_hessian_everywhere_where_said(problem):
    w = points(problem, 1)[0]
    assert float(problem.loss(w)) > 0.1
    assert float(problem.trace(w)) == pytest.approx(float(hessian(problem.loss, w).trace()))


def test_trace_of_the_diagonal_network_off_its_manifold():
    problem = PROBLEMS["diagonal"]
    w = points(problem, 1)[0]
    rest = 2 * (problem.residuals(w) * problem.samples).sum() / len(problem.targets)
    total = float(problem.trace(w) + rest)
    assert total == pytest.approx(float(hessian(problem.loss, w).trace()))
    assert abs(float(rest)) > 0.1


KINDS = [
    functools.partial(MatrixSensing, rows=4, columns=3, rank=1, measurements=5),
    functools.partial(DiagonalNetwork, inputs=6, sparsity=2, measurements=4),
    functools.partial(
        TeacherStudent, inputs=3, teacher_width=1, student_width=2, activation="erf", samples=4
    ),
]


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides_and_is_0_if_left_out(kind):
    assert torch.equal(kind().targets, kind(seed=0).targets)
    assert not torch.equal(kind().targets, kind(seed=1).targets)


@pytest.mark.parametrize("kind", KINDS)
def test_problems_may_be_seen_first_by_a_transform(kind):
    problem = kind()
    w = points(problem, 1)[0]
    for f in (problem.loss, problem.test_error, problem.trace):
        torch.func.grad(f)(w)
    assert problem.start_on_manifold(np.random.default_rng(0)).shape == w.shape


@named
def test_single_precision(problem):
    w = points(problem, 3)
    one = problem.differential(3, dtype=torch.float32, device=CPU)
    f = one.outputs(w.float(), None)
    assert f.dtype == torch.float32
    torch.testing.assert_close(f.double(), flat_outputs(problem, w), rtol=1e-4, atol=1e-3)
