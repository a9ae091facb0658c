"""What an ensemble of runs leaves behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Result:
    """What :func:`flatter_lib.ensemble.run` measured; S settings, N seeds, R records, P parameters.

    Attributes:
        steps: (R,) the recorded steps, int64, from 0 to the last.
        values: by name, (S, N, R) float64, the observables there; NaN from the step at which a run diverged.
        diverged: (S, N) int64, the step k at which a run diverged: the first at whose parameters the loss, with the
            noise of the step to come, was not finite or above the limit; -1 for runs that did not.
        final: (S, N, P) the parameters after the last step, in the runs' dtype; NaN for runs that diverged.
    """

    steps: NDArray[np.int64]
    values: Mapping[str, NDArray[np.float64]]
    diverged: NDArray[np.int64]
    final: NDArray[Any]
