r"""The thin residual networks that were made for CIFAR-10: three stages, 6n + 2 layers."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from flatter_lib import checks
from flatter_lib.vision.checks import seeded
from flatter_lib.vision.networks import drawn
from flatter_lib.vision.normalization import Normalization
from flatter_lib.vision.normalization import normalization as normalized
from flatter_lib.vision.residual import BasicBlock, Pointwise

CHANNELS = (16, 32, 64)


class CifarResNet(nn.Module):
    r"""ResNet-8, -14, -20, -32, ... (He et al. 2016, arXiv:1512.03385, Section 4.2), of any width.

    A 3x3 convolution, three stages of n basic blocks with 16, 32 and 64 channels times ``width``, each later stage with
    half as many pixels a side, a global average pool and a linear head: 6n + 2 layers. Shortcuts that change shape are
    normalised 1x1 convolutions (the paper's option B; its own runs on CIFAR-10 pad with zeros). A normalisation
    follows every convolution; without one, the convolutions have biases.

    Initial weights of convolutions are normal with mean 0 and variance 2 / fan_in (He et al. 2015, arXiv:1502.01852,
    Eq. 10), those of the head normal with variance 1 / fan_in (our choice); biases are zero, and affine maps
    the identity.

    Args:
        depth: layers, 6n + 2 with n at least 1.
        width: multiplier of the number of channels, above 0; each is rounded and at least 1.
        outputs: components of one output, at least 1.
        inputs: channels of the images, at least 1.
        normalization: ``none``, ``batch``, ``ghost`` or ``group``, see :func:`~.normalization.normalization`.
        generator: source of the initial weights, on the CPU.
        device: where the parameters are.
        dtype: their type.

    Raises:
        ValueError: if the depth is not 6n + 2, the width not above 0 and finite, another size below 1, or
            ``normalization`` none of the four.

    Examples:
        He et al. count 0.27 million parameters in their ResNet-20, and 0.46 in their ResNet-32:

        >>> [sum(p.numel() for p in CifarResNet(d, generator=torch.Generator()).parameters()) for d in (20, 32)]
        [272474, 466906]
        >>> CifarResNet(8, 0.5, generator=torch.Generator())(torch.zeros(5, 3, 16, 16)).shape
        torch.Size([5, 10])
    """

    def __init__(
        self,
        depth: int = 32,
        width: float = 1.0,
        outputs: int = 10,
        inputs: int = 3,
        normalization: Normalization = "batch",
        *,
        generator: torch.Generator,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if checks.count("depth", depth, 8) % 6 != 2:
            raise ValueError(f"depth: must be 6n + 2, such as 8, 14, 20 or 32, got {depth}")
        checks.number("width", width, "(0, inf)")
        checks.count("outputs", outputs)
        checks.count("inputs", inputs)
        seeded("generator", generator)
        super().__init__()
        plain = normalization == "none"

        def norm(channels: int) -> nn.Module:
            return normalized(normalization, channels, device=device, dtype=dtype)

        def convolution(
            before: int, after: int, size: int, stride: int = 1, scale: float = 1.0
        ) -> nn.Module:
            kind, padding = Pointwise if size == 1 else nn.Conv2d, size // 2
            layer = kind(
                before, after, size, stride, padding, bias=plain, device="meta", dtype=dtype
            )
            return drawn(layer, scale * math.sqrt(2 / (before * size**2)), generator, device)

        channels = [max(1, round(width * base)) for base in CHANNELS]
        blocks: list[nn.Module] = []
        for before, after in pairwise([channels[0], *channels]):
            for i in range((depth - 2) // 6):
                stride = 2 if blocks and i == 0 else 1
                blocks.append(
                    BasicBlock(after if i else before, after, stride, convolution, norm, (1.0, 1.0))
                )
        self.stem = nn.Sequential(convolution(inputs, channels[0], 3), norm(channels[0]), nn.ReLU())
        self.blocks = nn.Sequential(*blocks)
        head = nn.Linear(channels[-1], outputs, device="meta", dtype=dtype)
        self.head = drawn(head, math.sqrt(1 / channels[-1]), generator, device)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs, shape (n, outputs), for images of shape (n, inputs, height, width), any height and width."""
        outputs: Tensor = self.head(self.blocks(self.stem(x)).mean((2, 3)))
        return outputs
