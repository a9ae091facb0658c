"""A figure as an output: twice as a picture, for a page and for a phone, and the numbers behind it.

A figure of the book is shown with :func:`show`, which attaches to the output the numbers that were drawn.
Publishing keeps them as a small table beside the notebook, and re-executing the chapter compares them within the
tolerance stated here: a changed curve fails, though nobody compares pictures.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from flatter_lib.figures import layout
from flatter_lib.figures.style import PHONE, SMALLEST, WIDE
from flatter_lib.figures.svg import compact, smallest_words
from flatter_lib.notebook import emit
from flatter_lib.values import Tolerance, column

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: The kind of output that is the picture for a phone.
ON_PHONE = "application/vnd.flatter.phone+svg"


def show(
    figure: Figure,
    data: Mapping[str, ArrayLike],
    *,
    rtol: float = 1e-6,
    atol: float = 0.0,
    holds: Mapping[str, Tolerance] | None = None,
    narrow: int = 1,
) -> None:
    """Display a figure as SVG, as wide as the page and again for a phone, with the numbers that it draws, and close it.

    Of its size the proportions count, words keep theirs. On a phone its panels stand in a column, each about as high as
    before.

    Args:
        figure: the figure.
        data: the drawn numbers by name, each an array of at most two dimensions.
        rtol: relative tolerance within which a re-execution must give these numbers again.
        atol: absolute tolerance, added to the relative one; less than what the numbers span, unless they are equal.
        holds: the tolerances of those that hold otherwise. In distribution, an array has rows of a value and the two
            ends of its interval.
        narrow: the number of columns that panels stand in on a phone.

    Raises:
        ValueError: if there are no numbers, an array has more than two dimensions or no such rows, or a tolerance is
            no number of its range, allows any curve, or names what is not drawn; if words are smaller than 9 pixels.

    Examples:
        >>> import matplotlib
        >>> matplotlib.use("svg")
        >>> from matplotlib.figure import Figure
        >>> figure = Figure()
        >>> _ = figure.subplots().plot([1, 2], [3, 4])
        >>> show(figure, {"x": [1, 2], "y": [3, 4]})
        <figure: x (2), y (2)>
    """
    from matplotlib import pyplot

    if not data:
        raise ValueError("data: give the numbers that the figure draws, by name")
    usual, special = Tolerance("figure", rtol=rtol, atol=atol), dict(holds or {})
    if unknown := [name for name in special if name not in data]:
        raise ValueError(f"holds: {unknown[0]!r} is not among the numbers of the figure")
    values = [column(name, numbers, special.get(name, usual)) for name, numbers in data.items()]
    shapes = ", ".join(f"{name} ({'x'.join(map(str, np.shape(data[name])))})" for name in data)
    said = layout.words(figure)
    layout.spread(figure, WIDE)
    wide = _drawing(figure, "the page")
    for text, words in said.items():
        text.set_text(words)
    layout.stack(figure, PHONE, narrow)
    phone = _drawing(figure, "a phone")
    pyplot.close(figure)
    emit(
        {"image/svg+xml": wide, ON_PHONE: phone, "text/plain": f"<figure: {shapes}>"},
        {"role": "figure", "values": values},
    )


def _drawing(figure: Figure, where: str) -> str:
    """A figure as it is laid out now."""
    buffer, engine = io.StringIO(), figure.get_layout_engine()
    figure.set_layout_engine("none")
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    figure.set_layout_engine(engine)
    drawing = buffer.getvalue()
    if (words := smallest_words(drawing)) < SMALLEST:
        raise ValueError(
            f"figure: it has words of {words:.1f} pixels on {where}, less than {SMALLEST:g}: call figures.use_style() "
            "before it is drawn, give no fontsize below 8, and write a root as a power"
        )
    return compact(drawing)
