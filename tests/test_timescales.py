"""Times against plain loops; intervals against second implementations and by how often they hold the truth."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from flatter_lib.timescales import (
    PowerLaw,
    bootstrap_power_law,
    first_passage,
    fit_power_law,
    median_interval,
    settling_time,
)

TRIALS = 4000


def covers(hits: int, trials: int = TRIALS, coverage: float = 0.95) -> bool:
    """Whether so many hits are what chance allows at that coverage: two-sided, 1 in 1000 against us."""
    return bool(stats.binomtest(hits, trials, coverage).pvalue > 1e-3)


# --- first passage and settling ----------------------------------------------------------------------------------

# Few distinct values, so that runs meet the level exactly, leave it again, diverge and never arrive.
records = st.sampled_from([-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, np.inf, -np.inf, np.nan])
recorded = arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 6)), elements=records)


def first_passage_by_loop(t: np.ndarray, x: np.ndarray, level: float) -> float:
    for time, value in zip(t, x, strict=True):
        if value <= level:
            return float(time)
    return math.nan


def settling_time_by_loop(t: np.ndarray, x: np.ndarray, level: float) -> float:
    settled = math.nan
    for time, value in zip(t, x, strict=True):
        if not abs(value) <= level:
            settled = math.nan
        elif math.isnan(settled):
            settled = float(time)
    return settled


@settings(deadline=None, derandomize=True, max_examples=200)
@given(recorded, st.sampled_from([0.0, 1.0, 1.5, 2.0]))
@example(np.array([[np.nan, 1.0, 1.0]]), 1.0)
@pytest.mark.parametrize(
    ("function", "loop"),
    [(first_passage, first_passage_by_loop), (settling_time, settling_time_by_loop)],
)
def test_times_are_those_of_a_plain_loop(
    function: Callable[..., Any], loop: Callable[..., float], x: np.ndarray, level: float
) -> None:
    t = np.cumsum(np.arange(1.0, x.shape[1] + 1))
    expected = [loop(t, row, level) for row in x]
    np.testing.assert_array_equal(function(t, x, level), expected)
    np.testing.assert_array_equal(function(t, x[0], level), expected[0])


def test_first_passage_at_a_negative_level() -> None:
    assert first_passage([1, 2, 3], [0.0, -2.0, -1.0], -1.5) == 2.0


@pytest.mark.parametrize("function", [first_passage, settling_time])
def test_times_keep_leading_axes_and_take_a_level_for_each_run(
    function: Callable[..., Any],
) -> None:
    t = np.arange(50)
    x = np.random.default_rng(0).standard_normal((3, 4, 50)).cumsum(axis=-1)[..., ::-1]
    level = np.array([0.5, 1.0, 2.0, 8.0])
    times = function(t, x, level)
    assert times.shape == (3, 4)
    assert times.dtype == np.float64
    for i in range(3):
        for j in range(4):
            assert np.array_equal(times[i, j], function(t, x[i, j], level[j]), equal_nan=True)
    assert isinstance(function(t, x[0, 0], 1.0), np.float64)


def test_times_take_one_run_at_many_levels() -> None:
    np.testing.assert_array_equal(
        first_passage([0, 1, 2], [3.0, 2.0, 1.0], [2.5, 1.0, 0.0]), [1.0, 2.0, np.nan]
    )


def test_times_of_an_exponential_are_its_logarithms() -> None:
    t = np.linspace(0.0, 10.0, 10_001)
    rates = np.array([[0.5], [1.0], [2.0]])
    for function in (first_passage, settling_time):
        times = function(t, np.exp(-rates * t), math.exp(-1))
        np.testing.assert_allclose(times, 1 / rates[:, 0], atol=1.001e-3)
    assert settling_time(t, np.cos(t) * np.exp(-0.3 * t), 0.1) > first_passage(
        t, np.cos(t) * np.exp(-0.3 * t), 0.1
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 0], [1.0, 2.0], 1.0), "^t: must increase"),
        (([0, np.nan], [1.0, 2.0], 1.0), "^t: must be in"),
        (([], [], 1.0), "^t: must be a one-dim"),
        (([[0, 1]], [1.0, 2.0], 1.0), "^t: must be a one-dim"),
        (([0, 1], [1.0, 2.0, 3.0], 1.0), r"^x: .* length of t, 2, got shape \(3,\)"),
        (([0, 1], 1.0, 1.0), "^x: "),
        (([0, 1], [1.0, 2.0], np.nan), "^level: must be in .* got nan"),
    ],
)
@pytest.mark.parametrize("function", [first_passage, settling_time])
def test_bad_records_are_named(
    function: Callable[..., Any], arguments: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        function(*arguments)


def test_settling_below_a_negative_level_is_a_mistake() -> None:
    with pytest.raises(ValueError, match=r"^level: must be in \[0, inf\], got -1"):
        settling_time([0, 1], [1.0, 2.0], [1.0, -1.0])


# --- power laws --------------------------------------------------------------------------------------------------


def test_an_exact_power_law_is_found() -> None:
    x = np.geomspace(1e-5, 1e-1, 7)
    law = fit_power_law(x, 3.0 * x**-1.7)
    assert law.exponent == pytest.approx(-1.7, rel=1e-12)
    assert law.prefactor == pytest.approx(3.0, rel=1e-12)
    assert law.low <= law.exponent <= law.high
    assert law.high - law.low < 1e-12


def test_fit_is_scipys_linear_regression() -> None:
    generator = np.random.default_rng(1)
    for n in (3, 4, 10, 50):
        x = generator.lognormal(size=n)
        y = x**0.6 * generator.lognormal(size=n)
        law = fit_power_law(x, y)
        line = stats.linregress(np.log(x), np.log(y))
        margin = stats.t.ppf(0.975, n - 2) * line.stderr
        expected = PowerLaw(
            line.slope, line.slope - margin, line.slope + margin, math.exp(line.intercept)
        )
        for name in ("exponent", "low", "high", "prefactor"):
            assert getattr(law, name) == pytest.approx(getattr(expected, name), rel=1e-9)


@pytest.mark.parametrize("points", [3, 4, 9])
def test_fit_covers_the_exponent_as_often_as_it_says(points: int) -> None:
    generator = np.random.default_rng(points)
    x = np.geomspace(1e-4, 1e-2, points)
    noise = generator.lognormal(sigma=0.2, size=(TRIALS, points))
    laws = [fit_power_law(x, y) for y in 5.0 * x**-1.25 * noise]
    assert covers(sum(law.low <= -1.25 <= law.high for law in laws))
    # The same check catches an interval with the normal law's 1.96 in place of Student's quantile.
    shrink = stats.norm.ppf(0.975) / stats.t.ppf(0.975, points - 2)
    assert not covers(
        sum(abs(law.exponent + 1.25) <= shrink * (law.high - law.exponent) for law in laws)
    )


def test_rescaling_changes_the_prefactor_alone() -> None:
    x, y = np.array([1.0, 2.0, 5.0, 9.0]), np.array([3.0, 1.0, 0.7, 0.2])
    law, scaled = fit_power_law(x, y), fit_power_law(10 * x, 4 * y)
    assert (scaled.exponent, scaled.low, scaled.high) == pytest.approx(
        (law.exponent, law.low, law.high), rel=1e-12
    )
    assert scaled.prefactor == pytest.approx(4 * law.prefactor * 10**-law.exponent, rel=1e-12)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([1, 2], [1, 2], "^x: .* at least 3 points"),
        ([1, 2, 3], [1, 2], "^y: .* at least 3 points"),
        ([1, 2, 3], [1, 2, 3, 4], r"^y: must have the shape of x, \(3,\), got \(4,\)"),
        ([[1, 2, 3]], [[1, 2, 3]], "^x: .* one dimension"),
        ([1, 0, 3], [1, 2, 3], r"^x: must be in \(0, inf\)"),
        ([1, 2, 3], [1, -2, 3], r"^y: must be in \(0, inf\)"),
        ([1, 2, 3], [1, np.nan, 3], r"^y: must be in \(0, inf\)"),
        ([1, 2, np.inf], [1, 2, 3], r"^x: must be in \(0, inf\)"),
        ([2, 2, 2], [1, 2, 3], "^x: must not be all equal"),
    ],
)
def test_a_power_law_needs_three_positive_points(x: Any, y: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_power_law(x, y)


# --- power laws of a statistic over runs -------------------------------------------------------------------------

ETA = np.geomspace(1e-3, 1e-2, 4)


def times(generator: np.random.Generator, runs: int, sigma: float = 0.5) -> np.ndarray:
    return ETA[:, np.newaxis] ** -1.5 * generator.lognormal(sigma=sigma, size=(ETA.size, runs))


def test_bootstrap_is_the_plain_one() -> None:
    samples = times(np.random.default_rng(0), 20)
    samples[1, :4] = np.nan
    law = bootstrap_power_law(ETA, samples, generator=np.random.default_rng(7), resamples=200)

    generator = np.random.default_rng(7)
    late = np.where(np.isnan(samples), np.inf, samples)
    medians = np.empty((200, ETA.size))
    for i, row in enumerate(late):
        for k, picked in enumerate(generator.integers(20, size=(200, 20))):
            ordered = sorted(row[picked])
            medians[k, i] = (ordered[9] + ordered[10]) / 2
    slopes = [np.polyfit(np.log(ETA), np.log(median), 1)[0] for median in medians]
    fit = fit_power_law(ETA, np.median(late, axis=1))
    assert law.exponent == pytest.approx(fit.exponent, rel=1e-12)
    assert law.prefactor == pytest.approx(fit.prefactor, rel=1e-12)
    assert (law.low, law.high) == pytest.approx(np.quantile(slopes, [0.025, 0.975]), rel=1e-12)


def test_bootstrap_covers_the_exponent() -> None:
    generator = np.random.default_rng(2)
    trials, hits, narrower = 400, 0, 0
    for _ in range(trials):
        law = bootstrap_power_law(ETA, times(generator, 24), generator=generator, resamples=300)
        hits += law.low <= -1.5 <= law.high
        narrower += abs(-1.5 - (law.low + law.high) / 2) <= (law.high - law.low) / 3

    def holds(count: int) -> bool:
        """At least 95 %, as far as chance allows; a percentile interval of a median may be a little wide."""
        return bool(stats.binomtest(count, trials, 0.95, alternative="less").pvalue > 1e-3)

    assert holds(hits)
    assert hits / trials < 0.985
    assert not holds(narrower)


def test_bootstrap_takes_another_statistic() -> None:
    samples = times(np.random.default_rng(4), 200)
    law = bootstrap_power_law(
        ETA, samples, statistic=np.mean, generator=np.random.default_rng(0), resamples=1000
    )
    logs = np.log(ETA) - np.log(ETA).mean()
    relative = samples.std(axis=1, ddof=1) / samples.mean(axis=1) / np.sqrt(200)
    error = np.sqrt(np.sum((logs * relative) ** 2)) / np.sum(logs**2)  # the delta method
    assert law.exponent == pytest.approx(fit_power_law(ETA, samples.mean(axis=1)).exponent)
    assert (law.high - law.low) / (2 * 1.96) == pytest.approx(error, rel=0.1)


def test_bootstrap_counts_a_run_that_never_arrives_as_late() -> None:
    samples = np.sort(times(np.random.default_rng(5), 101), axis=1)
    censored = np.where(np.arange(101) >= 80, np.nan, samples)
    whole, cut = (
        bootstrap_power_law(ETA, runs, generator=np.random.default_rng(0), resamples=300)
        for runs in (samples, censored)
    )
    assert whole == cut


def test_bootstrap_holds_its_own_estimate_even_without_scatter() -> None:
    samples = np.repeat(ETA[:, np.newaxis] ** -1.5, 8, axis=1)
    law = bootstrap_power_law(ETA, samples, generator=np.random.default_rng(0))
    assert law.low <= law.exponent <= law.high
    assert law.high - law.low < 1e-12


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_bootstrap_holds_its_own_estimate_of_a_statistic_that_resampling_biases(
    sign: float,
) -> None:
    def distinct(values: np.ndarray, axis: int) -> Any:
        steps = np.diff(np.sort(values, axis=axis), axis=axis)
        return (1.0 + np.sum(steps > 0, axis=axis)) ** sign

    samples = np.ones((ETA.size, 24))
    samples[-1] = np.arange(1, 25)
    law = bootstrap_power_law(
        ETA, samples, statistic=distinct, generator=np.random.default_rng(0), resamples=100
    )
    assert law.exponent == (law.high if sign > 0 else law.low)
    assert law.low < law.high


def test_bootstrap_says_where_too_many_runs_never_arrive() -> None:
    samples = times(np.random.default_rng(6), 10)
    samples[2, :6] = np.nan
    with pytest.raises(ValueError, match=r"^samples: at x=0.00464159 .*6 of 10 runs never arrive"):
        bootstrap_power_law(ETA, samples, generator=np.random.default_rng(0))


@pytest.mark.parametrize(
    ("x", "samples", "resamples", "message"),
    [
        (ETA[:2], np.ones((2, 9)), 100, "^x: .* at least 3 points"),
        (ETA, np.ones((3, 9)), 100, r"^samples: must have shape \(4, at least 6 runs\)"),
        (ETA, np.ones((4, 5)), 100, r"^samples: must have shape \(4, at least 6 runs\)"),
        (ETA, np.ones(4), 100, r"^samples: must have shape \(4, at least 6 runs\)"),
        (ETA, np.zeros((4, 9)), 100, "^samples: at x=0.001 the statistic is not positive"),
        (ETA, [[-1.0] + [1.0] * 8] * 4, 100, r"^samples: must be in \[0, inf\], got -1"),
        (ETA, np.ones((4, 9)), 99, "^resamples: must be an integer from 100, got 99"),
        (-ETA, np.ones((4, 9)), 100, r"^x: must be in \(0, inf\)"),
    ],
)
def test_bootstrap_names_bad_arguments(
    x: np.ndarray, samples: np.ndarray, resamples: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        bootstrap_power_law(x, samples, generator=np.random.default_rng(0), resamples=resamples)


# --- medians -----------------------------------------------------------------------------------------------------


def order_statistic(n: int) -> int:
    """The largest k with P(fewer than k of n fall below the median) <= 2.5 %, counted in whole numbers."""
    below, k = 0, 0
    while 40 * (below + math.comb(n, k)) <= 2**n:
        below += math.comb(n, k)
        k += 1
    return k


@pytest.mark.parametrize("n", [6, 7, 8, 9, 20, 31, 64, 101, 256, 1000])
def test_median_interval_ends_are_the_binomial_order_statistics(n: int) -> None:
    ranks = np.random.default_rng(n).permutation(n) + 1.0
    k = order_statistic(n)
    assert median_interval(ranks) == ((n + 1) / 2, k, n + 1 - k)


@pytest.mark.parametrize("n", [6, 25, 64])
def test_median_interval_covers_as_often_as_its_order_statistics_say(n: int) -> None:
    x = np.random.default_rng(n).exponential(size=(TRIALS, n))
    _, low, high = median_interval(x)
    hits = int(np.sum((low <= np.log(2)) & (np.log(2) <= high)))
    exact = 1 - 2 * stats.binom.cdf(order_statistic(n) - 1, n, 0.5)
    assert exact >= 0.95
    assert covers(hits, TRIALS, exact)
    # The next order statistics inward would not do.
    ordered = np.sort(x, axis=1)
    k = order_statistic(n) + 1
    narrow = np.sum((ordered[:, k - 1] <= np.log(2)) & (np.log(2) <= ordered[:, n - k]))
    assert narrow / TRIALS < 0.95
    assert not covers(int(narrow), TRIALS, exact)


def test_median_interval_covers_tied_times_too() -> None:
    x = np.random.default_rng(8).geometric(0.3, size=(TRIALS, 30))  # the median of this law is 2
    _, low, high = median_interval(x)
    assert np.mean((low <= 2) & (high >= 2)) > 0.95


def test_median_interval_along_an_axis() -> None:
    x = np.random.default_rng(9).standard_normal((3, 12, 2))
    median, low, high = median_interval(x, axis=1)
    assert median.shape == low.shape == high.shape == (3, 2)
    np.testing.assert_allclose(median, np.median(x, axis=1), rtol=1e-15)
    for i in range(3):
        for j in range(2):
            assert median_interval(x[i, :, j]) == (median[i, j], low[i, j], high[i, j])


def test_median_interval_counts_nan_as_infinitely_late() -> None:
    x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, np.nan, np.nan]
    assert median_interval(x) == (5.5, 2.0, np.inf)
    assert median_interval([np.nan] * 6 + [1.0] * 6) == (np.inf, 1.0, np.inf)
    assert median_interval([np.nan] * 8) == (np.inf, np.inf, np.inf)


@pytest.mark.parametrize("x", [[1.0] * 5, [], 3.0])
def test_median_interval_needs_six_samples(x: Any) -> None:
    with pytest.raises(ValueError, match=r"^x: .* at least 6 samples, got"):
        median_interval(x)
