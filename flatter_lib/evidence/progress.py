"""How far a sweep is: a line that changes on a terminal, a line a minute elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape

#: Seconds between two lines where there is no terminal.
EVERY = 60.0


class Meter:
    """Counts what is done, estimates what is left, and shows both.

    Args:
        console: where to.
        title: the sweep's name.

    Attributes:
        running: runs under way.
        failed: runs that failed.
        workers: how many runs are made at once.
    """

    def __init__(self, console: Console, title: str) -> None:
        self.console, self.title = console, title
        self.total = self.done = self.failed = self.running = 0
        self.workers = 1
        self._left = self._spent = 0.0
        self._start = self._last = self._shown = time.monotonic()
        self._line = console.status("")

    @contextmanager
    def showing(self, total: int, done: int, cost: float, workers: int) -> Iterator[None]:
        """Show it while something runs.

        Args:
            total: runs in all.
            done: of these, runs that were done before.
            cost: estimated seconds of the others on one core.
            workers: how many runs are made at once.
        """
        self.total, self.done, self._left, self.workers = total, done, cost, max(workers, 1)
        self._start = self._last = time.monotonic()
        with self._line:
            self.update()
            yield

    def finished(self, cost: float) -> None:
        """A run is done, of that estimated cost."""
        self.done += 1
        self._left -= cost
        self._spent += cost
        self._last = time.monotonic()

    def update(self) -> None:
        """Show how it is now."""
        if self.console.is_terminal:
            self._line.update(escape(str(self)))
        elif time.monotonic() - self._shown > EVERY:
            self.say(str(self))
            self._shown = time.monotonic()

    def say(self, line: str) -> None:
        """Say a line."""
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    @property
    def seconds_left(self) -> float:
        """How long the rest takes, going by how long the estimates took so far."""
        pace = (self._last - self._start) / self._spent if self._spent > 0 else 1 / self.workers
        return max(self._left * pace - (time.monotonic() - self._last), 0.0)

    def __str__(self) -> str:
        failed = f", {self.failed} failed" if self.failed else ""
        running = min(self.running, self.workers)
        return (
            f"{self.title}: {self.done} of {self.total} done, {running} running{failed}, "
            f"about {duration(self.seconds_left)} left"
        )


def duration(seconds: float) -> str:
    """Seconds as people say them.

    Examples:
        >>> duration(0.4), duration(90), duration(7200), duration(2e6)
        ('1 s', '2 min', '2 h 0 min', '23 d 3 h')
    """
    whole = max(round(seconds), 1)
    if whole < 90:
        return f"{whole} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours = minutes // 60
    return f"{hours} h {minutes % 60} min" if hours < 100 else f"{hours // 24} d {hours % 24} h"
