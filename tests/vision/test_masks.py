"""Masks against mathematics, and against loops written by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from flatter_lib.vision import saliency

from ..seeding import seeded

IMAGES = torch.randn(3, 16, generator=seeded(1), dtype=torch.float64)
FILLS = torch.randn(2, 16, generator=seeded(2), dtype=torch.float64)
W = torch.randn(4, 16, generator=seeded(3), dtype=torch.float64)


def curved(x: Tensor) -> Tensor:
    return torch.log_softmax(torch.tanh(x @ W.T) * 2 + (x**2) @ W.T / 10, -1)


def test_a_free_mask_of_a_linear_score_keeps_the_pixels_that_pull_up() -> None:
    fitted = saliency.fit_masks(
        lambda x: x @ W.T, IMAGES, FILLS[:1], coarse=4, smoothness=0.0, area=0.0, steps=300
    )
    pull = W * (IMAGES - FILLS[0]).unsqueeze(1)
    assert torch.equal(saliency.upsampled(fitted, 4) > 0.5, pull > 0)


def test_a_fit_is_what_a_loop_over_pixels_makes_of_it() -> None:
    lr, smoothness, area = 0.1, 3.0, 2.0
    fitted = saliency.fit_masks(
        curved, IMAGES, FILLS, coarse=2, smoothness=smoothness, area=area, steps=3
    )
    # Bilinear weights from 2 to 4 pixels along a side.
    up = torch.tensor([[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]], dtype=torch.float64)
    z = torch.zeros(2, 2, dtype=torch.float64, requires_grad=True)
    first, second = torch.zeros_like(z), torch.zeros_like(z)
    for k in range(3):
        m = up @ torch.sigmoid(z) @ up.T
        loss = -curved(m.flatten() * IMAGES[1] + (1 - m.flatten()) * FILLS[k % 2])[2]
        for i in range(4):
            for j in range(4):
                loss = loss + area / 16 * m[i, j]
                if i < 3:
                    loss = loss + smoothness / 16 * (m[i, j] - m[i + 1, j]) ** 2
                if j < 3:
                    loss = loss + smoothness / 16 * (m[i, j] - m[i, j + 1]) ** 2
        (g,) = torch.autograd.grad(loss, [z])
        first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g * g
        scale = (second / (1 - 0.999 ** (k + 1))).sqrt() + 1e-8
        z = (z - lr * first / (1 - 0.9 ** (k + 1)) / scale).detach().requires_grad_()
    assert torch.allclose(fitted[1, 2], torch.sigmoid(z), rtol=1e-9)


def test_integrated_gradients_add_up_to_the_difference() -> None:
    """Sundararajan et al. 2017: over pixels they sum to the score of the image less that of the baseline."""
    shares = [(j + 0.5) / 4000 for j in range(4000)]
    found = saliency.attributions(curved, IMAGES, FILLS[0], shares).sum(-1)
    assert torch.allclose(found, curved(IMAGES) - curved(FILLS[0]), atol=1e-5)


def test_the_class_under_its_own_mask() -> None:
    masks = torch.rand(3, 4, 16, generator=seeded(5), dtype=torch.float64)
    found = saliency.under_masks(curved, IMAGES, masks, FILLS)
    x = [masks[2, 3] * IMAGES[2] + (1 - masks[2, 3]) * fill for fill in FILLS]
    assert float(found[2, 3]) == pytest.approx(sum(math.exp(curved(v)[3]) for v in x) / 2)


def test_what_means_nothing_is_refused() -> None:
    good = {"coarse": 2, "smoothness": 0.0, "area": 0.0, "steps": 1}
    for name, value in (("smoothness", -1.0), ("area", -1.0), ("steps", 0)):
        with pytest.raises(ValueError, match=f"^{name}: must be "):
            saliency.fit_masks(curved, IMAGES, FILLS, **(good | {name: value}))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^side: must be "):
        saliency.upsampled(torch.zeros(4, 4), 2)
