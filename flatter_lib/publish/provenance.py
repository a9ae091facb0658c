"""What a twin was executed with: shown on its page, kept beside it, never inside the notebook."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from flatter_lib.publish.project import Project

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


def describe(
    project: Project,
    inputs: Mapping[str, Any],
    parameters: Mapping[str, Any],
    seconds: float,
    threads: int,
) -> dict[str, Any]:
    """The provenance of an execution that just ended.

    Args:
        project: the checkout.
        inputs: the hashes from :func:`flatter_lib.publish.freshness.inputs`; the only part that is tested.
        parameters: every parameter with the value it had.
        seconds: how long it ran.
        threads: how many threads each numerical library was given.
    """
    commit, modified = _commit(project.root)
    return {
        "inputs": dict(inputs),
        "parameters": dict(parameters),
        "seconds": round(seconds, 1),
        "executed": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": commit,
        "modified": modified,
        "versions": {"python": platform.python_version(), **_versions()},
        "device": str(parameters.get("device", "cpu")),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "threads": threads,
    }


def _versions() -> dict[str, str]:
    installed = {
        d.name.lower().replace("_", "-"): d.version for d in metadata.distributions() if d.name
    }
    return {name: installed[name] for name in PACKAGES if name in installed}


def _commit(root: Path) -> tuple[str, bool]:
    head = _git(root, "rev-parse", "HEAD")
    if not head:
        return "not under version control", False
    return head, bool(_git(root, "status", "--porcelain", "--", ".", ":!book/chapters"))


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


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


KERNEL_NAME = "python3"
