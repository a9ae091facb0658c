r"""The diagonal linear network: sparse recovery by a quadratic parametrisation.

.. math:: f_i(v) = \langle v \odot v, x_i \rangle, \qquad y_i = \langle \theta^*, x_i \rangle, \qquad
    L = \frac{1}{2n} \sum_{i=1}^n (f_i - y_i)^2,

with Gaussian inputs and a sparse :math:`\theta^* \ge 0`.

The known public setting of label noise in this model has 100 inputs, a 5-sparse truth and 40 measurements, which are
the defaults here, and starts at v = 1 (`DiagonalNetwork.ones`). It states the loss as :math:`\frac{1}{4n} \sum r^2`,
half of ours, with step .01, and adds to the full gradient the label noise of a single random index, of strength
:math:`\delta = 1`. In our units the step is .005, and noise of the same covariance, :math:`\delta^2 H` on the manifold,
is label noise of strength :math:`\varepsilon = \delta \sqrt n` on every target. That the entries of the truth are 1 is
our choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from flatter_lib import checks
from flatter_lib.valleys.interpolation import interpolate
from flatter_lib.valleys.problem import DenseDifferential, Problem, SharedProduct


@dataclass(frozen=True)
class DiagonalNetwork(Problem):
    r"""Linear measurements of a sparse vector, and the loss of its elementwise roots.

    Parameters are v, P = inputs. With :math:`\nabla f_i = 2 x_i \odot v` and :math:`\nabla^2 f_i = 2
    \operatorname{diag} x_i`,

    .. math:: \operatorname{Tr} G = \frac4n \sum_j v_j^2 \sum_i x_{ij}^2, \qquad
        \operatorname{Tr} H = \operatorname{Tr} G + \frac2n \sum_i r_i \sum_j x_{ij}.

    On the manifold both are a weighted l1 norm of :math:`\theta = v \odot v`: flat is sparse.

    Attributes:
        inputs: d.
        sparsity: entries of the truth that are 1; the others are 0. At most d.
        measurements: n.
        seed: of the inputs and of the truth's support.

    Raises:
        ValueError: for what is no integer from 1 (the seed: from 0), or a sparsity above d.

    Examples:
        >>> problem = DiagonalNetwork()
        >>> problem.dimension, problem.truth.nonzero().ravel().tolist(), bool(problem.loss(problem.ones) > 1)
        (100, [0, 31, 75, 77, 91], True)
        >>> w = problem.start_on_manifold(np.random.default_rng(0))
        >>> bool(problem.loss(w) < 1e-24), bool(problem.test_error(w) > 1)
        (True, True)
    """

    inputs: int = 100
    sparsity: int = 5
    measurements: int = 40
    seed: int = 0

    def __post_init__(self) -> None:
        checks.fields(self, inputs=1, measurements=1, seed=0)
        checks.count("sparsity", self.sparsity, most=self.inputs)
        # Made now: a tensor first made within a transform of torch.func would belong to that transform.
        _ = self.targets

    @property
    def dimension(self) -> int:
        """P, the number of inputs."""
        return self.inputs

    @property
    def numbers_per_run(self) -> int:
        """Parameters, velocities, their products, and the residuals."""
        return 4 * self.inputs + 2 * self.measurements

    @property
    def ones(self) -> Tensor:
        """The start v = 1 of the public setting, which is not on the manifold; float64, shape (P,)."""
        return torch.ones(self.inputs, dtype=torch.float64)

    @cached_property
    def truth(self) -> Tensor:
        r"""The sparse vector :math:`\theta^*`, float64, shape (d,)."""
        support = self._generator(0).choice(self.inputs, self.sparsity, replace=False)
        truth = torch.zeros(self.inputs, dtype=torch.float64)
        truth[torch.from_numpy(support)] = 1.0
        return truth

    @cached_property
    def samples(self) -> Tensor:
        """The inputs x of the measurements, float64, shape (n, d)."""
        return torch.from_numpy(
            self._generator(1).standard_normal((self.measurements, self.inputs))
        )

    @cached_property
    def targets(self) -> Tensor:
        """The measured values y, float64, shape (n, 1)."""
        return (self.samples @ self.truth).unsqueeze(-1)

    def outputs(self, w: Tensor) -> Tensor:
        """The measurements of v * v, shape (..., n, 1)."""
        return ((w * w) @ self.samples.to(w).T).unsqueeze(-1)

    def trace(self, w: Tensor) -> Tensor:
        """Tr G, which is Tr H on the manifold; shape (...)."""
        weights = 4 * self.samples.to(w).square().mean(0)
        trace: Tensor = (w * w) @ weights
        return trace

    def test_error(self, w: Tensor) -> Tensor:
        r"""The relative error :math:`|v \odot v - \theta^*| / |\theta^*|`, shape (...).

        For fresh Gaussian inputs it is the root of the mean squared error relative to the mean square.
        """
        truth = self.truth.to(w)
        error: Tensor = torch.linalg.vector_norm(w * w - truth, dim=-1)
        size: Tensor = torch.linalg.vector_norm(truth)
        return error / size

    def start_on_manifold(self, generator: np.random.Generator, *, scale: float = 1.0) -> Tensor:
        """An interpolating point near v = scale, where no entry is small: far from sparse, so far from flat.

        Args:
            generator: of the first point, whose entries are normal about the scale with a tenth of it as deviation.
            scale: of the entries, positive.

        Returns:
            Float64, shape (P,).

        Raises:
            ValueError: if the scale is not positive and finite.
            RuntimeError: if there are too few parameters to meet all targets from there.
        """
        checks.number("scale", scale, "(0, inf)")
        first = scale * (1 + 0.1 * generator.standard_normal(self.inputs))
        return interpolate(self.residuals, torch.from_numpy(first))

    def differential(self, runs: int, *, dtype: torch.dtype, device: torch.device) -> _Diagonal:
        """Two products a step with the matrix of all inputs, for all runs at once."""
        return _Diagonal(self.samples.to(device, dtype), runs)


class _Diagonal(DenseDifferential):
    """See `flatter_lib.valleys.problem.Differential`."""

    def __init__(self, samples: Tensor, runs: int) -> None:
        self._squares = samples.new_empty(runs, samples.shape[1])
        self._f = samples.new_empty(runs, samples.shape[0])
        self._measure = SharedProduct(self._squares, samples.T.contiguous(), self._f)
        self._combine = SharedProduct(self._f, 2 * samples, self._squares)

    def every_output(self, w: Tensor) -> Tensor:
        self._w = w
        torch.mul(w, w, out=self._squares)
        self._measure()
        return self._f

    def pull_back_every(self, cotangent: Tensor, into: Tensor) -> None:
        if cotangent is not self._f:
            self._f.copy_(cotangent)
        self._combine()
        into.addcmul_(self._squares, self._w)
