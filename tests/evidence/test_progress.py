"""What a meter says of done, running, failed and time left."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from flatter_lib.evidence import progress
from flatter_lib.evidence.progress import Display, Meter


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, to be set."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_time_left_goes_by_the_pace_so_far(clock: list[float]) -> None:
    meter = Meter("a sweep", total=10, done=2, cost=80.0, workers=2)
    assert meter.seconds_left == 40.0  # nothing known: the estimates, on two workers
    clock[0] += 30.0
    assert meter.seconds_left == 10.0
    meter.finished(10.0)  # three seconds for one of the estimate
    assert meter.seconds_left == 70.0 * 3
    clock[0] += 30.0
    assert meter.seconds_left == 70.0 * 3 - 30.0
    meter.finished(30.0)  # 60 seconds for 40
    assert meter.seconds_left == 40.0 * 1.5
    clock[0] += 1e6
    assert meter.seconds_left == 0.0
    meter.running, meter.failed = 7, 1
    assert str(meter) == "a sweep: 4 of 10 done, 2 running, 1 failed, about 1 s left"


def test_estimates_of_nothing(clock: list[float]) -> None:
    meter = Meter("a sweep", total=2, done=0, cost=0.0, workers=0)
    meter.finished(0.0)
    assert str(meter) == "a sweep: 1 of 2 done, 0 running, about 1 s left"


def test_a_line_a_minute_without_a_terminal(clock: list[float]) -> None:
    said = io.StringIO()
    display, meter = Display(Console(file=said, width=200)), Meter("a sweep", 3, 0, 3.0, 1)
    with display.showing(meter):
        for seconds in (1.0, 58.0, 2.0, 59.0, 2.0):
            clock[0] += seconds
            display.update(meter)
    assert said.getvalue().count("a sweep: 0 of 3 done") == 2


def test_a_bar_on_a_terminal() -> None:
    said = io.StringIO()
    console = Console(file=said, width=120, force_terminal=True)
    display, meter = Display(console), Meter("a [sweep]", 3, 0, 3.0, 1)
    with display.showing(meter):
        meter.finished(1.0)
        meter.running = 1
        display.update(meter)
        display.say("a [line]")
    assert "a [sweep]: 1 of 3 done, 1 running" in said.getvalue()
    assert "━" in said.getvalue()
    assert "a [line]" in said.getvalue()
