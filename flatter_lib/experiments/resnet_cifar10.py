r"""Momentum and flatness of a ResNet-18 on CIFAR-10 under label noise, over step size and momentum.

A run has two phases. Phase 1, without label noise, takes a ResNet-18 from its initialisation to interpolation of a few
training images, by AdamW with a step size that falls to zero in the end. All runs of one seed share it. Phase 2 begins
there, with fresh label noise at every step, and is looked at now and then: Tr H, test accuracy and test loss at the
mean of the weights since the last look, the loss on clean labels at the weights themselves. The network has ReLU and no
normalisation, so that Tr H is Tr G. All looks of a seed share the random signs and the images of its estimate: ratios
to the start err far less than single values do.

A cell is a step size :math:`\eta` and a *memory* :math:`1-\beta`. While momentum is small Tr H comes down to a share
`LEVEL` of its start in about :math:`B s ((1-\beta)/(\eta\varepsilon))^2` steps, with a unit s, `SLOW`, that was
measured beforehand in a single run, and

.. math:: \kappa = \frac{(\eta\varepsilon)^2}{B s (1-\beta)^3}

is the ratio of the momentum's time :math:`1/(1-\beta)` to that one.

A profile holds cells along :math:`1-\beta = C\eta^\gamma` for several exponents, which all meet at the largest step
size; less and more momentum at every step size; and, at the largest, equal numbers of steps for the rule, for
:math:`\beta = 0.9` and for plain SGD, runs without label noise, also with small batches, AdamW, and strong noise, with
which plain SGD arrives as well; and settings of plain SGD and of heavy ball for what momentum is worth. All settings
are this book's own choices: those of the paper's ResNet-18 are not known to us.

``laptop`` is a network of an eighth of the width, on 512 images averaged to 16x16 pixels. ``paper`` is the network of
full width, on all 50,000 images of 32x32 pixels with B = 256, in bfloat16. It has not been run. Its expected cost is
25 GPU hours on a data-centre GPU of the year 2020 or later, an estimate: at 12,000 images a second, usual for this
network on such a card, a step takes 21 ms; the profile has 3.7 million steps, and a tenth more for the looks. How
many steps a run of it needs is a guess, 40 times those of ``laptop``.

``size``, ``slow`` and ``gpu`` lie between, with momenta on a grid of their own and step sizes in units of 1/h, h the
top eigenvalue of G at the start: `at_size`, for an hour of two cores; `slowly`, the same networks with far smaller
steps, as what came of the first asks for, for an hour and a half of two cores; and `on_a_gpu`, for eight minutes of one
H100. The last two have not been run. ``tiny`` has a cell of each kind.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from flatter_lib import checks, fingerprint
from flatter_lib.experiments._images import images_of
from flatter_lib.experiments.design import Cell, Held, Landscape, powers, rounded

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from flatter_lib.vision.inputs import Inputs
    from flatter_lib.vision.residual import ResNet18
    from flatter_lib.vision.train import Training

#: Runs are timed when Tr H has come down to this share of its start.
LEVEL = 0.7
#: The unit of time s, of the laptop profile's network and images.
SLOW = 0.014
BATCH = 64
#: Step sizes; exponents gamma, and kappa where the laws meet, at the first step size.
LANDSCAPE = Landscape(BATCH * SLOW, 0.3, lrs=(0.008, 0.0046, 0.00267), patience=0, drift=1.3)
LRS, STRENGTH = LANDSCAPE.lrs, LANDSCAPE.strength
GAMMAS = (0.0, 1 / 3, 1 / 2, 2 / 3, 0.8)
KAPPA_MEETING = 0.5
#: More momentum at every step size, and less at the first.
SCAN_KAPPAS = (1.5, 5.0, 15.0)
SLOW_KAPPA = 0.15
#: Equal numbers of steps at the first step size: for the rule with this kappa, for beta = 0.9 and for plain SGD.
RULE_KAPPA, FIXED_MEMORY, EQUAL_STEPS = 1.0, 0.1, 400
#: Without label noise: as many steps, and a batch so small that minibatches alone drive the run off.
QUIET_STEPS, SMALL_BATCH, SMALL_BATCH_LR = 200, 16, 0.03
#: Label noise with which plain SGD arrives at its best step size, about 1 over the steepest curvature; memory: steps.
STRONG, BEST_LR = 1.0, 0.03
STRONG_STEPS = {1.0: 1000, 0.5: 350}
#: What momentum is worth: label noise; of plain SGD the step sizes, in units of 1/h, and steps; of heavy ball the step
#: sizes, memories and steps; seeds on which a setting is chosen. Plain SGD at 1 is not tried: no other keeps to 1.
WORTH = 0.5
PLAIN_STEPS = {1.0: 1200, 1.4: 900, 1.9: 500, 2.8: 400, 4.0: 400, 5.6: 400}
HEAVY_MEMORIES, HEAVY_STEPS = powers(0.125, 0.5), 300
HEAVY = {1.0: HEAVY_MEMORIES, 1.9: HEAVY_MEMORIES, 4.0: HEAVY_MEMORIES[2::2]}
CHOOSING = (4, 5)
#: What was chosen there, step size and memory of plain SGD and of heavy ball, under each limit on the step; timed on
#: the other seeds.
CHOSEN = {
    "eta h at most 1": ((1.0, 1.0), (1.0, 0.3536)),
    "stable": ((1.9, 1.0), (1.9, 0.5)),
    "anything": ((1.9, 1.0), (1.9, 0.5)),
}
#: At size: label noise; step sizes, in units of 1/h, and the steps of all momenta; memories; seeds.
SIZE, SIZE_STEPS, SIZE_MEMORIES, SIZE_SEEDS = (
    0.5,
    {1.0: 600, 0.5: 1000, 0.25: 1600},
    powers(0.0125, 0.1, per_octave=1.0),
    (0, 1),
)
#: The same networks and noise, with smaller steps.
SLOW_STEPS, SLOW_MEMORIES = (
    {0.02: 2800, 0.01: 4400, 0.005: 7000},
    powers(0.005, 0.04, per_octave=1.0),
)
#: On a GPU the same.
GPU, GPU_STEPS, GPU_MEMORIES, GPU_SEEDS = (
    0.5,
    {0.04: 1200, 0.02: 1900, 0.01: 3000},
    powers(0.0025, 0.04, per_octave=1.0),
    (0, 1),
)
ADAM_LR, ADAM_MEMORY, ADAM_STEPS = 1e-3, 0.1, 200


@dataclass(frozen=True)
class Configuration:
    """One run: a cell and a seed.

    Attributes:
        lr: step size eta of phase 2; if ``relative``, in units of 1/h, h being the top eigenvalue of G at its start.
        memory: 1 - beta of phase 2, in (0, 1]; of AdamW 1 - beta_1.
        strength: standard deviation of the noise on every target; 0 for none.
        steps: of phase 2.
        seed: of the initial weights, the minibatches of both phases and the noise.
        optimizer: of phase 2, ``sgd`` or ``adamw``.
        batch: B, images a step in phase 2, drawn with replacement.
        dataset: a name of `flatter_lib.vision.data`.
        images: training images.
        test_images: test images.
        pool: side of the blocks of pixels that are averaged.
        width: of the network; 1 is 64 channels at its first stage.
        interpolation_lr: of phase 1; it falls to zero over the last 30 % of the steps.
        interpolation_batch: images a step in phase 1.
        interpolation_steps: of phase 1.
        probes: of each estimate of Tr H.
        seen_images: training images, the first ones, of Tr H and of the clean loss.
        device: where it runs.
        dtype: precision of weights and images.
        precision: of the network's products in mixed precision; empty for that of the weights.
        relative: see ``lr``.
        first_look: step of the first look.
        normalization: of the network.
        augment: whether images are cropped, by an eighth of their side, and flipped, in both phases.
    """

    lr: float
    memory: float
    strength: float
    steps: int
    seed: int
    optimizer: Literal["sgd", "adamw"] = "sgd"
    batch: int = BATCH
    dataset: str = "cifar10"
    images: int = 512
    test_images: int = 1000
    pool: int = 2
    width: float = 0.125
    interpolation_lr: float = 1e-3
    interpolation_batch: int = 32
    interpolation_steps: int = 900
    probes: int = 4
    seen_images: int = 128
    device: str = "cpu"
    dtype: str = "float32"
    precision: str = ""
    relative: bool = False
    first_look: int = 10
    normalization: Literal["none", "batch"] = "none"
    augment: bool = False

    def __post_init__(self) -> None:
        checks.fields(self, lr="[0, inf)", memory="(0, 1]", strength="[0, inf)", width="(0, inf)")
        checks.fields(self, steps=0, seed=0, batch=1, images=1, test_images=1, pool=1, probes=2)
        checks.fields(self, interpolation_batch=1, interpolation_steps=1, seen_images=1)
        checks.fields(self, optimizer=("sgd", "adamw"), interpolation_lr="(0, inf)")
        checks.fields(self, first_look=1, normalization=("none", "batch"))

    @property
    def start(self) -> Configuration:
        """The same for all runs that share phase 1."""
        still = replace(self, lr=0.0, memory=1.0, strength=0.0, steps=0, optimizer="sgd")
        return replace(still, batch=BATCH, relative=False, first_look=10)

    @property
    def kappa(self) -> float:
        """The ratio of the two times."""
        return (self.lr * self.strength) ** 2 / (self.batch * SLOW * self.memory**3)


def cell(lr: float, memory: float) -> Configuration:
    """A run of the laptop profile with label noise, long enough to arrive; its seed is 0."""
    drift = Cell(lr, memory, STRENGTH, LANDSCAPE).steps
    fastest = 2.5 / LANDSCAPE.cell(lr, 1.0).memory
    return Configuration(lr, memory, STRENGTH, round(drift + fastest), 0)


def law(gamma: float) -> list[Configuration]:
    r"""Cells along :math:`1-\beta = C \eta^\gamma`, with C such that all laws meet at the largest step size."""
    return [cell(c.lr, c.memory) for c in LANDSCAPE.law(gamma, KAPPA_MEETING, at=LRS[0])]


def scan(lr: float) -> list[Configuration]:
    """Cells at one step size, with more momentum than any law has there, and at the largest with less."""
    kappas = (SLOW_KAPPA, *SCAN_KAPPAS) if lr == LRS[0] else SCAN_KAPPAS
    return [cell(c.lr, c.memory) for c in LANDSCAPE.scan(lr, kappas)]


def equal() -> list[Configuration]:
    """The rule, beta = 0.9, and plain SGD, for equal numbers of steps."""
    memories = (LANDSCAPE.cell(LRS[0], RULE_KAPPA).memory, FIXED_MEMORY, 1.0)
    return [Configuration(LRS[0], memory, STRENGTH, EQUAL_STEPS, 0) for memory in memories]


def quiet() -> list[Configuration]:
    """Minibatches without label noise: with the rule's momentum, and with a small batch."""
    memory = LANDSCAPE.cell(LRS[0], RULE_KAPPA).memory
    still = Configuration(LRS[0], memory, 0.0, QUIET_STEPS, 0)
    return [still, replace(still, lr=SMALL_BATCH_LR, batch=SMALL_BATCH)]


