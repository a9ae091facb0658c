r"""When does label noise flatten a 6-layer MLP, and what becomes of its test accuracy? Over step size and momentum.

Networks go down to the floor of their loss without noise (phase 1); then label noise is switched on (phase 2), and
runs are looked at as :math:`\operatorname{Tr} H` comes down to fractions of its start. H is the Gauss-Newton matrix,
exact, at the mean of the weights since the last look. With B images a step and
:math:`s_1 =` `SLOW`, about the time :math:`k (\eta_{\text{eff}} \varepsilon)^2 / B` in which Tr H halves if momentum is
small,

.. math:: \kappa = \frac{(\eta\varepsilon)^2}{B s_1 (1-\beta)^3}

is the ratio of momentum's time 1/(1-beta) and the drift's.

A configuration is a cell, a run of one step size, momentum and noise from every start: run j is the j-th network, from
its initial weights on. More starts of a setting are a cell of their own, which begins with a later network.

A profile holds laws :math:`1-\beta = C\eta^\gamma` that meet at the middle step size, and the same laws aside of it; a
scan of momenta at all step sizes; scans with other noise strengths, with minibatches and with label flips; plain SGD at
its best step size; larger steps; equal numbers of steps; AdamW; and trainings from the initial weights with
minibatches, with and without label noise. Width, images, steps and noise are our own choices.

`protocol` is what all systems of the book are measured by, with 4,096 whole images, a width of 128 and minibatches of
256: momenta on one grid, whatever the step size. Its cells share their draws: run j of each has the same minibatches
and the same noise.

`crossed` asks the same of the cross-entropy, at two step sizes. A label then is flipped anew at every step with some
probability, and phase 1 fits the mean of what is shown with the softmax: there the noise has the covariance H/B.

``more`` holds the protocol from eleven further networks, some two and a half hours of one core.

The ``paper`` profile is the same for 60,000 images of 28 x 28 pixels and a width of 512, with minibatches of 960 in
place of all images, 16 starts, and a phase 1 ten times as long. Expected: 4 hours on one H100, an estimate from 1.8e17
operations at 1.5e13 a second (a fifth of its peak in single precision), of which 40 % are looks at Tr H and accuracy
and a third is phase 1, and 0.1 s of overhead for every 25 steps. It has not been run, and whether its phase 1 reaches
interpolation has to be seen in the records, which hold the loss of every start.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flatter_lib import checks
from flatter_lib.experiments._images import images_of
from flatter_lib.experiments.design import (
    Cell,
    Held,
    Landscape,
    Rung,
    Scan,
    powers,
    rounded,
    rungs,
    short,
)

if TYPE_CHECKING:
    from torch import Tensor

    from flatter_lib.vision.inputs import Inputs
    from flatter_lib.vision.networks import MLP

Floats = NDArray[np.float64]
Quantity = Literal["trace", "loss", "accuracy"]
QUANTITIES: tuple[Quantity, ...] = ("trace", "loss", "accuracy")

#: Fractions of the first Tr H, at which runs are timed; at the first one they are also brought to rest.
LEVELS = (0.5, 0.35)
SLOW = 0.09
IMAGES, STARTS = 192, 8
#: Eta h is about 1 at the sharpest start with the largest step, and all are below the edge of stability.
FULL = Landscape(
    IMAGES * SLOW, 0.25, lrs=(0.04, 0.02378, 0.01414, 0.008409, 0.005), patience=6, drift=2.5
)
LRS, NOISE = FULL.lrs, FULL.strength
GAMMAS = (0.0, 1 / 3, 1 / 2, 2 / 3, 0.8)
#: Kappa at the middle step size of laws that meet there, and of laws that start on the side to which they lead.
KAPPA_MEETING = 2.0
KAPPA_APART = (0.15, 0.25, 0.4, 8.0, 8.0)
SCAN_KAPPAS = tuple(rounded(k, 3) for k in np.geomspace(0.25, 150.0, 8))
#: Other noise strengths at the largest step size; plain SGD's step sizes, and kappas of heavy ball, at these.
TUNED_NOISES = (0.5, 1.0, 2.0)
TUNED_LRS = (0.04, 0.02)
TUNED_KAPPAS = (0.02, 0.08, 0.3, 1.0, 3.0, 10.0, 30.0, 90.0)
#: Minibatches, with label noise of the same covariance, and their step sizes and kappas.
BATCH = 48
IN_BATCHES = FULL._replace(slow=BATCH * SLOW, strength=NOISE * (BATCH / IMAGES) ** 0.5)
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
#: The largest curvature at any start, and larger steps in its units, under the strongest noise: of plain SGD with the
#: steps that its runs make, and of heavy ball.
SHARPEST = 23.6
LARGER_PLAIN = (
    {1.0: 3500, 1.5: 1800, 1.9: 1100}
    | dict.fromkeys((2.25, 2.75, 3.25, 4.0, 5.0, 6.0), 800)
    | dict.fromkeys((7.0, 8.0, 10.0, 13.0), 300)
)
LARGER_HEAVY = (1.0, 1.5, 1.9, 2.75, 4.0, 6.0, 8.0)
LARGER_MEMORIES, LARGER_STEPS = powers(0.05, 0.56), 200
#: The protocol at size: what all its cells have, and step sizes over a factor 16; eta h is about 1 at most.
SIZE: Mapping[str, Any] = {
    "images": 4096,
    "test_images": 10_000,
    "pool": 1,
    "width": 128,
    "batch": 256,
    "trace_images": 512,
    "descent": 2.0,
    "descent_batch": 256,
    "looks": 20,
}
#: The number of the first network and how many there are; from the eighth on they are a profile of their own.
SIZE_STARTS = ((0, 5), (5, 3), (8, 3), (11, 3), (14, 3), (17, 2))
SIZE_LATER = 8
AT_SIZE = Landscape(
    SIZE["batch"] * SLOW, 0.5, lrs=(0.08, 0.04, 0.02, 0.01, 0.005), patience=6, drift=2.5
)
#: Its clock: settling below this share of the first Tr H.
SIZE_LEVEL = 0.7
#: One grid of 1 - beta, and about eight times the steps of the fastest in a pilot, by step size and by noise.
SIZE_MEMORIES = powers(0.0045, 0.18, per_octave=1.5)
SIZE_STEPS = {0.08: 620, 0.04: 920, 0.02: 1360, 0.01: 2000, 0.005: 2960}
SIZE_NOISES = {0.25: 1000, 1.0: 400}
#: Plain SGD at the largest step size under the strongest noises, and its steps.
SIZE_PLAIN = {0.5: 7000, 1.0: 2500}
#: With the cross-entropy: the probability of a flip; momenta; starts; step sizes, the largest with eta h below 1, with
#: about six times the steps of the fastest in a pilot; how many times larger steps are in phase 1 and at rest than with
#: the squared loss, of larger curvature.
CROSSED_FLIPS, CROSSED_STARTS = 0.5, 8
CROSSED_MEMORIES = powers(0.0113, 0.29, per_octave=1.5)
CROSSED_STEPS = {0.2: 1200, 0.025: 3200}
CROSSED_FASTER = 2.0
#: So many make looks costly.
MANY_TEST_IMAGES = 4000
#: At rest: heavy ball without noise, on all images.
REST_LR, REST_MOMENTUM, REST_STEPS = 0.04, 0.9, 100


#: Step size, momentum and steps in phase 1; momentum is raised, and then the oscillation dies.
STAGES = (
    (0.01, 0.9, 200),
    (0.01, 0.98, 200),
    (0.01, 0.99, 400),
    (0.015, 0.995, 700),
    (0.015, 0.9, 100),
)


@dataclass(frozen=True)
class Configuration:
    """A cell, and its runs.

    Attributes:
        lr: step size eta.
        memory: 1 - beta, in (0, 1]; 1 - beta_1 of AdamW.
        noise: standard deviation of additive noise on every target, or probability of a flip.
        steps: of every run.
        seed: of the first run's noise; the others count up from it.
        starts: networks, each with a run.
        first: the number of the first of them.
        batch: images a step, drawn with replacement; None for all of them, once each.
        kind: of label noise, ``additive`` or ``flip``.
        loss: ``squared``, or ``cross entropy``, which takes flips alone.
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

    lr: float
    memory: float
    noise: float
    steps: int
    seed: int
    starts: int = STARTS
    first: int = 0
    batch: int | None = None
    kind: Literal["additive", "flip"] = "additive"
    loss: Literal["squared", "cross entropy"] = "squared"
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
        checks.fields(self, steps=0, seed=0, starts=1, first=0, looks=0, images=1, test_images=1)
        checks.fields(
            self, pool=1, width=1, trace_images=1, gain="(0, inf)", kind=("additive", "flip")
        )
        checks.fields(self, phase=("noise", "all"), optimizer=("heavy ball", "adamw"))
        checks.fields(self, loss=("squared", "cross entropy"))
        if self.loss != "squared" and self.kind != "flip":
            raise ValueError(f"kind: must be flip for the {self.loss}, got {self.kind}")

    @property
    def costly(self) -> bool:
        """Whether a look takes as long as many steps: then accuracy is judged at every fourth one, and at the end."""
        return self.test_images > MANY_TEST_IMAGES


