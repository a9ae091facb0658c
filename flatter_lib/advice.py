r"""When momentum pays: heavy ball at one setting against plain SGD at the same step, and at its own best one.

Heavy ball with step size :math:`\eta` and memory :math:`M = 1/(1-\beta)` goes as far as plain SGD with
:math:`\eta_{\rm eff} = \eta M`, once its memory has filled. Let plain SGD need T steps with :math:`\eta`, at a speed
that grows as :math:`\eta^p`: p = 1 down a slope, p = 2 where noise carries the weights along a valley. Then

.. math:: T_\beta = \frac{T}{M^p}\,\frac{1-\rho}{1-\rho M} + cM, \qquad \kappa = \frac{M^{p+1}}{T}.

:math:`\rho` is the share of the goal that noise at rest takes up with plain SGD at :math:`\eta`, and c a number, which
the book calibrates on its runs ("When momentum pays"). Without noise at rest :math:`\kappa` is what the memory is
beside the way, and the least of :math:`T_\beta` is at

.. math:: 1-\beta = \Big(\frac{c}{pT}\Big)^{1/(p+1)}.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from flatter_lib import checks
from flatter_lib.stats import Estimate

Region = Literal["same", "faster as typed", "faster tuned", "larger step", "no gain", "shaken"]
#: What carries the weights to the goal, and the power of the step size with which it does.
POWERS: Mapping[str, int] = {"slope": 1, "noise": 2}
#: A difference in time is one of more than a quarter.
DIFFERENT = 1.25


@dataclass(frozen=True)
class Law:
    r"""What the formula takes from experiments, for each of what carries the weights.

    Attributes:
        delay: c, in memories.
        border: the :math:`\kappa` beyond which runs do not come to rest.
        factor: 95 % of the times measured are within so many times of the formula, in systems that it was not
            calibrated on.
    """

    delay: Mapping[str, float] = field(default_factory=lambda: {"slope": 2.5, "noise": 3.2})
    border: Mapping[str, float] = field(default_factory=lambda: {"slope": math.inf, "noise": 11.0})
    factor: Mapping[str, float] = field(default_factory=lambda: {"slope": 2.3, "noise": 3.3})


#: The book's numbers.
BOOK = Law()


class Advice(NamedTuple):
    r"""What momentum is worth at a setting.

    Attributes:
        region: ``"shaken"``: runs do not come to rest. ``"faster tuned"``: plain SGD with its own best step is slower
            by more than a quarter. ``"larger step"``: plain SGD may not take the effective step, but with its best one
            is as fast. ``"same"``: with the effective step it is as fast. ``"faster as typed"``: faster than with the
            step as typed, though the memory costs more than a quarter against the effective step. ``"no gain"``: not
            faster even than with the step as typed.
        as_typed: time of plain SGD with the same step over that of heavy ball, and its 95 % interval; 0 if shaken.
        tuned: the same of plain SGD with its best step. Both intervals take T as known, and this one its scaling, too.
        momentum: the :math:`\beta` that the formula finds best with this step, noise at rest left aside; 0 at least.
    """

    region: Region
    as_typed: Estimate
    tuned: Estimate
    momentum: float


def advise(
    lr: float,
    momentum: float,
    curvature: float,
    steps: float,
    *,
    carried_by: str = "noise",
    at_rest: float = 0.0,
    largest_step: float = 1.0,
    law: Law = BOOK,
) -> Advice:
    r"""What momentum is worth at a setting, against plain SGD.

    Noise and batch size enter through ``steps`` and ``at_rest`` alone: along a valley T goes as
    :math:`B/(\eta\varepsilon)^2`, and :math:`\rho` as :math:`\eta/B`. Both can be seen in runs without momentum.

    Args:
        lr: :math:`\eta > 0`, as typed.
        momentum: :math:`\beta` in [0, 1).
        curvature: h > 0, the largest eigenvalue of the Hessian.
        steps: T > 0 that plain SGD takes with ``lr`` to the goal.
        carried_by: "noise" along a valley, "slope" where the mean gradient leads there.
        at_rest: :math:`\rho` in [0, 1): what noise at rest leaves, over what the goal allows, plain SGD with ``lr``.
        largest_step: :math:`\eta h > 0` up to which plain SGD may be tuned: 1 for caution, 2 for whatever is stable,
            inf for no limit.
        law: the numbers of the formula.

    Returns:
        Region and gains. ``as_typed`` compares at one step size; ``tuned`` lets plain SGD choose
        :math:`\eta' = \min(\text{largest\_step}/h,\ \tfrac{p}{p+1}\eta/\rho)`, where the formula is fastest.

    Raises:
        ValueError: if an argument is out of its range.

    Examples:
        >>> valley = advise(lr=0.1, momentum=0.97, curvature=10.0, steps=30_000)
        >>> print(valley.region, f"{valley.as_typed:.0f}", f"{valley.momentum:.3f}")
        faster tuned 224 [68, 741] 0.962
        >>> slope = advise(0.01, 0.9, 1.0, steps=5_000, carried_by="slope", at_rest=0.01)
        >>> print(slope.region, f"{slope.as_typed:.1f}")
        same 8.7 [3.8, 20.0]
    """
    eta = checks.number("lr", lr, "(0, inf)")
    memory = 1.0 / (1.0 - checks.number("momentum", momentum, "[0, 1)"))
    scaled = eta * checks.number("curvature", curvature, "(0, inf)")
    plain = checks.number("steps", steps, "(0, inf)")
    kind = checks.one_of("carried_by", carried_by, POWERS)
    rho = checks.number("at_rest", at_rest, "[0, 1)")
    most = checks.number("largest_step", largest_step, "(0, inf]")
    p, c, factor = POWERS[kind], law.delay[kind], law.factor[kind]
    best = max(0.0, 1.0 - (c / (p * plain)) ** (1 / (p + 1)))

    def alone(times: float) -> float:
        """Steps of plain SGD with so many times the step size."""
        room = 1.0 - rho * times
        return plain * (1.0 - rho) / (times**p * room) if room > 0 else math.inf

    limit = most / scaled
    of_noise = p / ((p + 1) * rho) if rho else math.inf
    tuned = alone(min(limit, of_noise)) if min(limit, of_noise) < math.inf else 0.0
    matched, kappa = alone(memory), memory ** (p + 1) / plain
    lost = scaled >= 2.0 * (2.0 - 1.0 / memory) or kappa > law.border[kind]
    time = math.inf if lost else matched + c * (memory if momentum else 0.0)

    def estimate(gain: float) -> Estimate:
        return Estimate(gain, gain / factor, gain * factor)

    return Advice(
        region_of(time, plain, tuned, matched if memory <= limit else math.inf),
        estimate(plain / time),
        estimate(tuned / time),
        best,
    )


def region_of(time: float, plain: float, tuned: float, matched: float) -> Region:
    """The region of a setting, from the steps that four runs take, predicted or measured.

    Args:
        time: of heavy ball; inf if it does not come to rest.
        plain: of plain SGD with the same step size.
        tuned: of plain SGD with its best step size.
        matched: of plain SGD with the effective step size; inf if that is more than it may take.

    Returns:
        See :class:`Advice`.

    Examples:
        >>> region_of(time=100, plain=1000, tuned=95, matched=90), region_of(100, 1000, 95, math.inf)
        ('same', 'larger step')
    """
    if time == math.inf:
        return "shaken"
    if tuned > DIFFERENT * time:
        return "faster tuned"
    if time <= DIFFERENT * matched < math.inf:
        return "same"
    if plain <= DIFFERENT * time:
        return "no gain"
    return "larger step" if matched == math.inf else "faster as typed"