def adam() -> Configuration:
    """AdamW with label noise."""
    return Configuration(ADAM_LR, ADAM_MEMORY, STRENGTH, ADAM_STEPS, 0, optimizer="adamw")


def strong() -> list[Configuration]:
    """Plain SGD and heavy ball at plain SGD's best step size, with strong label noise."""
    return [Configuration(BEST_LR, m, STRONG, steps, 0) for m, steps in STRONG_STEPS.items()]


def worth(lr: float, memory: float) -> Configuration:
    """Plain SGD or heavy ball with a step size in units of 1/h, for what momentum is worth; its seed is 0."""
    steps = PLAIN_STEPS[lr] if memory == 1.0 else HEAVY_STEPS
    return replace(
        Configuration(lr, memory, WORTH, steps, 0), relative=True, first_look=3, test_images=256
    )


def tried() -> list[Configuration]:
    """The settings among which the best are chosen."""
    plain = [worth(lr, 1.0) for lr in PLAIN_STEPS if lr > 1]
    return plain + [worth(lr, memory) for lr, own in HEAVY.items() for memory in own]


def seeds_of(configuration: Configuration, seeds: int) -> list[Configuration]:
    """A cell with each of the first seeds."""
    return [replace(configuration, seed=seed) for seed in range(seeds)]


