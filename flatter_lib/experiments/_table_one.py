"""The small networks that are trained at varying batch size, as a configuration has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

    from flatter_lib.vision.inputs import Inputs


def network_of(configuration: Any, data: Inputs, generator: torch.Generator) -> nn.Module:
    """The network at its initial weights.

    Args:
        configuration: with the fields ``network``, "cnn" or "resnet", ``width``, ``device`` and ``dtype``.
        data: the images.
        generator: source of the initial weights, on the CPU.
    """
    import torch

    from flatter_lib.vision.table_one import PlainResNet, SimpleCNN

    c = configuration
    common: dict[str, Any] = {
        "inputs": data.x.shape[1],
        "generator": generator,
        "device": c.device,
        "dtype": getattr(torch, c.dtype),
    }
    if c.network == "cnn":
        return SimpleCNN(c.width, side=data.x.shape[-1], **common)
    return PlainResNet(c.width, **common)
