r"""What many runs say: how long something takes, how it scales, which momentum is best, each with its interval.

Which interval goes with which number is decided by how often it holds the truth at the sample sizes in use (the
coverage, which the tests measure for n = 4, 8 and 12 runs):

* a mean, or what is computed from means over the same n runs: :func:`mean_interval`, :func:`jackknife_interval`
  (Student's t; a percentile bootstrap would hold a mean of 8 runs in 86 to 90 %, not 95);
* one median: :func:`median_interval` (order statistics, exact for any law);
* a share of runs: :func:`share_interval` (binomial tails, which hold it in 95 % or more for any share);
* what is fitted to medians, such as a ratio of two, a power law or a best momentum: :func:`resampled` medians, the same
  computation with each, and :func:`interval` (percentile bootstrap, 93 to 96 % with 6 runs or more).

Times are those of records: nothing is interpolated between them, so a time is exact to the spacing of the records
(but for :func:`passage_times`, of runs that are looked at seldom). A run that never arrives within its records has the
time NaN, and counts as infinitely late, which it is as far as a median can tell. NaN in a recorded quantity counts as
above every level: a run that has diverged does not arrive.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, betaincinv, stdtrit

from flatter_lib import checks

Floats = NDArray[np.float64]

#: The ends of what holds 95 %.
ENDS = (0.025, 0.975)
#: Probabilities of the quantiles that stand for many runs: the median, and far enough about it to draw medians again.
PROBABILITIES = np.linspace(0.25, 0.75, 11)


class Estimate(NamedTuple):
    """A number with its 95 % interval, or arrays of these; a number formats as one thing.

    Without a format it is written to two digits of the interval's width.

    Attributes:
        value: the number.
        low: lower end of the interval.
        high: upper end of it.

    Examples:
        >>> f"{Estimate(0.6671, 0.6512, 0.6831)}", f"{Estimate(0.6671, 0.6512, 0.6831):.1f}"
        ('0.667 [0.651, 0.683]', '0.7 [0.7, 0.7]')
    """

    value: Any
    low: Any
    high: Any

    def __format__(self, spec: str) -> str:
        spec = spec or self.spec
        return f"{self.value:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"

    @property
    def spec(self) -> str:
        """The format that writes two digits of the width."""
        width, largest = self.high - self.low, max(abs(self.low), abs(self.high))
        if not 0 < width < math.inf or not 1e-6 < largest < 1e6:
            return ".4g"
        decimals = 1 - math.floor(math.log10(width))
        return f"z.{min(max(decimals, 0), 8)}f"

    @property
    def bars(self) -> Floats:
        """The lengths below and above the value that matplotlib's ``errorbar`` wants, (2, ...)."""
        value, low, high = (np.asarray(part, dtype=np.float64) for part in self)
        return np.stack([value - low, high - value])

    def map(self, function: Callable[[Any], Any]) -> Estimate:
        """The same of a monotonic function of the number, such as ``np.exp``; the ends in order.

        Examples:
            >>> Estimate(1.0, 0.0, 2.0).map(lambda x: 1 - x)
            Estimate(value=0.0, low=-1.0, high=1.0)
        """
        value, low, high = (function(part) for part in self)
        if np.ndim(value):
            return Estimate(value, np.minimum(low, high), np.maximum(low, high))
        return Estimate(value, min(low, high), max(low, high))


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


def passage_times(middle: Floats, relative: Floats, level: float) -> tuple[Floats, Floats]:
    """First passage and settling of runs that are seldom looked at, by interpolation in the logarithm of the time.

    Args:
        middle: times of the looks, increasing, (n,).
        relative: what was seen, (..., n); NaN counts as above the level.
        level: of either.

    Returns:
        The time at which it first is at or below the level, and that from which it stays there, each (...); NaN where
        it does not, or not by the last look. A run that is there at the first look is timed by that.

    Raises:
        ValueError: if the level is not finite, or there are not as many numbers as looks.

    Examples:
        >>> middle = np.array([1.0, 10.0, 100.0, 1000.0])
        >>> passage_times(middle, np.array([[0.9, 0.3, 0.7, 0.2]]), 0.5)
        (array([4.64158883]), array([251.1886...]))
    """
    checks.number("level", level)
    if np.shape(relative)[-1:] != np.shape(middle):
        raise ValueError(
            f"relative: must end in an axis of {len(middle)} looks, got shape {np.shape(relative)}"
        )
    value = np.where(np.isfinite(relative), relative, np.inf)
    above = value > level
    n = value.shape[-1]
    never, unsettled = above.all(axis=-1), above[..., -1]
    at = np.argmin(above, axis=-1)
    last = n - np.argmax(above[..., ::-1], axis=-1)
    settled = np.where(above.any(axis=-1), np.minimum(last, n - 1), 0)

    def crossing(index: NDArray[np.int64]) -> Floats:
        before = np.maximum(index - 1, 0)
        high, low = (np.take_along_axis(value, i[..., None], -1)[..., 0] for i in (before, index))
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.where(np.isfinite(high) & (high > low), (high - level) / (high - low), 1.0)
        share = np.where(index == 0, 0.0, share)
        t = np.log(middle)
        times: Floats = np.exp(t[before] + share * (t[index] - t[before]))
        return times

    return (
        np.where(never, np.nan, crossing(at)),
        np.where(unsettled, np.nan, crossing(settled)),
    )


