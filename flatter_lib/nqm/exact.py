r"""The exact expected risk of the noisy quadratic model after any number of steps."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flatter_lib import checks
from flatter_lib.checks import Floats
from flatter_lib.compiled import inner, kernel
from flatter_lib.nqm.powers import (
    MODE_ROWS,
    POWER_ROWS,
    STATE_ROWS,
    advance,
    at_rest,
    decays,
    first_power,
    remaining,
    remaining_without_phase,
    square,
)
from flatter_lib.nqm.spectrum import NoisyQuadratic

#: A NumPy scalar for scalar arguments, otherwise an array of their broadcast shape (typed as NumPy types its ufuncs).
Elementwise: TypeAlias = Any

#: What the arguments that describe an optimizer may be; an infinite batch leaves no noise.
RANGES = {
    "target": "(0, inf)",
    "lr": "[0, inf)",
    "batch_size": "(0, inf]",
    "momentum": "[0, 1)",
    "averaging": "[0, 1)",
    "preconditioning": "[0, 1]",
}
#: So many modes at a time, all of whose powers stay in the processor's cache.
BLOCK = 256


def risk(
    model: NoisyQuadratic,
    steps: ArrayLike,
    lr: ArrayLike,
    batch_size: ArrayLike,
    momentum: ArrayLike = 0.0,
    averaging: ArrayLike = 0.0,
    preconditioning: ArrayLike = 0.0,
) -> Elementwise:
    r"""Exact expected risk :math:`E[L]` after a number of steps, for every setting, stable or not.

    The update is heavy ball from rest, preconditioned by :math:`P = H^p`, and the risk is that of its running average:

    .. math:: \begin{aligned}
        m_{t+1} &= \beta m_t + P^{-1} g_B(\theta_t), \\
        \theta_{t+1} &= \theta_t - \alpha m_{t+1}, \\
        \tilde\theta_{t+1} &= \gamma \tilde\theta_t + (1 - \gamma) \theta_{t+1},
        \end{aligned}

    with :math:`m_0 = 0` and :math:`\tilde\theta_0 = \theta_0`. These are equations (2), (5), (8) and (11) of Zhang et
    al. (2019, arXiv:1907.04164): plain SGD is :math:`\beta = \gamma = 0`, and :math:`\gamma = 0` averages nothing.
    Where the paper bounds the risk from above (equations 6 and 12), this is the risk itself,

    .. math:: \begin{aligned}
        E[L(\tilde\theta_t)] &= \tfrac12 \sum_i m_i h_i V_i, \\
        V_i &= D_i(t)^2\, E[\theta_i(0)^2] \\
        &\quad + \frac{\alpha^2 h_i^{-2p} c_i}{B} \sum_{k=1}^t u_i(k)^2,
        \end{aligned}

    :math:`D_i(t)` being what is left of a weight of 1 without noise, and :math:`u_i(k)` what is left of a kick k steps
    later; with momentum alone :math:`u(k) = (r_1^k - r_2^k)/(r_1 - r_2)` and :math:`D(t) = u(t+1) - \beta u(t)`. The
    sums are evaluated in about :math:`\log_2 t` exact doublings, which lose no digit where the closed forms do: at
    critical damping, for momentum and averaging close to 1, and for any number of steps.

    Args:
        model: the model.
        steps: :math:`t`, whole numbers from 0 (the initial risk) to 2**53.
        lr: :math:`\alpha \ge 0`.
        batch_size: :math:`B > 0`; inf leaves no noise.
        momentum: :math:`\beta \in [0, 1)`.
        averaging: :math:`\gamma \in [0, 1)`, the coefficient of equation (11).
        preconditioning: :math:`p \in [0, 1]`.

    Returns:
        The risk, float64, of the broadcast shape of all arguments; inf only where it exceeds the largest float.

    Raises:
        ValueError: if an argument is out of its range.

    Examples:
        >>> model = NoisyQuadratic(curvature=[1.0], noise=[1.0])
        >>> print(risk(model, steps=[0, 1, 1_000_000_000], lr=0.5, batch_size=1))
        [0.5        0.25       0.16666667]
        >>> print(risk(model, 3, lr=0.5, batch_size=[1.0, float("inf")], momentum=0.25))
        [0.20800781 0.00048828]
    """
    shape, (count, rate, batch, beta, gamma, power) = flat(
        steps=steps,
        lr=lr,
        batch_size=batch_size,
        momentum=momentum,
        averaging=averaging,
        preconditioning=preconditioning,
    )
    result = np.empty(count.size)
    for p in np.unique(power):
        chosen = np.flatnonzero(power == p)
        # Neighbours that differ in their steps alone share the powers of their matrices.
        chosen = chosen[np.lexsort([a[chosen] for a in (count, rate, batch, beta, gamma)])]
        result[chosen] = Modes(model.preconditioned(float(p))).risk(
            count[chosen], rate[chosen], batch[chosen], beta[chosen], gamma[chosen]
        )
    return result.reshape(shape)[()]


def flat(**arguments: ArrayLike) -> tuple[tuple[int, ...], list[NDArray[Any]]]:
    """Arguments, checked: the shape that they broadcast to, and each as one axis of that many.

    Raises:
        ValueError: if one is out of its range, or the shapes do not broadcast.
    """
    checked: dict[str, NDArray[Any]] = {
        name: checks.counts(name, value)
        if name == "steps"
        else checks.numbers(name, value, RANGES[name])
        for name, value in arguments.items()
    }
    together = checks.together(**checked)
    return together[0].shape, [np.ravel(array) for array in together]


class Modes:
    """The modes of a model that carry risk, laid out for the compiled loops.

    Args:
        model: the model for plain steps, its preconditioning already done.

    Attributes:
        curvature: of each mode.
        noise: the risk that a unit of the weight's variance means, times the gradient noise.
        weight: the risk with which each mode begins.
    """

    def __init__(self, model: NoisyQuadratic) -> None:
        share = 0.5 * model.multiplicity * model.curvature
        noise, weight = share * model.noise, share * model.initial
        # Elsewhere an overflow times 0 would be no number.
        kept = (noise > 0) | (weight > 0)
        self.curvature, self.noise, self.weight = model.curvature[kept], noise[kept], weight[kept]

    def risk(
        self,
        steps: NDArray[np.int64],
        lr: Floats,
        batch: Floats,
        beta: Floats,
        gamma: Floats,
        blur: float = 0.0,
    ) -> Floats:
        """The risk of each of several settings; those that differ in their steps alone stand in order of these.

        With ``blur``, the risk on average over frequencies that differ by that share; not for averages.
        """
        result = np.zeros(steps.size)
        arrays = self.curvature, self.noise, self.weight
        _risks(*arrays, steps, lr, batch, beta, gamma, blur, result)
        return result


@kernel
def _risks(
    curvature: Floats,
    noise: Floats,
    weight: Floats,
    steps: NDArray[np.int64],
    lr: Floats,
    batch: Floats,
    beta: Floats,
    gamma: Floats,
    blur: float,
    result: Floats,
) -> None:
    """Add the risk of each setting to ``result``."""
    most = 1
    # Not a literal, for which every function called with it would be compiled once more.
    none: Any = np.int64(0)
    for k in range(steps.size):
        most = max(most, level_of(steps[k]) + 1)
    width = min(curvature.size, BLOCK)
    power, modes = np.empty((most, POWER_ROWS, width)), np.empty((MODE_ROWS, width))
    state, onward = np.empty((STATE_ROWS, width)), np.empty((STATE_ROWS, width))
    decay, shrink = np.empty(most), np.empty(most)
    first = 0
    while first < steps.size:
        last = first
        while (
            last + 1 < steps.size
            and lr[last + 1] == lr[first]
            and batch[last + 1] == batch[first]
            and beta[last + 1] == beta[first]
            and gamma[last + 1] == gamma[first]
        ):
            last += 1
        decays(gamma[first], decay)
        decays(beta[first], shrink)
        for low in range(0, curvature.size, BLOCK):
            high = min(low + BLOCK, curvature.size)
            first_power(
                curvature[low:high],
                noise[low:high],
                lr[first],
                batch[first],
                beta[first],
                gamma[first],
                power[0],
                modes,
            )
            for level in range(level_of(steps[last])):
                square(
                    decay[level] if gamma[first] > 0.0 else -1.0,
                    shrink[level + 1],
                    power[level],
                    modes,
                    high - low,
                    power[level + 1],
                )
            for k in range(first, last + 1):
                result[k] += risk_of_some(
                    steps[k],
                    power,
                    modes,
                    decay,
                    weight[low:high],
                    none,
                    high - low,
                    blur,
                    state,
                    onward,
                )
        for k in range(first, last + 1):
            result[k] = finite_or_inf(result[k])
        first = last + 1


@inner
def level_of(steps: int) -> int:
    """The largest power of two that fits into a number of steps; 0 for none."""
    level = 0
    while steps >> (level + 1):
        level += 1
    return level


@inner
def finite_or_inf(value: float) -> float:
    """The value; inf where an overflow has left no number."""
    return value if value < np.inf else np.inf


@inner
def risk_of_some(
    steps: int,
    power: Floats,
    modes: Floats,
    decay: Floats,
    weight: Floats,
    low: int,
    high: int,
    blur: float,
    state: Floats,
    onward: Floats,
) -> float:
    """The risk in the modes from ``low`` to ``high``, from the powers of 1, 2, 4, ... steps."""
    g, variance = at_rest(decay[0], state, low, high), 0.0
    for level in range(level_of(steps), -1, -1):
        if (steps >> level) & 1:
            variance += advance(g, state, power[level], modes, low, high, onward)
            g *= decay[level]
            state, onward = onward, state
    if blur > 0.0:
        return variance + remaining_without_phase(
            steps, blur, power[0], state, modes, weight, low, high
        )
    return variance + remaining(g, state, modes, weight, low, high)
