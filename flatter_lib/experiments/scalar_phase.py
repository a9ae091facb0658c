r"""When do runs arrive at the flat point of the scalar valley, and when do they stay? Over step size and momentum.

One configuration is one cell of a phase diagram: many runs of heavy ball at one (eta, 1 - beta), noise strength and
kind of noise, from one start, timed one by one. A profile holds the whole plane under label noise (two strengths) and
under isotropic gradient noise, a finer grid about the fastest settling under label noise (two strengths) and under
sign noise, scans from several starts over a grid of momenta that is the same at every step size and noise, and runs
from a start off the floor. The momenta of the last follow

.. math:: \kappa_0 = \frac{\eta r_0^2}{h (1-\beta)^2},

with the residual r_0 at the start and the curvature h of the floor point below it: the number that says how far the
descent itself moves a run along the floor.

Streams of random numbers are those of :func:`flatter_lib.valleys.scalar.simulate`, from the configuration's seed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flatter_lib import checks
from flatter_lib.experiments.design import Held, powers, rounded
from flatter_lib.stats import PROBABILITIES, median_draws
from flatter_lib.valleys.scalar import Noise, ScalarValley, simulate

__all__ = ["PROBABILITIES", "PROFILES", "Configuration", "cost", "median_draws", "run"]

Floats = NDArray[np.float64]

_SEEDS_A_CELL = 10_000

#: Under one protocol: starts, step sizes (the largest with eta h below 1 at every start), the noise of their scan,
#: those of the scan at the largest step, momenta, and the noises of plain SGD.
_STARTS = tuple(rounded(u, 3) for u in np.geomspace(1.2, 2.0, 8))
_STEPS, _NOISE, _NOISES = tuple(0.23 / 2**i for i in range(5)), 0.1, (0.025, 0.05, 0.2)
_MEMORIES, _PLAIN = powers(0.0045, 0.41), (0.05, 0.1, 0.2)

#: The residual of the runs that start off the floor, and the curvature of the floor point below all starts.
_OFF, _CURVATURE = 0.5, 1.4**2 + 1.4**-2


@dataclass(frozen=True)
class Configuration:
    """One cell.

    Attributes:
        lr: step size eta.
        memory: 1 - beta, in (0, 1].
        strength: epsilon, positive.
        noise: its kind, as :func:`flatter_lib.valleys.scalar.simulate` has it.
        runs: independent runs.
        seed: of the first run; the others count up from it.
        target: y of the loss (u v - y)^2 / 2.
        start: u of the floor point where runs start, or would without ``start_residual``.
        start_residual: u v - y at the start.
        first_level: level of D / D_0 for first passage.
        settling_level: level of ``|D / D_0|`` for settling.
    """

    lr: float
    memory: float
    strength: float
    noise: Noise
    runs: int
    seed: int
    target: float = 1.0
    start: float = 1.4
    start_residual: float = 0.0
    first_level: float = 0.36787944117144233
    settling_level: float = 0.1

    def __post_init__(self) -> None:
        checks.fields(self, lr="(0, inf)", memory="(0, 1]", strength="(0, inf)", runs=1, seed=0)

    @property
    def kappa(self) -> float:
        r""":math:`\kappa = (\eta\varepsilon)^2 / (1-\beta)^3`, the ratio of the two times."""
        return (self.lr * self.strength) ** 2 / self.memory**3

    @property
    def steps(self) -> int:
        r"""Steps of every run: :math:`(40 + 3.5/\kappa) / (1-\beta)`, well past the time at which runs settle."""
        return int(np.ceil((40 + 3.5 / self.kappa) / self.memory))


def _cells(
    pairs: Iterable[tuple[float, float]],
    strength: float,
    runs: int,
    noise: Noise = "label",
    start_residual: float = 0.0,
) -> list[Configuration]:
    """The cells of a diagram, at pairs of step size and memory, rounded so that a record's line can be read."""
    cell = Configuration(1.0, 1.0, strength, noise, runs, seed=0, start_residual=start_residual)
    return [replace(cell, lr=rounded(lr), memory=rounded(memory)) for lr, memory in pairs]


def _protocol(runs: int) -> list[Configuration]:
    """Scans from every start: over step sizes, over noise at the largest step, and plain SGD."""
    largest = _STEPS[0]
    pairs = [(lr, _NOISE, m) for lr, m in product(_STEPS, _MEMORIES)]
    pairs += [(largest, eps, m) for eps, m in product(_NOISES, _MEMORIES)]
    pairs += [(largest, eps, 1.0) for eps in _PLAIN]
    return [
        Configuration(rounded(lr), memory, eps, "label", runs, seed=0, start=start)
        for start in _STARTS
        for lr, eps, memory in pairs
    ]


