r"""The image networks of Zhang et al. (2019, arXiv:1907.04164), Table 1, with a width; their settings are in F.2.

=================== =================================================================================================
network of Table 1  here
=================== =================================================================================================
Simple CNN          :class:`SimpleCNN`
ResNet8 without BN  :class:`PlainResNet`
ResNet32 with BN    ``CifarResNet(32, normalization="ghost")`` of `flatter_lib.vision.thin_residual`
VGG11 with BN       :class:`VGG11`
=================== =================================================================================================

The last two are trained with filters of norm one, :func:`unit_filters`, and with labels smoothed by 0.1, which
``torch.nn.functional.cross_entropy`` does.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from flatter_lib import checks
from flatter_lib.vision.checks import seeded
from flatter_lib.vision.networks import drawn
from flatter_lib.vision.normalization import GhostBatchNorm2d
from flatter_lib.vision.thin_residual import CifarResNet

#: Channels of VGG-11; a zero is a max pool.
VGG = (64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0)


class SimpleCNN(nn.Sequential):
    r"""Two convolutions with max pools, and a hidden layer: "Simple CNN" of Zhang et al., without dropout.

    32 and 64 filters of 5x5 pixels with stride 1, whose images stay as large; ReLU and a 2x2 max pool after each; a
    hidden layer of 1,024 units with a ReLU; a linear head. ``width`` multiplies 32, 64 and 1,024, each rounded and at
    least 1. A pool leaves out the last row and column of an odd number.

    Weights start normal with variance 2 / fan_in, those of the head with variance 1 / fan_in, biases at zero: our
    choice, the paper says nothing of it.

    Args:
        width: multiplier, above 0.
        inputs: channels of the images, at least 1.
        side: pixels a side, at least 4.
        outputs: components of one output, at least 1.
        generator: source of the initial weights, on the CPU.
        device: where the parameters are.
        dtype: their type.

    Raises:
        ValueError: if the width is not above 0 and finite, or a size too small.

    Examples:
        >>> network = SimpleCNN(1 / 4, side=14, generator=torch.Generator().manual_seed(0))
        >>> sum(p.numel() for p in network.parameters())
        43114
        >>> network(torch.zeros(3, 1, 14, 14)).shape
        torch.Size([3, 10])
    """

    def __init__(
        self,
        width: float = 1.0,
        *,
        inputs: int = 1,
        side: int = 28,
        outputs: int = 10,
        generator: torch.Generator,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        checks.number("width", width, "(0, inf)")
        checks.count("inputs", inputs)
        checks.count("side", side, 4)
        checks.count("outputs", outputs)
        seeded("generator", generator)
        first, second, hidden = (max(1, round(width * base)) for base in (32, 64, 1024))

        def convolution(before: int, after: int) -> nn.Module:
            layer = nn.Conv2d(before, after, 5, padding=2, device="meta", dtype=dtype)
            return drawn(layer, math.sqrt(2 / (25 * before)), generator, device)

        def linear(before: int, after: int, second_moment: float) -> nn.Module:
            layer = nn.Linear(before, after, device="meta", dtype=dtype)
            return drawn(layer, math.sqrt(second_moment / before), generator, device)

        super().__init__(
            convolution(inputs, first),
            nn.ReLU(),
            nn.MaxPool2d(2),
            convolution(first, second),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            linear(second * (side // 4) ** 2, hidden, 2.0),
            nn.ReLU(),
            linear(hidden, outputs, 1.0),
        )


class PlainResNet(CifarResNet):
    r"""ResNet-8 without normalisation: a `CifarResNet` whose convolutions have biases.

    Seven 3x3 convolutions and the head; two 1x1 convolutions where a shortcut changes shape, which the paper does not
    count, are our reading. Every convolution starts as He et al. draw it, also those of the residual branches: each of
    the three blocks may double the second moment of the signal.

    Arguments and errors are those of :class:`SimpleCNN`, without its side; ``width`` multiplies the 16, 32 and 64
    channels.

    Examples:
        >>> network = PlainResNet(1 / 4, generator=torch.Generator().manual_seed(0))
        >>> sum(p.numel() for p in network.parameters()), network(torch.zeros(2, 3, 16, 16)).shape
        (5130, torch.Size([2, 10]))
    """

    def __init__(
        self,
        width: float = 1.0,
        *,
        inputs: int = 3,
        outputs: int = 10,
        generator: torch.Generator,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(
            8, width, outputs, inputs, "none", generator=generator, device=device, dtype=dtype
        )


class VGG11(nn.Sequential):
    r"""VGG-11 for small images: eight 3x3 convolutions with ghost batch normalisation, and a linear head.

    The convolutions are those of Simonyan and Zisserman (2015, arXiv:1409.1556, Table 1, A) in five stages, each ended
    by a 2x2 max pool: 32x32 pixels become one. The paper has "1 fully connected" layer after them, which is read as the
    head; a mean over what pixels are left lets larger images in.

    Arguments and errors are those of :class:`SimpleCNN`, without its side; ``width`` multiplies the channels, and
    ``ghost_batch``, at least 1, says how many images are normalised together.

    Examples:
        >>> network = VGG11(1 / 16, generator=torch.Generator().manual_seed(0))
        >>> network(torch.zeros(4, 3, 32, 32)).shape
        torch.Size([4, 10])
    """

    def __init__(
        self,
        width: float = 1.0,
        *,
        inputs: int = 3,
        outputs: int = 10,
        ghost_batch: int = 32,
        generator: torch.Generator,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        checks.number("width", width, "(0, inf)")
        checks.count("inputs", inputs)
        checks.count("outputs", outputs)
        seeded("generator", generator)
        channels = [inputs, *(max(1, round(width * base)) for base in VGG if base)]
        stages, modules = iter(pairwise(channels)), list[nn.Module]()
        for base in VGG:
            if not base:
                modules.append(nn.MaxPool2d(2))
                continue
            before, after = next(stages)
            layer = nn.Conv2d(before, after, 3, padding=1, bias=False, device="meta", dtype=dtype)
            modules.append(drawn(layer, math.sqrt(2 / (9 * before)), generator, device))
            modules += [GhostBatchNorm2d(after, ghost_batch, device=device, dtype=dtype), nn.ReLU()]
        head = nn.Linear(channels[-1], outputs, device="meta", dtype=dtype)
        modules += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        modules.append(drawn(head, math.sqrt(1 / channels[-1]), generator, device))
        super().__init__(*modules)


def unit_filters(network: nn.Module) -> None:
    r"""Divide every filter of every convolution by its Frobenius norm, in place: "channel-wise weight normalization".

    A normalisation that follows makes the network's outputs indifferent to it, but for its epsilon. Called after each
    step, it holds the norms at 1, so that the step size alone says by which angle a filter turns. A filter of zeros
    stays.

    Examples:
        >>> network = nn.Conv2d(1, 1, (1, 2), bias=False)
        >>> _ = network.weight.data.copy_(torch.tensor([3.0, 4.0]).view(1, 1, 1, 2))
        >>> unit_filters(network)
        >>> [round(w, 6) for w in network.weight.flatten().tolist()]
        [0.6, 0.8]
    """
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                norm: Tensor = module.weight.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
                module.weight.div_(torch.where(norm > 0, norm, 1.0))
