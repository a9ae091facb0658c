"""Runs of the experiment on batch sharpness, against a loop written by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from flatter_lib.curvature import gauss_newton_trace
from flatter_lib.experiments._images import images_of
from flatter_lib.experiments.batch_sharpness import PROFILES, run
from flatter_lib.vision.networks import MLP

SMALL = replace(PROFILES["smoke"][-1], batch=None, dtype="float64")


def test_a_run_is_what_a_hand_written_loop_makes_of_it() -> None:
    inputs, _ = images_of(SMALL, flat=True)
    network = MLP(64, 4, layers=4, generator=torch.Generator().manual_seed(SMALL.seed + 1))
    optimizer = torch.optim.SGD(network.parameters(), SMALL.lr, SMALL.momentum)
    for _ in range(SMALL.steps):
        optimizer.zero_grad()
        (0.5 * (network(inputs.x) - inputs.targets).square().sum() / 64).backward()
        optimizer.step()
    loss = 0.5 * (network(inputs.x) - inputs.targets).square().sum() / 64
    leaves = tuple(network.parameters())
    g = torch.autograd.grad(loss, leaves, create_graph=True)
    own = [part.detach() for part in g]
    along = torch.autograd.grad(g, leaves, own)
    curvature = sum(float((a * b).sum()) for a, b in zip(own, along, strict=True))
    found = run(SMALL)
    assert found["steps"] == [0, 4, 8]
    assert found["loss"][1][-1] == pytest.approx(loss.item(), rel=1e-3)
    square = sum(float(part.square().sum()) for part in own)
    assert found["sharpness"][1][-1] == pytest.approx(curvature / square, rel=1e-3)
    weights = {name: p.detach() for name, p in network.named_parameters()}
    trace = float(gauss_newton_trace(network, weights, inputs.x))
    assert 0 < found["top"][1][-1] < trace


def test_what_diverges_is_no_number() -> None:
    found = run(replace(SMALL, lr=1e6, steps=64))
    assert np.isnan(np.array(found["sharpness"], dtype=float)[:, -1]).all()
    assert min(found["diverged"]) >= 0
