"""How figures of the book look: colours, and sizes in the pixels of the page that shows them."""

from __future__ import annotations

#: Colours that stay apart for colour-blind readers, on white and under the dark page's inversion.
PALETTE = ("#0b6aa2", "#c8540a", "#18794e", "#8a3ffc", "#a8123e", "#6b5a00", "#4a4a4a")
#: Of an optimizer's points and lines, where a figure compares optimizers.
OPTIMIZER = dict(zip(("sgd", "momentum", "averaged", "adam", "kfac"), PALETTE, strict=False))
#: Pixels of the column in which a page shows a figure, of that on a phone, and of the smallest words in either.
WIDE, PHONE, SMALLEST = 684, 340, 9.0
#: Pixels of an inch on a page; matplotlib's points are 72 an inch.
PIXELS = 96
#: How large an index or exponent is beside the letter that has it: the words' 8 points leave it 9 pixels.
_SCRIPTS = 0.85


def use_style() -> None:
    """Make the book's style matplotlib's current one; each chapter calls it once.

    Figures are opaque white with dark ink: the dark page inverts them, so one execution serves both. Of ``figsize`` the
    proportions count: a figure is as wide as the page shows it, and its words keep their size.

    Examples:
        >>> import matplotlib
        >>> use_style()
        >>> matplotlib.rcParams["figure.facecolor"]
        'white'
    """
    import matplotlib
    from cycler import cycler
    from matplotlib import _mathtext

    # matplotlib has no setting for it; without this one, indices are too small and `show` says so.
    _mathtext.SHRINK_FACTOR = _SCRIPTS
    matplotlib.rcParams.update(
        {
            "axes.axisbelow": True,
            "axes.grid": True,
            "axes.prop_cycle": cycler(color=list(PALETTE)),
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlesize": "medium",
            "axes.titleweight": "bold",
            "figure.constrained_layout.use": True,
            "figure.constrained_layout.wspace": 0.04,
            "figure.facecolor": "white",
            "figure.figsize": (WIDE / PIXELS, 4.0),
            "font.size": 8.25,
            "grid.color": "#d9d9d9",
            "grid.linewidth": 0.6,
            "legend.fontsize": 8,
            "legend.frameon": False,
            "lines.linewidth": 1.5,
            "lines.markersize": 5,
            "savefig.facecolor": "white",
            "svg.fonttype": "path",
            "svg.hashsalt": "flatter-faster",
        }
    )