def laws() -> list[Cell]:
    """The cells of all laws, and of the scans."""
    chosen = [
        c
        for gamma, apart in zip(GAMMAS, KAPPA_APART, strict=True)
        for c in FULL.law(gamma, KAPPA_MEETING) + FULL.law(gamma, apart)
    ]
    return chosen + [c for lr in LRS for c in FULL.scan(lr, SCAN_KAPPAS)]


def scan_in_batches(lr: float) -> list[Cell]:
    """A scan with minibatches, and label noise of the same covariance."""
    return IN_BATCHES.scan(lr, BATCH_KAPPAS)


def tuned(noise: float) -> tuple[list[Cell], list[Cell]]:
    """Cells of plain SGD, with the strongest noise also at a smaller step, and of heavy ball."""
    lrs = TUNED_LRS if noise == max(TUNED_NOISES) else TUNED_LRS[:1]
    heavy = FULL.scan(LRS[0], TUNED_KAPPAS, noise)
    return [FULL.plain(lr, noise) for lr in lrs], [c for c in heavy if c.memory < 1]


def larger() -> tuple[list[Configuration], list[Configuration]]:
    """Plain SGD and heavy ball under the strongest noise with steps up to the edge of stability, and beyond."""
    noise, seed = max(TUNED_NOISES), 3 * 10**6 + 5 * 10**5
    plain = [
        _shared(Rung([FULL.plain(x / SHARPEST, noise)], steps, seed + 1000 * i))
        for i, (x, steps) in enumerate(LARGER_PLAIN.items(), 1)
    ]
    cells = [
        Cell(rounded(x / SHARPEST), m, noise, FULL) for x in LARGER_HEAVY for m in LARGER_MEMORIES
    ]
    return [c for rung in plain for c in rung], _shared(Rung(cells, LARGER_STEPS, seed))


