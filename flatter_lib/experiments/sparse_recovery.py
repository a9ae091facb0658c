r"""Sparse recovery by label noise: how often the diagonal network finds the truth, and after how many steps.

The loss is that of `flatter_lib.valleys.diagonal.DiagonalNetwork`, :math:`\frac{1}{2n} \sum r_i^2`. Noise of strength
:math:`\delta` is meant as gradient noise of covariance :math:`\delta^2 H` on the manifold, in either of two ways:
standard normal label noise times :math:`\delta\sqrt n` on every label, or times :math:`\delta n` on one label, drawn
anew at each step. With the loss :math:`\frac{1}{4n} \sum r_i^2` and twice the step size, the second one is the public
setting, where :math:`\delta = 1`.

Two times are taken of each run and each of two quantities: the first step at which it is at or below its level, and
the step from which it stays there to the end. The quantities are the *mass outside*, the sum of the entries of
:math:`\theta = v \odot v` outside the truth's support over the sum of the truth, and the relative *error*
:math:`|\theta - \theta^*| / |\theta^*|`.

Random numbers are those of `flatter_lib.ensemble.draws`, so that with noise on every label a run is the one that
`flatter_lib.ensemble.run` makes of the same seed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from flatter_lib import checks
from flatter_lib.ensemble import noise_stream, row_stream
from flatter_lib.experiments.design import Held, Scan, powers, rounded
from flatter_lib.valleys.diagonal import DiagonalNetwork
from flatter_lib.valleys.diagonal_run import DiagonalRun, descended

__all__ = ["FOUND", "PROFILES", "Configuration", "cost", "descended", "run"]

Floats = NDArray[np.float64]

FOUND = ("outside", "error", "outside_first", "error_first", "outside_settled", "error_settled")

_BLOCK = 2048
_SEEDS_A_CELL = 10_000
#: Largest curvature where gradient descent ends, problem 0 with 40 measurements, rounded.
_CURVATURE = 22.9
#: Truths under one protocol, and its scans: over step sizes, the largest with eta h below 1 at every start; over noise;
#: and plain SGD. Momenta are the same everywhere.
_TRUTHS, _MEMORIES, _LARGEST = 8, powers(0.0009, 0.24), 0.04
_SCANS = (
    *(
        Scan(_LARGEST / 2**i, 0.025, _MEMORIES, n)
        for i, n in enumerate((3800, 6000, 9600, 15000, 24000))
    ),
    *(
        Scan(_LARGEST, delta, _MEMORIES, n)
        for delta, n in (
            (0.00625, 9600),
            (0.0125, 6000),
            (0.05, 2400),
            (0.1, 1500),
            (0.2, 950),
            (0.4, 600),
        )
    ),
    *(
        Scan(_LARGEST, delta, (1.0,), n)
        for delta, n in ((0.1, 220_000), (0.2, 60_000), (0.4, 15_000))
    ),
)


@dataclass(frozen=True)
class Configuration:
    """Runs of one setting.

    Attributes:
        measurements: n, of every problem.
        problems: how many, with the seeds 0, 1, ...
        runs: of each problem.
        lr: step size eta.
        memory: 1 - beta, in (0, 1].
        strength: delta; 0 is gradient descent.
        noise: whether every label is noisy, or one drawn at random.
        steps: at this step size.
        seed: of the first run; the others count up from it.
        annealing: steps at a tenth, and again at a hundredth, of the step size; the times end before them.
        descended: whether runs start where gradient descent from v = 1 ends, not at v = 1.
        inputs: d.
        sparsity: entries of the truth that are 1.
        outside_level: level of the mass outside.
        error_level: level of the error.
    """

    measurements: int
    problems: int
    runs: int
    lr: float
    memory: float
    strength: float
    noise: Literal["every", "one"]
    steps: int
    seed: int = 0
    annealing: int = 0
    descended: bool = False
    inputs: int = 100
    sparsity: int = 5
    outside_level: float = 0.1
    error_level: float = 0.3

    def __post_init__(self) -> None:
        checks.fields(self, lr="(0, inf)", memory="(0, 1]", strength="[0, inf)")
        checks.fields(self, measurements=1, problems=1, runs=1, steps=1, seed=0, annealing=0)
        checks.fields(
            self, noise=("every", "one"), outside_level="(0, inf)", error_level="(0, inf)"
        )

    @property
    def kappa(self) -> float:
        r""":math:`\kappa = (\eta\delta)^2 / (1-\beta)^3`, the ratio of the two times."""
        return (self.lr * self.strength) ** 2 / self.memory**3


def _momenta(
    lr: float,
    strength: float,
    kappas: Iterable[float],
    runs: int,
    patience: float = 15.0,
    drift: float = 3.0,
) -> list[Configuration]:
    r"""Cells of one step size and noise, at momenta given by kappa, from where gradient descent ends.

    A run makes :math:`(\text{patience} + \text{drift}/\kappa) / (1-\beta)` steps; the drift needs :math:`1.75/\kappa`.
    """
    cells = []
    for kappa in kappas:
        memory = rounded(((lr * strength) ** 2 / kappa) ** (1 / 3))
        steps = int(np.ceil((patience + drift / kappa) / memory))
        cells.append(
            Configuration(40, 1, runs, lr, memory, strength, "every", steps, descended=True)
        )
    return cells


def _law(
    lrs: Iterable[float], strength: float, exponent: float, aim: float, runs: int
) -> list[Configuration]:
    """Cells along 1 - beta = C eta^exponent, with kappa = aim at the step size .004."""
    cells = []
    for lr in lrs:
        kappa = aim * (lr / 0.004) ** (2 - 3 * exponent)
        cells += _momenta(lr, strength, [kappa], runs, patience=15 + 12 * np.sqrt(aim))
    return cells


def _tuned(
    strengths: Iterable[float], steps: Iterable[float], runs: int, longest: int = 250_000
) -> list[Configuration]:
    """Plain descent and heavy ball, each with step sizes (given as eta h) and momenta of its own to be tuned over.

    Each makes 2.3 times the steps that its drift needs, heavy ball some more. Plain descent is left out where it
    would make more steps than ``longest``: twice the step size needs a quarter of them.
    """
    cells = []
    for strength in strengths:
        for lr in (rounded(step / _CURVATURE) for step in steps):
            plain = int(np.ceil(4 / (lr * strength) ** 2))
            if plain <= longest:
                cells.append(
                    Configuration(40, 1, runs, lr, 1.0, strength, "every", plain, descended=True)
                )
            kappas = [
                k for k in (0.0125, 0.025, 0.05, 0.1, 0.2, 0.4) if (lr * strength) ** 2 / k < 0.5
            ]
            cells += _momenta(lr, strength, kappas, runs, patience=15, drift=4)
    return cells


def _transition(measurements: Iterable[int], problems: int) -> list[Configuration]:
    r"""Many problems of each size: gradient descent, the public setting annealed sooner, weak noise with momentum.

    Both kinds of noise drift as long, :math:`4 (\delta\eta)^2 k / (1-\beta)^2 = 10`.
    """
    cells = []
    for n in measurements:
        cells += [
            Configuration(n, problems, 1, 0.005, 1.0, 0.0, "one", 20_000),
            Configuration(n, problems, 1, 0.005, 1.0, 1.0, "one", 100_000, annealing=2000),
            Configuration(
                n, problems, 1, 0.005, 0.0126, 0.1, "every", 1700, annealing=2000, descended=True
            ),
        ]
    return cells


def _longer(measurements: Iterable[int], problems: int) -> list[Configuration]:
    """The runs with momentum of `_transition` on problems of each size, with four times the clock."""
    return [
        replace(cell, steps=4 * cell.steps)
        for cell in _transition(measurements, problems)
        if cell.memory < 1
    ]


def _public(runs: int) -> list[Configuration]:
    """The public setting with its whole schedule, with noise on one label and on every label."""
    return [
        Configuration(40, 1, runs, 0.005, 1.0, 1.0, noise, 100_000, annealing=100_000)
        for noise in ("one", "every")
    ]


def _protocol(runs: int) -> list[Configuration]:
    """Every scan of the protocol, from where gradient descent ends."""
    return [
        Configuration(40, _TRUTHS, runs, s.lr, memory, s.strength, "every", s.steps, descended=True)
        for s in _SCANS
        for memory in s.memories
    ]


def _seeded(cells: Iterable[Configuration]) -> list[Configuration]:
    """Each cell once, with random numbers of its own."""
    return [replace(cell, seed=i * _SEEDS_A_CELL) for i, cell in enumerate(dict.fromkeys(cells))]


PROFILES: Mapping[str, list[Configuration]] = {
    "smoke": _seeded(
        [
            *_momenta(0.008, 0.02, [0.1, 0.3, 1.0, 3.0, 10.0], 8),
            *_transition([20, 40], 4),
        ]
    ),
    "laptop": _seeded(
        [
            *(
                cell
                for lr, strength in ((0.016, 0.02), (0.008, 0.02), (0.004, 0.02), (0.002, 0.02))
                for cell in _momenta(lr, strength, np.geomspace(0.03, 20, 11), 32)
            ),
            *(
                cell
                for strength in (0.005, 0.08)
                for cell in _momenta(0.004, strength, np.geomspace(0.03, 20, 11), 32)
            ),
            *_law((0.016, 0.008, 0.004, 0.002, 0.001), 0.02, 0.5, 0.03, 32),
            *_law((0.016, 0.008, 0.004, 0.002, 0.001), 0.02, 2 / 3, 0.3, 32),
            *_law((0.016, 0.008, 0.004, 0.002, 0.001), 0.02, 0.85, 3.0, 32),
            *_transition((10, 15, 20, 25, 30, 35, 40, 50), 40),
            *_public(16),
            *_tuned((0.1, 0.2, 0.4, 0.8, 1.6), (1.0, 0.5, 0.25), 16),
            *_tuned((0.05, 0.025, 0.0125), (1.0,), 16, longest=1_000_000),
            *_longer((10, 15, 20, 25, 30, 35, 40, 50), 40),
            *_protocol(8),
        ]
    ),
    "paper": _seeded(
        [
            *(
                cell
                for lr, strength in itertools.product(
                    (0.016, 0.008, 0.004, 0.002, 0.001), (0.005, 0.02, 0.08)
                )
                for cell in _momenta(lr, strength, np.geomspace(0.03, 20, 21), 256)
            ),
            *_transition(range(8, 61, 2), 400),
            *_public(256),
            *_protocol(256),
        ]
    ),
}

#: What other rounding may change. Runs stay together until one of them is near a saddle: then entries that lie
#: outside the support grow apart, in one run of fifty before its times are known, in one of ten before it ends.
HELD: Held = {
    "": {"rtol": 1e-3, "share": 0.95},
    "outside": {"rtol": 1e-3, "share": 0.8},
    "error": {"rtol": 1e-3, "share": 0.8},
}


def run(configuration: Configuration) -> Mapping[str, Any]:
    """Make the runs and time them.

    Returns:
        Of every run, problem by problem: ``outside`` and ``error`` at the very end; ``outside_first``,
        ``outside_settled``, ``error_first``, ``error_settled``, the steps at which the run came to be at or below the
        level, at first and for good, infinite if it did not.
    """
    c = configuration
    found = []
    for number in range(c.problems):
        problem = DiagonalNetwork(c.inputs, c.sparsity, c.measurements, seed=number)
        start = descended(problem) if c.descended else problem.ones.numpy()
        first = c.seed + number * c.runs
        found += [_finished(problem, start, seed, c) for seed in range(first, first + c.runs)]
    return dict(zip(FOUND, map(list, zip(*found, strict=True)), strict=True))


def _finished(problem: DiagonalNetwork, start: Floats, seed: int, c: Configuration) -> list[float]:
    """What is found of one run, in the order of :data:`FOUND`."""
    run = DiagonalRun(problem, start, (c.outside_level, c.error_level))
    noise, picks = noise_stream(seed), row_stream(seed)
    n = c.measurements
    one = c.noise == "one"
    times: list[float] = []
    for steps, lr in ((c.steps, c.lr), (c.annealing, c.lr / 10), (c.annealing, c.lr / 100)):
        for done in range(0, steps, _BLOCK):
            size = min(_BLOCK, steps - done)
            rows = picks.integers(n, size=size) if one else np.full(size, -1)
            draws = noise.standard_normal((size, 1 if one else n))
            draws *= c.strength * (n if one else np.sqrt(n))
            run.advance(draws, rows, lr, 1 - c.memory)
        if not times:
            arrived = np.where(run.first >= 0, run.first, np.inf)
            stayed = np.where(run.last_above < c.steps, run.last_above + 1.0, np.inf)
            times = [*arrived.tolist(), *stayed.tolist()]
    return [*run.outside_and_error(), *times]


def cost(configuration: Configuration) -> float:
    """Seconds that a run takes on one core of a laptop, about."""
    c = configuration
    steps = c.steps + 2 * c.annealing
    step = 6e-7 + c.measurements * 4.5e-8 * c.inputs / 100
    return 0.05 + c.problems * (c.runs * steps + 20_000 * c.descended) * step
