r"""Gradient flow of a deep matrix factorisation on a quadratic loss of the product.

.. math:: f(W) = \tfrac12 \langle W - X, \mathcal Q (W - X) \rangle, \qquad W = U_1 U_2 \cdots U_L, \qquad
    \dot U_l = -(U_1 \cdots U_{l-1})^\top \, \nabla f(W) \, (U_{l+1} \cdots U_L)^\top,

with a planted matrix X and a positive semidefinite map Q on matrices, in float64. The L factors are one array of shape
(L, d, d); a factorisation of smaller width is padded with zeros, which the flow preserves exactly. At depth L = 2 and
:math:`U_2 = U_1^\top = U^\top`, which the flow preserves if the gradient of f is symmetric, this is
:math:`\dot U = -\nabla f(UU^\top) U`, the gradient flow of :math:`f(UU^\top)/2`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import OdeSolution, solve_ivp
from scipy.optimize import minimize_scalar

from flatter_lib import checks

Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MatrixLoss:
    r"""The loss :math:`f(W) = \langle W - X, \mathcal Q (W - X) \rangle / 2`; see the three constructors.

    Attributes:
        truth: X, shape (d, d).
        quadratic: Q as a matrix that acts on W row by row, symmetric, positive semidefinite, shape (d d, d d).

    Raises:
        ValueError: if the shapes are not those, or an entry is not finite.

    Examples:
        >>> loss = MatrixLoss.observed(np.diag([2.0, 1.0]))
        >>> loss.value(np.zeros((2, 2)))
        2.5
        >>> print(loss.gradient(np.eye(2)))
        [[-1.  0.]
         [ 0.  0.]]
    """

    truth: Matrix
    quadratic: Matrix

    def __post_init__(self) -> None:
        size = _square("truth", self.truth).size
        if _square("quadratic", self.quadratic).shape != (size, size):
            raise ValueError(
                f"quadratic: must have shape ({size}, {size}), got {self.quadratic.shape}"
            )

    @classmethod
    def observed(cls, truth: ArrayLike) -> MatrixLoss:
        """Every entry is observed: f is half the squared Frobenius distance to X."""
        X = _square("truth", truth)
        return cls(X, np.eye(X.size))

    @classmethod
    def completion(cls, truth: ArrayLike, mask: ArrayLike) -> MatrixLoss:
        """Half the sum of squared errors over the observed entries.

        Args:
            truth: X, shape (d, d); its unobserved entries do not matter, but must be finite.
            mask: true where an entry is observed, shape (d, d); symmetric if the factors shall stay so.

        Raises:
            ValueError: if the shapes are not those, the mask holds other than true and false, or 1 and 0, or an entry
                of truth is not finite.
        """
        X, seen = _square("truth", truth), np.asarray(mask)
        if seen.shape != X.shape or not np.isin(seen, (0, 1)).all():
            raise ValueError(f"mask: must be true or false, shape {X.shape}, got {seen.shape}")
        return cls(X, np.diag(seen.ravel().astype(np.float64)))

    @classmethod
    def sensing(
        cls, truth: ArrayLike, measurements: int, generator: np.random.Generator
    ) -> MatrixLoss:
        r"""Half the mean of :math:`\langle A_i, W - X \rangle^2` over random symmetric Gaussian matrices.

        The entries of A have variance 1 on the diagonal and 1/2 off it, so that the mean over many measurements is
        :math:`|W - X|_F^2` for symmetric matrices: the measurements are isotropic but for fluctuations.

        Args:
            truth: X, symmetric, shape (d, d).
            measurements: how many, at least 1.
            generator: of the matrices.

        Raises:
            ValueError: if there is no measurement, or truth is not a finite square matrix.
        """
        X = _square("truth", truth)
        checks.count("measurements", measurements)
        drawn = generator.standard_normal((measurements, *X.shape))
        A = ((drawn + drawn.transpose(0, 2, 1)) / 2).reshape(measurements, X.size)
        return cls(X, A.T @ A / measurements)

    def value(self, W: Matrix) -> float:
        """f(W).

        Raises:
            ValueError: if W has not the shape of truth.
        """
        error = self._error(W)
        return float(error @ self.quadratic @ error) / 2

    def gradient(self, W: Matrix) -> Matrix:
        """The gradient of f at W, shape (d, d).

        Raises:
            ValueError: if W has not the shape of truth.
        """
        return (self.quadratic @ self._error(W)).reshape(self.truth.shape)

    def _error(self, W: Matrix) -> Matrix:
        _same_shape("W", W, self.truth.shape)
        return (W - self.truth).ravel()


@dataclass(frozen=True, eq=False)
class Path:
    """A trajectory of the flow.

    Attributes:
        t: the integrator's times, shape (n,).
        states: the factors at these times, shape (n, L, d, d).
        solution: all factors as one vector, at any time between the first and the last.
    """

    t: Matrix
    states: Matrix
    solution: OdeSolution

    @property
    def products(self) -> Matrix:
        """W at the integrator's times, shape (n, d, d)."""
        return product(self.states.swapaxes(0, 1))

    def factors(self, t: float) -> Matrix:
        """The factors at a time, shape (L, d, d).

        Raises:
            ValueError: if the time is before the first or after the last.
        """
        if not self.t[0] <= t <= self.t[-1]:
            raise ValueError(f"t: must be in [{self.t[0]:g}, {self.t[-1]:g}], got {t:g}")
        return self.solution(t).reshape(self.states.shape[1:])

    def product(self, t: float) -> Matrix:
        """W at a time, shape (d, d)."""
        return product(self.factors(t))

    def closest(self, target: Matrix) -> tuple[float, float]:
        """Time and distance of the nearest approach to a matrix, refined between the integrator's steps.

        Raises:
            ValueError: if the matrix has not the shape (d, d).
        """
        _same_shape("target", target, self.states.shape[2:])
        distances = np.linalg.norm(self.products - target, axis=(1, 2))
        best = int(np.argmin(distances))
        bounds = self.t[max(best - 1, 0)], self.t[min(best + 1, len(self.t) - 1)]
        found = minimize_scalar(
            lambda s: np.linalg.norm(self.product(s) - target),
            bounds=bounds,
            method="bounded",
            options={"xatol": 1e-9 * max(bounds[1], 1.0)},
        )
        ends = [(self.t[best], distances[best]), (found.x, found.fun)]
        time, distance = min(ends, key=lambda end: end[1])
        return float(time), float(distance)


