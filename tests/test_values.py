"""Values: what is printed is what holds, and a re-execution is held to it, no closer and no looser."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatter_lib import values
from flatter_lib.values import (
    IN_DISTRIBUTION,
    OPTIMUM,
    PRINTED,
    Estimate,
    Tolerance,
    Value,
    absolute,
    below,
    column,
    differences,
    estimate,
    glue,
    number_of,
    relative,
    say,
    text,
    written,
)

from .refusals import refuses

Shown = list[tuple[Mapping[str, str], dict[str, Any], str]]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    """What is shown in a cell from here on: its data by kind, its mark, and the name it is glued under."""
    outputs: Shown = []

    def emit(data: Mapping[str, str], mark: dict[str, Any], glued: str = "") -> None:
        outputs.append((data, json.loads(json.dumps(mark, allow_nan=False)), glued))

    monkeypatch.setattr(values, "emit", emit)
    return outputs


def said(shown: Shown, words: str, *numbers: Any, holds: Tolerance = PRINTED) -> Value:
    """A line as a value, on its way through JSON."""
    say(text(words, *numbers), holds=holds)
    value: Value = shown.pop()[1]["values"][0]
    return value


@pytest.mark.parametrize(
    ("words", "numbers", "expected"),
    [
        ("{:.2f} of {:,}", (0.126, 1234), "0.13 of 1,234"),
        ("{}", (Estimate(0.6671, 0.6512, 0.6831),), "0.667 [0.651, 0.683]"),
        ("{:.1f}", (Estimate(12, 11.11, 13),), "12.0 [11.1, 13.0]"),
        ("{:.3f}", ([0.1, np.float64(0.25), 2],), "0.100, 0.250, 2.000"),
        ("{}: {:.0%}", ("all {x}", 0.456), "all {x}: 46%"),
        ("off by {}", (below(1e-17, 1e-12),), "off by below 1e-12"),
        ("{:>8}|{:<8}|", (text("{:.1f}", 2.0), text("{:.1f}", 3.0)), "     2.0|3.0     |"),
        ("{{}} {:.1f} {:d}", (math.inf, np.int64(3)), "{} inf 3"),
        ("{} {}", (True, np.bool_(False)), "True False"),
        ("{:.1f} {} {}", (np.array(0.5), np.array(3), 2**53 - 1), f"0.5 3 {2**53 - 1}"),
        ("no number", (), "no number"),
    ],
)
def test_a_text_is_written_as_its_format_says(
    words: str, numbers: tuple[Any, ...], expected: str
) -> None:
    assert str(text(words, *numbers)) == expected


@pytest.mark.parametrize(
    ("words", "numbers", "message"),
    [
        ("{}", (0.5,), "does not say how many digits"),
        ("{:,}", (0.5,), "does not say how many digits"),
        ("{:.2f}", (), "one plain {} for each of 0 numbers"),
        ("{:.2f}", (1.0, 2.0), "one plain {} for each of 2 numbers"),
        ("{x:.2f}", (1.0,), "one plain {} for each of 1 numbers"),
        ("{!r}", (1.0,), "one plain {} for each of 1 numbers"),
        ("{}", (None,), "a number, text or sequence"),
        ("{:.3f}", (math.nan,), "a number, text or sequence of them, got nan"),
        ("{:.3f}", ([0.5, np.float64(math.nan)],), "a number, text or sequence of them, got nan"),
        ("{:.1f}", (Estimate(1, 0, 2)._replace(value=3),), "low <= value <= high, got 3, 0, 2"),
        ("{}", (2**53,), "a whole number of 53 bits, got 54"),
        ("{:.2e}", (-(10**400),), "a whole number of 53 bits, got 1329"),
    ],
)
def test_a_text_that_does_not_say_what_it_shows_is_refused(
    words: str, numbers: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        text(words, *numbers)


@pytest.mark.parametrize(
    ("spec", "number", "unit"),
    [
        (".2f", 1.5, 0.01),
        (".0f", 1234.5, 1.0),
        (".1%", 0.5, 0.001),
        (".3g", 12345.0, 100.0),
        (".3g", 0.012345, 1e-4),
        (".0e", 3.3e-9, 1e-9),
        ("10.4g", 0.0, 1e-3),
    ],
)
def test_a_printed_digit_is_held_to_half_a_unit(
    shown: Shown, spec: str, number: float, unit: float
) -> None:
    old = said(shown, f"{{:{spec}}}", number)
    near = said(shown, f"{{:{spec}}}", float(number) + 0.49 * unit)
    far = said(shown, f"{{:{spec}}}", float(number) + 0.51 * unit)
    assert differences("x", old, near) == []
    assert len(differences("x", old, far)) == 1


@pytest.mark.parametrize("holds", [relative(1e-3), OPTIMUM, absolute(1e-3)])
def test_more_digits_than_hold_are_refused(shown: Shown, holds: Tolerance) -> None:
    assert said(shown, "{:.3f}", 0.5, holds=holds)
    with pytest.raises(ValueError, match="more digits than hold"):
        say(text("{:.4f}", 5.0), holds=holds)


def test_agreement_is_that_of_a_plain_loop() -> None:
    rng = np.random.default_rng(5)
    specials = [math.nan, math.inf, -math.inf, 0.0]
    agreed = []
    for _ in range(500):
        rtol, atol = 10.0 ** rng.uniform(-6, -0.1), float(rng.choice([0.0, 1e-3]))
        x = float(rng.choice([*specials, rng.normal(), rng.normal(), rng.normal()]))
        y = float(rng.choice([*specials, -x, *(x * (1 + rtol * rng.uniform(-2, 2, 4)))]))
        old, new = (values._rounded(number, 8) for number in (x, y))
        agreed.append(
            old == new
            or (math.isnan(old) and math.isnan(new))
            or (math.isfinite(old) and abs(new - old) <= atol + rtol * abs(old))
        )
        holds = absolute(atol, rtol=rtol)
        found = differences("x", column("x", [9.0, old], holds), column("x", [9.0, new], holds))
        assert (not found) == agreed[-1], (old, new, rtol, atol)
    assert 100 < sum(agreed) < 400


def test_the_worst_difference_is_shown() -> None:
    holds = relative(1e-3)
    old, new = (column("y", y, holds) for y in ([[1.0, 2.0], [4.0, 8.0]], [[1.5, 2.0], [8.0, 8.8]]))
    line = "y: 3 of 4 numbers beyond rtol 0.001; the worst, 4 published, is 8"
    assert differences("y", old, new) == [line]


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ([1.0, 2.0], [1.0], "shape (2,) published, (1,) now"),
        ([[1.0, 2.0]], [[1.0], [2.0]], "shape (1, 2) published, (2, 1) now"),
        ([], [1.0], "shape (0,) published, (1,) now"),
    ],
)
def test_another_shape_differs(old: Any, new: Any, line: str) -> None:
    holds = relative(1e-3)
    found = differences("x", column("x", old, holds), column("x", new, holds))
    assert found == [f"x: {line}"]


def test_a_share_of_the_entries_may_be_off_by_more() -> None:
    holds = absolute(1.0, share=0.75)
    old = column("x", [1, 2, 3, 4], holds)
    assert differences("x", old, column("x", [1, 2, 3, 400], holds)) == []
    assert len(differences("x", old, column("x", [1, 2, 300, 400], holds))) == 1


@pytest.mark.parametrize(
    ("interval", "same"),
    [((0.8, 1.2), True), ((0.2, 0.8), True), ((0.2, 0.5), True), ((0.81, 0.9), False)],
)
def test_in_distribution_two_intervals_must_overlap(
    shown: Shown, interval: tuple[float, float], same: bool
) -> None:
    old = said(shown, "{:.2f}", Estimate(0.6, 0.5, 0.8), holds=IN_DISTRIBUTION)
    now = Estimate(sum(interval) / 2, *interval)
    new = said(shown, "{:.2f}", now, holds=IN_DISTRIBUTION)
    assert (differences("x", old, new) == []) == same
    rows = [column("x", [[0, -1, 1], each], IN_DISTRIBUTION) for each in ((0.6, 0.5, 0.8), now)]
    assert (differences("x", *rows) == []) == same


@pytest.mark.parametrize(
    "rows",
    [
        [0.5, 0.4, 0.6],
        [[0.5, 0.4]],
        [[0.5, 0.4, 0.6, 0.7]],
        [[0.5, 0.6, 0.7]],
        [[0.5, 0.3, 0.4]],
        [[math.nan, 0.4, 0.6]],
        [[0.5, -math.inf, math.inf]],
    ],
)
def test_in_distribution_a_column_has_rows_of_a_value_and_its_interval(rows: Any) -> None:
    with pytest.raises(ValueError, match="data\\['x'\\]: rows of value, low, high, finite"):
        column("x", rows, IN_DISTRIBUTION)


def test_in_distribution_as_many_intervals_are_compared() -> None:
    rows = [column("x", [[0.5, 0.4, 0.6]] * many, IN_DISTRIBUTION) for many in (2, 3)]
    assert differences("x", *rows) == ["x: 2 intervals published, 3 now"]


@pytest.mark.parametrize("numbers", [[1.0, 1.5], [math.nan, 1.0, math.inf, 1.2]])
def test_a_tolerance_that_allows_any_curve_is_refused(numbers: list[float]) -> None:
    with pytest.raises(ValueError, match=r"it spans .*; atol, 0\.5, must be less"):
        column("x", numbers, absolute(0.5))
    assert column("x", [1.0, 1.0, math.nan], absolute(0.5))


@pytest.mark.parametrize(
    "three", [(1, 2, 3), (1, 0, 0.5), (math.nan, 0, 1), (0, -math.inf, 1), (0, 0, math.inf)]
)
def test_what_is_no_interval_is_refused(three: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="value, low, high: finite, and low <= value <= high, got"):
        text("{}", Estimate(*three))
    third = 1 / 3
    (kept,) = text("{:.3f}", Estimate(third, third * (1 + 1e-15), third)).numbers
    assert kept.value == 0.333333333333  # up to rounding


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"words": "{:.2f} of"}, "x: its words changed: '{:.2f} in' published, '{:.2f} of' now"),
        ({"kind": "exact"}, "x: its kind changed: 'printed digits' published, 'exact' now"),
        ({"rtol": 0.9}, "x: its rtol changed: None published, 0.9 now"),
        ({"share": 0.6}, "x: its share changed: None published, 0.6 now"),
        ({"where": {"runs": 3}}, "x: its where changed: None published, {'runs': 3} now"),
        ({"name": "another"}, "x: its name changed: None published, 'another' now"),
        ({"role": "figure"}, "x: its role changed: None published, 'figure' now"),
        ({"bound": 1e-3}, "x: its bound changed: None published, 0.001 now"),
    ],
)
def test_what_else_a_value_says_is_held_too(
    shown: Shown, change: dict[str, Any], line: str
) -> None:
    value = said(shown, "{:.2f} in", 0.5)
    assert differences("x", value, value | change) == [line]


def test_a_wider_tolerance_written_by_hand_holds_nothing_more(shown: Shown) -> None:
    printed, fresh = said(shown, "{:.2f}", 0.5), said(shown, "{:.2f}", 0.7)
    assert len(differences("x", printed | {"atol": [9.0]}, fresh)) == 1
    old, new = (column("x", [x], absolute(0.1)) for x in (1.0, 3.0))
    assert "its atol changed" in differences("x", old | {"atol": 9.0}, new)[0]


@pytest.mark.parametrize("number", [3, 0.5])
def test_in_distribution_only_an_interval_holds(number: float) -> None:
    with pytest.raises(ValueError, match="in distribution only an Estimate holds"):
        say(text("{:.0f}", number), holds=IN_DISTRIBUTION)


def test_values_that_come_and_go_are_named(shown: Shown) -> None:
    value = said(shown, "{:.2f}", 0.5)
    assert differences("x", None, value) == ["x: is not among the published values"]
    assert differences("x", value, None) == ["x: is gone"]


def test_a_machine_zero_is_published_as_its_bound() -> None:
    old, new = (estimate("x", below(x, 1e-12), PRINTED) for x in (1e-16, -8e-13))
    assert (written(old), f"{below(0, 1e-9)}") == ("below 1e-12", "below 1e-9")
    assert (number_of(old), differences("x", old, new)) == (1e-12, [])
    for large in (1e-12, -2e-12, math.nan, math.inf):
        refuses(below, {"bound": 1e-12}, value=large)
    assert differences("x", old, estimate("x", below(0, 1e-10), PRINTED)) != []
    for bound in (0, -1e-12, 0.002, math.nan):
        refuses(below, {"value": 0}, bound=bound)


@pytest.mark.parametrize(
    ("number", "holds", "line"),
    [
        (Estimate(0.66712, 0.6512, 0.6831), PRINTED, "0.667 [0.651, 0.683]"),
        (Estimate(12345.6, 12000.0, 12900.0), PRINTED, "12346 [12000, 12900]"),
        (Estimate(3.21e-9, 3.1e-9, 3.3e-9), PRINTED, "3.21e-09 [3.1e-09, 3.3e-09]"),
        (Estimate(1.0, 1.0, 1.0), PRINTED, "1 [1, 1]"),
        (Estimate(-0.01, -1.2, 1.3), PRINTED, "0.0 [-1.2, 1.3]"),
        (2 / 3, PRINTED, "0.666667"),
        (0.0, PRINTED, "0"),
        (2 / 3, relative(1e-3), "0.667"),
        (1234.5, absolute(1.0), "1234"),
        (0.12345, absolute(0.002, rtol=1e-3), "0.12"),
    ],
)
def test_a_row_of_the_ledger_shows_the_digits_that_hold(
    number: Any, holds: Tolerance, line: str
) -> None:
    assert written(estimate("x", number, holds)) == line


@given(st.floats(-1e9, 1e9), st.floats(0, 1e3), st.floats(0, 1e3))
def test_an_estimate_never_shows_more_than_two_digits_of_its_width(
    middle: float, left: float, right: float
) -> None:
    number = Estimate(middle, middle - left, middle + right)
    value = estimate("x", number, PRINTED)
    assert json.loads(json.dumps(value)) == value
    assert differences("x", value, value) == []
    width, largest = number.high - number.low, max(abs(number.low), abs(number.high))
    if width > 1e-4 and 1e-6 < largest < 1e6:
        (halves,) = values._halves(value)
        assert halves[0] >= min(0.5, 0.0049 * width)


def test_an_exact_row_is_held_to_a_millionth() -> None:
    old = estimate("x", 2 / 3, PRINTED)
    assert differences("x", old, estimate("x", 2 / 3 * (1 + 9e-7), PRINTED)) == []
    assert differences("x", old, estimate("x", 2 / 3 * (1 + 1.1e-6), PRINTED)) != []


def test_glue_shows_nothing_in_place_and_is_found_by_name(shown: Shown) -> None:
    glue("another", "{:.0e}", 2.6e-7)
    assert shown.pop()[0]["application/papermill.record/text/plain"] == "'3 · 10⁻⁷'"
    glue("a-name", "{:.1f} %", 12.34)
    ((data, mark, name),) = shown
    assert name == "a-name"
    assert data["application/papermill.record/text/plain"] == "'12.3 %'"
    (value,) = mark.pop("values")
    assert mark == {"role": "glue"}
    kept = {"words": "{:.1f} %", "numbers": [12.34], "kind": "printed digits"}
    assert value == {"name": "a-name", **kept}


@pytest.mark.parametrize("name", ["", " ", None])
def test_glue_without_a_name_is_refused(shown: Shown, name: Any) -> None:
    with pytest.raises(ValueError, match="name: a name for the chapter's text"):
        glue(name, "{:d}", 3)
    assert shown == []


def test_lines_are_one_output(shown: Shown) -> None:
    say(text("a {:.1f}", 0.5), "b {plain}", text("c {:d}", 3))
    ((data, mark, _),) = shown
    assert data == {"text/plain": "a 0.5\nb {plain}\nc 3"}
    assert mark["values"][0]["numbers"] == [0.5, 3]


def test_a_tolerance_that_holds_nothing_is_refused() -> None:
    for wrong in (-1e-3, math.nan, 1.0):
        refuses(Tolerance, {"kind": "any"}, rtol=wrong)
    refuses(Tolerance, {"kind": "any"}, atol=math.inf, share=0.3)
    refuses(Tolerance, {"kind": "any", "rtol": 0.1, "atol": 0.1}, share=1.1)


def test_numbers_are_kept_to_twelve_digits_and_columns_to_eight() -> None:
    assert text("{:.3f}", 1 / 3).numbers == (0.333333333333,)
    assert column("x", [1 / 3], relative(1e-6))["numbers"] == [0.33333333]
