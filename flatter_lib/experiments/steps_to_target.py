r"""How many steps a network needs to a target accuracy, at each batch size and with each optimizer, tuned.

A run is one point of Figures 5 to 7 of Zhang et al. (2019): one task, one optimizer, one batch size. It tunes the
optimizer by quasi-random search (`flatter_lib.experiments._search`) and takes the best setting again with other seeds,
whose steps are the result, and beside them the steps to the same accuracy on training images (Figure 8).
Hyperparameters lie in boxes that were set by pilots with another seed:

* the effective step :math:`\eta/(1-\beta)`, in a box whose middle grows with the batch size as `GROWTH` says;
* for momentum :math:`1-\beta` of heavy ball and K-FAC, and :math:`1-\beta_1` of Adam;
* for Adam :math:`1-\beta_2`; for K-FAC the damping;
  K-FAC's first box, a damping from 1e-3 to 1 and steps twice as large, had half of its optima at the least damping that
  was tried. Larger steps changed nothing in a pilot: from 64 images on, above an effective step of
  some 0.1, the clipping binds. So the box went down. A damping of 1e-4 took as many steps as 1e-3 or more, and 1e-5
  far more, so that the box now ends at 1e-4. A clipping of 0.1 took more steps than 0.01 nearly everywhere, one of
  0.001 from three quarters to twice as many; it is held;
* for averaged weights :math:`1-\gamma`, where :math:`\tilde\theta_{t} = \gamma\tilde\theta_{t-1} + (1-\gamma)\theta_t`
  are the weights that are judged; for a linear decay of the step its horizon.

Accuracy is that on ``test_images`` images which no step sees, or on the first so many training images. It is looked at
after every step at first, and then whenever a twentieth of the steps so far has passed, so that steps are exact to
that. A run that has less than half of the target after half of the steps that it may take is given up. Networks, tasks
and protocol are the paper's; widths, pixels, budgets, boxes and targets are this book's own, and small. ``laptop`` has
the two CNNs, ``more`` ResNet-8 and the second searches, which together take as long again. ``paper`` has
the paper's networks, sizes, targets and 100 trials, and has not been run; nor has ``gpu``, ResNet-8 at full width with
batches up to 8,192.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from flatter_lib import checks
from flatter_lib.experiments._images import images_of
from flatter_lib.experiments._search import Trial, fastest, search
from flatter_lib.experiments._table_one import network_of
from flatter_lib.experiments.design import Held, rounded, whole

if TYPE_CHECKING:
    from torch import Tensor, nn

    from flatter_lib.vision.inputs import Inputs

OPTIMIZERS = ("sgd", "momentum", "adam_plain", "adam", "kfac_plain", "kfac")
NETWORKS = ("cnn", "resnet")
SIZES = (4, 16, 64, 256, 1024)
FEWER = (8, 32, 128, 512)
#: Middles of the boxes of the effective step at B = 32, by network.
MIDDLES: Mapping[str, Mapping[str, float]] = {
    "cnn": {"sgd": 0.07, "adam": 5e-3, "kfac": 0.06},
    "resnet": {"sgd": 0.2, "adam": 2e-3, "kfac": 0.06},
}
#: The middles grow as these powers of the batch size, below 32 and above.
GROWTH = (0.5, 0.25)
#: An axis of steps goes so many times below and above its middle.
WIDE = 8.0
#: A run that draws this loss from a minibatch has diverged.
DIVERGED = 100.0
#: A look follows when this share of the steps so far has passed.
SPACING = 0.05
#: Steps between two renewals of K-FAC's factors, and its clipping.
RENEWED, CLIP = 5, 0.01


@dataclass(frozen=True)
class Configuration:
    """One point of a curve.

    Attributes:
        dataset: a name of `flatter_lib.vision.data`.
        network: "cnn" or "resnet".
        optimizer: one of `OPTIMIZERS`.
        batch: images of a step, drawn with replacement.
        target: accuracy to reach, in (0, 1).
        averaging: whether averaged weights are judged.
        decay: whether the step falls linearly to zero, at a horizon that is tuned.
        seed: of the trials; the seeds after it are those of the result.
        trials: that do not diverge.
        seeds: of the result.
        longest: the most steps of a trial.
        width: of the network.
        images: training images.
        test_images: images that are judged by.
        pool: side of the blocks of pixels that are averaged.
        device: where it runs.
        dtype: precision of weights and images.
    """

    dataset: str
    network: str
    optimizer: str
    batch: int
    target: float
    averaging: bool = False
    decay: bool = False
    seed: int = 0
    trials: int = 30
    seeds: int = 12
    longest: int = 20_000
    width: float = 0.25
    images: int = 60_000
    test_images: int = 1000
    pool: int = 4
    device: str = "cpu"
    dtype: str = "float32"

    def __post_init__(self) -> None:
        checks.one_of("network", self.network, NETWORKS)
        checks.one_of("optimizer", self.optimizer, OPTIMIZERS)
        checks.fields(self, target="(0, 1)", width="(0, inf)")
        checks.fields(self, batch=1, seed=0, trials=1, seeds=1, longest=1)
        checks.fields(self, images=1, test_images=1, pool=1)

    @property
    def box(self) -> dict[str, tuple[float, float]]:
        """Of each hyperparameter, its least and its largest value."""
        kind = self.optimizer.partition("_")[0].replace("momentum", "sgd")
        middle = MIDDLES[self.network][kind] * (self.batch / 32) ** GROWTH[self.batch > 32]
        box = {"step": (middle / WIDE, middle * WIDE)}
        if self.optimizer in ("momentum", "adam", "kfac"):
            box["memory"] = (0.02, 1.0)
        if kind == "adam":
            box["memory_2"] = (0.001, 0.1)
        if kind == "kfac":
            box["damping"] = (1e-4, 1.0)
        if self.averaging:
            box["averaging"] = (0.003, 1.0)
        if self.decay:
            box["horizon"] = (self.longest / 32, self.longest / 4)
        return box


Curve = list[Configuration]


def _task(dataset: str) -> dict[str, Any]:
    """Network, target and images of a task at this book's scale."""
    if dataset == "cifar10":
        return {"network": "resnet", "target": 0.35, "images": 50_000}
    return {"network": "cnn", "target": {"mnist": 0.9, "fashion-mnist": 0.77}[dataset]}


