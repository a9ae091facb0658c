"""A drawing in fewer bytes is the same drawing."""

from __future__ import annotations

import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib import rc_context
from matplotlib.figure import Figure
from numpy.typing import NDArray

from flatter_lib.figures.svg import compact, smallest_words

_NUMBERS = re.compile(r"-?\d*\.?\d+(?:e-?\d+)?")


def drawing() -> str:
    """One of all that figures are made of: lines, areas, marks in one colour and in many, bars of errors, words."""
    figure = Figure()
    axes = figure.subplots()
    x = np.linspace(0, 3, 40)
    axes.plot(x, np.sin(x), label="$x^{2}$")
    axes.fill_between(x, np.sin(x) - 0.1, np.sin(x) + 0.1, alpha=0.3)
    axes.errorbar(x[::9], np.cos(x[::9]), 0.1, fmt="o")
    axes.scatter(x[::7], x[::7], c=x[::7])
    axes.scatter(x[::7], -x[::7])
    axes.set(xlabel="a word", yscale="symlog")
    axes.legend()
    text = io.StringIO()
    with rc_context({"svg.fonttype": "path"}):
        figure.savefig(text, format="svg")
    return text.getvalue()


def places(way: str) -> NDArray[np.float64]:
    """The places of a path one after the other, read by the rules of SVG, one command at a time."""
    here, start = np.zeros(2), np.zeros(2)
    found = [np.zeros((1, 2))]  # the letter between two words has no path
    for command, rest in re.findall(r"([MmLlQqCcZz])([^A-Za-z]*)", way):
        numbers = np.array([float(n) for n in _NUMBERS.findall(rest)]).reshape(-1, 2)
        size = {"m": 1, "l": 1, "q": 2, "c": 3, "z": 1}[command.lower()]
        if command in "zZ":
            here = start
        for said in numbers.reshape(-1, size, 2):
            group = said + here if command.islower() else said
            here = group[-1]
            start = here if command in "Mm" else start
            found.append(group)
    return np.concatenate(found)


def elements(root: ElementTree.Element, kind: str) -> list[ElementTree.Element]:
    return [e for e in root.iter() if e.tag.endswith(f"}}{kind}")]


def magnified(element: ElementTree.Element) -> float:
    """By how much an element is scaled itself."""
    found = re.search(r"scale\((\S+)\)", element.get("transform", ""))
    return float(found[1]) if found else 1.0


def test_paths_and_marks_stand_where_they_stood() -> None:
    assert len(compact(drawing())) < 0.5 * len(drawing())
    before, after = (ElementTree.fromstring(text) for text in (drawing(), compact(drawing())))
    old, new = elements(before, "path"), elements(after, "path")
    assert len(old) == len(new)
    for one, other in zip(old, new, strict=True):
        was, now = (places(e.get("d", "")) * magnified(e) for e in (one, other))
        off = 0.0051 if magnified(one) == 1 else 0.13  # of a hundredth of a letter
        if len(was) == len(now):  # else steps of no length were left out
            np.testing.assert_allclose(now, was, atol=off)
        np.testing.assert_allclose([now.min(0), now.max(0)], [was.min(0), was.max(0)], atol=off)
    old, new = elements(before, "use"), elements(after, "use")
    assert len(old) == len(new)
    for one, other in zip(old, new, strict=True):
        moves = [
            re.search(r"translate\((\S+) (\S+)\)", e.get("transform", "")) for e in (one, other)
        ]
        was, now = (
            [float(moved[1]), float(moved[2])]
            if moved
            else [float(e.get(side, 0)) for side in "xy"]
            for moved, e in zip(moves, (one, other), strict=True)
        )
        np.testing.assert_allclose(now, was, atol=0.0051)
        assert magnified(one) == magnified(other)


def test_every_mark_and_line_has_its_shape_and_style() -> None:
    def seen(text: str) -> tuple[list[object], list[NDArray[np.float64]]]:
        root = ElementTree.fromstring(text)
        rules = dict(re.findall(r"\.(\w+)\{([^}]*)\}", text))
        named = {e.get("id"): e for e in root.iter() if e.get("id")}
        above = {child: parent for parent in root.iter() for child in parent}

        def style(element: ElementTree.Element) -> str:
            own = element.get("style") or rules.get(element.get("class", ""), "")
            return own.replace(" ", "")

        found: list[object] = []
        sizes = []
        for use in elements(root, "use"):
            link = use.get("href") or use.get("{http://www.w3.org/1999/xlink}href") or ""
            shape = named[link[1:]]
            sizes.append(np.ptp(places(shape.get("d", "")), axis=0) * magnified(shape))
            found.append((style(use) or style(above[use]), style(shape)))
        paths = elements(root, "path")
        return found + [(style(path), path.get("clip-path") is None) for path in paths], sizes

    (found, sizes), (other, others) = seen(drawing()), seen(compact(drawing()))
    assert found == other
    np.testing.assert_allclose(others, sizes, atol=0.26)  # of a hundredth of a letter


@pytest.mark.parametrize(("size", "script", "pixels"), [(0.09, 0.5, 6.0), (0.06, 1.0, 8.0)])
def test_the_smallest_words_are_found(size: float, script: float, pixels: float) -> None:
    letters = f'<use/><use transform="translate(1 2) scale({script})"/>'
    large = '<g transform="translate(3 4) rotate(-90) scale(0.2 -0.2)"><use/></g>'
    small = f'<g transform="scale({size} -{size})">{letters}</g>'
    assert smallest_words(large + small) == pytest.approx(pixels)
    assert smallest_words("<svg/>") == float("inf")


def test_an_index_is_measured_as_matplotlib_draws_it() -> None:
    assert smallest_words(drawing()) == pytest.approx(smallest_words(compact(drawing())))
    assert smallest_words(drawing()) < 10 * 4 / 3  # the words' own
