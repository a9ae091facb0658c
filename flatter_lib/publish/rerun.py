"""The published chapters executed again, and the unit tests, as on another machine; what came of it in a few words."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Mapping

from flatter_lib.publish import pool, provenance
from flatter_lib.publish.environment import environment
from flatter_lib.publish.machines import Variant
from flatter_lib.publish.project import Chapter, Project

#: Seconds that a cell, the start of a kernel and a chapter may take, on the slowest machine.
CELL, START, CHAPTER = 900, 120, 1200
#: Seconds that one test may take (the slowest takes twenty on two cores), and all of them in one process.
TEST, TESTS = 300, 5400
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_CELL_HEAD = re.compile(r"^_+ \S.*::Cell (\d+) _+$", re.MULTILINE)
_PROBLEM = re.compile(r"^Cell \d+: (.+)$", re.MULTILINE)
_FAILED = re.compile(r"^(?:FAILED|ERROR) (.+)$", re.MULTILINE)
_STOP = re.compile(r"^flatter: (.+)$", re.MULTILINE)


def task(
    project: Project,
    chapter: Chapter,
    variant: Variant,
    threads: int = 1,
    more: Mapping[str, str] | None = None,
    label: str = "",
) -> pool.Task:
    """The command that executes a published chapter again and compares.

    Args:
        project: the checkout.
        chapter: which chapter.
        variant: what machine to compute as.
        threads: how many threads each numerical library gets.
        more: variables of the environment besides.
        label: what people call the task; by default the chapter's name.
    """
    options = ["-p", "flatter_lib.publish.hold", "-p", "flatter_lib.publish.watch"]
    options += ["-p", "no:cacheprovider", "-q", "--color=no", "--no-header", "--tb=short"]
    options += ["--nbval", "--nbval-current-env", "-o", "filterwarnings=default"]
    options += [f"--nbval-cell-timeout={CELL}", f"--nbval-kernel-startup-timeout={START}"]
    command = [sys.executable, "-m", "pytest", *options]
    command += ["--rootdir", str(project.root), str(chapter.twin)]
    settings = environment(threads, {**variant.environment, **(more or {})})
    seconds = provenance.last_seconds(chapter)
    return pool.Task(label or chapter.slug, command, seconds, settings, limit=CHAPTER)


def unit(project: Project, variant: Variant, workers: int, label: str = "unit tests") -> pool.Task:
    """The command that runs the unit tests, in so many processes at once."""
    # A worker that dies is not replaced: the others would wait for ever for the rest of its file.
    options = ["-n", str(workers), "--dist", "loadfile", "--max-worker-restart=0"]
    options += [f"--timeout={TEST}", "-q", "-rfEs", "-p", "flatter_lib.publish.watch"]
    settings = environment(more=variant.environment)
    command = [sys.executable, "-m", "pytest", *options]
    return pool.Task(label, command, 800 / workers, settings, TESTS / workers, project.root)


def findings(outcome: pool.Outcome) -> list[str]:
    """What a task found, one line for each thing that differs or went wrong; nothing if all agreed."""
    if outcome.status == 0:
        return []
    text = _COLOUR.sub("", outcome.output)
    parts = _CELL_HEAD.split(text)
    found = [
        f"cell {number}: {line}"
        for number, report in zip(parts[1::2], parts[2::2], strict=True)
        for line in _said(report)
    ]
    found += [re.sub(r"\S+::Cell", "cell", stop) for stop in _STOP.findall(text)]
    if outcome.late:
        found.append(f"not done after {outcome.task.limit:g} s")
    found = found or _FAILED.findall(text)
    return found or ["nothing was executed: " + (text.strip().splitlines() or ["no output"])[-1]]


def _said(report: str) -> list[str]:
    """What nbval reports of a cell, in short: each value that differs, the words, or the error."""
    report = report.split("\n====")[0].strip()
    problem = _PROBLEM.search(report)
    if problem is None:
        raised = [line[1:].strip() for line in report.splitlines() if line.startswith("E ")]
        return (raised or [report.splitlines()[0]])[:1]
    lines = [line.strip() for line in report.partition("\nTraceback:\n")[2].splitlines()]
    lines = [line for line in lines if line and not line.startswith("if the change is meant")]
    if problem[1].startswith("Cell execution caused"):
        return lines[-1:]
    if problem[1] != "Cell outputs differ":
        return [problem[1]]
    if lines and lines[0].startswith("mismatch"):
        lines = [f"{lines[0]}: {line}" for line in lines[2:3]]
    return [textwrap.shorten(line, 160, placeholder=" ...") for line in lines]
