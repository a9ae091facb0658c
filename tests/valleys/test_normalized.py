"""Regression with normalised weights against PyTorch's own SGD, and its closed forms against draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from flatter_lib.valleys.normalized import NormalizedRegression
from tests.refusals import refuses

MODEL = NormalizedRegression(inputs=5, signal=0.8, noise=0.7, batch=2)


@pytest.mark.parametrize(("momentum", "batch"), [(0.0, 1), (0.6, 2)])
def test_a_run_is_that_of_torch(momentum: float, batch: int) -> None:
    model = NormalizedRegression(inputs=4, signal=0.8, noise=0.7, batch=batch)
    motion = model.simulate(
        lr=[0.3], decay=0.2, momentum=momentum, square=[1.5], at=[2, 4, 7], runs=1, seed=3
    )
    generator = np.random.default_rng(3)
    start = generator.standard_normal(4) * [0, 1, 1, 1]
    w = torch.tensor(1.5**0.5 * start / np.linalg.norm(start), requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=0.3, momentum=momentum, weight_decay=0.2)
    kept = []
    for _ in range(7):
        x = torch.from_numpy(generator.standard_normal((batch, 4)))
        y = 0.8 * x[:, 0] + 0.7 * torch.from_numpy(generator.standard_normal((batch, 1)))[:, 0]
        optimizer.zero_grad()
        (0.5 * (x @ w / w.norm() - y) ** 2).mean().backward()
        optimizer.step()
        kept.append(w.detach().clone())
    for i, k in enumerate((2, 4, 7)):
        now, before, mark = kept[k - 1], kept[k - 2], kept[1]
        assert motion.square[0, i, 0] == pytest.approx(float(now @ now), rel=1e-12)
        assert motion.overlap[0, i, 0] == pytest.approx(float(now[0] / now.norm()), rel=1e-12)
        for found, other in ((1 - motion.turn, before), (motion.kept, mark)):
            cosine = float(torch.cosine_similarity(now, other, dim=0))
            assert found[0, i, 0] == pytest.approx(cosine, rel=1e-12)


def test_the_mean_square_of_the_gradient() -> None:
    generator = np.random.default_rng(0)
    m = 0.4
    u = np.array([m, (1 - m**2) ** 0.5, 0, 0, 0])
    x = generator.standard_normal((200_000, 2, 5))
    y = 0.8 * x[..., 0] + 0.7 * generator.standard_normal((200_000, 2))
    residual = x @ u - y
    g = (residual[..., None] * (x - (x @ u)[..., None] * u)).mean(1)
    squares = (g * g).sum(1)
    error = squares.std() / len(squares) ** 0.5
    assert abs(squares.mean() - MODEL.gradient_square(m)) < 4 * error


@pytest.mark.parametrize("momentum", [0.0, 0.8])
def test_the_five_means_are_those_of_many_runs_in_many_dimensions(momentum: float) -> None:
    model = NormalizedRegression(inputs=100, batch=4)
    given: dict[str, Any] = {
        "lr": 0.02 * (1 - momentum),
        "decay": 0.5,
        "momentum": momentum,
        "square": 1.2,
    }
    runs = model.simulate(**given, at=[50, 150], runs=200)
    means = model.mean_field(**given, steps=150)[:, [49, 149]]
    assert np.abs(runs.overlap.mean(-1) - means).max() < 0.02


def test_only_the_product_counts() -> None:
    motion = MODEL.simulate(
        lr=[0.1, 0.4], decay=[0.4, 0.1], momentum=0.5, square=[1, 4], at=[20], runs=4
    )
    assert (motion.overlap[0] == motion.overlap[1]).all()
    assert (4 * motion.square[0] == motion.square[1]).all()


def test_what_is_refused() -> None:
    good = {"lr": 0.1, "decay": 0.1, "at": [3], "runs": 1}
    refuses(MODEL.simulate, good, lr=0, decay=-1, momentum=1, square=0, runs=0, at=0)
    refuses(NormalizedRegression, {}, inputs=1, signal=-1, noise=-1, batch=0)
    refuses(MODEL.mean_field, {"lr": 0.1, "decay": 0.1, "steps": 1}, lr=0, steps=0)
    for at in ([3, 2], [3, 3]):
        with pytest.raises(ValueError, match="at: must be steps"):
            MODEL.simulate(lr=0.1, decay=0.1, at=at, runs=1)
