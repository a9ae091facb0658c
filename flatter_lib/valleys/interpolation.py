"""From any point to a manifold of minimisers: Gauss-Newton steps of least norm, damped where the loss would rise."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import jacrev

#: On the largest residual.
TOLERANCE = 1e-13
ITERATIONS = 200


def interpolate(residuals: Callable[[Tensor], Tensor], w: Tensor) -> Tensor:
    r"""Move a point to where every residual vanishes.

    Levenberg and Marquardt's step :math:`-J^\top (J J^\top + \lambda I)^{-1} r`, with :math:`\lambda` raised until the
    loss falls. For fewer residuals than parameters, and :math:`\lambda \to 0`, it is the shortest step that solves the
    linearised problem, so that the point moves little along the manifold.

    Args:
        residuals: maps (P,) to residuals of any shape.
        w: the first point, float64, shape (P,).

    Returns:
        The point, shape (P,).

    Raises:
        RuntimeError: if the residuals do not vanish: there is no such point near, or too few parameters.

    Examples:
        >>> w = interpolate(lambda w: w[0] * w[1] - 1.0, torch.tensor([2.0, 1.0], dtype=torch.float64))
        >>> abs(float(w.prod()) - 1.0) < 1e-13
        True
    """
    damping = 1e-3
    r = residuals(w).reshape(-1)
    for _ in range(ITERATIONS):
        if bool(r.abs().max() <= TOLERANCE):
            return w
        J = jacrev(lambda x: residuals(x).reshape(-1))(w)
        gram = J @ J.T
        unit = gram.diagonal().mean() * torch.eye(len(gram), dtype=w.dtype)
        while damping < 1e12:
            candidate = w - J.T @ torch.linalg.solve(gram + damping * unit, r)
            new = residuals(candidate).reshape(-1)
            # Near the end rounding alone decides whether the loss falls: then the step is taken for what it is.
            if bool(new.square().sum() < r.square().sum()):
                w, r, damping = candidate, new, max(damping / 10, 1e-16)
                break
            damping *= 10
        else:
            break
    if bool(r.abs().max() <= 100 * TOLERANCE):
        return w
    raise RuntimeError(
        f"no interpolating point found: the largest residual is still {float(r.abs().max()):.2g}; "
        "take more parameters than targets, or another first point"
    )
