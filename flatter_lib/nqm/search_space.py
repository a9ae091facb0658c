"""Hyperparameters as coordinates in which the risk is smooth and far from any wall."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from flatter_lib.checks import Floats
from flatter_lib.nqm.crossing import first_crossings
from flatter_lib.nqm.descent import Place, minima
from flatter_lib.nqm.exact import Modes

#: The logarithm of the risk over the target where it overflows.
DIVERGED = 1e3
#: With momentum, phases beyond 1 over this count as spread over all angles where the risk is to be smooth.
BLUR = 0.1
#: So many minima of a coarse grid are followed down.
VALLEYS = 5


class SearchSpace:
    """The settings among which the best is looked for: the step size alone, or with it momentum or averaging.

    The first coordinate is the logit of the step size over the largest stable one, 2 (1 + momentum) / h_1: the wall in
    which the stiffest mode diverges is as smooth in it as the rest. If momentum or averaging is tuned too, its logit is
    the second; and with momentum, -log(1 - momentum) is added to the first, which then tells the effective step size.

    Args:
        modes: the modes, their preconditioning already done.
        target: the risk to reach.
        batch: the batch size.
        second: "momentum" or "ema" if that is tuned beside the step size.
        momentum: its value where it is not tuned.
    """

    def __init__(
        self, modes: Modes, target: float, batch: float, second: str = "", momentum: float = 0.0
    ) -> None:
        self.modes, self.target, self.batch = modes, target, batch
        self.second, self.momentum = second, momentum
        self.stiffest = float(modes.curvature.max())
        #: Whether complex roots make the risk uneven on a small scale.
        self.oscillates = second == "momentum" or momentum > 0.0

    def at(self, x: Floats) -> tuple[Floats, Floats, Floats]:
        """Step sizes, momenta and averaging coefficients at coordinates of shape (settings, 1 or 2)."""
        share, momentum, averaging = x[:, 0], np.full(len(x), self.momentum), np.zeros(len(x))
        if self.second == "momentum":
            momentum = expit(x[:, 1])
            share = share - np.logaddexp(0.0, x[:, 1])
        elif self.second == "ema":
            averaging = expit(x[:, 1])
        return 2.0 * (1.0 + momentum) / self.stiffest * expit(share), momentum, averaging

    def excess(self, steps: int, x: Floats, smooth: bool = False) -> Floats:
        """The logarithm of the risk over the target, exactly or with the mean of the faster oscillations."""
        lr, momentum, averaging = self.at(x)
        count, batch = np.full(len(x), steps), np.full(len(x), self.batch)
        blur = BLUR if smooth else 0.0
        risk = self.modes.risk(count, lr, batch, momentum, averaging, blur)
        # A risk of 0 is possible, where every mode is gone at once.
        logarithm = np.log(np.maximum(risk, np.finfo(np.float64).tiny)) - np.log(self.target)
        excess: Floats = np.minimum(logarithm, DIVERGED)
        return excess

    def crossings(self, x: Floats) -> Floats:
        """The first step at or below the target."""
        lr, momentum, averaging = self.at(x)
        target, batch = np.full(len(x), self.target), np.full(len(x), self.batch)
        return first_crossings(self.modes, target, lr, batch, momentum, averaging)


def first_guess(settings: SearchSpace) -> Place:
    """A step size that reaches the target, within a factor of about 1.4 of the best.

    Raises:
        ValueError: if none does in 2**53 steps.
    """
    # The stationary risk is at least the effective step size times sum(c) / 4B; with more the target is out of reach.
    noisy = float(np.sum(settings.modes.noise / settings.modes.curvature))
    top = 6.0
    if noisy:
        quiet = 2.0 * settings.batch * settings.target / noisy * (1.0 - settings.momentum)
        top = min(top, float(np.log(quiet * settings.stiffest / 2.0 / (1.0 + settings.momentum))))
    best = Place(0, np.array([top]), np.inf)
    while True:
        x = (best.x[0] - 0.35 * np.arange(25.0))[:, None]
        steps = settings.crossings(x)
        least = int(steps.argmin())
        if np.isinf(steps[least]):
            raise ValueError("target: must be within the reach of 2**53 steps; choose a higher one")
        if best.steps and steps[least] >= best.steps:
            return best
        best = Place(int(steps[least]), x[least], 0.0)


def coarse_guesses(settings: SearchSpace, alone: Place) -> list[Place]:
    """Where to begin with two hyperparameters: the valleys seen on a coarse grid, for as few steps as it allows.

    Args:
        settings: those with two.
        alone: the optimum with the step size alone.

    Returns:
        The lowest place of each valley.
    """
    # Neither momentum nor averaging remembers more than all of the steps.
    second = np.arange(-1.5, np.log(alone.steps) + 2.0, 1.0)
    first = alone.x[0] + np.arange(-1.0, 9.0, 0.75)
    x = np.stack(np.meshgrid(first, second), -1)

    def excess(steps: int) -> Floats:
        flat = settings.excess(steps, x.reshape(-1, 2), settings.oscillates)
        return flat.reshape(x.shape[:2])

    steps, found = alone.steps, excess(alone.steps)
    while steps > 1 and found.min() <= 0.0:
        fewer = excess(steps // 2)
        if fewer.min() > 0.0:
            break
        steps, found = steps // 2, fewer
    # The lowest of their neighbours: few modes have several such places.
    framed = np.pad(found, 1, constant_values=np.inf)
    around = np.lib.stride_tricks.sliding_window_view(framed, (3, 3)).min(axis=(-2, -1))
    lowest = found <= around
    valleys = x[lowest][np.argsort(found[lowest])[:VALLEYS]]
    return minima(settings, steps, valleys, 0.3, smooth=settings.oscillates)
