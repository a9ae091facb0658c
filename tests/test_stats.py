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

from flatter_lib.stats import (
    PROBABILITIES,
    Estimate,
    best_momentum,
    deciding_size,
    exponent,
    first_passage,
    interval,
    jackknife_interval,
    mean_interval,
    median_draws,
    median_interval,
    passage_times,
    resampled,
    settling_time,
    share_interval,
)

from .refusals import refuses

TRIALS = 4000
GENERATOR = np.random.default_rng(0)


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


# --- means, and what is computed from them ------------------------------------------------------------------------


def test_mean_interval_is_students() -> None:
    x = np.random.default_rng(0).standard_normal((3, 9, 2))
    found = mean_interval(x, axis=1)
    theirs = stats.ttest_1samp(x, 0, axis=1).confidence_interval(0.95)
    for end, theirs_end in zip(found, (x.mean(axis=1), theirs.low, theirs.high), strict=True):
        np.testing.assert_allclose(end, theirs_end, rtol=1e-12)


@pytest.mark.parametrize("n", [4, 8, 12])
def test_intervals_of_means_cover(n: int) -> None:
    generator = np.random.default_rng(n)
    x = generator.standard_normal((TRIALS, n))
    _, low, high = mean_interval(x)
    assert covers(int(np.sum((low <= 0) & (high >= 0))))
    shrink = stats.norm.ppf(0.975) / stats.t.ppf(0.975, n - 1)
    assert not covers(int(np.sum(np.abs(x.mean(axis=1)) <= shrink * (high - low) / 2)))
    a, b = generator.lognormal(sigma=0.3, size=(2, TRIALS, n))
    ratio = jackknife_interval(lambda u, v: u.mean(-1) / v.mean(-1), a, b)
    hits = int(np.sum((ratio.low <= 1) & (ratio.high >= 1)))
    assert 0.93 < hits / TRIALS < 0.97


@pytest.mark.parametrize("n", [4, 8, 12])
def test_jackknife_covers_an_exponent_of_means(n: int) -> None:
    x = np.array([1.0, 2.0, 4.0])
    y = x[:, None, None] ** -1.5 * np.random.default_rng(n).lognormal(
        sigma=0.5, size=(3, TRIALS, n)
    )
    found = jackknife_interval(lambda runs: exponent(x, runs.mean(axis=-1)), y)
    assert 0.92 < np.mean((found.low <= -1.5) & (found.high >= -1.5)) < 0.98


@pytest.mark.parametrize(
    ("spread", "gap"), [(0.05, 0.05), (0.05, 0.015), (0.002, 0.05), (0.3, 0.2)]
)
def test_so_many_numbers_decide_and_one_less_does_not(spread: float, gap: float) -> None:
    size = deciding_size(spread, gap)
    for n, clear in ((size, True), (size - 1, False)):
        if n > 1:
            low, high = stats.t.interval(0.95, n - 1, 0.0, spread / math.sqrt(n))
            assert (not low <= gap <= high) == clear


@pytest.mark.parametrize("gap", [0.3, 0.4, 0.6])
def test_so_many_decide_in_half_of_repetitions_and_twice_as_many_in_four_of_five(
    gap: float,
) -> None:
    size = int(deciding_size(1.0, gap))
    for n, low, high in ((size, 0.48, 0.57), (2 * size, 0.77, 0.89)):
        found = mean_interval(np.random.default_rng(n).normal(size=(4 * TRIALS, n)))
        assert low < np.mean((found.low > gap) | (found.high < gap)) < high


def test_jackknife_of_a_mean_is_students() -> None:
    x = np.random.default_rng(1).lognormal(size=(5, 7))
    found = jackknife_interval(lambda a: a.mean(axis=-1), x)
    np.testing.assert_allclose(found, mean_interval(x), rtol=1e-12)


