import numpy as np
import pytest

from flatter_lib.experiments.scalar_phase import (
    Configuration,
    run,
)
from flatter_lib.stats import PROBABILITIES, first_passage, settling_time
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