def _profile(seeds: int) -> list[Configuration]:
    """All cells, each once."""
    timed = [c for gamma in GAMMAS for c in law(gamma)] + [c for lr in LRS for c in scan(lr)]
    cells = [*timed, *equal(), *quiet(), adam(), *strong()]
    cells += [worth(*setting) for chosen in CHOSEN.values() for setting in chosen]
    published = [c for chosen in dict.fromkeys(cells) for c in seeds_of(chosen, seeds)]
    return published + [replace(c, seed=seed) for c in tried() for seed in CHOOSING]


def _full(c: Configuration) -> Configuration:
    """A cell of the laptop profile at full size, with the same noise covariance, for 40 times the steps."""
    return replace(
        c,
        strength=c.strength * 2,
        steps=40 * c.steps,
        batch=4 * c.batch,
        images=50_000,
        test_images=10_000,
        pool=1,
        width=1.0,
        interpolation_batch=256,
        interpolation_steps=12_000,
        probes=16,
        seen_images=2_048,
        device="cuda",
        precision="bfloat16",
    )


def _quarter(steps: Mapping[float, int], memories: Iterable[float]) -> list[Configuration]:
    """Width 1/4 on 4,096 images: every memory at every step size."""
    return [
        Configuration(
            lr,
            memory,
            SIZE,
            count,
            seed,
            batch=128,
            images=4096,
            test_images=2000,
            width=0.25,
            interpolation_batch=64,
            interpolation_steps=4000,
            seen_images=256,
            relative=True,
            first_look=5,
        )
        for lr, count in steps.items()
        for memory in memories
        for seed in SIZE_SEEDS
    ]


