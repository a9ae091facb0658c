"""Figures as outputs: the same numbers give the same drawings, and travel with them, rounded, as a table."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from flatter_lib.figures import PALETTE, output, show
from flatter_lib.figures.output import ON_PHONE
from flatter_lib.values import absolute, relative

Shown = list[tuple[Mapping[str, str], dict[str, Any]]]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    """What is shown in a cell from here on: its data by kind, and the table that travels with it."""
    outputs: Shown = []

    def emit(data: Mapping[str, str], mark: Mapping[str, Any]) -> None:
        assert mark["role"] == "figure"
        columns = {value["name"]: value for value in mark["values"]}
        outputs.append((data, columns))

    monkeypatch.setattr(output, "emit", emit)
    return outputs


def drawn() -> Figure:
    figure, axes = pyplot.subplots()
    axes.plot([1, 2, 3], [1, 4, 9], label="$x^2$")
    axes.fill_between([1, 2, 3], [0, 3, 8], [2, 5, 10], alpha=0.3)
    axes.set(xlabel=r"step $\eta$", title="A curve")
    axes.legend()
    return figure


def test_the_same_figure_is_the_same_text(shown: Shown) -> None:
    for _ in range(2):
        show(drawn(), {"x": [1, 2, 3]})
    (first, _), (second, _) = shown
    assert first["image/svg+xml"] == second["image/svg+xml"]
    assert first == second


def test_a_figure_is_shown_once_opaque_white_without_a_clock(shown: Shown) -> None:
    figure = drawn()
    assert pyplot.fignum_exists(figure.number)
    show(figure, {"x": [1]})
    ((data, _),) = shown
    assert not pyplot.fignum_exists(figure.number)
    for kind, width in (("image/svg+xml", 684), (ON_PHONE, 340)):
        svg = ElementTree.fromstring(data[kind])
        assert svg.get("width") == f"{width * 3 / 4:g}pt"
        first = next(element for element in svg.iter() if element.tag.endswith("path"))
        assert f".{first.get('class')}{{fill:#ffffff}}" in data[kind]
        assert "dc:date" not in data[kind]
        assert "<text" not in data[kind]  # no page may need our fonts


@pytest.mark.parametrize("size", [6.0, 7.5])  # of the words, and of the index only
def test_words_that_are_too_small_are_refused(shown: Shown, size: float) -> None:
    figure = drawn()
    figure.axes[0].set_xlabel(r"step $\eta_{\rm eff}$", fontsize=size)
    with pytest.raises(ValueError, match=r"words of \d.\d pixels on the page, less than 9: call"):
        show(figure, {"x": [1]})
    assert shown == []


def test_the_numbers_travel_as_a_table(shown: Shown) -> None:
    data: dict[str, ArrayLike] = {
        "whole": np.arange(3),
        "one": 2.5,
        "grid": [[1, 2], [3, 4]],
        "none": [],
        "single": np.array([0.5], dtype=np.float32),
    }
    show(drawn(), data, rtol=1e-3, atol=0.5)
    ((kinds, table),) = shown
    assert {name: value["numbers"] for name, value in table.items()} == {
        "whole": [0.0, 1.0, 2.0],
        "one": [2.5],
        "grid": [[1.0, 2.0], [3.0, 4.0]],
        "none": [],
        "single": [0.5],
    }
    assert {(value["rtol"], value["atol"]) for value in table.values()} == {(1e-3, 0.5)}
    assert json.loads(json.dumps(table, allow_nan=False)) == table
    assert set(kinds) == {"image/svg+xml", ON_PHONE, "text/plain"}
    assert kinds["text/plain"] == ("<figure: whole (3), one (), grid (2x2), none (0), single (1)>")


def test_the_tolerance_is_strict_unless_it_is_said(shown: Shown) -> None:
    show(drawn(), {"x": [1]})
    assert shown[0][1]["x"] == {"name": "x", "numbers": [1.0], "kind": "figure", "rtol": 1e-6}


def test_a_column_may_hold_otherwise(shown: Shown) -> None:
    show(drawn(), {"x": [1], "y": [2]}, holds={"y": relative(0.1)})
    assert {name: value["rtol"] for name, value in shown[0][1].items()} == {"x": 1e-6, "y": 0.1}


@pytest.mark.parametrize(
    ("tolerance", "message"),
    [
        ({"rtol": "1"}, r"rtol: must be real numbers in \[0, 1\), got '1'"),
        ({"atol": True}, r"atol: must be real numbers in \[0, inf\), got True"),
        ({"atol": 1}, "data\\['x'\\]: it spans 1; atol, 1, must be less"),
        ({"holds": {"x": absolute(2)}}, "data\\['x'\\]: it spans 1; atol, 2, must be less"),
        ({"holds": {"z": relative(0.1)}}, "holds: 'z' is not among the numbers"),
    ],
)
def test_a_tolerance_that_is_none_is_refused(
    shown: Shown, tolerance: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        show(drawn(), {"x": [1, 2]}, **tolerance)
    assert shown == []


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (2e10 / 3, 6666666700.0),
        (-1e-20 / 3, -3.3333333e-21),
        (123456785, 123456780.0),
        (0.0, 0.0),
        (5e-324, 5e-324),
    ],
)
def test_numbers_are_kept_to_their_first_digits(shown: Shown, value: float, kept: float) -> None:
    show(drawn(), {"x": [value]})
    assert shown[0][1]["x"]["numbers"] == [pytest.approx(kept, rel=1e-15, abs=0)]


def test_what_is_no_finite_number_is_kept_as_its_name(shown: Shown) -> None:
    show(drawn(), {"x": [1, math.nan, math.inf], "y": np.array([[-math.inf, math.nan], [0, 1]])})
    columns = {name: value["numbers"] for name, value in shown[0][1].items()}
    assert columns == {"x": [1.0, "nan", "inf"], "y": [["-inf", "nan"], [0.0, 1.0]]}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "data: give the numbers that the figure draws"),
        ({"cube": np.zeros((2, 2, 2))}, r"data\['cube'\]: at most two dimensions, got 3"),
        ({"words": ["a", "b"]}, "could not convert"),
        ({"ragged": [[1, 2], [3]]}, "inhomogeneous"),
    ],
)
def test_a_figure_without_numbers_is_refused(
    shown: Shown, data: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        show(drawn(), data)
    assert shown == []


def channels(colour: str) -> NDArray[np.float64]:
    """The sRGB channels of a colour, each from 0 to 1."""
    return np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])


def darkened(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """What the dark page's filter, ``invert(0.93) hue-rotate(180deg)``, makes of a colour (W3C Filter Effects)."""
    inverted = 0.93 - 0.86 * rgb
    weights = np.array([0.213, 0.715, 0.072])
    return np.clip(2 * (weights @ inverted) - inverted, 0, 1)


