"""Noisy heavy ball, many runs (settings x seeds) as one batched program."""

from flatter_lib.ensemble.draws import noise_stream, row_stream
from flatter_lib.ensemble.engine import run
from flatter_lib.ensemble.result import Result

__all__ = ["Result", "noise_stream", "row_stream", "run"]