def _profile(
    lrs: Floats,
    memories: Floats,
    fine: Floats,
    lrs_off: Floats,
    kappas_0: Floats,
    runs: int,
    protocol: int = 0,
) -> list[Configuration]:
    """All diagrams.

    Args:
        lrs: step sizes of the whole plane; the weak noise is spared the smallest.
        memories: 1 - beta of the whole plane.
        fine: 1 - beta about the fastest settling, wherever kappa is from 0.03 to 30 there.
        lrs_off: step sizes of the runs that start off the floor.
        kappas_0: what sets their momenta.
        runs: runs of each cell of the plane; those about the fastest settling are four times as many.
        protocol: runs of each cell of the scans from several starts.
    """
    plane = list(product(lrs, memories))
    coarse = list(product(lrs[::2], memories))
    cells = _cells(plane, 0.1, runs) + _cells(coarse, 0.3, runs)
    cells += _cells(product(lrs[3::2], memories), 0.1, runs, noise="gaussian")

    useful = lrs[lrs * _CURVATURE <= 1]
    finely: list[tuple[float, Noise]] = [(0.02, "label"), (0.1, "label"), (0.1, "sign")]
    for strength, noise in finely:
        near = [
            (lr, m) for lr, m in product(useful, fine) if 0.03 < (lr * strength) ** 2 / m**3 < 30
        ]
        cells += _cells(near, strength, 4 * runs, noise=noise)

    off = [(lr, _OFF * np.sqrt(lr / (_CURVATURE * k))) for lr, k in product(lrs_off, kappas_0)]
    cells += _cells(off, 0.1, runs, start_residual=_OFF)
    cells += _protocol(protocol) if protocol else []
    return [replace(cell, seed=i * _SEEDS_A_CELL) for i, cell in enumerate(cells)]


PROFILES: Mapping[str, list[Configuration]] = {
    "smoke": _profile(
        lrs=np.array([0.1, 0.2, 0.3, 0.4]),
        memories=np.geomspace(0.02, 1.0, 6),
        fine=np.geomspace(0.02, 0.5, 6),
        lrs_off=np.array([0.03, 0.1]),
        kappas_0=np.array([0.3, 1.4, 5.0]),
        runs=16,
    ),
    "laptop": _profile(
        lrs=np.geomspace(0.003, 1.2, 13),
        memories=np.geomspace(0.0005, 1.0, 17),
        fine=np.geomspace(0.0005, 0.8, 48),
        lrs_off=np.geomspace(3e-4, 0.1, 7),
        kappas_0=np.geomspace(0.1, 30.0, 25),
        runs=128,
        protocol=1000,
    ),
    "paper": _profile(
        lrs=np.geomspace(0.002, 1.2, 25),
        memories=np.geomspace(0.0003, 1.0, 33),
        fine=np.geomspace(0.0003, 0.8, 96),
        lrs_off=np.geomspace(3e-5, 0.1, 15),
        kappas_0=np.geomspace(0.1, 30.0, 49),
        runs=512,
        protocol=4000,
    ),
}

#: Times, and numbers of runs: rounding errors stay small in this valley, and no time depends on them.
HELD: Held = {"": {}}


def run(configuration: Configuration) -> Mapping[str, Any]:
    """Make the runs of a cell and time them.

    Returns:
        ``first_passage`` and ``settling``: the quantiles :data:`PROBABILITIES` of the runs' times in steps, each one
        of the times, infinite where that many runs never arrived (or left); ``not_reached`` and ``not_settled``: the
        number of those runs, with those that left; ``left``: the number of runs that left the valley.
    """
    c = configuration
    runs = simulate(
        ScalarValley(c.target, c.start),
        lr=c.lr,
        momentum=1 - c.memory,
        label_noise=c.strength,
        steps=c.steps,
        seeds=range(c.seed, c.seed + c.runs),
        levels=[c.first_level, c.settling_level],
        noise=c.noise,
        start_residual=c.start_residual,
    )
    first, settling = runs.first_passage[0, :, 0], runs.settling[0, :, 1]
    return {
        "first_passage": _quantiles(first),
        "settling": _quantiles(settling),
        "not_reached": int(np.isnan(first).sum()),
        "not_settled": int(np.isnan(settling).sum()),
        "left": int(np.isfinite(runs.left).sum()),
    }


def cost(configuration: Configuration) -> float:
    """Seconds that a run takes on one core of a laptop, about."""
    draws = 2 if configuration.noise == "gaussian" else 1
    return 0.05 + configuration.runs * configuration.steps * (1.8e-8 + 1.2e-8 * draws)


def _quantiles(times: Floats) -> list[float]:
    """Each is one of the times: nothing is interpolated, so that infinite ones do no harm."""
    late = np.where(np.isnan(times), np.inf, times)
    kept: list[float] = np.quantile(late, PROBABILITIES, method="inverted_cdf").tolist()
    return kept
