"""The run under SVAG against a loop written by hand, on digits."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from flatter_lib.experiments._images import images_of
from flatter_lib.experiments.svag_cifar10 import PROFILES, run
from flatter_lib.vision.thin_residual import CifarResNet
from tests.refusals import refuses
from tests.seeding import seeded


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_run_is_what_a_hand_written_loop_makes_of_it(momentum: float) -> None:
    c = replace(PROFILES["smoke"][0], momentum=momentum, l=2, seed=3)
    data, _ = images_of(c)
    network = CifarResNet(8, c.width, inputs=1, generator=seeded(3), dtype=torch.float64)
    generator = seeded(1003)
    buffers = [torch.zeros_like(p) for p in network.parameters()]
    assert c.steps == 8
    for k in range(1, 9):
        step = 0.2 / 2 * (1 - momentum) * {1: 1.0, 2: 1.0, 3: 0.1, 4: 0.01}[(k + 1) // 2]
        both = [
            torch.autograd.grad(
                -(network(data.x[rows]).log_softmax(-1) * data.targets[rows]).sum() / len(rows),
                list(network.parameters()),
            )
            for rows in torch.randint(64, (2, 16), generator=generator)
        ]
        plus, minus = (1 + 3**0.5) / 2, (1 - 3**0.5) / 2
        with torch.no_grad():
            for p, b, g, h in zip(network.parameters(), buffers, *both, strict=True):
                b.mul_(momentum).add_(plus * g + minus * h + 5e-4 * p)
                p.sub_(step * b)
    network.eval()
    with torch.no_grad():
        loss = float(-(network(data.x).log_softmax(-1) * data.targets).sum() / 64)
        right = (network(data.x_test).argmax(-1) == data.labels_test).double().mean()
    found = run(c)
    assert found["loss"] == pytest.approx(loss, rel=1e-4)
    assert found["accuracy"] == pytest.approx(float(right), rel=1e-4)


def test_what_means_nothing_is_refused() -> None:
    c = PROFILES["smoke"][0]
    refuses(lambda **changed: replace(c, **changed), {}, l=0, momentum=1.0, step=0.0)
