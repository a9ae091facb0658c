"""Records of long measurements, as chapters read them.

The names below are what a chapter uses; each lives in a file of one subject. Writing is the business of
:mod:`flatter_lib.results.store`, which no chapter needs.
"""

from flatter_lib.results.live import StaleError, recompute
from flatter_lib.results.record import Record
from flatter_lib.results.records import Records, digest, load

__all__ = ["Record", "Records", "StaleError", "digest", "load", "recompute"]