@pytest.mark.parametrize("tau", [0.1, 0.3, 1.0])
def test_jackknife_covers_curves_whose_points_were_searched_for(tau: float) -> None:
    # Two curves of three points over 12 runs; each point has an error that its runs share. It is known from 50 pairs of
    # searches of 12 and 4 runs, less the part of the runs, with degrees of freedom after Satterthwaite.
    generator = np.random.default_rng(round(100 * tau))
    trials = TRIALS // 4

    def searched(n: int, *shape: int) -> Any:
        own = tau * generator.normal(size=(*shape, trials, 1))
        return own + 0.3 * generator.normal(size=(*shape, trials, n))

    def gained(a: Any, b: Any) -> Any:
        return (a[-1] - a[0] - b[-1] + b[0]).mean(-1)

    pair = searched(12, 50), searched(4, 50)
    of_runs = np.mean([each.var(axis=-1, ddof=1) / each.shape[-1] for each in pair], axis=0)
    squares = (pair[0].mean(-1) - pair[1].mean(-1)) ** 2 / 2 - of_runs
    own = np.sqrt(np.maximum(squares.mean(0), 1e-6))
    degrees = 2 * own**4 / (squares.var(axis=0, ddof=1) / len(squares))
    curves = searched(12, 2, 3)
    found = jackknife_interval(gained, *curves)
    full = jackknife_interval(gained, *curves, rows=(own[:, None], degrees))
    covered = np.mean((full.low <= 0) & (full.high >= 0))
    assert covered > 0.935
    if tau > 0.1:
        assert covered < 0.985
        assert np.mean((found.low <= 0) & (found.high >= 0)) < 0.9


# --- resamples, and what is computed from medians -------------------------------------------------------------------

ETA = np.geomspace(1e-3, 1e-2, 4)


@pytest.mark.parametrize("together", [True, False])
def test_resampled_is_the_plain_bootstrap(together: bool) -> None:
    runs = np.random.default_rng(0).lognormal(size=(3, 7))
    runs[1, :3] = np.nan
    found = resampled(runs, generator=np.random.default_rng(5), size=100, together=together)
    generator = np.random.default_rng(5)
    picks = generator.integers(7, size=(100, 7) if together else (3, 100, 7))
    for i, row in enumerate(np.where(np.isnan(runs), np.inf, runs)):
        assert found[i, 0] == sorted(row)[3]
        own = picks if together else picks[i]
        assert [sorted(row[list(pick)])[3] for pick in own] == found[i, 1:].tolist()


@pytest.mark.parametrize("n", [6, 8, 12])
def test_intervals_of_what_is_fitted_to_medians_cover(n: int) -> None:
    trials, generator = 600, np.random.default_rng(n)
    runs = ETA[:, None] ** -1.5 * generator.lognormal(sigma=0.5, size=(trials, ETA.size, n))
    hits = [0, 0]
    for each in runs:
        medians = resampled(each, generator=generator, size=200, together=False)
        slope, ratio = interval(exponent(ETA, medians)), interval(medians[0] / medians[-1])
        hits[0] += bool(slope.low <= -1.5 <= slope.high)
        hits[1] += bool(ratio.low <= 10**1.5 <= ratio.high)
    assert all(0.91 < hit / trials < 0.985 for hit in hits)


def test_exponent_is_a_line_in_the_logarithms() -> None:
    y = np.random.default_rng(3).lognormal(size=(4, 5, 2))
    for i in range(5):
        fitted = np.polyfit(np.log(ETA), np.log(y[:, i]), 1)[0]
        np.testing.assert_allclose(exponent(ETA, y)[i], fitted, rtol=1e-12)
    assert exponent(ETA, 3.0 * ETA**-1.7) == pytest.approx(-1.7, rel=1e-12)


def test_interval_holds_its_value_and_counts_what_never_arrives() -> None:
    late = np.r_[1.0, np.full(90, 2.0), np.full(10, np.inf)]
    assert interval(late) == (1.0, 1.0, np.inf)
    assert interval(np.r_[9.0, np.full(100, 2.0)]) == (9.0, 2.0, 9.0)
    rows = interval(np.random.default_rng(0).normal(size=(4, 1001)))
    assert rows.bars.shape == (2, 4)
    assert (rows.bars >= 0).all()


def test_an_estimate_of_a_function_keeps_its_ends_in_order() -> None:
    assert Estimate(2.0, 1.0, 4.0).map(lambda x: 1 / x) == (0.5, 0.25, 1.0)
    low = Estimate(*np.array([[2.0], [1.0], [4.0]])).map(np.negative).low
    assert low.tolist() == [-4.0]


def test_means_of_resamples_are_those_of_their_draws() -> None:
    runs = np.random.default_rng(0).lognormal(size=(3, 7))
    runs[1, 3] = np.nan
    found = resampled(runs, generator=5, size=100, statistic=np.mean)
    slow = resampled(runs, generator=5, size=100, statistic=lambda x, axis: x.mean(axis=axis))
    np.testing.assert_allclose(found, slow, rtol=1e-13)
    assert np.isinf(found[1]).any()


