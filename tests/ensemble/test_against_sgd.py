"""Every run is that of torch.optim.SGD with the same noise: for every problem and every kind of noise."""

import numpy as np
import pytest

from flatter_lib.ensemble import run

from ..valleys.problems import PROBLEMS
from .reference import sgd

#: Of each problem, a small step size.
UNITS = {"sensing": 0.01, "diagonal": 0.01, "two outputs": 0.1, "scalar": 0.05} | dict.fromkeys(
    ("erf", "relu"), 0.05
)
NOISES = [
    (noise, batch_size)
    for noise in ("label", "minibatch", "gaussian")
    for batch_size in (None, 1, 4)
    if noise != "minibatch" or batch_size
]


@pytest.mark.parametrize(("noise", "batch_size"), NOISES)
@pytest.mark.parametrize("name", UNITS)
def test_every_step_is_that_of_torch_sgd(name, noise, batch_size):
    problem = PROBLEMS[name]
    start = problem.start_on_manifold(np.random.default_rng(1)).numpy()
    # Some way off the manifold, so that there is a gradient without noise too.
    start = start + 0.05 * np.random.default_rng(2).standard_normal(start.shape)
    lr = UNITS[name] * np.array([1.0, 0.5])
    momentum = np.array([0.0, 0.9])
    strength = np.array([0.1, 0.3]) * (noise != "minibatch")
    steps, seeds = 60, [5, 3]
    result = run(
        problem,
        lr=lr,
        momentum=momentum,
        label_noise=strength,
        batch_size=batch_size,
        noise=noise,
        steps=steps,
        seeds=seeds,
        start=start,
        every=1,
        observe={f"w{i}": lambda w, i=i: w[:, i] for i in range(problem.dimension)},
    )
    assert np.all(result.diverged == -1)
    for i in range(len(lr)):
        for j, seed in enumerate(seeds):
            path = sgd(
                problem,
                start,
                lr=lr[i],
                momentum=momentum[i],
                label_noise=strength[i],
                noise=noise,
                batch_size=batch_size,
                steps=steps,
                seed=seed,
            )
            own = np.stack([values[i, j] for values in result.values.values()], axis=-1)
            assert np.abs(path - start).max() > 1e-3
            assert own == pytest.approx(path, abs=1e-10)
            assert result.final[i, j] == pytest.approx(path[-1], abs=1e-10)
