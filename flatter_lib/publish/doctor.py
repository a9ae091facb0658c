"""What the book needs of a machine, looked at piece by piece, each with its cure."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata

from flatter_lib.publish import provenance
from flatter_lib.publish.project import Project

#: Free disk below which a new environment or a download may not fit, in GiB.
ENOUGH_DISK = 2.0


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


def examine(project: Project) -> Iterator[Diagnosis]:
    """Look at git, the packages and their versions, the kernel, data, disk and GPU."""

    def looked_at(subject: str, problem: str, fine: str, state: str = "missing") -> Diagnosis:
        return Diagnosis(subject, state if problem else "ok", problem or fine)

    clone = shutil.which("git") and (project.root / ".git").exists()
    problem = "" if clone else "no git, or no clone: pages cannot say which commit they come from"
    yield looked_at("git", problem, "a clone, so that every run knows its commit", "note")
    fine = "those that the book was tested with"
    yield looked_at("versions", _other_versions(project), fine, "note")
    absent = _absent()
    yield looked_at("packages", absent, "all that the book and its checks need")
    if not absent:
        fine = "Jupyter's python3 is this environment's"
        yield looked_at("kernel", provenance.kernel_problem(), fine)
        yield from _data(project)
    free = shutil.disk_usage(project.root).free / 2**30
    problem = "" if free >= ENOUGH_DISK else f", less than {ENOUGH_DISK:g}: make room"
    yield looked_at("disk", problem and f"{free:.1f} GiB free{problem}", f"{free:.0f} GiB free")
    problem = "" if shutil.which("nvidia-smi") else "none found: only `paper` profiles need one"
    yield looked_at("GPU", problem, "there is one, as far as its driver's tools tell", "note")


def _other_versions(project: Project) -> str:
    text = (project.root / "constraints.txt").read_text(encoding="utf-8")
    installed = provenance.installed()
    others = [
        f"{name} {installed[key]} (tested: {pin})"
        for name, pin in re.findall(r"^([\w.-]+)==(\S+)", text, flags=re.MULTILINE)
        if (key := name.lower().replace("_", "-")) in installed
        and installed[key].split("+")[0] != pin
    ]
    cure = "`make clean-venv`, then `make book`, installs the tested ones"
    return f"{len(others)} differ, {', '.join(others[:3])}: {cure}" if others else ""


def _absent() -> str:
    """What the book's pages and checks need, declared by this package, that is not installed."""
    lines = metadata.requires("flatter-lib") or []
    wanted = [line for line in lines if not re.search(r"extra == .(cluster|dev)\b", line)]
    names = {re.split(r"[^\w.-]", line)[0].lower().replace("_", "-") for line in wanted}
    absent = sorted(names - set(provenance.installed()))
    cure = "python -m pip install --constraint constraints.txt --editable '.[test]'"
    return f"not installed: {', '.join(absent)}; {cure}" if absent else ""


def _data(project: Project) -> Iterator[Diagnosis]:
    from flatter_lib.publish import datasets

    needed = datasets.needed(project.chapters())
    for name, found, text in datasets.statuses():
        state = "ok" if found else "missing" if name in needed else "note"
        cure = "" if found else f"; flatter data get {name}"
        yield Diagnosis(f"data, {name}", state, f"{text}{cure}")
