r"""Does Local SGD flatten an MLP faster than SGD with the same total batch, and does that help on test images?

Networks of `flatter_lib.experiments.mlp_fashion_mnist` are trained without noise; then label noise is switched on, and
K workers make H steps each between two averages (Local SGD after SGD: *post-local*). H = 1 is SGD. Runs are looked at
after a short way down without noise. The conditions that Gu, Lyu, Huang & Arora (2023, arXiv:2303.01215) name in their
abstract are a small step and long training: `SMALL` beside `LARGE`, and the last look beside the one at a tenth of the
steps. Sizes, noise and steps are choices of this book.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from flatter_lib import checks
from flatter_lib.checks import Floats
from flatter_lib.experiments.design import Held, short
from flatter_lib.experiments.mlp_fashion_mnist import QUANTITIES, at_rest, starts_of
from flatter_lib.experiments.mlp_fashion_mnist import Configuration as Network
from flatter_lib.valleys.local import share

if TYPE_CHECKING:
    from torch import Tensor, nn

#: Steps: eta h is about 0.2 and 0.7 at the sharpest start.
SMALL, LARGE = 0.01, 0.04
#: H at either step: SGD, and eta H of 1/4 and 1.
PERIODS = {SMALL: (1, 25, 100), LARGE: (1, 25)}
#: Where runs are looked at, in tenths of their steps.
LOOKS = (0, 1, 3, 6, 10)


@dataclass(frozen=True)
class Configuration:
    """Runs of one setting from several starts.

    Attributes:
        lr: step size eta.
        period: H, steps between two averages; 1 for SGD, whose batch is that of all workers.
        seed: of the first worker's noise; the others count up from it.
        workers: K.
        batch: images of a worker's step, drawn with replacement.
        noise: standard deviation of the noise on every target.
        steps: of every run, a multiple of ten periods.
        starts: networks, each with a run.
        dataset: name of the data set.
        images: training images.
        test_images: test images.
        device: where to compute.
        dtype: in which precision.
    """

    lr: float
    period: int
    seed: int
    workers: int = 4
    batch: int = 12
    noise: float = 1.0
    steps: int = 8000
    starts: int = 24
    dataset: str = "fashion-mnist"
    images: int = 192
    test_images: int = 10_000
    device: str = "cpu"
    dtype: str = "float32"

    def __post_init__(self) -> None:
        checks.fields(self, lr="(0, inf)", noise="[0, inf)", period=1, seed=0, workers=1, batch=1)
        checks.fields(self, starts=1, images=1, test_images=1)
        if checks.count("steps", self.steps) % (10 * self.period):
            raise ValueError(f"steps: must be a multiple of ten periods, got {self.steps}")

    @property
    def network(self) -> Network:
        """The training without noise that runs start from, and how they are judged."""
        names = ("starts", "dataset", "images", "test_images", "device", "dtype")
        own: dict[str, Any] = {name: getattr(self, name) for name in names}
        return Network(1.0, 1.0, 0.0, 0, 0, pool=4, trace_images=self.images, **own)


_SETTINGS = [
    Configuration(lr, p, 10**6 + 1000 * i)
    for i, (lr, p) in enumerate((lr, p) for lr in PERIODS for p in PERIODS[lr])
]
#: In double precision, for a reader to repeat.
BEGINNING = Configuration(LARGE, 10, 2 * 10**6, steps=100, starts=2, dtype="float64")

PROFILES: Mapping[str, list[Configuration]] = {
    "smoke": [
        Configuration(0.01, period, 0, 4, 12, 1.0, 40, 2, "digits", 24, 100, dtype="float64")
        for period in (1, 4)
    ],
    "laptop": [*_SETTINGS, BEGINNING],
    "paper": [replace(c, workers=8, steps=10 * c.steps, device="cuda") for c in _SETTINGS],
}

#: Runs stay on the floor, where other rounding changes little; those that have left it grow apart.
HELD: Held = {
    "data.source": None,
    "expected": {"rtol": 2e-3},
    **{name: {"rtol": 2e-3, "share": 0.5} for name in QUANTITIES},
}


def run(configuration: Configuration) -> Mapping[str, Any]:
    """Make the runs, and look at them.

    Returns:
        ``data``: name, source and digest of the data set; ``steps``: of the looks; ``trace`` (Tr H, Gauss-Newton),
        ``loss`` and ``accuracy`` (of test images) at rest, for each start, at every look, NaN for runs whose weights
        are no numbers; ``expected``, of the first start.
    """
    import torch

    from flatter_lib.vision.ensemble import Ensemble

    c = configuration
    starts = starts_of(c.network)
    # With H = 1 the mean of the workers' gradients is that of one larger batch.
    own = c.workers if c.period > 1 else 1
    training = Ensemble(
        starts.network,
        starts.floor.repeat_interleave(own, 0),
        starts.inputs.x,
        starts.inputs.targets,
        lr=c.lr,
        label_noise=c.noise,
        batch=c.batch * (c.workers // own),
        generators=[torch.Generator().manual_seed(c.seed + j) for j in range(c.starts * own)],
    )
    steps = np.array(LOOKS) * (c.steps // 10)
    looks = [at_rest(c.network, starts.floor)]
    for here in steps[1:]:
        while training.steps < here:
            training.run(c.period if own > 1 else int(here) - training.steps)
            average = training.weights.view(c.starts, own, -1).mean(1)
            training.weights = average.repeat_interleave(own, 0)
        looks.append(at_rest(c.network, average))
    of = starts.network, starts.floor[0], starts.inputs.x
    fast = _expected(*of, c.lr, c.workers, c.period) if own > 1 else 1.0
    return {
        "data": starts.data,
        "steps": steps.tolist(),
        "expected": fast,
        **{name: short(np.stack([look[name] for look in looks], axis=-1)) for name in QUANTITIES},
    }


def _expected(
    network: nn.Module, weights: Tensor, inputs: Tensor, lr: float, workers: int, period: int
) -> float:
    r"""How many times faster Tr H begins to fall under Local SGD than under SGD with the same total batch.

    .. math:: \frac{\nabla \operatorname{Tr} H \cdot P \nabla \operatorname{Tr} C_K H}
        {\nabla \operatorname{Tr} H \cdot P \nabla \operatorname{Tr} C_1 H}, \qquad
        C_K = \frac{1 + (K-1) \psi_d(H)}{1 - \eta H/2} \text{ held},

    with the projector P on what changes no output, where the network fits its targets; see `flatter_lib.valleys.local`.
    """
    import torch
    from torch.func import functional_call, grad, jacrev, vmap

    from flatter_lib.vision.networks import unflatten

    w, x = weights.double(), inputs.double()

    def outputs(at: Tensor, image: Tensor) -> Any:
        return functional_call(network, unflatten(network, at), (image[None],))[0]

    def jacobian(at: Tensor) -> Any:
        return vmap(jacrev(outputs), (None, 0))(at, x).flatten(0, 1)

    J = jacobian(w)
    squares, U = torch.linalg.eigh(J @ J.T)
    walls = squares > 1e-12 * squares[-1]
    squares, U = squares[walls], U[:, walls]
    h = squares.numpy(force=True) / len(x)

    def along(gain: Floats) -> Tensor:
        """P times the gradient of Tr C H, up to a factor."""
        held = (U * torch.from_numpy(gain).to(U)) @ (U.T @ J)
        g: Tensor = grad(lambda at: (jacobian(at) * held).sum())(w)
        across: Tensor = J.T @ (U @ ((U.T @ (J @ g)) / squares))
        return g - across

    one = 1 / (1 - lr * h / 2)
    many = (1 + (workers - 1) * share(h, lr, period)) * one
    of_trace = along(np.ones_like(h))
    return float(of_trace @ along(many) / (of_trace @ along(one)))


def cost(configuration: Configuration) -> float:
    """Seconds that a run takes on one core of a laptop, about."""
    c = configuration
    own = c.workers if c.period > 1 else 1
    step = 4e-4 + 4e-5 * c.starts * own + 1.2e-6 * c.batch * c.workers * c.starts
    return 20.0 + c.steps * step + 1.5 * c.starts