def _curve(dataset: str, optimizer: str, sizes: Iterable[int] = SIZES, **others: Any) -> Curve:
    """Points of one curve, each with some ten times the steps that plain SGD took in a pilot."""
    return [
        Configuration(
            dataset,
            optimizer=optimizer,
            batch=batch,
            longest=round(2000 * (1 + 70 / batch)),
            **{**_task(dataset), **others},
        )
        for batch in sizes
    ]


def _tasks() -> Curve:
    cells = []
    for dataset, sizes in (("mnist", SIZES), ("fashion-mnist", SIZES), ("cifar10", FEWER)):
        for optimizer, averaging in (
            ("sgd", False),
            ("sgd", True),
            ("momentum", False),
            ("adam", False),
            ("kfac_plain", False),
            ("kfac", False),
        ):
            cells += _curve(dataset, optimizer, sizes, averaging=averaging)
    for dataset in ("mnist", "fashion-mnist"):
        cells += _curve(dataset, "adam_plain")
    return cells + _curve("mnist", "sgd", decay=True)


#: Every point of the chapter's curves.
CURVES = _tasks()

#: Ten curves searched once more, with another seed of the trials: how far apart two searches come out.
AGAIN = [
    replace(cell, seed=100, seeds=4)
    for cell in CURVES
    if cell.dataset != "cifar10"
    and cell.optimizer in ("sgd", "momentum", "adam", "kfac")
    and not cell.decay
]

