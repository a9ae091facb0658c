"""The ring of minimisers against PyTorch's own SGD and Hessian, and the flow of the edge."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from flatter_lib.checks import Floats
from flatter_lib.valleys import ring
from tests.refusals import refuses


def loss(w: Tensor) -> Tensor:
    u = w / w.norm()
    value: Tensor = 0.5 * (u[2] * (1 + 0.5 * u[0])) ** 2
    return value


@pytest.mark.parametrize("momentum", [0.0, 0.7])
def test_a_run_is_that_of_torch(momentum: float) -> None:
    place, edge = ring.descend(decay=0.01, momentum=momentum, fraction=0.95, steps=6)
    top = 2 * (1 + momentum)
    square = (1 + 0.5 * np.cos(0.5)) ** 2 / (top * 0.95)
    height = (0.01 / top) ** 0.5
    start = np.array([np.cos(0.5), np.sin(0.5), height])
    w = torch.tensor(square**0.5 * start / (1 + height**2) ** 0.5, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=1.0, momentum=momentum, weight_decay=0.01)
    swing = torch.tensor([0.0, 0.0, -2 * w[2].item()], dtype=torch.float64)
    optimizer.state[w]["momentum_buffer"] = swing
    kept = []
    for _ in range(7):
        optimizer.zero_grad()
        w.grad = torch.autograd.grad(loss(w), w)[0]
        optimizer.step()
        kept.append(w.detach().numpy().copy())
    for k in (1, 6):
        angles = [np.arctan2(x[1], x[0]) for x in (kept[k - 1], kept[k])]
        assert place[0, k - 1] == pytest.approx(np.mean(angles), rel=1e-12)
        curved = (1 + 0.5 * np.cos(np.mean(angles))) ** 2
        step = 1 / (kept[k - 1] @ kept[k - 1])
        assert edge[0, k - 1] == pytest.approx(step * curved / top, rel=1e-12)


def test_the_sharpness_is_the_hessians() -> None:
    w = torch.tensor([np.cos(1.1), np.sin(1.1), 0.0], requires_grad=True)
    (slope,) = torch.autograd.grad(loss(w), w, create_graph=True)
    rows = [torch.autograd.grad(s, w, retain_graph=True)[0] for s in slope]
    values = torch.linalg.eigvalsh(torch.stack(rows)).numpy()
    assert values == pytest.approx([0, 0, float(ring.sharpness(1.1))], abs=1e-12)


def test_descent_follows_the_flow_of_the_edge() -> None:
    def rate(_: float, place: Floats) -> Floats:
        slope = -np.sin(place) / (1 + 0.5 * np.cos(place))
        return -2 * slope / (4 + slope**2)

    times = [1.0, 3.0]
    flow = solve_ivp(rate, (0, 3), [ring.START], t_eval=times, rtol=1e-9).y[0]
    place, edge = ring.descend(decay=2e-3, momentum=0.0, fraction=1.0, steps=1500)
    assert np.abs(place[0, [499, 1499]] - flow).max() < 0.02
    assert np.abs(edge - 1).max() < 0.1


def test_what_is_refused() -> None:
    good = {"decay": 0.1, "momentum": 0.0, "fraction": 1.0, "steps": 3}
    refuses(ring.descend, good, decay=0, momentum=1, fraction=0, steps=0)
