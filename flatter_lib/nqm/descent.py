"""The fewest steps for which some setting reaches the target, by Newton's method within an interpolation in steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from flatter_lib.checks import Floats
from flatter_lib.nqm.exact import Modes

#: Half a step of the difference quotients, the least that makes sense, and the largest change of the logarithm of the
#: risk over it.
DIFFERENCE, NARROWEST, STEEP = 1e-3, 1e-7, 0.1
#: Newton's method stops where it expects to gain less than this in the logarithm of the risk, at the very end; before
#: that, where it expects to gain less than some hundredths of a step.
GAIN, LARGEST_GAIN = 1e-11, 1e-5
#: Dips are looked for in so many places, in more if their depth varies by so much, and followed down from the best; and
#: again if the number of steps has changed by that share.
PLACES, MORE_PLACES, DEEP, FOLLOWED, LOOK_AGAIN = 256, 1024, 0.02, 6, 2e-4
#: So few modes have deeper dips than their variance tells: they are looked for twice as far, in so many places.
FEW_MODES, MOST_PLACES = 40, 4096
#: With no more steps than this the risk may be lower two or three steps before than it is one step before.
FEW_STEPS = 3000


@dataclass(frozen=True)
class Place:
    """A number of steps, coordinates of hyperparameters, and the logarithm of the risk there over the target."""

    steps: int
    x: Floats
    excess: float


class Landscape(Protocol):
    """The risk over coordinates of hyperparameters."""

    @property
    def oscillates(self) -> bool:
        """Whether the risk is uneven on a small scale."""

    @property
    def modes(self) -> Modes:
        """What the risk is a sum of."""

    def excess(self, steps: int, x: Floats, smooth: bool = False) -> Floats:
        """The logarithm of the risk over the target at coordinates (places, dimensions), exactly or smoothed."""

    def crossings(self, x: Floats) -> Floats:
        """The first step at or below the target."""


def fewest_steps(landscape: Landscape, guesses: list[Place]) -> Place:
    """The fewest steps after which some setting is at or below the target, and the least risk after these.

    Args:
        landscape: the risk.
        guesses: where to begin, one for each valley to look in.

    Returns:
        The number of steps, the place, and a logarithm of at most 0.
    """
    uneven = landscape.oscillates

    def nearby(steps: int, x: Floats) -> Place:
        return minima(landscape, steps, x[None], 0.3, smooth=uneven)[0]

    best = min((interpolate(nearby, guess) for guess in guesses), key=lambda p: p.steps)
    least = nearby
    if uneven:
        least = _Dips(landscape, best).least_risk
        best = interpolate(least, best)
    while True:
        before = [best.steps - 3, best.steps - 2] if best.steps < FEW_STEPS else []
        if uneven:
            before.append(int((1.0 - 2.0 * LOOK_AGAIN) * best.steps))
        earlier = [least(steps, best.x) for steps in before if 0 < steps < best.steps]
        steps = int(min(landscape.crossings(best.x[None])[0], best.steps))
        if steps < best.steps:
            earlier.append(least(steps, best.x))
        enough = [place for place in earlier if place.excess <= 0.0]
        if not enough:
            break
        better = interpolate(least, min(enough, key=lambda place: place.steps))
        if better.steps >= best.steps:
            break
        best = better
    best = minima(landscape, best.steps, best.x[None], 1e-3, gain=GAIN)[0]
    # A rounding error may part the logarithm from the risk.
    return replace(best, steps=int(landscape.crossings(best.x[None])[0]))


def minima(
    landscape: Landscape,
    steps: int,
    x: Floats,
    radius: float,
    *,
    smooth: bool = False,
    gain: float | None = None,
) -> list[Place]:
    """Minima of the risk after a number of steps, by Newton's method from some places at once.

    Args:
        landscape: the risk.
        steps: the number of steps.
        x: (places, dimensions) where to begin.
        radius: how far to go at first.
        smooth: whether to look at the smoothed risk.
        gain: what is not worth a further step; None for what is not worth some hundredths of a training step.

    Returns:
        Different minima, the lowest first.
    """
    if gain is None:
        gain = float(np.clip(0.03 / steps, GAIN, LARGEST_GAIN))
    x, difference = x.copy(), np.full(x.shape, DIFFERENCE)
    reach = np.full(len(x), radius)
    value, slope, bend = _expansion(landscape, steps, x, difference, smooth)
    active = np.arange(len(x))
    for _ in range(100):
        # At a saddle, or a maximum, go down along the directions that bend the other way too.
        bends, axes = np.linalg.eigh(bend[active])
        toward = np.einsum("pji,pj->pi", axes, slope[active])
        along = toward / np.maximum(np.abs(bends), 1e-8)
        going = 0.5 * (toward * along).sum(axis=-1) > gain
        if not going.any():
            break
        active = active[going]
        move = -np.einsum("pij,pj->pi", axes[going], along[going])
        length = np.linalg.norm(move, axis=-1)
        shortened = np.minimum(1.0, reach[active] / length)
        ahead = x[active] + shortened[:, None] * move
        spread = difference[active]
        found = _expansion(landscape, steps, ahead, spread, smooth)
        better = found[0] < value[active]
        reach[active] = np.where(better, 2.0 * reach[active], 0.25 * shortened * length)
        chosen = active[better]
        x[chosen], difference[chosen] = ahead[better], spread[better]
        value[chosen], slope[chosen], bend[chosen] = (array[better] for array in found)
        # Where it went up, the step was too long, or the differences, which see a narrow dip as too even.
        failed = active[~better]
        if failed.size:
            spread = difference[failed] * 0.2
            again = _expansion(landscape, steps, x[failed], spread, smooth)
            difference[failed] = spread
            value[failed], slope[failed], bend[failed] = again
        active = active[difference[active].max(axis=-1) > NARROWEST]
    lowest: list[Place] = []
    for place in np.argsort(value, kind="stable"):
        if all(np.linalg.norm(x[place] - other.x) > radius for other in lowest):
            lowest.append(Place(steps, x[place], float(value[place])))
    return lowest


#: Where the risk is looked at around a place, in units of the difference in each coordinate.
_STENCIL = {
    1: np.array([[0.0], [1.0], [-1.0]]),
    2: np.array(
        [[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0], [1.0, 1.0], [-1.0, -1.0]]
    ),
}


def _expansion(
    landscape: Landscape, steps: int, x: Floats, difference: Floats, smooth: bool
) -> tuple[Floats, Floats, Floats]:
    """Values, gradients and second derivatives at some places; narrows ``difference`` where the risk is steep."""
    places, dimensions = x.shape
    stencil = _STENCIL[dimensions]
    f = np.empty((places, len(stencil)))
    todo = np.arange(places)
    while todo.size:
        points = x[todo, None] + stencil * difference[todo, None]
        f[todo] = landscape.excess(steps, points.reshape(-1, dimensions), smooth).reshape(
            todo.size, -1
        )
        change = np.abs(f[todo, 1 : 2 * dimensions + 1] - f[todo, :1])
        steep = change.reshape(todo.size, dimensions, 2).max(axis=-1) > STEEP
        steep &= difference[todo] > NARROWEST
        difference[todo] = np.where(steep, 0.2 * difference[todo], difference[todo])
        todo = todo[steep.any(axis=-1)]
    here = f[:, :1]
    plus, minus = f[:, 1 : 2 * dimensions + 1 : 2], f[:, 2 : 2 * dimensions + 1 : 2]
    bend = np.zeros((places, dimensions, dimensions))
    for i in range(dimensions):
        bend[:, i, i] = (plus[:, i] - 2.0 * f[:, 0] + minus[:, i]) / difference[:, i] ** 2
    if dimensions == 2:
        both = f[:, 5] + f[:, 6] - (plus + minus - here).sum(axis=-1)
        bend[:, 0, 1] = bend[:, 1, 0] = both / (2.0 * difference[:, 0] * difference[:, 1])
    return f[:, 0].copy(), (plus - minus) / (2.0 * difference), bend


class _Dips:
    """The deepest of the dips around a smooth minimum."""

    def __init__(self, landscape: Landscape, smooth: Place) -> None:
        self.landscape, self.centre = landscape, smooth.x
        dimensions = smooth.x.size
        difference = np.full((1, dimensions), DIFFERENCE)
        bend = _expansion(landscape, smooth.steps, smooth.x[None], difference, smooth=True)[2][0]
        bends, axes = np.linalg.eigh(bend)
        # Where the logarithm of the smooth risk is higher by one half, or 2 away if that is nearer.
        self.spread = axes / np.sqrt(np.maximum(bends, 0.25))
        # A dip is worth the way as long as it is deeper than the smooth risk rises: three standard deviations.
        x = self.centre + 0.5 * _evenly_in_a_ball(PLACES, dimensions) @ self.spread.T
        uneven = landscape.excess(smooth.steps, x) - landscape.excess(smooth.steps, x, smooth=True)
        size = float(np.clip(np.sqrt(6.0 * uneven.std()), 0.02, 1.0))
        self.size, self.places, self.followed = size, PLACES, FOLLOWED
        if landscape.modes.curvature.size <= FEW_MODES:
            self.size, self.places, self.followed = 2.0 * size, MOST_PLACES, 2 * FOLLOWED
        elif uneven.std() > DEEP:
            self.places = MORE_PLACES
        self.ball = _evenly_in_a_ball(self.places, dimensions)
        self.around = self.centre + self.size * self.ball @ self.spread.T
        self.looked_at = 0

    def least_risk(self, steps: int, x: Floats) -> Place:
        """The least risk found after a number of steps, from ``x`` and from all around the smooth minimum."""
        starts = x[None]
        if abs(steps - self.looked_at) > LOOK_AGAIN * steps:
            self.looked_at = steps
            excess = self.landscape.excess(steps, self.around)
            chosen: list[int] = []
            for place in np.argsort(excess, kind="stable"):
                if len(chosen) == self.followed:
                    break
                away = np.linalg.norm(self.ball[chosen] - self.ball[place], axis=-1)
                if (away > 3.0 / np.sqrt(self.places)).all():
                    chosen.append(int(place))
            starts = np.concatenate([starts, self.around[chosen]])
        return minima(self.landscape, steps, starts, self.size / np.sqrt(self.places))[0]


def _evenly_in_a_ball(places: int, dimensions: int) -> Floats:
    """Points of shape (places, dimensions): evenly on a line, or like a sunflower's seeds."""
    rank = (np.arange(places) + 0.5) / places
    if dimensions == 1:
        return 2.0 * rank[:, None] - 1.0
    angle = np.arange(places) * np.pi * (3.0 - np.sqrt(5.0))
    seeds: Floats = np.sqrt(rank)[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    return seeds


def interpolate(least: Callable[[int, Floats], Place], guess: Place) -> Place:
    """The fewest steps that suffice, if more steps do whenever fewer do.

    Args:
        least: finds the least risk after a number of steps, from coordinates nearby.
        guess: where to begin.

    Returns:
        The place of least risk after so many steps; after one step less the least risk is above the target.
    """
    low: Place | None = None
    high: Place | None = None
    steps, x, same = guess.steps, guess.x, 0
    while True:
        place = least(steps, x if high is None else high.x)
        x = place.x
        if place.excess <= 0.0:
            high, same = place, max(same, 0) + 1
        else:
            low, same = place, min(same, 0) - 1
        if high is not None and high.steps == (1 if low is None else low.steps + 1):
            return high
        steps = _between(low, high, same)


def _between(low: Place | None, high: Place | None, same: int) -> int:
    """The next number of steps to try, after ``same`` tries on one side (negative: too few steps)."""
    if low is not None and high is not None:
        # The Illinois rule: an end that has stayed for long counts for less.
        below, above = low.excess, -high.excess
        below *= 0.5 ** max(same - 1, 0)
        above *= 0.5 ** max(-same - 1, 0)
        share = below / (below + above)
        steps = np.ceil(low.steps * (high.steps / low.steps) ** share)
        return int(np.clip(steps, low.steps + 1, high.steps - 1))
    # A risk like 1 / t, and some more.
    if high is not None:
        return int(np.clip(0.97 * high.steps * np.exp(high.excess), 1, high.steps - 1))
    assert low is not None
    return max(int(1.03 * low.steps * np.exp(min(low.excess, 1.0))), low.steps + 1)
