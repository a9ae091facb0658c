"""Noisy heavy ball, many runs (settings x seeds) as one batched program."""

from typing import TYPE_CHECKING

from flatter_lib import faces

if TYPE_CHECKING:
    from flatter_lib.ensemble.draws import noise_stream, row_stream
    from flatter_lib.ensemble.engine import Result, run
else:
    __getattr__, __dir__ = faces.lazy(__name__)

__all__ = [
    "Result",
    "noise_stream",
    "row_stream",
    "run",
]
