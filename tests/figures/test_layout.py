"""A figure at another width: nothing is lost, cut off or covered."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure

from flatter_lib.figures import layout
from flatter_lib.figures.style import PHONE, PIXELS, WIDE


def row(panels: int, **options: bool) -> Figure:
    """A row of panels, each with a title that only its own width holds, and a label at the first."""
    figure, axes = pyplot.subplots(1, panels, figsize=(9, 3.6), **options)
    for k, ax in enumerate(axes):
        ax.plot([0, 1], [k, k + 1], label="a curve")
        ax.set(
            title=f"panel {k} of those that stand beside each other in a row", xlabel=f"place {k}"
        )
    axes[0].set_ylabel("height")
    return figure


def boxes(figure: Figure) -> list[tuple[float, float]]:
    figure.draw_without_rendering()
    return [(ax.bbox.x0, ax.bbox.y0) for ax in figure.axes]


@pytest.mark.parametrize("panels", [2, 3])
def test_a_row_becomes_a_column_in_its_order(panels: int) -> None:
    figure = row(panels, sharey=True)
    layout.spread(figure, WIDE)
    heights = [ax.bbox.height for ax in figure.axes]
    wide = boxes(figure)
    assert [y for _, y in wide] == pytest.approx([wide[0][1]] * panels)
    assert [x for x, _ in wide] == sorted({x for x, _ in wide})
    layout.stack(figure, PHONE, 1)
    narrow = boxes(figure)
    assert figure.get_size_inches()[0] * PIXELS == PHONE
    assert [x for x, _ in narrow] == pytest.approx([narrow[0][0]] * panels)
    assert [y for _, y in narrow] == sorted({y for _, y in narrow}, reverse=True)
    assert [ax.bbox.height for ax in figure.axes] == pytest.approx(heights, rel=0.02)
    for ax in figure.axes:  # what they shared stands at each
        assert ax.get_ylabel() == "height"
        assert any(label.get_text() for label in ax.get_yticklabels() if label.get_visible())


def test_columns_under_titles_stay_together() -> None:
    figure, axes = pyplot.subplots(2, 2, sharex="col")
    for k, name in enumerate("ab"):
        axes[0, k].set_title(name)
        axes[1, k].set_xlabel(f"place of {name}")
    layout.stack(figure, PHONE, 1)
    order = sorted(axes.flat, key=lambda ax: -ax.bbox.y0)
    assert order == [axes[0, 0], axes[1, 0], axes[0, 1], axes[1, 1]]
    assert [ax.get_xlabel() for ax in order] == ["place of a"] * 2 + ["place of b"] * 2


def test_as_many_columns_as_it_has_keep_a_figures_rows() -> None:
    figure, axes = pyplot.subplots(2, 3)
    layout.stack(figure, PHONE, 3)
    assert len({round(ax.bbox.y0) for ax in axes.flat}) == 2
    assert figure.get_size_inches()[0] * PIXELS == PHONE


@pytest.mark.parametrize("width", [WIDE, PHONE])
def test_words_are_broken_where_the_figure_ends_and_stay_the_same(width: int) -> None:
    figure = row(3)
    figure.axes[2].text(0.9, 2.5, "a remark that begins near the edge of its panel", va="top")
    before = layout.words(figure)
    layout.stack(figure, width, 1 if width == PHONE else 3)
    figure.draw_without_rendering()
    for text, words in before.items():
        assert text.get_text().split() == words.split()
        if text.get_text():
            assert text.get_window_extent().x0 >= -1
            assert text.get_window_extent().x1 <= figure.bbox.width + 1
    titles = [ax.title.get_window_extent() for ax in figure.axes]
    if width == WIDE:
        assert all(a.x1 < b.x0 for a, b in pairwise(titles))


def test_a_formula_is_not_broken() -> None:
    figure, ax = pyplot.subplots()
    formula = r"$a + b + c + d$"
    ax.set_title(" ".join([formula] * 20))
    layout.spread(figure, PHONE)
    lines = ax.get_title().split("\n")
    assert len(lines) > 1
    assert all(line.replace(formula, "").strip() == "" for line in lines)


def covered(figure: Figure) -> bool:
    """Whether a legend lies on a point of a curve, by the curve's own data."""
    (ax,) = figure.axes
    box = ax.get_legend().get_window_extent()
    points = [ax.transData.transform(line.get_xydata()) for line in ax.lines]
    return any(box.contains(*point) for point in np.concatenate(points))


@pytest.mark.parametrize("free", [True, False])
def test_a_legend_covers_nothing(free: bool) -> None:
    figure, ax = pyplot.subplots()
    x = np.linspace(0, 1, 2000)
    if free:
        ax.plot(x, x**8, label="a curve that leaves room")
    else:
        ax.plot(x, np.sin(300 * x), label="a curve that is everywhere")
    ax.legend(loc="lower right")
    layout.spread(figure, PHONE)
    figure.draw_without_rendering()
    assert covered(figure) is False
    box = ax.get_legend().get_window_extent()
    assert (box.y1 < ax.bbox.y0) is not free
    assert box.y0 >= 0
    assert box.x0 >= 0


def test_a_legend_of_the_figure_has_as_many_columns_as_fit() -> None:
    figure, ax = pyplot.subplots()
    handles = [ax.plot([0, k])[0] for k in range(6)]
    legend = figure.legend(
        handles, [f"curve number {k}" for k in range(6)], ncols=6, loc="outside lower center"
    )
    for width in (WIDE, PHONE):
        layout.spread(figure, width)
        figure.draw_without_rendering()
        assert legend.get_window_extent().width <= figure.bbox.width
        assert len({text.get_text() for text in legend.get_texts()}) == 6
    lines = {round(text.get_window_extent().y0) for text in legend.get_texts()}
    assert 1 < len(lines) < 6
