r"""Which pixels does a network's answer rest on, and could masks make it answer anything?

Networks of `mlp_fashion_mnist` go down to the floor of their loss. Then they are trained on, with label noise, which
flattens them, or with none, and a last time without noise. Their outputs, which were fitted to one-hot targets by
squares, become probabilities by a softmax at the temperature that is likeliest on test images that are not used again.

For each image and each class a mask is fitted (:mod:`flatter_lib.vision.saliency`), and tried on fills that it has not
seen. A fill has, at each pixel, the value of a training image drawn for that pixel alone. Masks of other methods keep
as many pixels as the fitted mask for the same image and class adds up to. The label is the network's own answer.

Settings are the book's own. ``paper`` has the number of steps that is said of the paper; it has not been run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from flatter_lib import checks
from flatter_lib.experiments import mlp_fashion_mnist as mlp
from flatter_lib.experiments.design import Held, rounded, short

if TYPE_CHECKING:
    from torch import Tensor

    from flatter_lib.vision.saliency import LogProbabilities

#: Of the mask's grid, quarter and full resolution; of total variation; of the area.
COARSE, FINE, SMOOTHNESS, AREA = 7, 28, 10.0, 0.3
NOISES = (0.0, 1.0)
#: Step size, momentum and steps after the floor: with label noise, and then without.
NOISY, QUIET = (0.08, 0.93, 400), (0.04, 0.9, 600)
FILLS = 10
#: Sides of the blocks of pixels for which `reach` is measured.
BLOCKS = (1, 2, 4, 7, 14)
#: Of the way, where integrated gradients take theirs: the midpoint rule.
SHARES = [(j + 0.5) / 16 for j in range(16)]


@dataclass(frozen=True)
class Configuration:
    """Masks of one kind, of some networks.

    Attributes:
        noise: standard deviation of the label noise after the floor.
        coarse: side of the grid on which a mask lives.
        smoothness: weight of the total variation.
        seed: of noise, minibatches and fills.
        starts: networks.
        masked: images for which masks are fitted.
        shown: of these, how many are kept with their masks, of the first network.
        steps: of a fit.
        dataset: a name of `flatter_lib.vision.data`.
        images: training images.
        test_images: test images; the first half sets the temperature.
        width: of the hidden layers.
        batch: images a step.
        device: where to compute.
        dtype: in which precision.
    """

    noise: float
    coarse: int
    smoothness: float
    seed: int = 0
    starts: int = 5
    masked: int = 64
    shown: int = 3
    steps: int = 250
    dataset: str = "fashion-mnist"
    images: int = 4096
    test_images: int = 4000
    width: int = 64
    batch: int = 256
    device: str = "cpu"
    dtype: str = "float32"

    def __post_init__(self) -> None:
        checks.fields(self, noise="[0, inf)", smoothness="[0, inf)", coarse=1, seed=0, starts=1)
        checks.fields(self, masked=1, shown=0, steps=1, images=1, test_images=2, width=1, batch=1)


def variants(coarse: int = COARSE, fine: int = FINE, **others: Any) -> list[Configuration]:
    """The method, and the method without total variation, without upsampling, without both; for each noise."""
    kinds = ((coarse, SMOOTHNESS), (coarse, 0.0), (fine, SMOOTHNESS), (fine, 0.0))
    return [Configuration(noise, *kind, **others) for noise, kind in product(NOISES, kinds)]


def small() -> list[Configuration]:
    """On digits and in double precision, in seconds, which a reader can repeat."""
    sizes: dict[str, Any] = {"starts": 1, "masked": 6, "shown": 1, "steps": 20, "width": 8}
    sizes |= {"dataset": "digits", "images": 128, "test_images": 60, "batch": 32}
    return [replace(c, noise=c.noise / 5, dtype="float64") for c in variants(2, 8, **sizes)]


PROFILES: Mapping[str, list[Configuration]] = {
    "smoke": [replace(c, steps=5, masked=3) for c in small()],
    "laptop": [*variants(), *small()[::5]],
    "paper": variants(
        starts=10, masked=1000, steps=2000, images=60_000, test_images=10_000, width=512
    ),
}

#: Rounding moves networks in single precision a little, and with them all that is measured on them.
HELD: Held = {
    "data.source": None,
    "network": {"rtol": 0.02, "share": 0.8},
    "base": {"rtol": 0.05, "atol": 0.02, "share": 0.8},
    "masks": {"rtol": 0.05, "atol": 0.02, "share": 0.8},
    "reach": {"rtol": 0.05, "share": 0.8},
    "shown": {"rtol": 0.05, "atol": 0.05, "share": 0.8},
}


def run(configuration: Configuration) -> dict[str, Any]:
    r"""Fit the masks and try them.

    Returns:
        ``data``: name, source and digest of the images. ``network``: ``trace``, ``loss``, ``accuracy`` and
        ``temperature`` of each network. ``base``: probability of the label in the whole image, (networks, images).
        ``masks``: for ``fitted``, and with upsampling and total variation for ``gradient``, ``integrated`` and
        ``random``: ``label``, the probability of the label under the mask for it; ``raised``, how much higher than in
        the whole image the probability of a wrong class is under the mask for it, mean over the wrong classes;
        ``worst``, the largest such probability; ``area`` of the mask for the label; each (networks, images).
        ``reach``: of the first-order change of :math:`\log p_a`, see `_reach`. ``shown``: some images, in [0, 1], and
        their fitted masks, for the label and for the wrong class for which it does best, with these classes.
    """
    import torch

    from flatter_lib.vision import saliency

    c = configuration
    starts, trained = _networks(replace(c, coarse=1, smoothness=0.0, steps=1, masked=1, shown=0))
    data, half = starts.inputs, c.test_images // 2
    images = data.x_test[half : half + c.masked]
    side = round(images.shape[1] ** 0.5)
    generator = torch.Generator().manual_seed(10_000 + c.seed)
    rows = torch.randint(len(data.x), (2 * FILLS, images.shape[1]), generator=generator)
    fills = data.x.cpu().gather(0, rows).to(images)
    found: dict[str, Any] = {"data": dict(starts.data), "base": [], "masks": {}, "reach": {}}
    found["network"] = {
        name: short(starts.judged(trained, min(512, c.images), name)) for name in mlp.QUANTITIES
    } | {"temperature": []}
    for weights in trained:
        temperature, answer = _calibrated(starts, weights, half)
        found["network"]["temperature"].append(rounded(temperature))
        with torch.no_grad():
            whole = answer(images).exp()
        label = torch.nn.functional.one_hot(whole.argmax(-1), whole.shape[-1]).bool()
        found["base"].append(short(whole[label].cpu().double()))
        fitted = saliency.fit_masks(
            answer,
            images,
            fills[:FILLS],
            coarse=c.coarse,
            smoothness=c.smoothness,
            area=AREA,
            steps=c.steps,
        )
        fine = saliency.upsampled(fitted, side)
        masks = {"fitted": fine}
        if c.coarse < side and c.smoothness:
            counts, mean = fine.sum(-1, keepdim=True).round(), torch.zeros_like(images[0])
            scores = {
                "gradient": saliency.attributions(answer, images, mean, [1.0]),
                "integrated": saliency.attributions(answer, images, mean, SHARES),
                "random": torch.rand(fine.shape, generator=generator).to(fine),
            }
            for name, score in scores.items():
                ranks = score.argsort(-1, descending=True).argsort(-1)
                masks[name] = (ranks < counts).to(score)
            for name, pulled in _reach(answer, images, fills[FILLS:], label).items():
                found["reach"].setdefault(name, []).append(short(pulled))
        for name, mask in masks.items():
            seen = saliency.under_masks(answer, images, mask, fills[FILLS:])
            wrong = seen[~label].view(len(images), -1)
            measured = {
                "label": seen[label],
                "raised": wrong.mean(-1) - whole[~label].view_as(wrong).mean(-1),
                "worst": wrong.max(-1).values,
                "area": mask.mean(-1)[label],
            }
            kept = found["masks"].setdefault(name, {key: [] for key in measured})
            for key, values in measured.items():
                kept[key].append(short(values.cpu().double()))
            if name == "fitted" and "shown" not in found:
                found["shown"] = _shown(data.x, images[: c.shown], fitted, seen, label)
    return found


def cost(configuration: Configuration) -> float:
    """Seconds that a run takes on one core of a laptop, about."""
    c = configuration
    size = c.width / 64 if c.dataset != "digits" else 0.3
    return c.starts * size * (6.0 + 3.5e-4 * c.masked * c.steps)


@lru_cache(maxsize=2)
def _networks(c: Configuration) -> tuple[mlp.Starts, Tensor]:
    """Networks, and their weights after the floor, noise and quiet."""
    import torch

    from flatter_lib.vision.ensemble import Ensemble

    same = ("starts", "dataset", "images", "test_images", "width", "device", "dtype")
    given: dict[str, Any] = {name: getattr(c, name) for name in same}
    starts = mlp.starts_of(
        mlp.Configuration(1.0, 1.0, 0.0, 0, 0, pool=1, descent_batch=c.batch, **given)
    )
    weights = starts.floor
    for noise, (lr, momentum, steps) in ((c.noise, NOISY), (0.0, QUIET)):
        training = Ensemble(
            starts.network,
            weights.clone(),
            starts.inputs.x,
            starts.inputs.targets,
            lr=lr,
            momentum=momentum,
            label_noise=noise,
            batch=c.batch,
            generators=[torch.Generator().manual_seed(1000 * c.seed + j) for j in range(c.starts)],
        )
        training.run(steps)
        weights = training.weights
    return starts, weights


def _calibrated(starts: mlp.Starts, weights: Tensor, held: int) -> tuple[float, LogProbabilities]:
    """The temperature that is likeliest on the first test images, and log probabilities at it."""
    import torch
    from scipy.optimize import minimize_scalar
    from torch.func import functional_call

    from flatter_lib.vision.networks import unflatten

    parameters = unflatten(starts.network, weights)

    def outputs(x: Tensor) -> Tensor:
        flat: Tensor = functional_call(starts.network, parameters, (x.flatten(0, -2),))
        return flat.view(*x.shape[:-1], -1)

    with torch.no_grad():
        logits = outputs(starts.inputs.x_test[:held]).double()
    labels = starts.inputs.labels_test[:held]
    likely = minimize_scalar(
        lambda t: float(torch.nn.functional.cross_entropy(logits / np.exp(t), labels)),
        bounds=(-4.0, 2.0),
        method="bounded",
    )
    temperature = float(np.exp(likely.x))
    return temperature, lambda x: torch.log_softmax(outputs(x) / temperature, -1)


def _reach(
    answer: LogProbabilities, images: Tensor, fills: Tensor, label: Tensor
) -> dict[str, np.ndarray]:
    r"""How far masks on blocks of b x b pixels can move :math:`\log p_a` to first order, about the mask 1/2.

    It is :math:`\frac12\sum_c |\sum_{i\in c} g_i|` over the blocks c, with :math:`g = \nabla \log p_a \odot (x - n)`
    averaged over the fills n. ``label`` and ``wrong``, a mean over classes, are (images, sizes of blocks); ``size`` is
    the length of g for wrong classes, in the mean, (images,).
    """
    import torch

    pulls = []
    for fill in fills:
        x = ((images + fill) / 2).requires_grad_()
        out = answer(x)
        rows = [torch.autograd.grad(column.sum(), x, retain_graph=True)[0] for column in out.T]
        pulls.append(torch.stack(rows, 1) * (images - fill).unsqueeze(1))
    g = torch.stack(pulls).mean(0)
    side = round(g.shape[-1] ** 0.5)
    reaches = []
    for b in (b for b in BLOCKS if side % b == 0):
        blocks = g.view(*g.shape[:-1], side // b, b, side // b, b).sum((-1, -3))
        reaches.append(blocks.abs().sum((-2, -1)) / 2)
    reach, n = torch.stack(reaches, -1).cpu().double(), len(images)
    wrong = reach[~label.cpu()].view(n, -1, len(reaches)).mean(1)
    size = g.norm(dim=-1)[~label].view(n, -1).mean(1).cpu().double()
    return {"label": reach[label.cpu()].numpy(), "wrong": wrong.numpy(), "size": size.numpy()}


def _shown(
    training: Tensor, images: Tensor, fitted: Tensor, seen: Tensor, label: Tensor
) -> dict[str, Any]:
    """Pixels are black where they are least in any training image."""
    import torch

    least = training.min(0).values
    pixels = (images - least) / (training - least).max()
    at = torch.arange(len(images))
    right, best = label[: len(images)].int().argmax(-1), seen.masked_fill(label, -1.0).argmax(-1)
    chosen = {"label": right, "wrong": best[: len(images)]}
    return {"pixels": short(pixels.cpu().double())} | {
        name: {
            "class": which.tolist(),
            "probability": short(seen[at, which].cpu().double()),
            "mask": short(fitted[at, which].flatten(1).cpu().double()),
        }
        for name, which in chosen.items()
    }
