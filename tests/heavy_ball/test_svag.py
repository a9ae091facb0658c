"""SVAG against the enumeration of every pair of minibatches, and against PyTorch's own step."""

from __future__ import annotations

from itertools import combinations, product
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from flatter_lib.heavy_ball.svag import coefficients, pairs, svag, svag_step
from tests.refusals import refuses
from tests.seeding import seeded

SIZE, BATCH = 5, 2
DATA = torch.randn(SIZE, 4, dtype=torch.float64, generator=seeded())


def module() -> nn.Module:
    """The same network every time."""
    network = nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 1)).double()
    with torch.no_grad():
        for i, p in enumerate(network.parameters()):
            p.copy_(torch.randn(p.shape, dtype=p.dtype, generator=seeded(i)))
    return network


def gradient(indices: tuple[int, ...]) -> np.ndarray:
    """The gradient of the mean squared error over some examples, of a network that is not linear."""
    network = module()
    rows = DATA[list(indices)]
    (network(rows[:, :3]) - rows[:, 3:]).square().mean().backward()
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None]).numpy()


def moments(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of what is equally likely."""
    return vectors.mean(0), np.cov(vectors.T, bias=True)


@pytest.mark.parametrize("l", [1, 2, 3.5, 16])
def test_mean_and_covariance_over_every_pair_of_independent_minibatches(l: float) -> None:
    batches = [gradient(i) for i in product(range(SIZE), repeat=BATCH)]
    mean, covariance = moments(np.array(batches))
    amplified = moments(np.array([svag(a, b, l) for a in batches for b in batches]))
    assert amplified[0] == pytest.approx(mean, abs=1e-12)
    assert amplified[1] == pytest.approx(l * covariance, abs=1e-11)
    assert np.abs(covariance).max() > 0.1


@pytest.mark.parametrize("l", [1, 4])
def test_every_pair_of_disjoint_minibatches_has_a_little_more(l: float) -> None:
    chosen = list(combinations(range(SIZE), BATCH))
    mean, covariance = moments(np.array([gradient(i) for i in chosen]))
    disjoint = [(a, b) for a in chosen for b in chosen if not set(a) & set(b)]
    amplified = moments(np.array([svag(gradient(a), gradient(b), l) for a, b in disjoint]))
    assert amplified[0] == pytest.approx(mean, abs=1e-12)
    more = l + (l - 1) * BATCH / (SIZE - BATCH)
    assert amplified[1] == pytest.approx(more * covariance, abs=1e-11)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_steps_of_any_optimizer_on_any_module(momentum: float) -> None:
    l, network = 5.0, module()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1 / l, momentum=momentum)

    def loss(rows: torch.Tensor) -> torch.Tensor:
        value: torch.Tensor = (network(rows[:, :3]) - rows[:, 3:]).square().mean()
        return value

    w = torch.cat([p.detach().flatten() for p in network.parameters()]).numpy().copy()
    buffer = np.zeros_like(w)
    examples: Any = DATA
    loader: Any = torch.utils.data.DataLoader(examples, batch_size=2)
    for pair in pairs(loader):
        own = []
        for rows in pair:
            (*at,) = torch.autograd.grad(loss(rows), list(network.parameters()))
            own.append(torch.cat([g.flatten() for g in at]).numpy())
        mean = float(sum(loss(rows).item() for rows in pair)) / 2
        buffer = momentum * buffer + 2 * own[0] - own[1]
        w = w - 0.1 / l * buffer
        assert svag_step(optimizer, loss, pair, l) == pytest.approx(mean)
    after = torch.cat([p.detach().flatten() for p in network.parameters()]).numpy()
    assert after == pytest.approx(w)
    assert len(list(pairs(loader))) == 1


def test_what_is_refused() -> None:
    refuses(coefficients, {}, l=0.5)
    refuses(svag, {"gradient_1": 1.0, "gradient_2": 1.0}, l=float("inf"))
