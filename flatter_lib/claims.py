"""What a chapter measured of a claim, as a row that travels in its cell's output.

The claims themselves (statement, paper, place, what would count as holding) are the book's; a chapter only records
the measured value. Executing it writes no file: publishing collects the rows from the published notebooks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from flatter_lib import checks
from flatter_lib.notebook import emit
from flatter_lib.values import (
    PRINTED,
    Below,
    Estimate,
    Tolerance,
    Value,
    estimate,
    number_of,
    written,
)


def record(
    claim_id: str,
    value: float | Below,
    low: float | None = None,
    high: float | None = None,
    holds: Tolerance = PRINTED,
    **where: Any,
) -> None:
    """Record the measured value of a claim in the output of the running cell.

    Args:
        claim_id: the claim's id in the ledger.
        value: what was measured; a machine zero as :func:`flatter_lib.values.below`.
        low: lower end of its 95 % interval; leave both ends out only for an exact value.
        high: upper end of its 95 % interval.
        holds: how closely all three must come out again; without it to half a unit of the last digit that the ledger
            prints, which is two digits of the interval's width, and for an exact value to 1e-6 of it.
        **where: what it was measured on: ``scale`` (``"laptop"``), the sample size (``runs=...`` or ``seeds=...``),
            and whatever else a reader needs to judge it.

    Raises:
        ValueError: if the id is empty, a number is not finite, one end of the interval is missing, or the interval
            does not hold the value.

    Examples:
        >>> record("example", 0.667, 0.65, 0.68, seeds=64, scale="laptop")
        claim example: 0.667 [0.650, 0.680] (seeds=64, scale=laptop)
        >>> record("example", 1.0, scale="closed form")
        claim example: 1 (exact, scale=closed form)
    """
    if not isinstance(claim_id, str) or not claim_id.strip():
        raise ValueError(f"claim_id: the id of a claim in the ledger, got {claim_id!r}")
    if (low is None) != (high is None) or (isinstance(value, Below) and low is not None):
        raise ValueError(f"claim {claim_id!r}: give both ends of the interval, or neither")
    try:
        if isinstance(value, Below):
            measured: Estimate | Below | float = value
        elif low is None or high is None:
            measured = checks.number("value", value)
        else:
            measured = Estimate(value, low, high)
        kept = estimate(claim_id, measured, holds)
        kept["where"] = {name: _plain(name, said) for name, said in where.items()}
    except ValueError as error:
        raise ValueError(f"claim {claim_id!r}: {error}") from None
    emit({"text/plain": line(kept)}, {"role": "claim", "values": [kept]})


def line(value: Value) -> str:
    """What a cell shows of a row of the ledger."""
    notes = [f"{name}={said}" for name, said in value["where"].items()]
    exact = not isinstance(number_of(value), Estimate)
    return f"claim {value['name']}: {written(value)} ({', '.join(['exact'] * exact + notes)})"


def _plain(name: str, said: Any) -> str | int | float | None:
    """What JSON can hold of a circumstance."""
    said = said.item() if hasattr(said, "item") else said
    if isinstance(said, float):
        if not math.isfinite(said):
            raise ValueError(f"{name}: a finite number, got {said}")
        return float(f"{said:.6g}")
    return said if isinstance(said, str | int | None) else str(said)


REPRODUCED = "reproduced"
CAVEAT = "reproduced with a caveat"
HELD = "held where tried"
UNDECIDED = "undecided"
CONTRADICTED = "contradicted"
READING = "contradicted under our reading"
MISPRINT = "misprint"
UNTESTED = "not tested here"
VERDICTS = (REPRODUCED, CAVEAT, HELD, UNDECIDED, CONTRADICTED, READING, MISPRINT, UNTESTED)


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
        case {"equals": x, "tolerance": t, **rest} if not rest and _numbers(x, t) and t >= 0:
            return float(x) - float(t), float(x) + float(t)
        case {"at_most": x, **rest} if not rest and _numbers(x):
            return -math.inf, float(x)
        case {"at_least": x, **rest} if not rest and _numbers(x):
            return float(x), math.inf
        case {"between": [a, b], **rest} if not rest and _numbers(a, b) and a <= b:
            return float(a), float(b)
    raise ValueError(
        f"expect: {dict(expect)} is none of equals with tolerance, at_most, at_least, between [a, b], "
        "each with finite numbers"
    )


def _numbers(*values: Any) -> bool:
    return all(
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        for value in values
    )


def verdict(
    expect: Mapping[str, Any],
    value: float,
    low: float | None = None,
    high: float | None = None,
    caveat: str = "",
    *,
    universal: bool = False,
    reading: str = "",
    misprint: bool = False,
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
        universal: whether the claim is about all cases. One of them can contradict it; no number of them reproduces
            it, and inside the band it has *held where tried*.
        reading: what the paper leaves open and how it is read here; outside the band that reading is contradicted.
        misprint: whether what fails outside the band is the print, and not what was meant.

    Raises:
        ValueError: if ``expect`` is no band, or a failure would be both a reading's and a misprint.

    Examples:
        >>> verdict({"equals": 0.667, "tolerance": 0.05}, 0.65, 0.64, 0.66)
        'reproduced'
        >>> verdict({"equals": 0.667, "tolerance": 0.05}, 0.5, 0.48, 0.52)
        'contradicted'
        >>> verdict({"at_most": 0.0}, 0.1, -0.1, 0.3)
        'undecided'
        >>> verdict({"at_least": 1.0}, 1.2, universal=True)
        'held where tried'
        >>> verdict({"at_least": 1.0}, 0.8, reading="the time is that of first passage")
        'contradicted under our reading'
    """
    if reading and misprint:
        raise ValueError(
            "reading, misprint: at most one of the two, since a misprint leaves nothing open"
        )
    least, most = band(expect)
    low, high = (value if low is None else low), (value if high is None else high)
    if high < least or low > most:
        return MISPRINT if misprint else READING if reading else CONTRADICTED
    if least <= low and high <= most:
        return HELD if universal else CAVEAT if caveat else REPRODUCED
    return UNDECIDED
