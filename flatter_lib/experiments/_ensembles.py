"""What experiments share that time label noise in a valley: their cells as ensembles of runs."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from flatter_lib.experiments.design import Rung, whole
from flatter_lib.stats import first_passage, settling_time

if TYPE_CHECKING:
    from flatter_lib.ensemble import Result

Floats = NDArray[np.float64]
Configuration = TypeVar("Configuration")


def configurations(
    kind: Callable[..., Configuration], chosen: Sequence[Rung], **fields: Any
) -> list[Configuration]:
    """The cells of rungs, with what else their configurations hold."""
    return [
        kind(
            lr=c.lr,
            memory=c.memory,
            strength=c.strength,
            steps=rung.steps,
            seed=rung.seed,
            **fields,
        )
        for rung in chosen
        for c in rung.cells
    ]


def batch(configuration: Any) -> Hashable:
    """Cells with equal keys can be made in one pass."""
    key: Hashable = replace(configuration, lr=1.0, memory=1.0)
    return key


def made(
    cells: Sequence[Any],
    start: Floats,
    looks: int,
    *,
    observe: Sequence[str] = ("trace", "test_error"),
    chunk: int | None = None,
) -> Result:
    """Make the runs of cells whose keys are equal, so many together, and look about so often."""
    from flatter_lib import ensemble

    c = cells[0]
    return ensemble.run(
        c.problem,
        lr=[each.lr for each in cells],
        momentum=[1 - each.memory for each in cells],
        label_noise=c.strength,
        steps=c.steps,
        seeds=range(c.seed, c.seed + c.runs),
        start=start,
        observe=list(observe),
        every=max(1, c.steps // looks),
        chunk=chunk,
    )


def timed(
    steps: NDArray[np.int64],
    excess: Floats,
    levels: Sequence[float],
    error: Floats,
    error_level: float,
) -> dict[str, Any]:
    """The times of a cell's runs.

    Returns:
        ``first_passage`` and ``settling``: for each of the levels, the step of each run at which its excess first is at
        or below the level, and from which its size stays there (NaN if it never does). ``error_first_passage`` and
        ``error_settling``: the same for the error.
    """
    return {
        "first_passage": [whole(first_passage(steps, excess, level)) for level in levels],
        "settling": [whole(settling_time(steps, excess, level)) for level in levels],
        "error_first_passage": whole(first_passage(steps, error, error_level)),
        "error_settling": whole(settling_time(steps, error, error_level)),
    }
