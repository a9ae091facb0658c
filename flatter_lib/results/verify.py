r"""Judging records by measuring a sample of them again: "measured by code A, verified under code B".

An experiment declares in its module what its measurements are held to::

    HELD = {"settling": {"rtol": 1e-3, "share": 0.9}, "data.source": None}

Names are those of measurements, or of parts of a mapping that is one, ``name.part``. What is not named is held to the
rule of the mapping it is in, or that of the empty name, or else to that of a short run in double precision, an rtol of
1e-9. The fields are those of :class:`Rule`; None holds to nothing.

With ``share`` 1 every entry must be equal within the tolerance, which is the rule for numbers whose rounding errors
stay small. Where the motion is chaotic rounding errors grow until entries differ by more, and two things are asked
instead: that at least the ``share`` of the entries is equal, and that the others differ without a preferred sign.
The second is a sign test over *cells*, since entries of one cell depend on each other: a cell is an element of a
measurement that is a list of lists, or the whole measurement if it is none, and its sign is that of the sum of
:math:`\operatorname{sign}(b - a)` over its entries that are not equal, with a recorded and b fresh. A NaN is a time
that never came, or a loss that has diverged, so it counts as larger than any number.

Texts and the structure must be equal, whatever the share. NaN equals NaN, and infinity itself.
"""

from __future__ import annotations

import itertools
import json
import math
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from flatter_lib import checks
from flatter_lib.results.record import Record, plain
from flatter_lib.results.records import digest

#: Runs that took no more seconds are all measured again, if the budget allows.
SHORT = 5.0
#: A field of the configurations with no more values than this tells kinds of configuration apart.
KINDS = 4
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
            itself the end of chaotic motion, and are one cell together.
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
    columns: dict[str, list[tuple[Record, tuple[int, ...], Any, Any]]] = defaultdict(list)
    for record, fresh in pairs:
        if not fresh.ok:
            continue
        a, b = dict(_entries(record.measurements)), dict(_entries(fresh.measurements))
        for name, at in {**a, **b}:
            value, again = (side.get((name, at), "nothing") for side in (a, b))
            columns[name].append((record, at, value, again))
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