# --- the best momentum ----------------------------------------------------------------------------------------------

MEMORY = np.geomspace(0.01, 1, 11)


def scans(curve: np.ndarray, n: int, trials: int) -> Any:
    """The best momentum of scans whose median times are a curve."""
    generator = np.random.default_rng(n)
    for _ in range(trials):
        runs = curve[:, None] * generator.lognormal(sigma=0.15, size=(MEMORY.size, n))
        medians = resampled(runs, generator=generator, size=200, together=False)
        yield best_momentum(MEMORY, medians)


@pytest.mark.parametrize("n", [8, 12])
def test_the_best_momentum_is_covered_and_found(n: int) -> None:
    trials = 300
    found = list(scans(np.exp(0.15 * np.log(MEMORY / 0.1) ** 2), n, trials))
    place = [interval(best.memory) for best in found]
    time = [interval(best.time) for best in found]
    assert np.mean([p.low <= 0.1 <= p.high for p in place]) > 0.91
    assert (
        np.mean([t.low <= 1 <= t.high for t in time]) > 0.85
    )  # the least of noisy points is biased
    assert np.mean([best.found for best in found]) > 0.5


@pytest.mark.parametrize("curve", [np.ones(11), MEMORY, 1 / MEMORY], ids=["flat", "up", "down"])
def test_where_there_is_no_best_momentum_none_is_found(curve: np.ndarray) -> None:
    assert np.mean([best.found for best in scans(curve, 12, 300)]) < 0.05


def test_the_vertex_of_an_exact_parabola_is_its_own() -> None:
    times = np.exp(2 + 0.3 * (np.log(MEMORY) - np.log(0.07)) ** 2)
    for points in (3, 5, 7):
        best = best_momentum(MEMORY[::-1], np.tile(times[::-1, None], 101), points=points)
        np.testing.assert_allclose(best.memory, 0.07, rtol=1e-9)
        np.testing.assert_allclose(best.time, np.exp(2), rtol=1e-9)
        assert best.found


def test_settings_that_never_arrive_have_no_best_momentum() -> None:
    times = np.full((11, 101), np.inf)
    best = best_momentum(MEMORY, times)
    assert not best.found
    assert np.isinf(best.memory).all()


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


# --- shares of runs ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [4, 8, 12, 40])
def test_share_interval_covers_every_share(n: int) -> None:
    hits, p = np.arange(n + 1), np.linspace(0.001, 0.999, 999)[:, None]
    share, low, high = share_interval(hits, n)
    exact = [stats.binomtest(k, n).proportion_ci(method="exact") for k in hits.tolist()]
    np.testing.assert_allclose(np.stack([low, high], axis=1), exact, atol=1e-12)
    np.testing.assert_allclose(share, hits / n)
    wilson = [stats.binomtest(k, n).proportion_ci(method="wilson") for k in hits.tolist()]
    held = [
        (stats.binom.pmf(hits, n, p) * ((lower <= p) & (p <= upper))).sum(axis=1).min()
        for lower, upper in ((low, high), np.array(wilson).T)
    ]
    assert held[0] >= 0.95 > 0.86 > held[1]


# --- runs that are looked at seldom, and medians from kept quantiles --------------------------------------------------


def by_hand(middle: Any, relative: Any, level: float) -> list[float]:
    """First passage and settling, reading the curve from left and from right."""
    curve = [v if np.isfinite(v) else np.inf for v in relative]
    found: list[float] = []
    below = [v <= level for v in curve]
    first = below.index(True) if True in below else None
    if not below[-1]:
        last: int | None = None
    else:
        last = len(below)
        while last > 0 and below[last - 1]:
            last -= 1
    for at in (first, last):
        if at is None:
            found.append(np.nan)
        elif at == 0:
            found.append(middle[0])
        elif np.isinf(curve[at - 1]):
            found.append(middle[at])
        else:
            a, b = curve[at - 1], curve[at]
            found.append(middle[at - 1] * (middle[at] / middle[at - 1]) ** ((a - level) / (a - b)))
    return found