def mean_interval(x: ArrayLike, axis: int = -1) -> Estimate:
    r"""Mean with Student's 95 % interval, :math:`\bar x \pm t_{n-1} s/\sqrt n`.

    It holds the mean of normal samples in 95 % for every n, and of lognormal ones of sigma 0.5 in 92 % or more with 4.

    Args:
        x: independent samples along ``axis``, at least 2, finite.
        axis: the axis of the samples.

    Raises:
        ValueError: for fewer than 2 samples, or one that is not finite.

    Examples:
        >>> print(f"{mean_interval([1.0, 2.0, 3.0, 4.0]):.2f}")
        2.50 [0.45, 4.55]
    """
    values = np.moveaxis(np.atleast_1d(checks.numbers("x", x)), axis, -1)
    n = values.shape[-1]
    checks.count("x, samples", n, 2)
    middle = values.mean(axis=-1)
    half = stdtrit(n - 1, ENDS[1]) * values.std(axis=-1, ddof=1) / np.sqrt(n)
    return Estimate(middle, middle - half, middle + half)


def jackknife_interval(
    statistic: Callable[..., Any], *samples: ArrayLike, rows: tuple[float, float] | None = None
) -> Estimate:
    r"""A smooth statistic of n runs, such as a ratio of means or a slope of them, with Student's 95 % interval.

    Leaving out one run after the other gives the standard error, :math:`\hat\theta_{(i)}` being that without run i,

    .. math:: \mathrm{se}^2 = \frac{n-1}{n} \sum_i \bigl(\hat\theta_{(i)} - \bar\theta_{(\cdot)}\bigr)^2,

    and the interval is :math:`\hat\theta \pm t_{n-1}\,\mathrm{se}` (Tukey 1958). It is no interval for a median, which
    is not smooth.

    A row of a sample, such as one batch size of a curve that was tuned point by point, may have an error that more runs
    do not average out. With its standard error :math:`\tau`, known with f degrees of freedom, the half-width is

    .. math:: \sqrt{(t_{n-1}\,\mathrm{se})^2 + \sum_k (t_f\,\tau\,\partial\hat\theta/\partial x_k)^2},

    over all rows k, whose errors are independent.

    Args:
        statistic: of the samples, each with its runs on the last axis, to a number or an array without that axis.
        samples: what was measured in each run, (..., n), run i of one belonging to run i of another.
        rows: :math:`\tau` and f of the error of each row, where a row is an entry of a sample's first axis, or a whole
            sample that has one axis; without it rows have none.

    Raises:
        ValueError: for fewer than 3 runs, or samples of different numbers of them.

    Examples:
        >>> slow, fast = np.array([8.0, 12.0, 11.0, 9.0]), np.array([2.0, 3.1, 2.6, 2.3])
        >>> print(f"{jackknife_interval(lambda a, b: a.mean(-1) / b.mean(-1), slow, fast):.2f}")
        4.00 [3.72, 4.28]
    """
    arrays = [np.atleast_1d(np.asarray(sample, dtype=np.float64)) for sample in samples]
    n = arrays[0].shape[-1] if arrays else 0
    if n < 3 or any(array.shape[-1] != n for array in arrays):
        shapes = ", ".join(str(array.shape) for array in arrays) or "none"
        raise ValueError(
            f"samples: must each end in an axis of the same 3 runs or more, got {shapes}"
        )
    value = np.asarray(statistic(*arrays), dtype=np.float64)
    without = np.stack([statistic(*(np.delete(a, i, axis=-1) for a in arrays)) for i in range(n)])
    half = stdtrit(n - 1, ENDS[1]) * np.sqrt((n - 1) * without.var(axis=0))
    if rows is not None:
        tau, degrees = rows
        for which, array in enumerate(arrays):
            for row in range(len(array)) if array.ndim > 1 else (...,):
                moved = array.copy()
                moved[row] += tau
                change = statistic(*arrays[:which], moved, *arrays[which + 1 :]) - value
                half = np.hypot(half, stdtrit(degrees, ENDS[1]) * change)
    return Estimate(value[()], (value - half)[()], (value + half)[()])


