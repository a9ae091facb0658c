r"""The noisy quadratic model: a spectrum of curvatures, the gradient noise in each mode, and where training begins."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from flatter_lib import checks
from flatter_lib.checks import Floats


@dataclass(frozen=True, eq=False)
class NoisyQuadratic:
    r"""A convex quadratic whose gradient is seen with noise of the same eigenvectors.

    The loss is :math:`L(\theta) = \tfrac12 \sum_i m_i h_i \theta_i^2`, a query of its gradient is
    :math:`h_i \theta_i + \epsilon_i` with independent :math:`\epsilon_i` of zero mean and variance :math:`c_i`, and the
    mean of :math:`B` queries has noise of variance :math:`c_i / B` (section 3.1 of Zhang et al., 2019,
    arXiv:1907.04164). Modes that are alike are given once, with their number :math:`m_i`, which need not be whole: it
    is the weight of a quadrature node too. Every array is one-dimensional, float64 and read-only.

    Args:
        curvature: :math:`h_i \ge 0`. A flat mode (0) carries no risk.
        noise: :math:`c_i \ge 0`, the variance of one gradient query.
        multiplicity: :math:`m_i \ge 0`, how many modes are like this one.
        initial: :math:`E[\theta_i(0)^2] \ge 0`; 1 is the paper's start from N(0, I).

    Raises:
        ValueError: if an argument is negative, infinite or no number, or if the shapes do not broadcast to one axis.

    Examples:
        >>> model = NoisyQuadratic(curvature=[1.0, 0.1], noise=[1.0, 0.1], multiplicity=[1, 9])
        >>> print(model.dimension, model.curvature.sum())
        10.0 1.1
    """

    curvature: Floats
    noise: Floats
    multiplicity: Floats = field(default_factory=lambda: np.ones(1))
    initial: Floats = field(default_factory=lambda: np.ones(1))

    def __init__(
        self,
        curvature: ArrayLike,
        noise: ArrayLike,
        multiplicity: ArrayLike = 1.0,
        initial: ArrayLike = 1.0,
    ) -> None:
        given = {
            "curvature": curvature,
            "noise": noise,
            "multiplicity": multiplicity,
            "initial": initial,
        }
        arrays = {name: checks.numbers(name, value, "[0, inf)") for name, value in given.items()}
        for name, array in zip(arrays, checks.one_axis(**arrays), strict=True):
            kept = np.array(array)
            kept.flags.writeable = False
            object.__setattr__(self, name, kept)

    @classmethod
    def power_law(
        cls, dimension: int = 10_000, exponent: float = 1.0, nodes: int | None = None
    ) -> NoisyQuadratic:
        r"""The paper's model: :math:`h_i = i^{-s}` for :math:`i = 1, \dots, d`, with :math:`C = H`, from N(0, I).

        Section 3.5 of Zhang et al. (2019) has :math:`d = 10^4` and :math:`s = 1`. They round the curvatures into 100
        bins. Here the spectrum is exact by default; with ``nodes`` half of them are the leading modes themselves, and
        the others are Gauss-Legendre nodes in :math:`\log i` for the sum over the rest, which the midpoint rule turns
        into an integral from half an index below to half an index above.

        Args:
            dimension: :math:`d`, the number of modes, a whole number from 1.
            exponent: :math:`s \ge 0`.
            nodes: how many modes stand for the spectrum, a whole number from 2; None, or as many as there are modes,
                keeps every mode.

        Returns:
            The model.

        Raises:
            ValueError: if an argument is out of its range.

        Examples:
            >>> exact, quick = NoisyQuadratic.power_law(), NoisyQuadratic.power_law(nodes=100)
            >>> print(exact.curvature.size, quick.curvature.size, round(quick.dimension, 6))
            10000 100 10000.0
            >>> print(round(quick.multiplicity @ quick.curvature / exact.curvature.sum() - 1, 5))
            0.0
        """
        count = checks.count("dimension", dimension)
        power = checks.number("exponent", exponent, "[0, inf)")
        if nodes is None or checks.count("nodes", nodes, 2) >= count:
            index, weight = np.arange(1.0, count + 1.0), np.ones(count)
        else:
            index, weight = _quadrature(count, nodes)
        curvature = index**-power
        return cls(curvature, curvature, weight)

    @property
    def dimension(self) -> float:
        """The number of modes, each counted with its multiplicity."""
        return float(self.multiplicity.sum())

    def preconditioned(self, power: float) -> NoisyQuadratic:
        r"""The model in which plain steps do what steps preconditioned by :math:`P = H^p` do here.

        With :math:`\tilde\theta = P^{1/2} \theta` it has curvature :math:`h^{1-p}`, noise :math:`c h^{-p}` and start
        :math:`h^p E[\theta(0)^2]` (section 3.3 of Zhang et al., 2019); every risk is the same. A flat mode has no
        inverse power, carries no risk either way, and stays as it is.

        Args:
            power: :math:`p` in [0, 1].

        Returns:
            The model for plain steps.

        Raises:
            ValueError: if the power is out of its range.

        Examples:
            >>> NoisyQuadratic(curvature=[0.25], noise=[1.0]).preconditioned(0.5).curvature
            array([0.5])
        """
        p = checks.number("preconditioning", power, "[0, 1]")
        if p == 0:
            return self
        scale = np.where(self.curvature > 0, self.curvature, 1.0) ** p
        return NoisyQuadratic(
            self.curvature / scale, self.noise / scale, self.multiplicity, self.initial * scale
        )


def _quadrature(count: int, nodes: int) -> tuple[Floats, Floats]:
    """Indices and weights whose weighted sum stands for the sum over the indices 1 to count."""
    kept = nodes // 2
    leading = np.arange(1.0, kept + 1.0)
    points, weights = np.polynomial.legendre.leggauss(nodes - kept)
    low, high = np.log(kept + 0.5), np.log(count + 0.5)
    rest = np.exp(low + 0.5 * (high - low) * (points + 1.0))
    index = np.concatenate([leading, rest])
    return index, np.concatenate([np.ones(kept), 0.5 * (high - low) * weights * rest])