def at_size() -> list[Configuration]:
    """Width 1/4 on 4,096 images; and the largest step size once more, with normalisation and augmentation.

    About 40 minutes of two cores for all: a step takes 0.085 s of one core, with normalisation 0.10, a look 1.4 and
    2.4 s, phase 1 of the four starts 15 minutes in all.
    """
    bare = _quarter(SIZE_STEPS, SIZE_MEMORIES)
    usual = [replace(c, normalization="batch", augment=True) for c in bare if c.lr == 1]
    return bare + usual


def slowly() -> list[Configuration]:
    """Width 1/4 on 4,096 images, with steps so small that the fastest momentum should stay on the floor.

    About 90 minutes of two cores. Four runs of the largest step are recorded. With their least momentum Tr H first
    rises, and comes below its start late; with twice as much it comes later still: so the lattice goes on to less.
    """
    return _quarter(SLOW_STEPS, SLOW_MEMORIES)


def on_a_gpu() -> list[Configuration]:
    """Full width, 10,000 images of 32x32 pixels, in bfloat16.

    About eight minutes of one H100 for all, an estimate: 30 s to start, load and decode the images; 60 s for phase 1
    of both seeds and their h; 30 runs with 61,000 steps of 4.5 ms in all, 275 s, and with 580 looks of 0.3 s in all,
    175 s. A step of 128 images is 4.3e11 operations, 2.1 ms at a fifth of the card's 1e15 a second, and about 300
    kernels, of which a processor begins one in some 10 us: so two or three processes share the card, and take less
    than the 540 s of one. Step sizes and memories are about those of `slowly`: that this network drifts as that one is
    a guess.
    """
    return [
        Configuration(
            lr,
            memory,
            GPU,
            steps,
            seed,
            batch=128,
            images=10_000,
            test_images=2000,
            pool=1,
            width=1.0,
            interpolation_lr=3e-4,
            interpolation_batch=128,
            interpolation_steps=3000,
            seen_images=512,
            device="cuda",
            precision="bfloat16",
            relative=True,
            first_look=5,
        )
        for lr, steps in GPU_STEPS.items()
        for memory in GPU_MEMORIES
        for seed in GPU_SEEDS
    ]


