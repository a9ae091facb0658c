import numpy as np
import pytest

from flatter_lib.experiments.scalar_phase import PROFILES, Configuration, run
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


def test_under_the_protocol_momenta_are_the_same_everywhere_and_eta_h_is_below_1() -> None:
    cells = [c for c in PROFILES["laptop"] if c.runs == 1000]
    scans: dict[tuple[float, float, float], list[float]] = {}
    for c in cells:
        scans.setdefault((c.start, c.lr, c.strength), []).append(c.memory)
    assert len({tuple(m for m in memories if m < 1) for memories in scans.values()}) == 1
    steps = {lr for _, lr, _ in scans}
    assert max(steps) / min(steps) == pytest.approx(16, rel=1e-3)
    assert 0.95 < max(steps) * max(c.start**2 + c.start**-2 for c in cells) <= 1