def median_interval(x: ArrayLike, axis: int = -1) -> Estimate:
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
    return Estimate(middle, ordered[..., k - 1][()], ordered[..., n - k][()])


def deciding_size(spread: float, gap: float) -> float:
    r"""How many numbers it takes until Student's interval of their mean keeps clear of an edge.

    The least n with :math:`t_{n-1}\, s/\sqrt n < g`: a size to plan with, if mean and scatter stay what few have said.
    At this n the interval clears the edge in about half of repetitions, and somewhat more if n is below 20; for four in
    five it takes about twice as many. An edge on the other side, equally near, makes both chances smaller.

    Args:
        spread: s, the standard deviation of the numbers, positive.
        gap: g, between their mean and the edge, at least 0.

    Returns:
        The number, at least 2; infinite above a million, as it is for a mean on the edge.

    Raises:
        ValueError: if an argument is out of its range.

    Examples:
        >>> deciding_size(0.05, 0.05), deciding_size(0.05, 0.0)
        (7.0, inf)
    """
    checks.number("spread", spread, "(0, inf)")
    checks.number("gap", gap, "[0, inf)")
    n = np.arange(2, 10**6 + 1)
    clear = stdtrit(n - 1, ENDS[1]) * spread / np.sqrt(n) < gap
    return float(n[np.argmax(clear)]) if clear.any() else math.inf


def share_interval(hits: ArrayLike, runs: ArrayLike) -> Estimate:
    r"""Share of runs in which something happened, with the 95 % interval of Clopper & Pearson (1934).

    Its ends are the shares p at which so few, or so many, happen in 2.5 %: with h hits in n runs, quantiles of the laws
    Beta(h, n - h + 1) and Beta(h + 1, n - h). It holds the share in 95 % or more, whatever that is; Wilson's, which is
    shorter, holds a share of 0.989 of 16 runs in 84 %.

    Args:
        hits: how often it happened.
        runs: independent runs, at least 1; the two broadcast.

    Raises:
        ValueError: for counts that are none, and more hits than runs.

    Examples:
        >>> print(f"{share_interval(0, 16):.3f}", f"{share_interval(12, 16):.3f}")
        0.000 [0.000, 0.206] 0.750 [0.476, 0.927]
    """
    h, n = checks.together(hits=checks.counts("hits", hits), runs=checks.counts("runs", runs, 1))
    if np.any(h > n):
        raise ValueError(f"hits: must be at most as many as runs, got {h[h > n][0]}")
    low = np.where(h > 0, betaincinv(np.maximum(h, 1), n - h + 1, ENDS[0]), 0.0)
    high = np.where(h < n, betaincinv(h + 1, np.maximum(n - h, 1), ENDS[1]), 1.0)
    return Estimate((h / n)[()], low[()], high[()])


def median_draws(
    quantiles: ArrayLike, runs: int, size: int, generator: np.random.Generator
) -> Floats:
    r"""Medians that other runs might have given: a smooth bootstrap from kept quantiles.

    The median of n runs sits at a probability that has the law Beta((n+1)/2, (n+1)/2) (exactly so for odd n and a
    continuous law); the kept quantiles, joined by straight lines, say which time that is.

    Args:
        quantiles: (..., 11) times at :data:`PROBABILITIES`, infinite ones at the end.
        runs: n, at least 50, so that the probabilities drawn stay among those kept.
        size: how many medians.
        generator: source of the draws.

    Returns:
        (..., size) medians, independent between rows; infinite where the run at that probability never arrived.

    Raises:
        ValueError: for fewer than 50 runs, no draws, or quantiles of another number or NaN.

    Examples:
        >>> from scipy.stats import norm
        >>> draws = median_draws(norm.ppf(PROBABILITIES), 400, 20_000, np.random.default_rng(0))
        >>> bool(abs(draws.std() / (np.pi / 2 / 400) ** 0.5 - 1) < 0.03)  # the textbook's standard error of a median
        True
    """
    kept = checks.numbers("quantiles", quantiles, "[-inf, inf]")
    if kept.shape[-1:] != (PROBABILITIES.size,):
        raise ValueError(
            f"quantiles: must be {PROBABILITIES.size} on the last axis, got {kept.shape}"
        )
    checks.count("runs", runs, 50)
    checks.count("size", size)
    half = (runs + 1) / 2
    drawn = generator.beta(half, half, size=(*kept.shape[:-1], size))
    place = np.clip((drawn - PROBABILITIES[0]) / np.diff(PROBABILITIES)[0], 0, kept.shape[-1] - 1)
    below = np.minimum(place.astype(int), kept.shape[-1] - 2)
    weight = place - below
    left = np.take_along_axis(kept, below, axis=-1)
    right = np.take_along_axis(kept, below + 1, axis=-1)
    finite = np.where(np.isfinite(right), right, 0.0)
    start = np.where(np.isfinite(left), left, 0.0)
    inside: Floats = start + weight * (finite - start)
    return np.where(np.isfinite(right), inside, np.inf)


