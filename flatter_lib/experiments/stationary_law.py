r"""Does noisy heavy ball in one mode have the stationary variance that the theory gives?

The variance of the weight that :func:`flatter_lib.heavy_ball.stationary_variance` has in closed form, measured: many
independent chains start in the minimum, forget their start, and are then looked at at times far enough apart to be
nearly independent. Each chain makes

.. math:: v_{k+1} = \beta v_k + h w_k + \xi_k, \qquad w_{k+1} = w_k - \eta v_{k+1}, \qquad \xi_k \sim N(0, 1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np

from flatter_lib import checks
from flatter_lib.experiments.design import Held
from flatter_lib.heavy_ball import is_stable, relaxation_time, stationary_variance


@dataclass(frozen=True)
class Configuration:
    """One measurement.

    Attributes:
        lr: step size.
        momentum: heavy-ball momentum, in [0, 1).
        curvature: the mode's curvature, so that the setting is stable.
        chains: independent chains.
        looks: how often each is looked at, two relaxation times apart.
        seed: of the noise.
    """

    lr: float
    momentum: float
    curvature: float
    chains: int
    looks: int
    seed: int

    def __post_init__(self) -> None:
        checks.fields(self, lr="(0, inf)", momentum="[0, 1)", curvature="(0, inf)")
        checks.fields(self, chains=1, looks=1, seed=0)
        if not is_stable(self.lr, self.momentum, self.curvature):
            raise ValueError(
                "lr: must be below 2 (1 + momentum) / curvature, where the mode is stable"
            )


def _settings(chains: int, looks: int, seeds: int) -> list[Configuration]:
    steps, momenta = (0.03, 0.1, 0.3), (0.0, 0.5, 0.9)
    return [
        Configuration(lr, momentum, 1.0, chains, looks, seed)
        for lr, momentum, seed in product(steps, momenta, range(seeds))
    ]


PROFILES: Mapping[str, list[Configuration]] = {
    "smoke": _settings(chains=64, looks=2, seeds=1),
    "laptop": _settings(chains=1024, looks=16, seeds=16),
    "paper": _settings(chains=16384, looks=64, seeds=64),
}

#: Means of squares of numbers that no run amplifies.
HELD: Held = {"": {}}


def run(configuration: Configuration) -> Mapping[str, float]:
    """Measure the variance.

    Returns:
        ``variance``, the mean square of the weight over chains and looks; ``expected``, the closed form; and
        ``ratio``, the first over the second.
    """
    c = configuration
    generator = np.random.default_rng(c.seed)
    w, v = np.zeros(c.chains), np.zeros(c.chains)
    squares = []
    for look in range(c.looks):
        for _ in range(_steps(c) * (5 if look == 0 else 1)):
            v = c.momentum * v + c.curvature * w + generator.standard_normal(c.chains)
            w = w - c.lr * v
        squares.append(np.mean(w**2))
    expected = float(stationary_variance(c.lr, c.momentum, c.curvature, 1.0))
    variance = float(np.mean(squares))
    return {"variance": variance, "expected": expected, "ratio": variance / expected}


def cost(configuration: Configuration) -> float:
    """Seconds that a run takes on one core of a laptop, about."""
    c = configuration
    return (4.0 + c.looks) * _steps(c) * (1e-5 + 1.9e-8 * c.chains)


def _steps(c: Configuration) -> int:
    """Steps between two looks: the correlation is down to exp(-2) or less."""
    return int(np.ceil(2.0 * relaxation_time(c.lr, c.momentum, c.curvature)))
