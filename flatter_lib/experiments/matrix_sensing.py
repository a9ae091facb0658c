r"""When does label noise flatten matrix sensing, and when does it recover the matrix? Over step size and momentum.

Runs start at interpolating factors away from the flat region, and label noise is switched on. Each is timed by the
*excess* of Tr H, its distance from the least value :math:`T^*` that any interpolating factors have, as a fraction of
where the run began,

.. math:: x_k = \frac{\operatorname{Tr} H(w_k) - T^*}{\operatorname{Tr} H(w_0) - T^*},

and by the relative test error. :math:`T^*` is that of a convex problem, which :func:`flattest` solves. With

.. math:: \kappa = \frac{m}{n} \frac{(\eta\varepsilon)^2}{(1-\beta)^3}

(m rows and columns, n measurements) the imbalance of the factors forgets itself at the rate :math:`\kappa (1-\beta)`
a step as long as that is slower than :math:`1-\beta`: kappa is the ratio of the two times.

A configuration is a few cells (step size, memory) of one noise strength that take about the same number of steps, each
with the same runs: run j has the start that seed j draws, in every configuration. A profile holds step sizes along
:math:`1-\beta = C\eta^\gamma` for several exponents, with two choices of C; a scan of momenta at several step sizes, in
two problems; and what it takes to tune plain SGD and heavy ball at several noise strengths. Dimensions, ranks and noise
are our own choices.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flatter_lib import checks
from flatter_lib.timescales import first_passage, settling_time

if TYPE_CHECKING:
    from flatter_lib.valleys.sensing import MatrixSensing

Floats = NDArray[np.float64]

#: Excess of Tr H at which a run has arrived, and below which it has settled: the book's, and a stricter one.
LEVELS = (0.1, 0.02)
#: Relative test error for which the same two times are taken.
ERROR_LEVEL = 0.3
RESAMPLES = 200

#: Exponents gamma, and for each the kappa at the middle step size: on the side to which a smaller step carries it.
GAMMAS = (0.0, 1 / 3, 1 / 2, 2 / 3, 0.8)
KAPPA_APART = (0.04, 0.02, 0.015, 2.0, 12.0)
#: The same for laws that all meet at the middle step size.
KAPPA_MEETING = 2.0
#: Step sizes of the laws, of the scans, and of the scan in the second problem.
LAW_LRS = (0.016, 0.008, 0.004, 0.002, 0.001)
SCAN_LRS = LAW_LRS
SECOND_LR = 0.004
#: 1 - beta of the scans, one grid for all step sizes.
SCAN_MEMORIES = tuple(float(f"{m:.4g}") for m in np.geomspace(2.5e-4, 0.05, 24))
SCAN_KAPPAS = (0.12, 50.0)
STRENGTH = 0.1
#: Tuning: noise strengths, step sizes (the largest keeps eta h below 1 at every start), and kappas of heavy ball.
TUNED_STRENGTHS = (0.5, 0.8, 1.3)
TUNED_LRS = (0.02, 0.03)
TUNED_KAPPAS = (0.1, 0.25, 0.6, 1.5, 3.5, 8.0, 20.0)


@dataclass(frozen=True)
class Configuration:
    """Some cells, and their runs.

    Attributes:
        lr: step size eta of each cell.
        memory: 1 - beta of each cell, in (0, 1].
        strength: epsilon, positive.
        steps: of every run.
        runs: of each cell; run j has the j-th start.
        seed: of the first run's noise; the others count up from it. Cells share it.
        rank: of the planted matrix.
        measurements: n.
        size: m, rows and columns of the matrix.
        width: columns of the factors.
    """

    lr: tuple[float, ...]
    memory: tuple[float, ...]
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
        if len(self.lr) != len(self.memory):
            raise ValueError(f"memory: must be {len(self.lr)} numbers, one for each lr")

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
        )


class Cell(NamedTuple):
    """A step size and 1 - beta, and how many measurements the problem has for its 10 rows and columns."""

    lr: float
    memory: float
    strength: float
    measurements: int = 50

    @property
    def kappa(self) -> float:
        """The ratio of the two times."""
        share = 10 / self.measurements
        return share * (self.lr * self.strength) ** 2 / self.memory**3

    @property
    def steps(self) -> float:
        """Steps, well past the time at which runs settle."""
        return (20 + 3.5 / self.kappa) / self.memory


def memory_of(lr: float, strength: float, kappa: float, measurements: int = 50) -> float:
    """The 1 - beta that gives a kappa, at most 1, rounded to four digits as the cells have it.

    Examples:
        >>> memory_of(0.004, 0.1, 2.0)
        0.00252
    """
    memory = (10 / measurements * (lr * strength) ** 2 / kappa) ** (1 / 3)
    return float(f"{min(memory, 1.0):.4g}")


def law(gamma: float, kappa: float) -> list[Cell]:
    r"""Cells along :math:`1-\beta = C \eta^\gamma`, with C such that kappa is this at the middle step size.

    Examples:
        >>> [round(cell.kappa, 2) for cell in law(2 / 3, 2.0)]
        [2.0, 2.0, 2.0, 2.0, 2.0]
    """
    middle = float(np.exp(np.mean(np.log(LAW_LRS))))
    at_middle = (10 / 50 * (middle * STRENGTH) ** 2 / kappa) ** (1 / 3)
    return [
        Cell(lr, float(f"{at_middle * (lr / middle) ** gamma:.4g}"), STRENGTH) for lr in LAW_LRS
    ]


def scan(lr: float, measurements: int = 50) -> list[Cell]:
    """Cells at one step size, at the momenta of the grid for which kappa is worth looking at."""
    cells = [Cell(lr, memory, STRENGTH, measurements) for memory in SCAN_MEMORIES]
    return [cell for cell in cells if SCAN_KAPPAS[0] < cell.kappa < SCAN_KAPPAS[1]]


def tuned(strength: float) -> tuple[list[Cell], list[Cell]]:
    """Cells of plain SGD, and of heavy ball."""
    plain = [Cell(lr, 1.0, strength) for lr in TUNED_LRS]
    heavy = [
        Cell(lr, memory_of(lr, strength, kappa), strength)
        for lr in TUNED_LRS
        for kappa in TUNED_KAPPAS
    ]
    return plain, heavy


def _grouped(
    cells: Iterable[Cell], runs: int, seed: int, *, together: int = 4, **problem: int
) -> list[Configuration]:
    """Configurations of cells that take about as long."""
    ordered = sorted(set(cells), key=lambda cell: (cell.strength, cell.steps))
    groups: list[list[Cell]] = []
    for cell in ordered:
        last = groups[-1] if groups else []
        fits = last and last[0].strength == cell.strength and cell.steps < 1.5 * last[0].steps
        if fits and len(last) < together:
            last.append(cell)
        else:
            groups.append([cell])
    return [
        Configuration(
            lr=tuple(cell.lr for cell in group),
            memory=tuple(cell.memory for cell in group),
            strength=group[0].strength,
            steps=int(np.ceil(max(cell.steps for cell in group))),
            runs=runs,
            seed=seed + 1000 * i,
            **problem,
        )
        for i, group in enumerate(groups)
    ]


def _profile(runs: int, few: int) -> list[Configuration]:
    """All cells, each once.

    Args:
        runs: of each cell.
        few: runs of plain SGD, which takes long and scatters little.
    """
    main = [
        cell
        for gamma, kappa in zip(GAMMAS, KAPPA_APART, strict=True)
        for cell in law(gamma, kappa) + law(gamma, KAPPA_MEETING)
    ]
    main += [cell for lr in SCAN_LRS for cell in scan(lr)]
    main += [cell for strength in TUNED_STRENGTHS for cell in tuned(strength)[1]]
    plain = [cell for strength in TUNED_STRENGTHS for cell in tuned(strength)[0]]
    return (
        _grouped(main, runs, 0)
        + _grouped(scan(SECOND_LR, 60), runs, 10**6, rank=2, measurements=60)
        + _grouped(plain, few, 2 * 10**6, together=1)
    )


PROFILES: Mapping[str, list[Configuration]] = {
    "smoke": _grouped(law(2 / 3, KAPPA_MEETING)[:2] + tuned(TUNED_STRENGTHS[-1])[1][-4:], 8, 0),
    "laptop": _profile(runs=64, few=24),
    "paper": _profile(runs=1024, few=256),
}

#: What other rounding may change: under strong noise one run of forty grows apart. Numbers have four digits, of which
#: the last may turn.
HELD: Mapping[str, Mapping[str, Any] | None] = {"": {"rtol": 2e-3, "share": 0.95}}


class Flattest(NamedTuple):
    """The least Tr H of all factors that interpolate.

    Attributes:
        trace: Tr H there.
        bound: a proof, by duality, that it cannot be less than this.
        matrix: the product of the factors there.
    """

    trace: float
    bound: float
    matrix: Floats


def flattest(
    problem: MatrixSensing, *, iterations: int = 20_000, tolerance: float = 1e-11
) -> Flattest:
    r"""Solve the convex problem whose solution is the flat region of matrix sensing.

    With :math:`L^2` and :math:`R^2` the means of :math:`A_i A_i^\top` and of :math:`A_i^\top A_i`,
    :math:`\operatorname{Tr} H = |L U|_F^2 + |R V|_F^2`, whose least value at a given product X is twice the nuclear
    norm of L X R: so the least of all is :math:`\min 2 |L X R|_*` over the X that meet the measurements. Solved by
    Douglas-Rachford splitting. The minimum over factors is the same if they are wide enough for the solution's rank.

    Args:
        problem: measurements and targets.
        iterations: at most so many.
        tolerance: on the last change.

    Returns:
        The minimum, with a lower bound from the dual problem.

    Raises:
        RuntimeError: if it does not converge.

    Examples:
        >>> from flatter_lib.valleys.sensing import MatrixSensing
        >>> flat = flattest(MatrixSensing(rows=6, columns=6, rank=1, measurements=24))
        >>> bool(0 <= flat.trace - flat.bound < 1e-8)
        True
    """
    A, y = problem.sensing.numpy(), problem.targets.numpy().ravel()
    L, R = (_root(np.einsum(rule, A, A) / len(A)) for rule in ("nij,nkj->ik", "nij,nik->jk"))
    shape = (problem.rows, problem.columns)
    # In Z = L X R the measurements are those with L^-1 A R^-1.
    scaled = np.linalg.inv(L) @ A @ np.linalg.inv(R)
    B = scaled.reshape(len(A), -1)
    pseudo = np.linalg.pinv(B)
    Z = pseudo @ y
    for _ in range(iterations):
        met = Z - pseudo @ (B @ Z - y)
        left, values, right = np.linalg.svd((2 * met - Z).reshape(shape), full_matrices=False)
        shrunk = (left * np.maximum(values - 1, 0)) @ right
        change = shrunk.ravel() - met
        Z = Z + change
        if np.linalg.norm(change) < tolerance:
            break
    else:
        raise RuntimeError(f"the flat region was not found in {iterations} iterations")
    dual = (met - Z) @ pseudo
    feasible = dual / max(1.0, np.linalg.norm((dual @ B).reshape(shape), 2))
    matrix = np.linalg.inv(L) @ met.reshape(shape) @ np.linalg.inv(R)
    trace = 2 * np.linalg.norm(met.reshape(shape), "nuc")
    return Flattest(float(trace), float(2 * abs(feasible @ y)), matrix)


def resampled_runs(runs: int) -> NDArray[np.int64]:
    """The runs that each resample draws with replacement, shape (`RESAMPLES`, runs): the same in every cell."""
    return np.random.default_rng(0).integers(runs, size=(RESAMPLES, runs))


def run(configuration: Configuration) -> Mapping[str, Any]:
    """Make the runs and time them.

    Returns:
        Lists with an entry a cell. ``first_passage`` and ``settling``: for each of `LEVELS`, the step of each run at
        which its excess first is at or below the level, and from which it stays there (NaN if it never does).
        ``error_first_passage`` and ``error_settling``: the same for the test error and `ERROR_LEVEL`.
        ``error_at_arrival``: each run's test error at its first passage of the first level. ``late_error`` and
        ``late_excess``: each run's means over the last quarter of its steps. ``mean_first_passage`` and
        ``mean_settling``: the times of the mean excess at the first level, and after them those of each resample of
        the runs. ``curve``: steps, mean excess and mean test error, at spread-out steps. ``diverged``: how many runs.
    """
    from flatter_lib import ensemble

    c = configuration
    starts, traces, flat = _starts(c.size, c.rank, c.measurements, c.width, c.runs)
    result = ensemble.run(
        c.problem,
        lr=c.lr,
        momentum=1 - np.array(c.memory),
        label_noise=c.strength,
        steps=c.steps,
        seeds=range(c.seed, c.seed + c.runs),
        start=starts,
        observe=["trace", "test_error"],
        every=max(1, c.steps // 1500),
        progress=False,
    )
    excess = (result.values["trace"] - flat) / (traces - flat)[:, None]
    error = result.values["test_error"]
    cells = [_measured(result.steps, x, e) for x, e in zip(excess, error, strict=True)]
    measured: dict[str, Any] = {name: [cell[name] for cell in cells] for name in cells[0]}
    measured["diverged"] = (result.diverged >= 0).sum(axis=1).tolist()
    return measured


def cost(configuration: Configuration) -> float:
    """Seconds that a run takes on one core of a laptop, about."""
    c = configuration
    return 2.0 + c.steps * (2e-4 + 1.5e-6 * c.runs * len(c.lr))


def _measured(steps: NDArray[np.int64], excess: Floats, error: Floats) -> dict[str, Any]:
    """What a cell keeps of its runs' excess and test error, (runs, records)."""
    arrival = first_passage(steps, excess, LEVELS[0])
    at = np.searchsorted(steps, np.where(np.isnan(arrival), steps[-1], arrival))
    arrived = np.where(np.isnan(arrival), np.nan, error[np.arange(len(error)), at])
    late = steps > 0.75 * steps[-1]
    mean = np.concatenate([excess.mean(0)[None], excess[resampled_runs(len(excess))].mean(1)])
    shown = np.unique(np.rint(np.geomspace(1, len(steps) - 1, 40)).astype(int))
    curve = [steps[shown], _short(excess.mean(0)[shown]), _short(error.mean(0)[shown])]
    return {
        "first_passage": [_whole(first_passage(steps, excess, level)) for level in LEVELS],
        "settling": [_whole(settling_time(steps, excess, level)) for level in LEVELS],
        "error_first_passage": _whole(first_passage(steps, error, ERROR_LEVEL)),
        "error_settling": _whole(settling_time(steps, error, ERROR_LEVEL)),
        "error_at_arrival": _short(arrived),
        "late_error": _short(error[:, late].mean(1)),
        "late_excess": _short(excess[:, late].mean(1)),
        "mean_first_passage": _whole(first_passage(steps, mean, LEVELS[0])),
        "mean_settling": _whole(settling_time(steps, mean, LEVELS[0])),
        "curve": [list(map(float, row)) for row in curve],
    }


@lru_cache(maxsize=4)
def _starts(
    size: int, rank: int, measurements: int, width: int, runs: int
) -> tuple[Floats, Floats, float]:
    """The starts (runs, P), Tr H there (runs,), and the flat region's Tr H."""
    import torch

    problem = Configuration((), (), 0.0, 0, 0, 0, rank, measurements, size, width).problem
    starts = torch.stack([problem.start_on_manifold(np.random.default_rng(i)) for i in range(runs)])
    return starts.numpy(), problem.trace(starts).numpy(), flattest(problem).trace


def _root(gram: Floats) -> Floats:
    values, vectors = np.linalg.eigh(gram)
    root: Floats = (vectors * np.sqrt(values)) @ vectors.T
    return root


def _whole(times: Floats) -> list[float]:
    """Times as short numbers: steps are whole."""
    return [t if np.isnan(t) else int(t) for t in times.tolist()]


def _short(values: Floats) -> list[float]:
    """Four digits, which is more than the runs' scatter leaves meaning to."""
    return [float(f"{value:.4g}") for value in values]
