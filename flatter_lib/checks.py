"""Arguments of public functions: what they may be, and the one line that says so when they are not.

Every check takes the argument's name and value, and returns the value in the type to compute with; it raises a
``ValueError`` of one line with the name, what is allowed and what was given. Strings and booleans are no numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Name = TypeVar("Name", bound=Hashable)

#: Steps are counted in float64 and int64 alike: past this number a float64 skips integers.
MOST_STEPS = 2**53


def number(name: str, value: ArrayLike, interval: str = "(-inf, inf)") -> float:
    """One real number in an interval.

    Examples:
        >>> number("momentum", 1, "[0, 1)")
        Traceback (most recent call last):
        ValueError: momentum: must be in [0, 1), got 1
    """
    array = numbers(name, value, interval)
    if array.ndim:
        raise ValueError(f"{name}: must be one number, got an array of shape {array.shape}")
    return float(array)


def numbers(name: str, value: ArrayLike, interval: str = "(-inf, inf)") -> Floats:
    """A real number or an array of them, possibly empty, in an interval: finite unless it says ``inf]``.

    Examples:
        >>> numbers("lr", [0.1, float("nan")], "(0, inf)")
        Traceback (most recent call last):
        ValueError: lr: must be in (0, inf), got nan
    """
    try:
        given = np.asarray(value)
    except (TypeError, ValueError, RuntimeError):
        given = np.asarray(None)
    if given.dtype.kind not in "iuf":
        raise ValueError(f"{name}: must be real numbers in {interval}, got {_shown(value)}")
    array = np.asarray(given, dtype=np.float64)
    low, high = map(float, interval[1:-1].split(","))
    above = array >= low if interval[0] == "[" else array > low
    wrong = ~(above & (array <= high if interval[-1] == "]" else array < high))
    if np.any(wrong):
        raise ValueError(f"{name}: must be in {interval}, got {array[wrong].flat[0]:g}")
    return array


def count(name: str, value: object, least: int = 1, most: float = np.inf) -> int:
    """One integer from ``least`` to ``most``; a float is none, not even 3.0.

    Examples:
        >>> count("every", 1.5)
        Traceback (most recent call last):
        ValueError: every: must be an integer from 1, got 1.5
    """
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        whole = int(value)
        if least <= whole <= most:
            return whole
    end = "" if most == np.inf else f" to {most}"
    raise ValueError(f"{name}: must be an integer from {least}{end}, got {_shown(value)}")


def counts(name: str, value: ArrayLike, least: int = 0) -> Integers:
    """A whole number or an array of them, from ``least`` to 2**53; here 3.0 is one, as arrays hold counts as floats.

    Examples:
        >>> counts("steps", [1e3, 20])
        array([1000,   20])
    """
    array = numbers(name, value, f"[{least}, {MOST_STEPS}]")
    if np.any(array != np.floor(array)):
        raise ValueError(f"{name}: must be whole numbers, got {array[array % 1 != 0].flat[0]:g}")
    return array.astype(np.int64)


def seeds(name: str, value: int | Sequence[int]) -> list[int]:
    """The distinct seeds that a list holds, or a count n stands for: 0 to n - 1."""
    if not isinstance(value, Iterable):
        return list(range(count(name, value)))
    chosen = [count(name, seed, 0) for seed in value]
    if not chosen:
        raise ValueError(f"{name}: must be a count or a list of integers, got none")
    distinct(name, chosen)
    return chosen


def one_of(name: str, value: Name, allowed: Iterable[Name]) -> Name:
    """One of the values that are allowed.

    Examples:
        >>> one_of("noise", "flips", ["additive", "flip"])
        Traceback (most recent call last):
        ValueError: noise: must be one of additive, flip, got 'flips'
    """
    known = list(allowed)
    if value not in known:
        raise ValueError(
            f"{name}: must be one of {', '.join(map(str, known))}, got {_shown(value)}"
        )
    return value


def function(name: str, value: object, what: str) -> None:
    """Something to call; ``what`` says of which arguments, and which there are.

    Examples:
        >>> function("loss", "mse", "a function of outputs and targets such as half_squared_error")
        Traceback (most recent call last):
        ValueError: loss: must be a function of outputs and targets such as half_squared_error, got 'mse'
    """
    if not callable(value):
        raise ValueError(f"{name}: must be {what}, got {_shown(value)}")


def distinct(name: str, values: Iterable[Hashable]) -> None:
    """No value twice."""
    twice = [value for value, times in Counter(values).items() if times > 1]
    if twice:
        raise ValueError(f"{name}: must be distinct, got {_shown(twice[0])} more than once")


def fields(instance: object, **allowed: str | int | Sequence[str]) -> None:
    """Fields of a dataclass: each with an interval of its numbers, the least of its integer, or the names it may have.

    Examples:
        >>> from types import SimpleNamespace
        >>> fields(SimpleNamespace(lr=0.1, runs=0), lr="(0, inf)", runs=1)
        Traceback (most recent call last):
        ValueError: runs: must be an integer from 1, got 0
    """
    for name, what in allowed.items():
        value = getattr(instance, name)
        if isinstance(what, int):
            count(name, value, what)
        elif isinstance(what, str):
            numbers(name, value, what)
        else:
            one_of(name, value, what)


def together(**arguments: NDArray[Any]) -> list[NDArray[Any]]:
    """Arrays, broadcast against each other; the error names each with its shape."""
    try:
        return list(np.broadcast_arrays(*arguments.values()))
    except ValueError:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arguments.items())
        raise ValueError(f"shapes do not broadcast against each other: {shapes}") from None


def one_axis(**arguments: NDArray[Any]) -> list[NDArray[Any]]:
    """Numbers and one-dimensional arrays, broadcast against each other to one axis that is not empty."""
    arrays = together(**{name: np.atleast_1d(array) for name, array in arguments.items()})
    if arrays[0].ndim != 1 or not arrays[0].size:
        raise ValueError(
            f"{', '.join(arguments)}: must be numbers or one axis of settings, "
            f"got shape {arrays[0].shape}"
        )
    return arrays


def _shown(value: object) -> str:
    """A value in one short line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
