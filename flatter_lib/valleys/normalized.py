r"""Linear regression with normalised weights: the smallest problem whose loss does not know how long its weights are.

Inputs :math:`x` are standard normal with d components, targets :math:`y = \gamma\, x_1 + \sigma \xi`, and the output is
:math:`u \cdot x` with the direction :math:`u = w/|w|`. The loss depends on :math:`m = u_1` alone,

.. math:: L = \tfrac12 E (u \cdot x - y)^2 = \tfrac12 (1 - 2\gamma m + \gamma^2 + \sigma^2).

A step sees the mean gradient of B fresh samples, :math:`g = \hat g/|w|` with :math:`\hat g = r\,(x - (u \cdot x) u)`
and :math:`r = u \cdot x - y` for each, and is that of ``torch.optim.SGD`` with its weight decay:
:math:`v' = \beta v + g + \lambda w`, :math:`w' = w - \eta v'`. The gradient is orthogonal to w.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from flatter_lib import checks
from flatter_lib.checks import Floats


class Motion(NamedTuple):
    """What runs did, at the steps that were asked for, (settings, steps, runs).

    Attributes:
        square: the squared norm of the weights.
        overlap: m, the first component of the direction.
        turn: one minus the cosine between the direction and that of the step before, half the squared angle.
        kept: the cosine between the direction and that at the first of these steps.
    """

    square: Floats
    overlap: Floats
    turn: Floats
    kept: Floats


@dataclass(frozen=True)
class NormalizedRegression:
    r"""See the module.

    Attributes:
        inputs: d, at least 2.
        signal: :math:`\gamma`, at least 0; with 0 there is nothing to learn.
        noise: :math:`\sigma`.
        batch: B, fresh samples a step.

    Raises:
        ValueError: for a field out of its range.
    """

    inputs: int = 16
    signal: float = 1.0
    noise: float = 1.0
    batch: int = 1

    def __post_init__(self) -> None:
        checks.fields(self, inputs=2, signal="[0, inf)", noise="[0, inf)", batch=1)

    def gradient_square(self, overlap: ArrayLike) -> Floats:
        r"""The mean of :math:`|\hat g|^2` at a direction.

        With :math:`s = \gamma^2 (1 - m^2)`, the square of the mean gradient,

        .. math:: E |\hat g|^2 = s + \frac{(d-1)\,[(1 - \gamma m)^2 + \sigma^2] + d\, s}{B}.

        Args:
            overlap: m, in [-1, 1].

        Examples:
            >>> print(NormalizedRegression(inputs=5, signal=0.0, noise=0.0).gradient_square(0.3))
            4.0
        """
        m = checks.numbers("overlap", overlap, "[-1, 1]")
        along = self.signal**2 * (1 - m**2)
        residual = (1 - self.signal * m) ** 2 + self.noise**2
        spread = (self.inputs - 1) * residual + self.inputs * along
        return np.asarray(along + spread / self.batch)

    def simulate(
        self,
        *,
        lr: ArrayLike,
        decay: ArrayLike,
        momentum: ArrayLike = 0.0,
        square: ArrayLike = 1.0,
        at: ArrayLike,
        runs: int,
        seed: int = 0,
    ) -> Motion:
        r"""Runs from directions with m = 0, at rest; run i of every setting has the same direction and samples.

        Args:
            lr: :math:`\eta` of each setting.
            decay: :math:`\lambda`.
            momentum: :math:`\beta`.
            square: :math:`|w|^2` at the start.
            at: steps at which they are looked at, from 1, increasing.
            runs: how many.
            seed: of starts and samples.

        Raises:
            ValueError: for an argument out of its range.

        Examples:
            >>> motion = NormalizedRegression().simulate(lr=[0.1, 0.4], decay=[0.4, 0.1], square=[1, 4], at=[9], runs=3)
            >>> motion.overlap.shape, bool((motion.overlap[0] == motion.overlap[1]).all())
            ((2, 1, 3), True)
        """
        eta, lam, beta, start = _settings(lr, decay, momentum, square)
        looks = np.atleast_1d(checks.counts("at", at, 1))
        if looks.ndim != 1 or not looks.size or np.any(np.diff(looks) <= 0):
            raise ValueError("at: must be steps in increasing order")
        generator = np.random.default_rng(checks.count("seed", seed, 0))
        first = generator.standard_normal((checks.count("runs", runs), self.inputs))
        first[:, 0] = 0.0
        first /= np.linalg.norm(first, axis=-1, keepdims=True)
        w = np.sqrt(start)[:, None, None] * first
        v = np.zeros_like(w)
        rate, shrink, memory = (a[:, None, None] for a in (eta, lam, beta))
        seen = np.empty((4, eta.size, looks.size, runs))
        old, mark, row = w, w, 0
        for step in range(1, looks[-1] + 1):
            x = generator.standard_normal((self.batch, runs, self.inputs))
            y = self.signal * x[..., 0] + self.noise * generator.standard_normal((self.batch, runs))
            length = np.linalg.norm(w, axis=-1, keepdims=True)
            u = w / length
            out = np.einsum("srd,brd->sbr", u, x)
            r = (out - y) / self.batch
            g = np.einsum("sbr,brd->srd", r, x) - (r * out).sum(1)[..., None] * u
            v = memory * v + g / length + shrink * w
            old, w = w, w - rate * v
            if step == looks[row]:
                mark = w if row == 0 else mark
                norm = np.linalg.norm(w, axis=-1)
                seen[:, :, row] = norm**2, w[..., 0] / norm, 1 - _cosine(w, old), _cosine(w, mark)
                row += 1
        return Motion(*seen)

    def mean_field(
        self,
        *,
        lr: ArrayLike,
        decay: ArrayLike,
        momentum: ArrayLike = 0.0,
        square: ArrayLike = 1.0,
        steps: int,
    ) -> Floats:
        r"""The overlap without runs: from the means of the five products of w, v and the target, held free of noise.

        With :math:`q = |w|^2`, :math:`p = |v|^2`, :math:`c = w \cdot v`, :math:`a = w_1`, :math:`b = v_1` and
        :math:`m = a/\sqrt q`, a step is

        .. math::

            p' &= \beta^2 p + E|\hat g|^2/q + \lambda^2 q + 2\beta\lambda c
                - 2\beta\gamma\,(b - m c/\sqrt q)/\sqrt q, \\
            b' &= \beta b - \gamma (1 - m^2)/\sqrt q + \lambda a, \qquad z = w \cdot v' = \beta c + \lambda q, \\
            q' &= q - 2\eta z + \eta^2 p', \qquad c' = z - \eta p', \qquad a' = a - \eta b'.

        Args:
            lr: as for :meth:`simulate`, and so are the others.
            decay: of the weights.
            momentum: of each setting.
            square: of the norm at the start.
            steps: how many.

        Returns:
            After every step, (settings, steps).
        """
        eta, lam, beta, q = _settings(lr, decay, momentum, square)
        p, c, a, b = np.zeros((4, eta.size))
        seen = np.empty((eta.size, checks.count("steps", steps)))
        for step in range(steps):
            root = np.sqrt(q)
            m = a / root
            pull = self.signal * (b - m * c / root) / root
            force = self.gradient_square(m) / q
            p = beta**2 * p + force + lam**2 * q + 2 * beta * (lam * c - pull)
            b = beta * b - self.signal * (1 - m**2) / root + lam * a
            z = beta * c + lam * q
            q, c, a = q - 2 * eta * z + eta**2 * p, z - eta * p, a - eta * b
            seen[:, step] = a / np.sqrt(q)
        return seen


def _settings(*arguments: ArrayLike) -> list[Floats]:
    ranges = {"lr": "(0, inf)", "decay": "[0, inf)", "momentum": "[0, 1)", "square": "(0, inf)"}
    given = zip(ranges.items(), arguments, strict=True)
    return checks.one_axis(**{name: checks.numbers(name, a, r) for (name, r), a in given})


def _cosine(w: Floats, other: Floats) -> Floats:
    product = (w * other).sum(-1)
    return np.asarray(product / np.sqrt((w * w).sum(-1) * (other * other).sum(-1)))
