r"""SGD beside SGD with momentum in training from scratch, each at every step size: what does momentum add?

A run takes a thin residual network with batch normalisation (`flatter_lib.vision.thin_residual.CifarResNet`) from its
initialisation, with cross-entropy, weight decay, random crops and flips, and two decays of the step by 10, at a half
and at three quarters of the run. Settings are a grid of *effective* steps :math:`\eta/(1-\beta)` for every momentum
and batch size. Runs of one seed share initial weights, minibatches and crops. Which seeds choose a step
and which measure what it gives is the chapter's to say.

All settings are this book's own, after those reported of *The Marginal Value of Momentum*: ResNet-32 on CIFAR-10 with
minibatches of 512, a momentum of 0.9, two decays. ``paper`` is that network at full width on all images for 160 epochs,
7.7e8 images in all, and torchvision's ResNet-50 on ImageNet for 90 epochs, 4.2e9 images in all, with random crops of
random size. It has not been run. ImageNet is a folder of the user's own (:mod:`flatter_lib.vision.data.photographs`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from flatter_lib import checks
from flatter_lib.experiments._from_scratch import begun, judged
from flatter_lib.experiments._images import images_of
from flatter_lib.experiments.design import Held

#: Effective steps at the start, by batch size and momentum.
GRID: Mapping[int, Mapping[float, tuple[float, ...]]] = {
    64: dict.fromkeys((0.0, 0.9), (0.5, 1.0, 2.0)),
    512: {0.0: (1.0, 2.0, 4.0, 8.0), 0.9: (2.0, 4.0, 8.0, 16.0), 0.97: (4.0, 8.0)},
}
#: The same on ImageNet; 1 is what is customary with 256 images and a momentum of 0.9.
IMAGENET: Mapping[int, Mapping[float, tuple[float, ...]]] = {
    256: dict.fromkeys((0.0, 0.9), (0.5, 1.0, 2.0)),
    1024: dict.fromkeys((0.0, 0.9), (2.0, 4.0, 8.0)),
}
#: By batch size and momentum, the effective step at which more seeds are run: the one that the first two chose.
CHOSEN: Mapping[int, Mapping[float, float]] = {64: {0.0: 1.0, 0.9: 2.0}}


@dataclass(frozen=True)
class Configuration:
    """One run.

    Attributes:
        effective: the step over 1 - momentum, at the start.
        momentum: beta, in [0, 1).
        batch: images of a step, drawn with replacement.
        seed: of the initial weights, the minibatches and the crops.
        epochs: images that a run sees, over those that there are.
        decay: of the weights, part of the gradient.
        depth: layers of the network; on ImageNet those of one of torchvision's.
        width: of the network; 1 is 16 channels at its first stage. On ImageNet 1.
        dataset: a name of `flatter_lib.vision.data`, or ``imagenet``.
        images: training images.
        test_images: test images.
        pool: side of the blocks of pixels that are averaged; on ImageNet what 224 pixels a side are divided by.
        device: where it runs.
        dtype: precision of weights and images.
    """

    effective: float
    momentum: float
    batch: int
    seed: int
    epochs: int = 12
    decay: float = 5e-4
    depth: int = 8
    width: float = 0.5
    dataset: str = "cifar10"
    images: int = 8192
    test_images: int = 10_000
    pool: int = 4
    device: str = "cpu"
    dtype: str = "float32"

    def __post_init__(self) -> None:
        checks.fields(self, effective="(0, inf)", momentum="[0, 1)", decay="[0, inf)")
        checks.fields(self, batch=1, seed=0, epochs=1, images=1, test_images=1, pool=1)
        if self.dataset == "imagenet" and self.width != 1:
            raise ValueError(f"width: must be 1 on imagenet, got {self.width}")

    @property
    def steps(self) -> int:
        """Of the whole run."""
        return max(4, self.epochs * self.images // self.batch)


def _profile(
    seeds: int,
    more: int = 0,
    grid: Mapping[int, Mapping[float, tuple[float, ...]]] = GRID,
    **others: Any,
) -> list[Configuration]:
    """A grid for some seeds, and the chosen steps for more of them."""
    cells = [
        (effective, momentum, batch, seed)
        for seed in range(seeds)
        for batch, momenta in grid.items()
        for momentum, steps in momenta.items()
        for effective in steps
    ]
    cells += [
        (effective, momentum, batch, seed)
        for seed in range(seeds, seeds + more)
        for batch, momenta in CHOSEN.items()
        for momentum, effective in momenta.items()
    ]
    return [Configuration(*cell, **others) for cell in cells]


#: Short runs on other images, in double precision: what a reader makes again.
SHORT = [
    Configuration(
        0.2,
        momentum,
        batch=16,
        seed=0,
        epochs=1,
        width=0.25,
        dataset="digits",
        images=64,
        test_images=50,
        pool=1,
        dtype="float64",
    )
    for momentum in (0.0, 0.9)
]

PROFILES: Mapping[str, list[Configuration]] = {
    "smoke": SHORT,
    "laptop": [*_profile(seeds=6, more=14), *SHORT],
    "paper": [
        *_profile(seeds=6, epochs=160, depth=32, width=1.0, images=50_000, pool=1, device="cuda"),
        *_profile(
            seeds=3,
            grid=IMAGENET,
            epochs=90,
            decay=1e-4,
            depth=50,
            width=1.0,
            dataset="imagenet",
            images=1_281_167,
            test_images=50_000,
            pool=1,
            device="cuda",
        ),
    ],
}

#: As of other networks in single precision: rounding changes all of a run.
HELD: Held = {
    "data.source": None,
    "accuracy": {"rtol": 0.1, "share": 0.8, "common": "seed"},
    "loss": {"rtol": 0.2, "share": 0.8, "common": "seed"},
}


def run(configuration: Configuration) -> Mapping[str, Any]:
    """Make the run.

    Returns:
        ``data``: name, source and digest of the images; test ``accuracy`` and training ``loss`` at the end, without
        crops.
    """
    import torch
    from torch.nn.functional import cross_entropy
    from torch.optim.lr_scheduler import MultiStepLR

    from flatter_lib.experiments import _photographs
    from flatter_lib.vision.augment import crop_and_flip
    from flatter_lib.vision.train import Training

    c = configuration
    if c.dataset == "imagenet":
        return _photographs.trained(c)
    data, source = images_of(c)
    network, optimizer, x = begun(c, data, c.effective * (1 - c.momentum))
    training = Training(
        network,
        x,
        data.targets,
        optimizer,
        batch=c.batch,
        generator=torch.Generator().manual_seed(1000 + c.seed),
        schedulers=[MultiStepLR(optimizer, [c.steps // 2, 3 * c.steps // 4])],
        loss=cross_entropy,
        augment=partial(crop_and_flip, padding=max(1, 4 // c.pool)),
    )
    training.run(c.steps)
    return {"data": source, **judged(network, data)}


def cost(configuration: Configuration) -> float:
    """Seconds that a run takes on one core of a laptop, about."""
    c = configuration
    of_an_image = 6e-5 * (c.width / 0.5) ** 2 * (c.depth / 8) * (4 / c.pool) ** 2
    if c.dataset == "digits":
        of_an_image = 2e-4
    if c.dataset == "imagenet":
        of_an_image = 0.2 * c.depth / 50
    return 2.0 + c.batch * c.steps * of_an_image
