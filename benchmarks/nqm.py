"""How long the figures of the noisy quadratic model take, beside the obvious way to compute them.

Run it with ``make bench-nqm``, or ``python benchmarks/nqm.py --help``. Nothing here is a test: it prints times, and
whether each optimum is at least as good as that of the obvious method's grid.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from flatter_lib.nqm import NoisyQuadratic, Schedule, risk, steps_to_target, tune, tune_schedule

Result = TypeVar("Result")
#: A batch size and a preconditioning power.
Cell = tuple[float, float]

TARGET = 0.01
POWERS = (0.0, 0.25, 0.5, 0.75)
MODES = 100
#: The obvious method's grid: shares of the largest stable step size, and momenta.
SHARES = np.geomspace(1e-7, 0.999, 100)
MOMENTA = 1.0 - np.geomspace(1.0, 1e-4, 20)
LONGEST = 2.0**24
LARGEST_BATCH = 2.0**20
#: Cells of a small, a middle and a large batch, in which the obvious method is timed.
OBVIOUS_CELLS = ((1.0, 0.0), (2.0**10, 0.25), (2.0**20, 0.5))


class ObviousRisk:
    """The risk with momentum as equations (20) to (23) of Zhang et al. (2019) suggest to compute it.

    The second moments of every mode are a linear system of three; the powers of its matrix come from eigenvectors.
    """

    def __init__(self, model: NoisyQuadratic, lr: float, batch: float, momentum: float) -> None:
        h, x, b = model.curvature, lr * model.curvature, np.full_like(model.curvature, momentum)
        matrix = np.stack(
            [
                np.stack([(1 - x) ** 2, b**2, 2 * (1 - x) * b], -1),
                np.stack([x**2, b**2, -2 * b * x], -1),
                np.stack([-(1 - x) * x, b**2, (1 - 2 * x) * b], -1),
            ],
            axis=-2,
        )
        self.values, vectors = np.linalg.eig(matrix)
        start = np.stack([model.initial, 0 * h, 0 * h], -1)[..., None]
        noise = np.repeat((lr**2 * model.noise / batch)[:, None, None], 3, axis=1)
        self.start = np.linalg.solve(vectors, start)[..., 0] * vectors[:, 0]
        self.noise = np.linalg.solve(vectors, noise)[..., 0] * vectors[:, 0]
        self.share = 0.5 * model.multiplicity * h

    def after(self, steps: float) -> float:
        """The risk after some steps."""
        powers = self.values**steps
        series = (1 - powers) / (1 - self.values)
        moments = (powers * self.start + series * self.noise).sum(axis=-1).real
        return float(self.share @ moments)


def bisected(risk_after: Callable[[float], float]) -> float:
    """The steps to the target of a risk that is taken to fall."""
    low, high = 0.0, LONGEST
    if not risk_after(high) <= TARGET:
        return np.inf
    while high - low > 1:
        middle = float(np.floor((low + high) / 2))
        low, high = (low, middle) if risk_after(middle) <= TARGET else (middle, high)
    return high


def obvious_steps(
    model: NoisyQuadratic, batch: float, lr: float, momentum: float, keep: bool
) -> float:
    """Steps of one setting, with the decomposition made once, or for each number of steps as the risk's code has it."""
    with np.errstate(all="ignore"):
        try:
            if keep:
                return bisected(ObviousRisk(model, lr, batch, momentum).after)
            return bisected(lambda steps: ObviousRisk(model, lr, batch, momentum).after(steps))
        except np.linalg.LinAlgError:
            # At critical damping there are not enough eigenvectors.
            return np.inf


def grid(model: NoisyQuadratic) -> list[tuple[float, float]]:
    """Step sizes and momenta of the obvious method."""
    stiffest = float(model.curvature.max())
    settings = itertools.product(SHARES.tolist(), MOMENTA.tolist())
    return [(share * 2 * (1 + momentum) / stiffest, momentum) for share, momentum in settings]