def resampled(
    runs: ArrayLike,
    *,
    generator: np.random.Generator | int,
    size: int = 1000,
    statistic: Callable[..., Any] = np.median,
    together: bool = True,
) -> Floats:
    """A statistic of the runs, and of as many runs drawn from them with replacement, again and again.

    Args:
        runs: (..., n); NaN is a run that never arrived, infinitely late.
        generator: source of the draws; a seed of one gives the same draws at each call.
        size: how many resamples.
        statistic: maps an array to numbers along ``axis``, as ``np.median`` does.
        together: whether all rows get the same draws, as they must where run i of one belongs to run i of another;
            else each gets its own.

    Returns:
        (..., 1 + size): the statistic of the runs themselves first.

    Raises:
        ValueError: for fewer than 6 runs or 100 resamples.

    Examples:
        >>> times = np.random.default_rng(0).lognormal(size=(2, 12))
        >>> medians = resampled(times, generator=np.random.default_rng(1))
        >>> medians.shape, bool((medians[:, 0] == np.median(times, axis=1)).all())
        ((2, 1001), True)
    """
    late = np.asarray(runs, dtype=np.float64)
    late = np.where(np.isnan(late), np.inf, late)
    n = checks.count("runs", late.shape[-1] if late.ndim else 0, 6)
    checks.count("size", size, 100)
    generator = np.random.default_rng(generator)
    if together:
        picks = generator.integers(n, size=(size, n))
        if statistic is np.mean:  # by how often each run was drawn: an array of all draws is large
            own = picks + n * np.arange(size)[:, None]
            counts = np.bincount(own.ravel(), minlength=size * n).reshape(size, n)
            with np.errstate(invalid="ignore"):
                sums = np.where(np.isinf(late), 0.0, late) @ counts.T
            drawn = np.where(np.isinf(late) @ counts.T > 0, np.inf, sums / n)
            return np.concatenate([late.mean(axis=-1)[..., None], drawn], axis=-1)
        drawn = late[..., picks]
    else:
        picks = generator.integers(n, size=(*late.shape[:-1], size, n))
        drawn = np.take_along_axis(late[..., None, :], picks, axis=-1)
    own = np.asarray(statistic(late, axis=-1))[..., None]
    return np.concatenate([own, statistic(drawn, axis=-1)], axis=-1)


def interval(values: ArrayLike) -> Estimate:
    """A number and its resamples, (..., 1 + size), to the number and the middle 95 % of these (percentile bootstrap).

    Use it for what is computed from medians of 6 runs or more; of means use :func:`jackknife_interval`.

    Args:
        values: the number, then its resamples, on the last axis; infinite ones count, NaN is refused.

    Returns:
        The number with its interval, widened where needed to hold it.

    Raises:
        ValueError: for fewer than 100 resamples, or NaN.

    Examples:
        >>> print(f"{interval(np.r_[5.0, np.arange(1.0, 101.0)]):.1f}")
        5.0 [3.5, 97.5]
    """
    every = np.asarray(values, dtype=np.float64)
    checks.count("values, resamples", every.shape[-1] - 1 if every.ndim else 0, 100)
    if np.isnan(every).any():
        raise ValueError("values: a resample gave NaN: say what it stands for, infinity or a bound")
    value = every[..., 0]
    with np.errstate(invalid="ignore"):
        low, high = np.quantile(every[..., 1:], ENDS, axis=-1)
    low, high = (np.where(np.isnan(end), np.inf, end) for end in (low, high))  # between infinities
    return Estimate(value[()], np.minimum(low, value)[()], np.maximum(high, value)[()])


