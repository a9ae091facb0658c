"""One style for every figure, and the numbers behind it.

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

from flatter_lib.notebook import emit
from flatter_lib.values import Tolerance, column

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Colours that stay apart for colour-blind readers, on white and under the dark page's inversion.
PALETTE = ("#0b6aa2", "#c8540a", "#18794e", "#8a3ffc", "#a8123e", "#6b5a00", "#4a4a4a")


def use_style() -> None:
    """Make the book's style matplotlib's current one; each chapter calls it once.

    Figures are opaque white with dark ink: the dark page inverts them, so one execution serves both.

    Examples:
        >>> import matplotlib
        >>> use_style()
        >>> matplotlib.rcParams["figure.facecolor"]
        'white'
    """
    import matplotlib
    from cycler import cycler

    matplotlib.rcParams.update(
        {
            "axes.axisbelow": True,
            "axes.grid": True,
            "axes.prop_cycle": cycler(color=list(PALETTE)),
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlesize": 11,
            "axes.titleweight": "bold",
            "figure.constrained_layout.use": True,
            "figure.facecolor": "white",
            "figure.figsize": (7.2, 4.0),
            "font.size": 10,
            "grid.color": "#d9d9d9",
            "grid.linewidth": 0.6,
            "legend.frameon": False,
            "lines.linewidth": 1.7,
            "savefig.facecolor": "white",
            "svg.fonttype": "path",
            "svg.hashsalt": "flatter-faster",
        }
    )


def show(
    figure: Figure,
    data: Mapping[str, ArrayLike],
    *,
    rtol: float = 1e-6,
    atol: float = 0.0,
    holds: Mapping[str, Tolerance] | None = None,
) -> None:
    """Display a figure once, as SVG, with the numbers that it draws, and close it.

    Args:
        figure: the figure.
        data: the drawn numbers by name, each an array of at most two dimensions.
        rtol: relative tolerance within which a re-execution must give these numbers again.
        atol: absolute tolerance, added to the relative one; less than what the numbers span, unless they are equal.
        holds: the tolerances of those that hold otherwise. In distribution, an array has rows of a value and the two
            ends of its interval.

    Raises:
        ValueError: if there are no numbers, an array has more than two dimensions or no such rows, or a tolerance is
            no number of its range, allows any curve, or names what is not drawn.

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
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    pyplot.close(figure)
    emit(
        {"image/svg+xml": buffer.getvalue(), "text/plain": f"<figure: {shapes}>"},
        {"role": "figure", "values": values},
    )
