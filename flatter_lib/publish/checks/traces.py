"""Traces of the machine and of the moment, in outputs and in the files that people edit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from nbformat import NotebookNode

from flatter_lib.fingerprint import git
from flatter_lib.publish.checks.finding import Finding
from flatter_lib.publish.checks.notebooks import Twin, of_each, relative
from flatter_lib.publish.project import Project

#: What stands before a path keeps addresses (https://host/home/x) and variables ($ROOT/home/x) out.
_BEFORE = r"(?<![\w.}~$)-])"
#: Somebody's home; the brackets keep this line from being one.
_HOMES = rf"{_BEFORE}(?:/home/\w[\w.-]*|/Users/\w[\w.-]*|/roo[t](?![\w.-]))|\b[A-Z]:\\+Users\\+\w+"
_PATH = re.compile(
    rf"{_HOMES}|{_BEFORE}(?:/private)?(?:/var)?/tmp/[\w.-]+|[\w./-]*/site-packages/[\w./-]*"
)
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}\b")
_WARNING = re.compile(
    r"\b(?:[A-Z][A-Za-z]*)?Warning:|\bwarnings\.warn\(|^\[?WARNING\b|\bWARNING:", re.MULTILINE
)
_DATE = re.compile(r"\b(?:19|20)\d\d-[01]\d-[0-3]\d[T ]\d\d:\d\d")
_CLOCK = re.compile(
    r"\b\d{1,2}:[0-5]\d:[0-5]\d\b"  # 12:34:56
    r"|(?<![\w.-])\d+(?:\.\d+)?\s?(?:ns|µs|μs|us|ms|s|sec|secs|seconds|minutes|hours)\b(?![\w=(\[]|\.\w)"  # 1.2 s
    r"|\b(?:Wall|CPU) times?\b"
    r"|\d\s?(?:it/s|s/it)\b"
    r"|\d+%\|"  # a progress bar
)
_BUILT = re.compile(r"_build|__pycache__|\.git|\.venv|\.ipynb_checkpoints|\..*_cache|.*\.egg-info")


@of_each
def outputs(twin: Twin) -> Iterator[Finding]:
    """No output holds a path of the machine, a memory address, a warning, a clock, or anything from stderr."""
    cure = f"mend the cell in the source, then: {twin.again}"
    for output, where in twin.outputs():
        if output.output_type == "stream" and output.name == "stderr":
            yield Finding(where, f"writes to stderr: {_start(output.text)}", cure)
        for what in _traces(twin.project, output):
            yield Finding(where, f"shows {what}", cure)


def files(project: Project) -> list[Finding]:
    """No text file of the checkout names somebody's home or the folder of the checkout.

    The files are those under version control with those that could be; without git, all but the built ones.
    The outputs of twins are :func:`outputs`' part.
    """
    found = []
    cure = "name it from the folder of the checkout, or take it as a setting"
    place = re.compile(rf"{_HOMES}|{re.escape(str(project.root))}")
    for path in _texts(project):
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (UnicodeDecodeError, OSError):
            continue
        for number, line in enumerate(lines, start=1):
            if match := place.search(line):
                where = f"{relative(project, path)}, line {number}"
                found.append(Finding(where, f"holds a path of this machine, {match.group()}", cure))
    return found


def _traces(project: Project, output: NotebookNode) -> Iterator[str]:
    path = re.compile(rf"{re.escape(str(project.root))}|{_PATH.pattern}")
    anywhere = {"a date": _DATE, "a path of the machine": path}
    in_words = {"a memory address": _ADDRESS, "a warning": _WARNING, "a clock": _CLOCK}
    for kind, text in _shown(output):
        # The numbers in a drawing are coordinates.
        sought = anywhere if "svg" in kind else in_words | anywhere
        for name, pattern in sought.items():
            if match := pattern.search(text):
                yield f"{name}, {_start(match.group())}"


def _shown(output: NotebookNode) -> Iterator[tuple[str, str]]:
    if output.output_type == "stream":
        yield "text/plain", output.text
    for kind, content in output.get("data", {}).items():
        if not kind.endswith(("image/png", "image/jpeg")):
            yield kind, str(content)


def _texts(project: Project) -> list[Path]:
    listed = git(project.root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    found = [project.root / name for name in listed.split("\0") if name] or [
        path
        for path in sorted(project.root.rglob("*"))
        if not any(map(_BUILT.fullmatch, path.relative_to(project.root).parts))
    ]
    return [path for path in found if path.is_file() and path.suffix != ".ipynb"]


def _start(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:57]}..."
