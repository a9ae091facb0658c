"""Tuning by quasi-random search: points of a Sobol sequence in a box, on logarithmic axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from flatter_lib import checks

#: At most so many points are drawn for each trial that is asked for.
DRAWS = 4


class Trial(NamedTuple):
    """A setting that was tried.

    Attributes:
        values: of the hyperparameters, by name.
        places: where they lie in the box, each from 0 to 1 in the logarithm.
        steps: to the target; infinite if it was not reached within the steps allowed, NaN if the run diverged.
    """

    values: dict[str, float]
    places: dict[str, float]
    steps: float


def search(
    measure: Callable[[dict[str, float], float], float],
    box: Mapping[str, tuple[float, float]],
    trials: int,
    longest: float,
) -> list[Trial]:
    """Try settings until so many have not diverged; each is stopped where it is no faster than the best before it.

    The points are those of the unscrambled Sobol sequence without its first, the corner: the second is the middle of
    the box. A setting that diverges does not count, and the next point is tried, up to `DRAWS` points for each trial.

    Args:
        measure: of a setting and the most steps that it may take, the steps to the target; NaN if it diverged, infinite
            if it did not get there.
        box: of each hyperparameter, its least and its largest value, both positive.
        trials: how many that do not diverge.
        longest: the most steps of the first that reaches the target.

    Returns:
        What was tried, in order.

    Raises:
        ValueError: if the box is empty, or an axis of it.

    Examples:
        >>> found = search(lambda at, most: 10 + abs(np.log(at["lr"] / 0.2)), {"lr": (0.01, 1.0)}, 7, 100)
        >>> [round(trial.values["lr"], 3) for trial in found[:3]], round(fastest(found).values["lr"], 3)
        ([0.1, 0.316, 0.032], 0.178)
    """
    from scipy.stats.qmc import Sobol

    if not box:
        raise ValueError("box: must have an axis, got none")
    for name, ends in box.items():
        if not 0 < ends[0] < ends[1] < math.inf:
            raise ValueError(
                f"box: {name} must go from a positive number to a larger one, got {ends}"
            )
    checks.count("trials", trials)
    low, high = np.log(list(box.values())).T
    exponent = math.ceil(math.log2(DRAWS * trials + 1))
    points = Sobol(len(box), scramble=False).random_base2(exponent)[1 : DRAWS * trials + 1]
    found: list[Trial] = []
    for point in points:
        values = dict(zip(box, np.exp(low + (high - low) * point).tolist(), strict=True))
        best = fastest(found)
        most = longest if best is None else best.steps
        steps = measure(values, most)
        found.append(Trial(values, dict(zip(box, point.tolist(), strict=True)), steps))
        if sum(not math.isnan(trial.steps) for trial in found) == trials:
            break
    return found


def fastest(found: list[Trial]) -> Trial | None:
    """The first of those that reached the target in the fewest steps; None if none did."""
    reached = [trial for trial in found if trial.steps < math.inf]
    return min(reached, key=lambda trial: trial.steps, default=None)
