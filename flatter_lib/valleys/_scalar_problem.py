"""The scalar valley as a problem of :mod:`flatter_lib.ensemble`: what of it needs torch."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from flatter_lib.valleys.problem import DenseDifferential, Observable


def observables(target: float) -> Mapping[str, Observable]:
    """The loss, Tr H and the imbalance of points (R, 2), each (R,)."""
    return {
        "loss": lambda w: (w[:, 0] * w[:, 1] - target) ** 2 / 2,
        "trace": lambda w: w.square().sum(1),
        "imbalance": lambda w: w[:, 0] ** 2 - w[:, 1] ** 2,
    }


class ScalarDifferential(DenseDifferential):
    """See `flatter_lib.valleys.problem.Differential`; the single output is u v."""

    def __init__(self, runs: int, dtype: torch.dtype, device: torch.device) -> None:
        self._f = torch.empty(runs, 1, dtype=dtype, device=device)

    def every_output(self, w: Tensor) -> Tensor:
        """See `DenseDifferential.every_output`."""
        self._w = w
        return torch.mul(w[:, :1], w[:, 1:], out=self._f)

    def pull_back_every(self, cotangent: Tensor, into: Tensor) -> None:
        """See `DenseDifferential.pull_back_every`."""
        into[:, :1].addcmul_(cotangent, self._w[:, 1:])
        into[:, 1:].addcmul_(cotangent, self._w[:, :1])
