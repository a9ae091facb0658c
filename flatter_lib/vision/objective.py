"""What a network is judged by: squared loss, cross-entropy, accuracy, and any quantity of many runs at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call

from flatter_lib.vision.checks import alike
from flatter_lib.vision.networks import unflatten

Parameters = Mapping[str, Tensor]
#: Of a network's parameters, inputs and targets; and of its outputs and targets.
Loss = Callable[[Parameters, Tensor, Tensor], Tensor]
OutputLoss = Callable[[Tensor, Tensor], Tensor]


def half_squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    r""":math:`\frac{1}{2B} \sum_i |f_i - y_i|^2`, the squared loss of the book, of outputs (B, K).

    Raises:
        ValueError: if the targets have another shape, or are integers.

    Examples:
        >>> half_squared_error(torch.zeros(4, 2), torch.ones(4, 2)).item()
        1.0
    """
    alike("targets", targets, outputs)
    residual = outputs - targets
    return 0.5 * (residual * residual).sum() / len(outputs)


def squared_loss(
    network: nn.Module, parameters: Parameters, inputs: Tensor, targets: Tensor
) -> Tensor:
    r"""Half the squared error of an input, averaged over the inputs: :math:`\frac{1}{2n} \sum_i |f(x_i) - y_i|^2`.

    Args:
        network: maps (n, components) to (n, outputs).
        parameters: its named parameters.
        inputs: shape (n, components).
        targets: shape (n, outputs).

    Returns:
        A scalar.

    Raises:
        ValueError: as for `half_squared_error`.
    """
    outputs: Tensor = functional_call(network, dict(parameters), (inputs,))
    return half_squared_error(outputs, targets)


def cross_entropy(
    network: nn.Module, parameters: Parameters, inputs: Tensor, targets: Tensor
) -> Tensor:
    r"""The cross-entropy, averaged over the inputs: :math:`-\frac1n \sum_{i,k} y_{ik} \log \pi_{ik}`.

    Args:
        network: maps (n, components) to (n, outputs), whose softmax is :math:`\pi`.
        parameters: its named parameters.
        inputs: shape (n, components).
        targets: probabilities of the classes, shape (n, outputs).

    Returns:
        A scalar; at its least it is the entropy of the targets.

    Raises:
        ValueError: if the targets have another shape than the outputs.

    Examples:
        >>> network, x = nn.Linear(1, 4), torch.zeros(3, 1)
        >>> at = {"weight": torch.zeros(4, 1), "bias": torch.zeros(4)}
        >>> round(cross_entropy(network, at, x, torch.full((3, 4), 0.25)).exp().item(), 4)
        4.0
    """
    outputs: Tensor = functional_call(network, dict(parameters), (inputs,))
    alike("targets", targets, outputs)
    return -(targets * outputs.log_softmax(-1)).sum() / len(outputs)


def accuracy(network: nn.Module, parameters: Parameters, inputs: Tensor, labels: Tensor) -> Tensor:
    """Share of the inputs whose largest output is that of their label.

    Args:
        network: maps (n, components) to (n, outputs).
        parameters: its named parameters.
        inputs: shape (n, components).
        labels: integer classes, shape (n,).

    Returns:
        A float64 scalar.

    Raises:
        ValueError: if the labels are not one whole number an input.
    """
    if labels.shape != inputs.shape[:1] or labels.is_floating_point():
        raise ValueError(
            f"labels: must be whole numbers of shape ({len(inputs)},), one an input, "
            f"got {labels.dtype} of shape {tuple(labels.shape)}"
        )
    outputs: Tensor = functional_call(network, dict(parameters), (inputs,))
    return (outputs.argmax(-1) == labels).double().mean()


def evaluate(
    network: nn.Module, weights: Tensor, quantity: Callable[[Parameters], Tensor]
) -> NDArray[np.float64]:
    """A quantity of every run, one run after another, so that no more memory is needed than for one.

    Args:
        network: gives the parameters their names and shapes.
        weights: shape (R, P).
        quantity: maps named parameters to a scalar.

    Returns:
        float64, shape (R,).

    Examples:
        >>> network = nn.Sequential(nn.Linear(1, 1))
        >>> weights = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
        >>> evaluate(network, weights, lambda parameters: parameters["0.bias"].sum())
        array([2., 4.])
    """
    with torch.no_grad():
        values = [float(quantity(unflatten(network, w))) for w in weights]
    return np.array(values)
