"""The arguments of an ensemble, checked: settings, noise, observables, records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from flatter_lib import checks
from flatter_lib.checks import Floats, Integers
from flatter_lib.ensemble.draws import NOISES
from flatter_lib.valleys.problem import Observable

#: Records a factor of ten in the step number, where records are spaced logarithmically.
RECORDS_A_DECADE = 20

_RANGES = {"lr": "(0, inf)", "momentum": "[0, 1)", "label_noise": "[0, inf)"}


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
        arrays = {name: checks.numbers(name, value, _RANGES[name]) for name, value in given.items()}
        return cls(*checks.one_axis(**arrays))


def valid_noise(kind: str, label_noise: Floats, batch_size: int | None) -> None:
    """Check that noise of a kind can be made.

    Raises:
        ValueError: for an unknown kind, a batch size or a strength that it cannot have.
    """
    checks.one_of("noise", kind, NOISES)
    if batch_size is not None:
        checks.count("batch_size", batch_size)
    if kind == "minibatch" and batch_size is None:
        raise ValueError('batch_size: noise="minibatch" needs one, of at least 1')
    if kind == "minibatch" and np.any(label_noise > 0):
        raise ValueError('label_noise: must be 0 with noise="minibatch", whose labels are clean')


def valid_observables(
    observe: Iterable[str] | Mapping[str, str | Observable], known: Iterable[str]
) -> dict[str, str | Observable]:
    """What to record, by name.

    Raises:
        ValueError: for a name that is not known, or a name without a function.

    Examples:
        >>> valid_observables(["loss"], ["loss", "trace"])
        {'loss': 'loss'}
    """
    if isinstance(observe, str):
        observe = [observe]
    named = observe if isinstance(observe, Mapping) else {name: name for name in observe}
    for what in named.values():
        if not callable(what) and what not in known:
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
        ValueError: for what is no integer from 1.

    Examples:
        >>> recorded_steps(10, 4)
        array([ 0,  4,  8, 10])
        >>> recorded_steps(100_000, None).size
        92
    """
    checks.count("steps", steps, most=checks.MOST_STEPS)
    if every is not None:
        checks.count("every", every)
        return np.unique(np.append(np.arange(0, steps, every), steps))
    count = 2 + int(np.ceil(RECORDS_A_DECADE * np.log10(steps)))
    return np.unique(np.append(0, np.rint(np.geomspace(1, steps, count)).astype(np.int64)))
