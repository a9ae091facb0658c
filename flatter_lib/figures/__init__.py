"""One style for every figure, drawn for the page and again for a phone, with the numbers behind it."""

from typing import TYPE_CHECKING

from flatter_lib import faces

if TYPE_CHECKING:
    from flatter_lib.figures.output import show
    from flatter_lib.figures.style import OPTIMIZER, PALETTE, use_style
else:
    __getattr__, __dir__ = faces.lazy(__name__)

__all__ = ["OPTIMIZER", "PALETTE", "show", "use_style"]
