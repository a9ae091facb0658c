r"""Judging runs that were made again against their records.

An experiment declares in its module what its measurements are held to::

    HELD = {"settling": {"rtol": 1e-3, "share": 0.9}, "data.source": None}

Names are those of measurements, or of parts of a mapping that is one, ``name.part``. What is not named is held to the
rule of the mapping it is in, or that of the empty name, or else to that of a short run in double precision, an rtol of
1e-9. The fields are those of :class:`Rule`; None holds to nothing.

With ``share`` 1 every entry must be equal within the tolerance, which is the rule for numbers whose rounding errors
stay small. Where the motion is chaotic rounding errors grow until entries differ by more, and two things are asked
instead: that at least the ``share`` of the entries is equal, and that the others differ without a preferred sign.
The second is a sign test over records, since the entries of one depend on each other: a record's sign is that of the
sum of :math:`\operatorname{sign}(b - a)` over its entries that are not equal, with a recorded and b fresh. A NaN is a
time that never came, or a loss that has diverged, so it counts as larger than any number.

Texts and the structure must be equal, whatever the share. NaN equals NaN, and infinity itself.
"""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from flatter_lib import checks
from flatter_lib.evidence.experiment import measured
from flatter_lib.evidence.record import Record, plain, said, unplain
from flatter_lib.evidence.records import Records

#: Probability below which a preferred sign is no accident. A whole verification makes about fifty such tests.
LEVEL = 1e-4


@dataclass(frozen=True)
class Rule:
    """What a measurement is held to.

    Attributes:
        rtol: entries a and b are equal if they differ by at most ``atol + rtol * abs(a)``.
        atol: see there.
        share: of the entries, that must be equal.
        common: a field of the configurations; records that agree in it share an accident, such as a start that is
            itself the end of chaotic motion, and have one sign together.
    """

    rtol: float = 1e-9
    atol: float = 0.0
    share: float = 1.0
    common: str = ""

    def __post_init__(self) -> None:
        checks.number("rtol", self.rtol, "[0, inf)")
        checks.number("atol", self.atol, "[0, inf)")
        checks.number("share", self.share, "(0, 1]")

    def __str__(self) -> str:
        tolerance = f"rtol {self.rtol:g}" + (f", atol {self.atol:g}" if self.atol else "")
        return f"{tolerance}, for {self.share:.0%}" if self.share < 1 else tolerance


class Verdict(NamedTuple):
    """What became of one measurement.

    Attributes:
        rule: what it was held to.
        entries: how many were compared.
        equal: share of them within the tolerance.
        worst: largest ``abs(b - a) / max(abs(a), abs(b))``; infinite if one is finite and the other is not.
        p: of the sign test.
        example: of the entry that differs most, the record, and the recorded and the fresh value.
        passed: whether the rule holds.
    """

    rule: Rule
    entries: int
    equal: float
    worst: float
    p: float
    example: tuple[Record, Any, Any]
    passed: bool


def judge(
    pairs: Iterable[tuple[Record, Record]], held: Mapping[str, Mapping[str, Any] | None]
) -> dict[str, Verdict]:
    """Judge runs that were made again.

    Args:
        pairs: records, each with that of the run made again; those that failed are left aside.
        held: the experiment's rules.

    Returns:
        name of the measurement, or of a part of it -> verdict.

    Raises:
        ValueError: if a rule is none.

    Examples:
        >>> record = Record("valley", {}, {"time": [120.0, math.inf], "note": "fine"})
        >>> again = Record("valley", {}, {"time": [120.0, math.inf], "note": "poor"})
        >>> {name: verdict.passed for name, verdict in judge([(record, again)], {}).items()}
        {'time': True, 'note': False}
    """
    columns: dict[str, list[tuple[Record, Any, Any]]] = defaultdict(list)
    for record, fresh in pairs:
        if not fresh.ok:
            continue
        a, b = dict(_entries(record.measurements)), dict(_entries(fresh.measurements))
        for name, at in {**a, **b}:
            value, again = (side.get((name, at), "nothing") for side in (a, b))
            columns[name].append((record, value, again))
    rules = {name: None if fields is None else Rule(**fields) for name, fields in held.items()}
    verdicts = {}
    for name, column in columns.items():
        rule = next((rules[n] for n in (name, name.partition(".")[0], "") if n in rules), Rule())
        if rule is not None:
            verdicts[name] = _verdict(rule, column)
    return verdicts


def _entries(value: Any, name: str = "", at: tuple[int, ...] = ()) -> Iterator[Any]:
    """Every number and text in a value, by its dotted name and its place in lists; an empty list is a text."""
    if isinstance(value, Mapping):
        for part, content in value.items():
            yield from _entries(content, f"{name}.{part}" if name else part, at)
    elif isinstance(value, list) and value:
        for i, item in enumerate(value):
            yield from _entries(item, name, (*at, i))
    else:
        yield (name, at), (value if isinstance(value, int | float | str) else str(value))


