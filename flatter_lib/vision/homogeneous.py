r"""Homogeneous networks as classifiers: their loss in log space, and their margins.

A network of L linear layers without biases, with :math:`\phi(z) = \max(z, \alpha z)` between them, is homogeneous of
degree L in its weights, :math:`f(c\,w, x) = c^L f(w, x)`. A bias of the first layer is a weight of one more input, 1.
Lyu & Li (2020, arXiv:1906.05890) study such networks where the loss is so small that only its logarithm is a number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.special import log_expit, logsumexp

from flatter_lib import checks
from flatter_lib.checks import Floats

#: One layer of every run each: (runs, outputs, inputs).
Weights = Sequence[Floats]
#: Above this :math:`e^{-q}` is added to 1 in vain, and the logarithm of the loss is the first terms of its series.
_FAR = 36.0


class Loss(NamedTuple):
    r"""The loss of every run where it is, in log space.

    Attributes:
        log: :math:`\ln S`, shape (runs,).
        gradient: of :math:`\ln S`, layer by layer: :math:`\nabla S / S`.
        radial: :math:`\nu / S = \langle w, -\nabla \ln S\rangle / L`, shape (runs,).
    """

    log: Floats
    gradient: list[Floats]
    radial: Floats


@dataclass(frozen=True, eq=False)
class Classification:
    r"""Inputs with labels, and the summed logistic loss or cross-entropy of homogeneous networks on them.

    .. math:: S(w) = \sum_n \ell(q_n), \qquad \ell(q) = \ln(1 + e^{-q}),

    where :math:`q_n = y_n f(x_n)` for labels -1 and 1 and one output, and
    :math:`q_n = -\ln \sum_{j \ne y_n} e^{f_j - f_{y_n}}` for classes 0, 1, ... and an output each: cross-entropy.

    Attributes:
        inputs: shape (n, d).
        labels: whole numbers, shape (n,).
        leak: :math:`\alpha`, in [0, 1]; 0 is ReLU, 1 a linear network.

    Raises:
        ValueError: for a leak out of its range, labels that are not one an input, or inputs that are no finite numbers.

    Examples:
        >>> task = Classification(np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([1, -1]), leak=0.5)
        >>> weights = [np.array([[[2.0, 0.0], [-2.0, 0.0]]]), np.array([[[2.0, -2.0]]])]
        >>> log = task.log_loss(weights).log
        >>> task.outputs(weights)[0, :, 0], log.round(3)
        (array([ 6., -6.]), array([-5.308]))
        >>> task.margin(weights), task.smoothed_margin(weights, log).round(3)
        (array([0.375]), array([0.332]))
    """

    inputs: Floats
    labels: NDArray[np.int64]
    leak: float = 0.0

    def __post_init__(self) -> None:
        checks.number("leak", self.leak, "[0, 1]")
        rows = checks.numbers("inputs", self.inputs)
        if rows.ndim != 2 or self.labels.shape != rows.shape[:1]:
            shapes = f"{self.labels.shape} and {rows.shape}"
            raise ValueError(f"labels: must be one for each row of inputs, got shapes {shapes}")

    def outputs(self, weights: Weights) -> Floats:
        """f, shape (runs, n, outputs)."""
        return self._forward(weights)[-1]

    def log_loss(self, weights: Weights) -> Loss:
        """The logarithm of the summed loss and its gradient, finite however small the loss is."""
        layers = self._forward(weights)
        q, slopes = self._soft(layers[-1])
        each = np.where(q > _FAR, -q, np.log(np.logaddexp(0, -np.minimum(q, _FAR))))
        log = logsumexp(each, axis=1)
        back = -slopes * np.exp(log_expit(-q) - log[:, None])[..., None]
        gradient = []
        for before, layer in zip(layers[-2::-1], weights[::-1], strict=True):
            gradient.append(back.mT @ before)
            if before is not self.inputs:
                back = (back @ layer) * np.where(before > 0, 1.0, self.leak)
        gradient.reverse()
        radial = -inner(weights, gradient) / len(weights)
        return Loss(log, gradient, radial)

    def margin(self, weights: Weights) -> Floats:
        r"""The normalized margin :math:`\min_n (f_{y_n} - \max_{j \ne y_n} f_j) / |w|^L`, shape (runs,)."""
        f = self.outputs(weights)
        if f.shape[-1] == 1:
            q = f[..., 0] * self.labels
        else:
            own = self._own(f)
            q = f[:, own] - np.where(own, -np.inf, f).max(-1)
        least: Floats = q.min(axis=1)
        return least / norm(weights) ** len(weights)

    def smoothed_margin(self, weights: Weights, log: Floats) -> Floats:
        r""":math:`\ell^{-1}(S) / |w|^L`, shape (runs,), where ``log`` is :math:`\ln S`."""
        return inverse_loss(log) / norm(weights) ** len(weights)

    def _forward(self, weights: Weights) -> list[Floats]:
        layers = [self.inputs]
        for layer in weights[:-1]:
            z = layers[-1] @ layer.mT
            layers.append(np.maximum(z, self.leak * z))
        return [*layers, layers[-1] @ weights[-1].mT]

    def _own(self, f: Floats) -> NDArray[np.bool_]:
        own: NDArray[np.bool_] = np.arange(f.shape[-1]) == self.labels[:, None]
        return own

    def _soft(self, f: Floats) -> tuple[Floats, Floats]:
        """q, shape (runs, n), and its slopes in f, shape (runs, n, outputs)."""
        if f.shape[-1] == 1:
            y = self.labels.astype(np.float64)
            return f[..., 0] * y, np.broadcast_to(y[:, None], f.shape)
        own = self._own(f)
        others = np.where(own, -np.inf, f)
        total = logsumexp(others, axis=-1)
        return f[:, own] - total, own - np.exp(others - total[..., None])


def inner(a: Weights, b: Weights) -> Floats:
    """The inner product of all weights of every run, shape (runs,)."""
    total: Floats = np.sum([(x * y).sum((1, 2)) for x, y in zip(a, b, strict=True)], axis=0)
    return total


def norm(weights: Weights) -> Floats:
    """The length of all weights of every run together, shape (runs,)."""
    return np.sqrt(inner(weights, weights))


def inverse_loss(log: Floats) -> Floats:
    r""":math:`\ell^{-1}(S) = -\ln(e^S - 1)` of :math:`\ln S`: positive from :math:`S < \ln 2` on.

    Examples:
        >>> inverse_loss(np.log(np.array([np.log(2.0), np.log1p(np.exp(-3.0))]))).round(12) + 0.0
        array([0., 3.])
        >>> inverse_loss(np.array([-1000.0]))
        array([1000.])
    """
    near = np.maximum(log, -_FAR)
    return np.where(log < -_FAR, -log, -near - np.log(np.expm1(np.exp(near)) / np.exp(near)))


def descend(
    task: Classification,
    weights: Weights,
    step: Callable[[Weights, Loss], Floats],
    steps: int,
    momentum: float = 0.0,
) -> Iterator[tuple[list[Floats], Loss]]:
    r"""Heavy ball on S, :math:`v_k = \beta v_{k-1} + \nabla S_k`, :math:`w_{k+1} = w_k - \eta_k v_k`, in log space.

    What is kept is :math:`v_k / S_k`, and ``step`` gives :math:`\eta_k S_k`, both of which are of ordinary size.

    Args:
        task: whose loss it is.
        weights: the start.
        step: :math:`\eta_k S_k` of every run, shape (runs,), from weights and loss.
        steps: how many.
        momentum: :math:`\beta`, in [0, 1).

    Yields:
        Weights and loss before each step, and at the end: ``steps`` + 1 in all.

    Raises:
        ValueError: for a momentum or a number of steps out of its range.
    """
    checks.number("momentum", momentum, "[0, 1)")
    checks.count("steps", steps)
    here, at = list(weights), task.log_loss(weights)
    velocity = [np.zeros_like(layer) for layer in here]
    for _ in range(steps):
        yield here, at
        velocity = [momentum * v + g for v, g in zip(velocity, at.gradient, strict=True)]
        here = _moved(here, velocity, step(here, at))
        last, at = at.log, task.log_loss(here)
        velocity = [v * np.exp(last - at.log)[:, None, None] for v in velocity]
    yield here, at


def descend_by_loss(
    task: Classification, weights: Weights, steps: int
) -> Iterator[tuple[list[Floats], Loss]]:
    r"""Gradient descent with the step :math:`\eta = a/S`, where a, from 0.1, grows for as long as the loss falls.

    A step that raises the loss is not taken. After one that is, a becomes :math:`2^{1/5} a`, else :math:`2^{-1/10} a`:
    the rule of the public code for arXiv:1906.05890, which asks once an epoch; here an epoch is a step.

    Args:
        task: whose loss it is.
        weights: the start.
        steps: how many are tried.

    Yields:
        Weights and loss before each trial, and at the end.

    Raises:
        ValueError: for no steps.
    """
    checks.count("steps", steps)
    here, at = list(weights), task.log_loss(weights)
    rate = np.full(len(at.log), 0.1)
    for _ in range(steps):
        yield here, at
        there = _moved(here, at.gradient, rate)
        new = task.log_loss(there)
        fell = new.log < at.log
        here = _chosen(fell, there, here)
        at = Loss(
            np.where(fell, new.log, at.log),
            _chosen(fell, new.gradient, at.gradient),
            np.where(fell, new.radial, at.radial),
        )
        rate = np.where(fell, rate * 2**0.2, rate / 2**0.1)
    yield here, at


def best_two_layer(task: Classification, directions: int = 720) -> Weights:
    r"""Of all networks of two layers on inputs in the plane, one whose normalized margin is largest.

    With unit vectors u and :math:`c = |a||w|` of each unit, :math:`|w|^2 \ge 2 \sum c`, and the margin's maximum is
    the linear program of least :math:`\sum c` with :math:`y_n \sum_u \pm c_u \phi(u \cdot x_n) \ge 1`: convex, so that
    it is the global one, of every width. With a leak of 1 it is half the margin of the best line.

    Args:
        task: inputs of shape (n, 2), labels -1 and 1.
        directions: u tried, equally spaced; the margin errs downwards, by their spacing squared.

    Returns:
        The weights of one run, balanced.

    Raises:
        RuntimeError: if no network has all labels right.

    Examples:
        >>> corners = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
        >>> task = Classification(corners, np.array([1, 1, -1, -1]), leak=0.5)
        >>> task.margin(best_two_layer(task)).round(6)  # (1 + leak) / 4 times the margin of a line
        array([0.375])
    """
    angles = np.arange(directions) * 2 * np.pi / directions
    u = np.column_stack([np.cos(angles), np.sin(angles)])
    z = task.inputs @ u.T
    rows = np.maximum(z, task.leak * z) * task.labels[:, None]
    rows = np.hstack([rows, -rows])
    found = linprog(np.ones(rows.shape[1]), A_ub=-rows, b_ub=-np.ones(len(rows)))
    if not found.success:
        raise RuntimeError(f"no network of two layers found: {found.message}")
    c = np.asarray(found.x)
    used = np.flatnonzero(c > 1e-12 * c.max())
    root = np.sqrt(c[used])
    outer = np.where(used < directions, root, -root)
    return [(root[:, None] * u[used % directions])[None], outer[None, None]]


def _moved(weights: Weights, along: Weights, rate: Floats) -> list[Floats]:
    return [w - rate[:, None, None] * g for w, g in zip(weights, along, strict=True)]


def _chosen(which: NDArray[np.bool_], these: Weights, those: Weights) -> list[Floats]:
    return [np.where(which[:, None, None], a, b) for a, b in zip(these, those, strict=True)]
