r"""How long something takes, and how that scales: first passage, settling, power laws with intervals.

Times are those of records: nothing is interpolated between them, so a time is exact to the spacing of the records.
A run that never arrives within its records has the time NaN; :func:`median_interval` and :func:`bootstrap_power_law`
count such a run as infinitely late, which it is as far as a median can tell. NaN in a recorded quantity counts as
above every level: a run that has diverged does not arrive.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, stdtrit

from flatter_lib import checks

Statistic = Callable[..., Any]


@dataclass(frozen=True)
class PowerLaw:
    r"""The law :math:`y = A x^p`.

    Attributes:
        exponent: :math:`p`; a time that grows as :math:`\eta^{-2}` has the exponent -2.
        low: lower end of the exponent's 95 % interval.
        high: upper end of it.
        prefactor: :math:`A`.
    """

    exponent: float
    low: float
    high: float
    prefactor: float


class MedianInterval(NamedTuple):
    """A median and its 95 % interval, floats or arrays."""

    median: Any
    low: Any
    high: Any


def first_passage(t: ArrayLike, x: ArrayLike, level: ArrayLike) -> Any:
    """First recorded time at which ``x`` is at or below the level.

    Args:
        t: times of the records, increasing, shape (n,).
        x: recorded quantity of each run, shape (..., n). NaN counts as above the level.
        level: the level, a number or one for each run (it broadcasts against shape (...)).

    Returns:
        Times, float64, shape (...), a scalar for a single run; NaN where ``x`` never gets there.

    Raises:
        ValueError: if the times are not increasing and finite, ``x`` does not end in an axis of their number, or the
            level is NaN.

    Examples:
        >>> print(first_passage([0, 10, 20, 30], [4.0, 2.0, 1.0, 2.0], 2.0))
        10.0
        >>> first_passage([0, 10], [[3.0, 1.0], [3.0, 2.5]], 2.0)
        array([10., nan])
    """
    times, values, bound = _records(t, x, level)
    arrived = values <= bound
    return np.where(arrived.any(axis=-1), times[arrived.argmax(axis=-1)], np.nan)[()]


def settling_time(t: ArrayLike, x: ArrayLike, level: ArrayLike) -> Any:
    """Time from which ``|x|`` stays at or below the level: the first record after the last one above it.

    What happens after the last record is not known: a run counts as settled if its last record is not above the
    level, so record well past the time that you want to measure.

    Args:
        t: times of the records, increasing, shape (n,).
        x: recorded quantity of each run, shape (..., n). NaN counts as above the level.
        level: the level, at least 0, a number or one for each run (it broadcasts against shape (...)).

    Returns:
        Times, float64, shape (...), a scalar for a single run; NaN where the last record is above the level.

    Raises:
        ValueError: if the times are not increasing and finite, ``x`` does not end in an axis of their number, or the
            level is NaN or negative.

    Examples:
        >>> print(settling_time([0, 10, 20, 30], [4.0, 1.0, -3.0, 0.5], 2.0))
        30.0
        >>> settling_time([0, 10], [[1.0, 2.0], [1.0, -2.5]], 2.0)
        array([ 0., nan])
    """
    times, values, bound = _records(t, x, checks.numbers("level", level, "[0, inf]"))
    outside = ~(np.abs(values) <= bound)
    # Read backwards, the first record above the level is the last one in time.
    quiet = np.where(outside.any(axis=-1), outside[..., ::-1].argmax(axis=-1), times.size)
    return np.where(quiet > 0, times[np.minimum(times.size - quiet, times.size - 1)], np.nan)[()]


def fit_power_law(x: ArrayLike, y: ArrayLike) -> PowerLaw:
    r"""Fit :math:`y = A x^p` by least squares in the logarithms.

    The interval is Student's, with n - 2 degrees of freedom. It covers the exponent in 95 % of data sets if
    :math:`\log y` scatters about a straight line in :math:`\log x` with independent normal errors of one variance, that
    is, if the errors of y are lognormal factors of one relative size. It knows nothing of a curve in place of the
    line: look at the residuals. For times of many runs see :func:`bootstrap_power_law`, which needs no such model.

    Args:
        x: at least 3 positive numbers, not all equal, shape (n,).
        y: positive numbers, shape (n,).

    Returns:
        The law with the exponent's 95 % interval.

    Raises:
        ValueError: for fewer than 3 points, numbers that are not positive and finite, shapes that differ, or x all
            equal.

    Examples:
        >>> law = fit_power_law([1, 2, 4, 8], [3.0, 11.5, 50.0, 190.0])
        >>> print(f"{law.exponent:.3f} [{law.low:.3f}, {law.high:.3f}]")
        2.007 [1.893, 2.122]
    """
    log_x, log_y = _logarithm("x", x), _logarithm("y", y)
    weights = _slope_weights(log_x)
    if log_y.shape != log_x.shape:
        raise ValueError(f"y: must have the shape of x, {log_x.shape}, got {log_y.shape}")
    exponent = float(weights @ log_y)
    intercept = float(log_y.mean() - exponent * log_x.mean())
    residual = log_y - intercept - exponent * log_x
    freedom = log_x.size - 2
    error = float(np.sqrt(residual @ residual / freedom * (weights @ weights)))
    margin = float(stdtrit(freedom, 0.975)) * error
    return PowerLaw(exponent, exponent - margin, exponent + margin, float(np.exp(intercept)))


def bootstrap_power_law(
    x: ArrayLike,
    samples: ArrayLike,
    *,
    generator: np.random.Generator,
    statistic: Statistic = np.median,
    resamples: int = 2000,
) -> PowerLaw:
    r"""Fit :math:`s = A x^p` to a statistic s of many runs at each x, with an interval over the runs.

    The law is fitted to the statistic by least squares in the logarithms; the interval holds the middle 95 % of the
    exponents refitted after drawing, at each x and independently, as many runs with replacement (percentile
    bootstrap). It accounts for the runs' scatter, whatever its law, and not for a curve in place of the line. In 1,500
    simulated data sets (4 points, lognormal times with sigma 0.5) it held the exponent of the medians in 95 to 96 %
    with 8, 16 and 32 runs at each x, and that of the means in 89, 93 and 93 % (each +- 1.6 %, the 95 % interval): for
    means take many runs.

    Args:
        x: at least 3 positive numbers, not all equal, shape (n,).
        samples: times, from 0, of independent runs, shape (n, runs); NaN is a run that never arrived, infinitely late.
        generator: source of the resampling.
        statistic: maps an array to positive numbers along ``axis``, as ``np.median`` and ``np.mean`` do.
        resamples: how many refits.

    Returns:
        The law; where needed the interval is widened to hold the fitted exponent.

    Raises:
        ValueError: for fewer than 3 points or 6 runs, shapes that do not fit, x not positive and finite or all equal,
            a time below 0, fewer than 100 resamples, or a statistic, of the runs or of a resample, that is not positive
            and finite.

    Examples:
        >>> generator = np.random.default_rng(0)
        >>> x = np.array([1.0, 2.0, 4.0, 8.0])
        >>> times = x[:, None] ** -2 * generator.lognormal(sigma=0.1, size=(4, 64))
        >>> law = bootstrap_power_law(x, times, generator=generator)
        >>> law.low < -2 < law.high
        True
    """
    log_x = _logarithm("x", x)
    weights = _slope_weights(log_x)
    runs = np.asarray(samples, dtype=np.float64)
    if runs.ndim != 2 or len(runs) != log_x.size or runs.shape[1] < 6:
        raise ValueError(
            f"samples: must have shape ({log_x.size}, at least 6 runs), got {runs.shape}"
        )
    checks.count("resamples", resamples, 100)
    runs = checks.numbers("samples", np.where(np.isnan(runs), np.inf, runs), "[0, inf]")
    log_s = np.empty(log_x.size)
    log_resampled = np.empty((log_x.size, resamples))
    for i, row in enumerate(runs):
        drawn = row[generator.integers(row.size, size=(resamples, row.size))]
        values = np.append(statistic(drawn, axis=-1), statistic(row, axis=-1))
        if not np.all((values > 0) & np.isfinite(values)):
            raise ValueError(
                f"samples: at x={np.exp(log_x[i]):g} the statistic is not positive and finite in all resamples "
                f"({np.isinf(row).sum()} of {row.size} runs never arrive); run longer, or leave this x out"
            )
        log_resampled[i], log_s[i] = np.log(values[:-1]), np.log(values[-1])
    exponent = float(weights @ log_s)
    low, high = np.quantile(weights @ log_resampled, [0.025, 0.975])
    return PowerLaw(
        exponent,
        min(float(low), exponent),
        max(float(high), exponent),
        float(np.exp(log_s.mean() - exponent * log_x.mean())),
    )


def median_interval(x: ArrayLike, axis: int = -1) -> MedianInterval:
    r"""Median with a 95 % interval that assumes nothing of the distribution.

    The number of samples below the true median is binomial, so the k-th smallest and the k-th largest of n samples
    hold it between them with probability :math:`1 - 2 P(\operatorname{Bin}(n, 1/2) < k)`, or more if values tie. k is
    the largest for which that is at least 95 %; it takes 6 samples.

    Args:
        x: independent samples along ``axis``; NaN is a run that never arrived, infinitely late.
        axis: the axis of the samples.

    Returns:
        Median and the ends of its interval, float64, of the shape of ``x`` without the axis; infinite where too many
        runs never arrived.

    Raises:
        ValueError: for fewer than 6 samples.

    Examples:
        >>> median, low, high = median_interval([3.0, 1.0, 2.0, 5.0, 4.0, np.nan, 6.0])
        >>> print(median, low, high)
        4.0 1.0 inf
    """
    values = np.moveaxis(np.atleast_1d(np.asarray(x, dtype=np.float64)), axis, -1)
    n = values.shape[-1]
    k = int(np.count_nonzero(bdtr(np.arange(n), n, 0.5) <= 0.025))
    if k == 0:
        raise ValueError(f"x: a 95 % interval of a median needs at least 6 samples, got {n}")
    ordered = np.sort(np.where(np.isnan(values), np.inf, values), axis=-1)
    middle = 0.5 * (ordered[..., (n - 1) // 2] + ordered[..., n // 2])
    return MedianInterval(middle, ordered[..., k - 1][()], ordered[..., n - k][()])


def _records(
    t: ArrayLike, x: ArrayLike, level: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[Any], NDArray[np.float64]]:
    times = checks.numbers("t", t)
    if times.ndim != 1 or times.size == 0:
        raise ValueError("t: must be a one-dimensional array of times, and not empty")
    if np.any(np.diff(times) <= 0):
        raise ValueError("t: must increase")
    values = np.asarray(x)
    if values.ndim == 0 or values.shape[-1] != times.size:
        raise ValueError(
            f"x: its last axis must have the length of t, {times.size}, got shape {values.shape}"
        )
    return times, values, checks.numbers("level", level, "[-inf, inf]")[..., np.newaxis]


def _logarithm(name: str, value: ArrayLike) -> NDArray[np.float64]:
    array = checks.numbers(name, value, "(0, inf)")
    if array.ndim != 1 or array.size < 3:
        raise ValueError(
            f"{name}: a power law needs at least 3 points in one dimension, got shape {array.shape}"
        )
    return np.log(array)


def _slope_weights(log_x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights w with slope = w @ log_y; then slope has variance (w @ w) times that of one point."""
    centred = log_x - log_x.mean()
    if np.ptp(log_x) == 0:
        raise ValueError("x: must not be all equal")
    return np.asarray(centred / (centred @ centred))
