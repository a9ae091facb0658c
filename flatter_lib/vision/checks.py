"""Arguments that are tensors or generators of torch: what they may be, in one line as `flatter_lib.checks` says it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def seeded(name: str, generator: torch.Generator) -> torch.Generator:
    """A generator on the CPU; for None torch would draw from its global one, which nobody seeds.

    Examples:
        >>> seeded("generator", None)
        Traceback (most recent call last):
        ValueError: generator: must be a torch.Generator on the CPU, got NoneType
    """
    given: Any = generator
    if not isinstance(given, torch.Generator):
        raise ValueError(
            f"{name}: must be a torch.Generator on the CPU, got {type(given).__name__}"
        )
    if given.device.type != "cpu":
        raise ValueError(f"{name}: must be a torch.Generator on the CPU, got one on {given.device}")
    return given


def pairs(inputs: Tensor, targets: Tensor) -> None:
    """Inputs (n, ...) and as many rows of targets (n, K), at least one, of finite numbers.

    Examples:
        >>> pairs(torch.ones(3, 2), torch.ones(3))
        Traceback (most recent call last):
        ValueError: targets: must have shape (n, K) and not be empty, got (3,); make it a column, [:, None]
    """
    for name, tensor, shape in (("inputs", inputs, "(n, ...)"), ("targets", targets, "(n, K)")):
        fits = tensor.ndim == 2 or (tensor.ndim > 2 and name == "inputs")
        if not fits or not tensor.numel():
            cure = "; make it a column, [:, None]" if tensor.ndim == 1 else ""
            raise ValueError(
                f"{name}: must have shape {shape} and not be empty, got {tuple(tensor.shape)}{cure}"
            )
        if not bool(tensor.isfinite().all()):
            raise ValueError(f"{name}: must be finite, and some are not")
    if len(inputs) != len(targets):
        raise ValueError(f"targets: must be {len(inputs)}, one an input, got {len(targets)}")


def alike(name: str, tensor: Tensor, outputs: Tensor) -> None:
    """One number for each output: other shapes would be broadcast, into the mean of something else.

    Examples:
        >>> alike("targets", torch.zeros(5), torch.zeros(5, 1))
        Traceback (most recent call last):
        ValueError: targets: must have the shape of the outputs, (5, 1), got (5,); reshape them
    """
    if tensor.shape != outputs.shape:
        wanted, got = tuple(outputs.shape), tuple(tensor.shape)
        raise ValueError(
            f"{name}: must have the shape of the outputs, {wanted}, got {got}; reshape them"
        )
    if not tensor.is_floating_point():
        raise ValueError(
            f"{name}: must hold floating numbers, one-hot for classes, got {tensor.dtype}"
        )
