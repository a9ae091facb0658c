r"""A ring of minimisers whose sharpness is known: where gradient descent with weight decay goes at the edge.

.. math:: L(w) = \tfrac12 u_3^2\, (1 + \tfrac12 u_1)^2, \qquad u = w/|w|, \quad w \in \mathbf R^3.

The minimisers are the directions :math:`u = (\cos\varphi, \sin\varphi, 0)`; there the Hessian at unit norm has the one
eigenvalue :math:`\lambda_1 = (1 + \tfrac12\cos\varphi)^2`, least at :math:`\varphi = \pi`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from flatter_lib import checks
from flatter_lib.checks import Floats

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
    *, decay: ArrayLike, momentum: ArrayLike, fraction: ArrayLike, steps: int
) -> tuple[Floats, Floats]:
    r"""Gradient descent with weight decay, from the steady swing across the ring that the edge would have.

    In that swing the weights change sides at every step; where the sharpness has no slope it has the height
    :math:`\sqrt{\eta\lambda/(2(1+\beta))}` at unit norm. The step size :math:`\eta` is 1: only the product counts.

    Args:
        decay: :math:`\lambda` of each setting.
        momentum: :math:`\beta`.
        fraction: of the edge, effective step times sharpness at the start; it sets the norm.
        steps: how many.

    Returns:
        After each step, the place on the ring, in radians, the mean with that after the next one; and effective step
        times sharpness there, over its value at the edge, :math:`2(1+\beta)`; (settings, steps) each.

    Raises:
        ValueError: for an argument out of its range.

    Examples:
        >>> place, edge = descend(decay=1e-3, momentum=0.0, fraction=1.0, steps=4000)
        >>> bool(START < place[0, 999] < place[0, 3999] < np.pi)
        True
    """
    lam, beta, part = checks.one_axis(
        decay=checks.numbers("decay", decay, "(0, inf)"),
        momentum=checks.numbers("momentum", momentum, "[0, 1)"),
        fraction=checks.numbers("fraction", fraction, "(0, inf)"),
    )
    top = 2 * (1 + beta)
    height = np.sqrt(lam / top)
    x, y = (f(START) * np.ones(lam.size) for f in (np.cos, np.sin))
    w = np.sqrt(sharpness(START) / (top * part * (1 + height**2))) * np.array([x, y, height])
    v = np.array([0 * x, 0 * x, -2 * w[2]])
    path = np.empty((checks.count("steps", steps) + 2, *w.shape))
    for step in range(len(path)):
        path[step] = w
        length = np.sqrt((w * w).sum(0))
        u = w / length
        slope = 1 + 0.5 * u[0]
        g = u[2] * slope * np.array([0.5 * u[2], 0 * x, slope])
        v = beta * v + (g - (g * u).sum(0) * u) / length + lam * w
        w = w - v
    angle = np.unwrap(np.arctan2(path[:, 1], path[:, 0]), axis=0)
    place = (angle[1:-1] + angle[2:]) / 2
    return place.T, (sharpness(place) / (path[1:-1] ** 2).sum(1) / top).T
