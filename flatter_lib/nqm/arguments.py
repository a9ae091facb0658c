"""What the arguments of the noisy quadratic model may be, and the one line that says so when they are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

#: Steps are counted in float64 and int64 alike: past this number a float64 skips integers.
MOST_STEPS = 2**53


def nonnegative(name: str, value: ArrayLike) -> Floats:
    """A finite number, or many, from 0."""
    return _checked(name, value, "finite and at least 0", lambda a: (a >= 0) & np.isfinite(a))


def learning_rate(value: ArrayLike) -> Floats:
    """A step size."""
    return nonnegative("lr", value)


def batch_size(value: ArrayLike) -> Floats:
    """A batch size; an infinite one leaves no noise."""
    return _checked("batch_size", value, "positive (inf: no noise)", lambda a: a > 0)


def momentum(value: ArrayLike) -> Floats:
    """A momentum."""
    return _checked("momentum", value, "in [0, 1)", lambda a: (a >= 0) & (a < 1))


def averaging(value: ArrayLike) -> Floats:
    """An averaging coefficient."""
    return _checked("averaging", value, "in [0, 1)", lambda a: (a >= 0) & (a < 1))


def preconditioning(value: ArrayLike) -> Floats:
    """A power of the curvature to divide by."""
    return _checked("preconditioning", value, "in [0, 1]", lambda a: (a >= 0) & (a <= 1))


def target(value: ArrayLike) -> Floats:
    """A risk to reach."""
    return _checked("target", value, "positive and finite", lambda a: (a > 0) & np.isfinite(a))


def steps(value: ArrayLike) -> NDArray[np.int64]:
    """Numbers of steps."""
    counts = _checked(
        "steps",
        value,
        "whole numbers from 0 to 2**53",
        lambda a: (a >= 0) & (a <= MOST_STEPS) & (a == np.floor(a)),
    )
    return counts.astype(np.int64)


def scalar(name: str, value: Floats) -> float:
    """One number where several make no sense.

    Raises:
        ValueError: if there are several.
    """
    if value.ndim:
        raise ValueError(f"{name}: must be one number, got an array of shape {value.shape}")
    return float(value)


def together(**arguments: NDArray[Any]) -> list[NDArray[Any]]:
    """The arguments, broadcast against each other.

    Raises:
        ValueError: if their shapes do not broadcast; it names each argument with its shape.
    """
    try:
        return list(np.broadcast_arrays(*arguments.values()))
    except ValueError:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arguments.items())
        raise ValueError(f"shapes do not broadcast against each other: {shapes}") from None


def _checked(name: str, value: ArrayLike, allowed: str, holds: Callable[[Floats], Any]) -> Floats:
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: must be real numbers, {allowed}; got {value!r}") from None
    wrong = ~np.asarray(holds(array))
    if np.any(wrong):
        raise ValueError(f"{name}: must be {allowed}; got {array[wrong].flat[0]:g}")
    return array
