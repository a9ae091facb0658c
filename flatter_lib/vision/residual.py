r"""The residual network of the book's colour images: ResNet-18 in its form for small images."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from flatter_lib import checks
from flatter_lib.vision.checks import seeded
from flatter_lib.vision.networks import drawn
from flatter_lib.vision.normalization import Normalization
from flatter_lib.vision.normalization import normalization as normalized

STAGE_CHANNELS = (64, 128, 256, 512)
#: Residual branches: two a stage.
BRANCHES = 8
#: Of a 1x1 convolution with a stride: with fewer, torch 2.14.1 on processors without AVX-512 computes a wrong gradient
#: of filters that are channels last, and writes beyond its memory.
LEAST_CHANNELS = 8


class Pointwise(nn.Conv2d):
    """A 1x1 convolution that picks its pixels first where there are fewer than `LEAST_CHANNELS` channels."""

    def forward(self, input: Tensor) -> Tensor:
        """As :class:`torch.nn.Conv2d` has it."""
        if self.in_channels >= LEAST_CHANNELS:
            return super().forward(input)
        down, right = self.stride
        return nn.functional.conv2d(input[..., ::down, ::right], self.weight, self.bias)


def narrow(network: nn.Module) -> list[str]:
    """The names of the convolutions that must not be channels last, see `LEAST_CHANNELS`."""
    return [
        name
        for name, m in network.named_modules()
        if type(m) is nn.Conv2d
        and m.kernel_size == (1, 1)
        and m.stride != (1, 1)
        and m.in_channels < LEAST_CHANNELS
    ]


class BasicBlock(nn.Module):
    r"""Two 3x3 convolutions beside a shortcut (He et al. 2016, arXiv:1512.03385, Fig. 2 and Eqs. 1 and 2).

    .. math:: y = \mathrm{relu}\bigl(s(x) + N_2 W_2 * \mathrm{relu}(N_1 W_1 * x)\bigr)

    with normalisations N and the shortcut s: the identity where the shape stays, else a normalised 1x1 convolution.
    """

    def __init__(
        self,
        before: int,
        after: int,
        stride: int,
        convolution: Callable[..., nn.Module],
        norm: Callable[[int], nn.Module],
        branches: tuple[float, float],
    ) -> None:
        super().__init__()
        first, last = branches
        self.conv1 = convolution(before, after, 3, stride, scale=first)
        self.norm1 = norm(after)
        self.conv2 = convolution(after, after, 3, scale=last)
        self.norm2 = norm(after)
        self.shortcut: nn.Module = nn.Identity()
        if (before, stride) != (after, 1):
            self.shortcut = nn.Sequential(convolution(before, after, 1, stride), norm(after))

    def forward(self, x: Tensor) -> Tensor:
        """The block's output, shape (n, channels, height / stride, width / stride), rounded up."""
        inner = nn.functional.relu(self.norm1(self.conv1(x)), inplace=True)
        return nn.functional.relu(self.norm2(self.conv2(inner)) + self.shortcut(x), inplace=True)


