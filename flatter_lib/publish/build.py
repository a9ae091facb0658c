"""Executed twins to pages: jupyter-book, with every warning an error."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from flatter_lib.publish.project import Project

#: jupyter-book of this very environment: it has no `python -m`, and its script may be another's on the PATH.
_JUPYTER_BOOK = "from jupyter_book.cli.main import main; main()"
#: What Sphinx prints when -W turns the warnings above it into a failure.
_WARNING = re.compile(r"\b(WARNING|ERROR|CRITICAL)\b|Exception occurred|Extension error")


@dataclass(frozen=True)
class Built:
    """A finished build.

    Attributes:
        html: the folder of the pages.
        problems: every warning and error; empty for a good build.
    """

    html: Path
    problems: tuple[str, ...]


def build(project: Project, folder: Path, *, clean: bool = False) -> Built:
    """Build the book's pages.

    Args:
        project: the checkout.
        folder: where jupyter-book may keep what it needs for the next, shorter build.
        clean: whether to build every page anew.

    Returns:
        The pages. After a failed or interrupted build nothing is kept: a warning from a page that is not read
        again would otherwise be silent the next time.
    """
    if clean:
        shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, "-c", _JUPYTER_BOOK, "build", str(project.root)]
    command += ["--path-output", str(folder), "-n", "-W", "--keep-going"]
    environment = os.environ | {"NO_COLOR": "1", "PYTHONWARNINGS": "default"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    said = f"{done.stdout}\n{done.stderr}"
    lines = re.sub(r"\x1b\[[0-9;]*m", "", said).splitlines()
    # The cause of an exception stands in the lines below it.
    found = [
        " ".join(map(str.strip, lines[i : i + 4] if line.endswith(":") else [line]))
        for i, line in enumerate(lines)
        if _WARNING.search(line)
    ]
    problems = [line.replace(f"{project.root}/", "") for line in found]
    if done.returncode == 0:
        return Built(folder / "_build" / "html", ())
    shutil.rmtree(folder, ignore_errors=True)
    problems = problems or [line for line in lines if line.strip()][-15:]
    problems = problems or [f"jupyter-book ended with status {done.returncode}"]
    return Built(folder, tuple(dict.fromkeys(problems)))


def install(built: Built, html: Path) -> None:
    """Put finished pages where people open them; until that moment the former ones stay whole."""
    fresh, former = html.with_name(f".{html.name}-new"), html.with_name(f".{html.name}-old")
    for leftover in (fresh, former):
        shutil.rmtree(leftover, ignore_errors=True)
    shutil.copytree(built.html, fresh)
    if html.exists():
        html.replace(former)
    fresh.replace(html)
    shutil.rmtree(former, ignore_errors=True)
