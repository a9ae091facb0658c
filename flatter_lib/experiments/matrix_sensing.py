r"""When does label noise flatten matrix sensing, and when does it recover the matrix? Over step size and momentum.

Runs start at interpolating factors away from the flat region, and label noise is switched on. Each is timed by the
*excess* of Tr H, its distance from the least value :math:`T^*` that any interpolating factors have, as a fraction of
where the run began,

.. math:: x_k = \frac{\operatorname{Tr} H(w_k) - T^*}{\operatorname{Tr} H(w_0) - T^*},

and by the relative test error. :math:`T^*` is that of a convex problem, which
:func:`flatter_lib.valleys.flattest.flattest` solves. With

.. math:: \kappa = \frac{m}{n} \frac{(\eta\varepsilon)^2}{(1-\beta)^3}

(m rows and columns, n measurements) the imbalance of the factors forgets itself at the rate :math:`\kappa (1-\beta)`
a step as long as that is slower than :math:`1-\beta`: kappa is the ratio of the two times.

A configuration is a cell, many runs of one step size and momentum: run j has the start that seed j draws, in every
cell. A profile holds step sizes along :math:`1-\beta = C\eta^\gamma` for several exponents, with two choices of C; a
scan of momenta at several step sizes, in two problems; what it takes to tune plain SGD and heavy ball at several
noise strengths; and, for several planted matrices twice as large, scans over a grid of momenta that is the same at
every step size and noise. Dimensions, ranks and noise are our own choices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flatter_lib import checks
from flatter_lib.experiments._ensembles import Floats, batch, configurations, made, timed
from flatter_lib.experiments.design import (
    Cell,
    Held,
    Landscape,
    Scan,
    powers,
    rounded,
    rungs,
    short,
    whole,
)
from flatter_lib.stats import first_passage, settling_time

if TYPE_CHECKING:
    from flatter_lib.valleys.sensing import MatrixSensing

__all__ = ["PROFILES", "Configuration", "batch", "cost", "run_many"]

#: Excess of Tr H at which a run has arrived, and below which it has settled: the book's, and a stricter one.
LEVELS = (0.1, 0.02)
#: Relative test error for which the same two times are taken.
ERROR_LEVEL = 0.3
RESAMPLES = 200

#: Step sizes of the laws and scans; s is n / m. The second problem has another n, and a scan at one step size.
LANDSCAPE = Landscape(5.0, 0.1, lrs=(0.016, 0.008, 0.004, 0.002, 0.001), patience=20, drift=3.5)
SECOND, SECOND_LR = LANDSCAPE._replace(slow=6.0), 0.004
#: Exponents gamma, and for each the kappa at the middle step size: on the side to which a smaller step carries it.
GAMMAS = (0.0, 1 / 3, 1 / 2, 2 / 3, 0.8)
KAPPA_APART = (0.04, 0.02, 0.015, 2.0, 12.0)
#: The same for laws that all meet at the middle step size.
KAPPA_MEETING = 2.0
#: 1 - beta of the scans, one grid for all step sizes.
SCAN_MEMORIES = tuple(rounded(m) for m in np.geomspace(2.5e-4, 0.05, 24))
SCAN_KAPPAS = (0.12, 50.0)
#: Tuning: noise strengths, step sizes (the largest keeps eta h below 1 at every start), and kappas of heavy ball.
TUNED_STRENGTHS = (0.5, 0.8, 1.3)
TUNED_LRS = (0.02, 0.03)
TUNED_KAPPAS = (0.1, 0.25, 0.6, 1.5, 3.5, 8.0, 20.0)
#: Planted matrices twice as large: the seeds of each one's noise begin at this times its own.
A_MATRIX = 10**8
MATRICES = range(1, 6)
LARGER = LANDSCAPE._replace(slow=10.0)
#: Their scans: over step sizes (the largest keeps eta h below 1 at every start), at two noises; over noise; and plain
#: SGD. Momenta are the same everywhere.
MEMORIES, LARGEST = powers(0.0009, 0.17), 0.043
LARGER_SCANS = (
    *(
        Scan(LARGEST / 2**i, 0.15, MEMORIES, n)
        for i, n in enumerate((1900, 3000, 4800, 7600, 12000))
    ),
    *(Scan(LARGEST / 2**i, 0.6, MEMORIES, n) for i, n in enumerate((760, 1200, 1900, 3000, 4800))),
    *(Scan(LARGEST, eps, MEMORIES, n) for eps, n in ((0.075, 3000), (0.4, 1000), (1.2, 500))),
    *(Scan(LARGEST, eps, (1.0,), n) for eps, n in ((0.4, 110_000), (0.6, 50_000), (1.2, 13_000))),
)


@dataclass(frozen=True)
class Configuration:
    """A cell, and its runs.

    Attributes:
        lr: step size eta.
        memory: 1 - beta, in (0, 1].
        strength: epsilon, positive.
        steps: of every run.
        runs: run j has the j-th start.
        seed: of the first run's noise; the others count up from it. Cells of a rung share it. Its hundreds of millions
            are the seed of the planted matrix and the measurements.
        rank: of the planted matrix.
        measurements: n.
        size: m, rows and columns of the matrix.
        width: columns of the factors.
    """

    lr: float
    memory: float
    strength: float
    steps: int
    runs: int
    seed: int
    rank: int = 1
    measurements: int = 50
    size: int = 10
    width: int = 6

    def __post_init__(self) -> None:
        checks.fields(self, lr="(0, inf)", memory="(0, 1]", strength="[0, inf)")
        checks.fields(self, steps=0, runs=0, seed=0)

    @property
    def problem(self) -> MatrixSensing:
        """The loss."""
        from flatter_lib.valleys.sensing import MatrixSensing

        return MatrixSensing(
            rows=self.size,
            columns=self.size,
            rank=self.rank,
            measurements=self.measurements,
            width=self.width,
            seed=self.seed // A_MATRIX,
        )


def law(gamma: float, kappa: float) -> list[Cell]:
    """See :meth:`Landscape.law`: the records are of a C with all its digits."""
    return LANDSCAPE.law(gamma, kappa, digits=17)


def scan(lr: float, landscape: Landscape = LANDSCAPE) -> list[Cell]:
    """Cells at one step size, at the momenta of the grid for which kappa is worth looking at."""
    cells = [Cell(lr, memory, landscape.strength, landscape) for memory in SCAN_MEMORIES]
    return [cell for cell in cells if SCAN_KAPPAS[0] < cell.kappa < SCAN_KAPPAS[1]]


def tuned(strength: float) -> tuple[list[Cell], list[Cell]]:
    """Cells of plain SGD, and of heavy ball."""
    plain = [LANDSCAPE.plain(lr, strength) for lr in TUNED_LRS]
    heavy = [cell for lr in TUNED_LRS for cell in LANDSCAPE.scan(lr, TUNED_KAPPAS, strength)]
    return plain, heavy


def larger(matrix: int, runs: int) -> list[Configuration]:
    """All scans of one larger matrix, which its seed names, from 1."""
    chosen = [s.rung(LARGER, matrix * A_MATRIX + 1000 * i) for i, s in enumerate(LARGER_SCANS)]
    problem = {"rank": 2, "measurements": 200, "size": 20, "width": 10}
    return configurations(Configuration, chosen, runs=runs, **problem)


def _profile(runs: int, few: int, larger_runs: int) -> list[Configuration]:
    """All cells, each once.

    Args:
        runs: of each cell.
        few: runs of plain SGD, which takes long and scatters little.
        larger_runs: runs of each cell of the larger matrices.
    """
    main = [
        cell
        for gamma, kappa in zip(GAMMAS, KAPPA_APART, strict=True)
        for cell in law(gamma, kappa) + law(gamma, KAPPA_MEETING)
    ]
    main += [cell for lr in LANDSCAPE.lrs for cell in scan(lr)]
    main += [cell for strength in TUNED_STRENGTHS for cell in tuned(strength)[1]]
    plain = [cell for strength in TUNED_STRENGTHS for cell in tuned(strength)[0]]
    second = rungs(scan(SECOND_LR, SECOND), 10**6)
    return (
        configurations(Configuration, rungs(main, 0), runs=runs)
        + configurations(Configuration, second, runs=runs, rank=2, measurements=60)
        + configurations(Configuration, rungs(plain, 2 * 10**6, together=1), runs=few)
        + [cell for matrix in MATRICES for cell in larger(matrix, larger_runs)]
    )


_SMOKE = law(2 / 3, KAPPA_MEETING)[:2] + tuned(TUNED_STRENGTHS[-1])[1][-4:]
PROFILES: Mapping[str, list[Configuration]] = {
    "smoke": configurations(Configuration, rungs(_SMOKE, 0), runs=8),
    "laptop": _profile(runs=64, few=24, larger_runs=8),
    "paper": _profile(runs=1024, few=256, larger_runs=256),
}

#: What other rounding may change: under strong noise one run of forty grows apart. Numbers have four digits, of which
#: the last may turn.
HELD: Held = {"": {"rtol": 2e-3, "share": 0.95}}


def resampled_runs(runs: int) -> NDArray[np.int64]:
    """The runs that each resample draws with replacement, shape (`RESAMPLES`, runs): the same in every cell."""
    return np.random.default_rng(0).integers(runs, size=(RESAMPLES, runs))


def run_many(configurations: Sequence[Configuration]) -> list[dict[str, Any]]:
    """Make the runs of some cells, whose keys of :func:`batch` are equal, and time them.

    Returns:
        Of each cell the times of its runs, :func:`~flatter_lib.experiments._ensembles.timed`, at `LEVELS` of the excess
        and `ERROR_LEVEL` of the test error. ``error_at_arrival``: each run's test error at its first passage of the
        first level. ``late_error`` and ``late_excess``: each run's means over the last quarter of its steps.
        ``mean_first_passage`` and ``mean_settling``: the times of the mean excess at the first level, and after them
        those of each resample of the runs. ``curve``: steps, mean excess and mean test error, at spread-out steps.
        ``diverged``: how many runs.
    """
    c = configurations[0]
    starts, traces, flat = _starts(c.problem, c.runs)
    result = made(configurations, starts, 1500)
    excess = (result.values["trace"] - flat) / (traces - flat)[:, None]
    cells = zip(excess, result.values["test_error"], result.diverged, strict=True)
    return [
        {**_measured(result.steps, x, e), "diverged": int((diverged >= 0).sum())}
        for x, e, diverged in cells
    ]


def cost(configuration: Configuration) -> float:
    """Seconds that a cell takes on one core of a laptop, about, with three others in one pass."""
    c = configuration
    return 0.5 + c.steps * (0.5e-4 + 1.5e-6 * c.runs)


def _measured(steps: NDArray[np.int64], excess: Floats, error: Floats) -> dict[str, Any]:
    """What a cell keeps of its runs' excess and test error, (runs, records)."""
    arrival = first_passage(steps, excess, LEVELS[0])
    at = np.searchsorted(steps, np.where(np.isnan(arrival), steps[-1], arrival))
    arrived = np.where(np.isnan(arrival), np.nan, error[np.arange(len(error)), at])
    late = steps > 0.75 * steps[-1]
    mean = np.concatenate([excess.mean(0)[None], excess[resampled_runs(len(excess))].mean(1)])
    shown = np.unique(np.rint(np.geomspace(1, len(steps) - 1, 40)).astype(int))
    curve = [steps[shown], short(excess.mean(0)[shown]), short(error.mean(0)[shown])]
    return {
        **timed(steps, excess, LEVELS, error, ERROR_LEVEL),
        "error_at_arrival": short(arrived),
        "late_error": short(error[:, late].mean(1)),
        "late_excess": short(excess[:, late].mean(1)),
        "mean_first_passage": whole(first_passage(steps, mean, LEVELS[0])),
        "mean_settling": whole(settling_time(steps, mean, LEVELS[0])),
        "curve": [list(map(float, row)) for row in curve],
    }


@lru_cache(maxsize=4)
def _starts(problem: MatrixSensing, runs: int) -> tuple[Floats, Floats, float]:
    """The starts (runs, P), Tr H there (runs,), and the flat region's Tr H."""
    import torch

    from flatter_lib.valleys.flattest import flattest

    starts = torch.stack([problem.start_on_manifold(np.random.default_rng(i)) for i in range(runs)])
    return starts.numpy(), problem.trace(starts).numpy(), flattest(problem).trace