def protocol() -> list[Configuration]:
    """Scans of momenta at all step sizes, at the largest under other noises, too, and plain SGD under the strongest."""
    lr = AT_SIZE.lrs[0]
    scans = [Scan(lr, AT_SIZE.strength, SIZE_MEMORIES, n) for lr, n in SIZE_STEPS.items()]
    scans += [Scan(lr, noise, SIZE_MEMORIES, n) for noise, n in SIZE_NOISES.items()]
    scans += [Scan(lr, noise, (1.0,), n) for noise, n in SIZE_PLAIN.items()]
    seeds = range(11 * 10**6, 12 * 10**6, 1000)
    made = [scan.rung(AT_SIZE, seed) for scan, seed in zip(scans, seeds, strict=False)]
    return [
        c
        for first, starts in SIZE_STARTS
        for rung in made
        for c in _shared(rung, first=first, starts=starts, **SIZE)
    ]


def crossed() -> list[Configuration]:
    """A scan of momenta with the cross-entropy at two step sizes, on one grid."""
    options = {**SIZE, "starts": CROSSED_STARTS, "kind": "flip", "loss": "cross entropy"}
    scans = [Scan(lr, CROSSED_FLIPS, CROSSED_MEMORIES, n) for lr, n in CROSSED_STEPS.items()]
    made = [scan.rung(AT_SIZE, 12 * 10**6 + 1000 * i) for i, scan in enumerate(scans)]
    return [c for rung in made for c in _shared(rung, **options)]


