"""Activations of two-layer networks, their derivatives, and their correlations under Gaussian inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Activation(NamedTuple):
    r"""A function of one number, with what is known of it.

    Attributes:
        value: :math:`\phi(z)`.
        slope: :math:`\phi'(z)`, of z and :math:`\phi(z)`.
        correlation: :math:`E\, \phi(u \cdot x) \phi(v \cdot x)` for :math:`x \sim N(0, I)`, of rows u, shape
            (..., p, d), and rows v, shape (..., q, d), with shape (..., p, q).
    """

    value: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor, Tensor], Tensor]
    correlation: Callable[[Tensor, Tensor], Tensor]


def _erf_correlation(u: Tensor, v: Tensor) -> Tensor:
    # Williams (1997), Computing with infinite networks, for erf(z); here z / sqrt(2) takes the place of z.
    lengths = (1 + u.square().sum(-1)).unsqueeze(-1) * (1 + v.square().sum(-1)).unsqueeze(-2)
    angle: Tensor = torch.asin(u @ v.mT / lengths.sqrt())
    return angle * (2 / np.pi)


def _relu_correlation(u: Tensor, v: Tensor) -> Tensor:
    # Cho & Saul (2009), Kernel methods for deep learning, n = 1, half of it.
    lengths = u.norm(dim=-1).unsqueeze(-1) * v.norm(dim=-1).unsqueeze(-2)
    tiny = torch.finfo(lengths.dtype).tiny
    cosine = (u @ v.mT / lengths.clamp(min=tiny)).clamp(-1, 1)
    angle = torch.acos(cosine)
    shape: Tensor = torch.sin(angle) + (np.pi - angle) * cosine
    kernel: Tensor = lengths * shape / (2 * np.pi)
    return kernel


#: By name. ``erf`` is :math:`\operatorname{erf}(z / \sqrt 2)`.
ACTIVATIONS = {
    "erf": Activation(
        lambda z: torch.erf(z * 0.5**0.5),
        lambda z, _: (2 / np.pi) ** 0.5 * torch.exp(-z * z / 2),
        _erf_correlation,
    ),
    "relu": Activation(torch.relu, lambda z, _: (z > 0).to(z), _relu_correlation),
}
