r"""Greedy low-rank learning (Li, Luo & Lyu, arXiv 2012.09839): one direction at a time, from zero.

Start at W = 0. Add a tiny multiple of :math:`u u^\top`, u the top eigenvector of :math:`-\nabla f(W)`, to the product;
follow the gradient flow of factors as wide as the rank until it is stationary; repeat while the eigenvalue is positive.
The name and the idea are the paper's; the sizes below are ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flatter_lib import checks
from flatter_lib.valleys.factorization import Matrix, MatrixLoss, flow, product

#: What is added to the product in a new direction, in units of the top eigenvalue of the negative gradient at 0; each
#: factor gets its L-th root.
SEED_SIZE = 1e-6
#: The norm of the gradient by the factors at which a stage ends.
STATIONARY = 1e-8
#: The eigenvalue, relative to the first, below which there is nothing left to learn.
ENOUGH = 1e-6


@dataclass(frozen=True, eq=False)
class Stage:
    """Where the flow of one rank ends.

    Attributes:
        rank: of the factors, from 1.
        escape: the top eigenvalue of the negative gradient at the stage before: how fast the new direction grows.
        direction: its eigenvector, shape (d,).
        factors: the end point, shape (L, d, d), zero beyond the rank.
    """

    rank: int
    escape: float
    direction: Matrix
    factors: Matrix

    @property
    def product(self) -> Matrix:
        """W, shape (d, d)."""
        return product(self.factors)


def greedy_low_rank(
    loss: MatrixLoss,
    depth: int,
    *,
    most: int | None = None,
    time: float = 1e5,
) -> list[Stage]:
    r"""The end points of greedy low-rank learning, rank by rank.

    Args:
        loss: f, with a symmetric gradient at symmetric matrices.
        depth: L, at least 2.
        most: the last rank, from 1 to d; d if left out.
        time: longest a stage may take.

    Returns:
        The stages.

    Raises:
        ValueError: for a number out of its range or a gradient that is not symmetric.
        RuntimeError: if a stage is not stationary in time.

    Examples:
        >>> stages = greedy_low_rank(MatrixLoss.observed(np.diag([1.0, 0.5, 0.0])), depth=3)
        >>> [(stage.rank, round(stage.escape, 6)) for stage in stages]
        [(1, 1.0), (2, 0.5)]
        >>> np.abs(stages[0].product - np.diag([1.0, 0.0, 0.0])).max() < 1e-8
        np.True_
    """
    checks.count("depth", depth, 2)
    size = len(loss.truth)
    last = size if most is None else checks.count("most", most, most=size)
    W = np.zeros((size, size))
    factors = np.zeros((depth, size, size))
    stages: list[Stage] = []
    while len(stages) < last:
        gradient = loss.gradient(W)
        if np.abs(gradient - gradient.T).max() > 1e-6 * np.abs(gradient).max():
            raise ValueError("loss: its gradient must be symmetric at symmetric matrices")
        values, vectors = np.linalg.eigh(-(gradient + gradient.T) / 2)
        first = stages[0].escape if stages else values[-1]
        if values[-1] <= ENOUGH * first or values[-1] <= 0:
            break
        u = vectors[:, -1] * np.sign(vectors[np.abs(vectors[:, -1]).argmax(), -1])
        new = len(stages)
        root = (SEED_SIZE * first) ** (1 / depth)
        factors[0, :, new] = root * u
        factors[1:-1, new, new] = root
        factors[-1, new, :] = root * u
        path = flow(loss, factors, time, gradient_below=STATIONARY, rtol=STATIONARY / 100)
        if path.t[-1] >= time:
            raise RuntimeError(f"rank {len(stages) + 1} is not stationary at t = {time:g}")
        factors = path.factors(path.t[-1])
        W = product(factors)
        stages.append(Stage(new + 1, float(values[-1]), u, factors.copy()))
    return stages
