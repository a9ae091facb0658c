"""A record's line holds the same bits when it is read back, and does not pass for a record when it is damaged."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flatter_lib.evidence.record import (
    DamagedError,
    Record,
    better,
    configuration_of,
    decode,
    encode,
    hashed,
    key,
    order,
    plain,
)

RECORD = Record("valley", {"lr": 0.1, "seed": 3}, {"trace": [2.5, math.nan]}, seed=3)


def same(a: Any, b: Any) -> bool:
    """Equal to the last bit, with NaN equal to itself, and 1 not equal to 1.0."""
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(same(a[n], b[n]) for n in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if type(a) is not type(b):
        return False
    return bool(a == b or (isinstance(a, float) and math.isnan(a) and math.isnan(b)))


TEXTS = st.text().filter(lambda text: text not in ("NaN", "Infinity", "-Infinity"))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=8,
)


@settings(max_examples=25)
@given(st.dictionaries(TEXTS, VALUES, max_size=3))
def test_what_is_read_is_what_was_measured(measurements: dict[str, Any]) -> None:
    line = encode(Record("valley", {"lr": 0.1}, measurements))
    assert "\n" not in line
    assert same(decode(line).measurements, measurements)
    assert encode(decode(line)) == line
    # Other programs can read it too.
    json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_arrays_and_tensors_come_back_as_arrays() -> None:
    measured = {
        "f64": np.array([[0.1, np.inf], [np.nan, -np.inf]]),
        "f32": np.float32(0.1),
        "count": np.int64(2**62),
        "held": np.bool_(True),
        "tensor": torch.tensor([1.5, 2.5]),
        "scalar": torch.tensor(0.25, dtype=torch.float64),
        "tuple": (1, 2.0),
    }
    record = decode(encode(Record("valley", {}, measured)))
    np.testing.assert_array_equal(record["f64"], measured["f64"], strict=True)
    np.testing.assert_array_equal(record["tensor"], [1.5, 2.5])
    assert record["f32"] == float(np.float32(0.1))
    assert (record["count"], record["held"], record["scalar"]) == (2**62, True, 0.25)
    assert record.measurements["tuple"] == [1, 2.0]


def test_a_measurement_that_there_is_not() -> None:
    with pytest.raises(KeyError, match="speed: not measured; trace was"):
        RECORD["speed"]


@pytest.mark.parametrize(
    "value", [object(), {1: 2.0}, 1j, np.array([1j]), b"bytes", {"a": [set()]}, "NaN", "-Infinity"]
)
def test_what_a_record_cannot_hold(value: object) -> None:
    with pytest.raises(ValueError, match=r"a record holds|must be texts|read back as a number"):
        plain(value)


LINE = encode(RECORD)


def test_a_line_that_is_cut_off() -> None:
    for length in range(len(LINE)):
        with pytest.raises(DamagedError, match="is cut off, or no JSON"):
            decode(LINE[:length])


@given(st.integers(0, len(LINE) - 1), st.characters(codec="ascii"))
def test_a_line_with_another_character(place: int, character: str) -> None:
    changed = LINE[:place] + character + LINE[place + 1 :]
    try:
        meant = json.loads(changed) == json.loads(LINE)
    except ValueError:
        meant = False
    if meant:  # a space for a space
        return
    with pytest.raises(DamagedError):
        decode(changed)


@pytest.mark.parametrize(
    "text",
    [
        *("[]", "3", "{}", '{"key": "x"}'),
        "[" * 100_000,
        LINE.replace("2.5", "[" * 900 + "]" * 900),
        LINE.replace("2.5", "NaN"),
        LINE.replace("2.5", "1e999"),
        LINE.replace("2.5", "1" * 5000),
        f"\ufeff{LINE}",
    ],
)
def test_a_line_that_is_something_else_or_that_python_cannot_hold(text: str) -> None:
    with pytest.raises(DamagedError, match=r"is no record|is cut off, or no JSON|was altered"):
        decode(text)


def test_lines_of_other_versions() -> None:
    def line(content: dict[str, Any]) -> str:
        return json.dumps({**content, "checksum": hashed(content)})

    content = json.loads(LINE)
    del content["checksum"]
    older = {name: value for name, value in content.items() if name != "machine"}
    assert decode(line(older)) == decode(LINE) == decode(line({**older, "machine": ""}))
    newer = line({**content, "weather": 1, "air": 2})
    with pytest.raises(DamagedError, match="is by a newer version: it has air, weather"):
        decode(newer)
    with pytest.raises(DamagedError, match="was altered"):
        decode(newer.replace("2.5", "3.5"))
    with pytest.raises(DamagedError, match="its key is another"):
        decode(line({**content, "key": key("valley", {"lr": 0.2, "seed": 3})}))


@dataclass(frozen=True)
class Setting:
    lr: float
    name: str = "plain"
    nesterov: bool = False
    clip: float | None = None


def test_the_key_depends_on_what_is_run_and_on_nothing_else() -> None:
    base = key("valley", configuration_of(Setting(1.0)))
    assert base == key("valley", configuration_of(Setting(1)))
    assert base == key("valley", dict(reversed(configuration_of(Setting(1.0)).items())))
    others = [
        key("other", configuration_of(Setting(1.0))),
        *(
            key("valley", configuration_of(changed))
            for changed in (
                Setting(1.0000000000000002),
                Setting(1.0, name="other"),
                Setting(1.0, nesterov=True),
                Setting(1.0, clip=0.0),
                Setting(math.inf),
            )
        ),
    ]
    assert len({base, *others}) == 1 + len(others)
    assert len(base) == 16
    record = decode(encode(Record("valley", configuration_of(Setting(1.0)), seed=4, seconds=2.0)))
    assert record.key == base


def test_what_a_configuration_cannot_be() -> None:
    for name in ([8], (8, 8), {"a": 1}, np.zeros(2)):
        with pytest.raises(ValueError, match="name: a configuration holds numbers, texts"):
            configuration_of(Setting(0.1, name))  # type: ignore[arg-type]
    for value in ({"lr": 0.1}, Setting):
        with pytest.raises(ValueError, match="must be an instance of a dataclass"):
            configuration_of(value)


def test_the_better_of_two() -> None:
    failed = replace(RECORD, error={"message": "no", "traceback": ""}, finished="3")
    early, late = replace(RECORD, finished="1"), replace(RECORD, finished="2")
    assert better(failed, early) == better(early, failed) == early
    assert better(early, late) == better(late, early) == late


def test_records_are_sorted_by_their_configurations() -> None:
    def record(**fields: Any) -> Record:
        return Record("valley", fields)

    ordered = [
        record(lr=None, seed=0),
        record(lr=0.5, seed=2),
        record(lr=2, seed=0),
        record(lr=10.0, seed=0),
        record(lr=10.0, seed=1),
        record(lr=math.nan, seed=0),
        record(lr="auto"),  # of a version that knew fewer fields
        record(lr="auto", seed=0),
    ]
    assert sorted([*ordered[5:], *ordered[:5]], key=order) == ordered
