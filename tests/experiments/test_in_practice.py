"""The run from scratch against a loop written by hand, on digits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from flatter_lib.experiments._images import images_of
from flatter_lib.experiments._photographs import fresh
from flatter_lib.experiments.in_practice import CHOSEN, PROFILES, Configuration, run
from flatter_lib.vision import crop_and_flip
from flatter_lib.vision.data.photographs import Photographs
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


@pytest.fixture
def photographs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A few photographs of three classes where ImageNet would lie."""
    rng = np.random.default_rng(4)
    for part, count in (("train", 3), ("val", 2)):
        for name in ("ant", "bee", "cat"):
            (tmp_path / "imagenet" / part / name).mkdir(parents=True)
            for i in range(count):
                image = Image.fromarray(rng.integers(0, 256, (9, 11, 3), dtype=np.uint8))
                image.resize((50, 40)).save(tmp_path / "imagenet" / part / name / f"{i}.JPEG")
    monkeypatch.setenv("FLATTER_DATA", str(tmp_path))
    return tmp_path / "imagenet"


def test_a_run_on_photographs_is_what_a_hand_written_loop_makes_of_it(photographs: Path) -> None:
    c = Configuration(
        0.05, 0.5, 3, 2, epochs=1, decay=0.1, depth=18, width=1.0, dataset="imagenet", images=8,
        test_images=5, pool=7, dtype="float64",
    )  # fmt: skip
    assert c.steps == 4
    train, test = (Photographs(photographs / part, 32) for part in ("train", "val"))
    network = fresh(18, 3, seeded(2)).double()
    chosen = np.random.default_rng(0).permutation(9)[:8]
    draws = seeded(1002)
    buffers = [torch.zeros_like(p) for p in network.parameters()]
    for step, lr in enumerate((0.025, 0.025, 0.0025, 0.00025)):
        rows = chosen[torch.randint(8, (3,), generator=draws)]
        got = [train[int(row), (2, step, i)] for i, row in enumerate(rows)]
        outputs = network(torch.stack([x for x, _ in got]).double())
        loss = -sum(outputs.log_softmax(-1)[i, label] for i, (_, label) in enumerate(got)) / 3
        gradients = torch.autograd.grad(loss, list(network.parameters()))
        with torch.no_grad():
            for p, b, g in zip(network.parameters(), buffers, gradients, strict=True):
                b.mul_(0.5).add_(g + 0.1 * p)
                p.sub_(lr * b)
    network.eval()
    some = np.random.default_rng(0).permutation(6)[:5]
    with torch.no_grad():
        right = [
            int(network(test[int(i), None][0].double()[None]).argmax()) == test.labels[i]
            for i in some
        ]
        losses = [
            -float(
                network(train[int(i), None][0].double()[None]).log_softmax(-1)[0, train.labels[i]]
            )
            for i in chosen[:5]
        ]
    found = run(c)
    assert found["accuracy"] == pytest.approx(np.mean(right))
    assert found["loss"] == pytest.approx(np.mean(losses), rel=1e-3)
    assert found["data"] == {
        "name": "imagenet",
        "source": "photographs in folders",
        "digest": train.digest,
    }


def test_the_network_on_photographs_is_torchvisions_with_weights_of_its_generator() -> None:
    one, two = (dict(fresh(50, 1000, seeded(1)).named_parameters()) for _ in range(2))
    weights = list(one.values())
    assert sum(p.numel() for p in weights) == 25_557_032
    assert all(torch.equal(p, q) for p, q in zip(weights, two.values(), strict=True))
    spread = float(one["layer3.0.conv2.weight"].detach().std())
    assert spread == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.01)
    assert float(one["bn1.weight"].detach().mean()) == 1
    assert float(one["fc.weight"].detach().std()) == pytest.approx(2048**-0.5, rel=0.01)


def test_more_seeds_are_run_at_the_steps_that_the_first_chose() -> None:
    cells = {(c.batch, c.momentum, c.effective, c.seed) for c in PROFILES["laptop"]}
    for batch, momenta in CHOSEN.items():
        for momentum, effective in momenta.items():
            assert {s for b, m, e, s in cells if (b, m, e) == (batch, momentum, effective)} == {
                *range(20)
            }
    of_imagenet = [c for c in PROFILES["paper"] if c.dataset == "imagenet"]
    assert {(c.depth, c.images, c.test_images) for c in of_imagenet} == {(50, 1_281_167, 50_000)}


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
    with pytest.raises(ValueError, match=r"^width: must be 1 on imagenet"):
        replace(c, dataset="imagenet")