def _tiny(c: Configuration) -> Configuration:
    """A cell of the others in seconds, on digits and a CPU."""
    small = replace(c, steps=20, dataset="digits", images=64, test_images=100, pool=1, width=1 / 16)
    small = replace(small, interpolation_steps=60, seen_images=32, device="cpu", precision="")
    return replace(small, dtype="float64", batch=16)


def _small(c: Configuration) -> Configuration:
    """A cell on scikit-learn's digits, in seconds and in double precision."""
    return replace(
        c,
        strength=0.2,
        steps=60,
        batch=16,
        dataset="digits",
        images=64,
        test_images=200,
        pool=1,
        width=1 / 16,
        interpolation_lr=3e-3,
        interpolation_steps=300,
        seen_images=64,
        dtype="float64",
    )


PROFILES: Mapping[str, list[Configuration]] = {
    "smoke": [_small(cell(0.02, 0.1)), _small(cell(0.002, 0.01)), _small(adam())],
    "laptop": _profile(seeds=4),
    "paper": list(dict.fromkeys(_full(c) for c in _profile(seeds=8))),
    "tiny": [_tiny(c) for c in (*on_a_gpu()[:2], *at_size()[-2:])],
    "size": at_size(),
    "slow": slowly(),
    "gpu": on_a_gpu(),
}

#: What other rounding may change: all of a run, from the first steps of phase 1 on, which is in single precision. Runs
#: of a seed share the end of that. Most entries are held to a part of how much seeds differ: in Tr H by 26 % (ends that
#: differ by rounding, by 3 %), in the loss by 20 to 30 %, in the test loss by 4 %; the accuracy to twice the standard
#: error from 1000 images. Bias of less than that is seen only where bits are equal.
HELD: Held = {
    "data.source": None,
    **{
        f"{of}{name}": {"rtol": rtol, "share": 0.8, "common": "seed"}
        for of in ("", "start.")
        for name, rtol in {
            "trace": 0.1,
            "trace_error": 0.6,
            "filters": 0.1,
            "filters_error": 0.6,
            "loss": 0.2,
            "accuracy": 0.1,
            "test_loss": 0.03,
        }.items()
    },
    "start.top": {"rtol": 0.1, "share": 0.8, "common": "seed"},
    "diverged": {"rtol": 0.2, "share": 0.9, "common": "seed"},
}


#: The environment variable that names a folder for phase 1, so that it is made once for all processes. A file there
#: is known by its configuration: when the code has changed, empty the folder.
STARTS = "FLATTER_STARTS"


class Start(NamedTuple):
    """Where phase 2 begins.

    Attributes:
        state: of the network.
        seen: what a look finds there, and the largest eigenvalue of G, ``top``.
    """

    state: dict[str, Tensor]
    seen: dict[str, float]


