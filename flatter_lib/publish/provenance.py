"""What a twin was executed with: shown on its page, kept beside it, never inside the notebook."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from flatter_lib import machine
from flatter_lib.fingerprint import git
from flatter_lib.publish import machines
from flatter_lib.publish.project import Chapter, Project

#: Packages whose versions a page names.
PACKAGES = ("flatter-lib", "numpy", "scipy", "numba", "torch", "torchvision", "matplotlib", "papermill")  # fmt: skip


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
    commit, modified = _commit(project, chapter, inputs)
    return {
        "inputs": dict(inputs),
        "parameters": dict(parameters),
        "seconds": round(seconds, 1),
        "executed": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": commit,
        "modified": modified,
        "versions": machine.versions(PACKAGES),
        "device": str(parameters.get("device", "cpu")),
        "machine": machine.describe(),
        "isa": machines.current(),
        "threads": 1,
    }


def stored(chapter: Chapter) -> dict[str, Any]:
    """The provenance beside a chapter's twin; empty where there is none that can be read."""
    return read(chapter.provenance)


def seconds(chapter: Chapter) -> float:
    """How long the chapter took when it was last executed; 0 if that is not known."""
    found = stored(chapter).get("seconds")
    return found if isinstance(found, float) else 0.0


def read(path: Path) -> dict[str, Any]:
    """What a file of JSON holds by name; empty where it cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def installed() -> dict[str, str]:
    """Every distribution of this environment, by its name in small letters with hyphens, and its version."""
    found = metadata.distributions()
    return {d.name.lower().replace("_", "-"): d.version for d in found if d.name}


def _commit(project: Project, chapter: Chapter, inputs: Mapping[str, Any]) -> tuple[str, bool]:
    """The commit that a checkout is at, and whether what an execution depends on is not as committed there."""
    head = git(project.root, "rev-parse", "HEAD")
    if not head:
        return "not under version control", False
    modules = [project.root.joinpath(*name.split(".")) for name in inputs.get("modules", ())]
    files = [file for path in modules for file in (path.with_suffix(".py"), path / "__init__.py")]
    files += [chapter.source, *(project.results / name for name in inputs.get("records", ()))]
    status = ["status", "--porcelain", "--untracked-files=all", "--", *map(str, files)]
    return head, bool(git(project.root, *status))
