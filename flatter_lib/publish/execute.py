"""Executing chapters with papermill: the published twin, or a run of one's own."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from flatter_lib.files import probe, replace_json, replace_text
from flatter_lib.publish import freshness, provenance, sources, twins
from flatter_lib.publish.environment import KERNEL_NAME, environment, kernel_problem, under
from flatter_lib.publish.project import BookError, Chapter, FailedError, Project

#: A kernel's own log is of no use to a reader: what a cell raises is in its notebook. Tornado logs by itself: a kernel
#: that is asked to end may flush its streams after their socket is closed.
QUIET = [
    "--IPKernelApp.log_level=CRITICAL",
    "--IPKernelApp.logging_config={'loggers': {'tornado.general': {'level': 'CRITICAL'}}}",
]


@dataclass(frozen=True)
class Execution:
    """A chapter just executed: its cleaned notebook, its values, how it was made."""

    twin: NotebookNode
    values: twins.Values
    provenance: dict[str, Any]


def execute(
    project: Project,
    chapter: Chapter,
    changed: Mapping[str, Any] | None = None,
    *,
    progress: bool = False,
) -> Execution:
    """Execute a chapter's source. Writes nothing in the checkout but, if a cell fails, ``_build/failed/``.

    Args:
        project: the checkout.
        chapter: which chapter.
        changed: parameters that differ from the published ones; see :func:`flatter_lib.publish.sources.settings`.
        progress: whether to draw papermill's progress bar, cell by cell with the time left.

    Raises:
        FailedError: if a cell fails, or ends its kernel or itself before the chapter's end; the message names it, and
            where the notebook up to there is kept.
        BookError: if the chapter has no code, or the kernel is missing, belongs to another environment or does not
            start.
    """
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    if problem := kernel_problem():
        raise BookError(problem)
    source = sources.read(chapter)
    if not sources.code_cells(source):
        raise BookError(f"{chapter.slug}: its source has no code cell: there is nothing to execute")
    inputs = freshness.inputs(project, chapter)
    given = dict(changed or {})
    values = {p.name: p.default for p in sources.parameters(source)} | given
    project.executed.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="flatter-") as folder, under(environment()):
        bare, done = Path(folder) / "source.ipynb", Path(folder) / "executed.ipynb"
        nbformat.write(source, bare)
        start = time.perf_counter()
        what = ""
        try:
            papermill.execute_notebook(
                bare,
                done,
                parameters=given,
                kernel_name=KERNEL_NAME,
                cwd=project.executed,
                progress_bar=progress and {"desc": chapter.slug, "file": sys.stderr},
                extra_arguments=QUIET,
            )
        except PapermillExecutionError as error:
            said = " ".join(str(error.evalue).split()) or "no message"
            what = f"raised {error.ename}: {said}"
        except DeadKernelError:
            what = "ended its kernel (was there enough memory?)"
        except (OSError, RuntimeError) as error:
            said = " ".join(str(error).split())
            what = f"{chapter.slug}: it could not be executed: {said} (see flatter doctor)"
            raise BookError(what) from error
        seconds = time.perf_counter() - start
        executed = nbformat.read(done, as_version=4)
        cells = sources.code_cells(executed)
        begun = [cell for cell in cells if cell.metadata.papermill.start_time]
        last = begun[-1]
        if len(begun) < len(cells) or any(o.output_type == "error" for o in last.outputs):
            what = what or "ended itself (SystemExit): a chapter runs to its end"
        if what:
            # The notebook up to there is put aside for reading.
            kept = project.build / "failed" / f"{chapter.slug}.ipynb"
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(done, kept)
            first = next((line.strip() for line in last.source.splitlines() if line.strip()), "")
            raise FailedError(
                f"{chapter.slug}: cell {len(begun)} (`{first[:70]}`) {what}; the notebook up to there is kept as "
                f"{kept.relative_to(project.root)}, the published twin is untouched"
            )
    twin, published = twins.clean(executed)
    made = provenance.describe(project, chapter, inputs, values, seconds)
    return Execution(twin, published, made)


def publish(chapter: Chapter, execution: Execution) -> None:
    """Make an execution the twin of a chapter; its provenance is written last, so that a break shows as stale."""
    replace_json(chapter.values, execution.values)
    replace_text(chapter.twin, nbformat.writes(execution.twin) + "\n")
    replace_json(chapter.provenance, execution.provenance)


def keep(chapter: Chapter, target: Path, execution: Execution, *, force: bool = False) -> Path:
    """Write an execution as a notebook of one's own, with its values and provenance beside it.

    Args:
        chapter: what was executed.
        target: where to.
        execution: what came of it.
        force: whether it may replace a notebook that is there; else it gets the next free number.

    Returns:
        Where it was written.
    """
    own, number = chapter.at(target), 1
    while not force and any(path.exists() for path in own.files):
        number += 1
        own = chapter.at(target.with_name(f"{target.stem}--{number}.ipynb"))
    publish(own, execution)
    return own.twin


def acquit(chapter: Chapter, execution: Execution) -> None:
    """Note that an execution under today's library gave what is published: the twin is no longer unverified."""
    made, kept = execution.provenance, provenance.stored(chapter)
    verified = {name: made[name] for name in ("executed", "commit", "modified", "machine")}
    replace_json(chapter.provenance, kept | {"inputs": made["inputs"], "verified": verified})


def publish_text(project: Project, chapter: Chapter) -> None:
    """Renew the text of a twin whose source changed in nothing that is computed.

    Raises:
        BookError: if the twin is damaged.
    """
    twin = twins.weave(sources.read(chapter), twins.read(chapter))
    made = provenance.stored(chapter) | {"inputs": freshness.inputs(project, chapter)}
    replace_text(chapter.twin, nbformat.writes(twin) + "\n")
    replace_json(chapter.provenance, made)


def ready(target: Path) -> None:
    """Make sure that a file can be written, before anything is executed for it.

    Raises:
        FailedError: if it cannot.
    """
    try:
        probe(target)
    except OSError as error:
        raise FailedError(
            f"{target} cannot be written: {error.strerror}; is there room, and may you write there?"
        ) from None


def own_name(chapter: Chapter, changed: Mapping[str, Any], profile: str) -> str:
    """The file name of a run of one's own: the chapter, the profile, what changed."""
    said = ",".join(f"{name}={value}" for name, value in changed.items()).replace(" ", "")
    plain = re.sub(r"[^A-Za-z0-9_=,.+-]", "_", said)[:70]
    return "--".join(part for part in (chapter.slug, profile, plain) if part) + ".ipynb"
