r"""Matrix sensing: a low-rank matrix from a few linear measurements, factorised.

.. math:: f_i(U, V) = \langle A_i, U V^\top \rangle, \qquad y_i = \langle A_i, X^* \rangle, \qquad
    L = \frac{1}{2n} \sum_{i=1}^n (f_i - y_i)^2,

with U of shape (rows, width), V of shape (columns, width), and measurement matrices :math:`A_i` of independent standard
normal entries. Cowsik, Can & Glorioso (arXiv 2210.16400) try matrix sensing; their dimensions are not known to us, so
every number here is our own choice.
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
class MatrixSensing(Problem):
    r"""Measurements of a planted matrix, and the loss of its factors.

    Parameters are the entries of U, row by row, followed by those of V: P = (rows + columns) width.

    f is linear in U and in V, so :math:`\operatorname{Tr} \nabla^2 f_i = 0` and, at every point,

    .. math:: \operatorname{Tr} H = \operatorname{Tr} G
        = \frac1n \sum_i \left( |A_i V|_F^2 + |A_i^\top U|_F^2 \right).

    Its mean over the measurements is rows :math:`|V|_F^2` + columns :math:`|U|_F^2`; for a square matrix the least
    value at a given :math:`U V^\top` is 2 rows times the nuclear norm.

    Attributes:
        rows: of the matrix.
        columns: of the matrix.
        rank: of the planted matrix :math:`X^*`, at most the smaller dimension.
        measurements: n, how many.
        width: columns of U and V, at least the rank; the rank if left out.
        singular_values: of :math:`X^*`, positive, one for each of its ranks; all 1 if left out.
        seed: of the measurements and the singular vectors, which are uniformly distributed.

    Raises:
        ValueError: for what is no integer from 1 (the seed: from 0), a rank above the dimensions, a width below the
            rank, or singular values that are not as many as the rank, positive and finite.

    Examples:
        >>> problem = MatrixSensing(rows=6, columns=5, rank=2, measurements=12, width=3)
        >>> problem.dimension, tuple(problem.targets.shape)
        (33, (12, 1))
        >>> w = problem.start_on_manifold(np.random.default_rng(0))
        >>> bool(problem.loss(w) < 1e-24), bool(problem.test_error(w) > 0.1)
        (True, True)
    """

    rows: int
    columns: int
    rank: int
    measurements: int
    width: int | None = None
    singular_values: tuple[float, ...] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        checks.fields(self, rows=1, columns=1, measurements=1, seed=0)
        checks.count("rank", self.rank, most=min(self.rows, self.columns))
        if self.width is not None:
            checks.count("width", self.width, self.rank)
        values = self.singular_values
        if values is not None and (
            checks.numbers("singular_values", values, "(0, inf)").shape != (self.rank,)
        ):
            raise ValueError(f"singular_values: must be {self.rank} numbers, got {values}")
        # Made now: a tensor first made within a transform of torch.func would belong to that transform.
        _ = self.targets, self._grams

    @property
    def factor_width(self) -> int:
        """Columns of U and V."""
        return self.rank if self.width is None else self.width

    @property
    def dimension(self) -> int:
        """P = (rows + columns) width."""
        return (self.rows + self.columns) * self.factor_width

    @property
    def numbers_per_run(self) -> int:
        """Two matrices, the parameters, their velocities, and the residuals."""
        return 2 * self.rows * self.columns + 2 * self.dimension + 3 * self.measurements

    @cached_property
    def truth(self) -> Tensor:
        """The planted matrix, float64, shape (rows, columns)."""
        generator = self._generator(0)
        left, right = (
            np.linalg.qr(generator.standard_normal((size, self.rank)))[0]
            for size in (self.rows, self.columns)
        )
        values = np.ones(self.rank) if self.singular_values is None else self.singular_values
        return torch.from_numpy((left * values) @ right.T)

    @cached_property
    def sensing(self) -> Tensor:
        """The measurement matrices, float64, shape (n, rows, columns)."""
        shape = (self.measurements, self.rows, self.columns)
        return torch.from_numpy(self._generator(1).standard_normal(shape))

    @cached_property
    def targets(self) -> Tensor:
        """The measured values y, float64, shape (n, 1)."""
        return self._measure(self.truth)

    def factors(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """U, shape (..., rows, width), and V, shape (..., columns, width)."""
        split, lead = self.rows * self.factor_width, w.shape[:-1]
        return (
            w[..., :split].view(*lead, self.rows, self.factor_width),
            w[..., split:].view(*lead, self.columns, self.factor_width),
        )

    def matrix(self, w: Tensor) -> Tensor:
        """The product of the factors, shape (..., rows, columns)."""
        U, V = self.factors(w)
        return U @ V.mT

    def outputs(self, w: Tensor) -> Tensor:
        """The measurements of the product, shape (..., n, 1)."""
        return self._measure(self.matrix(w))

    def trace(self, w: Tensor) -> Tensor:
        """Tr H, exact at every point, shape (...)."""
        U, V = self.factors(w)
        of_left, of_right = (gram.to(w) for gram in self._grams)
        return ((of_left @ U) * U).sum((-2, -1)) + ((of_right @ V) * V).sum((-2, -1))

    def test_error(self, w: Tensor) -> Tensor:
        r"""The relative error :math:`|U V^\top - X^*|_F / |X^*|_F`, shape (...).

        For a fresh Gaussian measurement it is the root of the mean squared error relative to the mean square.
        """
        truth = self.truth.to(w)
        error: Tensor = torch.linalg.matrix_norm(self.matrix(w) - truth)
        size: Tensor = torch.linalg.matrix_norm(truth)
        return error / size

    def start_on_manifold(self, generator: np.random.Generator, *, scale: float = 2.0) -> Tensor:
        r"""An interpolating point of random factors, far from balanced.

        Its Tr H is about twice that of the balanced factors of the truth.

        The entries of U are drawn with standard deviation scale / sqrt(rows), those of V with 1 / sqrt(columns); then
        `flatter_lib.valleys.interpolation.interpolate` takes the point to the manifold by short steps.

        Args:
            generator: of the random factors.
            scale: how much larger U is, positive.

        Returns:
            Float64, shape (P,).

        Raises:
            ValueError: if the scale is not positive and finite.
            RuntimeError: if there are too few parameters to meet all targets from there.
        """
        checks.number("scale", scale, "(0, inf)")
        width = self.factor_width
        U = generator.standard_normal((self.rows, width)) * scale / np.sqrt(self.rows)
        V = generator.standard_normal((self.columns, width)) / np.sqrt(self.columns)
        first = torch.from_numpy(np.concatenate([U.ravel(), V.ravel()]))
        return interpolate(self.residuals, first)

    def differential(self, runs: int, *, dtype: torch.dtype, device: torch.device) -> _Sensing:
        """Two products a step with the matrix of all measurements, for all runs at once, and three small ones a run."""
        return _Sensing(self, runs, dtype, device)

    @cached_property
    def _grams(self) -> tuple[Tensor, Tensor]:
        """The means of A A^T and of A^T A over the measurements."""
        A, n = self.sensing, self.measurements
        left = torch.einsum("nij,nkj->ik", A, A) / n
        right = torch.einsum("nij,nik->jk", A, A) / n
        return left, right

    def _measure(self, matrix: Tensor) -> Tensor:
        A = self.sensing.to(matrix).flatten(1)
        return (matrix.flatten(-2) @ A.T).unsqueeze(-1)


class _Sensing(DenseDifferential):
    """See `Differential`."""

    def __init__(
        self, problem: MatrixSensing, runs: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self._factors = problem.factors
        A = problem.sensing.to(device, dtype).flatten(1)
        flat = torch.empty(runs, A.shape[1], dtype=dtype, device=device)
        self._matrices = flat.view(runs, problem.rows, problem.columns)
        self._f = torch.empty(runs, len(A), dtype=dtype, device=device)
        # Products into a view of `into` would go matrix by matrix.
        self._dU = torch.empty_like(problem.factors(flat.new_empty(runs, problem.dimension))[0])
        self._dV = torch.empty_like(problem.factors(flat.new_empty(runs, problem.dimension))[1])
        self._measure = SharedProduct(flat, A.T.contiguous(), self._f)
        self._combine = SharedProduct(self._f, A, flat)

    def every_output(self, w: Tensor) -> Tensor:
        self._U, self._V = self._factors(w)
        torch.bmm(self._U, self._V.mT, out=self._matrices)
        self._measure()
        return self._f

    def pull_back_every(self, cotangent: Tensor, into: Tensor) -> None:
        if cotangent is not self._f:
            self._f.copy_(cotangent)
        self._combine()
        dU, dV = self._factors(into)
        dU.add_(torch.bmm(self._matrices, self._V, out=self._dU))
        dV.add_(torch.bmm(self._matrices.mT, self._U, out=self._dV))
