"""Executing chapters with papermill: the published twin, or a run of one's own."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from flatter_lib.files import probe, replace_json, replace_text
from flatter_lib.publish import freshness, provenance, sources, twins
from flatter_lib.publish.environment import environment, under
from flatter_lib.publish.project import BookError, Chapter, FailedError, Project

#: What to do where a file cannot be written.
PERMITTED = "is there room, and may you write there?"
CHOOSE = "choose another with --out"


@dataclass(frozen=True)
class Execution:
    """A chapter just executed: its cleaned notebook, its values, how it was made."""

    twin: NotebookNode
    values: twins.Values
    provenance: dict[str, Any]


class ChapterError(FailedError):
    """A cell of a chapter raised an error; the message names both and where the notebook is kept."""


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
        ChapterError: if a cell fails, or ends its kernel or itself before the chapter's end.
        BookError: if the chapter has no code, or the kernel is missing, belongs to another environment or does not
            start.
    """
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    if problem := provenance.kernel_problem():
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
        try:
            executed = papermill.execute_notebook(
                bare,
                done,
                parameters=given,
                kernel_name=provenance.KERNEL_NAME,
                cwd=project.executed,
                progress_bar=progress and {"desc": chapter.slug, "file": sys.stderr},
                extra_arguments=["--IPKernelApp.log_level=CRITICAL"],
            )
        except PapermillExecutionError as error:
            said = " ".join(str(error.evalue).split()) or "no message"
            what = f"raised {error.ename}: {said}"
            raise _failure(
                project, chapter, done, error.exec_count, str(error.source), what
            ) from None
        except DeadKernelError:
            cells = sources.code_cells(nbformat.read(done, as_version=4))
            ran = [cell for cell in cells if cell.metadata.papermill.start_time]
            what = "ended its kernel (was there enough memory?)"
            raise _failure(project, chapter, done, len(ran), ran[-1].source, what) from None
        except (OSError, RuntimeError) as error:
            said = " ".join(str(error).split())
            raise BookError(
                f"{chapter.slug}: it could not be executed: {said} (see flatter doctor)"
            ) from error
        for number, cell in enumerate(sources.code_cells(executed), start=1):
            if what := _unfinished(cell):
                raise _failure(project, chapter, done, number, cell.source, what)
        seconds = time.perf_counter() - start
    twin, published = twins.clean(executed)
    made = provenance.describe(project, chapter, inputs, values, seconds)
    return Execution(twin, published, made)


def publish(chapter: Chapter, execution: Execution) -> None:
    """Make an execution the published twin; its provenance is written last, so that a break shows as stale.

    Raises:
        FailedError: if it cannot be written.
    """
    with _writing(chapter.twin, PERMITTED):
        replace_json(chapter.values, execution.values)
        replace_text(chapter.twin, nbformat.writes(execution.twin) + "\n")
        replace_json(chapter.provenance, execution.provenance)


def acquit(chapter: Chapter, execution: Execution) -> None:
    """Note that an execution under today's library gave what is published: the twin is no longer unverified.

    Raises:
        FailedError: if it cannot be written.
    """
    made, kept = execution.provenance, provenance.stored(chapter)
    verified = {name: made[name] for name in ("executed", "commit", "modified", "machine")}
    kept |= {"inputs": made["inputs"], "verified": verified}
    with _writing(chapter.provenance, PERMITTED):
        replace_json(chapter.provenance, kept)


def keep(target: Path, execution: Execution, *, force: bool = False) -> Path:
    """Write an execution as a notebook of one's own, with its values and provenance beside it.

    Args:
        target: where to.
        execution: what.
        force: whether it may replace a notebook that is there; else it gets the next free number.

    Returns:
        Where it was written.

    Raises:
        FailedError: if it cannot be written there.
    """
    number = 1
    own = target
    while not force and any(path.exists() for path in written(own)):
        number += 1
        own = target.with_name(f"{target.stem}--{number}.ipynb")
    notebook, values, made = written(own)
    with _writing(own, CHOOSE):
        replace_text(notebook, nbformat.writes(execution.twin) + "\n")
        replace_json(values, execution.values)
        replace_json(made, execution.provenance)
    return own


def written(target: Path) -> tuple[Path, Path, Path]:
    """The files of a run of one's own: its notebook, its values and its provenance."""
    return target, target.with_suffix(".values.json"), target.with_suffix(".provenance.json")


def ready(target: Path, cure: str = PERMITTED) -> None:
    """Make sure that a file can be written, before anything is executed for it.

    Raises:
        FailedError: if it cannot.
    """
    with _writing(target, cure):
        probe(target)


def own_name(chapter: Chapter, changed: Mapping[str, Any], profile: str) -> str:
    """The file name of a run of one's own: the chapter, the profile, what changed."""
    said = ",".join(f"{name}={value}" for name, value in changed.items()).replace(" ", "")
    plain = re.sub(r"[^A-Za-z0-9_=,.+-]", "_", said)[:60]
    mark = hashlib.sha256(json.dumps(dict(changed), sort_keys=True).encode()).hexdigest()[:8]
    parts = [chapter.slug, profile, plain if plain == said else f"{plain}-{mark}"]
    return "--".join(part for part in parts if part) + ".ipynb"


def publish_text(project: Project, chapter: Chapter) -> None:
    """Renew the text of a twin whose source changed in nothing that is computed.

    Raises:
        BookError: if the twin is damaged.
        FailedError: if it cannot be written.
    """
    twin = twins.weave(sources.read(chapter), twins.read(chapter))
    made = provenance.stored(chapter) | {"inputs": freshness.inputs(project, chapter)}
    with _writing(chapter.twin, PERMITTED):
        replace_text(chapter.twin, nbformat.writes(twin) + "\n")
        replace_json(chapter.provenance, made)


def _unfinished(cell: NotebookNode) -> str:
    """What kept a cell from its end that did not count as an error to Jupyter, or an empty text."""
    if any(o.output_type == "error" and o.ename == "SystemExit" for o in cell.outputs):
        return "ended itself (SystemExit): a chapter runs to its end"
    if cell.source.strip() and cell.execution_count is None:
        return "was not executed: a chapter runs to its end"
    return ""


def _failure(
    project: Project, chapter: Chapter, done: Path, number: int, code: str, what: str
) -> ChapterError:
    """What to say of a cell that failed; the notebook up to there is put aside for reading."""
    kept = project.build / "failed" / f"{chapter.slug}.ipynb"
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(done, kept)
        where = f"is kept as {kept.relative_to(project.root)}"
    except OSError as error:
        where = f"could not be kept in _build/failed ({error.strerror})"
    first = next((line.strip() for line in code.splitlines() if line.strip()), "")
    return ChapterError(
        f"{chapter.slug}: cell {number} (`{first[:70]}`) {what}; the notebook up to there {where}, "
        "the published twin is untouched"
    )


@contextlib.contextmanager
def _writing(target: Path, cure: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FailedError(f"{target} cannot be written: {error.strerror}; {cure}") from None
