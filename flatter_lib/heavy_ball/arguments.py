"""What the arguments of heavy ball's formulas may be, and the one line that says so when they are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: A NumPy scalar for scalar arguments, otherwise an array of their broadcast shape (typed as NumPy types its ufuncs).
Elementwise: TypeAlias = Any


def nonnegative(name: str, value: ArrayLike) -> NDArray[np.float64]:
    """Finite numbers from 0."""
    return checked(name, value, "finite and at least 0", lambda a: (a >= 0) & np.isfinite(a))


def momentum(value: ArrayLike) -> NDArray[np.float64]:
    """Momenta."""
    return checked("momentum", value, "in [0, 1)", lambda a: (a >= 0) & (a < 1))


def checked(
    name: str, value: ArrayLike, allowed: str, holds: Callable[[NDArray[np.float64]], Any]
) -> NDArray[np.float64]:
    """The argument in float64, if it holds what it must.

    Raises:
        ValueError: if it does not; it names the argument, what is allowed and the first number that is not.
    """
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: must be real numbers, {allowed}, got {value!r}") from error
    wrong = ~np.asarray(holds(array))
    if np.any(wrong):
        raise ValueError(f"{name}: must be {allowed}, got {array[wrong].flat[0]:g}")
    return array