def exponent(x: ArrayLike, y: ArrayLike) -> Any:
    r"""The exponent :math:`p` of :math:`y = A x^p` by least squares in the logarithms, of each column of y.

    With the resampled medians of each x as the rows of y, :func:`interval` of what this returns is the exponent's.

    Args:
        x: at least 2 positive numbers, not all equal, shape (n,).
        y: positive numbers, shape (n, ...).

    Returns:
        Exponents, shape (...); infinite or NaN where y is.

    Raises:
        ValueError: for fewer than 2 points, numbers that are not positive, or y without an axis of n.

    Examples:
        >>> print(f"{exponent([1.0, 2.0, 4.0], [3.0, 12.0, 48.0]):.3f}")
        2.000
    """
    log_x = np.log(checks.numbers("x", x, "(0, inf)"))
    times = checks.numbers("y", y, "(0, inf]")
    if log_x.ndim != 1 or log_x.size < 2 or np.ptp(log_x) == 0:
        raise ValueError(f"x: must be at least 2 different numbers, got shape {log_x.shape}")
    if times.shape[:1] != log_x.shape:
        raise ValueError(f"y: must begin with an axis of {log_x.size}, got shape {times.shape}")
    centred = log_x - log_x.mean()
    with np.errstate(invalid="ignore"):
        return np.tensordot(centred / (centred @ centred), np.log(times), axes=1)[()]


class Best(NamedTuple):
    """Where a scan over momenta is fastest, for the runs and for each resample, (1 + size,); see `best_momentum`.

    Attributes:
        memory: 1 - beta at the vertex.
        time: the time there.
        found: whether there is a best momentum at all.
    """

    memory: Floats
    time: Floats
    found: bool


def best_momentum(memory: ArrayLike, times: ArrayLike, *, points: int = 5) -> Best:
    r"""The 1 - beta at which a time is least: the vertex of the parabola through the points about the fastest.

    The parabola is fitted to log time over log(1 - beta) by least squares, to the ``points`` settings about the one
    whose median is least; the same settings serve all resamples. A scan has a minimum whatever it is of, so there is a
    null check: a best momentum is *found* only if in 97.5 % of the resamples the parabola opens upwards and its vertex
    lies inside the scan. Where the time does not depend on momentum this happens in less than one scan of twenty.

    Args:
        memory: 1 - beta of the settings, increasing or decreasing, positive, at least ``points`` of them.
        times: resampled times (see :func:`resampled`), positive, (settings, 1 + size).
        points: how many settings the parabola is fitted to, odd, at least 3.

    Returns:
        The best 1 - beta and the time there, of the runs and of every resample; :func:`interval` makes estimates of
        them. Infinite where the settings' times are.

    Raises:
        ValueError: for too few settings, numbers that are not positive, or shapes that do not fit.

    Examples:
        >>> memory = np.geomspace(0.01, 1, 11)
        >>> runs = np.exp(np.log(memory / 0.1) ** 2)[:, None] * np.random.default_rng(0).lognormal(0, 0.1, (11, 12))
        >>> best = best_momentum(memory, resampled(runs, generator=np.random.default_rng(1)))
        >>> print(f"{interval(best.memory):.2f}", best.found)
        0.10 [0.10, 0.10] True
    """
    settings = checks.numbers("memory", memory, "(0, inf)")
    drawn = checks.numbers("times", times, "(0, inf]")
    if checks.count("points", points, 3) % 2 == 0:
        raise ValueError(f"points: must be odd, got {points}")
    if settings.ndim != 1 or settings.size < points or drawn.shape[:1] != settings.shape:
        raise ValueError(
            f"times: must be (settings, resamples) of the {settings.size} settings in memory, at least {points}, "
            f"got shape {drawn.shape}"
        )
    half = points // 2
    at = int(np.clip(np.argmin(np.median(drawn, axis=-1)), half, settings.size - 1 - half))
    about = slice(at - half, at + half + 1)
    x = np.log(settings[about])
    origin = x.mean()
    with np.errstate(all="ignore"):
        a, b, c = np.polyfit(x - origin, np.log(np.minimum(drawn[about], 1e300)), 2)
        place, time = np.exp(origin - b / (2 * a)), np.exp(c - b**2 / (4 * a))
    inside = (a > 0) & (place >= settings.min()) & (place <= settings.max())
    arrived = np.isfinite(drawn[about]).all(axis=0)
    place, time = np.where(arrived, place, np.inf), np.where(arrived, time, np.inf)
    return Best(place, time, bool(np.mean(inside & arrived) >= ENDS[1]))


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