def equal_steps(lr: float) -> list[Configuration]:
    """Plain SGD, momentum 0.9 and the rule at a step size, with a number of steps for all of them."""
    rule = FULL.cell(lr, RULE_KAPPA)
    cells = [FULL.plain(lr), Cell(lr, 0.1, NOISE, FULL), rule]
    seed = 4 * 10**6 + 5 * 10**5 + BATCH_LRS.index(lr)
    return _rung(cells, EQUAL_STEPS / rule.memory, seed)


def fixed_momentum() -> list[Configuration]:
    """Momentum 0.9 at the largest step size, until Tr H has halved."""
    c = Cell(LRS[0], 0.1, NOISE, FULL)
    return _rung([c], 1.6 / (c.kappa * c.memory), 4 * 10**6 + 6 * 10**5)


def flip_probability(noise: float) -> float:
    """The probability of (centred) flips whose variance is that of additive noise, to four digits.

    Examples:
        >>> flip_probability(0.25)
        0.2086
    """
    from scipy.optimize import brentq

    from flatter_lib.vision.label_noise import LabelNoise

    return rounded(brentq(lambda p: LabelNoise("flip", p).variance(10) - noise**2, 0.0, 0.8))


def flips() -> list[Configuration]:
    """Label flips at the middle step size."""
    cells = FULL.scan(LRS[2], FLIP_KAPPAS)
    steps = max(c.steps for c in cells)
    return _rung(cells, steps, 5 * 10**6, kind="flip", noise=flip_probability(NOISE))


def fresh(noise: float) -> list[list[Configuration]]:
    """Trainings from the initial weights: heavy ball and plain SGD at each step size, and AdamW."""
    options: dict[str, Any] = {"phase": "all", "batch": FRESH_BATCH}
    offset = 5 * 10**5 if noise else 0
    trainings = [
        _rung(
            [Cell(lr, memory, noise, FULL) for memory in FRESH_MEMORIES],
            FRESH_STEPS,
            6 * 10**6 + offset + 1000 * i,
            **options,
        )
        for i, lr in enumerate(FRESH_LRS if not noise else FRESH_LRS[:1])
    ]
    adam = [Cell(lr, ADAM_MEMORY, noise, FULL) for lr in ADAM_LRS]
    return [
        *trainings,
        _rung(adam, FRESH_STEPS, 7 * 10**6 + offset, optimizer="adamw", **options),
    ]


def adam_on_the_floor() -> list[Configuration]:
    """AdamW under the label noise of the laws, from the floor."""
    cells = [Cell(lr, ADAM_MEMORY, NOISE, FULL) for lr in ADAM_LRS]
    return _rung(cells, 2000, 8 * 10**6, optimizer="adamw")


def without_noise() -> list[Configuration]:
    """From the floor, with nothing random but the choice of minibatches."""
    return _rung(FULL.scan(LRS[0], (0.5, 4.0)), 1500, 9 * 10**6, batch=BATCH, noise=0.0)


def small() -> list[Configuration]:
    """A few steps in double precision, which a reader can repeat."""
    cells = FULL.scan(LRS[0], (0.5, 4.0))
    return _rung(cells, 200, 10**7, starts=2, looks=12, dtype="float64")


def _rung(cells: Sequence[Cell], steps: float, seed: int, **options: Any) -> list[Configuration]:
    """Cells that are made together: every run of theirs has noise of its own."""
    starts = options.pop("starts", STARTS)
    given = {"noise": cells[0].strength, "steps": int(np.ceil(steps)), "starts": starts} | options
    return [
        Configuration(c.lr, c.memory, seed=seed + i * starts, **given) for i, c in enumerate(cells)
    ]


def _shared(rung: Rung, **options: Any) -> list[Configuration]:
    """Cells whose runs from one start have the same draws."""
    return [
        Configuration(c.lr, c.memory, c.strength, rung.steps, rung.seed, **options)
        for c in rung.cells
    ]


def _rungs(cells: Iterable[Cell], seed: int, **options: Any) -> list[list[Configuration]]:
    chosen = rungs(cells, seed, longest=1.3)
    return [_rung(rung.cells, rung.steps, rung.seed, **options) for rung in chosen]