def run(configuration: Configuration) -> Mapping[str, Any]:
    """Make the run.

    Returns:
        ``data``: name, source and digest of the images. ``start``: where phase 2 begins, ``trace`` with
        ``trace_error``, ``loss``, ``accuracy``, ``test_loss`` and ``top``, the largest eigenvalue. ``steps`` of the
        looks, and what they found: ``trace`` (with its standard error ``trace_error``), test ``accuracy`` and
        ``test_loss`` at the mean of the weights since the look before; ``loss``, on clean labels, at the weights; NaN
        once the run has diverged. ``diverged``: the step at which that was, or -1. With normalisation the looks have
        ``filters`` and ``filters_error`` too, Tr H of the filters, each in units of its norm.
    """
    from flatter_lib.vision.label_noise import LabelNoise

    c = configuration
    data, source = images_of(c)
    start = _phase_1(c.start)
    lr = c.lr / start.seen["top"] if c.relative else c.lr
    network, watched = _network(c, data), _network(c, data)
    network.load_state_dict(start.state)
    training = _training(
        c, network, data, _optimizer(c, lr, network), noise=LabelNoise("additive", c.strength)
    )
    looks = look_steps(c.steps, c.first_look)
    found = []
    for step in looks:
        training.run(step - training.step)
        if training.diverged is not None:
            break
        found.append(_look(c, data, watched, list(network.parameters()), training.mean_weights()))
    missing = [float("nan")] * (len(looks) - len(found))
    return {
        "data": source,
        "start": start.seen,
        "steps": looks,
        **{
            name: [rounded(seen[name], 5) for seen in found] + missing
            for name in start.seen
            if name != "top"
        },
        "diverged": -1 if training.diverged is None else training.diverged,
    }


def cost(configuration: Configuration) -> float:
    """Seconds that a run takes on one core of a laptop, or on a card, about, with a share of its phase 1."""
    c = configuration
    if c.device != "cpu":
        return 0.0045 * (c.steps + 70 * len(look_steps(c.steps, c.first_look))) + 2.0
    larger = (c.width / 0.125) ** 0.5 * c.batch / BATCH * (2 / c.pool) ** 2
    of_a_step = 0.03 * max(1.0, larger) if c.dataset == "cifar10" else 0.02
    looks = len(look_steps(c.steps, c.first_look)) * c.seen_images / 128
    return of_a_step * c.steps + 0.45 * looks + c.interpolation_steps / 900


def look_steps(steps: int, first: int = 10) -> list[int]:
    """Steps after which a run is looked at: from the first on, each about 1.4 times the one before, to the last.

    Examples:
        >>> look_steps(100)
        [10, 14, 19, 27, 37, 52, 72, 100]
    """
    first = min(first, steps)
    count = 1 + round(np.log(steps / first) / np.log(1.4))
    return sorted({round(k) for k in np.geomspace(first, steps, max(count, 2)).tolist()})


def _optimizer(c: Configuration, lr: float, network: nn.Module) -> Optimizer:
    import torch

    if c.optimizer == "adamw":
        return torch.optim.AdamW(network.parameters(), lr=lr, betas=(1 - c.memory, 0.999))
    return torch.optim.SGD(network.parameters(), lr=lr, momentum=1 - c.memory)


def _network(c: Configuration, data: Inputs) -> ResNet18:
    import torch

    from flatter_lib.vision.residual import ResNet18

    network = ResNet18(
        c.width,
        inputs=data.x.shape[1],
        normalization=c.normalization,
        generator=torch.Generator().manual_seed(c.seed),
        device=c.device,
        dtype=getattr(torch, c.dtype),
    )
    return network.to(memory_format=torch.channels_last)


