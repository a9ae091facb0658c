r"""SGD beside SGD with momentum under SVAG: does the gap between them fade as l grows, in a network on real images?

A run takes a thin residual network with batch normalisation from its initialisation, with cross-entropy and weight
decay, by SVAG (:mod:`flatter_lib.heavy_ball.svag`) on two independent minibatches a step. With l the effective step is
divided by l and the run has l times as many steps: the training lasts as long for every l. It ends with a tenth of the
step from a half of the training on, and a hundredth from three quarters on. Momentum is the same at every l. The
chapter on the slow equation computes exactly what that, and other choices, do in one quadratic mode.

All settings are this book's own: how *The Marginal Value of Momentum* sets the momentum under SVAG is not known to us.
``paper`` is ResNet-32 at full width on all images; it has not been run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from flatter_lib import checks
from flatter_lib.experiments._from_scratch import begun, judged
from flatter_lib.experiments._images import images_of
from flatter_lib.experiments.design import Held

AMPLIFIED = (1, 2, 4)
MOMENTA = (0.0, 0.9)
#: Effective step of l = 1, at the start.
STEP = 4.0


@dataclass(frozen=True)
class Configuration:
    """One run.

    Attributes:
        step: effective step of l = 1, at the start.
        momentum: beta, in [0, 1).
        l: how many times the covariance of the gradient, at least 1.
        seed: of the initial weights and the minibatches.
        epochs: images that l = 1 sees, over those that there are.
        batch: images in each of the two minibatches.
        decay: of the weights, part of the gradient.
        dataset: a name of `flatter_lib.vision.data`.
        images: training images.
        test_images: test images.
        pool: side of the blocks of pixels that are averaged.
        depth: layers of the network.
        width: of the network; 1 is 16 channels at its first stage.
        device: where it runs.
        dtype: precision of weights and images.
    """

    step: float
    momentum: float
    l: int
    seed: int
    epochs: int = 8
    batch: int = 512
    decay: float = 5e-4
    dataset: str = "cifar10"
    images: int = 8192
    test_images: int = 10_000
    pool: int = 4
    depth: int = 8
    width: float = 0.5
    device: str = "cpu"
    dtype: str = "float32"

    def __post_init__(self) -> None:
        checks.fields(self, step="(0, inf)", momentum="[0, 1)", decay="[0, inf)")
        checks.fields(self, l=1, seed=0, epochs=1, batch=1, images=1, test_images=1, pool=1)

    @property
    def steps(self) -> int:
        """Of the whole run."""
        return self.l * max(1, self.epochs * self.images // self.batch)


def _profile(seeds: int, **others: Any) -> list[Configuration]:
    return [
        Configuration(STEP, momentum, l, seed, **others)
        for momentum, l, seed in product(MOMENTA, AMPLIFIED, range(seeds))
    ]


#: Short runs on other images, in double precision: what a reader makes again.
SHORT = [
    Configuration(
        0.2,
        momentum,
        AMPLIFIED[-1],
        seed=0,
        epochs=1,
        batch=16,
        dataset="digits",
        images=64,
        test_images=50,
        pool=1,
        width=0.25,
        dtype="float64",
    )
    for momentum in MOMENTA
]

PROFILES: Mapping[str, list[Configuration]] = {
    "smoke": SHORT,
    "laptop": [*_profile(seeds=4), *SHORT],
    "paper": _profile(seeds=8, epochs=160, images=50_000, pool=1, depth=32, width=1.0),
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
        ``data``: name, source and digest of the images; test ``accuracy`` and training ``loss`` at the end.
    """
    import torch
    from torch.nn.functional import cross_entropy

    from flatter_lib.heavy_ball.svag import svag_step

    c = configuration
    data, source = images_of(c)
    lr = c.step / c.l * (1 - c.momentum)
    network, optimizer, x = begun(c, data, lr)
    generator = torch.Generator().manual_seed(1000 + c.seed)

    def loss(rows: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = network(x[rows])
        return cross_entropy(outputs, data.targets[rows])

    for k in range(c.steps):
        for group in optimizer.param_groups:
            group["lr"] = lr * (1.0 if 2 * k < c.steps else 0.1 if 4 * k < 3 * c.steps else 0.01)
        rows = torch.randint(len(x), (2, c.batch), generator=generator).to(c.device)
        svag_step(optimizer, loss, (rows[0], rows[1]), c.l)
    return {"data": source, **judged(network, data)}


def cost(configuration: Configuration) -> float:
    """Seconds that a run takes on one core of a laptop, about."""
    c = configuration
    of_an_image = 6e-5 * (c.width / 0.5) ** 2 * (c.depth / 8) * (4 / c.pool) ** 2
    if c.dataset == "digits":
        of_an_image = 2e-4
    return 2.0 + 2 * c.batch * c.steps * of_an_image
