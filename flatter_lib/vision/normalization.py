r"""Normalisation layers of convolutional networks, chosen by name.

All of them centre and scale each channel by a mean and a variance, then apply a learned affine map per channel; they
differ in the set of values over which mean and variance are taken. That set decides how a minibatch's gradient depends
on the batch: with batch statistics the images of a batch are no longer independent terms of the loss.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from flatter_lib import checks

Normalization = Literal["none", "batch", "ghost", "group"]


class GhostBatchNorm2d(nn.BatchNorm2d):
    r"""Batch normalisation of each small part of a batch by itself (Hoffer et al. 2017, arXiv:1705.08741, Alg. 1).

    In training the batch is cut, in order, into chunks of ``ghost_batch`` images, and the images x of chunk k become

    .. math:: \gamma \, \frac{x - \mu_k}{\sqrt{\sigma_k^2 + \epsilon}} + \beta

    channel by channel, with the mean and the (biased) variance over the chunk's images and places. So the noise in the
    statistics stays that of a batch of ``ghost_batch`` images, however large the batch. Two rules:

    - A batch that is not a multiple of ``ghost_batch`` ends in a smaller chunk, normalised by its own statistics.
    - The running mean and the running (unbiased) variance move once for each chunk, in order,
      :math:`r \leftarrow (1 - m) r + m s_k`, and a smaller last chunk counts like any other;
      ``num_batches_tracked`` counts chunks.

    Evaluation uses the running statistics, as :class:`torch.nn.BatchNorm2d` does. The parameters and buffers have that
    class's names, so that states can be exchanged.

    Args:
        channels: number of channels.
        ghost_batch: images in a chunk, at least 1.
        momentum: the weight m of a new chunk in the running statistics.
        eps: the number :math:`\epsilon` added to the variance.
        device: where the parameters are.
        dtype: their type.

    Raises:
        ValueError: if a size is no integer from 1, or a number out of its range; in training, if a chunk has
            but one value per channel (one image of one pixel), which has no variance.

    Examples:
        >>> layer = GhostBatchNorm2d(1, ghost_batch=2, eps=1e-12)
        >>> layer(torch.tensor([0.0, 2.0, 10.0, 30.0]).view(4, 1, 1, 1)).flatten().round().tolist()
        [-1.0, 1.0, -1.0, 1.0]
    """

    def __init__(
        self,
        channels: int,
        ghost_batch: int = 32,
        momentum: float = 0.1,
        eps: float = 1e-5,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        checks.count("channels", channels)
        checks.count("ghost_batch", ghost_batch)
        checks.number("momentum", momentum, "[0, 1]")
        checks.number("eps", eps, "[0, inf)")
        super().__init__(channels, eps, momentum, device=device, dtype=dtype)
        self.ghost_batch = ghost_batch

    def forward(self, input: Tensor) -> Tensor:
        """Normalised images, shape (n, channels, height, width) as those given."""
        if not self.training:
            return super().forward(input)
        chunks = torch.split(input, self.ghost_batch)
        if chunks[-1].shape[0] * input.shape[2] * input.shape[3] == 1:
            raise ValueError(
                f"input: its last ghost batch is one image of one pixel, which has no variance; "
                f"train on batches that are multiples of ghost_batch={self.ghost_batch} (above 1)"
            )
        return torch.cat([nn.BatchNorm2d.forward(self, chunk) for chunk in chunks])


def normalization(
    kind: Normalization,
    channels: int,
    *,
    ghost_batch: int = 32,
    groups: int = 8,
    **where: Any,
) -> nn.Module:
    """A normalisation layer for images of shape (n, channels, height, width), by name.

    ========= ============================================ =====================================================
    kind      module                                       mean and variance of a channel are over
    ========= ============================================ =====================================================
    ``none``  :class:`torch.nn.Identity`                   nothing: the images pass unchanged
    ``batch`` :class:`torch.nn.BatchNorm2d`                all images of the batch (in evaluation: running)
    ``ghost`` :class:`GhostBatchNorm2d`                    ``ghost_batch`` images (in evaluation: running)
    ``group`` :class:`torch.nn.GroupNorm`                  one image and its group of ``channels / groups`` channels
    ========= ============================================ =====================================================

    The affine maps start as the identity.

    Args:
        kind: one of the names above.
        channels: number of channels, at least 1.
        ghost_batch: images in a chunk, at least 1; read by ``ghost`` alone.
        groups: number of groups of channels, a divisor of ``channels``; read by ``group`` alone.
        where: ``device`` and ``dtype`` of the parameters.

    Raises:
        ValueError: if ``kind`` is none of these, a size is below 1, or ``groups`` does not divide ``channels``.

    Examples:
        >>> layer = normalization("group", 64, groups=16)
        >>> layer.num_groups, layer.num_channels
        (16, 64)
    """
    checks.one_of("normalization", kind, get_args(Normalization))
    checks.count("channels", channels)
    if kind == "none":
        return nn.Identity()
    if kind == "batch":
        return nn.BatchNorm2d(channels, **where)
    if kind == "ghost":
        return GhostBatchNorm2d(channels, ghost_batch, **where)
    if channels % checks.count("groups", groups):
        raise ValueError(f"groups: must divide the {channels} channels of each layer, got {groups}")
    return nn.GroupNorm(groups, channels, **where)
