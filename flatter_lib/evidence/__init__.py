"""Evidence: long measurements, kept as records of what was run, and held by doing it again.

The names below are what a chapter uses; each lives in a file of one subject. Making records is the business of
:mod:`flatter_lib.evidence.sweep`, and trying them under today's code that of :mod:`flatter_lib.evidence.verify`: the
commands ``flatter sweep`` and ``flatter verify``, which no chapter needs.
"""

from flatter_lib.evidence.judge import StaleError, recompute
from flatter_lib.evidence.record import Record
from flatter_lib.evidence.records import Records, digest, load

__all__ = ["Record", "Records", "StaleError", "digest", "load", "recompute"]