def _verdict(rule: Rule, column: Sequence[tuple[Record, tuple[int, ...], Any, Any]]) -> Verdict:
    texts = [isinstance(a, str) or isinstance(b, str) for _, _, a, b in column]
    broken = [t and a != b for t, (_, _, a, b) in zip(texts, column, strict=True)]
    a, b = (
        np.array([0.0 if t else row[i] for t, row in zip(texts, column, strict=True)], dtype=float)
        for i in (2, 3)
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
    cells: dict[tuple[str, tuple[int, ...]], int] = defaultdict(int)
    for (record, at, _, _), s in zip(column, sign.tolist(), strict=True):
        own = record.key, at[:1] if len(at) > 1 else ()
        cells[(str(record.configuration[rule.common]), ()) if rule.common else own] += s
    p = sign_test(cells.values())
    share = float(equal.mean())
    worst = int(np.argmax(np.where(equal, -1.0, deviation)) if share < 1 else deviation.argmax())
    record, _, recorded, fresh = column[worst]
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


def sample(records: Iterable[Record], seed: str, seconds: float, workers: int = 1) -> list[Record]:
    """Draw the runs to make again, in an order in which any beginning is a fair sample too.

    First short ones: all, or as many as half of the time holds if there are others. Then others, and with what is left
    the remaining short ones. Each draw goes round the kinds of configuration, one run of each at a time. A kind is
    what shares the values of the fields that have at most :data:`KINDS` of them, the seed left aside.

    Args:
        records: what there is.
        seed: of the draw; the hash of the code, so that other code gets another sample.
        seconds: budget on one core, by how long the runs took before.
        workers: no run takes more than the share that each of these has of what is left.

    Returns:
        The runs, each once.

    Examples:
        >>> runs = [Record("valley", {"noise": n % 2, "seed": n}, seconds=float(n)) for n in range(12)]
        >>> drawn = sample(runs, "a hash", 30.0)
        >>> sum(r.seconds for r in drawn) <= 30, sorted(r.seconds for r in drawn)[:6]
        (True, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    """
    everything = list(records)
    generator = random.Random(seed)
    values: dict[str, set[str]] = defaultdict(set)
    for record in everything:
        for name, value in record.configuration.items():
            values[name].add(repr(value))
    few = [name for name, found in values.items() if name != "seed" and len(found) <= KINDS]

    def drawn(runs: Iterable[Record]) -> list[Record]:
        kinds: dict[str, list[Record]] = defaultdict(list)
        for record in sorted(runs, key=lambda r: r.key):
            kinds[repr([record.configuration.get(name) for name in few])].append(record)
        for runs_of_it in kinds.values():
            generator.shuffle(runs_of_it)
        order = list(kinds.values())
        generator.shuffle(order)
        return [r for turn in itertools.zip_longest(*order) for r in turn if r is not None]

    short = drawn(r for r in everything if r.seconds <= SHORT)
    long = drawn(r for r in everything if r.seconds > SHORT)
    chosen: dict[str, Record] = {}
    left = seconds
    for runs, kept in ((short, seconds / 2 if long else 0.0), (long, 0.0), (short, 0.0)):
        for record in runs:
            if record.key not in chosen and record.seconds <= (left - kept) / workers:
                chosen[record.key] = record
                left -= record.seconds
    return list(chosen.values())


def entry(
    path: Path, total: int, fresh: Sequence[Record], verdicts: Mapping[str, Verdict]
) -> dict[str, Any]:
    """A verification as it is kept, in what JSON has.

    Args:
        path: the file of records.
        total: how many it holds.
        fresh: runs that were made again, one at least; one that failed does not pass.
        verdicts: what became of each measurement.
    """
    first = fresh[0]
    failures = {record.key: record.error["message"] for record in fresh if not record.ok}
    return {
        "source": first.code["source"],
        "commit": first.code["commit"],
        "when": max(record.finished for record in fresh),
        "machine": first.machine,
        "versions": dict(first.versions),
        "records": total,
        "digest": digest(path),
        "keys": sorted(record.key for record in fresh),
        "failures": failures,
        "measurements": {
            name: plain(v._asdict() | {"rule": str(v.rule), "example": v.example[0].key})
            for name, v in verdicts.items()
        },
        "passed": not failures and all(v.passed for v in verdicts.values()),
    }


def complaints(verdicts: Mapping[str, Verdict], fresh: Iterable[Record]) -> list[str]:
    """A line for every run that failed, and for every measurement that did not pass."""
    lines = [
        f"{said(record)}: fails now: {record.error['message']}" for record in fresh if not record.ok
    ]
    for name, v in verdicts.items():
        if v.passed:
            continue
        record, recorded, now = v.example
        lean = f", and the others lean to one side (p = {v.p:.1g})" if v.p < LEVEL else ""
        lines.append(
            f"{name}: {v.equal:.2%} of {v.entries} entries equal, held to {v.rule}{lean}; farthest apart is "
            f"{recorded!r} in the record and {now!r} now, of {said(record)}"
        )
    return lines


def said(record: Record) -> str:
    """A record's configuration in words."""
    return ", ".join(f"{name}={value!r}" for name, value in record.configuration.items())


def beside(path: Path) -> Path:
    """Where the verifications of a file of records are: ``NAME.verified.json`` beside ``NAME.jsonl``."""
    return path.with_suffix(".verified.json")


def verifications(path: Path) -> list[dict[str, Any]]:
    """The verifications of a file of records, in order; none if it has not been verified.

    Raises:
        ValueError: if they cannot be read.
    """
    kept = beside(path)
    try:
        content = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else []
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{kept.name} cannot be read ({error}): take it back from git or remove it"
        ) from None
    if not isinstance(content, list) or not all(isinstance(e, dict) for e in content):
        raise ValueError(
            f"{kept.name} is no list of verifications: take it back from git or remove it"
        )
    return content
