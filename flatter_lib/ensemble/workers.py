"""Pieces of work on the cores of this machine."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Protocol

import torch
from rich.console import Console
from rich.progress import Progress


class Work(Protocol):
    """Something that is made in many steps."""

    def advance(self, report: Callable[[int], None]) -> None:
        """Make all steps, telling ``report`` of their number."""


class Stopped(Exception):  # noqa: N818 -- not an error, the way out of a piece that nobody waits for any more
    """Raised in pieces of work when another failed, or a person interrupted."""


def finish(
    work: Sequence[Work], *, steps: int, threads: int | None = None, progress: bool | None = None
) -> None:
    """Do all work.

    Each piece is done on one thread, with one thread for torch's own operations: the bits of its result do not depend
    on how many threads there are.

    Args:
        work: the pieces.
        steps: of each piece.
        threads: pieces that are worked on at once; as many as torch uses threads if left out.
        progress: whether to show a bar on standard error; in a terminal only if left out.
    """
    before = torch.get_num_threads()
    shown = sys.stderr.isatty() if progress is None else progress
    stop = threading.Event()
    bar = Progress(console=Console(stderr=True), disable=not shown)
    task = bar.add_task("steps", total=steps * len(work))

    def report(count: int) -> None:
        if stop.is_set():
            raise Stopped
        bar.advance(task, count)

    def do(piece: Work) -> None:
        torch.set_num_threads(1)
        with torch.no_grad():
            piece.advance(report)

    try:
        with bar, ThreadPoolExecutor(max_workers=min(threads or before, len(work))) as pool:
            futures = [pool.submit(do, piece) for piece in work]
            try:
                for future in as_completed(futures):
                    future.result()
            finally:
                stop.set()
                pool.shutdown(cancel_futures=True)
    finally:
        # A thread's number is its own, but new threads take over what was set last in any.
        torch.set_num_threads(before)
