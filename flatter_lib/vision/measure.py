r"""What is looked at while a network trains, and when: loss, accuracy, Tr H with its error, the steepest direction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from flatter_lib import checks
from flatter_lib.curvature import (
    TraceEstimate,
    gauss_newton_top_eigenvalue,
    gauss_newton_trace_estimate,
)
from flatter_lib.vision.checks import alike, classes
from flatter_lib.vision.inputs import Inputs
from flatter_lib.vision.objective import half_squared_error
from flatter_lib.vision.train import Loss

#: Images that pass through a network together.
CHUNK = 256


class Look(NamedTuple):
    """What was seen of a network at one time.

    Attributes:
        loss: on clean training targets.
        accuracy: on the test images, as a share.
        trace: Tr G of the training loss, with its standard error.
        top: largest eigenvalue of G; None if it was not asked for.
    """

    loss: float
    accuracy: float
    trace: TraceEstimate
    top: float | None


def log_spaced(last: int, per_decade: int = 10) -> list[int]:
    """Steps at which to look: 0, 1, ... to the last, each about the same factor after the one before.

    Args:
        last: at least 1.
        per_decade: looks between a step and ten times it.

    Raises:
        ValueError: if a number is below 1.

    Examples:
        >>> log_spaced(100, per_decade=4)
        [0, 1, 2, 3, 6, 10, 18, 32, 56, 100]
    """
    checks.count("last", last)
    checks.count("per_decade", per_decade)
    count = int(np.ceil(np.log10(last) * per_decade)) + 1
    times = np.geomspace(1, last, max(count, 1)).round().astype(int)
    return sorted({0, last, *times.tolist()})


def mean_loss(
    network: nn.Module, inputs: Tensor, targets: Tensor, loss: Loss = half_squared_error
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
    outputs = _outputs(network, inputs)
    alike("targets", targets, outputs)
    parts = zip(torch.split(outputs, CHUNK), torch.split(targets, CHUNK), strict=True)
    return sum(float(loss(f.to(y.dtype), y)) * len(f) for f, y in parts) / len(inputs)


def accuracy(network: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Share of the inputs whose largest output is that of their label, in evaluation mode.

    Args:
        network: left in the mode it was in.
        inputs: (n, ...).
        labels: int64, (n,).

    Raises:
        ValueError: if there are no inputs, or the labels are not one whole number an input.
    """
    classes("labels", labels, inputs)
    return int((_outputs(network, inputs).argmax(-1) == labels).sum()) / len(inputs)


def look(
    network: nn.Module,
    data: Inputs,
    *,
    probes: int,
    seed: int,
    images: int | None = None,
    top: bool = False,
) -> Look:
    r"""Look at a network, in evaluation mode.

    The trace is that of G, by random signs on the outputs: where every target is fitted it is Tr H, and with ReLU and
    no normalisation it is Tr H anywhere (`flatter_lib.curvature`). The same seed gives the same signs.

    Args:
        network: left in the mode it was in.
        data: training and test images.
        probes: of the trace.
        seed: of the probes.
        images: how many training images curvature is taken over, the first; None for all.
        top: whether the largest eigenvalue of G is wanted too.

    Raises:
        ValueError: for fewer than 2 probes, or not as many images.
    """
    if images is not None:
        checks.count("images", images, most=len(data.x))
    x = data.x[:images]
    generator = np.random.default_rng(checks.count("seed", seed, 0))
    with _evaluated(network):
        return Look(
            mean_loss(network, data.x, data.targets),
            accuracy(network, data.x_test, data.labels_test),
            gauss_newton_trace_estimate(
                network, x, probes=probes, generator=generator, chunk=CHUNK
            ),
            gauss_newton_top_eigenvalue(network, dict(network.named_parameters()), x)
            if top
            else None,
        )


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


def _outputs(network: nn.Module, inputs: Tensor) -> Tensor:
    checks.count("inputs", len(inputs))
    with _evaluated(network), torch.no_grad():
        return torch.cat([network(part) for part in torch.split(inputs, CHUNK)])


@contextmanager
def _evaluated(network: nn.Module) -> Iterator[None]:
    before = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(before)