class ResNet18(nn.Module):
    r"""ResNet-18 for small images (He et al. 2016, arXiv:1512.03385), with a width and a choice of normalisation.

    The four stages of two basic blocks are those of the paper's 18-layer network for ImageNet (its Table 1), with
    1x1 convolutions where a shortcut changes shape (its option B). For images of 32x32 pixels and less, the first
    convolution is 3x3 with stride 1 instead of 7x7 with stride 2, and no max-pooling follows: the usual "CIFAR form",
    which is not one of the paper's own, thinner networks for CIFAR-10. A global average pool and a linear head end it.

    ``width`` multiplies the channels 64, 128, 256, 512 of the stages, each rounded to the nearest integer and at
    least 1.

    Initial weights of convolutions are normal with mean 0 and variance 2 / fan_in (He et al. 2015, arXiv:1502.01852,
    Eq. 10), those of the head normal with variance 1 / fan_in (our choice); biases are zero, and affine maps of
    normalisations the identity. Without normalisation the convolutions have biases, and the initial scales are two of
    Fixup's rules (Zhang, Dauphin and Ma 2019, arXiv:1901.09321):

    - the last convolution of each residual branch starts at zero (from their rule 1);
    - the first convolution of each branch is multiplied by :math:`L^{-1/(2m-2)} = 8^{-1/2}`, for L = 8 branches of
      m = 2 convolutions (their rule 2).

    That is all of Fixup that is used here, by our choice: the head is not zero, so that the outputs respond to their
    inputs from the start; and there are no scalar multipliers and no scalar biases (their rule 3), but the usual
    biases, one per output channel. At the start the branches are silent, and the second moment of the signal is kept by
    the stem and the shortcuts.

    Every activation is a ReLU. Without normalisation, therefore, each output is piecewise linear in each single weight:
    the diagonal of an output's Hessian is zero wherever it exists, and for any loss of the outputs the trace of the
    loss's Hessian H equals that of its Gauss-Newton matrix G, Tr H = Tr G. (With batch normalisation in training, or
    with group normalisation, that is not so: the statistics depend on the weights.)

    Args:
        width: multiplier of the number of channels, above 0.
        outputs: components of one output, at least 1.
        inputs: channels of the images, at least 1.
        normalization: ``none``, ``batch``, ``ghost`` or ``group``, see :func:`~.normalization.normalization`.
        ghost_batch: images in a chunk of ghost batch normalisation.
        groups: groups of group normalisation; must divide the channels of every stage.
        generator: source of the initial weights, on the CPU: the same weights on every device.
        device: where the parameters are.
        dtype: their type.

    Raises:
        ValueError: if ``width`` is not above 0 and finite, another size is below 1, ``normalization`` is none of the
            four, or ``groups`` does not divide the channels.

    Examples:
        >>> network = ResNet18(1 / 16, inputs=1, generator=torch.Generator().manual_seed(0))
        >>> sum(p.numel() for p in network.parameters())
        44550
        >>> network(torch.zeros(5, 1, 8, 8)).shape
        torch.Size([5, 10])
    """

    def __init__(
        self,
        width: float = 1.0,
        outputs: int = 10,
        inputs: int = 3,
        normalization: Normalization = "batch",
        *,
        ghost_batch: int = 32,
        groups: int = 8,
        generator: torch.Generator,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        checks.number("width", width, "(0, inf)")
        checks.count("outputs", outputs)
        checks.count("inputs", inputs)
        seeded("generator", generator)
        super().__init__()
        plain = normalization == "none"

        def norm(channels: int) -> nn.Module:
            return normalized(
                normalization,
                channels,
                ghost_batch=ghost_batch,
                groups=groups,
                device=device,
                dtype=dtype,
            )

        def convolution(
            before: int, after: int, size: int, stride: int = 1, scale: float = 1.0
        ) -> nn.Module:
            kind, padding = Pointwise if size == 1 else nn.Conv2d, size // 2
            layer = kind(
                before, after, size, stride, padding, bias=plain, device="meta", dtype=dtype
            )
            return drawn(layer, scale * math.sqrt(2 / (before * size**2)), generator, device)

        branches = (BRANCHES**-0.5, 0.0) if plain else (1.0, 1.0)
        channels = [max(1, round(width * base)) for base in STAGE_CHANNELS]
        self.conv1 = convolution(inputs, channels[0], 3)
        self.norm1 = norm(channels[0])
        blocks: list[nn.Module] = []
        for before, after in pairwise([channels[0], *channels]):
            stride = 2 if blocks else 1
            blocks.append(BasicBlock(before, after, stride, convolution, norm, branches))
            blocks.append(BasicBlock(after, after, 1, convolution, norm, branches))
        self.blocks = nn.Sequential(*blocks)
        head = nn.Linear(channels[-1], outputs, device="meta", dtype=dtype)
        self.head = drawn(head, math.sqrt(1 / channels[-1]), generator, device)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs, shape (n, outputs), for images of shape (n, inputs, height, width), any height and width."""
        x = nn.functional.relu(self.norm1(self.conv1(x)), inplace=True)
        outputs: Tensor = self.head(self.blocks(x).mean((2, 3)))
        return outputs
