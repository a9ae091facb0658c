"""Ways to fetch a data set without root rights: torchvision's download, and a package of Debian's.

Where one does not work, here and now, its error says why in a few words. Both run in a child process with a limit on
its time: a network that answers nothing must not hang a build.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from flatter_lib.vision.data.layouts import DataError

# Seconds without a byte after which a connection counts as dead, and seconds for a whole transfer.
_STALLED = 10
_LIMIT = 1800

# In a process of its own: torchvision has no timeout but the process-wide default of its sockets.
_TORCHVISION = f"""
import socket, sys
socket.setdefaulttimeout({_STALLED})
from torchvision import datasets
getattr(datasets, sys.argv[1])(sys.argv[2], download=True)
"""


def torchvision_download(dataset: str, kept: str, into: Path) -> Path:
    """Fetch a data set with torchvision's own download.

    Args:
        dataset: the class of ``torchvision.datasets``, for instance ``"FashionMNIST"``.
        kept: the folder in which torchvision keeps its files, for instance ``"FashionMNIST/raw"``.
        into: an existing folder.

    Returns:
        The folder that holds the files.

    Raises:
        DataError: if torchvision is missing, or its download fails.
    """
    done = _run([sys.executable, "-P", "-c", _TORCHVISION, dataset, str(into)], into)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no reason given"]
        raise DataError(re.sub(r"\w+://\S+", "...", lines[-1].strip(" <>")))
    return into / kept


def debian_package(package: str, installed: str, into: Path) -> Path:
    """Fetch a Debian package from the package sources of this machine and unpack it, without installing it.

    Args:
        package: the name of the package.
        installed: the folder in it that holds the files, for instance ``"usr/share/datasets/fashion-mnist"``.
        into: an existing folder; apt keeps its lists there too, and nothing of the system's is written.

    Returns:
        The folder that holds the files.

    Raises:
        DataError: if this is no Debian or relative of it, or its package sources cannot be reached or do not
            have the package.
    """
    apt, dpkg = shutil.which("apt-get"), shutil.which("dpkg-deb")
    if apt is None or dpkg is None:
        raise DataError("there is no apt-get, which comes with Debian, Ubuntu and their relatives")
    for folder in ("state/lists/partial", "cache/archives/partial", "log"):
        (into / folder).mkdir(parents=True)
    status = into / "status"
    status.touch()  # as if nothing were installed: the system's own record is neither needed nor read
    options = {
        "Dir::State": into / "state",
        "Dir::State::status": status,
        "Dir::Cache": into / "cache",
        "Dir::Log": into / "log",
        "Acquire::Languages": "none",
        "Acquire::Retries": 1,
        "Acquire::http::Timeout": _STALLED,
        "Acquire::https::Timeout": _STALLED,
    }
    command = [apt, "-q", *(f"-o{name}={value}" for name, value in options.items())]
    # An update that reached some sources only is good enough if one of them has the package.
    _run([*command, "update"], into)
    # apt's own words are not passed on: they are many lines, about machines that the reader need not know.
    if _run([*command, "download", package], into).returncode:
        raise DataError("apt-get's package sources cannot be reached, broke off or do not have it")
    archive = next(into.glob(f"{package}_*.deb"))
    if _run([dpkg, "-x", str(archive), str(into / "unpacked")], into).returncode:
        raise DataError("the package does not unpack (is the disk full?)")
    return into / "unpacked" / installed


def _run(command: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    try:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise DataError(f"{Path(command[0]).name} does not start: {error.strerror}") from error
    try:
        stdout, stderr = process.communicate(timeout=_LIMIT)
    except BaseException as error:
        # With its helpers, which would go on writing where the caller cleans up, or hold the pipes open for ever.
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            raise DataError(f"given up after {_LIMIT} s") from error
        raise
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)
