r"""Piecewise-constant step sizes: their exact risk, and the best of them for as few steps as possible.

In one mode a piece of n steps of size :math:`\alpha` takes the second moment :math:`A` to

.. math:: \rho A + \frac{\alpha^2 c}{B} G, \qquad \rho = (1 - \alpha h)^{2n}, \quad
    G = \sum_{k<n} (1 - \alpha h)^{2k} = \frac{1 - \rho}{\alpha h (2 - \alpha h)},

which is n steps of equation (3) of Zhang et al. (2019) at once. The gradient of the last risk follows backwards through
the pieces, exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize

from flatter_lib import checks
from flatter_lib.checks import Floats
from flatter_lib.compiled import kernel
from flatter_lib.nqm.descent import Place, interpolate
from flatter_lib.nqm.exact import RANGES, Modes
from flatter_lib.nqm.spectrum import NoisyQuadratic
from flatter_lib.nqm.tuning import tune

#: Rates are looked for down to this factor of the largest allowed; further down nothing moves.
SMALLEST = np.exp(-45.0)
#: With fewer steps a piece than this their order counts, and unequal lengths do.
SHORT = 8


@dataclass(frozen=True, eq=False)
class Schedule:
    r"""Step sizes that stay constant over pieces of a training, as equally long as whole steps allow.

    Args:
        steps: how many steps, a whole number from 0.
        rates: (pieces,) the step size in each piece, at least 0; kept as a read-only array.

    Raises:
        ValueError: if an argument is out of its range.

    Examples:
        >>> schedule = Schedule(steps=5, rates=[0.5, 0.1])
        >>> print(schedule.lengths)
        [2 3]
        >>> print(schedule.risk(NoisyQuadratic([1.0], [1.0]), batch_size=4).round(4))
        [0.5    0.0703 0.0404]
    """

    steps: int
    rates: Floats

    def __init__(self, steps: int, rates: ArrayLike) -> None:
        kept = np.array(checks.numbers("rates", rates, "[0, inf)"))
        if kept.ndim != 1 or not kept.size:
            raise ValueError(f"rates: must be one for each piece, got shape {kept.shape}")
        kept.flags.writeable = False
        object.__setattr__(self, "steps", checks.count("steps", steps, 0, checks.MOST_STEPS))
        object.__setattr__(self, "rates", kept)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(pieces,) how many steps each piece has."""
        return _lengths(self.steps, self.rates.size)

    def risk(
        self, model: NoisyQuadratic, batch_size: float, preconditioning: float = 0.0
    ) -> Floats:
        r"""The exact expected risk of (preconditioned) SGD at the start and after each piece.

        Args:
            model: the model.
            batch_size: :math:`B > 0`; inf leaves no noise.
            preconditioning: :math:`p \in [0, 1]`.

        Returns:
            (pieces + 1,) risks; inf only where they exceed the largest float.

        Raises:
            ValueError: if an argument is out of its range.
        """
        batch = checks.number("batch_size", batch_size, RANGES["batch_size"])
        modes = Modes(model.preconditioned(preconditioning))
        risks = _risks(modes, batch, self.lengths, self.rates)[0]
        return np.where(risks < np.inf, risks, np.inf)


def tune_schedule(
    model: NoisyQuadratic,
    target: float,
    batch_size: float,
    pieces: int = 50,
    preconditioning: float = 0.0,
) -> Schedule:
    r"""The piecewise-constant step sizes that reach a target in the fewest steps of (preconditioned) SGD.

    This is Figure 3b of Zhang et al. (2019), with their 50 pieces and their limit: no step size exceeds
    :math:`2 / h_1^{1-p}`, which keeps each piece stable by itself. For a number of steps the least risk is found by
    L-BFGS with bounds, over logarithms of the rates and with exact gradients; the number of steps by interpolation.

    Args:
        model: the model.
        target: the risk to reach, positive.
        batch_size: :math:`B > 0`; inf leaves no noise.
        pieces: into how many pieces to cut the training, a whole number from 1; never more than there are steps.
        preconditioning: :math:`p \in [0, 1]`.

    Returns:
        The schedule.

    Raises:
        ValueError: if an argument is out of its range.

    Examples:
        >>> model = NoisyQuadratic.power_law(dimension=100)
        >>> print(tune_schedule(model, target=0.01, batch_size=64).steps)
        156
    """
    checks.count("pieces", pieces)
    alone = tune(model, target, batch_size, preconditioning=preconditioning)
    if alone.steps == 0:
        return Schedule(0, [0.0])
    modes = Modes(model.preconditioned(preconditioning))
    search = _Search(modes, float(target), float(batch_size), int(pieces))
    begin = Place(alone.steps, np.full(pieces, np.log(alone.lr * alone.steps)), 0.0)
    best = interpolate(search.least_risk, begin)
    if best.steps < SHORT * pieces:
        # Some numbers of steps are better cut than the next.
        for steps in range(best.steps - 2, max(best.steps - 5, 0), -1):
            place = search.least_risk(steps, best.x)
            best = place if place.excess <= 0.0 else best
    return Schedule(best.steps, search.rates(best.steps, best.x))


