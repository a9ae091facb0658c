r"""Which settings an experiment measures: kappa, laws, scans, what tuning takes, and rungs of about equal length.

Noise of strength :math:`\varepsilon` moves a run along the floor by what depends on
:math:`k (\eta_{\text{eff}} \varepsilon)^2` alone, :math:`\eta_{\text{eff}} = \eta/(1-\beta)`. If the motion of interest
takes :math:`k (\eta_{\text{eff}} \varepsilon)^2 = s`, which depends on the problem, the ratio of momentum's time
:math:`1/(1-\beta)` to that of this drift is

.. math:: \kappa = \frac{(\eta\varepsilon)^2}{s (1-\beta)^3} .

Settings have four digits, so that a record can be read, and asked for by what it says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

#: Of each measurement, the rule that it is held to when it is made again; see :mod:`flatter_lib.evidence.judge`.
Held = Mapping[str, Mapping[str, Any] | None]


class Landscape(NamedTuple):
    r"""What sets the scales of a problem's runs.

    Attributes:
        slow: s, at which the drift has gone its way.
        strength: epsilon of laws and scans.
        lrs: step sizes of laws, falling; they are about the one in the middle.
        patience: a run makes :math:`(\text{patience} + \text{drift}/\kappa) / (1-\beta)` steps, well past the time at
            which it settles.
        drift: see there.

    Examples:
        >>> valley = Landscape(slow=1.0, strength=0.1, lrs=(0.4, 0.2, 0.1), patience=10.0, drift=3.0)
        >>> [cell.memory for cell in valley.law(2 / 3, kappa=2.0)]
        [0.09283, 0.05848, 0.03684]
        >>> [round(cell.kappa, 2) for cell in valley.law(2 / 3, kappa=2.0)]
        [2.0, 2.0, 2.0]
        >>> valley.cell(0.2, kappa=1e-9).memory
        1.0
    """

    slow: float
    strength: float
    lrs: tuple[float, ...]
    patience: float
    drift: float

    def cell(
        self, lr: float, kappa: float, strength: float | None = None, *, digits: int = 4
    ) -> Cell:
        """The setting with this kappa; 1 - beta is at most 1, and has so many digits."""
        eps = self.strength if strength is None else strength
        memory = ((lr * eps) ** 2 / (self.slow * kappa)) ** (1 / 3)
        return Cell(rounded(lr), rounded(min(1.0, memory), digits), eps, self)

    def plain(self, lr: float, strength: float | None = None) -> Cell:
        """Plain SGD."""
        return Cell(rounded(lr), 1.0, self.strength if strength is None else strength, self)

    def law(
        self, gamma: float, kappa: float, *, at: float | None = None, digits: int = 4
    ) -> list[Cell]:
        r"""Settings along :math:`1-\beta = C \eta^\gamma`, with C such that kappa is this at one step size.

        Args:
            gamma: the exponent.
            kappa: where laws of all exponents meet.
            at: the step size there; the middle one if left out.
            digits: of 1 - beta there, before it is carried to the other step sizes.
        """
        middle = self.lrs[len(self.lrs) // 2] if at is None else at
        memory = self.cell(middle, kappa, digits=digits).memory
        return [
            Cell(rounded(lr), rounded(memory * (lr / middle) ** gamma), self.strength, self)
            for lr in self.lrs
        ]

    def scan(self, lr: float, kappas: Iterable[float], strength: float | None = None) -> list[Cell]:
        """Settings at one step size, over momenta."""
        return [self.cell(lr, kappa, strength) for kappa in kappas]


class Cell(NamedTuple):
    """A step size and a momentum at a noise strength.

    Attributes:
        lr: step size eta.
        memory: 1 - beta, in (0, 1].
        strength: epsilon.
        landscape: of the problem.
    """

    lr: float
    memory: float
    strength: float
    landscape: Landscape

    @property
    def kappa(self) -> float:
        """The ratio of the two times."""
        return (self.lr * self.strength) ** 2 / (self.landscape.slow * self.memory**3)

    @property
    def steps(self) -> float:
        """How many a run makes, at least."""
        return (self.landscape.patience + self.landscape.drift / self.kappa) / self.memory


class Rung(NamedTuple):
    """Cells that take about as long.

    Attributes:
        cells: of one noise strength, the shorter first.
        steps: that each of them makes.
        seed: of their noise.
    """

    cells: list[Cell]
    steps: int
    seed: int


class Scan(NamedTuple):
    r"""Momenta of one step size and noise strength, all with the same number of steps, whatever kappa they have.

    Laid out on kappa, a scan would follow the power 2/3 of the step size even if the best momentum were noise; this one
    has the same momenta at every step size, and a setting that needs more steps than the others' counts as slower.

    Attributes:
        lr: step size eta.
        strength: epsilon.
        memories: 1 - beta.
        steps: of each run: several times those of the fastest setting, in a pilot with other seeds.

    Examples:
        >>> valley = Landscape(slow=1.0, strength=0.1, lrs=(0.4, 0.2), patience=10.0, drift=3.0)
        >>> scan = Scan(0.2, 0.1, powers(0.05, 0.2), steps=900)
        >>> [(cell.memory, round(cell.kappa, 2)) for cell in scan.rung(valley, seed=0).cells]
        [(0.05, 3.2), (0.07071, 1.13), (0.1, 0.4), (0.1414, 0.14), (0.2, 0.05)]
    """

    lr: float
    strength: float
    memories: tuple[float, ...]
    steps: int

    def rung(self, landscape: Landscape, seed: int) -> Rung:
        """Its cells, the noise of which begins at this seed."""
        cells = [Cell(rounded(self.lr), m, self.strength, landscape) for m in self.memories]
        return Rung(cells, self.steps, seed)


def powers(low: float, high: float, *, per_octave: float = 2.0) -> tuple[float, ...]:
    """Numbers from low to about high, each so much above the last that a factor of 2 takes so many."""
    count = round(float(np.log2(high / low)) * per_octave) + 1
    return tuple(rounded(low * 2 ** (i / per_octave)) for i in range(count))


def rungs(
    cells: Iterable[Cell], seed: int, *, together: int = 4, longest: float = 1.5
) -> list[Rung]:
    """Give each cell, once, the horizon and the seed that it has in common with others that take about as long.

    So the cells of a rung can be made in one pass.

    Args:
        cells: in any order.
        seed: of the first rung; those of the others follow, each 1000 on.
        together: at most so many cells in a rung.
        longest: a cell takes less than so many times as long as the first of its rung.

    Examples:
        >>> valley = Landscape(slow=1.0, strength=0.1, lrs=(0.4, 0.2, 0.1), patience=10.0, drift=3.0)
        >>> [(len(rung.cells), rung.steps, rung.seed) for rung in rungs(valley.scan(0.2, [1.0, 1.1, 9.0]), 0)]
        [(2, 179, 0), (1, 292, 1000)]
    """
    groups: list[list[Cell]] = []
    for cell in sorted(set(cells), key=lambda c: (c.strength, c.steps)):
        last = groups[-1] if groups else []
        fits = last and last[0].strength == cell.strength and cell.steps < longest * last[0].steps
        if fits and len(last) < together:
            last.append(cell)
        else:
            groups.append([cell])
    return [
        Rung(group, int(np.ceil(max(cell.steps for cell in group))), seed + 1000 * i)
        for i, group in enumerate(groups)
    ]


def rounded(value: float, digits: int = 4) -> float:
    """A number of so many digits.

    Examples:
        >>> rounded(0.123456)
        0.1235
    """
    return float(f"{value:.{digits}g}")


def short(values: ArrayLike) -> list[Any]:
    """Measured numbers as records have them: four digits, more than the runs' scatter leaves meaning to."""
    array = np.asarray(values, dtype=np.float64)
    return [short(row) for row in array] if array.ndim > 1 else [rounded(v) for v in array.tolist()]


def whole(times: ArrayLike) -> list[Any]:
    """Times as records have them: steps are whole, and NaN is a time that never came."""
    array = np.asarray(times, dtype=np.float64)
    if array.ndim > 1:
        return [whole(row) for row in array]
    return [t if np.isnan(t) else int(t) for t in array.tolist()]
