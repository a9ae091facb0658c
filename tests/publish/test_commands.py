"""Commands: all come to their end, or are ended with all that they started."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest
from rich.console import Console

from flatter_lib.publish import commands
from flatter_lib.publish.commands import Command, run

#: How long a process may take to start on a busy machine, in seconds.
PATIENCE = 60


def shell(label: str, script: str, folder: Path, limit: float = 60) -> Command:
    return Command(label, ["/bin/sh", "-c", script], folder, limit)


def test_what_commands_say_is_seen_and_how_they_ended_is_told(
    console: Console, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    good = Command("good", ["/bin/sh", "-c", "pwd; echo $SAID"], tmp_path, 60, {"SAID": "here"})
    assert run([good], console)
    assert capfd.readouterr().out == f"{tmp_path}\nhere\n"
    wrong = shell("wrong", "read answer; exit 3", tmp_path)  # nobody waits for an answer
    assert not run([wrong, good], console)
    assert [line.split()[:2] for line in console.file.getvalue().splitlines()] == [
        ["done", "good"],
        ["failed", "wrong"],
        ["done", "good"],
    ]


def test_so_many_run_at_once_and_no_more(console: Console, tmp_path: Path) -> None:
    script = "touch $$; ls | wc -l >> ../counts; sleep 0.2; rm $$"
    (tmp_path / "here").mkdir()
    assert run([shell(str(i), script, tmp_path / "here") for i in range(5)], console, at_once=2)
    assert {int(n) for n in (tmp_path / "counts").read_text().split()} <= {1, 2}
    assert "2" in (tmp_path / "counts").read_text()


#: Starts a child in a session of its own, and both do not hear that they should end.
STUBBORN = """
import os, pathlib, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if sys.argv[1:]:
    os.setsid()
else:
    subprocess.Popen([sys.executable, __file__, "apart"])
pathlib.Path(__file__).with_name(str(os.getpid())).touch()
time.sleep(600)
"""


def alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_at_its_limit_a_command_is_ended_with_all_that_it_started(
    console: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "child.py").write_text(STUBBORN)
    monkeypatch.setattr(commands, "GRACE", 0.2)

    class Both(float):
        """A limit that is over as soon as both have started, however busy the machine is."""

        def __gt__(self, seconds: float) -> bool:
            return len(list(tmp_path.iterdir())) < 3

    command = Command("stuck", [sys.executable, "child.py"], tmp_path, Both(5))
    assert not run([command], console)
    assert console.file.getvalue().endswith(" s, ended at its limit of 5 s\n")
    (tmp_path / "child.py").unlink()
    found = [int(path.name) for path in tmp_path.iterdir()]
    assert len(found) == 2
    deadline = time.monotonic() + PATIENCE
    while any(map(alive, found)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


DRIVER = """
import pathlib, signal, sys
from rich.console import Console
from flatter_lib.publish.commands import Command, run
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
here = pathlib.Path({folder!r})
child = "import os, pathlib, time; pathlib.Path(str(os.getpid())).touch(); time.sleep(600)"
run([Command(str(i), [sys.executable, "-c", child], here, 600) for i in range(3)], Console(), 2)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_ends_what_it_started(tmp_path: Path, number: signal.Signals) -> None:
    script = DRIVER.format(folder=str(tmp_path))
    command = [sys.executable, "-W", "error", "-c", script]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + PATIENCE
        while len(list(tmp_path.iterdir())) < 2:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(number)
        _, complained = process.communicate(timeout=PATIENCE)
    assert process.returncode in (143, -signal.SIGINT, 130)
    assert "ResourceWarning" not in complained
    started = list(tmp_path.iterdir())
    assert len(started) == 2  # the third was never started
    assert not any(alive(int(path.name)) for path in started)
