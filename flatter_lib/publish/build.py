"""Executed twins to pages: jupyter-book, with every warning an error."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from flatter_lib.publish.project import Project

#: jupyter-book of this very environment: it has no `python -m`, and its script may be another's on the PATH.
_JUPYTER_BOOK = "from jupyter_book.cli.main import main; main()"
#: Seconds that it may take.
LIMIT = 1800
#: What Sphinx prints when -W turns the warnings above it into a failure.
_WARNING = re.compile(r"\b(WARNING|ERROR|CRITICAL)\b|Exception occurred|Extension error")


class Built(NamedTuple):
    """A build: the folder of the pages, and every warning and error; none for a good build."""

    html: Path
    problems: tuple[str, ...] = ()


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
    settings = os.environ | {"NO_COLOR": "1", "PYTHONWARNINGS": "default"}
    good = False
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=settings, timeout=LIMIT
        )
        good = done.returncode == 0
    except subprocess.TimeoutExpired:
        return Built(folder, (f"jupyter-book was not done after {LIMIT} s",))
    finally:
        if not good:
            shutil.rmtree(folder, ignore_errors=True)
    if good:
        return Built(folder / "_build" / "html")
    said = re.sub(r"\x1b\[[0-9;]*m", "", f"{done.stdout}\n{done.stderr}")
    lines = [line for line in said.replace(f"{project.root}/", "").splitlines() if line.strip()]
    # The cause of an exception stands in the lines below it.
    problems = [
        " ".join(map(str.strip, lines[i : i + 4] if line.endswith(":") else [line]))
        for i, line in enumerate(lines)
        if _WARNING.search(line)
    ]
    last_words = lines[-15:] or [f"jupyter-book ended with status {done.returncode}"]
    return Built(folder, tuple(dict.fromkeys(problems or last_words)))


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
