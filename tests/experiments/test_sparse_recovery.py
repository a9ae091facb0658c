import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from flatter_lib.ensemble import noise_stream, row_stream
from flatter_lib.ensemble import run as ensemble_run
from flatter_lib.experiments.sparse_recovery import (
    FOUND,
    PROFILES,
    Configuration,
    descended,
    run,
)
from flatter_lib.publish import machines
from flatter_lib.stats import first_passage, settling_time
from flatter_lib.valleys.diagonal import DiagonalNetwork

SMALL = {"inputs": 20, "sparsity": 2}


def naive(c, number, seed):
    """The path of theta, with the whole gradient written out by numpy, one step after another."""
    problem = DiagonalNetwork(c.inputs, c.sparsity, c.measurements, seed=number)
    X, y = problem.samples.numpy(), problem.targets.numpy()[:, 0]
    v = descended(problem) if c.descended else np.ones(c.inputs)
    velocity = np.zeros(c.inputs)
    noise, picks = noise_stream(seed), row_stream(seed)
    n, path = c.measurements, [v**2]
    stages = ((c.steps, 1.0), (c.annealing, 0.1), (c.annealing, 0.01))
    for lr in [c.lr * factor for steps, factor in stages for _ in range(steps)]:
        # The public setting: loss of 1/(4n), the step twice as long, the noise of one label.
        gradient = X.T @ (X @ v**2 - y) / n * v
        if c.noise == "one":
            gradient -= c.strength * noise.standard_normal() * X[picks.integers(n)] * v
        else:
            gradient -= c.strength * X.T @ noise.standard_normal(n) / np.sqrt(n) * v
        velocity = (1 - c.memory) * velocity + gradient
        v = v - 2 * lr * velocity
        path.append(v**2)
    return np.array(path), problem.truth.numpy()


@pytest.mark.parametrize("noise", ["one", "every"])
@pytest.mark.parametrize("start", [False, True])
def test_runs_and_their_times_are_those_of_the_naive_loop(noise, start):
    c = Configuration(
        12, 2, 2, 0.02, 0.2, 0.4, noise, 3000, 5, 40, descended=start, inputs=22, sparsity=2
    )
    measured = run(c)
    arrived = []
    for i in range(4):
        path, truth = naive(c, i // 2, 5 + i)
        outside = path[:, truth == 0].sum(axis=1) / truth.sum()
        error = np.linalg.norm(path - truth, axis=1) / np.linalg.norm(truth)
        at = np.arange(1, c.steps + 1)
        for name, x, level in (("outside", outside, 0.1), ("error", error, 0.3)):
            assert measured[name][i] == pytest.approx(x[-1], rel=1e-8)
            timed = x[1 : c.steps + 1]
            for what, function in (("first", first_passage), ("settled", settling_time)):
                time = function(at, timed, level)
                assert measured[f"{name}_{what}"][i] == (np.inf if np.isnan(time) else time)
                arrived.append(np.isfinite(time))
    assert any(arrived)


def test_the_least_and_the_best_processor_make_the_same_runs():
    variants = machines.available()
    cells = [
        Configuration(12, 2, 4, 0.02, 0.1, 0.3, noise, 999, annealing=9, descended=True)
        for noise in ("one", "every")
    ]
    code = (
        "from flatter_lib.experiments.sparse_recovery import *\n"
        f"print([[x.hex() for x in v] for cell in {cells} for v in run(cell).values()])"
    )
    found = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | variant.environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for variant in {id(v): v for v in (variants[0], variants[-1])}.values()
    ]
    assert len(set(found)) == 1


def test_noise_on_every_label_is_the_ensembles():
    c = Configuration(12, 1, 1, 0.02, 0.1, 0.3, "every", 500, seed=3, descended=True, **SMALL)
    problem = DiagonalNetwork(measurements=12, **SMALL)
    result = ensemble_run(
        problem,
        lr=c.lr,
        momentum=1 - c.memory,
        label_noise=c.strength * np.sqrt(12),
        steps=c.steps,
        seeds=[3],
        observe=["test_error"],
        start=descended(problem),
    )
    assert run(c)["error"][0] == pytest.approx(result.values["test_error"][0, 0, -1], rel=1e-10)


def test_descent_ends_on_the_manifold_at_the_least_entropy():
    problem = DiagonalNetwork(measurements=12, **SMALL)
    v = torch.from_numpy(descended(problem))
    assert float(problem.loss(v)) < 1e-24
    X = problem.samples.numpy()
    inside = np.linalg.lstsq(X.T, np.log(v.numpy() ** 2), rcond=None)
    # Of gradient flow the logarithm of theta is in the span of the inputs; a finite step leaves it a little.
    assert np.abs(X.T @ inside[0] - np.log(v.numpy() ** 2)).max() < 0.1


def test_a_run_that_leaves_never_arrives():
    measured = run(Configuration(12, 1, 1, 5.0, 1.0, 1.0, "every", 200, **SMALL))
    assert all(measured[name] == [np.inf] for name in FOUND[2:])


def test_noise_is_needed():
    measured = run(Configuration(40, 1, 1, 0.005, 1.0, 0.0, "one", 5000))
    assert measured["error"][0] > 1


def test_under_the_protocol_momenta_are_the_same_everywhere_and_eta_h_is_below_1() -> None:
    cells = [c for c in PROFILES["laptop"] if c.problems == 8]
    scans: dict[tuple[float, float, int], list[float]] = {}
    for c in cells:
        scans.setdefault((c.lr, c.strength, c.steps), []).append(c.memory)
    plain = [key for key, memories in scans.items() if memories == [1.0]]
    assert len({tuple(m) for key, m in scans.items() if key not in plain}) == 1
    sharpest = []
    for seed in range(8):
        problem = DiagonalNetwork(measurements=cells[0].measurements, seed=seed)
        X, theta = problem.samples.numpy(), descended(problem) ** 2
        sharpest.append(np.linalg.eigvalsh(4 / len(X) * (X * theta) @ X.T)[-1])
    assert 0.95 < max(c.lr for c in cells) * max(sharpest) <= 1
