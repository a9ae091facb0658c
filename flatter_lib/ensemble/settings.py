"""The arguments of an ensemble, checked: settings, seeds, noise, observables, records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flatter_lib.ensemble.draws import NOISES
from flatter_lib.valleys.problem import Observable

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Records a factor of ten in the step number, where records are spaced logarithmically.
RECORDS_A_DECADE = 20

_ALLOWED: dict[str, tuple[str, Callable[[Floats], NDArray[np.bool_]]]] = {
    "lr": ("positive and finite", lambda a: (a > 0) & np.isfinite(a)),
    "momentum": ("in [0, 1)", lambda a: (a >= 0) & (a < 1)),
    "label_noise": ("finite and at least 0", lambda a: (a >= 0) & np.isfinite(a)),
}


class Settings(NamedTuple):
    """Step size, momentum and strength of the noise, each float64 of shape (S,)."""

    lr: Floats
    momentum: Floats
    label_noise: Floats

    @classmethod
    def broadcast(cls, **given: ArrayLike) -> Settings:
        """Check numbers or one-dimensional arrays, and broadcast them to each other.

        Args:
            given: ``lr``, ``momentum`` and ``label_noise``.

        Raises:
            ValueError: for a value out of its range, and shapes that do not broadcast to one axis.

        Examples:
            >>> Settings.broadcast(lr=[0.1, 0.2], momentum=0.9, label_noise=0).momentum
            array([0.9, 0.9])
        """
        arrays = {name: _setting(name, value) for name, value in given.items()}
        try:
            lr, momentum, noise = np.broadcast_arrays(np.empty(1), *arrays.values())[1:]
        except ValueError as error:
            shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
            raise ValueError(f"{', '.join(arrays)}: must broadcast, got {shapes}") from error
        if lr.ndim != 1 or not lr.size:
            raise ValueError(
                f"{', '.join(arrays)}: numbers or one axis of settings, got {lr.shape}"
            )
        return cls(lr, momentum, noise)


def valid_seeds(seeds: int | Sequence[int]) -> list[int]:
    """The seeds that a count or a list stands for.

    Raises:
        ValueError: for no seed, or one that is not a whole number from 0 on.
    """
    if isinstance(seeds, int | np.integer):
        chosen = list(range(int(seeds)))
    else:
        whole = all(isinstance(seed, int | np.integer) for seed in seeds)
        chosen = [int(seed) for seed in seeds] if whole else []
    if not chosen or min(chosen) < 0:
        raise ValueError(f"seeds: a count of at least 1, or whole numbers from 0 on, got {seeds}")
    return chosen


def valid_noise(kind: str, label_noise: Floats, batch_size: int | None, samples: int) -> None:
    """Check that noise of a kind can be made.

    Raises:
        ValueError: for an unknown kind, a batch size or a strength that it cannot have.
    """
    if kind not in NOISES:
        raise ValueError(f"noise: one of {', '.join(NOISES)}, got {kind!r}")
    if batch_size is not None and batch_size < 1:
        raise ValueError(
            f"batch_size: at least 1, or None for all {samples} samples, got {batch_size}"
        )
    if kind == "minibatch" and batch_size is None:
        raise ValueError('batch_size: noise="minibatch" needs one, of at least 1')
    if kind == "minibatch" and np.any(label_noise > 0):
        raise ValueError('label_noise: must be 0 with noise="minibatch", whose labels are clean')
    if kind == "flip" and np.any(label_noise > 1):
        raise ValueError(
            f'label_noise: with noise="flip" a probability, in [0, 1], got {label_noise.max():g}'
        )


def valid_observables(
    observe: Iterable[str] | Mapping[str, str | Observable], known: Iterable[str]
) -> dict[str, str | Observable]:
    """What to record, by name.

    Raises:
        ValueError: for a name that is not known.

    Examples:
        >>> valid_observables(["loss"], ["loss", "trace"])
        {'loss': 'loss'}
    """
    if isinstance(observe, str):
        observe = [observe]
    named = observe if isinstance(observe, Mapping) else {name: name for name in observe}
    for what in named.values():
        if isinstance(what, str) and what not in known:
            raise ValueError(
                f"observe: one of {', '.join(sorted(known))}, or a name with a function, got {what!r}"
            )
    return dict(named)


def recorded_steps(steps: int, every: int | None) -> Integers:
    """The steps to record: the first and the last, and between them every so many, or evenly in the logarithm.

    Args:
        steps: the last step, at least 1.
        every: distance; None for `RECORDS_A_DECADE` records a decade, fewer where they would coincide.

    Raises:
        ValueError: for numbers below 1.

    Examples:
        >>> recorded_steps(10, 4)
        array([ 0,  4,  8, 10])
        >>> recorded_steps(100_000, None).size
        92
    """
    if steps < 1:
        raise ValueError(f"steps: at least 1, got {steps}")
    if every is not None and every < 1:
        raise ValueError(f"every: at least 1, or None for logarithmic spacing, got {every}")
    if every is not None:
        return np.unique(np.append(np.arange(0, steps, every), steps))
    count = 2 + int(np.ceil(RECORDS_A_DECADE * np.log10(steps)))
    return np.unique(np.append(0, np.rint(np.geomspace(1, steps, count)).astype(np.int64)))


def _setting(name: str, value: ArrayLike) -> Floats:
    allowed, holds = _ALLOWED[name]
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: must be numbers, {allowed}, got {value!r}") from error
    wrong = ~holds(array)
    if np.any(wrong):
        raise ValueError(f"{name}: must be {allowed}, got {array[wrong].flat[0]:g}")
    return array
