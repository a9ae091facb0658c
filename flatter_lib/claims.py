"""What a chapter measured of a claim, as a row that travels in its cell's output.

The claims themselves (statement, paper, place, what would count as holding) are the book's; a chapter only records
the measured value. Executing it writes no file: publishing collects the rows from the published notebooks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from flatter_lib.notebook import emit


def record(
    claim_id: str, value: float, low: float | None = None, high: float | None = None, **where: Any
) -> None:
    """Record the measured value of a claim in the output of the running cell.

    Args:
        claim_id: the claim's id in the ledger.
        value: what was measured.
        low: lower end of its 95 % interval; leave both ends out only for an exact value.
        high: upper end of its 95 % interval.
        **where: what it was measured on: ``scale`` (``"laptop"``), the sample size (``runs=...`` or ``seeds=...``),
            and whatever else a reader needs to judge it.

    Raises:
        ValueError: if a number is not finite, one end of the interval is missing, or the interval does not hold
            the value.

    Examples:
        >>> record("example", 0.667, 0.65, 0.68, seeds=64, scale="laptop")
        claim example: 0.667 [0.65, 0.68] (seeds=64, scale=laptop)
        >>> record("example", 1.0, scale="closed form")
        claim example: 1 (exact, scale=closed form)
    """
    value = float(value)
    if not math.isfinite(value):
        raise ValueError(f"value of claim {claim_id!r}: a finite number, got {value}")
    if (low is None) != (high is None):
        raise ValueError(
            f"claim {claim_id!r}: give both ends of the interval, or neither if the value is exact"
        )
    row: dict[str, Any] = {"claim": claim_id, "value": value, "where": where}
    notes = [f"{name}={text}" for name, text in where.items()]
    if low is None or high is None:
        line = f"claim {claim_id}: {value:.4g} ({', '.join(['exact', *notes])})"
    else:
        low, high = float(low), float(high)
        if not math.isfinite(low) or not math.isfinite(high):
            raise ValueError(
                f"claim {claim_id!r}: finite ends of the interval, got [{low}, {high}]"
            )
        if not low <= value <= high:
            raise ValueError(f"claim {claim_id!r}: [{low}, {high}] does not hold the value {value}")
        row |= {"low": low, "high": high}
        line = f"claim {claim_id}: {value:.3g} [{low:.3g}, {high:.3g}] ({', '.join(notes)})"
    emit({"text/plain": line}, {"claim": row})


REPRODUCED = "reproduced"
CAVEAT = "reproduced with a caveat"
CONTRADICTED = "contradicted"
UNDECIDED = "undecided"
UNTESTED = "not tested here"
VERDICTS = (REPRODUCED, CAVEAT, CONTRADICTED, UNDECIDED, UNTESTED)


def band(expect: Mapping[str, Any]) -> tuple[float, float]:
    """The values that a claim allows.

    Args:
        expect: one of ``{"equals": x, "tolerance": t}``, ``{"at_most": x}``, ``{"at_least": x}``,
            ``{"between": [a, b]}``.

    Returns:
        The lower and the upper end.

    Raises:
        ValueError: if it is none of them.

    Examples:
        >>> band({"at_least": 1})
        (1.0, inf)
    """
    match dict(expect):
        case {"equals": x, "tolerance": t, **rest} if not rest and t >= 0:
            return float(x) - float(t), float(x) + float(t)
        case {"at_most": x, **rest} if not rest:
            return -math.inf, float(x)
        case {"at_least": x, **rest} if not rest:
            return float(x), math.inf
        case {"between": [a, b], **rest} if not rest and a <= b:
            return float(a), float(b)
    raise ValueError(
        f"expect: {dict(expect)} is none of equals with tolerance, at_most, at_least, between [a, b]"
    )


def verdict(
    expect: Mapping[str, Any],
    value: float,
    low: float | None = None,
    high: float | None = None,
    caveat: str = "",
) -> str:
    """What a measurement says of a claim.

    The interval (for an exact value, the value) lies inside the band that the claim allows: reproduced; outside:
    contradicted; across its edge: undecided, since the measurement cannot tell.

    Args:
        expect: what the claim allows; see :func:`band`.
        value: the measured value.
        low: lower end of its interval.
        high: upper end.
        caveat: what a reader must know beside a claim that held.

    Examples:
        >>> verdict({"equals": 0.667, "tolerance": 0.05}, 0.65, 0.64, 0.66)
        'reproduced'
        >>> verdict({"equals": 0.667, "tolerance": 0.05}, 0.5, 0.48, 0.52)
        'contradicted'
        >>> verdict({"at_most": 0.0}, 0.1, -0.1, 0.3)
        'undecided'
    """
    least, most = band(expect)
    low, high = (value if low is None else low), (value if high is None else high)
    if high < least or low > most:
        return CONTRADICTED
    if least <= low and high <= most:
        return CAVEAT if caveat else REPRODUCED
    return UNDECIDED