def _verdict(rule: Rule, column: Sequence[tuple[Record, Any, Any]]) -> Verdict:
    texts = [isinstance(a, str) or isinstance(b, str) for _, a, b in column]
    broken = [t and a != b for t, (_, a, b) in zip(texts, column, strict=True)]
    a, b = (
        np.array([0.0 if t else row[i] for t, row in zip(texts, column, strict=True)], dtype=float)
        for i in (1, 2)
    )
    with np.errstate(invalid="ignore", over="ignore"):
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        apart = np.where(same, 0.0, np.abs(b - a))
        equal = same | (apart <= rule.atol + rule.rtol * np.abs(a))
        deviation = np.where(same, 0.0, apart / np.maximum(np.abs(a), np.abs(b)))
    # One finite and the other not, or plus and minus infinity.
    unlike = ~same & ~(np.isfinite(a) & np.isfinite(b))
    deviation[unlike], equal[unlike] = np.inf, False
    deviation[broken], equal[broken] = np.inf, False
    late_a, late_b = np.where(np.isnan(a), np.inf, a), np.where(np.isnan(b), np.inf, b)
    sign = np.where(equal | (late_a == late_b), 0, np.where(late_b > late_a, 1, -1))
    signs: dict[Any, int] = defaultdict(int)
    for (record, _, _), s in zip(column, sign.tolist(), strict=True):
        signs[record.configuration[rule.common] if rule.common else record.key] += s
    p = sign_test(signs.values())
    share = float(equal.mean())
    worst = int(np.argmax(np.where(equal, -1.0, deviation)) if share < 1 else deviation.argmax())
    record, recorded, fresh = column[worst]
    passed = share >= rule.share and p >= LEVEL and not any(broken)
    return Verdict(
        rule, len(column), share, float(deviation.max()), p, (record, recorded, fresh), passed
    )


def sign_test(differences: Iterable[float]) -> float:
    """The two-sided probability of a majority at least as large if either sign is as likely; zeros do not count.

    Examples:
        >>> sign_test([1, 2, 0, 3, 1, 1]), sign_test([1, -1, 0])
        (0.0625, 1.0)
    """
    signs = [math.copysign(1, d) for d in differences if d]
    n, fewer = len(signs), min(signs.count(1.0), signs.count(-1.0))
    return min(1.0, 2 * sum(math.comb(n, k) for k in range(fewer + 1)) / (1 << n))


def complaints(verdicts: Mapping[str, Verdict], fresh: Iterable[Record]) -> list[str]:
    """A line for every run that failed, and for every measurement that did not pass."""
    lines = [
        f"{said(record.configuration)}: fails now: {record.error['message']}"
        for record in fresh
        if not record.ok
    ]
    for name, v in verdicts.items():
        if v.passed:
            continue
        record, recorded, now = v.example
        lean = f", and the others lean to one side (p = {v.p:.1g})" if v.p < LEVEL else ""
        lines.append(
            f"{name}: {v.equal:.2%} of {v.entries} entries equal, held to {v.rule}{lean}; farthest apart is "
            f"{recorded!r} in the record and {now!r} now, of {said(record.configuration)}"
        )
    return lines


class StaleError(ValueError):
    """A record that the code of today does not reproduce."""


def recompute(
    records: Records,
    configuration: Any,
    experiment: Any,
    *,
    rtol: float,
    atol: float = 0.0,
    measurements: Iterable[str] | None = None,
) -> Record:
    """Make one recorded run again, and fail if it comes out otherwise.

    Args:
        records: those that the chapter reads.
        configuration: which run, in the experiment's own type.
        experiment: the experiment's module.
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
        >>> from flatter_lib.evidence.record import configuration_of
        >>> setting = stationary_law.PROFILES["smoke"][0]
        >>> runs = Records([Record("stationary_law", configuration_of(setting), stationary_law.run(setting))])
        >>> recompute(runs, setting, stationary_law, rtol=1e-12).ok
        True
    """
    held = {"": {"rtol": rtol, "atol": atol}}
    judge([], held)  # a tolerance that is none is refused before the run is made
    record = records.of([configuration])[0]
    chosen = record.measurements if measurements is None else tuple(measurements)
    for name in chosen:
        checks.one_of("measurements", name, record.measurements)
    fresh = unplain(plain(dict(measured(experiment, [configuration])[0])))
    recorded, again = (
        dataclasses.replace(
            record,
            measurements={n: v for n, v in side.items() if measurements is None or n in chosen},
        )
        for side in (record.measurements, fresh)
    )
    for name, verdict in judge([(recorded, again)], held).items():
        if not verdict.passed:
            _, then, now = verdict.example
            raise StaleError(
                f"{record.experiment} ({said(record.configuration)}): {name} is {then!r} in the record and "
                f"{now!r} now, beyond {verdict.rule}: measure it again with `flatter sweep {record.experiment} --renew`"
            )
    return record
