"""A pytest plugin for runs that must end: it says what was running when it is told to stop, or when a kernel dies.

nbval waits for a dead kernel as long as for a busy one; here it is looked after every second.
"""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest

_running: dict[str, None] = {}


def pytest_configure(config: pytest.Config) -> None:
    """Listen, except in a worker of pytest-xdist, which its own controller ends."""
    if hasattr(config, "workerinput"):
        return
    signal.signal(signal.SIGTERM, lambda *_: _stop(config, "told to stop"))
    if getattr(config.option, "nbval", False):
        from nbval.kernel import RunningKernel

        RunningKernel.await_reply = _watched(RunningKernel.await_reply, config)


def pytest_runtest_logstart(nodeid: str) -> None:
    """A test, or a cell of a notebook, starts."""
    _running[nodeid] = None


def pytest_runtest_logfinish(nodeid: str) -> None:
    """It ended."""
    _running.pop(nodeid, None)


def _stop(config: pytest.Config, why: str) -> None:
    """Say it at once: what pytest says itself comes after all is taken down, which may take too long."""
    if capture := config.pluginmanager.getplugin("capturemanager"):
        capture.suspend_global_capture()
    os.write(2, f"\nflatter: {why} in {', '.join(_running) or 'no test'}\n".encode())
    pytest.exit("ended", returncode=1)


def _watched(await_reply: Any, config: pytest.Config) -> Any:
    """Wait for a kernel's reply, second by second, as long as it lives."""
    from queue import Empty

    def watched(kernel: Any, msg_id: str, timeout: float) -> None:
        end = time.monotonic() + timeout
        while True:
            try:
                await_reply(kernel, msg_id, timeout=max(min(1, end - time.monotonic()), 0))
                return
            except Empty:
                if not kernel.is_alive():
                    _stop(config, "the kernel died")
                if time.monotonic() >= end:
                    raise

    return watched
