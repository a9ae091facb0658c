r"""When does label noise flatten a 6-layer MLP, and what becomes of its test accuracy? Over step size and momentum.

Networks go down to the floor of their loss without noise (phase 1); then label noise is switched on (phase 2), and
runs are looked at as :math:`\operatorname{Tr} H` comes down to fractions of its start. H is the Gauss-Newton matrix,
exact, at the mean of the weights since the last look. With B images a step and
:math:`s_1 =` `SLOW`, about the time :math:`k (\eta_{\text{eff}} \varepsilon)^2 / B` in which Tr H halves if momentum is
small,

.. math:: \kappa = \frac{(\eta\varepsilon)^2}{B s_1 (1-\beta)^3}

is the ratio of momentum's time 1/(1-beta) and the drift's.

A configuration is a few cells (step size, memory) of one noise that take about the same number of steps, each run
from every start: run j of a cell is the j-th network, from its initial weights on. A profile holds laws
:math:`1-\beta = C\eta^\gamma` that meet at the middle step size, and the same laws aside of it; a scan of momenta at
all step sizes; scans with other noise strengths, with minibatches and with label flips; plain SGD at its best step
size; equal numbers of steps; AdamW; and trainings from the initial weights with minibatches, with and without label
noise. Width, images, steps and noise are our own choices.

The ``paper`` profile is the same for 60,000 images of 28 x 28 pixels and a width of 512, with minibatches of 960 in
place of all images, 16 starts, and a phase 1 ten times as long. Expected: 4 hours on one H100, an estimate from 1.8e17
operations at 1.5e13 a second (a fifth of its peak in single precision), of which 40 % are looks at Tr H and accuracy
and a third is phase 1, and 0.1 s of overhead for every 25 steps. It has not been run, and whether its phase 1 reaches
interpolation has to be seen in the records, which hold the loss of every start.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flatter_lib import checks

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from flatter_lib.vision.inputs import Inputs
    from flatter_lib.vision.networks import MLP

Floats = NDArray[np.float64]
Quantity = Literal["trace", "loss", "accuracy"]
QUANTITIES: tuple[Quantity, ...] = ("trace", "loss", "accuracy")

#: Fractions of the first Tr H, at which runs are timed; at the first one they are also brought to rest.
LEVELS = (0.5, 0.35)
SLOW = 0.09
#: Step sizes: eta h is about 1 at the sharpest start with the largest, and all are below the edge of stability.
LRS = (0.04, 0.02378, 0.01414, 0.008409, 0.005)
NOISE = 0.25
IMAGES = 192
GAMMAS = (0.0, 1 / 3, 1 / 2, 2 / 3, 0.8)
#: Kappa at the middle step size of laws that meet there, and of laws that start on the side to which they lead.
KAPPA_MEETING = 2.0
KAPPA_APART = (0.15, 0.25, 0.4, 8.0, 8.0)
SCAN_KAPPAS = tuple(float(f"{k:.3g}") for k in np.geomspace(0.25, 150.0, 8))
#: Other noise strengths at the largest step size; plain SGD's step sizes, and kappas of heavy ball, at these.
TUNED_NOISES = (0.5, 1.0, 2.0)
TUNED_LRS = (0.04, 0.02)
TUNED_KAPPAS = (0.02, 0.08, 0.3, 1.0, 3.0, 10.0, 30.0, 90.0)
#: Minibatches, with label noise of the same covariance, and their step sizes and kappas.
BATCH = 48
BATCH_LRS = LRS[::2]
BATCH_KAPPAS = (0.5, 2.0, 5.0, 12.0, 30.0, 75.0, 180.0)
FLIP_KAPPAS = (0.5, 2.0, 8.0, 30.0)
#: The rule for equal numbers of steps, and their number over its memory.
RULE_KAPPA, EQUAL_STEPS = 4.0, 8.0
#: From the initial weights: minibatches, step sizes, memories and steps.
FRESH_BATCH, FRESH_STEPS = 32, 2000
FRESH_LRS = (0.04, 0.02, 0.01)
FRESH_MEMORIES = (1.0, 0.3, 0.1, 0.03, 0.01)
ADAM_LRS = (3e-4, 1e-3, 3e-3)
ADAM_MEMORY = 0.1
#: At rest: heavy ball without noise, on all images.
REST_LR, REST_MOMENTUM, REST_STEPS = 0.04, 0.9, 100


class Stage(NamedTuple):
    """A stage of phase 1."""

    lr: float
    momentum: float
    steps: int


#: Phase 1; momentum is raised, and then the oscillation dies.
STAGES = (
    Stage(0.01, 0.9, 200),
    Stage(0.01, 0.98, 200),
    Stage(0.01, 0.99, 400),
    Stage(0.015, 0.995, 700),
    Stage(0.015, 0.9, 100),
)


@dataclass(frozen=True)
class Configuration:
    """Some cells, and their runs.

    Attributes:
        lr: step size eta of each cell.
        memory: 1 - beta of each cell, in (0, 1]; 1 - beta_1 of AdamW.
        noise: standard deviation of additive noise on every target, or probability of a flip.
        steps: of every run.
        seed: of the first run's noise; the others count up from it.
        starts: networks, each with a run in every cell.
        batch: images a step, drawn with replacement; None for all of them, once each.
        kind: of label noise, ``additive`` or ``flip``.
        phase: ``noise`` starts on the floor; ``all`` starts from the initial weights.
        optimizer: ``heavy ball`` or ``adamw``.
        looks: how often runs are looked at.
        dataset: a name of `flatter_lib.vision.data`.
        images: training images.
        test_images: test images.
        pool: side of the blocks of pixels that are averaged.
        width: of the hidden layers.
        gain: of the initial weights.
        trace_images: training images, the first ones, that loss and Hessian are taken over where runs are looked at.
        descent: how many times longer phase 1 is than `STAGES`.
        descent_batch: images a step in phase 1; None for all.
        device: where to compute.
        dtype: in which precision.
    """

    lr: tuple[float, ...]
    memory: tuple[float, ...]
    noise: float
    steps: int
    seed: int
    starts: int = 8
    batch: int | None = None
    kind: Literal["additive", "flip"] = "additive"
    phase: Literal["noise", "all"] = "noise"
    optimizer: Literal["heavy ball", "adamw"] = "heavy ball"
    looks: int = 32
    dataset: str = "fashion-mnist"
    images: int = IMAGES
    test_images: int = 4000
    pool: int = 2
    width: int = 32
    gain: float = 0.8
    trace_images: int = IMAGES
    descent: float = 1.0
    descent_batch: int | None = None
    device: str = "cpu"
    dtype: str = "float32"

    def __post_init__(self) -> None:
        checks.fields(self, lr="(0, inf)", memory="(0, 1]", noise="[0, inf)", descent="(0, inf)")
        checks.fields(self, steps=0, seed=0, starts=1, looks=0, images=1, test_images=1, pool=1)
        checks.fields(self, width=1, trace_images=1, gain="(0, inf)", kind=("additive", "flip"))
        checks.fields(self, phase=("noise", "all"), optimizer=("heavy ball", "adamw"))
        if len(self.lr) != len(self.memory):
            raise ValueError(f"memory: must be {len(self.lr)} numbers, one for each lr")

    @property
    def variance(self) -> float:
        """Of the label noise, on average over the outputs."""
        from flatter_lib.vision.label_noise import LabelNoise

        return LabelNoise(self.kind, self.noise).variance(10)


class Cell(NamedTuple):
    """A step size, 1 - beta, and the noise with its batch."""

    lr: float
    memory: float
    noise: float
    batch: int = IMAGES

    @property
    def kappa(self) -> float:
        """The ratio of the two times."""
        return (self.lr * self.noise) ** 2 / (self.batch * SLOW * self.memory**3)

    @property
    def steps(self) -> float:
        """Steps, well past the time at which Tr H is at the last of the levels."""
        return (6 + 2.5 / self.kappa) / self.memory


def cell(lr: float, noise: float, kappa: float, batch: int = IMAGES) -> Cell:
    """The cell with this kappa; 1 - beta at most 1, of four digits.

    Examples:
        >>> cell(0.04, 0.25, 2.0)
        Cell(lr=0.04, memory=0.01425, noise=0.25, batch=192)
    """
    memory = min(1.0, ((lr * noise) ** 2 / (batch * SLOW * kappa)) ** (1 / 3))
    return Cell(lr, float(f"{memory:.4g}"), noise, batch)


def law(gamma: float, kappa: float, noise: float = NOISE, batch: int = IMAGES) -> list[Cell]:
    r"""Cells along :math:`1-\beta = C \eta^\gamma`, with C such that kappa is this at the middle step size.

    Examples:
        >>> [round(c.kappa, 2) for c in law(2 / 3, 2.0)]
        [2.0, 2.0, 2.0, 2.0, 2.0]
    """
    middle = LRS[len(LRS) // 2]
    at_middle = cell(middle, noise, kappa, batch).memory
    return [
        Cell(lr, float(f"{at_middle * (lr / middle) ** gamma:.4g}"), noise, batch) for lr in LRS
    ]


def scan(lr: float, kappas: Iterable[float] = SCAN_KAPPAS, noise: float = NOISE) -> list[Cell]:
    """Cells at one step size, over momenta."""
    return [cell(lr, noise, kappa) for kappa in kappas]


def scan_in_batches(lr: float) -> list[Cell]:
    """The same with minibatches, and label noise of the same covariance."""
    noise = NOISE * (BATCH / IMAGES) ** 0.5
    return [cell(lr, noise, kappa, BATCH) for kappa in BATCH_KAPPAS]


def tuned(noise: float) -> tuple[list[Cell], list[Cell]]:
    """Cells of plain SGD, with the strongest noise also at a smaller step, and of heavy ball."""
    lrs = TUNED_LRS if noise == max(TUNED_NOISES) else TUNED_LRS[:1]
    heavy = [cell(LRS[0], noise, kappa) for kappa in TUNED_KAPPAS]
    return [Cell(lr, 1.0, noise) for lr in lrs], [c for c in heavy if c.memory < 1]


def equal_steps(lr: float) -> tuple[list[Cell], int]:
    """Plain SGD, momentum 0.9 and the rule at a step size, and a number of steps for all of them."""
    rule = cell(lr, NOISE, RULE_KAPPA)
    cells = [Cell(lr, 1.0, NOISE), Cell(lr, 0.1, NOISE), rule]
    return cells, int(np.ceil(EQUAL_STEPS / rule.memory))


def fixed_momentum() -> Configuration:
    """Momentum 0.9 at the largest step size, until Tr H has halved."""
    c = Cell(LRS[0], 0.1, NOISE)
    return _configuration([c], 1.6 / (c.kappa * c.memory), 4 * 10**6 + 6 * 10**5)


def flip_probability(noise: float) -> float:
    """The probability of (centred) flips whose variance is that of additive noise, to four digits.

    Examples:
        >>> flip_probability(0.25)
        0.2086
    """
    from flatter_lib.vision.label_noise import LabelNoise

    low, high = 0.0, 0.8
    while high - low > 1e-6:
        middle = (low + high) / 2
        enough = LabelNoise("flip", middle).variance(10) > noise**2
        low, high = (low, middle) if enough else (middle, high)
    return float(f"{low:.4g}")


def _grouped(cells: Iterable[Cell], seed: int, **options: Any) -> list[Configuration]:
    """Configurations of cells that take about as long."""
    ordered = sorted(set(cells), key=lambda c: (c.noise, c.steps))
    groups: list[list[Cell]] = []
    for c in ordered:
        last = groups[-1] if groups else []
        fits = last and last[0].noise == c.noise and c.steps < 1.3 * last[0].steps
        if fits and len(last) < 4:
            last.append(c)
        else:
            groups.append([c])
    return [
        _configuration(group, max(c.steps for c in group), seed + 1000 * i, **options)
        for i, group in enumerate(groups)
    ]


def _configuration(cells: Iterable[Cell], steps: float, seed: int, **options: Any) -> Configuration:
    chosen = list(cells)
    return Configuration(
        lr=tuple(c.lr for c in chosen),
        memory=tuple(c.memory for c in chosen),
        noise=options.pop("noise", chosen[0].noise),
        steps=int(np.ceil(steps)),
        seed=seed,
        **options,
    )


def laws() -> list[Cell]:
    """The cells of all laws, and of the scans."""
    chosen = [
        c
        for gamma, apart in zip(GAMMAS, KAPPA_APART, strict=True)
        for c in law(gamma, KAPPA_MEETING) + law(gamma, apart)
    ]
    return chosen + [c for lr in LRS for c in scan(lr)]


def flips() -> Configuration:
    """Label flips at the middle step size."""
    cells = scan(LRS[2], FLIP_KAPPAS)
    steps = max(c.steps for c in cells)
    return _configuration(cells, steps, 5 * 10**6, kind="flip", noise=flip_probability(NOISE))


def fresh(noise: float) -> list[Configuration]:
    """Trainings from the initial weights: heavy ball and plain SGD, and AdamW."""
    options: dict[str, Any] = {"phase": "all", "batch": FRESH_BATCH}
    offset = 5 * 10**5 if noise else 0
    trainings = [
        _configuration(
            [Cell(lr, memory, noise) for memory in FRESH_MEMORIES],
            FRESH_STEPS,
            6 * 10**6 + offset + 1000 * i,
            **options,
        )
        for i, lr in enumerate(FRESH_LRS if not noise else FRESH_LRS[:1])
    ]
    adam = [Cell(lr, ADAM_MEMORY, noise) for lr in ADAM_LRS]
    return [
        *trainings,
        _configuration(adam, FRESH_STEPS, 7 * 10**6 + offset, optimizer="adamw", **options),
    ]


def adam_on_the_floor() -> Configuration:
    """AdamW under the label noise of the laws, from the floor."""
    cells = [Cell(lr, ADAM_MEMORY, NOISE) for lr in ADAM_LRS]
    return _configuration(cells, 2000, 8 * 10**6, optimizer="adamw")


def without_noise() -> Configuration:
    """From the floor, with nothing random but the choice of minibatches."""
    cells = [cell(LRS[0], NOISE, kappa) for kappa in (0.5, 4.0)]
    return _configuration(cells, 1500, 9 * 10**6, batch=BATCH, noise=0.0)


def small() -> Configuration:
    """A few steps in double precision, which a reader can repeat."""
    cells = [cell(LRS[0], NOISE, kappa) for kappa in (0.5, 4.0)]
    return _configuration(cells, 200, 10**7, starts=2, looks=12, dtype="float64")


def _profile() -> list[Configuration]:
    """All cells, each once."""
    chosen = _grouped(laws(), 0)
    for i, noise in enumerate(TUNED_NOISES):
        plain, heavy = tuned(noise)
        chosen += _grouped(heavy, 10**6 * (1 + i))
        # Plain SGD comes down to the first of the levels at s_1.
        if i == 0:  # plain SGD would take very long
            continue
        chosen += [
            _configuration(
                [c],
                min(13_000, 1.3 / (c.kappa * c.memory)),
                10**6 * (1 + i) + 9 * 10**5 + j,
                starts=4,
            )
            for j, c in enumerate(plain)
        ]
    chosen += _grouped([c for lr in BATCH_LRS for c in scan_in_batches(lr)], 4 * 10**6, batch=BATCH)
    chosen += [
        _configuration(*equal_steps(lr), 4 * 10**6 + 5 * 10**5 + i) for i, lr in enumerate(LRS[::2])
    ]
    chosen.append(fixed_momentum())
    chosen += [flips(), *fresh(0.0), *fresh(NOISE), adam_on_the_floor(), without_noise(), small()]
    return chosen


def _at_full_size(c: Configuration) -> Configuration:
    """A configuration of the laptop with all images and a wide network, and the same kappas in larger batches."""
    factor = 5
    return replace(
        c,
        # The variance eps^2 / B of the noise stays.
        noise=c.noise * factor**0.5 if c.kind == "additive" else c.noise,
        batch=factor * (c.batch or c.images),
        starts=2 * c.starts,
        images=60_000,
        test_images=10_000,
        pool=1,
        width=512,
        trace_images=8192,
        descent=10.0,
        descent_batch=8192,
        device="cuda",
        dtype="float32",
    )


PROFILES: Mapping[str, list[Configuration]] = {
    "smoke": [
        replace(
            c,
            dataset="digits",
            steps=24,
            starts=2,
            looks=6,
            images=64,
            test_images=100,
            pool=1,
            width=8,
            trace_images=64,
            descent=0.1,
            dtype="float64",
        )
        for c in (small(), flips(), fresh(0.0)[-1])
    ],
    "laptop": _profile(),
    "paper": [_at_full_size(c) for c in _profile()],
}

#: What other rounding may change: nothing before the noise is on, and little of runs that stay on the floor. Those
#: that leave it, with much momentum, grow apart from then on. Looks are spread evenly in the logarithm of the step, so
#: half of them come before, even in a sample that holds no other runs; their ends, from which they come to rest, have
#: all grown apart. Numbers have four digits, of which the last may turn. Where images came from is no measurement.
HELD: Mapping[str, Mapping[str, Any] | None] = {
    "data.source": None,
    "start": {"rtol": 2e-3},
    "trace": {"rtol": 2e-3, "share": 0.5},
    "loss": {"rtol": 2e-3, "share": 0.5},
    "accuracy": {"rtol": 2e-3, "share": 0.5},
    "diverged": {"rtol": 2e-3, "share": 0.8},
    "arrival": {"rtol": 2e-3, "share": 0.5},
    "rest": {"rtol": 2e-3, "share": 0.1},
}


class Starts(NamedTuple):
    """The networks that runs start from, and what they are trained and judged by.

    Attributes:
        network: the architecture.
        inputs: images.
        initial: weights before phase 1, (starts, P).
        floor: weights after it.
        data: name, source and digest of the data set.
    """

    network: MLP
    inputs: Inputs
    initial: Tensor
    floor: Tensor
    data: Mapping[str, str]

    def judged(self, weights: Tensor, images: int, quantity: Quantity) -> Floats:
        """Of runs, (R,); ``trace`` (Tr H) and ``loss`` over the first training images, ``accuracy`` on test images."""
        from flatter_lib.curvature import gauss_newton_trace
        from flatter_lib.vision.objective import accuracy, evaluate, squared_loss

        net, data = self.network, self.inputs
        x, y = data.x[:images], data.targets[:images]

        def measured(p: Mapping[str, Tensor]) -> Tensor:
            if quantity == "trace":
                return gauss_newton_trace(net, p, x)
            if quantity == "loss":
                return squared_loss(net, p, x, y)
            return accuracy(net, p, data.x_test, data.labels_test)

        return evaluate(net, weights, measured)


def starts_of(configuration: Configuration) -> Starts:
    """Networks before and after phase 1: that number j depends on j, and not on how many there are."""
    c = configuration
    return _starts(replace(c, **_NEUTRAL))


#: What phase 1 does not depend on.
_NEUTRAL: Mapping[str, Any] = {
    "lr": (),
    "memory": (),
    "noise": 0.0,
    "steps": 0,
    "seed": 0,
    "batch": None,
    "kind": "additive",
    "phase": "noise",
    "optimizer": "heavy ball",
    "looks": 0,
}


@lru_cache(maxsize=2)
def _starts(c: Configuration) -> Starts:
    import torch

    from flatter_lib.vision.data import load
    from flatter_lib.vision.ensemble import Ensemble
    from flatter_lib.vision.inputs import standardized
    from flatter_lib.vision.networks import MLP, flatten

    dtype: torch.dtype = getattr(torch, c.dtype)
    images = load(c.dataset)
    inputs = standardized(
        images,
        train=c.images,
        test=c.test_images,
        pool=c.pool,
        flat=True,
        device=c.device,
        dtype=dtype,
    )
    networks = [
        MLP(
            inputs.x.shape[1],
            c.width,
            gain=c.gain,
            generator=torch.Generator().manual_seed(j),
        ).to(c.device, dtype)  # drawn in double precision whatever follows
        for j in range(c.starts)
    ]
    initial = torch.stack([flatten(network) for network in networks])
    descent = Ensemble(
        networks[0],
        initial,
        inputs.x,
        inputs.targets,
        lr=0.0,
        batch=c.descent_batch,
        generators=[torch.Generator().manual_seed(100 + j) for j in range(c.starts)],
    )
    for stage in STAGES:
        descent.retune(stage.lr, stage.momentum)
        descent.run(max(1, round(stage.steps * c.descent)))
    about = {"name": images.name, "source": images.source, "digest": images.digest}
    return Starts(networks[0], inputs, initial, descent.weights, about)


def run(configuration: Configuration) -> Mapping[str, Any]:
    """Make the runs and look at them.

    Returns:
        ``data``: name, source and digest of the data set. ``start``: ``trace``, ``top`` (the largest eigenvalue of H),
        ``loss`` and ``accuracy`` of each start. ``steps``: where runs were looked at, and ``middle``: the middle of
        the steps since the last look. ``trace`` and ``accuracy``, at the mean of the weights over these steps, and
        ``loss``, at the weights: for each cell and start, at every look. ``diverged``: for each cell and start, the
        step, or -1. ``arrival`` and ``rest``: for each cell and start ``trace``, ``loss`` and ``accuracy`` at rest,
        from where the run first was seen at or below the first of `LEVELS` (NaN if it never was), and from its end.
    """
    import torch

    from flatter_lib.curvature import gauss_newton_top_eigenvalue
    from flatter_lib.vision.ensemble import AdamWEnsemble, Ensemble
    from flatter_lib.vision.networks import unflatten

    c = configuration
    starts = starts_of(c)
    origin = starts.floor if c.phase == "noise" else starts.initial
    cells, runs = len(c.lr), len(c.lr) * c.starts
    kind = AdamWEnsemble if c.optimizer == "adamw" else Ensemble
    training = kind(
        starts.network,
        origin.repeat(cells, 1),
        starts.inputs.x,
        starts.inputs.targets,
        lr=np.repeat(c.lr, c.starts).tolist(),
        momentum=(1 - np.repeat(c.memory, c.starts)).tolist(),
        label_noise=c.noise,
        noise=c.kind,
        batch=c.batch,
        generators=[torch.Generator().manual_seed(c.seed + j) for j in range(runs)],
    )
    first = {name: starts.judged(origin, c.trace_images, name) for name in QUANTITIES}
    goal = LEVELS[0] * np.tile(first["trace"], cells)
    arrived, snapshot = np.zeros(runs, dtype=bool), torch.full_like(training.weights, torch.nan)
    steps = _schedule(c)
    seen: dict[Quantity, list[Floats]] = {name: [] for name in QUANTITIES}
    for here in steps:
        training.run(int(here) - training.steps)
        for name, values in seen.items():
            weights = training.weights if name == "loss" else training.average
            values.append(starts.judged(weights, c.trace_images, name))
        new = ~arrived & (seen["trace"][-1] <= goal)
        rows = torch.from_numpy(new).to(snapshot.device)
        snapshot[rows] = training.weights[rows]
        arrived |= new

    def by_cell(values: Floats) -> list[Any]:
        """The numbers of each run, or its one number, in lists of runs in lists of cells."""
        shaped = values.reshape(cells, c.starts, *values.shape[1:])
        return [_short(rows) if rows.ndim == 1 else [_short(r) for r in rows] for rows in shaped]

    x = starts.inputs.x[: c.trace_images]
    top = [
        gauss_newton_top_eigenvalue(starts.network, unflatten(starts.network, w), x) for w in origin
    ]
    return {
        "data": starts.data,
        "start": {n: _short(v) for n, v in first.items()} | {"top": _short(np.array(top))},
        "steps": steps.tolist(),
        "middle": ((steps + np.append(0, steps[:-1]) + 1) / 2).tolist(),
        **{name: by_cell(np.stack(values, axis=-1)) for name, values in seen.items()},
        "diverged": training.diverged.reshape(cells, c.starts).tolist(),
        "arrival": {name: by_cell(v) for name, v in _at_rest(c, snapshot).items()},
        "rest": {name: by_cell(v) for name, v in _at_rest(c, training.weights).items()},
    }


def cost(configuration: Configuration) -> float:
    """Seconds that a run takes on one core of a laptop, about."""
    c = configuration
    runs = len(c.lr) * c.starts
    step = 3e-4 + 3.5e-6 * (c.batch or c.images)
    return 2.0 + runs * (c.steps * step + 0.013 * c.looks + REST_STEPS * 2e-3)


def passage_times(
    middle: Floats, relative: Floats, level: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """First passage and settling of runs, by linear interpolation in the logarithm of the time.

    Args:
        middle: times of the looks, increasing, (n,).
        relative: Tr H over its start at the looks, (..., n); NaN counts as above the level.
        level: of either.

    Returns:
        The time at which it first is at or below the level, and that from which it stays there, each (...); NaN where
        it does not, or not by the last look. A run that is there at the first look is timed by that.

    Raises:
        ValueError: if the level is not finite, or there are not as many numbers as looks.

    Examples:
        >>> middle = np.array([1.0, 10.0, 100.0, 1000.0])
        >>> passage_times(middle, np.array([[0.9, 0.3, 0.7, 0.2]]), 0.5)
        (array([4.64158883]), array([251.1886...]))
    """
    checks.number("level", level)
    if np.shape(relative)[-1:] != np.shape(middle):
        raise ValueError(
            f"relative: must end in an axis of {len(middle)} looks, got shape {np.shape(relative)}"
        )
    value = np.where(np.isfinite(relative), relative, np.inf)
    above = value > level
    n = value.shape[-1]
    never, unsettled = above.all(axis=-1), above[..., -1]
    at = np.argmin(above, axis=-1)
    last = n - np.argmax(above[..., ::-1], axis=-1)
    settled = np.where(above.any(axis=-1), np.minimum(last, n - 1), 0)

    def crossing(index: NDArray[np.int64]) -> Floats:
        before = np.maximum(index - 1, 0)
        high, low = (np.take_along_axis(value, i[..., None], -1)[..., 0] for i in (before, index))
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.where(np.isfinite(high) & (high > low), (high - level) / (high - low), 1.0)
        share = np.where(index == 0, 0.0, share)
        t = np.log(middle)
        times: Floats = np.exp(t[before] + share * (t[index] - t[before]))
        return times

    return (
        np.where(never, np.nan, crossing(at)),
        np.where(unsettled, np.nan, crossing(settled)),
    )


def _schedule(c: Configuration) -> NDArray[np.int64]:
    """Steps of the looks, spread in the logarithm."""
    spread = np.geomspace(max(1.0, c.steps / 60), c.steps, c.looks)
    return np.unique(np.rint(spread).astype(int))


def _at_rest(c: Configuration, weights: Tensor) -> dict[Quantity, Floats]:
    """What runs are after some steps without noise; NaN where their weights are no numbers."""
    import torch

    from flatter_lib.vision.ensemble import Ensemble

    starts, sound = starts_of(c), torch.isfinite(weights).all(dim=1)
    found: dict[Quantity, Floats] = {name: np.full(len(weights), np.nan) for name in QUANTITIES}
    if not bool(sound.any()):
        return found
    calm = Ensemble(
        starts.network,
        weights[sound],
        starts.inputs.x,
        starts.inputs.targets,
        lr=REST_LR,
        momentum=REST_MOMENTUM,
        batch=c.descent_batch,
        generators=[torch.Generator().manual_seed(j) for j in range(int(sound.sum()))],
    )
    calm.run(REST_STEPS)
    for name in QUANTITIES:
        found[name][sound.cpu().numpy()] = starts.judged(calm.weights, c.trace_images, name)
    return found


def _short(values: Floats) -> list[float]:
    """Four digits, which is more than the runs' scatter leaves meaning to."""
    return [float(f"{value:.4g}") for value in values]