def _profile() -> list[list[Configuration]]:
    """All cells, each once, in lists of those that are made together."""
    chosen = _rungs(laws(), 0)
    for i, noise in enumerate(TUNED_NOISES):
        plain, heavy = tuned(noise)
        chosen += _rungs(heavy, 10**6 * (1 + i))
        # Plain SGD comes down to the first of the levels at s_1.
        if i == 0:  # plain SGD would take very long
            continue
        chosen += [
            _rung(
                [c],
                min(13_000, 1.3 / (c.kappa * c.memory)),
                10**6 * (1 + i) + 9 * 10**5 + j,
                starts=4,
            )
            for j, c in enumerate(plain)
        ]
    chosen += _rungs([c for lr in BATCH_LRS for c in scan_in_batches(lr)], 4 * 10**6, batch=BATCH)
    chosen += [equal_steps(lr) for lr in BATCH_LRS]
    chosen += [fixed_momentum(), flips(), *fresh(0.0), *fresh(NOISE)]
    return [*chosen, adam_on_the_floor(), without_noise(), small()]


def _at_full_size(i: int, c: Configuration) -> Configuration:
    """The i-th cell of a rung with all images and a wide network, and the same kappa in larger batches."""
    factor = 5
    return replace(
        c,
        # The variance eps^2 / B of the noise stays.
        noise=c.noise * factor**0.5 if c.kind == "additive" else c.noise,
        batch=factor * (c.batch or c.images),
        starts=2 * c.starts,
        seed=c.seed + i * c.starts,
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


def _small(i: int, c: Configuration) -> Configuration:
    """The i-th cell of a rung on scikit-learn's digits, in seconds and in double precision."""
    starts = 2
    return replace(
        c,
        dataset="digits",
        steps=24,
        starts=starts,
        seed=c.seed + i * (starts - c.starts),
        looks=6,
        images=64,
        test_images=100,
        pool=1,
        width=8,
        trace_images=64,
        descent=0.1,
        dtype="float64",
    )


PROFILES: Mapping[str, list[Configuration]] = {
    "smoke": [
        *(_small(i, c) for rung in (small(), flips(), fresh(0.0)[-1]) for i, c in enumerate(rung)),
        *(replace(_small(0, c), seed=c.seed, batch=16) for c in (*protocol()[:2], *crossed()[:2])),
    ],
    "laptop": [
        *(c for rung in _profile() for c in rung),
        *(c for s in larger() for c in s),
        *(c for c in protocol() if c.first < SIZE_LATER),
        *crossed(),
    ],
    "more": [c for c in protocol() if c.first >= SIZE_LATER],
    "paper": [_at_full_size(i, c) for rung in _profile() for i, c in enumerate(rung)],
}

#: What other rounding may change: nothing before the noise is on, and little of runs that stay on the floor. Those
#: that leave it, with much momentum, grow apart from then on. Looks are spread evenly in the logarithm of the step, so
#: half of them come before, even in a sample that holds no other runs; their ends, from which they come to rest, have
#: all grown apart. Numbers have four digits, of which the last may turn. Where images came from is no measurement.
HELD: Held = {
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
        targets: means of the labels that are shown, which phase 1 fits: one-hot but for the cross-entropy.
        loss: of `Ensemble`.
        initial: weights before phase 1, (starts, P).
        floor: weights after it.
        data: name, source and digest of the data set.
    """

    network: MLP
    inputs: Inputs
    targets: Tensor
    loss: Literal["cross entropy"] | None
    initial: Tensor
    floor: Tensor
    data: Mapping[str, str]

    def judged(self, weights: Tensor, images: int, quantity: Quantity) -> Floats:
        """Of runs, (R,); ``trace`` (Tr H) and ``loss`` over the first training images, ``accuracy`` on test images."""
        from flatter_lib.curvature import gauss_newton_trace
        from flatter_lib.vision.objective import accuracy, cross_entropy, evaluate, squared_loss

        net, data, crossed = self.network, self.inputs, self.loss is not None
        x, y = data.x[:images], self.targets[:images]

        def measured(p: Mapping[str, Tensor]) -> Tensor:
            if quantity == "trace":
                return gauss_newton_trace(net, p, x, crossed=crossed)
            if quantity == "loss":
                return (cross_entropy if crossed else squared_loss)(net, p, x, y)
            return accuracy(net, p, data.x_test, data.labels_test)

        return evaluate(net, weights, measured)


def starts_of(configuration: Configuration) -> Starts:
    """Networks before and after phase 1: that number j depends on j, and not on how many there are."""
    c, neutral = configuration, dict(_NEUTRAL)
    if c.loss != "squared":  # phase 1 fits what is shown
        neutral |= {"kind": c.kind, "noise": c.noise}
    return _starts(replace(c, **neutral))


#: What phase 1 does not depend on.
_NEUTRAL: Mapping[str, Any] = {
    "lr": 1.0,
    "memory": 1.0,
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

    from flatter_lib.vision.ensemble import Ensemble
    from flatter_lib.vision.networks import MLP, flatten

    inputs, about = images_of(c, flat=True)
    targets, loss, faster = inputs.targets, None, 1.0
    if c.loss == "cross entropy":
        wrong = c.noise / (targets.shape[1] - 1)
        targets, loss, faster = targets * (1 - c.noise - wrong) + wrong, c.loss, CROSSED_FASTER
    numbers = range(c.first, c.first + c.starts)
    networks = [
        MLP(
            inputs.x.shape[1],
            c.width,
            gain=c.gain,
            generator=torch.Generator().manual_seed(j),
        ).to(inputs.x)  # drawn in double precision whatever follows
        for j in numbers
    ]
    initial = torch.stack([flatten(network) for network in networks])
    descent = Ensemble(
        networks[0],
        initial,
        inputs.x,
        targets,
        lr=0.0,
        batch=c.descent_batch,
        generators=[torch.Generator().manual_seed(100 + j) for j in numbers],
        loss=loss,
    )
    for lr, momentum, steps in STAGES:
        descent.retune(faster * lr, momentum)
        descent.run(max(1, round(steps * c.descent)))
    return Starts(networks[0], inputs, targets, loss, initial, descent.weights, about)


def batch(configuration: Configuration) -> Hashable:
    """Cells with equal keys can be made in one pass."""
    return replace(configuration, lr=1.0, memory=1.0, seed=0)


def run_many(configurations: Sequence[Configuration]) -> list[dict[str, Any]]:
    """Make the runs of some cells, whose keys of :func:`batch` are equal, and look at them.

    Returns:
        Of each cell, ``data``: name, source and digest of the data set. ``start``: ``trace``, ``top`` (the largest
        eigenvalue of H), ``loss`` and ``accuracy`` of each start. ``steps``: where runs were looked at, and ``middle``:
        the middle of the steps since the last look. ``trace`` and ``accuracy``, at the mean of the weights over these
        steps, and ``loss``, at the weights: for each start, at every look (NaN where accuracy was not judged, see
        `Configuration.costly`). ``diverged``: for each start, the step, or
        -1. ``arrival`` and ``rest``: for each start ``trace``, ``loss`` and ``accuracy`` at rest, from where the run
        first was seen at or below the first of `LEVELS` (NaN if it never was, or looks are costly), and from its end.
    """
    import torch

    from flatter_lib.curvature import gauss_newton_top_eigenvalue
    from flatter_lib.vision.ensemble import AdamWEnsemble, Ensemble
    from flatter_lib.vision.networks import unflatten

    c = configurations[0]
    starts = starts_of(c)
    origin = starts.floor if c.phase == "noise" else starts.initial
    cells, runs = len(configurations), len(configurations) * c.starts
    kind = AdamWEnsemble if c.optimizer == "adamw" else Ensemble
    # The runs of a start stand together; they share their draws if their cells have one seed.
    seeds = [each.seed + c.first + j for j in range(c.starts) for each in configurations]
    shared = cells if len({each.seed for each in configurations}) == 1 else 1
    training = kind(
        starts.network,
        origin.repeat_interleave(cells, 0),
        starts.inputs.x,
        starts.inputs.targets,
        lr=[each.lr for each in configurations] * c.starts,
        momentum=[1 - each.memory for each in configurations] * c.starts,
        label_noise=c.noise,
        noise=c.kind,
        batch=c.batch,
        generators=[torch.Generator().manual_seed(seed) for seed in seeds[::shared]],
        loss=starts.loss,
        shared=shared,
    )
    first = {name: starts.judged(origin, c.trace_images, name) for name in QUANTITIES}
    goal = LEVELS[0] * np.repeat(first["trace"], cells)
    arrived, snapshot = np.zeros(runs, dtype=bool), torch.full_like(training.weights, torch.nan)
    steps = _schedule(c)
    seen: dict[Quantity, list[Floats]] = {name: [] for name in QUANTITIES}
    for i, here in enumerate(steps):
        training.run(int(here) - training.steps)
        for name, values in seen.items():
            weights = training.weights if name == "loss" else training.average
            if name == "accuracy" and c.costly and (len(steps) - 1 - i) % 4:
                values.append(np.full(runs, np.nan))
            else:
                values.append(starts.judged(weights, c.trace_images, name))
        new = ~arrived & (seen["trace"][-1] <= goal) & (not c.costly)
        rows = torch.from_numpy(new).to(snapshot.device)
        snapshot[rows] = training.weights[rows]
        arrived |= new
    x = starts.inputs.x[: c.trace_images]
    net, crossed = starts.network, starts.loss is not None
    top = [gauss_newton_top_eigenvalue(net, unflatten(net, w), x, crossed=crossed) for w in origin]
    common = {
        "data": starts.data,
        "start": {n: short(v) for n, v in first.items()} | {"top": short(top)},
        "steps": steps.tolist(),
        "middle": ((steps + np.append(0, steps[:-1]) + 1) / 2).tolist(),
    }
    looks = {name: np.stack(values, axis=-1) for name, values in seen.items()}
    arrival, rest = at_rest(c, snapshot), at_rest(c, training.weights)
    return [
        common
        | {name: short(values[own]) for name, values in looks.items()}
        | {
            "diverged": training.diverged[own].tolist(),
            "arrival": {name: short(values[own]) for name, values in arrival.items()},
            "rest": {name: short(values[own]) for name, values in rest.items()},
        }
        for own in (slice(i, None, cells) for i in range(cells))
    ]


#: Runs made in one pass: a scan of the protocol.
TOGETHER = len(SIZE_MEMORIES)


def cost(configuration: Configuration) -> float:
    """Seconds that a cell takes on one core of a laptop, about, with three others or more in one pass."""
    c = configuration
    step, look, rest = 3e-4 + 3.5e-6 * (c.batch or c.images), 0.013, 2e-3 * REST_STEPS
    if c.costly:
        step, look, rest = 2.7e-3, 0.03, 0.35
    return 0.5 + c.starts * (c.steps * step + c.looks * look + rest)


def _schedule(c: Configuration) -> NDArray[np.int64]:
    """Steps of the looks, spread in the logarithm."""
    spread = np.geomspace(max(1.0, c.steps / 60), c.steps, c.looks)
    return np.unique(np.rint(spread).astype(int))


def at_rest(c: Configuration, weights: Tensor) -> dict[Quantity, Floats]:
    """What runs are after some steps without noise; NaN where their weights are no numbers.

    Runs from one start, of however many cells, stand together, and have the same minibatches.
    """
    import torch

    from flatter_lib.vision.ensemble import Ensemble

    starts, sound = starts_of(c), torch.isfinite(weights).all(dim=1)
    found: dict[Quantity, Floats] = {name: np.full(len(weights), np.nan) for name in QUANTITIES}
    if not bool(sound.any()):
        return found
    numbers = c.first + np.flatnonzero(sound.cpu().numpy()) * c.starts // len(weights)
    calm = Ensemble(
        starts.network,
        weights[sound],
        starts.inputs.x,
        starts.targets,
        lr=REST_LR * (1.0 if starts.loss is None else CROSSED_FASTER),
        loss=starts.loss,
        momentum=REST_MOMENTUM,
        batch=c.descent_batch,
        generators=[torch.Generator().manual_seed(int(j)) for j in numbers],
    )
    calm.run(REST_STEPS)
    for name in QUANTITIES:
        found[name][sound.cpu().numpy()] = starts.judged(calm.weights, c.trace_images, name)
    return found
