r"""The slow motion along a manifold of minimisers, in the limit of small steps: a stochastic differential equation.

Let the gradient carry noise of covariance :math:`\Sigma(w)`, and let :math:`\Phi(w)` be where gradient flow from w
ends. After k steps of SGD with a small step :math:`\eta`, :math:`\Phi(w_k)` is near X at :math:`\tau = \eta^2 k`, with

.. math:: dX = P F\, dW - \tfrac12 P\, \nabla^3 L[S]\, d\tau - \tfrac12 H^+ \nabla^3 L[P \Sigma P]\, d\tau, \qquad
    F F^\top = \Sigma, \qquad S_{ij} = \frac{\Sigma_{ij}}{h_i + h_j}

in the eigenbasis of the Hessian H, P being the projector on its null space and :math:`S_{ij} = 0` where
:math:`h_i = h_j = 0` (Li, Wang & Arora, arXiv 2110.06914, Theorem 4.6, after Katzenberger 1991, in this notation).
:math:`\eta S` is the covariance of the fast fluctuation across the manifold; the last term does nothing but keep X on
the manifold. Heavy ball has :math:`\eta_{\rm eff} = \eta/(1-\beta)` in place of :math:`\eta`, and

.. math:: S_{ij} = \frac{\Sigma_{ij}}{h_i + h_j + \frac m2 (h_i - h_j)^2}, \qquad
    m = \eta_{\rm eff}\frac{\beta}{1-\beta},

which is derived in the chapter on this equation. m vanishes with the step for :math:`1-\beta \propto
\eta_{\rm eff}^\alpha` with :math:`\alpha < 1`; at :math:`\alpha = 1` it does not.

The loss is that of :mod:`flatter_lib.valleys.problem`, :math:`\frac{1}{2n} \sum_i r_i^2`, given by its residuals: on
the manifold :math:`H = J^\top J / n` and :math:`P \nabla^3 L[S] = P \nabla \frac1n \sum_i J_i S J_i^\top`, J being
their derivative and S held fixed. They must be independent: J of full rank n.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from scipy.integrate import solve_ivp
from torch import Tensor
from torch.func import grad, jacrev, vmap

from flatter_lib import checks

#: Maps a point (P,) to its residuals (n,).
Residuals = Callable[[Tensor], Tensor]
#: Maps the derivative of the residuals, (..., n, P), to a factor F of the noise's covariance, (..., P, q).
Noise = Callable[[Tensor], Tensor]


def label_noise(strength: float | Tensor) -> Noise:
    r"""Noise on the targets, independent, fresh at every step.

    .. math:: \Sigma = \frac1{n^2} J^\top \operatorname{diag}(\varepsilon_1^2, \dots, \varepsilon_n^2)\, J

    Equal strengths make it :math:`(\varepsilon^2/n) H`; it never moves along the manifold.

    Args:
        strength: :math:`\varepsilon`, of every target, or of each, (n,).

    Raises:
        ValueError: for one that is negative or not finite.

    Examples:
        >>> print(label_noise(0.5)(torch.ones(2, 3)).T)
        tensor([[0.2500, 0.2500, 0.2500],
                [0.2500, 0.2500, 0.2500]])
    """
    checks.numbers("strength", strength, "[0, inf)")
    return lambda J: J.mT * strength / J.shape[-2]


def isotropic_noise(strength: float) -> Noise:
    r"""Noise on the gradient, the same in every direction: :math:`\Sigma = \varepsilon^2 I`.

    Args:
        strength: :math:`\varepsilon`.

    Raises:
        ValueError: for one that is negative or not finite.

    Examples:
        >>> print(isotropic_noise(0.5)(torch.ones(1, 2)))
        tensor([[0.5000, 0.0000],
                [0.0000, 0.5000]])
    """
    checks.number("strength", strength, "[0, inf)")
    return lambda J: (
        strength
        * torch.eye(J.shape[-1], dtype=J.dtype).expand(*J.shape[:-2], J.shape[-1], J.shape[-1])
    )


def fluctuation(J: Tensor, F: Tensor, inertia: float = 0.0) -> Tensor:
    r"""S, the covariance of the fast fluctuation over the effective step, zero between directions of the manifold.

    Args:
        J: derivative of the residuals, (..., n, P), of full rank.
        F: factor of the noise's covariance, (..., P, q).
        inertia: :math:`m = \eta_{\rm eff} \beta/(1-\beta)`, in units of one over a curvature; 0 for plain SGD.

    Returns:
        Shape (..., P, P).

    Raises:
        ValueError: if the inertia is negative or not finite.

    Examples:
        >>> J = torch.tensor([[2.0, 0.0]], dtype=torch.float64)  # one curvature of 4 and a flat direction
        >>> print(fluctuation(J, torch.ones(2, 1, dtype=torch.float64), inertia=0.5))
        tensor([[0.1250, 0.1250],
                [0.1250, 0.0000]], dtype=torch.float64)
    """
    m = checks.number("inertia", inertia, "[0, inf)")
    return _fluctuation(*_modes(J), F, m)


def drift(residuals: Residuals, w: Tensor, noise: Noise, inertia: float = 0.0) -> Tensor:
    r"""The drift along the manifold, :math:`-\frac12 P \nabla^3 L[S]`, a unit of :math:`\tau`.

    For equal label noise it is :math:`-\frac{\varepsilon^2}{4n} P \nabla \operatorname{Tr} H`, for isotropic noise
    :math:`-\frac{\varepsilon^2}{4} P \nabla \ln \det J J^\top`, whatever the inertia.

    Args:
        residuals: of the loss.
        w: points of the manifold, float64, (R, P).
        noise: of the gradient.
        inertia: see `fluctuation`.

    Returns:
        Shape (R, P).

    Raises:
        ValueError: if the inertia is negative or not finite, or w is no table.

    Examples:
        >>> w = torch.tensor([[2.0, 0.5]], dtype=torch.float64)
        >>> velocity = drift(lambda w: w[:1] * w[1:] - 1, w, label_noise(1.0))
        >>> print(2 * velocity @ (w * torch.tensor([1, -1])).T)  # of u^2 - v^2, which is 3.75
        tensor([[-3.7500]], dtype=torch.float64)
    """
    m = checks.number("inertia", inertia, "[0, inf)")
    J = _derivative(residuals, w)
    return _drift(residuals, w, *_modes(J), noise(J), m)


def simulate(
    residuals: Residuals,
    start: Tensor,
    noise: Noise,
    *,
    time: float,
    steps: int,
    paths: int,
    generator: torch.Generator,
    inertia: float = 0.0,
) -> Tensor:
    r"""Paths of the slow equation: Euler and Maruyama's steps along the manifold, each followed by a way back to it.

    The way back is two Gauss-Newton steps. They move a point that is a little off along the normals, as gradient flow
    does to this order, and so supply the equation's last term. The weak error is of the order of one step.

    Args:
        residuals: of the loss.
        start: a point of the manifold, float64, (P,).
        noise: of the gradient.
        time: :math:`\tau` at the end, positive; :math:`\eta_{\rm eff}^2` for each step of the optimizer.
        steps: how many, at least 1.
        paths: how many, at least 1.
        generator: of the noise.
        inertia: see `fluctuation`.

    Returns:
        Every step of every path, (steps + 1, paths, P).

    Raises:
        ValueError: for an argument out of its range.

    Examples:
        >>> start = torch.tensor([2.0, 0.5], dtype=torch.float64)
        >>> path = simulate(lambda w: w[:1] * w[1:] - 1, start, label_noise(1.0), time=1.0, steps=200, paths=1,
        ...                 generator=torch.Generator().manual_seed(0))
        >>> u, v = path[-1, 0]
        >>> print(((u**2 - v**2) / 3.75).log().round(decimals=2))  # label noise drifts; it does not diffuse
        tensor(-1., dtype=torch.float64)
    """
    dt = checks.number("time", time, "(0, inf)") / checks.count("steps", steps)
    m = checks.number("inertia", inertia, "[0, inf)")
    w = start.expand(checks.count("paths", paths), -1)
    kept = [w]
    for _ in range(steps):
        J = _derivative(residuals, w)
        h, V = _modes(J)
        F = noise(J)
        kicks = torch.randn(paths, F.shape[-1], 1, dtype=w.dtype, generator=generator)
        kick = _flat(F @ kicks, V)[..., 0]
        w = w + dt * _drift(residuals, w, h, V, F, m) + dt**0.5 * kick
        for _ in range(2):
            J, r = _derivative(residuals, w), vmap(residuals)(w)
            w = w - (J.mT @ torch.linalg.solve(J @ J.mT, r[..., None]))[..., 0]
        kept.append(w)
    return torch.stack(kept)


def limit(residuals: Residuals, w: Tensor, *, until: float = 200.0) -> Tensor:
    r""":math:`\Phi(w)`: where the gradient flow :math:`\dot w = -J^\top r / n` ends.

    Args:
        residuals: of the loss.
        w: a point, float64, (P,).
        until: time at which the flow counts as ended, many times one over the least curvature; positive.

    Returns:
        Shape (P,).

    Raises:
        ValueError: if the time is not positive.
        RuntimeError: if the residuals are then not below 1e-9.

    Examples:
        >>> end = limit(lambda w: w[:1] * w[1:] - 1, torch.tensor([2.0, 0.6], dtype=torch.float64))
        >>> print((end.prod() - 1).abs() < 1e-9, (end[0] ** 2 - end[1] ** 2).round(decimals=9))
        tensor(True) tensor(3.6400, dtype=torch.float64)
    """
    checks.number("until", until, "(0, inf)")

    def velocity(_: float, x: Any) -> Any:
        at = torch.tensor(x, requires_grad=True)
        r = residuals(at)
        (gradient,) = torch.autograd.grad(r.square().sum() / (2 * len(r)), at)
        return -gradient.numpy()

    path = solve_ivp(velocity, (0.0, until), w.numpy(), method="LSODA", rtol=1e-11, atol=1e-12)
    end = torch.from_numpy(path.y[:, -1].copy())
    if not float(residuals(end).abs().max()) < 1e-9:
        raise RuntimeError(f"gradient flow has not ended at time {until:g}: ask for a later one")
    return end


def _derivative(residuals: Residuals, w: Tensor) -> Tensor:
    """J of every path, (R, n, P)."""
    if w.ndim != 2:
        raise ValueError(f"w: must have shape (R, P), got {tuple(w.shape)}")
    J: Tensor = vmap(jacrev(residuals))(w)
    return J


def _modes(J: Tensor) -> tuple[Tensor, Tensor]:
    """The curvatures that are not zero, (..., n), and their directions, (..., n, P)."""
    _, s, V = torch.linalg.svd(J, full_matrices=False)
    return s**2 / J.shape[-2], V


def _flat(vectors: Tensor, V: Tensor) -> Tensor:
    """What of column vectors lies along the manifold, (..., P, q)."""
    return vectors - V.mT @ (V @ vectors)


def _fluctuation(h: Tensor, V: Tensor, F: Tensor, m: float) -> Tensor:
    """S, from the modes and a factor of the covariance."""
    G = V @ F
    row, column = h[..., :, None], h[..., None, :]
    across = G @ G.mT / (row + column + m / 2 * (row - column) ** 2)
    along = G @ _flat(F, V).mT / (row + m / 2 * row**2)
    mixed = V.mT @ along
    return V.mT @ across @ V + mixed + mixed.mT


def _drift(residuals: Residuals, w: Tensor, h: Tensor, V: Tensor, F: Tensor, m: float) -> Tensor:
    """The drift, from the modes and a factor of the covariance."""

    def mean_square(x: Tensor, fixed: Tensor) -> Tensor:
        at = jacrev(residuals)(x)
        total: Tensor = ((at @ fixed) * at).sum()
        return total / len(at)

    gradient: Tensor = vmap(grad(mean_square))(w, _fluctuation(h, V, F, m))
    return -_flat(gradient[..., None], V)[..., 0] / 2