def test_times_are_those_read_off_by_hand() -> None:
    generator = np.random.default_rng(0)
    middle = np.sort(generator.uniform(1, 1000, 12))
    curves = generator.uniform(0.2, 1.0, (200, 12))
    curves[generator.random(curves.shape) < 0.05] = np.nan
    curves[0], curves[1] = 0.9, 0.1
    first, settled = passage_times(middle, curves, 0.5)
    expected = np.array([by_hand(middle, curve, 0.5) for curve in curves])
    np.testing.assert_allclose(first, expected[:, 0])
    np.testing.assert_allclose(settled, expected[:, 1])
    assert np.isnan(first[0])
    assert settled[1] == middle[0]


def test_drawn_medians_scatter_as_those_of_resampled_runs() -> None:
    generator = np.random.default_rng(0)
    times = generator.lognormal(sigma=0.4, size=128)
    kept = np.quantile(times, PROBABILITIES, method="inverted_cdf")
    drawn = np.log(median_draws(kept, 128, 20_000, generator))
    resampled = np.log(np.median(times[generator.integers(128, size=(20_000, 128))], axis=1))
    assert drawn.mean() == pytest.approx(resampled.mean(), abs=0.015)
    assert drawn.std() == pytest.approx(resampled.std(), rel=0.15)


def test_a_median_that_may_not_be_reached_is_infinite_as_often() -> None:
    kept = np.where(PROBABILITIES > 0.5, np.inf, 10.0)
    drawn = median_draws(
        np.stack([kept, np.full(11, np.inf)]), 128, 20_000, np.random.default_rng(1)
    )
    assert drawn.shape == (2, 20_000)
    assert np.isinf(drawn[0]).mean() == pytest.approx(0.5, abs=0.02)
    assert (drawn[0][np.isfinite(drawn[0])] == 10.0).all()
    assert np.isinf(drawn[1]).all()


# --- what is refused -----------------------------------------------------------------------------------------------


def test_bad_arguments() -> None:
    for function in (first_passage, settling_time):
        good: dict[str, Any] = {"t": [0, 1], "x": [1.0, 2.0], "level": 1.0}
        for t in ([0, 0], [0, np.nan], [], [[0, 1]]):
            refuses(function, good, t=t)
        refuses(function, good, level=np.nan)
        for x in ([1.0, 2.0, 3.0], 1.0):
            with pytest.raises(ValueError, match=r"^x: its last axis must have the length of t, 2"):
                function(**good | {"x": x})
    refuses(settling_time, good, level=[1.0, -1.0])
    looks = {"middle": np.ones(3), "relative": np.ones((2, 3)), "level": 0.5}
    refuses(passage_times, looks, relative=np.ones((2, 2)), level=np.inf)
    for function, x in (
        (mean_interval, 3.0),
        (mean_interval, [1.0, np.nan]),
        (median_interval, [1.0] * 5),
    ):
        with pytest.raises(ValueError, match=r"^x"):
            function(x)
    refuses(deciding_size, {"spread": 0.1, "gap": 0.1}, spread=0.0, gap=-0.1)
    for samples in ((), ([1.0, 2.0],), ([1.0] * 4, [1.0] * 5)):
        with pytest.raises(ValueError, match=r"^samples: .* 3 runs or more, got"):
            jackknife_interval(np.mean, *samples)
    refuses(resampled, {"runs": np.ones(6), "generator": 0}, runs=np.ones(5), size=9)
    for values in (np.ones(50), np.full(200, np.nan)):
        with pytest.raises(ValueError, match=r"^values"):
            interval(values)
    refuses(exponent, {"x": [1.0, 2.0], "y": [1.0, 2.0]}, x=[2.0, 2.0], y=[1.0, 0.0])
    refuses(exponent, {"x": [1.0, 2.0], "y": [1.0, 2.0]}, x=[1.0], y=[1.0, 2.0, 3.0])
    scan = {"memory": MEMORY, "times": np.ones((11, 5))}
    refuses(best_momentum, scan, memory=-MEMORY, times=np.zeros((11, 5)), points=4)
    refuses(best_momentum, scan, times=np.ones((10, 5)))
    shares = {"hits": 1, "runs": 2}
    refuses(share_interval, shares, hits=3, runs=0)
    refuses(share_interval, shares, hits=-1, runs=1.5)
    drawn = {"quantiles": np.ones(11), "runs": 128, "size": 10, "generator": GENERATOR}
    refuses(median_draws, drawn, quantiles=np.ones(7), runs=12, size=0)
