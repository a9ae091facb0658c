"""Reading records: a file of them, those of some settings, their measurements as arrays."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from flatter_lib.results.record import DamagedError, Record, better, configuration_of, decode, key


class Lines(NamedTuple):
    """What a file of records holds.

    Attributes:
        records: key -> record.
        damaged: of each line that is no record, its number and what is wrong with it.
    """

    records: dict[str, Record]
    damaged: list[str]


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
        """The runs whose configuration has these values; a list names several, any of which will do.

        Floats may differ by rounding (1e-12 of the value).

        Raises:
            ValueError: if no run has a field of such a name.
        """
        self._known(fields)
        return Records(
            record
            for record in self
            if all(_among(record.configuration.get(n), v) for n, v in fields.items())
        )

    def one(self, **fields: Any) -> Record:
        """The only run whose configuration has these values.

        Raises:
            ValueError: if there is none, or more than one.
        """
        found = self.where(**fields)
        if len(found) != 1:
            raise ValueError(f"{_said(fields)}: {len(found)} records, where one was asked for")
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
                f"{_said(missing[0])}: measure them with `flatter sweep`"
            )
        return Records(known[k] for k in keys)

    def values(self, field: str) -> list[Any]:
        """The different values of a field of the configurations, sorted.

        Raises:
            ValueError: if no run has a field of that name.
        """
        self._known([field])
        found = [r.configuration[field] for r in self if field in r.configuration]
        return sorted({tuple(v) if isinstance(v, list) else v for v in found})

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
            found[tuple(_hashable(record.configuration[name]) for name in fields)].append(record)
        for at, runs in found.items():
            if len(runs) != 1:
                raise ValueError(
                    f"{_said(dict(zip(fields, at, strict=True)))}: {len(runs)} records, where one makes an array; "
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
        machines = Counter(
            f"{r.device} ({r.machine}), {r.dtype}, {_number(r.threads, 'thread')}" for r in self
        )
        return "; ".join(
            f"{_number(count, 'run')} on {name}" for name, count in machines.most_common()
        )

    def _known(self, fields: Iterable[str]) -> None:
        known = {name: None for record in self for name in record.configuration}
        for name in fields:
            if name not in known:
                raise ValueError(f"{name}: no configuration has it; they have {', '.join(known)}")


def load(path: Path | str) -> Records:
    """The runs that a file of records holds, without those that failed.

    Args:
        path: a file that ``flatter sweep`` wrote, ``book/results/NAME.jsonl``.

    Raises:
        ValueError: if the file is missing or a record in it is damaged; the message says which and what to do.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(
            f"{path.name}: no such records here: `flatter sweep {path.stem}` makes them"
        )
    lines = read(path)
    if lines.damaged:
        raise ValueError(
            f"{'; '.join(lines.damaged)}: run `flatter sweep {path.stem}`, which measures it again"
        )
    return Records(record for record in lines.records.values() if record.ok)


def read(path: Path) -> Lines:
    """The records of a file, failed ones too, and what is wrong with its other lines.

    Raises:
        OSError: if it cannot be read.
    """
    records: dict[str, Record] = {}
    damaged = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not line:
            continue
        try:
            record = decode(line.decode("utf-8", errors="replace"))
        except DamagedError as error:
            damaged.append(f"{path.name}, line {number} {error}")
            continue
        known = records.get(record.key)
        records[record.key] = better(known, record) if known else record
    return Lines(records, damaged)


def _among(value: Any, wanted: Any) -> bool:
    several = isinstance(wanted, list | set | range | np.ndarray) and not isinstance(value, list)
    return any(_same(value, item) for item in (wanted if several else [wanted]))


def _same(value: Any, wanted: Any) -> bool:
    if isinstance(value, float) and isinstance(wanted, int | float | np.number):
        return bool(value == wanted) or math.isclose(value, float(wanted), rel_tol=1e-12)
    return bool(value == (list(wanted) if isinstance(wanted, tuple) else wanted))


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _said(fields: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in fields.items()) or "any configuration"


def _number(count: int, name: str) -> str:
    return f"{count} {name}" if count == 1 else f"{count} {name}s"
