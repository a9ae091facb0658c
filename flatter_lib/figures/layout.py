"""The same figure at another width: panels in fewer columns, words broken into lines, legends where nothing is drawn.

Lengths here are in the pixels in which matplotlib measures; words keep their size, whatever the width.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flatter_lib.figures.style import PIXELS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

#: How high a panel of a column is, at least and at most, in pixels of the page.
PANEL = (150, 240)
#: Where a legend may stand in its panel, if nothing is drawn there, by matplotlib's codes; else it stands under it.
_PLACES = (1, 2, 3, 4, 6, 7, 9, 8, 10)
#: Words of a line, of which none is inside a formula.
_WORD = re.compile(r"(?:\$[^$]*\$|[^\s$])+")


def spread(figure: Figure, width: float) -> None:
    """Draw a figure in its own proportions, higher by the legends that go under its panels.

    Args:
        figure: the figure.
        width: pixels of the page.
    """
    old = figure.get_size_inches()
    inches = old[1] * width / PIXELS / old[0]
    figure.set_size_inches(width / PIXELS, inches)
    _settle(figure)
    rows = {_row(ax): ax for ax in _panels(figure)}
    high = [ax.bbox.height for ax in rows.values()]
    _legends(figure)
    _arrange(figure)
    least = PANEL[0] * figure.dpi / PIXELS if len(rows) == 1 else 0.0
    lost = sum(
        max(was, least) - ax.bbox.height for was, ax in zip(high, rows.values(), strict=True)
    )
    if lost > 1:
        figure.set_size_inches(width / PIXELS, inches + lost / figure.dpi)
        _arrange(figure)
    _remarks(figure)


def stack(figure: Figure, width: float, columns: int) -> None:
    """Draw a figure with its panels in fewer columns, each about as high as before.

    A column of panels that share an axis needs its numbers and label at each of them.

    Args:
        figure: the figure.
        width: pixels of the page.
        columns: of panels; a figure that has no more keeps its rows.
    """
    panels = _panels(figure)
    if not panels or (columns > 1 and columns >= len({_column(ax) for ax in panels})):
        spread(figure, width)
        return
    least, most = (side * figure.dpi / PIXELS for side in PANEL)
    height = {ax: float(np.clip(ax.bbox.height, least, most)) for ax in panels}
    _label(panels)
    rows = [panels[k : k + columns] for k in range(0, len(panels), columns)]
    wanted = [max(height[ax] for ax in row) for row in rows]
    grid = figure.add_gridspec(len(rows), columns, height_ratios=wanted)
    for k, row in enumerate(rows):
        for place, ax in enumerate(row):
            ax.set_subplotspec(grid[k, place])
    inches = sum(wanted) / figure.dpi + len(rows) * 0.4
    figure.set_size_inches(width / PIXELS, inches)
    _settle(figure)
    _legends(figure)
    _arrange(figure)
    for _ in range(2):
        # What stands between the panels is as high as it is: a legend that went under one is new.
        inches += (sum(wanted) - sum(row[0].bbox.height for row in rows)) / figure.dpi
        figure.set_size_inches(width / PIXELS, inches)
        _arrange(figure)
    _legends(figure)
    _arrange(figure)
    _remarks(figure)


def words(figure: Figure) -> dict[Text, str]:
    """What titles, labels and remarks of a figure say, as whoever drew it broke them into lines."""
    return {text: text.get_text() for text in _texts(figure)}


def _texts(figure: Figure) -> Iterator[Text]:
    for ax in figure.axes:
        yield from (ax.title, ax.xaxis.label, ax.yaxis.label, *ax.texts)


def _panels(figure: Figure) -> list[Axes]:
    """A figure's panels in reading order: by columns, if titles stand only above the first row."""
    panels = [ax for ax in figure.axes if ax.get_subplotspec() is not None]
    titled = {_row(ax) for ax in panels if ax.get_title()}
    by_columns = titled == {0} and len({_row(ax) for ax in panels}) > 1
    return sorted(panels, key=lambda ax: (_column(ax), _row(ax))[:: 1 if by_columns else -1])


def _row(ax: Axes) -> int:
    place = ax.get_subplotspec()
    return place.rowspan.start if place else 0


def _column(ax: Axes) -> int:
    place = ax.get_subplotspec()
    return place.colspan.start if place else 0