#: Short runs on other images, in double precision: what a reader makes again.
SHORT = [
    Configuration(
        "digits",
        "cnn",
        optimizer,
        batch=16,
        target=0.8,
        trials=4,
        seeds=3,
        longest=200,
        images=1000,
        test_images=200,
        pool=1,
        dtype="float64",
    )
    for optimizer in ("sgd", "adam")
]

#: The paper's, about.
PAPER_SIZES = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
PROFILES: Mapping[str, list[Configuration]] = {
    "smoke": SHORT,
    "laptop": [*(cell for cell in CURVES if cell.dataset != "cifar10"), *SHORT],
    "more": [*(cell for cell in CURVES if cell.dataset == "cifar10"), *AGAIN],
    "gpu": [
        cell
        for optimizer in ("sgd", "momentum")
        for cell in _curve(
            "cifar10",
            optimizer,
            PAPER_SIZES[4:],
            target=0.6,
            width=1.0,
            pool=1,
            trials=10,
            seeds=4,
            device="cuda",
        )
    ],
    "paper": [
        cell
        for dataset, target in (("mnist", 0.992), ("fashion-mnist", 0.92), ("cifar10", 0.8))
        for optimizer in OPTIMIZERS
        for cell in _curve(
            dataset,
            optimizer,
            PAPER_SIZES,
            target=target,
            width=1.0,
            pool=1,
            trials=100,
            test_images=10_000,
        )
    ],
}

#: As of other networks in single precision: rounding changes all of a run, and with it which setting is the best.
HELD: Held = {
    "": None,
    "steps": {"rtol": 0.5, "share": 0.7},
}


def cost(configuration: Configuration) -> float:
    """Seconds that a run takes on one core of a laptop, about."""
    c = configuration
    steps = c.longest / 10
    of_a_step = 1.1e-3 + c.batch * 1e-5 * (c.width * 4) ** 2 * (4 / c.pool) ** 2
    if c.network == "resnet":
        of_a_step = 3e-3 + c.batch * 3.5e-5 * (c.width * 4) ** 2 * (4 / c.pool) ** 2
    if c.optimizer in ("kfac_plain", "kfac"):
        of_a_step *= 2
    looks = 4e-6 * c.test_images * (20 + 20 * math.log(max(2.0, steps / 20)))
    return 1.0 + 0.8 * (c.trials + c.seeds) * (steps * of_a_step + looks)


def run(configuration: Configuration) -> Mapping[str, Any]:
    """Tune, and measure what the best setting gives.

    Returns:
        ``data``: name, source and digest of the images; ``trials``: of each setting its ``values`` and the ``steps`` to
        the target, NaN where it was not reached as fast as by an earlier one, and whether it ``diverged``; ``best``:
        the best setting, and ``places`` where it lies in the box, from 0 to 1; ``steps``: of the other seeds with it,
        NaN where a run diverged or took four times as many as the trial, and ``training``, those to the same accuracy
        on training images; ``seconds`` a step. Where no trial reached the target, ``best`` and ``places`` are empty
        and all ``steps`` NaN.
    """
    c = configuration
    data, source = images_of(c)
    held_out = (data.x_test, data.labels_test)
    training = (data.x[: c.test_images], data.labels[: c.test_images])
    tried = search(
        lambda at, most: steps_of(c, data, at, c.seed, most, [held_out])[0],
        c.box,
        c.trials,
        c.longest,
    )
    best = fastest(tried)
    again = np.full((c.seeds, 2), math.inf)
    begun = time.process_time()
    if best:
        again = np.array(
            [
                steps_of(c, data, best.values, seed, 4 * best.steps, [held_out, training])
                for seed in range(c.seed + 1, c.seed + 1 + c.seeds)
            ],
            dtype=np.float64,
        )
    again[np.isinf(again)] = math.nan
    taken = float(np.nansum(again.max(1)))
    return {
        "data": source,
        "trials": _written(tried),
        "best": {name: rounded(value) for name, value in best.values.items()} if best else {},
        "places": {name: rounded(place) for name, place in best.places.items()} if best else {},
        "steps": whole(again[:, 0]),
        "training": whole(again[:, 1]),
        "seconds": rounded((time.process_time() - begun) / taken, 2) if taken else math.nan,
    }


