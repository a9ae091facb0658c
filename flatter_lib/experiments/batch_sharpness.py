r"""Where does the curvature that minibatches see come to rest: does it know the step as typed or the effective one?

Networks are trained from their initialisation, without label noise, at one step size, momentum and batch size, and are
looked at on the way: the *batch sharpness* :math:`S_B` of `flatter_lib.curvature.batch_sharpness`. Plain SGD is said to
hold it at :math:`2/\eta` (Andreyev and Beneventano 2024, arXiv:2412.20553); with momentum it is said to come to rest at
:math:`2(1-\beta)/\eta` for small batches and at :math:`2(1+\beta)/\eta` for large ones (Andreyev et al. 2026,
arXiv:2604.14108). Network, images, batch sizes and steps are choices of this book.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from flatter_lib import checks
from flatter_lib.experiments._images import images_of
from flatter_lib.experiments.design import Held, short


@dataclass(frozen=True)
class Configuration:
    """Runs of one setting from several initialisations.

    Attributes:
        lr: step size as typed.
        momentum: in [0, 1).
        batch: images of a step, drawn with replacement; None for all of them.
        steps: length of the runs.
        looks: how often they are looked at, evenly spread, the start not counted.
        starts: networks, each with an initialisation and minibatches of its own.
        seed: network j and its minibatches come from ``seed`` + j.
        images: training images.
        pool: edge of the squares of pixels that are averaged.
        width: units of each hidden layer.
        layers: affine maps.
        test_images: of the data set, used for nothing.
        dataset: name of the data set.
        device: where networks are.
        dtype: their precision.
    """

    lr: float
    momentum: float
    batch: int | None
    steps: int
    looks: int = 16
    starts: int = 4
    seed: int = 0
    images: int = 512
    pool: int = 4
    width: int = 32
    layers: int = 4
    test_images: int = 1
    dataset: str = "fashion-mnist"
    device: str = "cpu"
    dtype: str = "float32"

    def __post_init__(self) -> None:
        checks.fields(self, lr="(0, inf)", momentum="[0, 1)")
        checks.fields(self, looks=1, starts=1, seed=0, images=1, pool=1, width=1, layers=1)
        checks.count("steps", self.steps, self.looks)
        if self.batch is not None:
            checks.count("batch", self.batch)


#: Step size and momentum: plain SGD; with momentum at its effective step; with momentum at its step as typed.
SETTINGS = ((0.2, 0.0), (0.02, 0.9), (0.2, 0.9))
BATCHES = (1, 4, 16, 64, None)


def _settings() -> list[Configuration]:
    """Small batches, which are cheap, take more steps."""
    return [
        Configuration(lr, momentum, batch, 8000 if batch and batch < 64 else 4000)
        for (lr, momentum), batch in product(SETTINGS, BATCHES)
    ]


#: Runs longer than the others, at equal effective steps in pairs: do small batches come to the plateau? One image a
#: step lives with smaller ones.
LONGER = [
    Configuration(lr, momentum, batch, 16000, looks=32)
    for batch, effective in ((4, 0.2), (1, 0.05))
    for lr, momentum in ((effective, 0.0), (effective / 10, 0.9))
]

#: A beginning that rounding does not change: what a reader makes again.
BEGINNING = Configuration(0.2, 0.9, None, 32, looks=4, starts=2, dtype="float64")

PROFILES: Mapping[str, list[Configuration]] = {
    "smoke": [
        Configuration(lr, 0.9, batch, 8, 2, 2, images=64, pool=1, width=4, dataset="digits")
        for lr, batch in product((0.02, 0.2), (1, None))
    ],
    "laptop": [*_settings(), *LONGER, BEGINNING],
    "paper": [
        replace(c, images=8192, pool=1, width=256, layers=6, steps=8 * c.steps, starts=8)
        for c in _settings()
    ],
}

#: Runs at the edge of stability are chaotic: other rounding leaves the start, and of the beginning everything.
HELD: Held = {
    "data.source": None,
    "sharpness": {"rtol": 2e-3, "share": 0.05},
    "top": {"rtol": 2e-3, "share": 0.05},
    "loss": {"rtol": 2e-3, "share": 0.05},
    "diverged": {"share": 0.5},
}


def run(configuration: Configuration) -> Mapping[str, Any]:
    """Train, and look.

    Returns:
        ``data``: name, source and digest of the data set; ``steps``: where runs were looked at, from 0 on. For each
        start, at every look: ``sharpness``, of the batch size that the run has; ``top``, the largest eigenvalue of the
        Gauss-Newton matrix of all images; ``loss`` on all images. All NaN where weights are no numbers. ``diverged``:
        for each start, the step, or -1.
    """
    import torch

    from flatter_lib.curvature import batch_sharpness, gauss_newton_top_eigenvalue
    from flatter_lib.vision.ensemble import Ensemble
    from flatter_lib.vision.networks import MLP, flatten, unflatten
    from flatter_lib.vision.objective import squared_loss

    c = configuration
    inputs, about = images_of(c, flat=True)
    x, y = inputs.x, inputs.targets
    networks = [
        MLP(x.shape[1], c.width, layers=c.layers, generator=torch.Generator().manual_seed(seed))
        for seed in range(c.seed, c.seed + c.starts)
    ]
    network = networks[0].to(x)
    training = Ensemble(
        network,
        torch.stack([flatten(each.to(x)) for each in networks]),
        x,
        y,
        lr=c.lr,
        momentum=c.momentum,
        batch=c.batch,
        generators=[torch.Generator().manual_seed(c.seed + 5000 + j) for j in range(c.starts)],
    )
    looks = [np.random.default_rng([c.seed + j, 1]) for j in range(c.starts)]
    draws = max(32, 1024 // (c.batch or c.images))

    def seen(weights: torch.Tensor, generator: np.random.Generator) -> tuple[float, float, float]:
        if not bool(torch.isfinite(weights).all()):
            return (np.nan, np.nan, np.nan)
        p = unflatten(network, weights)
        return (
            batch_sharpness(network, p, x, y, batch=c.batch, draws=draws, generator=generator),
            gauss_newton_top_eigenvalue(network, p, x),
            float(squared_loss(network, p, x, y)),
        )

    steps = np.linspace(0, c.steps, c.looks + 1).round().astype(int)
    found = []
    for step in steps:
        if step > training.steps:
            training.run(int(step) - training.steps)
        found.append([seen(w, g) for w, g in zip(training.weights, looks, strict=True)])
    sharpness, top, loss = np.transpose(found, (2, 1, 0))
    return {
        "data": about,
        "steps": steps.tolist(),
        "sharpness": short(sharpness),
        "top": short(top),
        "loss": short(loss),
        "diverged": training.diverged.tolist(),
    }


def cost(configuration: Configuration) -> float:
    """Seconds that a run takes on one core of a laptop, about."""
    c = configuration
    step = 3e-4 + 1.2e-4 * c.starts + 2e-6 * c.starts * (c.batch or c.images)
    return 2.0 + c.steps * step + 0.1 * c.looks * c.starts
