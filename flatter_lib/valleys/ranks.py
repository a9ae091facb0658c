r"""Rank by rank: the exact gradient flow of a factorised matrix that is fully observed.

The flow of :math:`L(U) = |UU^\top - Z|_F^2 / 4`,

.. math:: \dot U = (Z - U U^\top)\, U, \qquad
    \dot W = Z W + W Z - 2 W^2 \quad \text{for } W = U U^\top,

is a Riccati equation with the solution (any width, any start :math:`U_0`)

.. math:: W(t) = e^{Zt} U_0 \left( I + U_0^\top \frac{e^{2Zt} - I}{Z} U_0 \right)^{-1} U_0^\top e^{Zt}.

Everything here is in the basis of Z's eigenvectors, and in float64.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar

from flatter_lib import checks

Array = NDArray[np.float64]


def exact_flow(eigenvalues: ArrayLike, start: ArrayLike, t: ArrayLike) -> Array:
    r"""W(t) in the eigenbasis of Z.

    With :math:`n_i = (e^{2\sigma_i t} - 1)/\sigma_i` and the QR decomposition of the rows :math:`\sqrt{n_i}\, u_i` of
    :math:`U_0` above the identity, W is made of the upper rows of Q. Written so, nothing is squared or inverted, and
    modes that differ by a hundred orders of magnitude do not spoil each other: each entry has about the accuracy of
    float64 relative to Z; one as small as a start squared, :math:`\epsilon^2`, has it relative to :math:`\epsilon`.

    Args:
        eigenvalues: :math:`\sigma_i`, of any sign, in descending order, shape (d,).
        start: :math:`U_0` in the eigenbasis of Z, shape (d, width).
        t: positive times, any shape (...), at most 350 over the largest eigenvalue: beyond, :math:`e^{2\sigma t}`
            overflows (and the flow has ended).

    Returns:
        W, shape (..., d, d).

    Raises:
        ValueError: for eigenvalues that do not descend, a start with another number of rows, or a time out of
            its range.

    Examples:
        >>> W = exact_flow([1.0, 0.5], start=[[1e-3, 0.0], [0.0, 1e-3]], t=[9.0, 40.0])
        >>> print(W[:, [0, 1], [0, 1]].round(4))
        [[0.985 0.008]
         [1.    0.5  ]]
    """
    sigma, U, times = _checked(eigenvalues, start, t)
    exponent = sigma * times[..., None]
    with np.errstate(invalid="ignore"):  # 0 / 0, which `where` leaves out
        grown = np.where(sigma == 0, 2 * times[..., None], np.expm1(2 * exponent) / sigma)
    root = np.sqrt(grown)
    width = U.shape[1]
    identity = np.broadcast_to(np.eye(width), (*times.shape, width, width))
    Q = np.linalg.qr(np.concatenate([root[..., None] * U, identity], axis=-2))[0]
    rows = (np.exp(exponent) / root)[..., None] * Q[..., : len(sigma), :]
    return np.asarray(rows @ np.swapaxes(rows, -1, -2))


def plateau(eigenvalues: ArrayLike, start: ArrayLike, rank: int) -> tuple[float, float]:
    r"""When, and how near, the flow comes to the best approximation of a rank on its way.

    Args:
        eigenvalues: as for `exact_flow`.
        start: as for `exact_flow`.
        rank: s, from 1 to below the width and the number of positive eigenvalues; beyond, the flow ends there.

    Returns:
        The time of the minimum of :math:`|W(t) - Z_s|_F`, between the escapes of modes s and s + 1, and the minimum.

    Raises:
        ValueError: as for `exact_flow`, or for a rank out of range.

    Examples:
        >>> time, distance = plateau([1.0, 0.5], start=1e-4 * np.eye(2), rank=1)
        >>> print(round(time, 1), round(distance, 4))
        12.4 0.003
    """
    sigma, U, _ = _checked(eigenvalues, start, 1.0)
    most = min(U.shape[1], int((sigma > 0).sum())) - 1
    checks.count("rank", rank, most=most)
    best = np.diag(np.where(np.arange(len(sigma)) < rank, sigma, 0.0))
    # Of each mode, what is orthogonal to the modes before it is what grows on their plateau.
    sizes = np.diag(np.linalg.qr(U[: rank + 1].T)[1]) ** 2
    first, last = np.log1p(sigma[rank - 1 : rank + 1] / sizes[rank - 1 :]) / (
        2 * sigma[rank - 1 : rank + 1]
    )
    if not first < last:
        raise ValueError("start: so large that the modes are not learned one after the other")

    def log_distance(t: float) -> float:
        return float(np.log(np.linalg.norm(exact_flow(sigma, U, t) - best)))

    found = minimize_scalar(
        log_distance, bounds=(first, last), method="bounded", options={"xatol": 1e-7 * last}
    )
    return float(found.x), float(np.exp(found.fun))


def plateau_exponent(above: ArrayLike, below: ArrayLike) -> Array:
    r"""The power of the start's size in the distance of a plateau, :math:`2 (a - b)/(a + b)`.

    Args:
        above: a, the last eigenvalue that is learned on the plateau, positive.
        below: b, the next one, from 0 to a.

    Raises:
        ValueError: if the eigenvalues are not of that order.

    Examples:
        >>> print(plateau_exponent(1.0, 0.5).round(4))
        0.6667
    """
    a, b = _pair(above, below)
    return np.asarray(2 * (a - b) / (a + b))


def descent_exponent(
    above: ArrayLike, below: ArrayLike, lr: ArrayLike, *, orthogonal: bool = False
) -> Array:
    r"""The same power for gradient descent :math:`U \leftarrow U + \eta\, (Z - UU^\top) U`.

    Per step, mode a grows by :math:`(1 + \eta a)^2 = e^{G}`, mode b by :math:`(1 + \eta b)^2 = e^{g}`, the error of the
    learned mode falls by :math:`1 - 2\eta a = e^{-r}` and the mixture of both by :math:`1 - \eta(a - b) = e^{-q}`. With
    :math:`\alpha = 1 - g/G` the growth of b meets the error at the power :math:`2 \alpha r/(r + g)` and the mixture at
    :math:`\alpha (1 + q/(q + g))`, which is the smaller one and hence decides. As the step goes to zero both become
    `plateau_exponent`.

    Args:
        above: a, positive.
        below: b, from 0 to a.
        lr: step size, positive, with :math:`\eta a < 1/2` so that the error falls monotonically.
        orthogonal: whether the start's rows (of the modes) are orthogonal; then there is no mixture.

    Raises:
        ValueError: if an argument is out of its range.

    Examples:
        >>> print(descent_exponent(1.0, 0.5, [1e-6, 0.2]).round(4))
        [0.6667 0.6471]
        >>> print(descent_exponent(1.0, 0.5, [1e-6, 0.2], orthogonal=True).round(4))
        [0.6667 0.6951]
    """
    (a, b), eta = _pair(above, below), checks.numbers("lr", lr, "(0, inf)")
    if not np.all(eta * a < 0.5):
        raise ValueError("lr: lr times the eigenvalue above must be below 1/2")
    G, g = 2 * np.log1p(eta * a), 2 * np.log1p(eta * b)
    alpha = 1 - g / G
    r, q = -np.log1p(-2 * eta * a), -np.log1p(-eta * (a - b))
    if orthogonal:
        return np.asarray(2 * alpha * r / (r + g))
    total = q + g
    return np.asarray(alpha * (1 + q / np.where(total > 0, total, 1.0)))


def _pair(above: ArrayLike, below: ArrayLike) -> tuple[Array, Array]:
    a, b = checks.numbers("above", above, "(0, inf)"), checks.numbers("below", below, "[0, inf)")
    if not np.all(b <= a):
        raise ValueError("above, below: below must be at most above")
    return a, b


def _checked(eigenvalues: ArrayLike, start: ArrayLike, t: ArrayLike) -> tuple[Array, Array, Array]:
    sigma, U = checks.numbers("eigenvalues", eigenvalues), checks.numbers("start", start)
    times = checks.numbers("t", t, "(0, inf)")
    if sigma.ndim != 1 or not sigma.size or np.any(np.diff(sigma) > 0):
        raise ValueError(
            f"eigenvalues: must be in descending order, shape (d,), got shape {sigma.shape}"
        )
    if U.ndim != 2 or len(U) != len(sigma) or not U.size:
        raise ValueError(f"start: must have shape ({len(sigma)}, width), got {U.shape}")
    if not np.all(np.abs(sigma).max() * times <= 350):
        raise ValueError("t: must be at most 350 over the largest eigenvalue in size")
    return sigma, U, times
