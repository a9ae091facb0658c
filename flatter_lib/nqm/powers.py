r"""Exact second moments of averaged heavy ball after any number of steps, by doubling.

**The system.** One mode of curvature :math:`h`, momentum :math:`\beta`, averaging :math:`\gamma` and step
:math:`x = \alpha h` moves as :math:`s_{t+1} = A s_t + \kappa \xi_t` with three numbers of state. The first is the
averaged weight, the other two are heavy ball in coordinates in which its matrix is

.. math:: \begin{pmatrix} a & b \\ \ell b & d \end{pmatrix}, \qquad
    \text{at first } \begin{pmatrix} r_1 & 1 \\ 0 & r_2 \end{pmatrix} \text{ (real roots)} \quad\text{or}\quad
    \begin{pmatrix} \rho\cos\phi & 1 \\ -\rho^2\sin^2\phi & \rho\cos\phi \end{pmatrix} \text{ (complex roots)},

so that :math:`b_n = (r_1^n - r_2^n)/(r_1 - r_2)` without the division. The average adds a row,
:math:`\gamma` and :math:`(1-\gamma)` times the first row of heavy ball:

.. math:: A = \begin{pmatrix} g & p & q \\ 0 & a & b \\ 0 & \ell b & d \end{pmatrix}.

With :math:`\gamma = 0` the average is the iterate itself and the first row and column are left out; with
:math:`\beta = 0` heavy ball is plain SGD.

**The recursion.** With :math:`W_n = \sum_{k<n} A^k \kappa \kappa^\top (A^k)^\top`,

.. math:: A_{2n} = A_n A_n, \quad W_{2n} = W_n + A_n W_n A_n^\top, \qquad
    e_1^\top A_{m+n} = (e_1^\top A_m) A_n, \quad T_{m+n} = T_m + (e_1^\top A_m) W_n (e_1^\top A_m)^\top,

where :math:`T_n` is the variance that noise has given the average after n steps. This is Theorem 1 and Theorem 2 of
Zhang et al. (2019) before their sums are let run to infinity.

**Why not the sums of geometric series.** Written out, :math:`T_n` is three geometric series over
:math:`(r_1 - r_2)^2`. Near critical damping both vanish, for small steps the denominators :math:`1 - r^2` do, and for
momentum near 1 everything does: each place needs its own expansion. Here, with positive roots, every sum has only
positive terms, and with complex ones it is a sum of squares: nothing cancels, no place is special, and the error after
n steps is that of :math:`\log_2 n` operations. What would double at each doubling is the error of
:math:`r^n = 1 - \varepsilon_n` for a root near 1; carrying :math:`\varepsilon_{2n} = \varepsilon_n (2 - \varepsilon_n)`
beside it until it reaches one half avoids that. For complex roots the phase :math:`n\phi` is known to
:math:`n \phi` units of rounding, as the inputs determine it no better.

A product past the largest float is inf, and inf times 0 is NaN; both mean that the risk has overflowed.
"""

from __future__ import annotations

import numpy as np

from flatter_lib.checks import Floats
from flatter_lib.compiled import inner

#: Rows of a power A_n, W_n of many modes; what is not here follows from it. The first of them belong to heavy ball, the
#: last, from P on, to its average, and are unused where nothing is averaged.
A, B, D, W11, W12, W22, P, Q, W00, W01, W02 = range(11)
POWER_ROWS = 11
#: Rows of what belongs to the modes themselves: the last component of the initial state (1, 1, s), the ratio ell of
#: the two off-diagonal entries, and 1 - |a|, 1 - |d| of the latest power.
START, ELL, FAR_A, FAR_D = range(4)
MODE_ROWS = 4
#: A state is the first row (g, f, u) of a power, which the initial state turns into the average weight: g is one number
#: for all modes, f and u are rows. The third row is room to compute in. Without averaging it is heavy ball's first row,
#: and g is 0.
F, U, ROOM = range(3)
STATE_ROWS = 3
#: Larger steps times curvature count as this much: their risk overflows at the second step, their squares do not.
LARGEST_STEP = 1e150


