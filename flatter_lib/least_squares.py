r"""Least squares on Gaussian inputs: a gradient is as noisy as its error is large, and every second moment is exact.

In the noisy quadratic model the noise of a gradient has a variance of its own. In linear regression it comes from the
data. With inputs :math:`x \sim N(0, H)`, :math:`H = \mathrm{diag}(h)`, targets :math:`x^\top\theta^* + \sigma\xi`, and
:math:`\theta` counted from :math:`\theta^*`, the gradient of a batch of B fresh examples is

.. math:: \begin{aligned}
    g &= \frac1B \sum_b \big( x_b x_b^\top \theta - \sigma \xi_b x_b \big), \\
    E[g] &= H\theta, \\
    B\, \mathrm{Cov}[g]_{ii} &= h_i^2 \theta_i^2 + h_i \sum_j h_j \theta_j^2 \\
    &\quad + h_i \sigma^2 .
    \end{aligned}

The sum over all modes is twice the loss: every mode is kicked by the error of all others. Off the diagonal the
covariance is a multiple of :math:`\theta_i\theta_j`, so the moments :math:`E\theta_i^2, E\theta_i p_i, E p_i^2` of each
mode, p being the buffer of momentum, obey a linear recursion with one sum in common:
three numbers a mode, whatever the batch and the schedule, and no sampling.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq, minimize

from flatter_lib import checks
from flatter_lib.checks import Floats, Integers
from flatter_lib.compiled import kernel

#: A loss beyond this is divergence: its square still fits into a float.
LOST = 1e150


def risk(
    curvature: ArrayLike,
    initial: ArrayLike,
    steps: ArrayLike,
    lr: ArrayLike,
    batch_size: float,
    momentum: ArrayLike = 0.0,
    plain_lr: float = 0.0,
    label_noise: float = 0.0,
    multiplicity: ArrayLike = 1.0,
) -> Floats:
    r"""The exact expected excess loss :math:`\tfrac12\sum_i m_i h_i E\theta_i^2` after some numbers of steps.

    .. math:: \begin{aligned}
        p_{t+1} &= \beta_t p_t + g_t, \qquad p_0 = 0, \\
        \theta_{t+1} &= \theta_t - \eta_t p_{t+1} - \alpha g_t .
        \end{aligned}

    With :math:`\alpha = 0` and constant :math:`\eta, \beta` this is ``torch.optim.SGD``. A plain step :math:`\alpha`
    beside a momentum whose :math:`\beta_t \to 1` is the form of the schedules that change exponents (DANA,
    arXiv:2505.16098).

    Args:
        curvature: :math:`h_i > 0`, shape (d,).
        initial: :math:`E\theta_i(0)^2 \ge 0`, shape (d,) or a number.
        steps: increasing whole numbers from 0.
        lr: :math:`\eta_t \ge 0`, a number or one for each step.
        batch_size: B > 0; inf leaves no noise.
        momentum: :math:`\beta_t` in [0, 1), a number or one for each step.
        plain_lr: :math:`\alpha \ge 0`.
        label_noise: :math:`\sigma \ge 0`, the standard deviation of the targets' noise.
        multiplicity: :math:`m_i > 0`, how many modes are like this one; need not be whole, as for the node of a
            quadrature.

    Returns:
        float64, one for each of ``steps``; inf from where the loss has passed 1e150.

    Raises:
        ValueError: if an argument is out of its range, or a schedule is too short.

    Examples:
        >>> print(risk([1.0], 1.0, [0, 1, 2], lr=0.5, batch_size=2))
        [0.5    0.25   0.125]
    """
    h, start, many = (
        np.array(array)
        for array in checks.one_axis(
            curvature=checks.numbers("curvature", curvature, "(0, inf)"),
            initial=checks.numbers("initial", initial, "[0, inf)"),
            multiplicity=checks.numbers("multiplicity", multiplicity, "(0, inf)"),
        )
    )
    counts = np.atleast_1d(checks.counts("steps", steps))
    if counts.ndim != 1 or np.any(np.diff(counts) <= 0):
        raise ValueError("steps: must be increasing whole numbers from 0")
    last = int(counts[-1]) if counts.size else 0
    result = np.full(counts.size, np.inf)
    _moments(
        h,
        many,
        start,
        counts,
        _each("lr", checks.numbers("lr", lr, "[0, inf)"), last),
        _each("momentum", checks.numbers("momentum", momentum, "[0, 1)"), last),
        checks.number("plain_lr", plain_lr, "[0, inf)"),
        1.0 / checks.number("batch_size", batch_size, "(0, inf]"),
        checks.number("label_noise", label_noise, "[0, inf)") ** 2,
        result,
    )
    return result


def _each(name: str, values: Floats, last: int) -> Floats:
    """A schedule, one value for each step."""
    if (values.ndim and values.shape[0] < last) or values.ndim > 1:
        raise ValueError(
            f"{name}: must be one number or one for each of {last} steps, got shape {values.shape}"
        )
    return np.broadcast_to(values, max(last, values.size)).copy()


@kernel
def _moments(
    h: Floats,
    many: Floats,
    start: Floats,
    counts: Integers,
    lr: Floats,
    momentum: Floats,
    plain: float,
    share: float,
    label: float,
    result: Floats,
) -> None:
    x, c, q = start.copy(), np.zeros(h.size), np.zeros(h.size)
    step = 0
    for k in range(counts.size):
        while True:
            both = 0.0
            for i in range(h.size):
                both += many[i] * h[i] * x[i]
            if not both < LOST:
                return
            if step == counts[k]:
                result[k] = 0.5 * both
                break
            eta, beta = lr[step], momentum[step]
            for i in range(h.size):
                gg = h[i] * h[i] * x[i] * (1.0 + share) + h[i] * (both + label) * share
                gx, gp = h[i] * x[i], h[i] * c[i]
                qq = beta * beta * q[i] + 2.0 * beta * gp + gg
                xp, pg = beta * c[i] + gx, beta * gp + gg
                x[i] += (
                    eta * eta * qq
                    + plain * plain * gg
                    + 2.0 * (eta * plain * pg - eta * xp - plain * gx)
                )
                c[i] = xp - eta * qq - plain * pg
                q[i] = qq
            step += 1


def contraction(
    curvature: ArrayLike,
    lr: float,
    batch_size: float,
    momentum: float = 0.0,
    multiplicity: ArrayLike = 1.0,
) -> float:
    r"""One minus the factor :math:`\rho` by which the expected loss of heavy ball falls a step in the long run.

    Let :math:`u_k` be what a kick has become k steps later (the roots of :math:`r^2 - (1 + \beta - \eta h) r + \beta`
    make it), :math:`S_t` twice the loss after t steps, and ask for what grows as :math:`\lambda^t`. Each mode answers
    the kicks of variance :math:`(h^2 E\theta^2 + h S)/B` that it gets with

    .. math:: \begin{aligned}
        g_i(\lambda) &= \frac{\eta^2}{B} \sum_{k \ge 1} \frac{u_k^2}{\lambda^k}
        = \frac{\eta^2}{B} \frac{\lambda (\lambda + \beta)}{(\lambda - \beta)\, q_i}, \\
        q_i &= (\lambda + \beta)^2 - (1 + \beta - \eta h_i)^2 \lambda, \\
        1 &= \sum_i m_i \frac{h_i^2\, g_i(\lambda)}{1 - h_i^2\, g_i(\lambda)} .
        \end{aligned}

    The recursion maps covariances to covariances, so :math:`\rho` is an eigenvalue, the largest root; and every
    :math:`g_i` falls above the factors of its own mode: one bracketed root. Noise in the targets decides where the loss
    comes to rest and not how fast.

    Args:
        curvature: :math:`h_i > 0`, shape (d,).
        lr: :math:`\eta > 0`.
        batch_size: B > 0; inf leaves no noise.
        momentum: :math:`\beta` in [0, 1).
        multiplicity: :math:`m_i > 0`, as in :func:`risk`.

    Returns:
        :math:`1 - \rho`; at most 0 where the loss does not fall.

    Raises:
        ValueError: if an argument is out of its range.

    Examples:
        >>> one = contraction([1.0], lr=0.5, batch_size=2)  # 1 - (1 - eta)^2 - 2 eta^2 / B
        >>> print(f"{one:.6f}")
        0.500000
    """
    return _contraction(
        *_spectrum(curvature, multiplicity),
        checks.number("lr", lr, "(0, inf)"),
        1.0 / checks.number("batch_size", batch_size, "(0, inf]"),
        checks.number("momentum", momentum, "[0, 1)"),
    )


def _spectrum(curvature: ArrayLike, multiplicity: ArrayLike) -> tuple[Floats, Floats]:
    h, many = checks.one_axis(
        curvature=checks.numbers("curvature", curvature, "(0, inf)"),
        multiplicity=checks.numbers("multiplicity", multiplicity, "(0, inf)"),
    )
    return h, many


def _contraction(h: Floats, many: Floats, eta: float, share: float, beta: float) -> float:
    sum_of_roots = 1.0 + beta - eta * h
    apart = sum_of_roots**2 - 4.0 * beta
    root = 0.5 * (np.abs(sum_of_roots) + np.sqrt(np.maximum(apart, 0.0)))
    alone = 1.0 - float(np.where(apart > 0.0, root**2, beta).max())
    if share == 0.0:
        return alone
    # The last factor of g at the factor 1 - fall, without the cancellation at a small fall.
    level = eta * h * (2.0 * (1.0 + beta) - eta * h)
    slope = sum_of_roots**2 - 2.0 * (1.0 + beta)

    def excess(fall: float) -> float:
        """Between -1/2 and 1/2, rising with the fall, 0 where the sum is 1; 1/2 where it is infinite."""
        factor = 1.0 - fall
        last = level + fall * slope + fall * fall
        if fall >= alone or last.min() <= 0.0:
            return 0.5
        g = share * eta**2 * factor * (factor + beta) / ((factor - beta) * last)
        fed = h * h * g
        if fed.max() >= 1.0:
            return 0.5
        return 0.5 - 1.0 / (1.0 + float(many @ (fed / (1.0 - fed))))

    width = 1.0
    while excess(alone - width) > 0.0:
        width *= 4.0
    return float(brentq(excess, alone - width, alone, xtol=1e-16, rtol=1e-13, maxiter=500))


@dataclass(frozen=True)
class Fastest:
    r"""The step size and the momentum at which the expected loss falls fastest.

    Attributes:
        contraction: :math:`1 - \rho`, what a step takes away.
        lr: step size of the update.
        momentum: 0 without momentum.
    """

    contraction: float
    lr: float
    momentum: float


def fastest(
    curvature: ArrayLike,
    batch_size: float,
    momentum: bool = True,
    multiplicity: ArrayLike = 1.0,
) -> Fastest:
    r"""The fastest constant heavy ball, or the fastest plain SGD, for a batch size.

    Args:
        curvature: :math:`h_i > 0`, shape (d,).
        batch_size: B > 0; inf leaves no noise.
        momentum: tune the momentum too; no momentum is among the choices.
        multiplicity: :math:`m_i > 0`, as in :func:`risk`.

    Returns:
        The optimum of :func:`contraction`.

    Raises:
        ValueError: if an argument is out of its range.

    Examples:
        >>> best = fastest([1.0, 0.01], float("inf"))  # Polyak: momentum ((1 - r) / (1 + r))^2, r = 1 / 10
        >>> print(f"{best.momentum:.2f}")
        0.67
    """
    h, many = _spectrum(curvature, multiplicity)
    share = 1.0 / checks.number("batch_size", batch_size, "(0, inf]")
    # Below this plain step the noise of all modes together cannot make the loss rise.
    safe = 1.0 / (h.max() * (1.0 + share) + share * float(many @ h))
    scale = safe * float(h.min())

    def falls(place: Floats) -> float:
        beta = 1.0 - np.exp(-np.logaddexp(0.0, place[1])) if place.size > 1 else 0.0
        fall = _contraction(h, many, float(np.exp(place[0])) * safe, share, float(beta))
        return float(-fall / scale)

    def from_(place: list[float]) -> tuple[float, Floats]:
        found = minimize(
            falls, place, method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-11}
        )
        return -float(found.fun) * scale, found.x

    best, place = from_([0.0])
    chosen = Fastest(best, float(np.exp(place[0])) * safe, 0.0)
    if momentum:
        width = np.log(h.max() / h.min()) / 2.0
        for start in (0.25 * width, 0.5 * width, width):
            gain, place = from_([place[0] - 0.5 * start, start])
            if gain > chosen.contraction:
                beta = 1.0 - np.exp(-np.logaddexp(0.0, place[1]))
                chosen = Fastest(gain, float(np.exp(place[0])) * safe, float(beta))
    return chosen
