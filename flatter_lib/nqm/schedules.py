r"""Piecewise-constant step sizes: their exact risk, and the best of them for as few steps as possible.

What a piece does to the modes, and the gradient of the last risk, are those of :mod:`flatter_lib.nqm.pieces`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import expit, logit

from flatter_lib import checks
from flatter_lib.checks import Floats
from flatter_lib.nqm.descent import Place, interpolate
from flatter_lib.nqm.exact import RANGES, Modes
from flatter_lib.nqm.pieces import risks_of_pieces
from flatter_lib.nqm.search_space import DIVERGED
from flatter_lib.nqm.spectrum import NoisyQuadratic
from flatter_lib.nqm.tuning import tune

#: Rates are looked for down to this factor of the largest allowed; further down nothing moves.
SMALLEST = np.exp(-45.0)
#: With fewer steps a piece than this their order counts, and unequal lengths do.
SHORT = 8
#: A search for momentum begins with at least so much, and so far below the edge of stability.
HARDLY = 0.01
BEGIN = (HARDLY, 0.5, 0.9)
#: And with a memory of these shares of the training.
SHARES = (0.01, 0.1)
#: With momentum and fewer steps than this the risk has dips, in which searches end: so many more are made from nearby.
FEW_STEPS, SHAKES = 3000, 3


@dataclass(frozen=True, eq=False)
class Schedule:
    r"""Step sizes that stay constant over pieces of a training, as equally long as whole steps allow.

    Args:
        steps: how many steps, a whole number from 0.
        rates: (pieces,) the step size in each piece, at least 0; kept as a read-only array.
        momentum: :math:`\beta \in [0, 1)`, the same in every piece; the buffer goes on from piece to piece.

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
    momentum: float = 0.0

    def __init__(self, steps: int, rates: ArrayLike, momentum: float = 0.0) -> None:
        kept = np.array(checks.numbers("rates", rates, "[0, inf)"))
        if kept.ndim != 1 or not kept.size:
            raise ValueError(f"rates: must be one for each piece, got shape {kept.shape}")
        kept.flags.writeable = False
        object.__setattr__(self, "steps", checks.count("steps", steps, 0, checks.MOST_STEPS))
        object.__setattr__(self, "rates", kept)
        beta = checks.number("momentum", momentum, RANGES["momentum"])
        object.__setattr__(self, "momentum", beta)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(pieces,) how many steps each piece has."""
        return _lengths(self.steps, self.rates.size)

    def risk(
        self, model: NoisyQuadratic, batch_size: float, preconditioning: float = 0.0
    ) -> Floats:
        r"""The exact expected risk of (preconditioned) SGD or heavy ball at the start and after each piece.

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
        risks, _, _ = risks_of_pieces(modes, batch, self.lengths, self.rates, self.momentum)
        return np.where(risks < np.inf, risks, np.inf)


