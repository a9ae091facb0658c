"""Reading records: a file of them, those of some settings, their measurements as arrays."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from flatter_lib import machine
from flatter_lib.evidence.record import (
    DamagedError,
    Record,
    better,
    configuration_of,
    decode,
    hashed,
    key,
    plain,
    rank,
    said,
)

#: So many lines that cannot be read are named; of the others it is said how many they are.
FEW = 5


class Lines(NamedTuple):
    """What files of records hold.

    Attributes:
        records: key -> record.
        unread: line that is no record -> where it is, and what is wrong with it.
    """

    records: dict[str, Record]
    unread: dict[bytes, str]


class Records(Sequence[Record]):
    """Runs that did not fail, to be chosen from by their configurations and stacked into arrays.

    Args:
        records: the runs.

    Examples:
        >>> runs = Records(
        ...     Record("valley", {"lr": lr, "seed": seed}, {"trace": [lr, seed]})
        ...     for lr in (0.2, 0.1) for seed in range(3)
        ... )
        >>> runs.values("lr"), len(runs.where(lr=0.1)), len(runs.where(seed=[0, 1]))
        ([0.1, 0.2], 3, 4)
        >>> runs.stack("trace", "lr", "seed").shape
        (2, 3, 2)
        >>> runs.one(lr=0.2, seed=1)["trace"]
        array([0.2, 1. ])
    """

    def __init__(self, records: Iterable[Record]) -> None:
        self._records = tuple(records)

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records)

    @overload
    def __getitem__(self, index: int) -> Record: ...

    @overload
    def __getitem__(self, index: slice) -> Records: ...

    def __getitem__(self, index: int | slice) -> Record | Records:
        return Records(self._records[index]) if isinstance(index, slice) else self._records[index]

    def where(self, **fields: Any) -> Records:
        """The runs whose configuration has these values; several values, any of which will do, come in a list.

        A tuple, a set, a range or an array is such a list too. Numbers may differ by rounding (1e-12 of the value).

        Raises:
            ValueError: if no run has a field of such a name.
        """
        self._known(fields)
        wanted = {
            name: list(value)
            if isinstance(value, Iterable) and not isinstance(value, str)
            else [value]
            for name, value in fields.items()
        }
        return Records(
            record
            for record in self
            if all(
                any(_same(record.configuration.get(name), item) for item in items)
                for name, items in wanted.items()
            )
        )

    def one(self, **fields: Any) -> Record:
        """The only run whose configuration has these values.

        Raises:
            ValueError: if there is none, or more than one.
        """
        found = self.where(**fields)
        if len(found) != 1:
            raise ValueError(
                f"{said(fields) or 'any configuration'}: {len(found)} records, where one was asked for"
            )
        return found._records[0]

    def of(self, configurations: Iterable[Any]) -> Records:
        """The runs of these configurations, an experiment's own type, in their order.

        Raises:
            ValueError: if there is no record of one of them; the message counts them and names the first.
        """
        known = {record.key: record for record in self}
        name = self._records[0].experiment if self else ""
        wanted = [configuration_of(configuration) for configuration in configurations]
        keys = [key(name, fields) for fields in wanted]
        if missing := [w for w, k in zip(wanted, keys, strict=True) if k not in known]:
            raise ValueError(
                f"{len(missing)} of {len(wanted)} configurations have no record, the first of them "
                f"{said(missing[0])}: measure them with `flatter sweep`"
            )
        return Records(known[k] for k in keys)

    def values(self, field: str) -> list[Any]:
        """The different values of a field of the configurations, sorted.

        Raises:
            ValueError: if no run has a field of that name.
        """
        self._known([field])
        return sorted({r.configuration[field] for r in self if field in r.configuration}, key=rank)

    def stack(self, measurement: str, *fields: str) -> NDArray[Any]:
        """A measurement of all runs in one array, whose first axes are the fields, each with its :meth:`values`.

        Args:
            measurement: its name.
            fields: fields of the configurations, which together tell the runs apart.

        Returns:
            (values of the first field, of the second, ..., and the shape of a single measurement).

        Raises:
            ValueError: if some combination of values has no run, or several, or the measurements differ in shape.
        """
        axes = [self.values(name) for name in fields]
        shape = tuple(len(axis) for axis in axes)
        found: dict[tuple[Any, ...], list[Record]] = {at: [] for at in itertools.product(*axes)}
        for record in self:
            found[tuple(record.configuration[name] for name in fields)].append(record)
        for at, runs in found.items():
            if len(runs) != 1:
                raise ValueError(
                    f"{said(dict(zip(fields, at, strict=True)))}: {len(runs)} records, where one makes an array; "
                    "choose with where(), or name another field"
                )
        single = [np.asarray(run[0][measurement]) for run in found.values()]
        if len({array.shape for array in single}) > 1:
            raise ValueError(f"{measurement}: the records hold different shapes of it")
        return np.stack(single).reshape(shape + single[0].shape) if single else np.empty(shape)

    @property
    def seconds(self) -> float:
        """How long the runs took in all."""
        return math.fsum(record.seconds for record in self)

    def measured_on(self) -> str:
        """On what the runs were made, in a few words without a clock."""
        kinds = Counter(
            f"{r.device} ({machine.short(r.machine)}), {r.dtype}, {_number(r.threads, 'thread')}"
            for r in self
        )
        return "; ".join(
            f"{_number(count, 'run')} on {name}" for name, count in kinds.most_common()
        )

    def _known(self, fields: Iterable[str]) -> None:
        known = {name: None for record in self for name in record.configuration}
        for name in fields:
            if name not in known:
                raise ValueError(f"{name}: no configuration has it; they have {', '.join(known)}")


def load(path: Path | str) -> Records:
    """The runs that a file of records holds, without those that failed.

    Args:
        path: a file that ``flatter sweep`` wrote, ``book/results/NAME.jsonl``. If there is none, a relative path's last
            part is looked for in ``book/results`` of the checkout around the current folder, then in the library's.

    Raises:
        ValueError: if the file is missing or a line in it cannot be read; the message says which and what to do.
    """
    places = [Path(path)]
    if not places[0].is_absolute():
        here = Path.cwd()
        around = (here, *here.parents, Path(__file__).parents[2])
        books = [folder / "book" / "results" for folder in around]
        places = [here / path, *(book / places[0].name for book in books if book.is_dir())]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise ValueError(
            f"{places[0].name}: no such records at {' or '.join(map(str, dict.fromkeys(places)))}: "
            f"run this in the checkout that has them, or make them with `flatter sweep {places[0].stem}`"
        )
    lines = read(found)
    if lines.unread:
        raise ValueError(
            f"{'; '.join(few(lines.unread.values()))}: restore or delete it (if it is newer, update this library); "
            f"`flatter sweep {found.stem}` measures again what a profile has"
        )
    return Records(record for record in lines.records.values() if record.ok)


def digest(path: Path | str) -> str:
    """The hash of what a file of records holds: the measurements of each run that did not fail, by its key.

    When, where and how long they were measured does not count, nor the order and the ends of the lines.

    Returns:
        16 hexadecimal digits, or "missing" if there is no such file.
    """
    path = Path(path)
    if not path.is_file():
        return "missing"
    records = read(path).records.values()
    return hashed({record.key: plain(record.measurements) for record in records if record.ok})


def read(path: Path, lines: Lines | None = None) -> Lines:
    """The records of a file, failed ones too, and its other lines, added to those that were read.

    Raises:
        OSError: if it cannot be read.
    """
    lines = lines or Lines({}, {})
    content = path.read_bytes().replace(b"\r\n", b"\n")
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            record = decode(line.decode("utf-8", errors="replace"))
        except DamagedError as error:
            lines.unread.setdefault(line, f"{path.name}, line {number} {error}")
            continue
        known = lines.records.get(record.key)
        lines.records[record.key] = better(known, record) if known else record
    return lines


def few(damaged: Iterable[str]) -> list[str]:
    """The first few, and how many more."""
    named = list(damaged)
    more = [f"and {len(named) - FEW} lines more"] if len(named) > FEW else []
    return named[:FEW] + more


def _same(value: Any, wanted: Any) -> bool:
    if isinstance(value, Real) and isinstance(wanted, Real):
        return math.isclose(float(value), float(wanted), rel_tol=1e-12)
    return bool(value == wanted)


def _number(count: int, name: str) -> str:
    return f"{count} {name}" if count == 1 else f"{count} {name}s"