def _label(panels: Sequence[Axes]) -> None:
    """Numbers and labels at each panel that shares an axis with the one that has them."""
    for ax in panels:
        if len(ax.get_shared_y_axes().get_siblings(ax)) > 1:
            ax.tick_params(axis="y", which="both", labelleft=True)
            beside = [other.get_ylabel() for other in panels if _row(other) == _row(ax)]
            ax.set_ylabel(ax.get_ylabel() or next(filter(None, beside), ""))
        if len(ax.get_shared_x_axes().get_siblings(ax)) > 1:
            ax.tick_params(axis="x", which="both", labelbottom=True)
            below = [other.get_xlabel() for other in panels if _column(other) == _column(ax)]
            ax.set_xlabel(ax.get_xlabel() or next(filter(None, below), ""))


def _settle(figure: Figure) -> None:
    """Break titles and labels where panels are now."""
    for text in (text for ax in figure.axes for text in ax.texts if _within(text, ax)):
        text.set_in_layout(False)  # a remark takes the room that there is
    _arrange(figure)
    before = words(figure)
    for ax in figure.axes:
        left, right, low, high = _room(ax)
        centre = (ax.bbox.x0 + ax.bbox.x1) / 2
        middle = (ax.bbox.y0 + ax.bbox.y1) / 2
        across = 2 * min(centre - left, right - centre)
        _break(ax.title, across)
        _break(ax.xaxis.label, across)
        _break(ax.yaxis.label, 2 * min(middle - low, high - middle))
    if words(figure) != before:
        _arrange(figure)


def _legends(figure: Figure) -> None:
    """Place legends among what is drawn now."""
    for legend in figure.legends:
        _pack(legend, figure.bbox.width)
    for ax in figure.axes:
        if (own := ax.get_legend()) is not None:
            _place(own, ax)


def _remarks(figure: Figure) -> None:
    """Break remarks that leave the figure."""
    for text in (text for ax in figure.axes for text in ax.texts):
        _keep_inside(text, figure.bbox.width)


def _arrange(figure: Figure) -> None:
    """Give panels their places among words as they are now."""
    if (engine := figure.get_layout_engine()) is not None:
        engine.execute(figure)


