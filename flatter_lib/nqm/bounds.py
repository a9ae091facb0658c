r"""Bounds on the risk: the paper's from above, and what no optimizer can go below."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from flatter_lib import heavy_ball
from flatter_lib.checks import Floats
from flatter_lib.nqm.exact import Elementwise, flat, risk
from flatter_lib.nqm.spectrum import NoisyQuadratic


def risk_bound(
    model: NoisyQuadratic,
    steps: ArrayLike,
    lr: ArrayLike,
    batch_size: ArrayLike,
    momentum: ArrayLike = 0.0,
    averaging: ArrayLike = 0.0,
    preconditioning: ArrayLike = 0.0,
) -> Elementwise:
    r"""The upper bounds of Theorems 1 and 2 of Zhang et al. (2019): the noise of infinitely many steps counts at once.

    Equation (6) bounds the risk with momentum, equation (12) that of the average, and equation (9) that of
    preconditioned SGD, mode by mode:

    .. math:: D(t)^2\, E[\ell(\theta(0))] + \frac{\alpha c}{2 B (2 - \alpha h)} \cdot f,

    where with momentum, and averaged,

    .. math:: f = \frac{(1 + \beta)(2 - \alpha h)}{(2 (1 + \beta) - \alpha h)(1 - \beta)},

    .. math:: f = \frac{(1 - \gamma)(1 + (1 - \alpha h) \gamma)}{(1 + \gamma)(1 - (1 - \alpha h)\gamma)} .

    The first part is that of :func:`flatter_lib.nqm.risk`; the second is its stationary value, from which the exact
    noise of t steps is short by what falls like :math:`D(t)^2`.

    Args:
        model: the model.
        steps: :math:`t`, whole numbers from 0.
        lr: :math:`\alpha \ge 0`.
        batch_size: :math:`B > 0`; inf leaves no noise.
        momentum: :math:`\beta \in [0, 1)`.
        averaging: :math:`\gamma \in [0, 1)`; 0 wherever there is momentum.
        preconditioning: :math:`p \in [0, 1]`.

    Returns:
        The bound, float64, of the broadcast shape of all arguments; inf where a mode with noise is not stable.

    Raises:
        ValueError: if an argument is out of its range, or a setting has both momentum and averaging, for which the
            paper has no bound.

    Examples:
        >>> model = NoisyQuadratic(curvature=[1.0], noise=[1.0])
        >>> print(risk_bound(model, steps=[0, 1], lr=0.5, batch_size=1).round(6))
        [0.666667 0.291667]
    """
    shape, (count, rate, batch, beta, gamma, power) = flat(
        steps=steps,
        lr=lr,
        batch_size=batch_size,
        momentum=momentum,
        averaging=averaging,
        preconditioning=preconditioning,
    )
    if np.any((beta > 0) & (gamma > 0)):
        raise ValueError(
            "averaging: must be 0 wherever momentum is not; the paper bounds one or the other"
        )
    result = np.asarray(risk(model, count, rate, np.inf, beta, gamma, power))
    settings = np.stack([rate, batch, beta, gamma, power], axis=-1)
    distinct, which = np.unique(settings, axis=0, return_inverse=True)
    stationary = np.array([_stationary_risk(model, *setting) for setting in distinct.tolist()])
    return (result + stationary[which]).reshape(shape)[()]


def _stationary_risk(
    model: NoisyQuadratic, lr: float, batch: float, beta: float, gamma: float, power: float
) -> float:
    """The risk that noise sustains after infinitely many steps."""
    model = model.preconditioned(power)
    share = 0.5 * model.multiplicity * model.curvature
    noisy = share * model.noise > 0
    if lr == 0.0 or np.isinf(batch) or not noisy.any():
        return 0.0
    curvature, noise = model.curvature[noisy], model.noise[noisy] / batch
    variance = heavy_ball.stationary_variance(lr, beta, curvature, noise)
    if gamma > 0.0 and np.isfinite(variance).all():
        root = 1.0 - lr * curvature
        # 1 - root * gamma, which cancels as it stands.
        short = (1.0 - gamma) + lr * curvature * gamma
        variance = variance * (1.0 - gamma) / (1.0 + gamma) * (1.0 + root * gamma) / short
    return float(share[noisy] @ variance)


def information_bound(
    model: NoisyQuadratic, steps: ArrayLike, batch_size: ArrayLike
) -> Elementwise:
    r"""The risk of the maximum likelihood estimator after :math:`N = B t` queries of the gradient.

    .. math:: \tfrac12 \sum_i m_i \frac{c_i}{h_i N}, \qquad \text{for } C = H\text{: } \frac{d}{2N}

    (section 3.6 of Zhang et al., 2019). A query at any point tells the minimum with variance :math:`c/h^2`, so with
    Gaussian noise no *unbiased* estimate has less risk. One that makes use of where the start may be can have less:
    :func:`bayes_risk`.

    Args:
        model: the model; flat modes carry no risk.
        steps: :math:`t`, whole numbers from 0.
        batch_size: :math:`B > 0`.

    Returns:
        The bound, float64, of the broadcast shape; inf before the first step.

    Raises:
        ValueError: if an argument is out of its range.

    Examples:
        >>> print(information_bound(NoisyQuadratic.power_law(dimension=100), steps=50, batch_size=4))
        0.25
    """
    queries = _queries(steps, batch_size)
    steep = model.curvature > 0
    shares = 0.5 * model.multiplicity[steep] * model.noise[steep] / model.curvature[steep]
    with np.errstate(divide="ignore"):
        return shares.sum() / queries if shares.any() else np.zeros_like(queries)[()]


def bayes_risk(model: NoisyQuadratic, steps: ArrayLike, batch_size: ArrayLike) -> Elementwise:
    r"""The least risk that any optimizer can have, on average over Gaussian starts and Gaussian noise.

    Relative to the start, the minimum is drawn from :math:`N(0, \sigma_i^2)` with :math:`\sigma_i^2` the model's
    ``initial``, for the paper :math:`N(0, I)`. A query tells it with variance :math:`c/h^2`; after :math:`N = B t` of
    them, wherever they were made, its posterior variance is :math:`1/(\sigma_i^{-2} + N h_i^2 / c_i)`, and

    .. math:: R = \tfrac12 \sum_i m_i \frac{h_i}{\sigma_i^{-2} + N h_i^2 / c_i}

    is the risk of the posterior mean, which no other estimate beats. It is below :func:`information_bound` throughout,
    and approaches it once N is large enough for the flattest modes to be known.

    Args:
        model: the model.
        steps: :math:`t`, whole numbers from 0.
        batch_size: :math:`B > 0`.

    Returns:
        The risk, float64, of the broadcast shape; without steps the initial risk.

    Raises:
        ValueError: if an argument is out of its range.

    Examples:
        >>> model = NoisyQuadratic(curvature=[1.0], noise=[1.0])
        >>> print(bayes_risk(model, steps=[0, 1, 9], batch_size=1))
        [0.5  0.25 0.05]
    """
    queries = np.asarray(_queries(steps, batch_size))[..., None]
    kept = (model.curvature > 0) & (model.initial > 0)
    h, c, start, count = (
        array[kept] for array in (model.curvature, model.noise, model.initial, model.multiplicity)
    )
    # The posterior variance in units of the prior's: exactly 1 without queries, and 0 after one without noise.
    told = queries * h * h * start
    left = np.divide(c, c + told, out=np.ones(told.shape), where=told > 0)
    return (0.5 * (left * (count * h * start)).sum(axis=-1))[()]


def _queries(steps: ArrayLike, batch_size: ArrayLike) -> Floats:
    """How many queries of the gradient have been made."""
    shape, (count, batch) = flat(steps=steps, batch_size=batch_size)
    queries: Floats = np.multiply(count, batch, out=np.zeros(count.shape), where=count > 0)
    return queries.reshape(shape)