def tune_schedule(
    model: NoisyQuadratic,
    target: float,
    batch_size: float,
    pieces: int = 50,
    preconditioning: float = 0.0,
    *,
    optimizer: str = "sgd",
) -> Schedule:
    r"""The piecewise-constant step sizes that reach a target in the fewest steps of (preconditioned) SGD.

    This is Figure 3b of Zhang et al. (2019), with their 50 pieces and their limit: no step size exceeds
    :math:`2 / h_1^{1-p}`, which keeps each piece stable by itself. For a number of steps the least risk is found by
    L-BFGS with bounds, over logarithms of the rates and with exact gradients; the number of steps by interpolation.

    With ``"momentum"`` one momentum for all pieces is tuned beside the rates, none of which exceeds
    :math:`2 (1 + \beta) / h_1^{1-p}`; the paper has no such schedule. The search begins at the best schedule without
    momentum and at the best constant momentum, and what it returns is no slower than either. Where modes oscillate the
    risk has many dips, so that it is a bound from above on the fewest steps.

    Args:
        model: the model.
        target: the risk to reach, positive.
        batch_size: :math:`B > 0`; inf leaves no noise.
        pieces: into how many pieces to cut the training, a whole number from 1; never more than there are steps.
        preconditioning: :math:`p \in [0, 1]`.
        optimizer: "sgd" or "momentum".

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
    checks.one_of("optimizer", optimizer, ("sgd", "momentum"))
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
    plain = Schedule(best.steps, search.rates(best.steps, best.x))
    if optimizer == "sgd" or plain.steps == 1:
        return plain
    heavy = _HeavySearch(modes, float(target), float(batch_size), int(pieces))
    constant = tune(model, target, batch_size, "momentum", preconditioning)
    found = heavy.from_plain(plain)
    held = heavy.place(np.full(pieces, constant.lr), max(constant.momentum, HARDLY))
    if (
        constant.steps < found.steps
        or heavy.least_risk(max(found.steps - 1, 1), held).excess <= 0.0
    ):
        found = heavy.fewest_steps(Place(max(min(constant.steps, found.steps - 1), 1), held, 0.0))
    found = heavy.shaken(found)
    if found.steps >= min(plain.steps, constant.steps):
        if plain.steps <= constant.steps:
            return plain
        return Schedule(constant.steps, np.full(pieces, constant.lr), constant.momentum)
    rates, momentum = heavy.setting(found.x)
    return Schedule(found.steps, rates, momentum)


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
            risks, gradient, _ = risks_of_pieces(self.modes, self.batch, lengths, rates, 0.0)
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


class _HeavySearch:
    """The least risk of schedules with momentum.

    Of its coordinates the last is the logit of the momentum; the others are those of the rates, as shares of the
    largest that is stable, beyond the factor 1 - momentum that makes effective step sizes of them.
    """

    def __init__(self, modes: Modes, target: float, batch: float, pieces: int) -> None:
        self.modes, self.target, self.batch, self.pieces = modes, target, batch, pieces
        self.stiffest = float(modes.curvature.max())

    def setting(self, x: Floats) -> tuple[Floats, float]:
        """Rates and momentum at coordinates."""
        beta = float(expit(x[-1]))
        share = expit(x[:-1] - np.logaddexp(0.0, x[-1]))
        return 2.0 * (1.0 + beta) / self.stiffest * share, beta

    def place(self, rates: Floats, momentum: float) -> Floats:
        """The coordinates of rates and momentum."""
        y = float(logit(momentum))
        largest = 2.0 * (1.0 + momentum) / self.stiffest
        share = np.clip(rates / largest, 1e-12, 1.0 - 1e-4)
        return np.append(logit(share) + np.logaddexp(0.0, y), y)

    def from_plain(self, plain: Schedule) -> Place:
        """The fewest steps that suffice, from a schedule without momentum: its effective rates with some momenta."""
        long = [1.0 - 1.0 / (share * plain.steps) for share in SHARES if share * plain.steps > 1.0]
        starts = [self.place(plain.rates * (1.0 - beta), beta) for beta in (*BEGIN, *long)]
        found = self.fewest_steps(Place(plain.steps, starts[0], 0.0))
        for start in starts[1:]:
            place = self.least_risk(max(found.steps - 1, 1), start)
            found = self.fewest_steps(place) if place.excess <= 0.0 else found
        return found

    def fewest_steps(self, begin: Place) -> Place:
        """The fewest steps that suffice, from a number of steps and coordinates."""
        return interpolate(self.least_risk, begin)

    def shaken(self, best: Place) -> Place:
        """The same from nearby, as long as one of some starts finds a dip that saves a hundredth of the steps."""
        generator = np.random.default_rng(0)
        tries = 0
        while 1 < best.steps < FEW_STEPS and tries < SHAKES:
            tries += 1
            near = best.x + 0.3 * generator.standard_normal(best.x.size)
            place = self.least_risk(int(0.99 * best.steps), near)
            if place.excess <= 0.0:
                best, tries = self.fewest_steps(place), 0
        return best

    def least_risk(self, steps: int, x: Floats) -> Place:
        """The least risk after a number of steps, from ``x``."""
        pieces = min(self.pieces, steps)
        if x.size != pieces + 1:
            old, new = x.size - 1, (np.arange(pieces) + 0.5) / pieces
            x = np.append(np.interp(new, (np.arange(old) + 0.5) / old, x[:-1]), x[-1])
        lengths = _lengths(steps, pieces)

        def value_and_slope(x: Floats) -> tuple[float, Floats]:
            rates, beta = self.setting(x)
            risks, by_rates, by_beta = risks_of_pieces(self.modes, self.batch, lengths, rates, beta)
            if not 0.0 < risks[-1] < np.inf:  # at the edge of stability, by rounding or overflow
                return DIVERGED, np.zeros(x.size)
            room = 1.0 - rates * self.stiffest / (2.0 * (1.0 + beta))
            by_logit = rates * (beta * (1.0 - beta) / (1.0 + beta) - room * beta)
            last = by_rates @ by_logit + by_beta * beta * (1.0 - beta)
            slope = np.append(by_rates * rates * room, last) / risks[-1]
            return float(np.log(risks[-1] / self.target)), slope

        found = minimize(
            value_and_slope,
            np.clip(x, -45.0, 45.0),
            jac=True,
            method="L-BFGS-B",
            bounds=[(-45.0, 45.0)] * x.size,
            options={"maxiter": 500, "ftol": 1e-10, "gtol": 1e-6, "maxcor": 30},
        )
        return Place(steps, found.x, float(found.fun))


def _lengths(steps: int, pieces: int) -> NDArray[np.int64]:
    """Steps cut into pieces as equal as whole numbers can be."""
    ends = [steps * k // pieces for k in range(pieces + 1)]
    lengths: NDArray[np.int64] = np.array(ends[1:]) - np.array(ends[:-1])
    return lengths
