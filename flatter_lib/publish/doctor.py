"""What the book needs of a machine, looked at piece by piece, each with its cure."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from importlib import metadata
from typing import NamedTuple

from flatter_lib.publish import provenance
from flatter_lib.publish.environment import kernel_problem
from flatter_lib.publish.project import Project

#: Free disk below which a new environment or a download may not fit, in GiB.
ENOUGH_DISK = 2.0


class Diagnosis(NamedTuple):
    """One thing looked at.

    Attributes:
        subject: what was looked at.
        problem: what is wrong and what to do; empty if nothing is.
        fine: what is said if nothing is.
        needed: whether the book does not work without it.
    """

    subject: str
    problem: str
    fine: str
    needed: bool = True


def examine(project: Project) -> Iterator[Diagnosis]:
    """Look at git, the packages and their versions, the kernel, data, disk and GPU."""
    clone = shutil.which("git") and (project.root / ".git").exists()
    problem = "" if clone else "no git, or no clone: pages cannot say which commit they come from"
    yield Diagnosis("git", problem, "a clone, so that every run knows its commit", needed=False)
    fine = "those that the book was tested with"
    yield Diagnosis("versions", _other_versions(project), fine, needed=False)
    absent = _absent()
    yield Diagnosis("packages", absent, "all that the book and its checks need")
    if not absent:
        yield Diagnosis("kernel", kernel_problem(), "Jupyter's python3 is this environment's")
        yield from _data(project)
    free = shutil.disk_usage(project.root).free / 2**30
    said = f"{free:.1f} GiB free"
    problem = "" if free >= ENOUGH_DISK else f"{said}, less than {ENOUGH_DISK:g}: make room"
    yield Diagnosis("disk", problem, said)
    problem = "" if shutil.which("nvidia-smi") else "none found: only `paper` profiles need one"
    yield Diagnosis("GPU", problem, "there is one, as far as its driver's tools tell", needed=False)


def _other_versions(project: Project) -> str:
    pins = (project.root / "constraints.txt").read_text(encoding="utf-8")
    installed = provenance.installed()
    others = [
        f"{name} {installed[key]} (tested: {pin})"
        for name, pin in re.findall(r"^([\w.-]+)==(\S+)", pins, flags=re.MULTILINE)
        if (key := name.lower().replace("_", "-")) in installed
        and installed[key].split("+")[0] != pin
    ]
    cure = "`make clean-venv`, then `make book`, installs the tested ones"
    return f"{len(others)} differ, {', '.join(others[:3])}: {cure}" if others else ""


def _absent() -> str:
    """What the book's pages and checks need, declared by this package, that is not installed."""
    lines = metadata.requires("flatter-lib") or []
    wanted = [line for line in lines if not re.search(r"extra == .(cluster|dev|language)\b", line)]
    names = {re.split(r"[^\w.-]", line)[0].lower().replace("_", "-") for line in wanted}
    absent = sorted(names - set(provenance.installed()))
    cure = "python -m pip install --constraint constraints.txt --editable '.[test]'"
    return f"not installed: {', '.join(absent)}; {cure}" if absent else ""


def _data(project: Project) -> Iterator[Diagnosis]:
    from flatter_lib.publish import datasets

    needed = datasets.needed(project.chapters())
    for dataset, found, text in datasets.statuses():
        name = dataset.name
        problem = "" if found else f"{text}; flatter data get {name}"
        yield Diagnosis(f"data, {name}", problem, text, needed=name in needed)
