r"""Masks that say which pixels a network's answer rests on, and what a network makes of a masked image.

With a mask :math:`m \in [0, 1]^d`, an image x and another image n that knows nothing of it,
:math:`\tilde x = m \odot x + (1 - m) \odot n`. Images are rows of pixels, and square.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from flatter_lib import checks

#: Log probabilities of images, (..., d) to (..., K).
LogProbabilities = Callable[[Tensor], Tensor]


def upsampled(masks: Tensor, side: int) -> Tensor:
    """Square masks at a coarse resolution, (..., s, s), as rows of ``side`` x ``side`` pixels, bilinearly.

    Raises:
        ValueError: if ``side`` is no whole number from s.

    Examples:
        >>> upsampled(torch.tensor([[0.0, 1.0], [0.0, 1.0]]), 4).view(4, 4)[0]
        tensor([0.0000, 0.2500, 0.7500, 1.0000])
    """
    coarse = masks.shape[-1]
    checks.count("side", side, coarse)
    if side == coarse:
        return masks.flatten(-2)
    flat = masks.reshape(-1, 1, coarse, coarse)
    fine = interpolate(flat, size=(side, side), mode="bilinear", align_corners=False)
    return fine.reshape(*masks.shape[:-2], side * side)


def fit_masks(
    log_probabilities: LogProbabilities,
    images: Tensor,
    fills: Tensor,
    *,
    coarse: int,
    smoothness: float,
    area: float,
    steps: int,
) -> Tensor:
    r"""For each image and each class a, the mask under which the network says a.

    The mask is :math:`m = U \sigma(z)` with z on a ``coarse`` grid and U bilinear upsampling. Adam from z = 0, with a
    step size of 0.1, minimises

    .. math:: -\log p_a(m \odot x + (1 - m) \odot n_k) + \frac{\lambda}{d} \sum_{i \sim j} (m_i - m_j)^2 +
        \frac{\mu}{d} \sum_i m_i,

    over neighbours i and j, where in step k the other image :math:`n_k` is the next of the fills, in turn. Masks do not
    depend on each other.

    Args:
        log_probabilities: of the network.
        images: (n, d).
        fills: (f, d).
        coarse: side of the grid of z.
        smoothness: :math:`\lambda`.
        area: :math:`\mu`.
        steps: of Adam.

    Returns:
        (n, K, coarse, coarse): :math:`\sigma(z)`.

    Raises:
        ValueError: if a number is out of its range.
    """
    checks.number("smoothness", smoothness, "[0, inf)")
    checks.number("area", area, "[0, inf)")
    checks.count("steps", steps)
    n, pixels = images.shape
    side = round(pixels**0.5)
    with torch.no_grad():
        classes = log_probabilities(images[:1]).shape[-1]
    z = images.new_zeros(n, classes, coarse, coarse).requires_grad_()
    optimizer = torch.optim.Adam([z], lr=0.1)
    for k in range(steps):
        mask = upsampled(torch.sigmoid(z), side)
        own = torch.diagonal(
            log_probabilities(_masked(images, mask, fills[k % len(fills)])), 0, 1, 2
        )
        square = mask.view(n, classes, side, side)
        rough = sum(square.diff(dim=axis).square().sum() for axis in (-1, -2))
        loss = (smoothness * rough + area * mask.sum()) / pixels - own.sum()
        (z.grad,) = torch.autograd.grad(loss, [z])
        optimizer.step()
    return torch.sigmoid(z.detach())


def _masked(images: Tensor, masks: Tensor, fill: Tensor) -> Tensor:
    """Images (n, d) under masks (n, K, d), the rest from the fill (d,); (n, K, d)."""
    return fill + masks * (images.unsqueeze(1) - fill)


def under_masks(
    log_probabilities: LogProbabilities, images: Tensor, masks: Tensor, fills: Tensor
) -> Tensor:
    """The probability of class a under the mask for a, averaged over the fills, (n, K); arguments as above."""
    with torch.no_grad():
        seen = [log_probabilities(_masked(images, masks, fill)).exp() for fill in fills]
        return torch.stack([torch.diagonal(p, 0, 1, 2) for p in seen]).mean(0)


def attributions(
    log_probabilities: LogProbabilities, images: Tensor, baseline: Tensor, shares: Sequence[float]
) -> Tensor:
    r"""Mean gradient of :math:`\log p_a` on the way from a baseline to the image, times the way: integrated gradients.

    Args:
        log_probabilities: of the network.
        images: (n, d).
        baseline: (d,).
        shares: of the way at which gradients are taken; 1 alone is gradient times difference.

    Returns:
        (n, K, d).

    Examples:
        >>> linear = lambda x: torch.stack([x.sum(-1), -x[..., 0]], -1)
        >>> attributions(linear, torch.tensor([[1.0, 2.0]]), torch.zeros(2), [0.25, 0.75])[0].tolist()
        [[1.0, 2.0], [-1.0, 0.0]]
    """
    total = []
    for share in shares:
        x = (baseline + share * (images - baseline)).requires_grad_()
        out = log_probabilities(x)
        grads = [
            torch.autograd.grad(out[:, a].sum(), x, retain_graph=True)[0]
            for a in range(out.shape[1])
        ]
        total.append(torch.stack(grads, 1))
    return torch.stack(total).mean(0) * (images - baseline).unsqueeze(1)
