"""Claims: what a record holds, which values a claim allows, and the verdict of the two."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatter_lib import claims
from flatter_lib.claims import band, record, verdict
from flatter_lib.values import Estimate, below, number_of

Shown = list[tuple[str, dict[str, Any]]]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    """What is shown in a cell from here on: its text, and the value that travels with it."""
    rows: Shown = []

    def emit(data: Mapping[str, str], mark: Mapping[str, Any]) -> None:
        assert (set(data), mark["role"]) == ({"text/plain"}, "claim")
        (value,) = json.loads(json.dumps(mark["values"], allow_nan=False))
        rows.append((data["text/plain"], value))

    monkeypatch.setattr(claims, "emit", emit)
    return rows


def test_a_record_is_a_line_and_a_value(shown: Shown) -> None:
    record("a", 0.66667, 0.65, 0.6812, seeds=64, scale="laptop")
    record("b", 2 / 3, scale="closed form")
    record("c", below(1e-17, 1e-12), scale="float64")
    lines, rows = zip(*shown, strict=True)
    assert lines == (
        "claim a: 0.667 [0.650, 0.681] (seeds=64, scale=laptop)",
        "claim b: 0.666667 (exact, scale=closed form)",
        "claim c: below 1e-12 (exact, scale=float64)",
    )
    assert [number_of(row) for row in rows] == [
        Estimate(0.66667, 0.65, 0.6812),
        0.666666666667,
        1e-12,
    ]
    assert rows[0]["where"] == {"seeds": 64, "scale": "laptop"}


def test_numbers_of_numpy_become_plain_ones(shown: Shown) -> None:
    record("a", np.float64(1), np.float32(0), np.int64(2), runs=np.int64(3), at=(1, 2))  # type: ignore[arg-type]
    ((_, row),) = shown
    assert number_of(row) == Estimate(1.0, 0.0, 2.0)
    assert row["where"] == {"runs": 3, "at": "(1, 2)"}


def test_circumstances_have_six_digits(shown: Shown) -> None:
    record("a", 1.0, lr=np.float64(0.1 + 0.2), scale="laptop")
    assert shown.pop()[0] == "claim a: 1 (exact, lr=0.3, scale=laptop)"
    with pytest.raises(ValueError, match="claim 'a': lr: a finite number, got nan"):
        record("a", 1.0, lr=math.nan)
    assert shown == []


@pytest.mark.parametrize("name", ["", "  ", None, 3])
def test_a_row_without_a_claim_is_refused(shown: Shown, name: Any) -> None:
    with pytest.raises(ValueError, match="claim_id: the id of a claim in the ledger"):
        record(name, 1.0, scale="laptop")
    assert shown == []


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ((math.nan,), "claim 'a': value: must be in (-inf, inf), got nan"),
        ((math.inf, 0.0, 1.0), "claim 'a': value, low, high: finite"),
        ((below(0, 1e-9), 0.0, 1.0), "claim 'a': give both ends of the interval, or neither"),
        ((1.0, 0.5), "claim 'a': give both ends of the interval, or neither"),
        ((1.0, None, 1.5), "claim 'a': give both ends of the interval, or neither"),
        ((1.0, 1.1, 1.5), "claim 'a': value, low, high: finite, and low <= value <= high"),
        ((1.0, 0.0, math.nan), "claim 'a': value, low, high: finite"),
    ],
)
def test_what_is_no_measurement_is_refused_and_shows_nothing(
    shown: Shown, numbers: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(ValueError, match="claim 'a'") as refused:
        record("a", *numbers, scale="laptop")
    assert str(refused.value).startswith(message)
    assert shown == []


def test_an_interval_may_end_at_the_value(shown: Shown) -> None:
    record("a", 1.0, 1.0, 1.0)
    assert shown[0][0] == "claim a: 1 [1, 1] ()"


@pytest.mark.parametrize(
    ("expect", "allowed"),
    [
        ({"equals": 1.0, "tolerance": 0.25}, (0.75, 1.25)),
        ({"equals": -1, "tolerance": 0}, (-1.0, -1.0)),
        ({"tolerance": 0.5, "equals": 0}, (-0.5, 0.5)),
        ({"at_most": 2}, (-math.inf, 2.0)),
        ({"at_least": -2}, (-2.0, math.inf)),
        ({"between": [1, 2]}, (1.0, 2.0)),
        ({"between": [1, 1]}, (1.0, 1.0)),
    ],
)
def test_the_values_that_a_claim_allows(
    expect: dict[str, Any], allowed: tuple[float, float]
) -> None:
    assert band(expect) == allowed


@pytest.mark.parametrize(
    "expect",
    [
        {},
        {"equals": 1.0},
        {"tolerance": 1.0},
        {"equals": 1.0, "tolerance": -0.1},
        {"equals": 1.0, "tolerance": math.nan},
        {"equals": 1.0, "tolerance": 0.1, "at_most": 2.0},
        {"at_most": 1.0, "at_least": 0.0},
        {"at_mots": 1.0},
        {"between": [2, 1]},
        {"between": [1]},
        {"between": 1},
        {"between": [1, 2], "tolerance": 0.1},
        {"at_most": math.nan},
        {"at_least": math.inf},
        {"between": [0, math.inf]},
        {"between": [math.nan, 1]},
        {"equals": math.nan, "tolerance": 1},
        {"equals": True, "tolerance": 1},
        {"at_most": "1"},
    ],
)
def test_what_allows_nothing_clear_is_refused(expect: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="is none of equals with tolerance, at_most, at_least"):
        band(expect)


BETWEEN = {"between": [0.0, 1.0]}


@pytest.mark.parametrize(
    ("value", "low", "high", "said"),
    [
        (0.5, 0.4, 0.6, "reproduced"),
        (0.5, 0.0, 1.0, "reproduced"),
        (0.5, -0.1, 0.6, "undecided"),
        (0.5, 0.4, 1.1, "undecided"),
        (0.5, -9.0, 9.0, "undecided"),
        (1.5, 0.9, 2.0, "undecided"),
        (1.5, 1.0, 2.0, "undecided"),  # it touches: 1 is allowed
        (1.5, 1.0001, 2.0, "contradicted"),
        (-1.5, -2.0, -0.0001, "contradicted"),
        (0.0, None, None, "reproduced"),
        (1.0, None, None, "reproduced"),
        (1.0001, None, None, "contradicted"),
    ],
)
def test_the_verdict(value: float, low: float | None, high: float | None, said: str) -> None:
    assert verdict(BETWEEN, value, low, high) == said


def test_a_caveat_counts_only_for_what_held() -> None:
    assert verdict(BETWEEN, 0.5, 0.4, 0.6, "but") == "reproduced with a caveat"
    assert verdict(BETWEEN, 2.0, 1.9, 2.1, "but") == "contradicted"
    assert verdict(BETWEEN, 1.0, 0.9, 1.1, "but") == "undecided"


@pytest.mark.parametrize(
    ("value", "kind", "said"),
    [
        (0.5, {"universal": True}, "held where tried"),
        (0.5, {"universal": True, "caveat": "but"}, "held where tried"),
        (2.0, {"universal": True}, "contradicted"),
        (0.5, {"reading": "as we read it"}, "reproduced"),
        (0.5, {"reading": "as we read it", "caveat": "but"}, "reproduced with a caveat"),
        (2.0, {"reading": "as we read it"}, "contradicted under our reading"),
        (2.0, {"reading": "as we read it", "universal": True}, "contradicted under our reading"),
        (0.5, {"misprint": True}, "reproduced"),
        (2.0, {"misprint": True}, "misprint"),
        (2.0, {"misprint": True, "universal": True}, "misprint"),
    ],
)
def test_a_verdict_of_another_kind(value: float, kind: dict[str, Any], said: str) -> None:
    assert verdict(BETWEEN, value, **kind) == said


@pytest.mark.parametrize("kind", [{"universal": True}, {"reading": "ours"}, {"misprint": True}])
def test_what_cannot_be_told_is_undecided_whatever_the_claim(kind: dict[str, Any]) -> None:
    assert verdict(BETWEEN, 1.0, 0.9, 1.1, **kind) == "undecided"


def test_a_misprint_leaves_nothing_to_read() -> None:
    with pytest.raises(ValueError, match="reading, misprint: at most one of the two"):
        verdict(BETWEEN, 0.5, reading="ours", misprint=True)


numbers = st.integers(-6, 6).map(float)


@given(
    three=st.tuples(numbers, numbers, numbers).map(sorted),
    universal=st.booleans(),
    reading=st.sampled_from(["", "ours"]),
    caveat=st.sampled_from(["", "but"]),
)
def test_the_kind_of_a_claim_changes_the_word_and_not_the_side(
    three: list[float], universal: bool, reading: str, caveat: str
) -> None:
    low, value, high = three
    plain = verdict(BETWEEN, value, low, high)
    said = verdict(BETWEEN, value, low, high, caveat, universal=universal, reading=reading)
    assert said in claims.VERDICTS
    assert (said == "undecided") == (plain == "undecided")
    assert said.startswith("contradicted") == (plain == "contradicted")
    assert not (universal and said.startswith("reproduced"))


@given(
    edges=st.tuples(numbers, numbers).map(sorted),
    three=st.tuples(numbers, numbers, numbers).map(sorted),
)
def test_the_verdict_is_that_of_the_values_one_by_one(
    edges: list[float], three: list[float]
) -> None:
    # Ends on integers: the interval lies as its quarter-spaced points do.
    low, value, high = three
    steps = int(4 * (high - low)) + 1
    points = [low + step / 4 for step in range(steps)]
    inside = [edges[0] <= point <= edges[1] for point in points]
    said = verdict({"between": edges}, value, low, high)
    expected = "reproduced" if all(inside) else "undecided" if any(inside) else "contradicted"
    # A band of width zero between two points of the grid does not occur: its edge is an integer.
    assert said == expected


@given(value=numbers, edge=numbers)
def test_bounds_on_one_side_are_those_of_a_far_band(value: float, edge: float) -> None:
    assert verdict({"at_most": edge}, value) == verdict({"between": [-99, edge]}, value)
    assert verdict({"at_least": edge}, value) == verdict({"between": [edge, 99]}, value)
    assert verdict({"equals": edge, "tolerance": 2}, value) == verdict(
        {"between": [edge - 2, edge + 2]}, value
    )
    assert verdict({"at_most": edge}, value) in claims.VERDICTS
