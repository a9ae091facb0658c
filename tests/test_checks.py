"""The checks of arguments: what they let through, and the one line otherwise."""

from collections.abc import Callable
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from flatter_lib import checks


@pytest.mark.parametrize(
    ("interval", "inside", "outside"),
    [
        ("[0, 1)", [0.0, 0.5], [-0.1, 1.0, np.nan, np.inf]),
        ("(0, 1]", [0.5, 1.0], [0.0, 1.1]),
        ("(-inf, inf)", [-1e300, 0.0], [-np.inf, np.inf, np.nan]),
        ("(0, inf]", [1e-300, np.inf], [0.0, np.nan]),
    ],
)
def test_an_interval_is_what_it_says(
    interval: str, inside: list[float], outside: list[float]
) -> None:
    np.testing.assert_array_equal(checks.numbers("x", inside, interval), inside)
    assert [checks.number("x", value, interval) for value in inside] == inside
    for value in outside:
        with pytest.raises(ValueError, match=r"^x: must be in .*, got "):
            checks.numbers("x", [inside[0], value], interval)


@pytest.mark.parametrize("value", ["1", ["1"], True, None, 1j, [[1], [1, 2]], {}, Fraction(1, 2)])
def test_what_is_no_number(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^x: must be real numbers in .*, got [^\n]{1,60}$"):
        checks.number("x", value)


def test_many_numbers_are_not_one() -> None:
    with pytest.raises(ValueError, match=r"^x: must be one number, got an array of shape \(2,\)"):
        checks.number("x", [1, 2])


def test_a_tensor_is_an_array_unless_it_needs_a_gradient() -> None:
    assert checks.numbers("x", torch.ones(2)).tolist() == [1.0, 1.0]
    with pytest.raises(ValueError, match=r"^x: must be real numbers"):
        checks.numbers("x", torch.ones(2, requires_grad=True))


@pytest.mark.parametrize("value", [0, 4, 2.0, 1.5, np.float64(2), True, "2", None, [2], np.nan])
def test_what_is_no_count(value: object) -> None:
    with pytest.raises(ValueError, match=r"^n: must be an integer from 1 to 3, got "):
        checks.count("n", value, most=3)


def test_counts_one_and_many() -> None:
    assert checks.count("n", np.int32(2)) == 2
    assert checks.counts("n", [2.0, 3]).tolist() == [2, 3]
    for bad in (-1, 2**54, np.nan, [1, 1.5], ["1"]):
        with pytest.raises(ValueError, match=r"^n: must be "):
            checks.counts("n", bad)


def test_fields_of_a_dataclass() -> None:
    given = SimpleNamespace(lr=(0.1, 0.2), runs=2, noise="flip")
    checks.fields(given, lr="(0, inf)", runs=2, noise=("flip", "additive"))
    wrong: list[tuple[str, Any]] = [("lr", "[0.2, 1]"), ("runs", 3), ("noise", ("additive",))]
    for name, allowed in wrong:
        with pytest.raises(ValueError, match=f"^{name}: must be "):
            checks.fields(given, **{name: allowed})


@pytest.mark.parametrize(
    ("value", "chosen"), [(2, [0, 1]), ([3, 1], [3, 1]), (np.arange(2), [0, 1]), ([2**70], [2**70])]
)
def test_seeds(value: Any, chosen: list[int]) -> None:
    assert checks.seeds("seeds", value) == chosen


@pytest.mark.parametrize("value", [0, -1, 1.7, [], [1.7], [-1], [1, 1], "12", True, [True]])
def test_what_are_no_seeds(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^seeds: must be "):
        checks.seeds("seeds", value)


@pytest.mark.parametrize("together", [checks.together, checks.one_axis])
def test_shapes_that_do_not_broadcast(together: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"a \(2,\), b \(3,\)"):
        together(a=np.ones(2), b=np.ones(3))


@pytest.mark.parametrize("bad", [np.ones((1, 1)), np.ones(0)])
def test_one_axis_that_is_not_empty(bad: Any) -> None:
    assert [x.tolist() for x in checks.one_axis(a=np.ones(2), b=np.asarray(3.0))] == [
        [1, 1],
        [3, 3],
    ]
    with pytest.raises(ValueError, match=r"^a, b: must be numbers or one axis"):
        checks.one_axis(a=bad, b=np.asarray(3.0))