def obvious_cell(
    model: NoisyQuadratic, batch: float, settings: Sequence[tuple[float, float]], keep: bool
) -> list[float]:
    """Steps of several settings."""
    return [obvious_steps(model, batch, lr, momentum, keep) for lr, momentum in settings]


def disagreement(model: NoisyQuadratic, chosen: Sequence[int], steps: int = 1000) -> float:
    """The median relative difference of both methods' risks over settings: a check that both compute the same."""
    lr, momentum = np.array(grid(model))[list(chosen)].T
    exact = risk(model, steps, lr, 1.0, momentum)
    obvious = np.full(exact.shape, np.nan)
    for k, setting in enumerate(zip(lr.tolist(), momentum.tolist(), strict=True)):
        with np.errstate(all="ignore"), suppress(np.linalg.LinAlgError):
            obvious[k] = ObviousRisk(model, setting[0], 1.0, setting[1]).after(steps)
    return float(np.nanmedian(np.abs(obvious / exact - 1.0)))


def timed(work: Callable[[], Result]) -> tuple[Result, float]:
    """A result and the seconds it took."""
    begin = time.perf_counter()
    result = work()
    return result, time.perf_counter() - begin


def line(label: str, seconds: float, note: str = "") -> None:
    """One line of the report."""
    print(f"{label:<56}{seconds:9.3f} s{note}", flush=True)


def tuned_steps(model: NoisyQuadratic, optimizer: str) -> Callable[[Cell], float]:
    """The fewest steps of an optimizer in a cell."""
    return lambda cell: tune(model, TARGET, cell[0], optimizer, cell[1]).steps


def schedules(model: NoisyQuadratic, pieces: int = 50) -> Callable[[Cell], Schedule]:
    """The best schedule in a cell."""
    return lambda cell: tune_schedule(model, TARGET, cell[0], pieces, cell[1])


def in_threads(work: Callable[[Cell], Result], cells: Sequence[Cell], threads: int) -> list[Result]:
    """The work of every cell; the compiled loops run side by side."""
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, cells))


def figures(
    model: NoisyQuadratic, cells: Sequence[Cell], threads: int
) -> tuple[list[float], list[float]]:
    """Time the paper's figures; returns the fewest steps without and with momentum."""
    plain, alone = timed(lambda: in_threads(tuned_steps(model, "sgd"), cells, threads))
    best, joint = timed(lambda: in_threads(tuned_steps(model, "momentum"), cells, threads))
    _, averaged = timed(lambda: in_threads(tuned_steps(model, "ema"), cells, threads))
    _, scheduled = timed(lambda: in_threads(schedules(model), cells, threads))
    count = len(cells)
    line(f"Figure 3a, {2 * count} points, plain and momentum", alone + joint)
    line(f"Figure 4, {2 * count} points, plain and averaged", alone + averaged)
    line(f"Figure 3b, {count} schedules of 50 pieces", scheduled)
    return plain, best


def beside_the_obvious(model: NoisyQuadratic, cells: Sequence[Cell], settings: int) -> None:
    """Time a cell of Figure 3a, plain and momentum, by both methods on one thread."""
    optimizers = [tuned_steps(model, name) for name in ("sgd", "momentum")]
    _, seconds = timed(lambda: [work(cell) for work in optimizers for cell in cells])
    ours = seconds / len(cells)
    line("a cell of Figure 3a, on one thread", ours)
    size = len(grid(model))
    chosen = np.random.default_rng(0).permutation(size)[:settings]
    for keep, name in ((False, "for each number of steps"), (True, "once a setting")):
        spent = 0.0
        for batch, power in OBVIOUS_CELLS:
            other = model.preconditioned(power)
            work = partial(obvious_cell, other, batch, [grid(other)[k] for k in chosen], keep)
            spent += timed(work)[1]
        theirs = spent / len(OBVIOUS_CELLS) / chosen.size * size
        line(f"the obvious method, decomposed {name}", theirs, f"{theirs / ours:8.0f} times ours")
    print(
        f"  (a grid of {size} settings; timed on {chosen.size} of them in {len(OBVIOUS_CELLS)} cells;"
        f"\n  both methods' risks agree to a median of {disagreement(model, chosen.tolist()):.0e})\n"
    )


