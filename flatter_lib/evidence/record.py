"""A record: one run of an experiment, as one line of JSON that a person can read and a machine can trust.

A line holds what was run (``experiment``, ``configuration``), what came out (``measurements``, or ``error`` with its
traceback), and what it was run with. Its ``key`` is the hash of what was run, its ``checksum`` that of all the rest:
a line that was cut off or altered does not pass for a measurement. Floats are written so that reading gives the same
bits back; those that JSON has no numbers for are the texts ``"NaN"``, ``"Infinity"`` and ``"-Infinity"``, which no
text that is measured may be. Arrays are lists. A line that lacks a field has its default; one with a field that is not
known here is by a newer version of this library, and is not read.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class DamagedError(ValueError):
    """A line that is no whole record."""


@dataclass(frozen=True)
class Record:
    """One run.

    Attributes:
        experiment: the experiment's name.
        configuration: field -> value, as the run got it.
        measurements: name -> number, text, list or mapping of these; empty if it failed.
        error: for a failed run, the last line of its traceback and the ``traceback``; empty for others.
        attempt: 1, or 2 if the first attempt failed.
        seed: the seed that the configuration names, if it names one.
        device: where it ran.
        dtype: the precision that it computed in.
        threads: threads that each numerical library was given.
        seconds: how long it took.
        finished: when it ended, in UTC.
        machine: see :func:`flatter_lib.machine.describe`.
        versions: package -> version.
        code: ``commit`` of the checkout that started it, with a ``+`` if it was modified, and ``source``, the hash of
            the code that it ran.
    """

    experiment: str
    configuration: Mapping[str, Any]
    measurements: Mapping[str, Any] = field(default_factory=dict)
    error: Mapping[str, str] = field(default_factory=dict)
    attempt: int = 1
    seed: int | None = None
    device: str = "cpu"
    dtype: str = "float64"
    threads: int = 1
    seconds: float = 0.0
    finished: str = ""
    machine: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    code: Mapping[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether the run ended with measurements."""
        return not self.error

    @functools.cached_property
    def key(self) -> str:
        """The hash of what was run; see :func:`key`."""
        return key(self.experiment, self.configuration)

    def __getitem__(self, name: str) -> Any:
        """A measurement; lists come as arrays.

        Raises:
            KeyError: if nothing of that name was measured; the message names what was.
        """
        if name not in self.measurements:
            raise KeyError(f"{name}: not measured; {', '.join(self.measurements) or 'nothing'} was")
        value = self.measurements[name]
        return np.asarray(value) if isinstance(value, list) else value


_FIELDS = frozenset(f.name for f in dataclasses.fields(Record))
_REQUIRED = frozenset({"key", "checksum", "experiment", "configuration"})


def key(experiment: str, configuration: Mapping[str, Any]) -> str:
    """The hash of what is run: 16 hexadecimal digits, the same for 1 and 1.0 and for any order of the fields.

    Examples:
        >>> key("valley", {"lr": 1, "seed": 0}) == key("valley", {"seed": 0, "lr": 1.0})
        True
    """
    return hashed({"experiment": experiment, "configuration": _whole(plain(configuration))})


def configuration_of(value: Any) -> dict[str, Any]:
    """The fields of a configuration, a frozen dataclass, as they stand in a record.

    Raises:
        ValueError: if it is none, or a field holds something else than a number, a text, a truth value or None.
    """
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        raise ValueError(f"configuration: must be an instance of a dataclass, got {value!r}")
    fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    for name, content in fields.items():
        if not isinstance(content, int | float | str | None):
            raise ValueError(
                f"{name}: a configuration holds numbers, texts, truth values or None, got {content!r}"
            )
    return {name: unplain(plain(content)) for name, content in fields.items()}


def said(fields: Mapping[str, Any]) -> str:
    """A configuration in words."""
    return ", ".join(f"{name}={value!r}" for name, value in fields.items())


def plain(value: Any) -> Any:
    """A value as JSON has it: arrays as lists, numbers without a number in JSON as texts.

    Raises:
        ValueError: if it is something that a record cannot hold.

    Examples:
        >>> plain({"risk": np.array([0.5, np.inf]), "steps": np.int64(3)})
        {'risk': [0.5, 'Infinity'], 'steps': 3}
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        if value in _SPECIAL:
            raise ValueError(f"{value!r}: as a text it would be read back as a number")
        return str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if math.isfinite(value):
            return float(value)
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        if wrong := [name for name in value if not isinstance(name, str)]:
            raise ValueError(f"{wrong[0]!r}: the names in a mapping must be texts")
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        listed = value.tolist()
        if isinstance(listed, bool | int | float | str | list):
            return plain(listed)
    raise ValueError(f"{value!r}: a record holds numbers, texts, lists, arrays and mappings")


def encode(record: Record) -> str:
    """The record's line, without a line feed.

    Raises:
        ValueError: if it holds something that JSON cannot.
    """
    fields = {f.name: getattr(record, f.name) for f in dataclasses.fields(record)}
    content = {"key": record.key, **plain(fields)}
    return json.dumps({**content, "checksum": hashed(content)}, allow_nan=False)


def decode(line: str) -> Record:
    """The record of a line.

    Raises:
        DamagedError: if the line is cut off, altered, no record, or has fields that are not known here.

    Examples:
        >>> line = encode(Record("valley", {"lr": 0.1}, {"trace": math.nan}))
        >>> decode(line)["trace"]
        nan
        >>> decode(line.replace("0.1", "0.2"))
        Traceback (most recent call last):
        flatter_lib.evidence.record.DamagedError: was altered: its checksum is another
    """
    try:
        content = json.loads(line)
        if not isinstance(content, dict) or not content.keys() >= _REQUIRED:
            raise DamagedError("is no record")
        if hashed({n: v for n, v in content.items() if n != "checksum"}) != content["checksum"]:
            raise DamagedError("was altered: its checksum is another")
        if unknown := content.keys() - _FIELDS - _REQUIRED:
            raise DamagedError(f"is by a newer version: it has {', '.join(sorted(unknown))}")
        record = Record(**{name: unplain(content[name]) for name in content.keys() & _FIELDS})
        if record.key != content["key"]:
            raise DamagedError("was altered: its key is another")
        return record
    except DamagedError:
        raise
    except (ValueError, RecursionError):
        raise DamagedError("is cut off, or no JSON") from None


def better(a: Record, b: Record) -> Record:
    """Which of two records of one configuration to keep: the one that did not fail, or else the later."""
    return max(a, b, key=lambda record: (record.ok, record.finished, encode(record)))


def order(record: Record) -> tuple[Any, ...]:
    """What records are sorted by: their configurations, field by field, numbers as numbers."""
    return [rank(value) for value in record.configuration.values()], record.key


def rank(value: Any) -> tuple[Any, ...]:
    """What values of a field are sorted by: None, numbers, NaN, texts."""
    if isinstance(value, str):
        return (2, value)
    return (0, 0) if value is None else (1, (math.isnan(value), value))


def unplain(value: Any) -> Any:
    """JSON with its texts for numbers turned back."""
    if isinstance(value, str):
        return _SPECIAL.get(value, value)
    if isinstance(value, list):
        return [unplain(item) for item in value]
    if isinstance(value, dict):
        return {name: unplain(item) for name, item in value.items()}
    return value


def _whole(value: Any) -> Any:
    """JSON with floats that are whole numbers as integers, so that equal numbers are written alike."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, dict):
        return {name: _whole(item) for name, item in value.items()}
    return value


def hashed(content: Any) -> str:
    """The hash of something that JSON can hold: 16 hexadecimal digits."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
