"""What is looked at while a network trains: its loss, also at other weights, and its filters' curvature."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from flatter_lib import checks
from flatter_lib.curvature import TraceEstimate
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


def filter_trace_estimate(
    network: nn.Module, inputs: Tensor, *, probes: int, generator: np.random.Generator
) -> TraceEstimate:
    r"""An estimate of the trace of G over a network's filters, each measured in units of its own norm.

    A filter in front of a normalisation can be multiplied by any number and no output changes; its share of Tr G goes
    with the inverse square of that number. What stays is

    .. math:: \sum_u |u|^2 \operatorname{Tr} G_{uu} = \frac1n E \sum_u |u|^2
        \Bigl| \sum_{i,k} z_{ik} \nabla_u f_{ik} \Bigr|^2

    over the filters u, one for each output channel of each convolution, with random signs z as in
    `flatter_lib.curvature.gauss_newton_trace_estimate`.

    Args:
        network: in evaluation mode, if it has batch normalisation.
        inputs: shape (n, channels, height, width).
        probes: how many z, at least 2.
        generator: of the signs.

    Returns:
        The estimate with its standard error.

    Raises:
        ValueError: for fewer than 2 probes, no inputs, or a network without convolutions.

    Examples:
        >>> network = nn.Conv2d(1, 1, 1, bias=False)
        >>> _ = nn.init.constant_(network.weight, 3.0)
        >>> x = torch.full((1, 1, 1, 1), 2.0)
        >>> filter_trace_estimate(network, x, probes=2, generator=np.random.default_rng(0))
        TraceEstimate(value=36.0, error=0.0)
    """
    checks.count("probes", probes, 2)
    checks.count("inputs", len(inputs))
    filters = [p for p in network.parameters() if p.ndim == 4]
    if not filters:
        raise ValueError("network: must have convolutions, and has none")
    totals = [[torch.zeros_like(p) for p in filters] for _ in range(probes)]
    for part in torch.split(inputs, CHUNK):
        outputs = network(part)
        drawn = generator.integers(2, size=(probes, *outputs.shape), dtype=np.int8)
        for signs, total in zip(torch.from_numpy(2 * drawn - 1).to(outputs), totals, strict=True):
            gradients = torch.autograd.grad(outputs, filters, signs, retain_graph=True)
            torch._foreach_add_(total, gradients)

    def squares(tensors: Sequence[Tensor]) -> Tensor:
        """The square of each filter's norm."""
        return torch.cat([t.detach().flatten(1).double().square().sum(1) for t in tensors])

    norms = squares(filters)
    values = torch.stack([norms @ squares(total) for total in totals]) / len(inputs)
    return TraceEstimate(float(values.mean()), float(values.std()) / probes**0.5)


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
