"""A thin residual network as a configuration has it, with its optimizer, and how it is judged when it is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flatter_lib.experiments.design import rounded

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import SGD

    from flatter_lib.vision.inputs import Inputs
    from flatter_lib.vision.thin_residual import CifarResNet


def begun(configuration: Any, data: Inputs, lr: float) -> tuple[CifarResNet, SGD, Tensor]:
    """The network at its initial weights, its optimizer, and the training images in its memory format.

    Args:
        configuration: with the fields ``depth``, ``width``, ``seed``, ``momentum``, ``decay``, ``device``, ``dtype``.
        data: the images.
        lr: step size, as typed.
    """
    import torch

    from flatter_lib.vision.thin_residual import CifarResNet

    c = configuration
    network = CifarResNet(
        c.depth,
        c.width,
        inputs=data.x.shape[1],
        generator=torch.Generator().manual_seed(c.seed),
        device=c.device,
        dtype=getattr(torch, c.dtype),
    ).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        network.parameters(), lr=lr, momentum=c.momentum, weight_decay=c.decay
    )
    return network, optimizer, data.x.contiguous(memory_format=torch.channels_last)


def judged(network: CifarResNet, data: Inputs) -> dict[str, float]:
    """Test ``accuracy`` and training ``loss``, without crops."""
    import torch
    from torch.nn.functional import cross_entropy

    from flatter_lib.vision.measure import mean_loss
    from flatter_lib.vision.objective import accuracy

    network.eval()
    with torch.no_grad():
        right = accuracy(network, dict(network.named_parameters()), data.x_test, data.labels_test)
    loss = mean_loss(network, data.x, data.targets, cross_entropy)
    return {"accuracy": rounded(float(right), 5), "loss": rounded(loss, 5)}