def _training(
    c: Configuration, network: nn.Module, data: Inputs, optimizer: Optimizer, **options: Any
) -> Training:
    """Of either phase: of the first if it has schedulers."""
    import torch

    from flatter_lib.vision.augment import crop_and_flip
    from flatter_lib.vision.train import Training

    first = "schedulers" in options
    return Training(
        network,
        data.x,
        data.targets,
        optimizer,
        batch=c.interpolation_batch if first else c.batch,
        generator=torch.Generator().manual_seed((1000 if first else 2000) + c.seed),
        augment=partial(crop_and_flip, padding=data.x.shape[-1] // 8) if c.augment else None,
        precision=getattr(torch, c.precision) if c.precision else None,
        limit=1e6 if first else 1e3,
        **options,
    )


@lru_cache(maxsize=16)
def _phase_1(c: Configuration) -> Start:
    """Down to interpolation, of a configuration's `start`; kept in the folder `STARTS` names, if it names one."""
    from flatter_lib.vision import checkpoint

    if not (folder := os.environ.get(STARTS)):
        return _interpolated(c)
    path = Path(folder) / f"{fingerprint.digest(asdict(c))}.pt"
    with _alone_with(path):  # so that workers who need the same one do not make it twice
        if not path.exists():
            checkpoint.write(path, _interpolated(c)._asdict())
        return Start(**checkpoint.read(path, c.device))


@contextlib.contextmanager
def _alone_with(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _interpolated(c: Configuration) -> Start:
    """Phase 1."""
    import torch

    from flatter_lib.curvature import gauss_newton_top_eigenvalue

    data, _ = images_of(c)
    network, watched = _network(c, data), _network(c, data)
    optimizer = torch.optim.AdamW(network.parameters(), lr=c.interpolation_lr, weight_decay=0.0)
    falls = round(0.3 * c.interpolation_steps)
    falling = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (c.interpolation_steps - step) / falls)
    )
    _training(c, network, data, optimizer, schedulers=[falling]).run(c.interpolation_steps)
    parameters = {name: p.detach() for name, p in network.named_parameters()}
    weights = list(parameters.values())
    seen = _look(c, data, watched, weights, weights)
    top = gauss_newton_top_eigenvalue(watched, parameters, data.x[: c.seen_images])
    state = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    return Start(state, {name: rounded(v, 5) for name, v in (seen | {"top": top}).items()})


def _look(
    c: Configuration, data: Inputs, network: nn.Module, weights: list[Tensor], mean: list[Tensor]
) -> dict[str, float]:
    """Tr H, test accuracy and test loss at the mean weights, clean training loss at the weights.

    A network that normalises does so by what it finds in the images that are looked at, at the weights in question.
    """
    import torch
    from torch.nn.functional import one_hot
    from torch.optim.swa_utils import update_bn

    from flatter_lib.curvature import gauss_newton_trace_estimate
    from flatter_lib.vision.measure import CHUNK, filter_trace_estimate, mean_loss, weights_of
    from flatter_lib.vision.objective import half_squared_error

    seen = data.x[: c.seen_images]
    # Gradients of filters in this format are rows, which the estimate wants.
    network.to(memory_format=torch.contiguous_format).eval()
    with weights_of(network, weights):
        update_bn(torch.split(seen, CHUNK), network)
        found = {"loss": mean_loss(network, seen, data.targets[: c.seen_images])}
    estimates = {"trace": partial(gauss_newton_trace_estimate, chunk=CHUNK)}
    if c.normalization != "none":
        estimates["filters"] = partial(filter_trace_estimate)
    with weights_of(network, mean):
        update_bn(torch.split(seen, CHUNK), network)
        for name, estimate in estimates.items():
            signs = np.random.default_rng(c.seed)
            trace = estimate(network, seen, probes=c.probes, generator=signs)
            found |= {name: trace.value, f"{name}_error": trace.error}
        with torch.no_grad():
            outputs = torch.cat([network(part) for part in torch.split(data.x_test, CHUNK)])
    wanted = one_hot(data.labels_test, outputs.shape[1]).to(outputs)
    found["accuracy"] = float((outputs.argmax(-1) == data.labels_test).double().mean())
    return found | {"test_loss": float(half_squared_error(outputs, wanted))}