def luminance(rgb: NDArray[np.float64]) -> float:
    """Relative luminance (WCAG 2.2)."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    dark, light = sorted([luminance(one), luminance(other)])
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("colour", PALETTE)
def test_every_line_stands_out_on_the_light_page_and_on_the_dark_one(colour: str) -> None:
    white, line = np.ones(3), channels(colour)
    assert contrast(line, white) >= 3  # what WCAG 1.4.11 asks of graphics
    assert contrast(darkened(line), darkened(white)) >= 3


def test_the_dark_pages_filter_is_the_one_reckoned_with_here() -> None:
    style = Path(__file__).parents[2] / "book" / "_static" / "flatter.css"
    assert "filter: invert(0.93) hue-rotate(180deg);" in style.read_text(encoding="utf-8")


def test_no_two_colours_are_alike() -> None:
    pairs = itertools.combinations(map(channels, PALETTE), 2)
    assert min(np.abs(a - b).max() for a, b in pairs) > 0.15


def test_lines_take_the_palettes_colours_in_turn() -> None:
    figure, axes = pyplot.subplots()
    lines = [axes.plot([0, 1])[0] for _ in PALETTE]
    assert [line.get_color() for line in lines] == list(PALETTE)
    pyplot.close(figure)


def test_a_remark_ends_inside_the_phones_drawing_too(shown: Shown) -> None:
    figure = drawn()
    figure.axes[0].legend_ = None  # its place asks remarks for theirs
    figure.axes[0].text(2, 5, "a remark that is as long as this is")
    show(figure, {"x": [1]})
    remark = figure.axes[0].texts[0]
    figure.draw_without_rendering()
    assert remark.get_text().count("\n") >= 1
    assert remark.get_window_extent().x1 <= figure.bbox.width + 1
