"""What a twin was executed with: shown on its page, kept beside it, never inside the notebook."""

from __future__ import annotations

import json
import math
import platform
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from flatter_lib import machine
from flatter_lib.fingerprint import git
from flatter_lib.publish import machines
from flatter_lib.publish.project import Chapter, Project

PACKAGES = (
    "flatter-lib",
    "numpy",
    "scipy",
    "numba",
    "torch",
    "torchvision",
    "matplotlib",
    "papermill",
)
KERNEL_NAME = "python3"


def describe(
    project: Project,
    chapter: Chapter,
    inputs: Mapping[str, Any],
    parameters: Mapping[str, Any],
    seconds: float,
) -> dict[str, Any]:
    """The provenance of an execution that just ended.

    Args:
        project: the checkout.
        chapter: which chapter it was.
        inputs: the hashes from :func:`flatter_lib.publish.freshness.inputs`; the only part that is tested.
        parameters: every parameter with the value it had.
        seconds: how long it ran, with one thread for each numerical library.
    """
    found = installed()
    versions = {name: found[name] for name in PACKAGES if name in found}
    commit, modified = _commit(project.root, _computed_from(project, chapter, inputs))
    return {
        "inputs": dict(inputs),
        "parameters": dict(parameters),
        "seconds": round(seconds, 1),
        "executed": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": commit,
        "modified": modified,
        "versions": {"python": platform.python_version(), **versions},
        "device": str(parameters.get("device", "cpu")),
        "machine": machine.describe(),
        "isa": machines.current(),
        "threads": 1,
    }


def installed() -> dict[str, str]:
    """Every distribution of this environment, by its name in small letters with hyphens, and its version."""
    found = metadata.distributions()
    return {d.name.lower().replace("_", "-"): d.version for d in found if d.name}


def stored(chapter: Chapter) -> dict[str, Any]:
    """The provenance beside a chapter's twin; empty where there is none that can be read."""
    try:
        found = json.loads(chapter.provenance.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def last_seconds(chapter: Chapter) -> float | None:
    """How long the chapter took when it was last executed, if that is known."""
    seconds = stored(chapter).get("seconds")
    return seconds if isinstance(seconds, float) and math.isfinite(seconds) else None


def _computed_from(project: Project, chapter: Chapter, inputs: Mapping[str, Any]) -> list[Path]:
    """The files whose content an execution depends on: its source, its records, and the modules that it uses."""
    modules = [project.root.joinpath(*name.split(".")) for name in inputs.get("modules", ())]
    files = [file for path in modules for file in (path.with_suffix(".py"), path / "__init__.py")]
    return [chapter.source, *files, *(project.results / name for name in inputs.get("records", ()))]


def _commit(root: Path, files: list[Path]) -> tuple[str, bool]:
    """The commit that a checkout is at, and whether any of these files is not as committed there."""
    head = git(root, "rev-parse", "HEAD")
    if not head:
        return "not under version control", False
    status = ["status", "--porcelain", "--untracked-files=all", "--", *map(str, files)]
    return head, bool(git(root, *status))


def kernel_problem() -> str:
    """What is wrong with the kernel that would run the chapters, in one line with its cure; empty if nothing is."""
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    cure = (
        "run `make book`, which sets up the environment, or `python -m pip install ipykernel` in it"
    )
    try:
        spec = KernelSpecManager().get_kernel_spec(KERNEL_NAME)
    except NoSuchKernel:
        return f"no Jupyter kernel {KERNEL_NAME!r} here: {cure}"
    command = Path(spec.argv[0])
    if command.is_absolute() and command.parent.parent != Path(sys.prefix):
        return (
            f"the kernel {KERNEL_NAME!r} belongs to another environment ({command.parent.parent}): "
            "unset JUPYTER_PATH, or remove that kernel with `jupyter kernelspec remove python3`"
        )
    return ""