class _Search:
    """The least risk of schedules.

    Its coordinates are logarithms of the rates times the steps: while noise rules, they do not depend on the steps.
    """

    def __init__(self, modes: Modes, target: float, batch: float, pieces: int) -> None:
        self.modes, self.target, self.batch, self.pieces = modes, target, batch, pieces
        self.largest = 2.0 / float(modes.curvature.max())

    def rates(self, steps: int, x: Floats) -> Floats:
        """The rates at coordinates."""
        return np.minimum(np.exp(x) / steps, self.largest)

    def least_risk(self, steps: int, x: Floats) -> Place:
        """The least risk after a number of steps: from ``x`` and, if pieces are short, from other starts too."""
        pieces = min(self.pieces, steps)
        lengths = _lengths(steps, pieces)
        if x.size != pieces:
            x = np.interp((np.arange(pieces) + 0.5) / pieces, (np.arange(x.size) + 0.5) / x.size, x)
        top = np.log(self.largest * steps)

        def value_and_slope(x: Floats) -> tuple[float, Floats]:
            rates = self.rates(steps, x)
            risks, gradient = _risks(self.modes, self.batch, lengths, rates)
            return float(np.log(risks[-1] / self.target)), gradient * rates / risks[-1]

        bounds = [(top + np.log(SMALLEST), top)] * pieces
        starts = [x]
        if steps < SHORT * pieces:
            starts += [np.full(pieces, x.mean()), x[::-1], top - np.linspace(0.0, 3.0, pieces)]
        found = [
            minimize(
                value_and_slope,
                np.clip(start, *bounds[0]),
                jac=True,
                method="L-BFGS-B",
                bounds=bounds,
                options={"maxiter": 2000, "ftol": 1e-13, "gtol": 1e-8, "maxcor": 30},
            )
            for start in starts
        ]
        best = min(found, key=lambda result: float(result.fun))
        return Place(steps, best.x, float(best.fun))


def _lengths(steps: int, pieces: int) -> NDArray[np.int64]:
    """Steps cut into pieces as equal as whole numbers can be."""
    ends = [steps * k // pieces for k in range(pieces + 1)]
    lengths: NDArray[np.int64] = np.array(ends[1:]) - np.array(ends[:-1])
    return lengths


def _risks(
    modes: Modes, batch: float, lengths: NDArray[np.int64], rates: Floats
) -> tuple[Floats, Floats]:
    """The risk at the start and after each piece, and the derivatives of the last by the rates."""
    risks, gradient = np.zeros(rates.size + 1), np.zeros(rates.size)
    arrays = modes.curvature, modes.noise, modes.weight
    _add_risks(*arrays, lengths, np.asarray(rates), batch, risks, gradient)
    return risks, gradient


@kernel
def _add_risks(
    curvature: Floats,
    noise: Floats,
    weight: Floats,
    lengths: NDArray[np.int64],
    rates: Floats,
    batch: float,
    risks: Floats,
    gradient: Floats,
) -> None:
    """Add up the risks at the start and after each piece, and the derivatives of the last by the rates."""
    pieces = rates.size
    moments, factors, gains = np.empty(pieces + 1), np.empty(pieces), np.empty(pieces)
    for m in range(curvature.size):
        h, c = curvature[m], noise[m] / batch
        moments[0] = weight[m]
        risks[0] += weight[m]
        for k in range(pieces):
            x, n = rates[k] * h, float(lengths[k])
            fall = x * (2.0 - x)
            # At x = 1 a step ends it all, but no step does not.
            logarithm = 2.0 * n * (np.log1p(-x) if x < 1.0 else np.log1p(x - 2.0)) if n else 0.0
            factors[k] = np.exp(logarithm)
            gains[k] = -np.expm1(logarithm) / fall if fall != 0.0 else n
            moments[k + 1] = factors[k] * moments[k] + rates[k] * rates[k] * c * gains[k]
            risks[k + 1] += moments[k + 1]
        onward = 1.0
        for k in range(pieces - 1, -1, -1):
            x, n, rate = rates[k] * h, float(lengths[k]), rates[k]
            root, fall = 1.0 - x, x * (2.0 - x)
            # Derivatives of the factor and of the gain.
            slope = -2.0 * n * h * factors[k] / root if root != 0.0 else 0.0
            if abs(fall) * n < 1e-6:
                bend = h * n * (n - 1.0) * (1.0 if x > 1.0 else -1.0)
            else:
                bend = -(slope + 2.0 * h * root * gains[k]) / fall
            gradient[k] += onward * (slope * moments[k] + c * rate * (2.0 * gains[k] + rate * bend))
            onward *= factors[k]
