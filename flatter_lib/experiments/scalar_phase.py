r"""When do runs arrive at the flat point of the scalar valley, and when do they stay? Over step size and momentum.

One configuration is one cell of a phase diagram: many runs of heavy ball at one (eta, 1 - beta), noise strength and
kind of noise, from one start, timed one by one. :data:`PROFILES` holds diagrams of four kinds: from the floor of the
valley under label noise (two strengths), under sign noise and under isotropic gradient noise, and from a start off the
floor. There the momenta follow

.. math:: \kappa_0 = \frac{\eta r_0^2}{h (1-\beta)^2},

with the residual r_0 at the start and the curvature h of the floor point below it: the number that says how far the
descent itself moves a run along the floor.

Streams of random numbers are those of :func:`flatter_lib.valleys.scalar.simulate`, from the configuration's seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count, product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flatter_lib.valleys.scalar import Noise, ScalarValley, simulate

Floats = NDArray[np.float64]

#: Probabilities of the quantiles that are kept: the median, and far enough about it to draw medians again.
PROBABILITIES = np.linspace(0.25, 0.75, 21)

_SEEDS_A_CELL = 10_000


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

    @property
    def kappa(self) -> float:
        r""":math:`\kappa = (\eta\varepsilon)^2 / (1-\beta)^3`, the ratio of the two times."""
        return (self.lr * self.strength) ** 2 / self.memory**3

    @property
    def steps(self) -> int:
        r"""Steps of every run: :math:`(20 + 3.5/\kappa) / (1-\beta)`, half as long again as runs take to settle."""
        return int(np.ceil((20 + 3.5 / self.kappa) / self.memory))


def _numbered(cells: Sequence[Configuration]) -> list[Configuration]:
    """The cells with seeds of their own."""
    first = count(0, _SEEDS_A_CELL)
    return [
        Configuration(**(vars(cell) | {"seed": seed}))
        for cell, seed in zip(cells, first, strict=False)
    ]


def _profile(
    lrs: Floats, memories: Floats, other: Floats, descents: Floats, kappas_0: Floats, runs: int
) -> list[Configuration]:
    """The four diagrams; ``other`` are the step sizes of the other kinds of noise, ``descents`` those off the floor."""

    def cell(lr: float, memory: float, strength: float, noise: Noise, **more: Any) -> Configuration:
        # Rounded so that a line of a record can be read.
        return Configuration(
            float(f"{lr:.4g}"), float(f"{memory:.4g}"), strength, noise, runs, 0, **more
        )

    floor = [cell(lr, m, eps, "label") for eps, lr, m in product((0.1, 0.3), lrs, memories)]
    flips = [cell(lr, m, 0.1, "flip") for lr, m in product(other, memories)]
    isotropic = [cell(lr, m, 0.1, "gaussian") for lr, m in product(other, memories)]
    valley, residual = ScalarValley(Configuration.target, Configuration.start), 0.5
    curvature = float(valley.trace_hessian(valley.initial))
    off = [
        cell(lr, residual * np.sqrt(lr / (curvature * k)), 0.1, "label", start_residual=residual)
        for lr, k in product(descents, kappas_0)
    ]
    return _numbered(floor + flips + isotropic + off)


PROFILES: Mapping[str, list[Configuration]] = {
    "smoke": _profile(
        lrs=np.array([0.1, 0.3]),
        memories=np.geomspace(0.02, 1.0, 6),
        other=np.array([0.3]),
        descents=np.array([0.03, 0.1]),
        kappas_0=np.array([0.3, 1.4, 5.0]),
        runs=16,
    ),
    "laptop": _profile(
        lrs=np.geomspace(0.003, 1.2, 13),
        memories=np.geomspace(0.0005, 1.0, 17),
        other=np.geomspace(0.003, 1.2, 13)[3:],
        descents=np.geomspace(3e-4, 0.1, 7),
        kappas_0=np.geomspace(0.1, 30.0, 25),
        runs=128,
    ),
    "paper": _profile(
        lrs=np.geomspace(0.002, 1.2, 25),
        memories=np.geomspace(0.0003, 1.0, 33),
        other=np.geomspace(0.002, 1.2, 25)[5:],
        descents=np.geomspace(3e-5, 0.1, 15),
        kappas_0=np.geomspace(0.1, 30.0, 49),
        runs=512,
    ),
}


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


def median_draws(
    quantiles: ArrayLike, runs: int, size: int, generator: np.random.Generator
) -> Floats:
    r"""Medians that other runs might have given: a smooth bootstrap from kept quantiles.

    The median of n runs sits at a probability that has the law Beta((n+1)/2, (n+1)/2) (exactly so for odd n and a
    continuous law); the kept quantiles, joined by straight lines, say which time that is.

    Args:
        quantiles: (..., 21) times at :data:`PROBABILITIES`, infinite ones at the end.
        runs: n, at least 50, so that the probabilities drawn stay among those kept.
        size: how many medians.
        generator: source of the draws.

    Returns:
        (..., size) medians, independent between rows; infinite where the run at that probability never arrived.

    Raises:
        ValueError: for fewer than 50 runs, or quantiles of another number.

    Examples:
        >>> from scipy.stats import norm
        >>> draws = median_draws(norm.ppf(PROBABILITIES), 400, 20_000, np.random.default_rng(0))
        >>> bool(abs(draws.std() / (np.pi / 2 / 400) ** 0.5 - 1) < 0.03)  # the textbook's standard error of a median
        True
    """
    kept = np.asarray(quantiles, dtype=np.float64)
    if kept.shape[-1] != PROBABILITIES.size:
        raise ValueError(f"quantiles: {PROBABILITIES.size} on the last axis, got {kept.shape}")
    if runs < 50:
        raise ValueError(f"runs: at least 50, got {runs}")
    half = (runs + 1) / 2
    drawn = generator.beta(half, half, size=(*kept.shape[:-1], size))
    place = np.clip((drawn - PROBABILITIES[0]) / np.diff(PROBABILITIES)[0], 0, kept.shape[-1] - 1)
    below = np.minimum(place.astype(int), kept.shape[-1] - 2)
    weight = place - below
    left = np.take_along_axis(kept, below, axis=-1)
    right = np.take_along_axis(kept, below + 1, axis=-1)
    finite = np.where(np.isfinite(right), right, 0.0)
    start = np.where(np.isfinite(left), left, 0.0)
    inside: Floats = start + weight * (finite - start)
    return np.where(np.isfinite(right), inside, np.inf)


def _quantiles(times: Floats) -> list[float]:
    """Each is one of the times: nothing is interpolated, so that infinite ones do no harm."""
    late = np.where(np.isnan(times), np.inf, times)
    kept: list[float] = np.quantile(late, PROBABILITIES, method="inverted_cdf").tolist()
    return kept
