"""The run from scratch against a loop written by hand, on digits."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from flatter_lib.experiments._images import images_of
from flatter_lib.experiments.in_practice import PROFILES, run
from flatter_lib.vision import crop_and_flip
from flatter_lib.vision.thin_residual import CifarResNet
from tests.refusals import refuses
from tests.seeding import seeded


@pytest.mark.parametrize(("pool", "padding"), [(1, 4), (2, 2)])
def test_a_run_is_what_a_hand_written_loop_makes_of_it(pool: int, padding: int) -> None:
    c = replace(PROFILES["smoke"][1], epochs=2, seed=3, decay=0.1, pool=pool)
    data, _ = images_of(c)
    network = CifarResNet(8, c.width, inputs=1, generator=seeded(3), dtype=torch.float64)
    generator = seeded(1003)
    buffers = [torch.zeros_like(p) for p in network.parameters()]
    assert (c.steps, c.momentum, c.effective) == (8, 0.9, 0.2)
    for lr, steps in ((0.02, 4), (0.002, 2), (0.0002, 2)):
        for _ in range(steps):
            rows = torch.randint(64, (16,), generator=generator)
            outputs = network(crop_and_flip(data.x[rows], generator, padding=padding))
            loss = -(outputs.log_softmax(-1) * data.targets[rows]).sum() / 16
            gradients = torch.autograd.grad(loss, list(network.parameters()))
            with torch.no_grad():
                for p, b, g in zip(network.parameters(), buffers, gradients, strict=True):
                    b.mul_(0.9).add_(g + 0.1 * p)
                    p.sub_(lr * b)
    network.eval()
    with torch.no_grad():
        loss = -(network(data.x).log_softmax(-1) * data.targets).sum() / 64
        right = (network(data.x_test).argmax(-1) == data.labels_test).double().mean()
    found = run(c)
    assert found["loss"] == pytest.approx(float(loss), rel=1e-4)
    assert found["accuracy"] == pytest.approx(float(right), rel=1e-4)


def test_what_means_nothing_is_refused() -> None:
    c = PROFILES["smoke"][0]
    refuses(
        lambda **changed: replace(c, **changed),
        {},
        effective=0.0,
        momentum=1.0,
        batch=0,
        decay=-1.0,
    )
