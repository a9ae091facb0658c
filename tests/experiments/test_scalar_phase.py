import numpy as np
import pytest

from flatter_lib.experiments.scalar_phase import (
    PROBABILITIES,
    PROFILES,
    Configuration,
    cost,
    median_draws,
    run,
)
from flatter_lib.timescales import first_passage, settling_time
from flatter_lib.valleys.scalar import ScalarValley, simulate


@pytest.mark.parametrize("noise", ["label", "sign", "gaussian"])
@pytest.mark.parametrize("residual", [0.0, 0.5])
def test_a_cell_holds_the_order_statistics_of_its_runs_whole_paths(noise, residual):
    cell = Configuration(0.1, 0.05, 0.1, noise, 19, 30, start_residual=residual)
    every = np.arange(cell.steps + 1)
    valley = ScalarValley(1.0, 1.4)
    runs = simulate(
        valley,
        lr=0.1,
        momentum=0.95,
        label_noise=0.1,
        steps=cell.steps,
        seeds=range(30, 49),
        noise=noise,
        start_residual=residual,
        at=every,
    )
    relative = valley.imbalance(runs.w[0]) / valley.initial_imbalance
    times = {
        "first_passage": first_passage(every, relative, np.exp(-1)),
        "settling": settling_time(every, relative, 0.1),
    }
    measured = run(cell)
    for (name, own), missing in zip(times.items(), ("not_reached", "not_settled"), strict=True):
        ordered = np.sort(np.where(np.isnan(own), np.inf, own))
        ranks = np.ceil(19 * PROBABILITIES).astype(int) - 1
        assert measured[name] == ordered[ranks].tolist()
        assert measured[missing] == np.isnan(own).sum()
    assert measured["left"] == np.isfinite(runs.left).sum()
    if noise == "gaussian":
        assert measured["not_settled"] > 0


def test_runs_that_leave_never_settle():
    measured = run(Configuration(0.3, 0.002, 0.1, "label", 8, 0))
    assert measured["left"] == measured["not_settled"] == 8
    assert measured["settling"] == [np.inf] * PROBABILITIES.size


def test_drawn_medians_scatter_as_those_of_resampled_runs():
    generator = np.random.default_rng(0)
    times = generator.lognormal(sigma=0.4, size=128)
    kept = np.quantile(times, PROBABILITIES, method="inverted_cdf")
    drawn = np.log(median_draws(kept, 128, 20_000, generator))
    resampled = np.log(np.median(times[generator.integers(128, size=(20_000, 128))], axis=1))
    assert drawn.mean() == pytest.approx(resampled.mean(), abs=0.015)
    assert drawn.std() == pytest.approx(resampled.std(), rel=0.15)


def test_a_median_that_may_not_be_reached_is_infinite_as_often():
    kept = np.where(PROBABILITIES > 0.5, np.inf, 10.0)
    drawn = median_draws(
        np.stack([kept, np.full(11, np.inf)]), 128, 20_000, np.random.default_rng(1)
    )
    assert drawn.shape == (2, 20_000)
    assert np.isinf(drawn[0]).mean() == pytest.approx(0.5, abs=0.02)
    assert (drawn[0][np.isfinite(drawn[0])] == 10.0).all()
    assert np.isinf(drawn[1]).all()


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_has_each_cell_once_with_runs_of_its_own(profile):
    cells = PROFILES[profile]
    assert len({cell.seed for cell in cells}) == len(set(cells)) == len(cells)
    firsts = sorted(cell.seed for cell in cells)
    assert min(np.diff(firsts)) >= max(cell.runs for cell in cells)
    assert {cell.noise for cell in cells} == {"label", "sign", "gaussian"}
    assert all(0 < cell.memory <= 1 for cell in cells)


def test_the_published_profile_stays_within_its_time():
    assert sum(map(cost, PROFILES["laptop"])) < 20 * 60


def test_bad_quantiles_are_refused():
    with pytest.raises(ValueError, match="quantiles: must be 11 on the last axis, got"):
        median_draws(np.ones(7), 128, 10, np.random.default_rng(0))
    with pytest.raises(ValueError, match="runs: must be an integer from 50, got 12"):
        median_draws(np.ones(11), 12, 10, np.random.default_rng(0))