def _room(ax: Axes) -> tuple[float, float, float, float]:
    """How far a panel's words may reach: half way to the next panel, or to the edge."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    others = [other.bbox for other in figure.axes if other is not ax]
    box, edge = ax.bbox, figure.bbox
    beside = [o for o in others if o.y0 < box.y1 and o.y1 > box.y0]
    above = [o for o in others if o.x0 < box.x1 and o.x1 > box.x0]
    return (
        max([(o.x1 + box.x0) / 2 for o in beside if o.x1 <= box.x0], default=edge.x0),
        min([(o.x0 + box.x1) / 2 for o in beside if o.x0 >= box.x1], default=edge.x1),
        max([(o.y1 + box.y0) / 2 for o in above if o.y1 <= box.y0], default=edge.y0),
        min([(o.y0 + box.y1) / 2 for o in above if o.y0 >= box.y1], default=edge.y1),
    )


def _extent(text: Text) -> Bbox:
    """Where a text is now: by itself it would ask whatever drew it last, perhaps into a file."""
    figure = text.get_figure(root=True)
    assert figure is not None
    return text.get_window_extent(figure._get_renderer())  # type: ignore[attr-defined]


def _length(text: Text) -> float:
    box = _extent(text)
    return box.height if text.get_rotation() == 90 else box.width


def _break(text: Text, room: float) -> None:
    """Break each line of a text between words, so that it fits."""
    if not text.get_text() or _length(text) <= room:
        return
    lines = []
    for line in text.get_text().split("\n"):
        made = ""
        for word in _WORD.findall(line):
            longer = f"{made} {word}".strip()
            text.set_text(longer)
            if made and _length(text) > room:
                lines.append(made)
                longer = word
            made = longer
        lines.append(made)
    text.set_text("\n".join(lines))


def _within(text: Text, ax: Axes) -> bool:
    """Whether a remark begins in its panel."""
    return bool(ax.bbox.padded(1).contains(*text.get_transform().transform(text.get_position())))


def _keep_inside(text: Text, width: float) -> None:
    """Break a remark where the figure ends."""
    box = _extent(text)
    if text.get_rotation() == 0 and (box.x1 > width or box.x0 < 0):
        at = {"left": width - box.x0, "right": box.x1}
        centre = (box.x0 + box.x1) / 2
        _break(text, at.get(text.get_horizontalalignment(), 2 * min(centre, width - centre)))


def _place(legend: Legend, ax: Axes) -> None:
    """Put a legend where it covers nothing that is drawn, or under its panel."""
    from matplotlib.transforms import ScaledTranslation

    drawn = _drawn(ax)
    if _free(legend, ax, drawn):
        return
    legend.set_bbox_to_anchor(None)
    for place in _PLACES:
        legend.set_loc(place)
        if _free(legend, ax, drawn):
            return
    figure = ax.get_figure(root=True)
    assert figure is not None
    below, beside = ax.xaxis.get_tightbbox(), ax.yaxis.get_tightbbox()
    down = ax.bbox.y0 - below.y0 if below else 0
    left = ax.bbox.x0 - beside.x0 if beside else 0
    _pack(legend, ax.bbox.width + left)
    shift = ScaledTranslation(-left / figure.dpi, -down / figure.dpi, figure.dpi_scale_trans)
    legend.set_loc("upper left")
    legend.set_bbox_to_anchor((0, 0), ax.transAxes + shift)


def _free(legend: Legend, ax: Axes, drawn: NDArray[np.float64]) -> bool:
    """Whether a legend is inside its panel and on nothing that is drawn there."""
    box = legend.get_window_extent()
    inside = np.all((drawn > box.min) & (drawn < box.max), axis=1).any()
    room = ax.bbox.padded(3)
    return not inside and bool(np.all(box.min >= room.min) and np.all(box.max <= room.max))


def _drawn(ax: Axes) -> NDArray[np.float64]:
    """Points on everything drawn in a panel but areas, no further apart than letters are high."""
    from matplotlib.collections import LineCollection, PathCollection

    parts: list[NDArray[np.float64]] = []
    for line in ax.lines:
        points = line.get_transform().transform(line.get_xydata())
        parts.append(points if line.get_linestyle() == "None" else _dense(points))
    for many in ax.collections:
        if isinstance(many, LineCollection):
            to = many.get_transform()
            parts += [_dense(to.transform(np.asarray(path.vertices))) for path in many.get_paths()]
        elif isinstance(many, PathCollection):
            parts.append(
                many.get_offset_transform().transform(np.ma.filled(many.get_offsets(), np.nan))
            )
    for bar in (bar for bars in ax.containers if hasattr(bars, "patches") for bar in bars.patches):
        parts.append(_dense(bar.get_transform().transform(bar.get_path().vertices)))
    for text in ax.texts:
        if text.get_text():
            box = _extent(text)
            parts.append(_dense(np.array([box.min, box.max])))
    return np.concatenate([np.zeros((0, 2)), *parts])


def _dense(points: NDArray[np.float64], step: float = 4.0) -> NDArray[np.float64]:
    """The vertices of a path, with more between those that are far apart."""
    points = points[np.isfinite(points).all(axis=1)].clip(-1e4, 1e4)
    if len(points) < 2:
        return points
    long = np.hypot(*np.diff(points, axis=0).T)
    at = np.concatenate([[0.0], np.cumsum(long)])
    if at[-1] == 0:
        return points[:1]
    more = np.union1d(at, np.linspace(0, at[-1], 2 + int(min(at[-1] / step, 5000))))
    return np.column_stack([np.interp(more, at, points[:, k]) for k in (0, 1)])


def _pack(legend: Legend, room: float) -> None:
    """Give a legend as many columns as fit."""
    from matplotlib.offsetbox import VPacker

    # matplotlib keeps the boxes of a legend to itself, and packs them once.
    box: Any = legend._legend_handle_box  # type: ignore[attr-defined]
    items = [item for column in box.get_children() for item in column.get_children()]
    first = box.get_children()[0]
    for columns in range(len(items), 0, -1):
        high = -(-len(items) // columns)
        packed = [
            VPacker(pad=0, sep=first.sep, align=first.align, children=items[k : k + high])
            for k in range(0, len(items), high)
        ]
        box._children = packed
        box.set_figure(legend.figure)
        if legend.get_window_extent().width <= room:
            return
