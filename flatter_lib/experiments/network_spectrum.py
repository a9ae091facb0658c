r"""Curvature and gradient noise of networks along the eigenvectors of their K-FAC Fisher matrix, as they train.

A run trains a network of Zhang et al. (2019, Table 1), narrow and on coarse images, by SGD with momentum, and looks at
it now and then: at the eigenvalues of the K-FAC Fisher matrix (their Figures 9 and 12), and along its eigenvectors at
the curvature h of the Fisher matrix itself, the variance c of one image's gradient (Figure 10), the mean gradient, and
how far the weights have come. Eigenvectors are taken from some images and curvatures from others, so that neither is
flattered by the accidents of the other.

Coordinates are many, and are written down in bins of their curvature. The paper trains by K-FAC; step, momentum and
batch size are this book's own, and so are widths and pixels. ``paper`` has the paper's networks, and has not been run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from flatter_lib import checks
from flatter_lib.experiments._images import images_of
from flatter_lib.experiments._table_one import network_of
from flatter_lib.experiments.design import Held, rounded, short

if TYPE_CHECKING:
    from torch import Tensor, nn

    from flatter_lib.checks import Floats
    from flatter_lib.vision.inputs import Inputs

NETWORKS = ("cnn", "resnet")
#: Lower edges of the bins of curvature, over the largest curvature; the last bin holds all below.
EDGES = 10.0 ** -np.arange(0.25, 12.01, 0.25)


@dataclass(frozen=True)
class Configuration:
    """One network.

    Attributes:
        dataset: a name of `flatter_lib.vision.data`.
        network: "cnn" or "resnet".
        seed: of the initial weights and the minibatches.
        steps: of the training; the curvature is looked at before it, and after a 100th, 30th, 10th, third, and all.
        effective: step size over 1 - momentum.
        momentum: beta, in [0, 1).
        batch: images of a step, drawn with replacement.
        curved: images for the eigenvectors, and as many others for the curvature.
        noisy: images for the gradient and its variance, none of them for the eigenvectors.
        width: of the network.
        images: training images.
        test_images: images for the accuracy.
        pool: side of the blocks of pixels that are averaged.
        device: where it runs.
        dtype: precision of training; what is looked at is in double precision.
    """

    dataset: str
    network: str
    seed: int
    steps: int = 1500
    effective: float = 0.2
    momentum: float = 0.9
    batch: int = 128
    curved: int = 512
    noisy: int = 2048
    width: float = 0.25
    images: int = 60_000
    test_images: int = 1000
    pool: int = 4
    device: str = "cpu"
    dtype: str = "float32"

    def __post_init__(self) -> None:
        checks.one_of("network", self.network, NETWORKS)
        checks.fields(self, effective="(0, inf)", momentum="[0, 1)", width="(0, inf)")
        checks.fields(self, seed=0, steps=1, batch=1, curved=1, noisy=2, test_images=1, pool=1)
        checks.count("images", self.images, self.curved + max(self.curved, self.noisy))

    @property
    def looks(self) -> list[int]:
        """Steps after which the curvature is looked at."""
        return sorted({0, *(max(1, self.steps // part) for part in (100, 30, 10, 3, 1))})


TASKS: tuple[Mapping[str, Any], ...] = (
    {"dataset": "mnist", "network": "cnn"},
    {"dataset": "fashion-mnist", "network": "cnn"},
    {"dataset": "cifar10", "network": "resnet", "images": 50_000},
)

#: A short run on other images, in double precision: what a reader makes again.
SHORT = [
    Configuration(
        "digits",
        "cnn",
        0,
        steps=20,
        batch=32,
        curved=64,
        noisy=192,
        images=256,
        test_images=100,
        pool=1,
        dtype="float64",
    )
]

PROFILES: Mapping[str, list[Configuration]] = {
    "smoke": SHORT,
    "laptop": [
        *(Configuration(**task, seed=seed) for task, seed in product(TASKS, range(4))),
        *SHORT,
    ],
    "paper": [
        Configuration(**{**task, "pool": 1, "width": 1.0}, seed=seed)
        for task, seed in product(TASKS, range(4))
    ],
}

#: Single precision and a training: rounding changes all of it in the end.
HELD: Held = {"data.source": None, "": {"rtol": 0.2, "share": 0.6, "common": "seed"}}


def run(configuration: Configuration) -> Mapping[str, Any]:
    """Train a network, and look at it.

    Returns:
        ``data``: name, source and digest of the images; ``dimension``: the number d of weights; ``path``: ``steps``,
        ``loss`` on the first training images, and test ``accuracy`` along the training; ``ranks`` and, by look, the
        ``eigenvalues`` of these ranks of the K-FAC Fisher matrix; and by look: ``loss``, ``top``: the largest
        curvature; ``simple`` and ``noise_scale``: traces of C over |G|^2 and of H C over G'HG; and by look and bin of
        curvature: ``number`` of coordinates, their sums of ``curvature``, ``noise``, ``square`` (of the mean gradient,
        unbiased) and ``moved`` (curvature times the square of the way from the start), and the mean, ``ratio``, and
        ``scatter`` of the logarithm of noise over curvature.
    """
    import torch
    from torch.nn.functional import cross_entropy

    c = configuration
    data, source = images_of(c)
    network = network_of(c, data, torch.Generator().manual_seed(c.seed))
    generator = torch.Generator().manual_seed(1000 + c.seed)
    lr = c.effective * (1 - c.momentum)
    optimizer = torch.optim.SGD(network.parameters(), lr=lr, momentum=c.momentum)
    start = {name: p.detach().clone().double() for name, p in network.named_parameters()}
    marks = {0, *c.looks, *np.geomspace(1, c.steps, 40).round().astype(int).tolist()}
    path: dict[str, list[float]] = {"steps": [], "loss": [], "accuracy": []}
    found = []
    for k in range(c.steps + 1):
        if k in marks:
            loss, right = _judged(network, data, c)
            for name, value in (("steps", k), ("loss", loss), ("accuracy", right)):
                path[name].append(value)
        if k in c.looks:
            found.append(look(network, start, data, c))
        rows = torch.randint(len(data.x), (c.batch,), generator=generator).to(c.device)
        optimizer.zero_grad()
        torch.autograd.backward(cross_entropy(network(data.x[rows]), data.labels[rows]))
        optimizer.step()
    dimension = sum(p.numel() for p in network.parameters())
    return {
        "data": source,
        "dimension": dimension,
        "path": path,
        "ranks": ranks(dimension).tolist(),
        **{name: [moment[name] for moment in found] for name in found[0]},
    }


def look(
    network: nn.Module, start: Mapping[str, Tensor], data: Inputs, c: Configuration
) -> dict[str, Any]:
    """Curvature and noise at one moment, in double precision."""
    import copy

    from torch.nn.functional import cross_entropy

    from flatter_lib.fisher import (
        curvature_along,
        gradient_along,
        kronecker_eigenbasis,
        weights_along,
    )

    network = copy.deepcopy(network).double()
    x, labels = data.x[: c.curved + max(c.curved, c.noisy)].double(), data.labels
    basis = kronecker_eigenbasis(network, x[: c.curved])
    products = np.concatenate([np.asarray(b.eigenvalues.cpu()).ravel() for b in basis.values()])
    x, labels = x[c.curved :], labels[c.curved :]
    h = curvature_along(network, basis, x[: c.curved])
    g, noise = gradient_along(network, basis, x[: c.noisy], labels[: c.noisy])
    # The square of a mean over n images has a n-th of the variance in it.
    noise *= c.noisy / (c.noisy - 1)
    square = g**2 - noise / c.noisy
    here = dict(network.named_parameters())
    moved = weights_along(network, basis, {name: here[name] - start[name] for name in start})
    place = np.searchsorted(-EDGES, -h / h.max())
    curved = h > 0

    def summed(values: Floats) -> list[float]:
        return short(np.bincount(place[curved], values[curved], len(EDGES) + 1))

    number = np.bincount(place[curved], minlength=len(EDGES) + 1)
    some = np.maximum(number, 1)
    log = np.log(np.maximum(noise, np.finfo(float).tiny) / np.where(curved, h, 1.0))
    mean = np.bincount(place[curved], log[curved], len(EDGES) + 1) / some
    spread = np.bincount(place[curved], (log - mean[place])[curved] ** 2, len(EDGES) + 1) / some
    loss = float(cross_entropy(network(x[: c.noisy]).detach(), labels[: c.noisy]))
    return {
        "loss": rounded(loss, 5),
        "top": rounded(h.max()),
        "eigenvalues": short(np.sort(products)[::-1][ranks(h.size) - 1]),
        "simple": rounded(noise.sum() / square.sum()),
        "noise_scale": rounded(float(h @ noise) / float(h @ square)),
        "number": number.tolist(),
        "curvature": summed(h),
        "noise": summed(noise),
        "square": summed(square),
        "moved": summed(h * moved**2),
        "ratio": short(mean),
        "scatter": short(np.sqrt(spread)),
    }


def ranks(dimension: int) -> Any:
    """Ranks at which eigenvalues are written down, from 1 to the dimension, sixteen in a decade."""
    return np.unique(
        np.geomspace(1, dimension, int(16 * np.log10(dimension)) + 2).round().astype(int)
    )


def _judged(network: nn.Module, data: Inputs, c: Configuration) -> tuple[float, float]:
    import torch
    from torch.nn.functional import cross_entropy

    with torch.no_grad():
        loss = cross_entropy(network(data.x[: c.curved]), data.labels[: c.curved])
        right = (network(data.x_test).argmax(-1) == data.labels_test).double().mean()
    return rounded(float(loss), 5), rounded(float(right), 5)


def cost(configuration: Configuration) -> float:
    """Seconds that a run takes on one core of a laptop, about."""
    c = configuration
    of_an_image = (1e-5 if c.network == "cnn" else 4e-5) * (4 * c.width) ** 2 * (4 / c.pool) ** 2
    return 3.0 + of_an_image * (
        3 * c.batch * c.steps + len(c.looks) * (60 * c.curved + 4 * c.noisy)
    )
