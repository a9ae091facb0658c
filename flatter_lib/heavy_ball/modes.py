r"""Stochastic heavy ball in one mode of a quadratic: roots, stability, stationary law, time scales.

Everywhere in the book heavy ball is ``torch.optim.SGD(lr=lr, momentum=momentum)``. In one mode of curvature
:math:`h`, with independent gradient noise :math:`\xi_k` of zero mean and variance :math:`\sigma^2`, it reads

.. math:: v_{k+1} = \beta v_k + h w_k + \xi_k, \qquad w_{k+1} = w_k - \eta v_{k+1},

which is equation (5) of Zhang et al. (2019, arXiv:1907.04164) and, up to the sign of the momentum, the linearised
update of section 1.1 of Cowsik et al. (2022, arXiv:2210.16400). Without the momentum variable it is
:math:`w_{k+1} = (1 + \beta - \eta h) w_k - \beta w_{k-1} - \eta \xi_k`.

Every function takes numbers or arrays, which broadcast against each other, and computes in float64 (roots in
complex128): scalars give a NumPy scalar, arrays an array. Every argument is checked, and the ``ValueError`` names it:
``lr`` (:math:`\eta`) and ``curvature`` (:math:`h`) are finite and at least 0, ``momentum`` (:math:`\beta`) lies in
[0, 1). Sums like :math:`1 + \beta - \eta h` are never formed where they would lose digits, since the book's
interesting settings have :math:`\beta` close to 1 and :math:`\eta h` close to 0.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flatter_lib import checks

#: A NumPy scalar for scalar arguments, otherwise an array of their broadcast shape (typed as NumPy types its ufuncs).
Elementwise: TypeAlias = Any


def effective_lr(lr: ArrayLike, momentum: ArrayLike) -> Elementwise:
    r"""Effective step size :math:`\eta / (1 - \beta)`: how far a constant gradient moves the weight in one step.

    Args:
        lr: step size :math:`\eta \ge 0`.
        momentum: :math:`\beta \in [0, 1)`.

    Returns:
        The effective step size, float64.

    Raises:
        ValueError: if an argument is out of its range.

    Examples:
        >>> print(effective_lr(0.25, 0.75))
        1.0
    """
    return checks.numbers("lr", lr, "[0, inf)") / (
        1.0 - checks.numbers("momentum", momentum, "[0, 1)")
    )


def is_stable(lr: ArrayLike, momentum: ArrayLike, curvature: ArrayLike) -> Elementwise:
    r"""Whether the mode forgets where it began: :math:`0 < \eta h < 2 (1 + \beta)`.

    Exactly then both characteristic roots lie inside the unit circle. A flat mode (:math:`\eta h = 0`) is not stable
    in this sense: it keeps its place, and noise makes it wander.

    Args:
        lr: step size :math:`\eta \ge 0`.
        momentum: :math:`\beta \in [0, 1)`.
        curvature: :math:`h \ge 0`.

    Returns:
        bool.

    Raises:
        ValueError: if an argument is out of its range.

    Examples:
        >>> is_stable(1.0, [0.0, 0.5], 2.5)
        array([False,  True])
    """
    return _gap(*_mode(lr, momentum, curvature)) > 0


def characteristic_roots(
    lr: ArrayLike, momentum: ArrayLike, curvature: ArrayLike
) -> NDArray[np.complex128]:
    r"""The roots of :math:`r^2 - (1 + \beta - \eta h) r + \beta`; the mean weight is a sum of their powers.

    With :math:`a = \eta h - (1 - \sqrt\beta)^2` and :math:`b = (1 + \sqrt\beta)^2 - \eta h` the roots are
    :math:`((\sqrt b \pm \sqrt{-a})/2)^2`. Underdamped (:math:`a, b > 0`) they are
    :math:`\sqrt\beta\, e^{\pm i \theta}` with :math:`\tan(\theta/2) = \sqrt{a/b}`; otherwise they are real and the
    smaller one is :math:`\beta` over the larger. None of these cancels, not even for :math:`\beta \to 1` with
    :math:`\eta h \to 0`, where the discriminant of the polynomial's coefficients has no correct digit.

    Args:
        lr: step size :math:`\eta \ge 0`.
        momentum: :math:`\beta \in [0, 1)`.
        curvature: :math:`h \ge 0`.

    Returns:
        complex128, the broadcast shape with a last axis of length 2 appended: a complex pair with the positive
        imaginary part first, or two real roots with the one of larger modulus first.

    Raises:
        ValueError: if an argument is out of its range.

    Examples:
        >>> characteristic_roots(0.5, 0.0, 1.0)
        array([0.5+0.j, 0. +0.j])
        >>> characteristic_roots(1.0, 0.25, 1.25).imag
        array([ 0.5, -0.5])
    """
    step, beta = np.broadcast_arrays(*_mode(lr, momentum, curvature))
    root = np.sqrt(beta)
    a = step - _border(beta)
    b = (1.0 + root) ** 2 - step
    angle = 2.0 * np.arctan2(np.sqrt(np.maximum(a, 0.0)), np.sqrt(np.maximum(b, 0.0)))
    pair = root * np.exp(1j * angle)
    modulus = np.maximum((0.5 * (np.sqrt(np.abs(a)) + np.sqrt(np.abs(b)))) ** 2, root)
    larger = np.where(a > 0, -modulus, modulus)
    smaller = np.divide(beta, larger, out=np.zeros_like(larger), where=larger != 0)
    underdamped = (a > 0) & (b > 0)
    return np.stack(
        [np.where(underdamped, pair, larger), np.where(underdamped, pair.conj(), smaller)], axis=-1
    )


def critical_momentum(lr: ArrayLike, curvature: ArrayLike) -> Elementwise:
    r"""Momentum at the border between over- and underdamped: :math:`(1 - \sqrt{\eta h})^2`.

    Below it both roots are real, above it they are a complex pair. As :math:`\eta h \to 0` the border is
    :math:`1 - \beta \approx 2 \sqrt{\eta h}`. For :math:`\eta h > 1` the real roots are negative (the overdamped mode
    flips its sign at each step), and from :math:`\eta h = 4` on, where no momentum is stable, the value is 1 or more.

    Args:
        lr: step size :math:`\eta \ge 0`.
        curvature: :math:`h \ge 0`.

    Returns:
        The border, float64.

    Raises:
        ValueError: if an argument is out of its range.

    Examples:
        >>> print(critical_momentum(0.01, 1.0))
        0.81
    """
    step, _ = _mode(lr, 0.0, curvature)
    return (1.0 - np.sqrt(step)) ** 2


def relaxation_time(lr: ArrayLike, momentum: ArrayLike, curvature: ArrayLike) -> Elementwise:
    r"""Steps in which the amplitude of the mode falls by :math:`e`: :math:`-1 / \log \max |r|`.

    Underdamped it is :math:`-2/\log\beta \approx 2/(1-\beta)` whatever the curvature; strongly overdamped it is
    :math:`(1-\beta)/(\eta h)`, one over the effective step times the curvature. Second moments relax in half of it:
    in the underdamped case that is the :math:`\tau_1 = \Theta(1/(1-\beta))` of Cowsik et al. (2022), section 1.1.

    Args:
        lr: step size :math:`\eta \ge 0`.
        momentum: :math:`\beta \in [0, 1)`.
        curvature: :math:`h \ge 0`.

    Returns:
        Time in steps, float64; infinite where the mode is not stable, 0 where it is gone at once
        (:math:`\beta = 0`, :math:`\eta h = 1`).

    Raises:
        ValueError: if an argument is out of its range.

    Examples:
        >>> print(relaxation_time(0.1, 0.98, 1.0).round(3))
        98.997
        >>> print(relaxation_time(1e-3, 0.5, 1.0).round(3))
        498.496
    """
    step, beta = _mode(lr, momentum, curvature)
    # The moduli are the same at step size x and at 2(1+beta) - x, so both ends of the stable range are one case.
    # With r = 1 - s the slow root solves s^2 - (1 - beta + x) s + x = 0: no digit of 1 - r is lost.
    gap = np.maximum(np.minimum(step, _gap(step, beta)), 0.0)
    border = _border(beta)
    spread = np.sqrt(
        np.maximum(border - gap, 0.0) * np.maximum((1.0 + np.sqrt(beta)) ** 2 - gap, 0.0)
    )
    slow = 2.0 * gap / (1.0 - beta + gap + spread)
    with np.errstate(divide="ignore", invalid="ignore"):
        time = np.where(gap < border, -1.0 / np.log1p(-slow), -2.0 / np.log(beta))
    return np.where(gap > 0, time, np.inf)[()]


def stationary_variance(
    lr: ArrayLike, momentum: ArrayLike, curvature: ArrayLike, noise_variance: ArrayLike
) -> Elementwise:
    r"""Exact stationary variance of the weight, for gradient noise of variance :math:`\sigma^2`.

    .. math:: S = \frac{\eta \sigma^2 (1 + \beta)}{h (1 - \beta) (2 (1 + \beta) - \eta h)}
        \approx \frac{\eta \sigma^2}{2 h (1 - \beta)}.

    It follows from the linear equations of the stationary second moments; the steady state of Theorem 1 of Zhang et
    al. (2019) is :math:`h S / 2` with :math:`\sigma^2 = c/B`. With noise of covariance :math:`\varepsilon^2 a H`, as
    label noise has near a manifold of minimisers, :math:`\sigma^2 = \varepsilon^2 a h`, and to leading order every
    transverse mode has the same variance :math:`\varepsilon^2 a \eta / (2 (1 - \beta))`.

    Args:
        lr: step size :math:`\eta \ge 0`.
        momentum: :math:`\beta \in [0, 1)`.
        curvature: :math:`h \ge 0`.
        noise_variance: :math:`\sigma^2 \ge 0` of the gradient.

    Returns:
        The variance, float64; infinite exactly where the mode is not stable (also for :math:`\eta h = 0`, and
        without noise), because there is no stationary law then to which the weight goes.

    Raises:
        ValueError: if an argument is out of its range.

    Examples:
        >>> print(stationary_variance(0.5, 0.0, 1.0, 3.0))
        1.0
        >>> stationary_variance(0.1, 0.9, [0.0, 1.0, 38.0], 1.0).round(4)
        array([   inf, 0.5135,    inf])
    """
    step, beta = _mode(lr, momentum, curvature)
    noise = checks.numbers("noise_variance", noise_variance, "[0, inf)")
    gap = _gap(step, beta)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        variance = effective_lr(lr, beta) * noise * (1.0 + beta) / (np.asarray(curvature) * gap)
    return np.where(gap > 0, variance, np.inf)[()]


def drift_prefactor(
    lr: ArrayLike, momentum: ArrayLike, noise_variance_per_curvature: ArrayLike
) -> Elementwise:
    r"""Speed of the drift along a manifold of minimisers, to leading order in the step size.

    With gradient noise of covariance :math:`\varepsilon^2 a H` the weights drift, per step and on average, by

    .. math:: \begin{aligned}
        &-\frac{(\eta\varepsilon)^2 a}{4 (1 - \beta)^2} \, P_L \nabla \operatorname{Tr} H \\
        &\quad = -\frac{\eta}{1-\beta} \cdot \frac{S}{2} \, P_L \nabla \operatorname{Tr} H,
        \end{aligned}

    :math:`P_L` the projection onto the manifold's tangent space and :math:`S` the transverse variance of every mode.
    This function is the factor of :math:`-P_L \nabla \operatorname{Tr} H`. It depends on the effective step alone,
    and holds for transverse modes that relax much faster than the weights drift.

    Args:
        lr: step size :math:`\eta \ge 0`.
        momentum: :math:`\beta \in [0, 1)`.
        noise_variance_per_curvature: :math:`\varepsilon^2 a \ge 0`.

    Returns:
        The factor, float64.

    Raises:
        ValueError: if an argument is out of its range.

    Examples:
        >>> print(drift_prefactor(0.25, 0.75, 4.0))
        1.0
    """
    noise = checks.numbers("noise_variance_per_curvature", noise_variance_per_curvature, "[0, inf)")
    return effective_lr(lr, momentum) ** 2 * noise / 4.0


def _mode(
    lr: ArrayLike, momentum: ArrayLike, curvature: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The two numbers that decide how a mode moves: the step in units of the curvature, and the momentum."""
    rate = checks.numbers("lr", lr, "[0, inf)")
    beta = checks.numbers("momentum", momentum, "[0, 1)")
    with np.errstate(over="ignore"):
        return rate * checks.numbers("curvature", curvature, "[0, inf)"), beta


def _gap(step: NDArray[np.float64], beta: NDArray[np.float64]) -> Any:
    """Distance below the upper stability edge; 0 for a flat mode, which is not stable either."""
    return np.where(step > 0, 2.0 * (1.0 + beta) - step, 0.0)[()]


def _border(beta: NDArray[np.float64]) -> Any:
    """The step (1 - sqrt(beta))^2 at which the roots meet, without the cancellation."""
    return ((1.0 - beta) / (1.0 + np.sqrt(beta))) ** 2