def product(factors: Matrix) -> Matrix:
    """The product of the factors, from left to right, shape (..., d, d) for factors of shape (L, ..., d, d)."""
    return reduce(np.matmul, factors)


def balanced(W: ArrayLike, depth: int, width: int | None = None) -> Matrix:
    r"""Balanced factors of a positive semidefinite matrix: :math:`U_l^\top U_l = U_{l+1} U_{l+1}^\top`.

    With :math:`W = V \Lambda V^\top` they are :math:`V\Lambda^{1/L}, \Lambda^{1/L}, \ldots, \Lambda^{1/L} V^\top`, so
    that starts of every depth have the same product.

    Args:
        W: positive semidefinite, shape (d, d).
        depth: L, at least 2.
        width: number of eigenvalues kept, the largest ones; all d of them if left out.

    Returns:
        The factors, shape (L, d, d).

    Raises:
        ValueError: for a depth below 2, a width out of range, or a matrix that is not square, finite, symmetric and
            positive semidefinite.

    Examples:
        >>> factors = balanced(np.diag([8.0, 1.0]), depth=3)
        >>> factors.shape, product(factors).round(12).tolist()
        ((3, 2, 2), [[8.0, 0.0], [0.0, 1.0]])
    """
    matrix = _square("W", W)
    checks.count("depth", depth, 2)
    kept = len(matrix) if width is None else checks.count("width", width, most=len(matrix))
    values, vectors = np.linalg.eigh(matrix)
    size = np.abs(values).max()
    if values[0] < -1e-12 * size or np.abs(matrix - matrix.T).max() > 1e-12 * size:
        raise ValueError("W: must be a symmetric positive semidefinite matrix")
    root = np.maximum(values[::-1], 0.0) ** (1 / depth)
    root[kept:] = 0.0
    V = vectors[:, ::-1]
    return np.stack([V * root, *(np.diag(root) for _ in range(depth - 2)), root[:, None] * V.T])


