"""Where the command line prints to."""

from __future__ import annotations

import sys

from rich.console import Console

#: Columns where nobody looks: a file or a pipe takes tables whole, so that they can be searched.
UNFOLDED = 200


def output() -> Console:
    """For what was asked for: tables fold at the width of a terminal, and elsewhere not."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else UNFOLDED)


def messages() -> Console:
    """For what is said on the side, unwrapped, on standard error."""
    return Console(stderr=True, highlight=False, soft_wrap=True)
