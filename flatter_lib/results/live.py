"""Holding a record against the code of today: one run is made again, and must come out as recorded."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from flatter_lib import checks
from flatter_lib.results.record import Record, plain, unplain
from flatter_lib.results.records import Records


class StaleError(ValueError):
    """A record that the code of today does not reproduce."""


class Experiment(Protocol):
    """What is needed of an experiment's module."""

    @property
    def run(self) -> Callable[[Any], Mapping[str, Any]]:
        """Makes one run."""


def recompute(
    records: Records,
    configuration: Any,
    experiment: Experiment,
    *,
    rtol: float,
    atol: float = 0.0,
    measurements: Iterable[str] | None = None,
) -> Record:
    """Make one recorded run again, and fail if it comes out otherwise.

    Args:
        records: those that the chapter reads.
        configuration: which run, in the experiment's own type.
        experiment: the experiment's module, whose ``run`` is called.
        rtol: relative tolerance of every number.
        atol: absolute tolerance of every number.
        measurements: those to compare; all by default.

    Returns:
        The record.

    Raises:
        ValueError: if there is no record of the configuration, a tolerance is negative or not finite, or a measurement
            is none that was recorded.
        StaleError: if a measurement is beyond its tolerance; the message names it, with both values.

    Examples:
        >>> from flatter_lib.experiments import stationary_law
        >>> from flatter_lib.results.record import configuration_of
        >>> setting = stationary_law.PROFILES["smoke"][0]
        >>> runs = Records([Record("stationary_law", configuration_of(setting), stationary_law.run(setting))])
        >>> recompute(runs, setting, stationary_law, rtol=1e-12).ok
        True
    """
    checks.number("rtol", rtol, "[0, inf)")
    checks.number("atol", atol, "[0, inf)")
    record = records.of([configuration])[0]
    known = record.measurements
    names = known if measurements is None else measurements
    chosen = [checks.one_of("measurements", name, known) for name in names]
    fresh = unplain(plain(experiment.run(configuration)))
    if not set(chosen) <= set(fresh) or (measurements is None and len(fresh) > len(chosen)):
        raise StaleError(
            _stale(record, f"measures {', '.join(fresh)} now, not {', '.join(chosen)}")
        )
    for name in chosen:
        if not _close(record.measurements[name], fresh[name], rtol, atol):
            raise StaleError(
                _stale(
                    record,
                    f"{name} is {_short(record.measurements[name])} in the record and {_short(fresh[name])} now, "
                    f"beyond rtol {rtol:g}",
                )
            )
    return record


def _close(a: Any, b: Any, rtol: float, atol: float) -> bool:
    """Whether two values are equal in structure, and their numbers within the tolerance; NaN is NaN."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return set(a) == set(b) and all(_close(a[n], b[n], rtol, atol) for n in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(_close(x, y, rtol, atol) for x, y in zip(a, b, strict=True))
    if isinstance(a, int | float) and isinstance(b, int | float):
        near = math.isfinite(a) and abs(a - b) <= atol + rtol * abs(a)
        return near or a == b or (a != a and b != b)
    return bool(a == b)


def _stale(record: Record, what: str) -> str:
    fields = ", ".join(f"{name}={value!r}" for name, value in record.configuration.items())
    return (
        f"{record.experiment} ({fields}): {what}: measure it again with "
        f"`flatter sweep {record.experiment} --renew`"
    )


def _short(value: Any) -> str:
    text = f"{value:.10g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
