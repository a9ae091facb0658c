"""What is looked at while a network trains: its loss, also at other weights than its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from flatter_lib import checks
from flatter_lib.vision.checks import alike
from flatter_lib.vision.objective import OutputLoss, half_squared_error

#: Images that pass through a network together.
CHUNK = 256


def mean_loss(
    network: nn.Module, inputs: Tensor, targets: Tensor, loss: OutputLoss = half_squared_error
) -> float:
    """The mean loss, in evaluation mode.

    Args:
        network: left in the mode it was in.
        inputs: (n, ...).
        targets: (n, K).
        loss: of outputs and targets, a mean over images.

    Raises:
        ValueError: if there are no inputs, or targets of another shape than the outputs.
    """
    checks.count("inputs", len(inputs))
    training = network.training
    network.eval()
    try:
        with torch.no_grad():
            outputs = torch.cat([network(part) for part in torch.split(inputs, CHUNK)])
    finally:
        network.train(training)
    alike("targets", targets, outputs)
    parts = zip(torch.split(outputs, CHUNK), torch.split(targets, CHUNK), strict=True)
    return sum(float(loss(f.to(y.dtype), y)) * len(f) for f, y in parts) / len(inputs)


@contextmanager
def weights_of(network: nn.Module, weights: Sequence[Tensor]) -> Iterator[None]:
    """Within it, the network has these weights instead of its own, and then its own again.

    Args:
        network: its buffers stay as they are.
        weights: in the order of its parameters, as `flatter_lib.vision.train.Training.mean_weights` gives them.

    Raises:
        ValueError: if their shapes are not those of the parameters.
    """
    own = [p.detach().clone() for p in network.parameters()]
    if [w.shape for w in weights] != [p.shape for p in own]:
        raise ValueError(
            "weights: must have the shapes of the network's parameters, in their order"
        )
    _copy(network, weights)
    try:
        yield
    finally:
        _copy(network, own)


def _copy(network: nn.Module, weights: Sequence[Tensor]) -> None:
    with torch.no_grad():
        for p, w in zip(network.parameters(), weights, strict=True):
            p.copy_(w)
