r"""A ring of minimisers whose sharpness is known: where gradient descent with weight decay goes at the edge.

.. math:: L(w) = \tfrac12 u_3^2\, (1 + \tfrac12 u_1)^2, \qquad u = w/|w|, \quad w \in \mathbf R^3.

The minimisers are the directions :math:`u = (\cos\varphi, \sin\varphi, 0)`; there the Hessian at unit norm has the one
eigenvalue :math:`\lambda_1 = (1 + \tfrac12\cos\varphi)^2`, least at :math:`\varphi = \pi`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flatter_lib import checks

Floats = NDArray[np.float64]

#: Where runs start on the ring, in radians.
START = 0.5


def sharpness(angle: ArrayLike) -> Floats:
    r"""The eigenvalue :math:`\lambda_1`.

    Examples:
        >>> print(sharpness([0.0, np.pi]))
        [2.25 0.25]
    """
    return np.asarray((1 + 0.5 * np.cos(angle)) ** 2)


def descend(
    *, lr: ArrayLike, decay: ArrayLike, momentum: ArrayLike, fraction: ArrayLike, at: ArrayLike
) -> tuple[Floats, Floats]:
    r"""Gradient descent with weight decay, from the steady swing across the ring that the edge would have.

    In that swing the weights change sides at every step; where the sharpness has no slope it has the height
    :math:`\sqrt{\eta\lambda/(2(1+\beta))}` at unit norm.

    Args:
        lr: :math:`\eta` of each setting.
        decay: :math:`\lambda`.
        momentum: :math:`\beta`.
        fraction: of the edge, effective step times sharpness at the start; it sets the norm.
        at: steps at which it is looked at, from 1, increasing.

    Returns:
        The place on the ring, in radians, the mean over a step and the next one; and effective step times sharpness
        there, over its value at the edge, :math:`2(1+\beta)`; (settings, steps) each.

    Raises:
        ValueError: for an argument out of its range.

    Examples:
        >>> place, edge = descend(lr=1.0, decay=1e-3, momentum=0.0, fraction=1.0, at=[1000, 4000])
        >>> bool(START < place[0, 0] < place[0, 1] < np.pi)
        True
    """
    eta, lam, beta, part = checks.one_axis(
        lr=checks.numbers("lr", lr, "(0, inf)"),
        decay=checks.numbers("decay", decay, "(0, inf)"),
        momentum=checks.numbers("momentum", momentum, "[0, 1)"),
        fraction=checks.numbers("fraction", fraction, "(0, inf)"),
    )
    looks = np.atleast_1d(checks.counts("at", at, 1))
    if np.any(np.diff(looks) <= 0):
        raise ValueError("at: must be steps in increasing order")
    top = 2 * (1 + beta)
    height = np.sqrt(eta * lam / top)
    x, y = (f(START) * np.ones(eta.size) for f in (np.cos, np.sin))
    square = eta * sharpness(START) / (top * part * (1 + height**2))
    w = np.sqrt(square) * np.array([x, y, height])
    v = np.array([0 * x, 0 * x, -2 * w[2] / eta])
    places, edges = np.empty((2, eta.size, looks.size))
    for step in range(1, looks[-1] + 2):
        length = np.sqrt((w * w).sum(0))
        u = w / length
        slope = 1 + 0.5 * u[0]
        g = u[2] * slope * np.array([0.5 * u[2], 0 * x, slope])
        v = beta * v + (g - (g * u).sum(0) * u) / length + lam * w
        old, w = w, w - eta * v
        row = np.searchsorted(looks, step - 1)
        if step > 1 and looks[row] == step - 1:
            ends = np.unwrap(np.arctan2([old[1], w[1]], [old[0], w[0]]), axis=0)
            places[:, row] = ends.mean(0)
            edges[:, row] = eta * sharpness(ends.mean(0)) / length**2 / top
    return places, edges