@inner
def heavy_ball(x: float, beta: float) -> tuple[float, float, float, float, float, float]:
    r"""One step of heavy ball in one mode, each entry to a few units of rounding.

    Args:
        x: step size times curvature.
        beta: momentum, in (0, 1).

    Returns:
        a, ell and d of the matrix; 1 - \|a\| and 1 - \|d\|; and the second component of the initial state (1, s) of a
        weight of 1 at rest, for which the weight after one step, a + s, is 1 - x.
    """
    # 1 + beta - x and 1 - beta - x; the step itself or, where the roots are negative, 2 (1 + beta) - x, which has the
    # opposite roots; and how far that is above (1 - sqrt(beta))^2 and below (1 + sqrt(beta))^2, between which the
    # roots are complex. Each is put together from differences that are exact where they are small.
    short, root = 1.0 - beta, np.sqrt(beta)
    if beta < 0.5:
        trace, start = (1.0 - x) + beta, 0.5 * ((1.0 - x) - beta)
        y = x if trace >= 0.0 else (2.0 - x) + 2.0 * beta
        beyond = x - 1.0 if trace >= 0.0 else (1.0 - x) + 2.0 * beta
        above, below = beyond + root * (2.0 - root), root * (2.0 + root) - beyond
    else:
        trace, start = (2.0 - x) - short, 0.5 * (short - x)
        y = x if trace >= 0.0 else (4.0 - x) - 2.0 * short
        above, below = y - (short / (1.0 + root)) ** 2, (1.0 + root) ** 2 - y
    if above > 0.0:
        away = 0.5 * (short + y)
        return 0.5 * trace, -0.25 * above * below, 0.5 * trace, away, away, start
    # The distances 1 - |r| of both roots from the unit circle have the sum `both` and the product y.
    spread, both = np.sqrt(-above * below), short + y
    larger = 0.5 * (abs(trace) + spread)
    smaller = beta / larger
    if both >= 0.0:
        slow, fast = 2.0 * y / (both + spread), 0.5 * (both + spread)
    else:
        slow = 0.5 * (both - spread)
        fast = y / slow
    if trace >= 0.0:
        return larger, 0.0, smaller, slow, fast, smaller * slow
    return -larger, 0.0, -smaller, slow, fast, -smaller * (1.0 + larger)


@inner
def first_power(
    curvature: Floats,
    noise: Floats,
    lr: float,
    batch: float,
    beta: float,
    gamma: float,
    power: Floats,
    modes: Floats,
) -> None:
    """Write one step of some modes into ``power`` and what belongs to the modes into ``modes``."""
    keep = 1.0 - gamma
    for m in range(curvature.size):
        x = min(lr * curvature[m], LARGEST_STEP)
        if beta == 0.0:
            a, ell, d, start = 1.0 - x, 0.0, 0.0, 0.0
            far_a, far_d = min(x, 2.0 - x), 1.0
        else:
            a, ell, d, far_a, far_d, start = heavy_ball(x, beta)
        modes[START, m], modes[ELL, m] = start, ell
        modes[FAR_A, m], modes[FAR_D, m] = far_a, far_d
        # Noise of variance v enters along (1 - gamma, 1, d): a kick of the weight, after which heavy ball has a + d.
        v = noise[m] / batch * lr * lr
        power[A, m], power[B, m], power[D, m] = a, 1.0, d
        power[W11, m], power[W12, m], power[W22, m] = v, d * v, d * d * v
        if gamma > 0.0:
            power[P, m], power[Q, m] = keep * a, keep
            power[W00, m], power[W01, m], power[W02, m] = keep * keep * v, keep * v, keep * d * v


@inner
def square(
    g: float, shrunk: float, power: Floats, modes: Floats, count: int, doubled: Floats
) -> None:
    """Write the power of twice as many steps of the first ``count`` modes.

    ``g`` is gamma to the steps of ``power``, or negative where nothing is averaged, and ``shrunk`` is beta to the
    steps of ``doubled``.
    """
    if g >= 0.0:
        for m in range(count):
            p, q, a, b, d = power[P, m], power[Q, m], power[A, m], power[B, m], power[D, m]
            c = modes[ELL, m] * b
            w00, w01, w02 = power[W00, m], power[W01, m], power[W02, m]
            w11, w12, w22 = power[W11, m], power[W12, m], power[W22, m]
            # The first row times W, of which the product with each row of A is wanted.
            u0 = g * w00 + p * w01 + q * w02
            u1 = g * w01 + p * w11 + q * w12
            u2 = g * w02 + p * w12 + q * w22
            doubled[W00, m] = w00 + (g * u0 + p * u1 + q * u2)
            doubled[W01, m] = w01 + (a * u1 + b * u2)
            doubled[W02, m] = w02 + (c * u1 + d * u2)
            # With g close to 1 and a or d close to -1, as at the edge of stability, their sums are exact.
            doubled[P, m] = p * (g + a) + q * c
            doubled[Q, m] = q * (g + d) + p * b
    for m in range(count):
        a, b, d = power[A, m], power[B, m], power[D, m]
        c = modes[ELL, m] * b
        w11, w12, w22 = power[W11, m], power[W12, m], power[W22, m]
        y1, y2 = a * w11 + b * w12, a * w12 + b * w22
        z1, z2 = c * w11 + d * w12, c * w12 + d * w22
        doubled[W11, m] = w11 + (a * y1 + b * y2)
        doubled[W12, m] = w12 + (a * z1 + b * z2)
        doubled[W22, m] = w22 + (c * z1 + d * z2)
        twice = b * (a + d)
        a, modes[FAR_A, m] = _squared(a, modes[FAR_A, m], b * c)
        d, modes[FAR_D, m] = _squared(d, modes[FAR_D, m], b * c)
        # The determinant is beta to the steps. Once the phase has turned far, its error would double each time.
        scale = 1.0
        if modes[ELL, m] < 0.0 and modes[FAR_A, m] >= 0.5 and shrunk > 0.0:
            scale = 1.5 - 0.5 * (a * a - modes[ELL, m] * twice * twice) / shrunk
        doubled[A, m], doubled[B, m], doubled[D, m] = scale * a, scale * twice, scale * d


