r"""What makes a loss a problem of :mod:`flatter_lib.ensemble`: outputs, their derivative, and what to look at.

Every problem here has the squared loss

.. math:: L(w) = \frac{1}{2n} \sum_{i=1}^n \sum_{k=1}^m r_{ik}^2, \qquad r = f(w) - y,

of n samples with m outputs each. Its Hessian is :math:`H = G + \frac1n \sum_{ik} r_{ik} \nabla^2 f_{ik}` with the
Gauss-Newton matrix :math:`G = \frac1n \sum_{ik} \nabla f_{ik} \nabla f_{ik}^\top`; on the manifold of minimisers, where
every residual vanishes, H = G. A point is a vector w of P parameters; functions of it take any leading axes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

#: Maps parameters of shape (runs, P) to a number a run, shape (runs,).
Observable = Callable[[Tensor], Tensor]

#: Runs that go through one product with a matrix that all runs share. The partition into tiles, and with it every bit
#: of the result, does not depend on how many runs are advanced together, if that is a multiple of this number.
TILE = 64


class Differential(Protocol):
    """Outputs of R runs at once and the pull-back of their derivative, in buffers made once."""

    def outputs(self, w: Tensor, rows: Tensor | None) -> Tensor:
        """The outputs, a buffer that the caller may change.

        Args:
            w: parameters, shape (R, P).
            rows: the samples that each run sees, shape (R, B); None for all n.

        Returns:
            Shape (R, B m), the m outputs of a sample side by side.
        """

    def pull_back(self, cotangent: Tensor, into: Tensor) -> None:
        r"""Add :math:`\sum_{ik} c_{ik} \nabla f_{ik}`, taken where `outputs` was last asked, to ``into``.

        Args:
            cotangent: c, shape (R, B m).
            into: shape (R, P).
        """


class Problem(ABC):
    """What :func:`flatter_lib.ensemble.run` asks of a problem; the methods are in float64 if the point is.

    Attributes:
        seed: of all that is drawn, where anything is.
    """

    seed: int

    @property
    @abstractmethod
    def dimension(self) -> int:
        """P, the number of parameters."""

    @property
    @abstractmethod
    def targets(self) -> Tensor:
        """Clean targets y, float64, shape (n, m)."""

    @property
    @abstractmethod
    def numbers_per_run(self) -> int:
        """About how many numbers a run keeps in memory while it goes."""

    @abstractmethod
    def outputs(self, w: Tensor) -> Tensor:
        """The outputs f, shape (..., n, m), for w of shape (..., P)."""

    @abstractmethod
    def trace(self, w: Tensor) -> Tensor:
        """Tr G, which is Tr H wherever the targets are met; shape (...)."""

    @abstractmethod
    def test_error(self, w: Tensor) -> Tensor:
        r"""Relative error :math:`\sqrt{E (f - f^*)^2 / E f^{*2}}` at fresh inputs, shape (...)."""

    @abstractmethod
    def start_on_manifold(self, generator: np.random.Generator) -> Tensor:
        """An interpolating point away from the flat region, float64, shape (P,)."""

    @abstractmethod
    def differential(self, runs: int, *, dtype: torch.dtype, device: torch.device) -> Differential:
        """The derivative of the outputs for that many runs."""

    def _generator(self, part: int) -> np.random.Generator:
        """Each drawn part of a problem has one of its own."""
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(part,)))

    def residuals(self, w: Tensor) -> Tensor:
        """The residuals r = f - y without noise, shape (..., n, m)."""
        return self.outputs(w) - self.targets.to(w)

    def loss(self, w: Tensor) -> Tensor:
        r"""The loss :math:`\frac{1}{2n} \sum_{ik} r_{ik}^2` without noise, shape (...)."""
        r = self.residuals(w)
        return (r * r).sum((-2, -1)) / (2 * r.shape[-2])

    def observables(self) -> Mapping[str, Observable]:
        """``loss``, ``trace`` and ``test_error``: the methods of these names."""
        return {"loss": self.loss, "trace": self.trace, "test_error": self.test_error}


class DenseDifferential(ABC):
    """A `Differential` whose outputs cost little: it makes those of all samples, one each, and picks."""

    _rows: Tensor | None = None

    @abstractmethod
    def every_output(self, w: Tensor) -> Tensor:
        """The outputs for all n samples, (R, n), in a buffer."""

    @abstractmethod
    def pull_back_every(self, cotangent: Tensor, into: Tensor) -> None:
        """Add the pull-back of (R, n) numbers to ``into``."""

    def outputs(self, w: Tensor, rows: Tensor | None) -> Tensor:
        """See `Differential.outputs`."""
        every = self.every_output(w)
        self._rows, self._shape = rows, every.shape
        return every if rows is None else every.gather(1, rows)

    def pull_back(self, cotangent: Tensor, into: Tensor) -> None:
        """See `Differential.pull_back`."""
        if self._rows is not None:
            cotangent = cotangent.new_zeros(self._shape).scatter_add_(1, self._rows, cotangent)
        self.pull_back_every(cotangent, into)


class SharedProduct:
    """Products of one matrix with rows of all runs, from buffer to buffer, in tiles whose bits do not depend on R.

    Args:
        rows: shape (R q, a), q rows a run.
        matrix: shape (a, b).
        out: shape (R q, b).
        rows_per_run: q.
    """

    def __init__(self, rows: Tensor, matrix: Tensor, out: Tensor, rows_per_run: int = 1) -> None:
        size = TILE * rows_per_run if rows.device.type == "cpu" else max(1, len(rows))
        self._matrix = matrix
        self._tiles = list(zip(torch.split(rows, size), torch.split(out, size), strict=True))

    def __call__(self) -> None:
        """Fill ``out`` with ``rows @ matrix``."""
        for rows, out in self._tiles:
            torch.mm(rows, self._matrix, out=out)
