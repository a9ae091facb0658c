r"""Masks that say which pixels a network's answer rests on, and what a network makes of a masked image.

With a mask :math:`m \in [0, 1]^d`, an image x and another image n that knows nothing of it,
:math:`\tilde x = m \odot x + (1 - m) \odot n`. Images are rows of pixels, and square.
"""

from __future__ import annotations

from collections.abc import Callable

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


def total_variation(masks: Tensor) -> Tensor:
    r"""Of squares: :math:`\sum (m_i - m_j)^2` over right and lower neighbours, of rows of pixels (..., d), to (...).

    Examples:
        >>> total_variation(torch.tensor([0.0, 1.0, 0.0, 1.0])).item()
        2.0
    """
    side = round(masks.shape[-1] ** 0.5)
    square = masks.view(*masks.shape[:-1], side, side)
    right, lower = square.diff(dim=-1), square.diff(dim=-2)
    return right.square().sum((-2, -1)) + lower.square().sum((-2, -1))


def fit_masks(
    log_probabilities: LogProbabilities,
    images: Tensor,
    fills: Tensor,
    *,
    coarse: int,
    smoothness: float,
    area: float,
    steps: int,
    lr: float = 0.1,
) -> Tensor:
    r"""For each image and each class a, the mask under which the network says a.

    The mask is :math:`m = U \sigma(z)` with z on a ``coarse`` grid and U bilinear upsampling. Adam from z = 0 minimises

    .. math:: -\log p_a(m \odot x + (1 - m) \odot n_k) + \frac{\lambda}{d} \mathrm{TV}(m) + \frac{\mu}{d} \sum_i m_i,

    where in step k the other image :math:`n_k` is the next of the fills, in turn. Masks do not depend on each other.

    Args:
        log_probabilities: of the network.
        images: (n, d).
        fills: (f, d).
        coarse: side of the grid of z.
        smoothness: :math:`\lambda`.
        area: :math:`\mu`.
        steps: of Adam.
        lr: of Adam.

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
    optimizer = torch.optim.Adam([z], lr=lr)
    for k in range(steps):
        mask = upsampled(torch.sigmoid(z), side)
        own = torch.diagonal(
            log_probabilities(masked(images, mask, fills[k % len(fills)])), 0, 1, 2
        )
        penalty = smoothness * total_variation(mask) + area * mask.sum(-1)
        loss = penalty.sum() / pixels - own.sum()
        (z.grad,) = torch.autograd.grad(loss, [z])
        optimizer.step()
    return torch.sigmoid(z.detach())


def masked(images: Tensor, masks: Tensor, fill: Tensor) -> Tensor:
    """Images (n, d) under masks (n, K, d), the rest from the fill (d,); (n, K, d)."""
    return fill + masks * (images.unsqueeze(1) - fill)


def under_masks(
    log_probabilities: LogProbabilities, images: Tensor, masks: Tensor, fills: Tensor
) -> Tensor:
    """The probability of class a under the mask for a, averaged over the fills, (n, K); arguments as above."""
    with torch.no_grad():
        seen = [log_probabilities(masked(images, masks, fill)).exp() for fill in fills]
        return torch.stack([torch.diagonal(p, 0, 1, 2) for p in seen]).mean(0)


def attributions(
    log_probabilities: LogProbabilities, images: Tensor, baseline: Tensor, points: int
) -> Tensor:
    r"""Integrated gradients of :math:`\log p_a` from a baseline to the image, (n, K, d), by the midpoint rule.

    With one point, at the image itself, it is gradient times difference: ``points`` = 0 asks for that.

    Args:
        log_probabilities: of the network.
        images: (n, d).
        baseline: (d,).
        points: of the rule; or 0.

    Examples:
        >>> linear = lambda x: torch.stack([x.sum(-1), -x[..., 0]], -1)
        >>> attributions(linear, torch.tensor([[1.0, 2.0]]), torch.zeros(2), 3)[0].tolist()
        [[1.0, 2.0], [-1.0, 0.0]]
    """
    shares = [1.0] if points == 0 else [(j + 0.5) / points for j in range(points)]
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


def top_pixels(scores: Tensor, counts: Tensor) -> Tensor:
    """Masks of ones at the pixels with the highest scores (..., d), so many of them as counts (...) say.

    Examples:
        >>> top_pixels(torch.tensor([[3.0, 1.0, 2.0]]), torch.tensor([2]))
        tensor([[1., 0., 1.]])
    """
    ranks = scores.argsort(-1, descending=True).argsort(-1)
    return (ranks < counts.unsqueeze(-1)).to(scores)
