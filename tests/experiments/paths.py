"""The naive twin of timing: a path read value by value."""

import numpy as np


def times(path, level):
    """First step at or below the level, and the step after the last one above it, in plain Python."""
    below = [k for k, x in enumerate(path) if x <= level]
    above = [k for k, x in enumerate(path) if x > level]
    first = below[0] if below else np.nan
    if not above:
        return first, 0
    return first, above[-1] + 1 if above[-1] + 1 < len(path) else np.nan
