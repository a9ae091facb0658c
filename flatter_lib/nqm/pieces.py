r"""Step sizes that stay constant over pieces of a training: the exact risk, and the derivatives of that.

In one mode the weight and its buffer, :math:`z = (\theta, m)`, move as :math:`z_{t+1} = A z_t + \kappa \xi_t` with

.. math:: A = \begin{pmatrix} 1 - \alpha h & -\alpha\beta \\ h & \beta \end{pmatrix}, \qquad
    \kappa = \begin{pmatrix} -\alpha \\ 1 \end{pmatrix}, \qquad \operatorname{Var} \xi_t = c / B,

which is equation (5) of Zhang et al. (2019). A piece of n steps takes the second moments :math:`M = E[z z^\top]` to
:math:`A^n M (A^n)^\top + (c/B)\, W_n` with :math:`W_n = \sum_{k<n} A^k \kappa\kappa^\top (A^k)^\top`, and
:math:`W_{m+n} = W_m + A^m W_n (A^m)^\top`, so that any n costs its binary digits. The buffer is handed on from piece
to piece as it is, which is what PyTorch does when a scheduler changes the learning rate. Without momentum the weight
moves alone, as in equation (3), and a piece has a closed form:

.. math:: E[\theta^2] \mapsto \rho\, E[\theta^2] + \frac{\alpha^2 c}{B} G, \qquad \rho = (1 - \alpha h)^{2n}, \quad
    G = \sum_{k<n} (1 - \alpha h)^{2k} = \frac{1 - \rho}{\alpha h (2 - \alpha h)} .

Derivatives by the step size and by the momentum go forwards within a piece and backwards through the pieces; both are
exact.

Here a matrix is its four entries, row by row, and a symmetric one its entries 11, 12 and 22.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flatter_lib.checks import Floats
from flatter_lib.compiled import inner, kernel
from flatter_lib.nqm.exact import Modes

Matrix = tuple[float, float, float, float]
Symmetric = tuple[float, float, float]


def risks_of_pieces(
    modes: Modes, batch: float, lengths: NDArray[np.int64], rates: Floats, momentum: float
) -> tuple[Floats, Floats, float]:
    """The risk at the start and after each piece, and the derivatives of the last.

    Args:
        modes: the modes of the model.
        batch: the batch size.
        lengths: (pieces,) steps in each piece.
        rates: (pieces,) step size in each piece.
        momentum: that of every piece.

    Returns:
        (pieces + 1,) risks; (pieces,) derivatives of the last of them by the rates; its derivative by the momentum,
        NaN where there is none.
    """
    risks, gradient = np.zeros(rates.size + 1), np.zeros(rates.size + 1)
    arrays = modes.curvature, modes.noise, modes.weight
    _add_risks(*arrays, lengths, np.asarray(rates), momentum, batch, risks, gradient)
    return risks, gradient[:-1], float(gradient[-1]) if momentum else np.nan


@kernel
def _add_risks(
    curvature: Floats,
    noise: Floats,
    weight: Floats,
    lengths: NDArray[np.int64],
    rates: Floats,
    momentum: float,
    batch: float,
    risks: Floats,
    gradient: Floats,
) -> None:
    """Add up the risks, and the derivatives of the last by the rates and, at the end, by the momentum."""
    pieces = rates.size
    # What a piece does: its power and its noise, and of each the derivatives by the rate and by the momentum.
    powers, noises = np.empty((3, pieces, 4)), np.empty((3, pieces, 3))
    moments, plain = np.empty((pieces + 1, 3)), np.empty((5, pieces + 1))
    for m in range(curvature.size):
        v = noise[m] / batch
        if momentum == 0.0:
            plain[4, 0] = weight[m]
            _add_plain_risks(curvature[m], v, lengths, rates, plain, risks, gradient)
            continue
        moments[0, 0], moments[0, 1], moments[0, 2] = weight[m], 0.0, 0.0
        risks[0] += weight[m]
        for k in range(pieces):
            _piece(curvature[m], rates[k], momentum, lengths[k], powers[:, k], noises[:, k])
            now = _between(_entries(powers[0, k]), _three(moments[k]))
            for i in range(3):
                moments[k + 1, i] = now[i] + v * noises[0, k, i]
            risks[k + 1] += moments[k + 1, 0]
        # The derivatives of the last risk by E[ww], 2 E[wm] and E[mm], backwards.
        by = (1.0, 0.0, 0.0)
        for k in range(pieces - 1, -1, -1):
            step, before = _entries(powers[0, k]), _three(moments[k])
            for way in range(1, 3):
                change = _bent(_entries(powers[way, k]), step, before)
                slope = by[0] * (change[0] + v * noises[way, k, 0])
                slope += 2.0 * by[1] * (change[1] + v * noises[way, k, 1])
                slope += by[2] * (change[2] + v * noises[way, k, 2])
                gradient[k if way == 1 else pieces] += slope
            by = _between((step[0], step[2], step[1], step[3]), by)


@inner
def _add_plain_risks(
    h: float,
    v: float,
    lengths: NDArray[np.int64],
    rates: Floats,
    found: Floats,
    risks: Floats,
    gradient: Floats,
) -> None:
    """The same of one mode without momentum; the last row of what is found begins with its E[ww]."""
    power, by_rate, noise, noise_by_rate, moment = found
    risks[0] += moment[0]
    for k in range(rates.size):
        power[k], by_rate[k], noise[k], noise_by_rate[k] = _plain_piece(h, rates[k], lengths[k])
        moment[k + 1] = power[k] * power[k] * moment[k] + v * noise[k]
        risks[k + 1] += moment[k + 1]
    onward = 1.0
    for k in range(rates.size - 1, -1, -1):
        gradient[k] += onward * (2.0 * power[k] * by_rate[k] * moment[k] + v * noise_by_rate[k])
        onward *= power[k] * power[k]


@inner
def _piece(h: float, rate: float, beta: float, steps: int, powers: Floats, noises: Floats) -> None:
    """Write A^n and W_n of a piece, each with its derivatives by rate and momentum, by its binary digits."""
    step = (1.0 - rate * h, -rate * beta, h, beta)
    by_rate, by_beta = (-h, -beta, 0.0, 0.0), (0.0, -rate, 0.0, 1.0)
    kick, kick_by_rate, kick_by_beta = (
        (rate * rate, -rate, 1.0),
        (2.0 * rate, -1.0, 0.0),
        (0.0, 0.0, 0.0),
    )
    power, power_by_rate, power_by_beta = (
        (1.0, 0.0, 0.0, 1.0),
        (0.0, 0.0, 0.0, 0.0),
        (0.0, 0.0, 0.0, 0.0),
    )
    sum_, sum_by_rate, sum_by_beta = (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)
    left = steps
    while left > 0:
        if left & 1:
            sum_by_rate = _after(sum_by_rate, power, kick_by_rate, power_by_rate, kick)
            sum_by_beta = _after(sum_by_beta, power, kick_by_beta, power_by_beta, kick)
            sum_ = _sum(sum_, _between(power, kick))
            power_by_rate = _product_by(power_by_rate, power, step, by_rate)
            power_by_beta = _product_by(power_by_beta, power, step, by_beta)
            power = _product(power, step)
        left >>= 1
        if left > 0:
            kick_by_rate = _after(kick_by_rate, step, kick_by_rate, by_rate, kick)
            kick_by_beta = _after(kick_by_beta, step, kick_by_beta, by_beta, kick)
            kick = _sum(kick, _between(step, kick))
            by_rate = _product_by(by_rate, step, step, by_rate)
            by_beta = _product_by(by_beta, step, step, by_beta)
            step = _product(step, step)
    for i in range(4):
        powers[0, i], powers[1, i], powers[2, i] = power[i], power_by_rate[i], power_by_beta[i]
    for i in range(3):
        noises[0, i], noises[1, i], noises[2, i] = sum_[i], sum_by_rate[i], sum_by_beta[i]


@inner
def _plain_piece(h: float, rate: float, steps: int) -> tuple[float, float, float, float]:
    """Without momentum: the entries 11 of A^n and W_n, each before its derivative by the rate; no other is needed."""
    x, n = rate * h, float(steps)
    root, fall = 1.0 - x, x * (2.0 - x)
    # At x = 1 a step ends it all, but no step does not.
    logarithm = n * (np.log1p(-x) if x < 1.0 else np.log1p(x - 2.0)) if n else 0.0
    power = np.exp(logarithm)
    slope = -n * h * power / root if root != 0.0 else 0.0
    gain = -np.expm1(2.0 * logarithm) / fall if fall != 0.0 else n
    if abs(fall) * n < 1e-6:
        bend = h * n * (n - 1.0) * (1.0 if x > 1.0 else -1.0)
    else:
        bend = -2.0 * (slope * power + h * root * gain) / fall
    return power, slope, rate * rate * gain, rate * (2.0 * gain + rate * bend)


@inner
def _entries(row: Floats) -> Matrix:
    return row[0], row[1], row[2], row[3]


@inner
def _three(row: Floats) -> Symmetric:
    return row[0], row[1], row[2]


@inner
def _sum(one: Symmetric, other: Symmetric) -> Symmetric:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2]


@inner
def _product(a: Matrix, b: Matrix) -> Matrix:
    return (
        a[0] * b[0] + a[1] * b[2],
        a[0] * b[1] + a[1] * b[3],
        a[2] * b[0] + a[3] * b[2],
        a[2] * b[1] + a[3] * b[3],
    )


@inner
def _product_by(change: Matrix, a: Matrix, b: Matrix, other: Matrix) -> Matrix:
    """The derivative of a b from those of a, ``change``, and of b, ``other``."""
    one, two = _product(change, b), _product(a, other)
    return one[0] + two[0], one[1] + two[1], one[2] + two[2], one[3] + two[3]


@inner
def _between(a: Matrix, w: Symmetric) -> Symmetric:
    """The second moments w, moved by a: a w a^T."""
    first, second = a[0] * w[0] + a[1] * w[1], a[0] * w[1] + a[1] * w[2]
    third, fourth = a[2] * w[0] + a[3] * w[1], a[2] * w[1] + a[3] * w[2]
    return (
        first * a[0] + second * a[1],
        first * a[2] + second * a[3],
        third * a[2] + fourth * a[3],
    )


@inner
def _bent(change: Matrix, a: Matrix, w: Symmetric) -> Symmetric:
    """The derivative of a w a^T by what changes a: change w a^T and its transpose."""
    first, second = change[0] * w[0] + change[1] * w[1], change[0] * w[1] + change[1] * w[2]
    third, fourth = change[2] * w[0] + change[3] * w[1], change[2] * w[1] + change[3] * w[2]
    return (
        2.0 * (first * a[0] + second * a[1]),
        first * a[2] + second * a[3] + third * a[0] + fourth * a[1],
        2.0 * (third * a[2] + fourth * a[3]),
    )


@inner
def _after(
    so_far: Symmetric, a: Matrix, kicks: Symmetric, change: Matrix, w: Symmetric
) -> Symmetric:
    """The derivative of a sum to which a w a^T is added: of w it is ``kicks``, of a it is ``change``."""
    return _sum(so_far, _sum(_bent(change, a, w), _between(a, kicks)))