def _written(tried: list[Trial]) -> dict[str, Any]:
    return {
        "values": {
            name: [rounded(trial.values[name]) for trial in tried] for name in tried[0].values
        },
        "steps": whole([t.steps if t.steps < math.inf else math.nan for t in tried]),
        "diverged": [math.isnan(trial.steps) for trial in tried],
    }


def steps_of(
    c: Configuration,
    data: Inputs,
    values: Mapping[str, float],
    seed: int,
    most: float,
    judges: Sequence[tuple[Tensor, Tensor]],
) -> list[float]:
    """Steps to the target with one setting, of one run.

    Args:
        c: what is trained.
        data: its images.
        values: of the hyperparameters.
        seed: of the initial weights and the minibatches.
        most: steps within which the target must be reached, itself excluded.
        judges: sets of images and labels, on each of which the accuracy is to reach the target.

    Returns:
        The steps for each set; infinite if the target was not reached on it, NaN if the run diverged before.
    """
    import torch
    from torch.nn.functional import cross_entropy
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    network = network_of(c, data, torch.Generator().manual_seed(seed))
    if c.network == "resnet":
        network = network.to(memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(1000 + seed)
    step = _optimizer(c, network, values, generator)
    judged: nn.Module = network
    if c.averaging:
        average = get_ema_multi_avg_fn(1 - values["averaging"])  # type: ignore[no-untyped-call]
        judged = AveragedModel(network, multi_avg_fn=average)
    reached = [math.inf] * len(judges)
    most = min(most, values.get("horizon", math.inf) + 1)
    look, k = 1, 0
    while k + 1 < most:
        k += 1
        rows = torch.randint(len(data.x), (c.batch,), generator=generator).to(c.device)
        loss = cross_entropy(network(data.x[rows]), data.labels[rows])
        if not loss.item() < DIVERGED:
            return [steps if steps < math.inf else math.nan for steps in reached]
        step(data.x[rows], loss)
        if isinstance(judged, AveragedModel):
            judged.update_parameters(network)
        if k < look:
            continue
        look = k + max(1, round(SPACING * k))
        left = [i for i, steps in enumerate(reached) if steps == math.inf]
        with torch.no_grad():
            accuracies = [
                float((judged(x).argmax(-1) == labels).double().mean())
                for x, labels in (judges[i] for i in left)
            ]
        for i, accuracy in zip(left, accuracies, strict=True):
            if accuracy >= c.target:
                reached[i] = k
        if max(reached) < math.inf or (max(accuracies) < c.target / 2 and k > most / 2):
            break
    return reached


def _optimizer(
    c: Configuration, network: nn.Module, values: Mapping[str, float], generator: Any
) -> Callable[[Tensor, Tensor], None]:
    """Takes a step, of a minibatch's images and the loss on them."""
    import torch

    from flatter_lib.kfac import KFAC

    optimizer: torch.optim.Optimizer
    memory = values.get("memory", 1.0)
    parameters = network.parameters()
    if c.optimizer in ("sgd", "momentum"):
        optimizer = torch.optim.SGD(parameters, lr=values["step"] * memory, momentum=1 - memory)
    elif c.optimizer in ("adam_plain", "adam"):
        betas = (1 - memory, 1 - values["memory_2"])
        optimizer = torch.optim.Adam(parameters, lr=values["step"], betas=betas)
    else:
        optimizer = KFAC(
            network,
            lr=values["step"] * memory,
            momentum=1 - memory,
            damping=values["damping"],
            clip=CLIP,
            generator=generator,
        )
    taken = 0

    def step(images: Tensor, loss: Tensor) -> None:
        nonlocal taken
        if isinstance(optimizer, KFAC) and taken % RENEWED == 0:
            optimizer.observe(images)
        if c.decay:
            optimizer.param_groups[0]["lr"] = values["step"] * (1 - taken / values["horizon"])
        taken += 1
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step
