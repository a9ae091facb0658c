"""The compiled inner loop of :mod:`flatter_lib.valleys.scalar`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flatter_lib.compiled import kernel

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

#: A run has left the valley once its Tr H = u^2 + v^2 reaches this, or is no number any more.
LEFT_AT_TRACE = 1e8


@kernel
def advance(
    state: Floats,
    draws: Floats,
    done: int,
    lr: float,
    momentum: float,
    label_noise: float,
    target: float,
    imbalance_unit: float,
    levels: Floats,
    at: Integers,
    first_at_or_below: Integers,
    last_above: Integers,
    left: Integers,
    recorded: Floats,
) -> None:
    """Advance runs of one setting by one block of steps, in place.

    Args:
        state: (runs, 4): u, v and the momentum buffers of u and v.
        draws: (runs, block, 1), one number a step, noise on the target; or (runs, block, 2), two a step, noise on
            the gradient.
        done: steps made before this block.
        lr: step size.
        momentum: heavy-ball momentum.
        label_noise: factor of the draws.
        target: y of L = (u v - y)^2 / 2.
        imbalance_unit: D_0; levels are fractions of it.
        levels: (levels,), each in (0, 1).
        at: (records,) steps to record, in order.
        first_at_or_below: (runs, levels) first step with D / D_0 at or below the level; -1 before.
        last_above: (runs, levels) last step with ``|D / D_0|`` above the level.
        left: (runs,) step at which the run left the valley; -1 before.
        recorded: (runs, records, 2) the recorded u, v.
    """
    runs, block, kicks = draws.shape
    first_record = 0
    while first_record < at.size and at[first_record] <= done:
        first_record += 1
    for i in range(runs):
        if left[i] >= 0:
            continue
        u, v = state[i, 0], state[i, 1]
        buffer_u, buffer_v = state[i, 2], state[i, 3]
        record = first_record
        for j in range(block):
            if kicks == 1:
                residual = u * v - (target + label_noise * draws[i, j, 0])
                buffer_u = momentum * buffer_u + residual * v
                buffer_v = momentum * buffer_v + residual * u
            else:
                residual = u * v - target
                buffer_u = momentum * buffer_u + (residual * v + label_noise * draws[i, j, 0])
                buffer_v = momentum * buffer_v + (residual * u + label_noise * draws[i, j, 1])
            u -= lr * buffer_u
            v -= lr * buffer_v
            step = done + j + 1
            # Written so that NaN leaves too.
            if not u * u + v * v < LEFT_AT_TRACE:
                left[i] = step
                break
            relative = (u * u - v * v) / imbalance_unit
            for m in range(levels.size):
                if relative <= levels[m] and first_at_or_below[i, m] < 0:
                    first_at_or_below[i, m] = step
                if abs(relative) > levels[m]:
                    last_above[i, m] = step
            while record < at.size and at[record] == step:
                recorded[i, record, 0] = u
                recorded[i, record, 1] = v
                record += 1
        state[i, 0], state[i, 1] = u, v
        state[i, 2], state[i, 3] = buffer_u, buffer_v
