"""How far a sweep is: a bar on a terminal, a line a minute elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task
from rich.text import Text

#: Seconds between two lines where there is no terminal.
EVERY = 60.0


class Meter:
    """Counts what is done and estimates what is left.

    Args:
        title: the sweep's name.
        total: runs of the profile.
        done: of these, runs that were done before.
        cost: estimated seconds of the others on one core.
        workers: how many runs are made at once.
    """

    def __init__(self, title: str, total: int, done: int, cost: float, workers: int) -> None:
        self.title, self.total, self.done, self.failed, self.running = title, total, done, 0, 0
        self.workers = max(workers, 1)
        self._left, self._spent = cost, 0.0
        self._start = self._last = time.monotonic()
        #: Seconds that a second of the estimate takes.
        self._pace = 1.0 / self.workers

    def finished(self, cost: float) -> None:
        """A run is done, of that estimated cost."""
        self.done += 1
        self._left -= cost
        self._spent += cost
        self._last = time.monotonic()
        if self._spent > 0:
            self._pace = (self._last - self._start) / self._spent

    @property
    def seconds_left(self) -> float:
        """How long the rest takes, going by how long the estimates took so far."""
        return max(self._left * self._pace - (time.monotonic() - self._last), 0.0)

    def __str__(self) -> str:
        failed = f", {self.failed} failed" if self.failed else ""
        running = min(self.running, self.workers)
        return (
            f"{self.title}: {self.done} of {self.total} done, {running} running{failed}, "
            f"about {duration(self.seconds_left)} left"
        )


class Display:
    """Shows a meter.

    Args:
        console: where to.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bar: Progress | None = None
        self._shown = time.monotonic()

    @contextmanager
    def showing(self, meter: Meter) -> Iterator[None]:
        """Show the meter while something runs."""
        if not self.console.is_terminal:
            yield
            return
        columns = _Words(meter), BarColumn(None)
        with Progress(*columns, console=self.console, transient=True) as self._bar:
            self._bar.add_task("", total=meter.total, completed=meter.done)
            yield

    def update(self, meter: Meter) -> None:
        """Show where the meter is now."""
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=meter.done)
        elif time.monotonic() - self._shown > EVERY:
            self.say(str(meter))
            self._shown = time.monotonic()

    def say(self, line: str) -> None:
        """Say a line, above the bar."""
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)


class _Words(ProgressColumn):
    """What a meter says, at every look."""

    def __init__(self, meter: Meter) -> None:
        super().__init__()
        self.meter = meter

    def render(self, task: Task) -> Text:
        return Text(str(self.meter))


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
