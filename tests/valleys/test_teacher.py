import numpy as np
import pytest
import torch

from flatter_lib.valleys.activations import ACTIVATIONS
from flatter_lib.valleys.teacher import TeacherStudent, _Student, _WideStudent

from ..refusals import refuses

SMALL = {"inputs": 4, "teacher_width": 2, "student_width": 5, "samples": 7}
WIDE = {"inputs": 6, "teacher_width": 2, "student_width": 70, "samples": 60}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_slopes_are_derivatives(name):
    phi = ACTIVATIONS[name]
    z = torch.linspace(-3, 3, 50, dtype=torch.float64).requires_grad_()
    value = phi.value(z)
    (slope,) = torch.autograd.grad(value.sum(), z)
    torch.testing.assert_close(phi.slope(z, value), slope, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_correlations_are_means_over_gaussian_inputs(name):
    phi = ACTIVATIONS[name]
    generator = np.random.default_rng(0)
    u, v = (torch.from_numpy(generator.standard_normal((k, 3))) for k in (4, 2))
    x = torch.from_numpy(generator.standard_normal((400_000, 3)))
    products = phi.value(x @ u.T).unsqueeze(2) * phi.value(x @ v.T).unsqueeze(1)
    error = products.std(0) / len(x) ** 0.5
    assert bool(((products.mean(0) - phi.correlation(u, v)).abs() < 4.5 * error).all())
    assert bool((error < 0.01).all())
    # Parallel rows are the edge of the formulas.
    both = products.new_tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    square = phi.value(x[:, 0]).square()
    own = phi.correlation(both, both)
    assert abs(float(square.mean() - own[0, 0])) < 4.5 * float(square.std()) / len(x) ** 0.5
    assert own[1].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_test_error_is_that_at_fresh_inputs(name):
    problem = TeacherStudent(**SMALL, activation=name)
    w = torch.from_numpy(np.random.default_rng(1).standard_normal(problem.dimension))
    phi, x = (
        ACTIVATIONS[name].value,
        torch.from_numpy(np.random.default_rng(2).standard_normal((200_000, 4))),
    )
    (W, a), (V, b) = problem.layers(w), problem.teacher
    truth = phi(x @ V.T) @ b
    expected = ((phi(x @ W.T) @ a - truth).square().mean() / truth.square().mean()).sqrt()
    assert float(problem.test_error(w)) == pytest.approx(float(expected), rel=0.01)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_student_that_is_the_teacher_makes_no_error(name):
    problem = TeacherStudent(**SMALL, activation=name)
    W, a = torch.zeros(5, 4, dtype=torch.float64), torch.zeros(5, dtype=torch.float64)
    W[:2], a[:2] = problem.teacher
    w = torch.cat([W.flatten(), a])
    assert float(problem.loss(w)) < 1e-30
    assert float(problem.test_error(w)) < 1e-7
    assert problem.teacher[0].norm(dim=1).tolist() == pytest.approx([1.0, 1.0])
    assert problem.teacher[1].abs().tolist() == pytest.approx([0.5**0.5] * 2)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_derivative_and_its_kernel(name):
    problem = TeacherStudent(**SMALL, activation=name)
    w = torch.from_numpy(np.random.default_rng(3).standard_normal(problem.dimension))
    J, kernel = problem.jacobian(w)
    expected = torch.func.jacrev(lambda v: problem.outputs(v).ravel())(w)
    torch.testing.assert_close(J, expected, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(kernel, expected @ expected.T, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("minibatch", [False, True])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_wide_student_run_by_run_is_what_all_at_once_are(name, minibatch):
    problem = TeacherStudent(**WIDE, activation=name)
    generator = np.random.default_rng(4)
    w = torch.from_numpy(generator.standard_normal((3, problem.dimension)))
    rows = torch.from_numpy(generator.integers(60, size=(3, 9))) if minibatch else None
    options = {"dtype": torch.float64, "device": torch.device("cpu")}

    def made(one, w, rows):
        f, into = one.outputs(w, rows).clone(), torch.ones_like(w)
        one.pull_back(f - 0.3, into)
        return f, into

    assert isinstance(problem.differential(3, **options), _WideStudent)
    assert isinstance(TeacherStudent(**SMALL, activation=name).differential(3, **options), _Student)
    found = made(problem.differential(3, **options), w, rows)
    torch.testing.assert_close(
        found, made(_Student(problem, 3, **options), w, rows), rtol=1e-11, atol=1e-11
    )
    alone = made(problem.differential(1, **options), w[1:2], None if rows is None else rows[1:2])
    assert all(torch.equal(a[0], b[1]) for a, b in zip(alone, found, strict=True))


def test_bad_arguments():
    good = {**SMALL, "activation": "erf"}
    refuses(
        TeacherStudent, good, inputs=0, samples=2.5, seed=None, student_width=1, activation="step"
    )
