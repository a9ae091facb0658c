r"""A student network that learns from a teacher of its own kind, narrower than itself.

.. math:: f(x) = \sum_{j=1}^{h} a_j\, \phi(w_j \cdot x), \qquad y_i = \sum_{j=1}^{h^*} a^*_j\, \phi(w^*_j \cdot x_i),
    \qquad L = \frac{1}{2n} \sum_{i=1}^n (f(x_i) - y_i)^2,

with inputs :math:`x \sim N(0, I)`. Both layers learn; there are no biases. Cowsik, Can & Glorioso (arXiv 2210.16400)
try such a regression; their widths and activations are not known to us, so every number here is our own choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from flatter_lib import checks
from flatter_lib.valleys.activations import ACTIVATIONS, Activation
from flatter_lib.valleys.interpolation import interpolate
from flatter_lib.valleys.problem import DenseDifferential, Problem, SharedProduct

#: Units times samples, from which a core is better busy with one run at a time.
_WIDE = 4096


@dataclass(frozen=True)
class TeacherStudent(Problem):
    r"""Samples that a teacher labelled, and the loss of a student.

    Parameters are the student's first-layer weights, unit by unit, followed by a: P = (inputs + 1) student_width. The
    teacher's :math:`w^*_j` are unit vectors of uniform direction, its :math:`a^*_j` are :math:`\pm 1 / \sqrt{h^*}`.

    .. math:: \operatorname{Tr} G = \frac1n \sum_i \sum_j \left( \phi(z_{ij})^2 + a_j^2 \phi'(z_{ij})^2 |x_i|^2 \right),
        \qquad z_{ij} = w_j \cdot x_i,

    which is Tr H where the targets are met, and for ``relu`` everywhere.

    Attributes:
        inputs: d.
        teacher_width: :math:`h^*`.
        student_width: h, at least that of the teacher.
        activation: :math:`\phi`: ``erf`` (of :math:`z / \sqrt 2`) or ``relu``.
        samples: n.
        seed: of inputs and teacher.

    Raises:
        ValueError: for what is no integer from 1 (the seed: from 0), a student narrower than its teacher, or another
            activation.

    Examples:
        >>> problem = TeacherStudent(inputs=6, teacher_width=2, student_width=8, activation="erf", samples=20)
        >>> problem.dimension
        56
        >>> w = problem.start_on_manifold(np.random.default_rng(0))
        >>> bool(problem.loss(w) < 1e-24), bool(problem.test_error(w) > 0.1)
        (True, True)
    """

    inputs: int
    teacher_width: int
    student_width: int
    activation: str
    samples: int
    seed: int = 0

    def __post_init__(self) -> None:
        checks.fields(self, inputs=1, teacher_width=1, samples=1, seed=0)
        checks.fields(self, student_width=self.teacher_width, activation=list(ACTIVATIONS))
        # Made now: a tensor first made within a transform of torch.func would belong to that transform.
        _ = self.targets

    @property
    def dimension(self) -> int:
        """P = (inputs + 1) student_width."""
        return (self.inputs + 1) * self.student_width

    @property
    def numbers_per_run(self) -> int:
        """Parameters, velocities and gradients, what enters and leaves each unit for each sample, and the residuals."""
        return 4 * self.dimension + 3 * self.student_width * self.samples + 2 * self.samples

    @cached_property
    def teacher(self) -> tuple[Tensor, Tensor]:
        """The teacher's first layer, float64, shape (teacher_width, d), and its second, shape (teacher_width,)."""
        generator = self._generator(0)
        first = torch.from_numpy(generator.standard_normal((self.teacher_width, self.inputs)))
        signs = torch.from_numpy(generator.choice([-1.0, 1.0], self.teacher_width))
        return first / first.norm(dim=1, keepdim=True), signs / self.teacher_width**0.5

    @cached_property
    def x(self) -> Tensor:
        """The inputs, float64, shape (n, d)."""
        return torch.from_numpy(self._generator(1).standard_normal((self.samples, self.inputs)))

    @cached_property
    def targets(self) -> Tensor:
        """The teacher's outputs y, float64, shape (n, 1)."""
        return self._network(*self.teacher, self.x).unsqueeze(-1)

    def layers(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """The student's first layer, shape (..., h, d), and its second, shape (..., h)."""
        split = self.inputs * self.student_width
        return w[..., :split].view(*w.shape[:-1], self.student_width, self.inputs), w[..., split:]

    def outputs(self, w: Tensor) -> Tensor:
        """The student's outputs, shape (..., n, 1)."""
        return self._network(*self.layers(w), self.x.to(w)).unsqueeze(-1)

    def trace(self, w: Tensor) -> Tensor:
        """Tr G, which is Tr H on the manifold; shape (...)."""
        W, a = self.layers(w)
        x = self.x.to(w)
        z = W @ x.T
        value = self._activation.value(z)
        slope = self._activation.slope(z, value)
        second = (slope.square() @ x.square().sum(1)) * a.square()
        trace: Tensor = (value.square().sum(-1) + second).sum(-1)
        return trace / self.samples

    def test_error(self, w: Tensor) -> Tensor:
        r"""The relative error :math:`\sqrt{E (f - f^*)^2 / E f^{*2}}` for fresh inputs, shape (...).

        In closed form; rounding hides errors below about 1e-8.
        """
        student, teacher = self.layers(w), (self.teacher[0].to(w), self.teacher[1].to(w))
        correlation = self._activation.correlation
        (W, a), (V, b) = student, teacher
        own = (a.unsqueeze(-2) @ correlation(W, W) @ a.unsqueeze(-1)).flatten(-2).squeeze(-1)
        cross = (a.unsqueeze(-2) @ correlation(W, V) @ b).squeeze(-1)
        square = b @ correlation(V, V) @ b
        return ((own - 2 * cross + square) / square).clamp(min=0).sqrt()

    def start_on_manifold(self, generator: np.random.Generator, *, scale: float = 2.0) -> Tensor:
        """An interpolating point of random layers that are larger than the teacher's.

        The entries of the first layer are drawn with standard deviation scale / sqrt(d), those of the second with
        scale / sqrt(h); `flatter_lib.valleys.interpolation.interpolate` takes the point to the manifold by short steps.

        Args:
            generator: of the random layers.
            scale: how much larger, positive.

        Returns:
            Float64, shape (P,).

        Raises:
            ValueError: if the scale is not positive and finite.
            RuntimeError: if the targets cannot all be met from there.
        """
        checks.number("scale", scale, "(0, inf)")
        W = generator.standard_normal((self.student_width, self.inputs)) / self.inputs**0.5
        a = generator.standard_normal(self.student_width) / self.student_width**0.5
        first = torch.from_numpy(scale * np.concatenate([W.ravel(), a]))
        return interpolate(self.residuals, first)

    def jacobian(self, w: Tensor) -> tuple[Tensor, Tensor]:
        r"""The derivative of the outputs at one point, and the kernel that its rows make.

        .. math:: J J^\top = (x x^\top) \odot (D^\top D) + \Phi^\top \Phi,
            \qquad D_{ji} = a_j \phi'(z_{ij}), \quad \Phi_{ji} = \phi(z_{ij}),

        with a product of entries: about d times cheaper than from J. On the manifold :math:`H = J^\top J / n`.

        Args:
            w: shape (P,).

        Returns:
            J, shape (n, P), and :math:`J J^\top`, shape (n, n).
        """
        W, a = self.layers(w)
        x = self.x.to(w)
        z = W @ x.T
        value = self._activation.value(z)
        slope = self._activation.slope(z, value) * a.unsqueeze(1)
        inner = (slope.T.unsqueeze(2) * x.unsqueeze(1)).flatten(1)
        kernel: Tensor = (x @ x.T) * (slope.T @ slope) + value.T @ value
        return torch.cat([inner, value.T], 1), kernel

    def differential(
        self, runs: int, *, dtype: torch.dtype, device: torch.device
    ) -> DenseDifferential:
        """Two products a step: for small students of all runs with one matrix, for wide ones run by run."""
        wide = device.type == "cpu" and self.student_width * self.samples >= _WIDE
        return (_WideStudent if wide else _Student)(self, runs, dtype, device)

    @property
    def _activation(self) -> Activation:
        return ACTIVATIONS[self.activation]

    def _network(self, first: Tensor, second: Tensor, x: Tensor) -> Tensor:
        hidden = self._activation.value(first @ x.T)
        return (second.unsqueeze(-2) @ hidden).squeeze(-2)


class _Student(DenseDifferential):
    """See `flatter_lib.valleys.problem.Differential`."""

    def __init__(
        self, problem: TeacherStudent, runs: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self._layers, self._phi = problem.layers, ACTIVATIONS[problem.activation]
        x = problem.x.to(device, dtype)
        (n, d), h = x.shape, problem.student_width
        first, z = x.new_empty(runs * h, d), x.new_empty(runs * h, n)
        self._first, self._z = first.view(runs, h, d), z.view(runs, h, n)
        self._f = x.new_empty(runs, 1, n)
        self._enter = SharedProduct(first, x.T.contiguous(), z, rows_per_run=h)
        self._leave = SharedProduct(z, x, first, rows_per_run=h)

    def every_output(self, w: Tensor) -> Tensor:
        W, self._a = self._layers(w)
        self._first.copy_(W)
        self._enter()
        self._value = self._phi.value(self._z)
        torch.bmm(self._a.unsqueeze(1), self._value, out=self._f)
        return self._f.squeeze(1)

    def pull_back_every(self, cotangent: Tensor, into: Tensor) -> None:
        dW, da = self._layers(into)
        da.add_(torch.bmm(self._value, cotangent.unsqueeze(2)).squeeze(2))
        slope = self._phi.slope(self._z, self._value)
        torch.mul(slope, self._a.unsqueeze(2), out=self._z)
        self._z.mul_(cotangent.unsqueeze(1))
        self._leave()
        dW.add_(self._first)


class _WideStudent(DenseDifferential):
    r"""The same, run by run: what a step makes of a run stays in the cache, and its bits do not depend on the others.

    In :math:`a_j \sum_i c_i \phi'(z_{ij}) x_i` the factors of one sample or one unit go to the small matrices, and
    nothing of the size of a layer is multiplied by them; the slope of ``relu`` is the sign of its value, one pass.
    """

    def __init__(
        self, problem: TeacherStudent, runs: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self._layers, self._phi = problem.layers, ACTIVATIONS[problem.activation]
        self._relu = problem.activation == "relu"
        self._x = x = problem.x.to(device, dtype)
        self._inputs = x.T.contiguous()
        (n, d), h = x.shape, problem.student_width
        self._f, self._z = x.new_empty(runs, n), x.new_empty(runs, h, n)
        self._scaled, self._inner = x.new_empty(n, d), x.new_empty(h, d)
        self._value: list[Tensor] = []

    def every_output(self, w: Tensor) -> Tensor:
        W, self._a = self._layers(w)
        self._value = []
        for first, a, z, f in zip(W, self._a, self._z, self._f, strict=True):
            torch.mm(first, self._inputs, out=z)
            value = self._phi.value(z)
            torch.mv(value.T, a, out=f)
            self._value.append(value)
        return self._f

    def pull_back_every(self, cotangent: Tensor, into: Tensor) -> None:
        dW, da = self._layers(into)
        runs = zip(self._a, self._z, self._value, cotangent, dW, da, strict=True)
        for a, z, value, c, inner, outer in runs:
            outer.addmv_(value, c)
            slope = value.sign() if self._relu else self._phi.slope(z, value)
            torch.mul(self._x, c.unsqueeze(1), out=self._scaled)
            torch.mm(slope, self._scaled, out=self._inner)
            inner.addcmul_(self._inner, a.unsqueeze(1))
