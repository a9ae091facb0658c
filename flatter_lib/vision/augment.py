"""Augmentation of image batches where they are: random crops after zero padding, and horizontal flips.

The random numbers are drawn on the CPU and only they travel, so that every device sees the same augmented images.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flatter_lib import checks
from flatter_lib.vision.checks import seeded


def crop_and_flip(
    inputs: Tensor, generator: torch.Generator, padding: int = 4, flip: bool = True
) -> Tensor:
    """Each image padded with zeros, cut to its own size at a random place, and mirrored left to right half the time.

    The customary augmentation of CIFAR-10 (He et al. 2016, arXiv:1512.03385, Section 4.2, with 4 pixels on each side).
    Offsets are uniform on the integers 0, ..., 2 * padding, down and right independently; ``padding`` itself leaves the
    image in its place. Drawn are first the n offsets down and the n offsets right, then, with ``flip``, n coins.

    Args:
        inputs: shape (n, channels, height, width), any dtype, on any device. Zero is black before standardisation and
            the mean colour after it.
        generator: source of the draws, on the CPU.
        padding: zeros on each side, in pixels; 0 draws no crops.
        flip: whether images are mirrored with probability 1/2.

    Returns:
        A new tensor of the inputs' shape, dtype, device and memory format.

    Raises:
        ValueError: if the inputs do not have four dimensions, ``padding`` is no integer from 0, or the generator is
            none on the CPU.

    Examples:
        >>> image = torch.arange(1, 10).view(1, 1, 3, 3)
        >>> crop_and_flip(image, torch.Generator().manual_seed(0), padding=1, flip=False)[0, 0]
        tensor([[0, 4, 5],
                [0, 7, 8],
                [0, 0, 0]])
    """
    if inputs.dim() != 4:
        shape = tuple(inputs.shape)
        raise ValueError(f"inputs: must have shape (n, channels, height, width), got {shape}")
    checks.count("padding", padding, 0)
    seeded("generator", generator)
    n, channels, height, width = inputs.shape
    offsets = torch.randint(2 * padding + 1, (2, n), generator=generator)
    coins = torch.randint(2, (1, n), generator=generator) if flip else torch.zeros_like(offsets[:1])
    down, right, mirrored = torch.cat([offsets, coins]).to(inputs.device)[:, :, None]

    column = torch.arange(width, device=inputs.device)
    rows = down + torch.arange(height, device=inputs.device)
    columns = right + torch.where(mirrored == 1, width - 1 - column, column)
    image = torch.arange(n, device=inputs.device)[:, None, None, None]
    channel = torch.arange(channels, device=inputs.device)[:, None, None]
    padded = nn.functional.pad(inputs, (padding,) * 4)
    crops = padded[image, channel, rows[:, None, :, None], columns[:, None, None, :]]
    # Indexing chooses a layout of its own; empty_like keeps that of the inputs.
    return torch.empty_like(inputs).copy_(crops)