@inner
def _squared(entry: float, far: float, product: float) -> tuple[float, float]:
    """A diagonal entry of the square and its distance from 1, from the entry and its modulus's distance from 1."""
    away = far * (2.0 - far) - product
    if away < 0.5:
        return 1.0 - away, away
    value = entry * entry + product
    return value, 1.0 - value


@inner
def decays(coefficient: float, decay: Floats) -> None:
    """A coefficient to the powers 1, 2, 4, ..."""
    far = 1.0 - coefficient
    decay[0] = coefficient
    for level in range(1, decay.size):
        decay[level], far = _squared(decay[level - 1], far, 0.0)


@inner
def at_rest(gamma: float, state: Floats, low: int, high: int) -> float:
    """The state before the first step, and its g."""
    averaged = gamma > 0.0
    for m in range(low, high):
        state[F, m], state[U, m] = (0.0 if averaged else 1.0), 0.0
    return 1.0 if averaged else 0.0


@inner
def advance(
    g: float, state: Floats, power: Floats, modes: Floats, low: int, high: int, onward: Floats
) -> float:
    """Carry a state further by ``power``, and give the variance that adds."""
    for m in range(low, high):
        f, u, b = state[F, m], state[U, m], power[B, m]
        onward[ROOM, m] = f * (f * power[W11, m] + 2.0 * u * power[W12, m]) + u * (
            u * power[W22, m]
        )
        onward[F, m] = f * power[A, m] + u * (modes[ELL, m] * b)
        onward[U, m] = f * b + u * power[D, m]
    if g != 0.0:
        for m in range(low, high):
            f, u = state[F, m], state[U, m]
            onward[ROOM, m] += g * (
                g * power[W00, m] + 2.0 * (f * power[W01, m] + u * power[W02, m])
            )
            onward[F, m] += g * power[P, m]
            onward[U, m] += g * power[Q, m]
    return total(onward[ROOM], low, high)


@inner
def remaining(g: float, state: Floats, modes: Floats, weight: Floats, low: int, high: int) -> float:
    """What is left of the initial risk ``weight``: the part without noise, summed over modes."""
    for m in range(low, high):
        amplitude = g + state[F, m] + modes[START, m] * state[U, m]
        state[ROOM, m] = weight[m] * amplitude * amplitude
    return total(state[ROOM], low, high)


@inner
def remaining_without_phase(
    steps: int,
    blur: float,
    first: Floats,
    state: Floats,
    modes: Floats,
    weight: Floats,
    low: int,
    high: int,
) -> float:
    """What is left of the initial risk if each oscillation counts with its mean once its phase is beyond 1 / ``blur``.

    ``first`` is the power of one step. Not for averages.
    """
    for m in range(low, high):
        square_now = (state[F, m] + modes[START, m] * state[U, m]) ** 2
        if modes[ELL, m] < 0.0:
            sine = np.sqrt(-modes[ELL, m])
            modulus = state[F, m] ** 2 - modes[ELL, m] * state[U, m] ** 2
            mean = 0.5 * modulus * (1.0 + (modes[START, m] / sine) ** 2)
            # The fourth power, so that nothing jumps where a mode becomes complex.
            lost = -np.expm1(-((blur * steps * np.arctan2(sine, first[A, m])) ** 4))
            square_now = mean * lost + square_now * (1.0 - lost)
        state[ROOM, m] = weight[m] * square_now
    return total(state[ROOM], low, high)


@inner
def total(values: Floats, low: int, high: int) -> float:
    """A sum in an order of its own, in which four additions can be under way at a time."""
    s0, s1, s2, s3 = 0.0, 0.0, 0.0, 0.0
    m = low
    while m + 4 <= high:
        s0 += values[m]
        s1 += values[m + 1]
        s2 += values[m + 2]
        s3 += values[m + 3]
        m += 4
    while m < high:
        s0 += values[m]
        m += 1
    return (s0 + s1) + (s2 + s3)
