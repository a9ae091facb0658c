"""Long runs of the diagonal network, timed at every step by a compiled loop."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flatter_lib.compiled import inner, kernel
from flatter_lib.valleys.diagonal import DiagonalNetwork

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class DiagonalRun:
    """One run of noisy heavy ball while it goes, timed at every step.

    Two times are taken of each of two quantities, the mass outside the truth's support and the relative error: the
    first step at which it is at or below its level, ``first`` (-1 before), and the last above it, ``last_above``.

    Args:
        problem: its loss.
        start: v, shape (d,).
        levels: of the mass outside and of the error.
    """

    def __init__(
        self, problem: DiagonalNetwork, start: Floats, levels: tuple[float, float]
    ) -> None:
        self.state = np.stack([start, np.zeros_like(start)])
        self.first, self.last_above = np.full(2, -1), np.zeros(2, dtype=np.int64)
        X, truth = problem.samples.numpy(), problem.truth.numpy()
        # The targets, whose last digits depend on the processor if they are a product of matrices.
        self._problem = X, (X * truth).sum(axis=1), truth
        self._levels, self._done = np.array(levels), 0

    def advance(self, draws: Floats, rows: Integers, lr: float, momentum: float) -> None:
        """Make as many steps as there are draws."""
        times = self._levels, self.first, self.last_above
        _advance(self.state, *self._problem, draws, rows, self._done, lr, momentum, *times)
        self._done += len(draws)

    def outside_and_error(self) -> tuple[float, float]:
        """Where it is."""
        theta, truth = self.state[0] ** 2, self._problem[2]
        error = np.sqrt(((theta - truth) ** 2).sum() / (truth**2).sum())
        return float(theta[truth == 0].sum() / truth.sum()), float(error)


def descended(problem: DiagonalNetwork, steps: int = 20_000) -> Floats:
    """Where gradient descent from v = 1 ends, with an eighth of the largest stable step there; shape (d,)."""
    X = problem.samples.numpy()
    # Without the digits of the norm that depend on the processor.
    lr = float(f"{len(X) / (16 * np.linalg.norm(X, 2) ** 2):.12g}")
    run = DiagonalRun(problem, problem.ones.numpy(), levels=(0.0, 0.0))
    run.advance(np.zeros((steps, 1)), np.full(steps, -1), lr, 0.0)
    end: Floats = run.state[0]
    return end


@kernel
def _advance(
    state: Floats,
    X: Floats,
    y: Floats,
    truth: Floats,
    draws: Floats,
    rows: Integers,
    done: int,
    lr: float,
    momentum: float,
    levels: Floats,
    first: Integers,
    last_above: Integers,
) -> None:
    """Advance one run by a block of steps, in place.

    Args:
        state: (2, d): v and the momentum buffer.
        X: (n, d) inputs.
        y: (n,) targets.
        truth: (d,).
        draws: (block, n) noise on every label, or (block, 1), noise on the label that ``rows`` names.
        rows: (block,); -1 where no single label is noisy.
        done: steps made before.
        lr: step size.
        momentum: beta.
        levels: of the mass outside and of the error.
        first: (2,) first step at or below the level; -1 before.
        last_above: (2,) last step above it, or 0.
    """
    n, d = X.shape
    v, buffer = state[0], state[1]
    # Every sum has a fixed order, so that its bits, and what is decided by them, are those of every processor. Each
    # residual and each force is a sum of its own, and vector instructions make several side by side. Left to reorder
    # sums, the compiler makes a run in 0.7 of the time with AVX2 and AVX-512 (1.2 with SSE).
    columns = np.ascontiguousarray(X.T)
    r, force, far = np.empty(n), np.empty(d), np.empty((2, d))
    mass, square = truth.sum(), (truth * truth).sum()
    for k in range(len(draws)):
        for i in range(n):
            r[i] = -y[i]
        for j in range(d):
            theta = v[j] * v[j]
            for i in range(n):
                r[i] += columns[j, i] * theta
        if draws.shape[1] == n:
            for i in range(n):
                r[i] -= draws[k, i]
        elif rows[k] >= 0:
            r[rows[k]] -= draws[k, 0]
        for j in range(d):
            force[j] = 0.0
        for i in range(n):
            for j in range(d):
                force[j] += r[i] * X[i, j]
        for j in range(d):
            buffer[j] = momentum * buffer[j] + 2.0 / n * force[j] * v[j]
            v[j] -= lr * buffer[j]
            theta = v[j] * v[j]
            far[0, j] = theta if truth[j] == 0.0 else 0.0
            far[1, j] = (theta - truth[j]) ** 2
        outside, error = _sum(far[0]), _sum(far[1])
        for m, x in enumerate((outside / mass, np.sqrt(error / square))):
            # Written so that a run that has left, NaN, is above.
            if x <= levels[m]:
                if first[m] < 0:
                    first[m] = done + k + 1
            else:
                last_above[m] = done + k + 1


@inner
def _sum(values: Floats) -> float:
    """A sum of which four parts are under way at a time."""
    s0, s1, s2, s3 = 0.0, 0.0, 0.0, 0.0
    for j in range(0, len(values) - 3, 4):
        s0 += values[j]
        s1 += values[j + 1]
        s2 += values[j + 2]
        s3 += values[j + 3]
    for j in range(len(values) // 4 * 4, len(values)):
        s0 += values[j]
    return (s0 + s1) + (s2 + s3)
