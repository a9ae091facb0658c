"""Small problems of every kind, for tests of what they all promise."""

import torch

from flatter_lib.valleys import DiagonalNetwork, MatrixSensing, Problem, TeacherStudent


class Written(Problem):
    """Written as a reader may write one: what it is differentiated by is autograd."""

    def test_error(self, w):
        return (self.residuals(w).square().sum((-2, -1)) / self.targets.square().sum()).sqrt()

    def differential(self, runs, *, dtype, device):
        return ByAutograd(self)


class Scalar(Written):
    """The valley u v = 1.3 of `ScalarValley(target=1.3)`."""

    dimension, numbers_per_run = 2, 10
    targets = torch.tensor([[1.3]], dtype=torch.float64)

    def outputs(self, w):
        return (w[..., 0] * w[..., 1])[..., None, None]

    def trace(self, w):
        return (w * w).sum(-1)

    def start_on_manifold(self, generator):
        return torch.tensor([1.6, 1.3 / 1.6], dtype=torch.float64)


class TwoOutputs(Written):
    """Two outputs a sample, w_0 w_1 x and w_2 w_3 x."""

    dimension, numbers_per_run = 4, 30
    x = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
    targets = torch.stack([x, 0.5 * x], 1)

    def outputs(self, w):
        slopes = torch.stack([w[..., 0] * w[..., 1], w[..., 2] * w[..., 3]], -1)
        return self.x.to(w)[:, None] * slopes[..., None, :]

    def trace(self, w):
        return (w * w).sum(-1) * self.x.to(w).square().mean()

    def start_on_manifold(self, generator):
        a, b = torch.from_numpy(generator.uniform(1.0, 2.0, 2))
        return torch.stack([a, 1 / a, b, 0.5 / b])


class ByAutograd:
    """A differential that remembers the graph."""

    def __init__(self, problem):
        self.problem = problem

    def outputs(self, w, rows):
        with torch.enable_grad():
            self.w = w.detach().clone().requires_grad_()
            every = self.problem.outputs(self.w)
            picked = every if rows is None else every[torch.arange(len(w))[:, None], rows]
            self.f = picked.flatten(1)
        return self.f.detach().clone()

    def pull_back(self, cotangent, into):
        into += torch.autograd.grad(self.f, self.w, cotangent)[0]


PROBLEMS = {
    "sensing": MatrixSensing(rows=6, columns=5, rank=2, measurements=9, width=3),
    "diagonal": DiagonalNetwork(inputs=12, sparsity=2, measurements=5),
    **{
        activation: TeacherStudent(
            inputs=3, teacher_width=2, student_width=6, activation=activation, samples=8
        )
        for activation in ("erf", "relu")
    },
    "scalar": Scalar(),
    "two outputs": TwoOutputs(),
}
