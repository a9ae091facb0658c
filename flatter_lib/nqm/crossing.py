r"""The first step at which the risk reaches a target.

The risk need not fall steadily: complex roots make it oscillate, noise makes it rise again after a dip, and a sum of
modes does both. What is monotone is the variance :math:`V(t)` that noise has brought in, because every step adds to
it. And what is left of one mode's start, :math:`D(t)^2`, is on any interval at least the smaller of its two ends:

* real roots of one sign: :math:`|D|` falls, or rises and then falls, or rises; and so does the average of a positive,
  falling :math:`D`;
* complex roots: between two zeros of :math:`D(t) = \rho^t \cos(t\phi - \psi)/\cos\psi` its logarithm is concave.

The average of a weight that changes its sign at each step is :math:`G \gamma^t \pm E(t)`: it is at least the distance
of the two, of which :math:`\gamma^t` falls and :math:`E` has its least value at an end. Otherwise 0 is a bound. So
:math:`V(m) + \sum_i w_i \min_{[m,n]} D_i^2` bounds the risk from below on :math:`(m, n]`, and rules most intervals out
at once. The search walks through (0, 1], (1, 2], (2, 4], ... and splits in two what the bound leaves open, the earlier
half first, so that no earlier crossing can be missed. It ends when V alone exceeds the target.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flatter_lib.checks import Floats
from flatter_lib.compiled import inner, kernel
from flatter_lib.nqm.exact import BLOCK, Elementwise, Modes, flat, level_of, risk_of_some
from flatter_lib.nqm.powers import (
    ELL,
    MODE_ROWS,
    POWER_ROWS,
    START,
    STATE_ROWS,
    W11,
    A,
    B,
    D,
    F,
    P,
    Q,
    U,
    advance,
    at_rest,
    decays,
    first_power,
    square,
)
from flatter_lib.nqm.spectrum import NoisyQuadratic

#: Powers of 1, 2, 4, ..., 2**53 steps, room for the states of the search, and two rows to compute in.
LEVELS = 54
SLOTS = LEVELS + 4
#: Rows of what bounds a mode between two steps: half turns of its phase a step, and their start; what share of it
#: falls as powers of gamma while the rest changes its sign at each step, and whether that rest is a single power.
RATE, PHASE, SHARE, SINGLE = range(4)
TURN_ROWS = 4
#: Intervals of at most 2**LEAF steps are walked through one by one.
LEAF = 4
#: Bounds and steps one by one carry rounding errors; what comes this close to the target is computed anew.
CLOSE = 1.0 + 1e-12


def steps_to_target(
    model: NoisyQuadratic,
    target: ArrayLike,
    lr: ArrayLike,
    batch_size: ArrayLike,
    momentum: ArrayLike = 0.0,
    averaging: ArrayLike = 0.0,
    preconditioning: ArrayLike = 0.0,
) -> Elementwise:
    r"""The first number of steps after which the exact risk is at or below a target.

    This is :math:`\min \{t \ge 0 : E[L(\tilde\theta_t)] \le \text{target}\}` with the risk of
    :func:`flatter_lib.nqm.risk`, also where the risk dips below the target and rises again. Settings that never reach
    it, unstable ones among them, take inf steps. The time is about :math:`\log t` evaluations of the risk, or
    proportional to the steps as long as fast oscillations alone keep the risk above the target.

    Args:
        model: the model.
        target: the risk to reach, positive.
        lr: :math:`\alpha \ge 0`.
        batch_size: :math:`B > 0`; inf leaves no noise.
        momentum: :math:`\beta \in [0, 1)`.
        averaging: :math:`\gamma \in [0, 1)`.
        preconditioning: :math:`p \in [0, 1]`.

    Returns:
        The number of steps as a float64, of the broadcast shape of all arguments; inf where the risk stays above the
        target for good, or for more than 2**53 steps.

    Raises:
        ValueError: if an argument is out of its range.

    Examples:
        >>> model = NoisyQuadratic(curvature=[1.0], noise=[1.0])
        >>> steps_to_target(model, target=0.01, lr=[0.5, 2.5], batch_size=1000)
        array([ 3., inf])
    """
    shape, (goal, rate, batch, beta, gamma, power) = flat(
        target=target,
        lr=lr,
        batch_size=batch_size,
        momentum=momentum,
        averaging=averaging,
        preconditioning=preconditioning,
    )
    result = np.empty(goal.size)
    for p in np.unique(power):
        chosen = np.flatnonzero(power == p)
        modes = Modes(model.preconditioned(float(p)))
        result[chosen] = first_crossings(
            modes, goal[chosen], rate[chosen], batch[chosen], beta[chosen], gamma[chosen]
        )
    return result.reshape(shape)[()]


def first_crossings(
    modes: Modes, target: Floats, lr: Floats, batch: Floats, beta: Floats, gamma: Floats
) -> Floats:
    """The first step at or below each target; inf if there is none."""
    result = np.empty(target.size)
    _first_crossings(
        modes.curvature, modes.noise, modes.weight, target, lr, batch, beta, gamma, result
    )
    return result


@kernel
def _first_crossings(
    curvature: Floats,
    noise: Floats,
    weight: Floats,
    target: Floats,
    lr: Floats,
    batch: Floats,
    beta: Floats,
    gamma: Floats,
    result: Floats,
) -> None:
    count = curvature.size
    power, decay = np.empty((LEVELS, POWER_ROWS, count)), np.empty(LEVELS)
    shrink = np.empty(LEVELS)
    modes, turns = np.empty((MODE_ROWS, count)), np.empty((TURN_ROWS, count))
    # Where the search has been: the step, the state there, its g, and the variance brought in. Slot 0 is where it
    # stands; the others are the ends of intervals still ahead, the nearest last.
    steps, states = np.empty(SLOTS, dtype=np.int64), np.empty((SLOTS, STATE_ROWS, count))
    averages, variances = np.empty(SLOTS), np.empty(SLOTS)
    # Not a literal, for which every function called with it would be compiled once more.
    none: Any = np.int64(0)
    for k in range(target.size):
        first_power(curvature, noise, lr[k], batch[k], beta[k], gamma[k], power[0], modes)
        decays(gamma[k], decay)
        decays(beta[k], shrink)
        _count_turns(beta[k], gamma[k], power[0], modes, turns)
        if _risk(none, power, modes, decay, weight, states) <= target[k]:
            result[k] = 0.0
            continue
        result[k] = np.inf
        averages[0] = at_rest(gamma[k], states[0], none, count)
        steps[0], variances[0] = 0, 0.0
        for level in range(LEVELS):
            if level:
                square(
                    decay[level - 1] if gamma[k] > 0.0 else -1.0,
                    shrink[level],
                    power[level - 1],
                    modes,
                    count,
                    power[level],
                )
            g = at_rest(gamma[k], states[2], none, count)
            variances[1] = advance(g, states[2], power[level], modes, none, count, states[1])
            steps[1], averages[1] = 1 << level, decay[level]
            crossing = _search(
                target[k],
                power,
                modes,
                turns,
                decay,
                weight,
                steps,
                states,
                averages,
                variances,
            )
            if crossing:
                result[k] = crossing
                break
            if variances[0] > target[k]:
                break


@inner
def _search(
    target: float,
    power: Floats,
    modes: Floats,
    turns: Floats,
    decay: Floats,
    weight: Floats,
    steps: NDArray[np.int64],
    states: Floats,
    averages: Floats,
    variances: Floats,
) -> int:
    """The first crossing after slot 0 and up to slot 1; 0 if there is none, and slot 0 has come to slot 1 then."""
    top = 1
    none: Any = np.int64(0)
    while top:
        bound = variances[0] + _least_remaining(
            steps[0],
            averages[0],
            states[0],
            steps[top],
            averages[top],
            states[top],
            modes,
            turns,
            weight,
        )
        # A bound that has overflowed may be no number, and is not below the target then.
        open_ = bound <= target * CLOSE
        level = level_of(steps[top] - steps[0])
        if open_ and bound * CLOSE > target and level > LEAF:
            # All that could be found here is a rounding error deep, unless the interval ends below the target.
            open_ = _risk(steps[top], power, modes, decay, weight, states) <= target
        if open_ and level > LEAF:
            added = advance(
                averages[0],
                states[0],
                power[level - 1],
                modes,
                none,
                weight.size,
                states[top + 1],
            )
            steps[top + 1] = steps[0] + (1 << (level - 1))
            averages[top + 1] = averages[0] * decay[level - 1]
            variances[top + 1] = variances[0] + added
            top += 1
            continue
        while open_ and steps[0] < steps[top]:
            value = _walk(averages, variances, states[0], power[0], modes, decay[0], weight)
            steps[0] += 1
            if (
                value <= target * CLOSE
                and _risk(steps[0], power, modes, decay, weight, states) <= target
            ):
                return int(steps[0])
        for m in range(weight.size):
            states[0, F, m], states[0, U, m] = states[top, F, m], states[top, U, m]
        steps[0], averages[0], variances[0] = steps[top], averages[top], variances[top]
        top -= 1
    return 0


@inner
def _walk(
    averages: Floats,
    variances: Floats,
    state: Floats,
    power: Floats,
    modes: Floats,
    gamma: float,
    weight: Floats,
) -> float:
    """Make one step with the state in slot 0, and tell its risk."""
    g, added, left = averages[0], 0.0, 0.0
    for m in range(weight.size):
        f, u, a, b, d = state[F, m], state[U, m], power[A, m], power[B, m], power[D, m]
        # One step's noise is a kick along (1 - gamma, 1, d).
        kick = f + u * d
        f, u = f * a + u * modes[ELL, m] * b, f * b + u * d
        if gamma > 0.0:
            kick += g * (1.0 - gamma)
            f += g * power[P, m]
            u += g * power[Q, m]
        state[F, m], state[U, m] = f, u
        amplitude = g * gamma + f + modes[START, m] * u
        added += kick * kick * power[W11, m]
        left += weight[m] * amplitude * amplitude
    averages[0] = g * gamma
    variances[0] += added
    return float(variances[0] + left)


@inner
def _risk(
    steps: int, power: Floats, modes: Floats, decay: Floats, weight: Floats, states: Floats
) -> float:
    """The risk, bit by bit as :func:`flatter_lib.nqm.risk` has it."""
    total = 0.0
    for low in range(0, weight.size, BLOCK):
        high = min(low + BLOCK, weight.size)
        total += risk_of_some(
            steps, power, modes, decay, weight, low, high, 0.0, states[SLOTS - 2], states[SLOTS - 1]
        )
    return total


@inner
def _least_remaining(
    step: int,
    g: float,
    state: Floats,
    step_after: int,
    g_after: float,
    state_after: Floats,
    modes: Floats,
    turns: Floats,
    weight: Floats,
) -> float:
    """What is left of the initial risk is nowhere lower between the two steps."""
    total = 0.0
    for m in range(weight.size):
        here = g + state[F, m] + modes[START, m] * state[U, m]
        there = g_after + state_after[F, m] + modes[START, m] * state_after[U, m]
        share = turns[SHARE, m]
        least = 0.0
        if share:
            rest, rest_after = abs(here - share * g), abs(there - share * g_after)
            least = (rest_after if rest_after < rest else rest) - share * g
            if turns[SINGLE, m] and rest_after < np.inf:
                least = max(least, share * g_after - max(rest, rest_after))
            least = max(least, 0.0) ** 2
        elif (
            # Where nothing is known this is inf - inf, and not below 1.
            np.floor(turns[RATE, m] * step_after + turns[PHASE, m])
            - np.floor(turns[RATE, m] * step + turns[PHASE, m])
            < 1.0
        ):
            least = there * there if there * there < here * here else here * here
        total += weight[m] * least
    return total


@inner
def _count_turns(beta: float, gamma: float, power: Floats, modes: Floats, turns: Floats) -> None:
    """Tell for each mode what bounds it between two steps."""
    for m in range(modes.shape[1]):
        a, d, ell, start = power[A, m], power[D, m], modes[ELL, m], modes[START, m]
        rate, phase, share, single = 0.0, 0.0, 0.0, 0.0
        if ell < 0.0 and gamma > 0.0:
            rate = np.inf
        elif ell < 0.0:
            sine = np.sqrt(-ell)
            rate, phase = np.arctan2(sine, a) / np.pi, 0.5 - np.arctan2(start, sine) / np.pi
        elif a < 0.0 and gamma > 0.0:
            # The residue at gamma, with 1 - (a + start) for lr times curvature.
            share = gamma * gamma * (1.0 - a - start) / (beta + gamma * (gamma - a - d))
            single = 1.0 if beta == 0.0 else 0.0
        turns[RATE, m], turns[PHASE, m] = rate, phase
        turns[SHARE, m], turns[SINGLE, m] = share, single