def flow(
    loss: MatrixLoss,
    factors: Matrix,
    time: float,
    *,
    loss_below: float | None = None,
    gradient_below: float | None = None,
    rtol: float = 1e-8,
) -> Path:
    r"""Follow the gradient flow of f(U_1 ... U_L) with scipy's adaptive Runge-Kutta method of order 8.

    Each stage of the method multiplies the first factor from the left and the last from the right, so its errors
    do not feed directions in which the factors are tiny: a start of size 1e-8 is followed at its own relative accuracy.

    Factors that read the same backwards, :math:`U_{L+1-l} = U_l^\top` as from `balanced`, stay so under the flow if
    the gradient of f is symmetric at symmetric matrices. Rounding would break that wherever f does not see the
    antisymmetric part of W, so that from such a start it is enforced.

    Args:
        loss: f.
        factors: the start, shape (L, d, d).
        time: latest time, positive.
        loss_below: stop when f falls through this value.
        gradient_below: stop when the Frobenius norm of the gradient by all factors falls through this value; a start
            near zero lies below it, and the flow must first rise above it.
        rtol: relative tolerance of a step, positive.

    Raises:
        ValueError: if the factors do not have that shape or are not finite, or a number is out of its range.
        RuntimeError: if the integrator gives up.

    Examples:
        >>> loss = MatrixLoss.observed(np.diag([1.0, 0.5]))
        >>> path = flow(loss, balanced(1e-6 * np.eye(2), depth=2), time=100.0, loss_below=1e-12)
        >>> time, distance = path.closest(np.diag([1.0, 0.0]))
        >>> print(round(distance, 3), path.product(path.t[-1]).round(5).tolist())
        0.014 [[1.0, 0.0], [0.0, 0.5]]
    """
    factors = checks.numbers("factors", factors)
    shape = factors.shape
    if len(shape) != 3 or shape[0] < 2 or shape[1:] != loss.truth.shape:
        raise ValueError(
            f"factors: must have shape (at least 2, d, d) with d = {len(loss.truth)}, got {shape}"
        )
    checks.number("time", time, "(0, inf]")
    checks.number("rtol", rtol, "(0, inf)")
    for name, level in (("loss_below", loss_below), ("gradient_below", gradient_below)):
        if level is not None:
            checks.number(name, level)

    start = _gradient(loss, factors)
    odd = start - _reversed(start)
    mirrored = np.array_equal(factors, _reversed(factors)) and (
        np.abs(odd).max() <= 1e-10 * np.abs(start).max()
    )

    def velocity(_: float, w: Matrix) -> Matrix:
        gradient = _gradient(loss, w.reshape(shape))
        if mirrored:
            gradient = (gradient + _reversed(gradient)) / 2
        return -gradient.ravel()

    def loss_event(_: float, w: Matrix) -> float:
        assert loss_below is not None
        return loss.value(product(w.reshape(shape))) - loss_below

    def gradient_event(_: float, w: Matrix) -> float:
        assert gradient_below is not None
        return float(np.linalg.norm(_gradient(loss, w.reshape(shape)))) - gradient_below

    events = [
        event
        for event, level in ((loss_event, loss_below), (gradient_event, gradient_below))
        if level is not None
    ]
    for event in events:
        event.terminal, event.direction = True, -1.0  # type: ignore[attr-defined]
    result = solve_ivp(
        velocity,
        (0.0, time),
        factors.ravel(),
        method="DOP853",
        rtol=rtol,
        atol=rtol * min(np.abs(factors).max(), 1.0),
        events=events or None,
        dense_output=True,
    )
    if not result.success:
        raise RuntimeError(f"the integrator stopped at t = {result.t[-1]:g}: {result.message}")
    assert result.sol is not None
    return Path(result.t, result.y.T.reshape(-1, *shape), result.sol)


def _gradient(loss: MatrixLoss, factors: Matrix) -> Matrix:
    """The gradient by every factor, shape (L, d, d)."""
    before = [factors[0]]  # U_1 ... U_l
    for factor in factors[1:]:
        before.append(before[-1] @ factor)
    gradients = np.empty_like(factors)
    pulled = loss.gradient(before.pop())  # times (U_{l+1} ... U_L)^T
    for l in range(len(factors) - 1, 0, -1):
        np.matmul(before.pop().T, pulled, out=gradients[l])
        pulled = pulled @ factors[l].T
    gradients[0] = pulled
    return gradients


def _reversed(factors: Matrix) -> Matrix:
    return factors[::-1].transpose(0, 2, 1)


def _square(name: str, matrix: ArrayLike) -> Matrix:
    array = checks.numbers(name, matrix)
    if array.ndim != 2 or array.shape[0] != array.shape[1] or not array.size:
        raise ValueError(f"{name}: must be a square matrix, got shape {array.shape}")
    return array


def _same_shape(name: str, matrix: Matrix, shape: tuple[int, ...]) -> None:
    if np.shape(matrix) != shape:
        raise ValueError(f"{name}: must have shape {shape}, got {np.shape(matrix)}")
