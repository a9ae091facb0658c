r"""The scaling rule: momentum that follows the step size, and the prefactor that a known-good pair implies."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from flatter_lib import checks
from flatter_lib.heavy_ball.modes import Elementwise


def scaled_momentum(
    lr: ArrayLike, prefactor: ArrayLike = 1.0, exponent: ArrayLike = 2 / 3
) -> Elementwise:
    r"""Momentum that follows the step size: :math:`\beta = 1 - C \eta^\gamma`.

    The rule of Cowsik et al. (2022) is :math:`\gamma = 2/3`. It equates the transverse time
    :math:`1/(1-\beta)` with the longitudinal one :math:`((1-\beta)/(\eta\varepsilon))^2`, so that
    :math:`C \sim \varepsilon^{2/3}` for noise of strength :math:`\varepsilon`.

    Args:
        lr: step size :math:`\eta > 0`.
        prefactor: :math:`C > 0`.
        exponent: :math:`\gamma`, any finite number.

    Returns:
        The momentum :math:`\beta`, float64, in [0, 1).

    Raises:
        ValueError: if the step size or the prefactor is not positive and finite, the exponent is not finite, or
            :math:`\beta` leaves [0, 1) (also by rounding to 1).

    Examples:
        >>> print(scaled_momentum(1e-3).round(12))
        0.99
        >>> scaled_momentum([0.01, 0.04], prefactor=2.0, exponent=0.5)
        array([0.8, 0.6])
    """
    step = checks.numbers("lr", lr, "(0, inf)")
    scale = checks.numbers("prefactor", prefactor, "(0, inf)")
    power = checks.numbers("exponent", exponent)
    with np.errstate(over="ignore"):
        momentum = 1.0 - scale * step**power
    allowed = (momentum >= 0) & (momentum < 1)
    if not np.all(allowed):
        worst = np.broadcast_to(step, np.shape(momentum))[~allowed].flat[0]
        raise ValueError(
            f"lr: 1 - prefactor * lr**exponent must lie in [0, 1), and does not at lr={worst:g}; "
            "change the step size, the prefactor or the exponent"
        )
    return momentum


def calibrate(lr: ArrayLike, momentum: ArrayLike, exponent: ArrayLike = 2 / 3) -> Elementwise:
    r"""Prefactor with which the rule passes through a known-good pair: :math:`C = (1 - \beta) / \eta^\gamma`.

    The inverse of :func:`scaled_momentum` at one point. Cowsik et al. (2022) leave :math:`C` open; a pair that trains
    well measures it, with the strength of the noise in it.

    Args:
        lr: step size :math:`\eta > 0` of the pair; a number, or a list, tuple, array or tensor of them.
        momentum: its momentum :math:`\beta \in [0, 1)`, likewise.
        exponent: :math:`\gamma`, any finite number.

    Returns:
        The prefactor :math:`C`, float64, positive and finite.

    Raises:
        ValueError: if an argument is out of its range, or the step size so small or large that :math:`C` overflows or
            vanishes.

    Examples:
        >>> print(calibrate(0.001, 0.99).round(12))
        1.0
        >>> print(scaled_momentum(0.0125, calibrate(0.1, 0.9)).round(12))
        0.975
    """
    step = checks.numbers("lr", plain(lr), "(0, inf)")
    beta = checks.numbers("momentum", plain(momentum), "[0, 1)")
    power = checks.numbers("exponent", plain(exponent))
    with np.errstate(over="ignore", under="ignore", divide="ignore"):
        prefactor = (1.0 - beta) / step**power
    if not np.all((prefactor > 0) & np.isfinite(prefactor)):
        raise ValueError("lr: (1 - momentum) / lr**exponent must be positive and finite")
    return prefactor


def plain(value: Any) -> Any:
    """What NumPy understands of a tensor on whatever device, in whatever precision, with a gradient or without."""
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return value.tolist() if hasattr(value, "tolist") else value
