r"""Local SGD: K workers make H steps each with noise of their own, then their weights are averaged, and so on.

Near a manifold of minimisers weights fluctuate across it, and where curvature changes along the manifold that pushes.
With gradient noise of covariance a times the Hessian in every worker, and :math:`\rho = 1 - \eta h`, the mean square of
a worker's displacement along a mode of curvature h, over the steps of a round, is

.. math:: \frac{\eta a}{K (2 - \eta h)} \bigl(1 + (K - 1)\, \psi_d\bigr), \qquad
    \psi_d = 1 - \frac{1 - \rho^{2H}}{H (1 - \rho^2)}.

With H = 1 this is SGD whose batch is that of all workers together: the drift is faster by :math:`1 + (K-1)\psi_d`. For
small steps :math:`\psi_d` is :math:`\psi(x) = (e^{-x} - 1 + x)/x` with :math:`x = 2 \eta H h` (after Gu, Lyu, Huang &
Arora 2023, arXiv:2303.01215; derived in the chapter on Local SGD).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from flatter_lib import checks
from flatter_lib.checks import Floats
from flatter_lib.valleys.slow import Noise

#: The gradient that every worker sees: of weights (R, K, P), with fresh noise from the generator.
Gradient = Callable[[Floats, np.random.Generator], Floats]


def share(curvature: ArrayLike, lr: float, period: int) -> Floats:
    r""":math:`\psi_d`, the share of a worker's own noise that does its work before it is averaged away.

    Args:
        curvature: h, positive, with :math:`\eta h < 2`; any shape.
        lr: step size :math:`\eta`.
        period: H, steps of a round.

    Returns:
        From 0, for H = 1, to 1, of the curvature's shape.

    Raises:
        ValueError: for an argument out of its range.

    Examples:
        >>> share([0.01, 1.0, 5.0], lr=0.2, period=1), share([0.01, 1.0, 5.0], lr=0.2, period=50).round(3)
        (array([0., 0., 0.]), array([0.092, 0.944, 0.98 ]))
    """
    step = checks.number("lr", lr, "(0, inf)")
    h = checks.numbers("curvature", curvature, f"(0, {2 / step})")
    H = checks.count("period", period)
    # 1 - rho^2, so that what is nearly 1 loses no digits.
    lost = step * h * (2 - step * h)
    with np.errstate(divide="ignore"):  # at a step of 1 / h nothing is left of rho
        kept: Floats = -np.expm1(H * np.log1p(-lost)) / (H * lost)
    return 1 - kept


def label_noise(strength: float, *, lr: float, workers: int, period: int) -> Noise:
    r"""The noise under which the slow equation drifts as Local SGD does under label noise.

    .. math:: \Sigma = \frac{\varepsilon^2}{nK} \sum_i \frac{1 + (K-1)\psi_d(h_i)}{1 - \eta h_i/2}\, h_i\, u_i u_i^\top,

    in the eigenbasis of :math:`J^\top J/n`; see `flatter_lib.valleys.slow`.

    Args:
        strength: :math:`\varepsilon`, of every target of every worker.
        lr: step size; :math:`\eta h < 2` for every curvature that it meets.
        workers: K.
        period: H.

    Raises:
        ValueError: for an argument out of its range, or, where it is used, a step that is too large.

    Examples:
        >>> print(label_noise(1.0, lr=0.1, workers=4, period=1)(torch.ones(1, 2, dtype=torch.float64)).T)
        tensor([[0.5270, 0.5270]], dtype=torch.float64)
    """
    eps, step = checks.number("strength", strength, "[0, inf)"), checks.number("lr", lr, "(0, inf)")
    K, H = checks.count("workers", workers), checks.count("period", period)

    def factor(J: Tensor) -> Tensor:
        U, s, V = torch.linalg.svd(J, full_matrices=False)
        h = (s**2 / J.shape[-2]).numpy()
        gain = (1 + (K - 1) * share(h, step, H)) / (1 - step * h / 2) / K
        size = eps / J.shape[-2] * s * torch.from_numpy(np.sqrt(gain)).to(J)
        found: Tensor = (V.mT * size.unsqueeze(-2)) @ U.mT
        return found

    return factor


def rounds(
    gradient: Gradient,
    start: ArrayLike,
    *,
    lr: float,
    workers: int,
    period: int,
    generator: np.random.Generator,
) -> Iterator[Floats]:
    r"""Run Local SGD round by round, without end.

    Args:
        gradient: with fresh noise, of the weights of all workers, (R, K, P).
        start: where runs start, (R, P).
        lr: step size, positive.
        workers: K.
        period: H; with 1 it is SGD whose batch is that of all workers together.
        generator: of the noise.

    Yields:
        The averages after the first round, the second, and so on, each (R, P).

    Raises:
        ValueError: for an argument out of its range.

    Examples:
        >>> def gradient(w, generator):
        ...     return 2.0 * w + generator.standard_normal(w.shape)
        >>> run = rounds(gradient, np.ones((1000, 1)), lr=0.1, workers=4, period=8, generator=np.random.default_rng(0))
        >>> ends = [next(run) for _ in range(20)]  # the variance is that of SGD with the same batch
        >>> bool(abs(ends[-1].var() / (0.01 / 4 / (1 - 0.8**2)) - 1) < 0.15)
        True
    """
    step = checks.number("lr", lr, "(0, inf)")
    K, H = checks.count("workers", workers), checks.count("period", period)
    first = checks.numbers("start", start)
    if first.ndim != 2:
        raise ValueError(f"start: must have shape (runs, P), got {first.shape}")
    average: Floats = first
    while True:
        w = np.repeat(average[:, None], K, axis=1)
        for _ in range(H):
            w -= step * gradient(w, generator)
        average = w.mean(axis=1)
        yield average
