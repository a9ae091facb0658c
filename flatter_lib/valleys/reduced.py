r"""The reduced equation of heavy ball in a noisy valley: one oscillator, one parameter.

Where a single underdamped transverse mode drives the motion along the valley floor, and near the flat point, the
longitudinal coordinate D of one run obeys, in the time :math:`\tau = (1 - \beta) k`,

.. math:: D'' + D' = -\kappa\, |z|^2 D, \qquad dz = -\tfrac12 z\, d\tau + dW, \qquad
    \kappa = \frac{(\eta \varepsilon)^2}{(1 - \beta)^3},

with complex Brownian motion W, :math:`\langle |dW|^2 \rangle = d\tau`, from D = 1, D' = 0, z = 0. The parameter
:math:`\kappa = \tau_1 / \tau_2` compares the two times of Cowsik, Can & Glorioso (arXiv 2210.16400, section 1.1); the
equation is derived in the chapter on the scalar valley, from an exact law of that valley.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from flatter_lib import checks
from flatter_lib.checks import Floats
from flatter_lib.stats import settling_time


class ReducedTimes(NamedTuple):
    r"""Times in units of :math:`1/(1-\beta)`, float64, one for each kappa.

    Attributes:
        first_passage: median over runs of the first time with D at or below the first level.
        settling: median over runs of the time from which ``|D|`` stays at or below the settling level.
        settling_of_mean: the same time for the mean of D over runs.
    """

    first_passage: Floats
    settling: Floats
    settling_of_mean: Floats


def reduced_times(
    kappa: ArrayLike,
    *,
    first_level: float,
    settling_level: float,
    paths: int,
    generator: np.random.Generator,
) -> ReducedTimes:
    r"""First passage and settling in the reduced equation, by simulation.

    The mode z is stepped exactly, the oscillator by leapfrog steps whose kick is exact for
    friction under a constant force. A run lasts
    :math:`14 + 3.5/\kappa`; the step is :math:`0.03\, \kappa^{-1/3}`, some hundredth of a first passage. Values of
    kappa within one power of ten share their noise, which makes the times smooth functions of kappa.

    Args:
        kappa: (K,) values, positive and finite.
        first_level: level of first passage, in (0, 1).
        settling_level: level of settling, in (0, 1).
        paths: runs for each kappa.
        generator: source of the noise.

    Returns:
        The times; infinite where the median run, or the mean, never arrives.

    Raises:
        ValueError: for an argument outside its range.

    Examples:
        >>> times = reduced_times([0.01], first_level=0.5, settling_level=0.1, paths=200,
        ...                       generator=np.random.default_rng(0))
        >>> bool(abs(times.first_passage[0] * 0.01 / np.log(2) - 1) < 0.1)  # the slow drift, exp(-kappa tau)
        True
    """
    values = checks.numbers("kappa", kappa, "(0, inf)")
    if values.ndim != 1:
        raise ValueError(f"kappa: must have shape (K,), got {values.shape}")
    checks.number("first_level", first_level, "(0, 1)")
    checks.number("settling_level", settling_level, "(0, 1)")
    checks.count("paths", paths)
    times = np.empty((3, values.size))
    decade = np.floor(np.log10(values))
    for one in np.unique(decade):
        same = decade == one
        times[:, same] = _together(values[same], first_level, settling_level, paths, generator)
    return ReducedTimes(*times)


def _together(
    kappa: Floats, first: float, last: float, paths: int, generator: np.random.Generator
) -> Floats:
    """The three times (3, K) of values of kappa that share their noise."""
    dt = 0.03 * kappa.max() ** (-1 / 3)
    count = int(np.ceil((14 + 3.5 / kappa.min()) / dt))
    keep = np.exp(-dt / 2)
    spring = kappa[:, np.newaxis]
    position = np.ones((kappa.size, paths))
    velocity = np.zeros_like(position)
    z = np.zeros((2, paths))
    arrived = np.full_like(position, np.inf)
    last_above = np.zeros_like(position)
    mean = np.empty((kappa.size, count))
    for k in range(count):
        z = keep * z + np.sqrt((1 - keep**2) / 2) * generator.standard_normal(z.shape)
        position += velocity * dt / 2
        velocity = keep**2 * velocity - (1 - keep**2) * spring * np.sum(z**2, axis=0) * position
        position += velocity * dt / 2
        arrived[np.isinf(arrived) & (position <= first)] = k + 1
        last_above[np.abs(position) > last] = k + 1
        mean[:, k] = position.mean(axis=1)
    settled = np.where(last_above < count, last_above + 1, np.inf)
    of_mean = settling_time(np.arange(1, count + 1), mean, last)
    quiet = np.where(np.isnan(of_mean), np.inf, of_mean)
    times: Floats = dt * np.stack([np.median(arrived, axis=1), np.median(settled, axis=1), quiet])
    return times
