r"""The slow twins of the exact risk: the moment equations made step by step, and a simulation.

Both are written to be checked at a glance against the update

.. math:: m_{t+1} = \beta m_t + h \theta_t + \xi_t, \quad \theta_{t+1} = \theta_t - \alpha m_{t+1}, \quad
    \tilde\theta_{t+1} = \gamma \tilde\theta_t + (1 - \gamma) \theta_{t+1}

and for nothing else; the book and the tests hold :func:`flatter_lib.nqm.risk` to them.
"""

from __future__ import annotations

import numpy as np

from flatter_lib import checks
from flatter_lib.checks import Floats
from flatter_lib.nqm.exact import RANGES
from flatter_lib.nqm.spectrum import NoisyQuadratic


def second_moment(
    curvature: float,
    noise_variance: float,
    initial: float,
    steps: int,
    lr: float,
    momentum: float,
    averaging: float,
) -> float:
    r"""The second moment of one averaged weight after some steps, from that of the step before, and so on.

    Plain Python, so that :func:`numba.njit` can compile it for a million steps.

    Args:
        curvature: :math:`h`.
        noise_variance: :math:`c / B`, the variance of :math:`\xi`.
        initial: :math:`E[\theta_0^2]`.
        steps: how many.
        lr: :math:`\alpha`.
        momentum: :math:`\beta`.
        averaging: :math:`\gamma`.

    Returns:
        :math:`E[\tilde\theta_t^2]`.

    Examples:
        >>> second_moment(1.0, 1.0, initial=1.0, steps=1, lr=0.5, momentum=0.0, averaging=0.0)
        0.5
    """
    # E of the products of weight w, momentum buffer m and average a.
    ww, wm, mm = initial, 0.0, 0.0
    aw, am, aa = initial, 0.0, initial
    for _ in range(steps):
        # First m = momentum * m + curvature * w + noise,
        mm = momentum**2 * mm + 2 * momentum * curvature * wm + curvature**2 * ww + noise_variance
        wm = momentum * wm + curvature * ww
        am = momentum * am + curvature * aw
        # then w = w - lr * m,
        ww = ww - 2 * lr * wm + lr**2 * mm
        wm = wm - lr * mm
        aw = aw - lr * am
        # then a = averaging * a + (1 - averaging) * w.
        aa = averaging**2 * aa + 2 * averaging * (1 - averaging) * aw + (1 - averaging) ** 2 * ww
        aw = averaging * aw + (1 - averaging) * ww
        am = averaging * am + (1 - averaging) * wm
    return aa


def sampled_risk(
    model: NoisyQuadratic,
    steps: int,
    lr: float,
    batch_size: float,
    momentum: float = 0.0,
    averaging: float = 0.0,
    preconditioning: float = 0.0,
    *,
    runs: int,
    generator: np.random.Generator,
) -> Floats:
    r"""The losses at the end of some simulated runs, each from a start of its own.

    Args:
        model: the model; every multiplicity counts as that many times the loss of one weight, and a flat mode, which
            has no inverse power, is not preconditioned.
        steps: how many.
        lr: :math:`\alpha`.
        batch_size: :math:`B`.
        momentum: :math:`\beta`.
        averaging: :math:`\gamma`.
        preconditioning: :math:`p`.
        runs: how many.
        generator: where the starts and the noise come from.

    Returns:
        (runs,) losses, whose expectation is the risk.

    Raises:
        ValueError: if an argument is out of its range.

    Examples:
        >>> model = NoisyQuadratic([1.0], [1.0])
        >>> losses = sampled_risk(model, 9, 0.5, 1.0, runs=4000, generator=np.random.default_rng(0))
        >>> bool(abs(losses.mean() - 1 / 6) < 5 * losses.std() / 4000**0.5)
        True
    """
    settings = {"lr": lr, "batch_size": batch_size, "momentum": momentum, "averaging": averaging}
    for name, value in {**settings, "preconditioning": preconditioning}.items():
        checks.number(name, value, RANGES[name])
    shape = (checks.count("runs", runs), model.curvature.size)
    preconditioner = np.where(model.curvature > 0, model.curvature, 1.0) ** -preconditioning
    weight = np.sqrt(model.initial) * generator.standard_normal(shape)
    average, buffer = weight.copy(), np.zeros(shape)
    for _ in range(checks.count("steps", steps, 0)):
        noise = np.sqrt(model.noise / batch_size) * generator.standard_normal(shape)
        buffer = momentum * buffer + preconditioner * (model.curvature * weight + noise)
        weight = weight - lr * buffer
        average = averaging * average + (1 - averaging) * weight
    losses: Floats = 0.5 * average**2 @ (model.multiplicity * model.curvature)
    return losses