def never_worse(
    model: NoisyQuadratic, cells: Sequence[Cell], plain: list[float], best: list[float]
) -> None:
    """Compare the optima with what the obvious method's grid can find: the exact first crossing of each setting."""
    worse, gains = 0, []
    for (batch, power), steps in zip(cells, best, strict=True):
        lr, momentum = np.array(grid(model.preconditioned(power))).T
        theirs = float(np.min(steps_to_target(model, TARGET, lr, batch, momentum, 0.0, power)))
        worse += steps > theirs
        gains.append(theirs / steps - 1)
    print(f"cells in which the grid has an optimum of fewer steps: {worse} of {len(cells)}")
    print(f"its optima have up to {max(gains):.1%} more steps, {np.mean(gains):.1%} on average")
    print(f"momentum saves up to a factor of {max(np.array(plain) / np.array(best)):.0f}\n")


def growth(model: NoisyQuadratic, cells: Sequence[Cell]) -> None:
    """Time how cost grows with modes, batch sizes and pieces, on one thread."""
    print("how the time grows, on one thread")
    some = cells[:: max(1, len(cells) // 8)]
    for modes in (50, 100, 200, 400, None):
        if modes is None:
            some = [(2.0**10, 0.5)]
        other = NoisyQuadratic.power_law(nodes=modes)
        work = tuned_steps(other, "momentum")
        seconds = timed(partial(in_threads, work, some, 1))[1] / len(some)
        line(f"  a momentum point of {other.curvature.size} modes", seconds)
    for number in (5, 10, 20):
        row = [(batch, 0.5) for batch in np.geomspace(1.0, LARGEST_BATCH, number).tolist()]
        work = tuned_steps(model, "momentum")
        line(f"  {number} batch sizes", timed(partial(in_threads, work, row, 1))[1])
    three = [(batch, 0.25) for batch in (1.0, 64.0, 4096.0)]
    for pieces in (10, 50, 100, 200):
        work_pieces = schedules(model, pieces)
        line(
            f"  a schedule of {pieces} pieces",
            timed(partial(in_threads, work_pieces, three, 1))[1] / 3,
        )


def compiled(model: NoisyQuadratic) -> float:
    """Call once whatever compiles; returns the seconds it took."""
    return timed(
        lambda: [f((1e5, 0.5)) for f in (tuned_steps(model, "momentum"), schedules(model))]
    )[1]


def first_results(cache: str) -> float:
    """The seconds in which a new process, its imports made, calls once whatever compiles."""
    code = "import nqm; print(nqm.compiled(nqm.NoisyQuadratic.power_law(nodes=nqm.MODES)))"
    process = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent,
        env=os.environ | {"FLATTER_CACHE": cache},
        stdout=subprocess.PIPE,
        check=True,
    )
    return float(process.stdout)


def main() -> None:
    """Time all of it and print the times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    cores = os.cpu_count() or 1
    parser.add_argument("--threads", type=int, default=min(2, cores), help="of the figures")
    parser.add_argument("--batch-sizes", type=int, default=10, help="between 1 and 2^20")
    parser.add_argument("--obvious", type=int, default=200, help="settings of the grid to time")
    options = parser.parse_args()
    model = NoisyQuadratic.power_law(nodes=MODES)
    batches = np.geomspace(1.0, LARGEST_BATCH, options.batch_sizes).tolist()
    cells = [(batch, power) for power in POWERS for batch in batches]

    print(f"{MODES} modes for 10,000, target {TARGET}, {options.threads} threads, {cores} cores\n")
    with tempfile.TemporaryDirectory() as cache:
        line("the first results of a process that compiles", first_results(cache))
        line("those of one that finds what it compiled", first_results(cache))
    compiled(model)
    plain, best = figures(model, cells, options.threads)
    print()
    beside_the_obvious(model, cells, options.obvious)
    never_worse(model, cells, plain, best)
    growth(model, cells)


if __name__ == "__main__":
    main()
