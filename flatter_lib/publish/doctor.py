"""What the book needs of a machine, looked at piece by piece, each with its cure."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata

from flatter_lib.publish import provenance
from flatter_lib.publish.project import Project

#: Free disk below which a new environment or a download may not fit, in GiB.
ENOUGH_DISK = 2.0
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "firefox")


@dataclass(frozen=True)
class Diagnosis:
    """One thing looked at.

    Attributes:
        subject: what was looked at.
        state: ``ok``, ``note`` (the book works without it) or ``missing``.
        text: what was found, and what to do if it is not ok.
    """

    subject: str
    state: str
    text: str


def examine(project: Project) -> list[Diagnosis]:
    """Look at git, environment, packages, kernel, data, disk, browser and GPU."""
    absent = _absent()
    return [
        _git(project),
        *_environment(project),
        _packages(absent),
        *([] if absent else [_kernel(), *_data(project)]),
        _disk(project),
        _browser(),
        _gpu(),
    ]


def _git(project: Project) -> Diagnosis:
    if not shutil.which("git"):
        return Diagnosis(
            "git", "note", "not found: pages cannot say which commit they come from; install git"
        )
    if not (project.root / ".git").exists():
        return Diagnosis(
            "git", "note", "this is no clone: pages cannot say which commit they come from"
        )
    return Diagnosis("git", "ok", "a clone, so that every run knows its commit")


def _environment(project: Project) -> Iterator[Diagnosis]:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.prefix == sys.base_prefix:
        yield Diagnosis(
            "environment",
            "note",
            f"Python {version} outside a virtual one; `make book` makes one in .venv",
        )
    else:
        yield Diagnosis("environment", "ok", f"Python {version} in an environment of its own")
    pins = dict(
        re.findall(
            r"^([\w.-]+)==(\S+)", (project.root / "constraints.txt").read_text(), flags=re.MULTILINE
        )
    )
    installed = provenance.installed()
    others = [
        f"{name} {installed[key]} (tested: {pin})"
        for name, pin in pins.items()
        if (key := name.lower().replace("_", "-")) in installed
        and installed[key].split("+")[0] != pin
    ]
    if others:
        cure = "`make clean-venv`, then `make book`, installs the tested ones"
        yield Diagnosis(
            "versions", "note", f"{len(others)} differ, {', '.join(others[:3])}: {cure}"
        )
    else:
        yield Diagnosis("versions", "ok", "those that the book was tested with")


def _absent() -> list[str]:
    """What the book's pages and checks need, declared by this package, that is not installed."""
    lines = metadata.requires("flatter-lib") or []
    wanted = [line for line in lines if not re.search(r"extra == .(cluster|dev)\b", line)]
    names = [re.split(r"[^\w.-]", line)[0].lower().replace("_", "-") for line in wanted]
    return sorted(set(names) - set(provenance.installed()))


def _packages(absent: list[str]) -> Diagnosis:
    if not absent:
        return Diagnosis("packages", "ok", "all that the book and its checks need")
    cure = "python -m pip install --constraint constraints.txt --editable '.[test]'"
    return Diagnosis("packages", "missing", f"not installed: {', '.join(absent)}; {cure}")


def _kernel() -> Diagnosis:
    problem = provenance.kernel_problem()
    return Diagnosis(
        "kernel",
        "missing" if problem else "ok",
        problem or "Jupyter's python3 is this environment's",
    )


def _data(project: Project) -> Iterator[Diagnosis]:
    from flatter_lib.publish import datasets

    needed = datasets.needed(project.chapters())
    for name, found, text in datasets.statuses():
        state = "ok" if found else "missing" if name in needed else "note"
        cure = "" if found else f"; flatter data get {name}"
        yield Diagnosis(f"data, {name}", state, f"{text}{cure}")


def _disk(project: Project) -> Diagnosis:
    free = shutil.disk_usage(project.root).free / 2**30
    if free < ENOUGH_DISK:
        return Diagnosis(
            "disk", "missing", f"{free:.1f} GiB free, less than {ENOUGH_DISK:g}: make room"
        )
    return Diagnosis("disk", "ok", f"{free:.0f} GiB free")


def _browser() -> Diagnosis:
    found = next((name for name in BROWSERS if shutil.which(name)), None)
    if found is None:
        return Diagnosis(
            "browser",
            "note",
            "none found on the PATH: open _build/html/index.html on another machine",
        )
    return Diagnosis("browser", "ok", f"{found}, to read _build/html/index.html")


def _gpu() -> Diagnosis:
    if not shutil.which("nvidia-smi"):
        return Diagnosis(
            "GPU",
            "note",
            "none found: all that the book publishes runs on a CPU; `paper` profiles need one",
        )
    asked = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    names = ", ".join(done.stdout.split("\n")).strip(", ")
    if done.returncode != 0 or not names:
        return Diagnosis("GPU", "note", "nvidia-smi does not answer: check the driver")
    return Diagnosis("GPU", "ok", names)
